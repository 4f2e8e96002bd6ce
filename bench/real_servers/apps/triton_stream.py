"""A decoupled model of Triton's Python backend: a request has several responses, each computed anew."""

import os

import planted
import triton_python_backend_utils as backend

RESPONSES = int(os.environ["PLANTED_RESPONSES"])


class TritonPythonModel:
    """`network.onnx`, so many times a request."""

    def initialize(self, args):
        """Opens the session."""
        self.session = planted.session()

    def execute(self, requests):
        """Sends the responses of one request after the other, and what says that there are no more."""
        for each in requests:
            sender = each.get_response_sender()
            rows = backend.get_input_tensor_by_name(each, "x").as_numpy()
            for _ in range(RESPONSES):
                made = self.session.run(None, {"x": rows})[0]
                sender.send(backend.InferenceResponse([backend.Tensor("y", made)]))
            sender.send(flags=backend.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
