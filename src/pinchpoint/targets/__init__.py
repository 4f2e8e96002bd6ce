"""Kinds of targets: each recognises what the user named, reads it without running it, and plans its load."""

from pinchpoint.targets.onnx_model import ONNX_MODEL
from pinchpoint.targets.python_callable import PYTHON_CALLABLE
from pinchpoint.targets.torch_file import TORCH_FILE

BUILTIN = (PYTHON_CALLABLE, TORCH_FILE, ONNX_MODEL)
