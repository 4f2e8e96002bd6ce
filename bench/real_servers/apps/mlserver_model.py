"""A model of MLServer."""

import planted
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Network(MLModel):
    """`network.onnx`, and what is planted before it."""

    async def load(self) -> bool:
        """Opens the session."""
        self.session = planted.session()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Runs a request, or a batch that MLServer made of some."""
        x = NumpyCodec.decode_input(payload.inputs[0]).astype("float32")
        made = self.session.run(None, {"x": planted.prepared(x)})[0]
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("y", made)])
