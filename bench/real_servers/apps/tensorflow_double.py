"""A double of TensorFlow Serving, not TensorFlow Serving: real TensorFlow runs a real SavedModel behind the published services.

tensorflow_double.py SAVED_MODEL GRPC_PORT REST_PORT
"""

import json
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
import grpc
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

AVAILABLE = 30
STATUS = [{"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}]
tf.config.threading.set_intra_op_parallelism_threads(1)
loaded = tf.saved_model.load(sys.argv[1])
network = loaded.signatures["serving_default"]


class Prediction(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Predict over gRPC."""

    def Predict(self, request, context):
        """Runs the network."""
        made = network(**{name: tf.constant(tf.make_ndarray(value)) for name, value in request.inputs.items()})
        answer = predict_pb2.PredictResponse()
        for name, value in made.items():
            answer.outputs[name].CopyFrom(tf.make_tensor_proto(value))
        answer.model_spec.name = request.model_spec.name
        answer.model_spec.version.value = 1
        return answer


class Model(model_service_pb2_grpc.ModelServiceServicer):
    """The status of models over gRPC."""

    def GetModelStatus(self, request, context):
        """Version 1 is available."""
        answer = get_model_status_pb2.GetModelStatusResponse()
        answer.model_version_status.add(version=1, state=AVAILABLE)
        return answer


class Rest(BaseHTTPRequestHandler):
    """`/v1/models/NAME` and `/v1/models/NAME:predict`."""

    protocol_version, disable_nagle_algorithm = "HTTP/1.1", True

    def do_GET(self):
        """Tells the status."""
        self._answer({"model_version_status": STATUS})

    def do_POST(self):
        """Runs the network."""
        rows = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["instances"]
        made = network(tf.constant(rows, tf.float32))["y"]
        self._answer({"predictions": made.numpy().tolist()})

    def _answer(self, told):
        body = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Silence."""


rpc = grpc.server(ThreadPoolExecutor(2))
prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Prediction(), rpc)
model_service_pb2_grpc.add_ModelServiceServicer_to_server(Model(), rpc)
rpc.add_insecure_port(f"127.0.0.1:{int(sys.argv[2])}")
rpc.start()
rest = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[3])), Rest)
threading.Thread(target=rest.serve_forever, daemon=True).start()
rpc.wait_for_termination()
