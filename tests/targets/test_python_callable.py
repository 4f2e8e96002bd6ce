"""A callable as a target: what is looked at before any of the user's code runs."""

from __future__ import annotations

import pytest

from pinchpoint.domain.target import TargetSpec
from pinchpoint.domain.workload import Workload
from pinchpoint.errors import BadInput
from pinchpoint.targets.python_callable import PYTHON_CALLABLE


def test_a_batch_is_the_callables_own_business(tmp_path):
    """It takes the requests that it is given: a report that says "Batch 8" of them would not be true."""
    (tmp_path / "app.py").write_text("def handle(x): pass\n")
    spec = TargetSpec("python", f"{tmp_path}/app.py:handle")
    assert PYTHON_CALLABLE.prepare(spec, Workload(), tmp_path).load["name"] == "handle"
    for asked in (Workload(batch=8), Workload(length=384)):
        with pytest.raises(BadInput, match="example_inputs"):
            PYTHON_CALLABLE.prepare(spec, asked, tmp_path)
