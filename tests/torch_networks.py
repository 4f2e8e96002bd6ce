"""Small networks for tests, built where torch is: each function returns (module, example inputs)."""

import torch
from torch import nn


class Block(nn.Module):
    """A residual block with a grouped convolution."""

    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.BatchNorm2d(32)
        self.second, self.skip = nn.Conv2d(32, 32, 3, padding=1, groups=4), nn.Conv2d(16, 32, 1, stride=2)

    def forward(self, x):
        return torch.relu(self.second(torch.relu(self.norm(self.first(x)))) + self.skip(x))


def images():
    """Convolutions: plain, strided, grouped, pointwise, dilated and transposed; pooling and a classifier."""
    layers = [
        nn.Conv2d(3, 16, 7, stride=2, padding=3),
        nn.MaxPool2d(2),
        Block(),
        nn.ConvTranspose2d(32, 8, 2, stride=2),
    ]
    layers += [nn.Conv2d(8, 8, 3, dilation=2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)]
    return nn.Sequential(*layers).eval(), torch.randn(2, 3, 64, 64)


class Attention(nn.Module):
    """Self-attention written out, with torch's fused kernel and by hand."""

    def __init__(self, fused):
        super().__init__()
        self.fused, self.inward, self.outward = fused, nn.Linear(64, 192), nn.Linear(64, 64)

    def forward(self, x):
        q, k, v = (t.view(*t.shape[:2], 4, 16).transpose(1, 2) for t in self.inward(x).chunk(3, -1))
        if self.fused:
            y = nn.functional.scaled_dot_product_attention(q, k, v)
        else:
            y = torch.softmax(q @ k.transpose(-1, -2) / 4.0, -1) @ v
        return self.outward(y.transpose(1, 2).reshape(x.shape))


def attention():
    """Attention in both forms, and an einsum."""

    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.norm = Attention(True), Attention(False), nn.LayerNorm(64)

        def forward(self, x):
            y = self.norm(self.a(x) + self.b(x))
            return torch.einsum("bld,bmd->blm", y, y)

    return Both().eval(), torch.randn(2, 24, 64)


def words():
    """Embeddings, and a product of a batch of matrices."""

    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.out = nn.Embedding(1000, 32), nn.Linear(32, 1000, bias=False)

        def forward(self, ids):
            x = self.table(ids)
            return self.out(torch.bmm(x, x.transpose(1, 2)) @ x)

    return Words().eval(), torch.randint(0, 1000, (3, 12))


def sounds():
    """One-dimensional convolutions."""
    return nn.Sequential(nn.Conv1d(4, 8, 5), nn.ReLU(), nn.Conv1d(8, 8, 3, groups=2)).eval(), torch.randn(1, 4, 100)


ALL = (images, attention, words, sounds)
