"""A handler of TorchServe: `{"data": [numbers]}` -> 10 numbers."""

import os

import planted
import torch
from ts.torch_handler.base_handler import BaseHandler

# The network of the other servers; a class for it would be a second handler.
LAYERS, WIDTH = int(os.environ["PLANTED_LAYERS"]), 512


class Handler(BaseHandler):
    """The network, and what is planted before it."""

    def initialize(self, context):
        """Makes the network: random weights."""
        torch.set_num_threads(planted.THREADS)
        inner = [torch.nn.Sequential(torch.nn.Linear(WIDTH, WIDTH), torch.nn.Tanh()) for _ in range(LAYERS)]
        self.network = torch.nn.Sequential(torch.nn.Linear(1, WIDTH), *inner, torch.nn.Linear(WIDTH, 10)).eval()
        self.initialized = True

    def handle(self, data, context):
        """Runs a batch."""
        rows = [(each.get("body") or each.get("data"))["data"][:64] for each in data]
        x = planted.prepared(torch.tensor(rows, dtype=torch.float32).numpy())
        with torch.inference_mode():
            return self.network(torch.from_numpy(x).unsqueeze(2)).mean(1).tolist()
