"""What a model does with a request: honest work, or a fault planted. Copied beside the model's source in each real server."""

import os
import time
import urllib.request

import numpy as np

FAULT = os.environ.get("PLANTED_FAULT", "")
SECONDS = 0.015
KEPT, KEPT_NUMBERS = [], 15_000  # 120 kB a request
THREADS = int(os.environ.get("PLANTED_THREADS", "1"))
OTHER = f"http://127.0.0.1:{os.environ.get('PLANTED_OTHER', '')}/"


def preprocess(x):
    """So much CPU time in Python, the interpreter held."""
    end = time.thread_time() + SECONDS
    made = x
    while time.thread_time() < end:
        made = np.clip(made * 0.5 + 0.1, 0.0, 1.0)
    return made.astype(np.float32)


def ask_another():
    """A call to a service that takes its time."""
    with urllib.request.urlopen(OTHER) as answer:
        answer.read()


def prepared(x):
    """What the network is given: after the planted fault, if any."""
    if FAULT == "slow preprocessing":
        return preprocess(x)
    if FAULT == "slow downstream call":
        ask_another()
    if FAULT == "too few instances":
        time.sleep(SECONDS)
    if FAULT == "leak":
        KEPT.append(np.ones(KEPT_NUMBERS))
    return x


def session():
    """The network in `network.onnx` beside this file, on as many threads of ONNX Runtime as are planted."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = THREADS, 1
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "network.onnx")
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
