"""What is taken for a torch module or its factory, its requests and its settings; a stand-in is torch where it is needed."""

from __future__ import annotations

import sys
import types

import pytest

from pinchpoint.child import torch_loading
from pinchpoint.child.refusals import CannotLoad


class Module:
    """As torch.nn.Module."""


class Net(Module):
    """As a user's."""


def bare():
    return Net()


def optional(width=4):
    return Net()


def annotated(width=4) -> Net:
    return Net()


def annotated_in_words(width=4) -> torch.nn.Module:
    return Net()


def handler(request):
    return request


async def asynchronous():
    return Net()


@pytest.fixture
def torch(monkeypatch):
    nn = types.SimpleNamespace(Module=Module)
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(nn=nn))


@pytest.mark.parametrize(
    ("function", "alone", "beside_requests"),
    [
        (bare, True, True),
        (optional, True, False),  # with requests it may be a handler whose request is optional
        (annotated, True, True),
        (annotated_in_words, True, True),
        (Net, True, True),
        (dict, False, False),
        (handler, False, False),
        (asynchronous, False, False),
    ],
)
def test_what_may_make_a_module(torch, function, alone, beside_requests):
    assert torch_loading.is_factory(function, has_requests=False) is alone
    assert torch_loading.is_factory(function, has_requests=True) is beside_requests


def test_nothing_makes_a_module_where_torch_is_not_in_use(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert not torch_loading.is_factory(bare, has_requests=False)
    assert not torch_loading.is_module(Net())


def test_a_factory_may_give_inputs_beside_the_module(torch):
    net = Net()
    assert torch_loading.made(net) == (net, None)
    assert torch_loading.made((net, "inputs")) == (net, "inputs")
    assert torch_loading.made([1, 2]) is None
    assert torch_loading.made(None) is None


@pytest.mark.parametrize(
    ("request_", "feed"),
    [
        (1, ((1,), {})),
        ((1, 2), ((1, 2), {})),
        ([1, 2], ((1, 2), {})),
        ({"x": 1}, ((), {"x": 1})),
        (((1, 2), {"mask": 3}), ((1, 2), {"mask": 3})),
        ({1: 2}, (({1: 2},), {})),
    ],
)
def test_a_request_is_what_the_module_is_called_with(request_, feed):
    assert torch_loading.feed_of(request_) == feed


def test_inputs_are_a_list_of_requests_or_one_request():
    assert torch_loading.requests_of([1, 2]) == [1, 2]
    assert torch_loading.requests_of((1, 2)) == [(1, 2)]
    assert torch_loading.requests_of({"x": 1}) == [{"x": 1}]


def test_arrays_by_name_go_by_name_where_forward_has_these_names():
    class Named:
        def forward(self, x, mask):
            return x

    assert torch_loading.by_position(Named(), {"mask": 1, "x": 2}) == {"mask": 1, "x": 2}
    assert torch_loading.by_position(Named(), {"input": 1, "b": 2}) == (1, 2)


@pytest.mark.parametrize(
    "settings",
    [{"colour": "1"}, {"intra_op_threads": "0"}, {"inter_op_threads": "x"}, {"grad_mode": "full"}, {"compile": "yes"}],
)
def test_settings_that_are_not_known(settings):
    with pytest.raises(CannotLoad) as caught:
        torch_loading.check(settings)
    assert caught.value.where == "--set"


def test_settings_that_are_known():
    torch_loading.check({"intra_op_threads": "2", "inter_op_threads": "1", "grad_mode": "no_grad", "compile": "on"})
