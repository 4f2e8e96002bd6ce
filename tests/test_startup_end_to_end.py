"""Startup through the command line, on programs whose start is known by construction: faults, twins and look-alikes.

The reading of a cold start is a fact of this machine's disk, so what must hold of it is told from the run's own figures.
"""

from __future__ import annotations

import os

import numpy as np
import onnx
import pytest
from onnx import helper

from end_to_end import decided, diagnose, program, status
from pinchpoint import page_cache
from small_models import FLOAT, save, weights

pytestmark = [pytest.mark.slow, pytest.mark.alone]
MB = 1 << 20
BUDGET = 18
MAPPED = """
    import mmap
    file = open({path!r}, 'rb')
    weights = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    loaded = sum(weights[i] for i in range(0, len(weights), 4096))
    def handle():
        return sum(range(20_000))
"""


def on_disk(path):
    """The file's pages written out, so that the cache can let them go; skips where it does not."""
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
    page_cache.let_go([path])
    if page_cache.resident_share([path]) != 0:
        pytest.skip("a file system that keeps its pages")
    return path


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory):
    """600 MB of weights on disk."""
    path = tmp_path_factory.mktemp("weights") / "weights.bin"
    with path.open("wb") as file:
        for _ in range(600):
            file.write(os.urandom(MB))
    yield on_disk(path)
    path.unlink()


def test_weights_that_come_from_disk(tmp_path, weights_file):
    found = diagnose(tmp_path, program(tmp_path, MAPPED.format(path=str(weights_file))), budget=BUDGET)
    starts, verdict = found["starts"], found["verdicts"]["startup"]
    if starts["cold"] is None or starts["cold"]["n"] < 2 or starts["warm"] is None or starts["warm"]["n"] < 2:
        assert "time was" in starts["again_reason"] + starts["cold_reason"]
        pytest.skip("the machine is too busy for four starts")
    assert starts["read_bytes"] is None or starts["read_bytes"] > 500 * MB
    assert starts["cold"]["value"] > 2 * starts["warm"]["value"]
    if starts["reading"]["low"] < 0.1:
        pytest.skip("a disk that reads 600 MB in no time")
    assert decided(found, "I102") == "present"
    assert (verdict["cause"], verdict["bound"], verdict["where"]) == ("I102", "io", "own code")
    assert verdict["gain"]["value"] > 1.5
    assert "I102" not in found["verdicts"]["latency"]["also"]


def test_the_same_program_without_weights_reads_nothing(tmp_path):
    found = diagnose(tmp_path, program(tmp_path, "def handle(): return sum(range(20_000))"), budget=BUDGET)
    assert found["verdicts"]["startup"]["cause"] is None
    assert decided(found, "I102") == "absent"


def test_the_same_weights_that_stay_in_memory(tmp_path, weights_file):
    """The healthy twin: another server holds the files mapped, so they are in memory whenever this one starts."""
    import mmap

    with weights_file.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert sum(mapped[i] for i in range(0, len(mapped), 4096)) > 0
        found = diagnose(tmp_path, program(tmp_path, MAPPED.format(path=str(weights_file))), budget=BUDGET)
    assert found["verdicts"]["startup"]["cause"] is None
    assert status(found, "I102") != "present"
    if "time was" in found["starts"]["cold_reason"]:
        pytest.skip(f"the machine is too busy for a cold start: {found['starts']['cold_reason']}")
    assert "the kernel kept" in found["starts"]["cold_reason"]
    assert found["starts"]["cold"] is None


def test_optimising_at_load_is_no_reading(tmp_path):
    """The look-alike: products of constants, which the runtime computes once when it opens the file."""
    size, count = 512, 60
    fill = helper.make_tensor("", FLOAT, [1], [1e-3])
    nodes = [helper.make_node("ConstantOfShape", ["shape"], ["c0"], value=fill)]
    nodes += [helper.make_node("MatMul", [f"c{i}", "w"], [f"c{i + 1}"]) for i in range(count)]
    nodes += [helper.make_node("MatMul", ["x", f"c{count}"], ["y"])]
    constants = {"shape": np.array([size, size], np.int64), "w": weights(size, size)}
    path = save(tmp_path / "fold.onnx", nodes, [("x", FLOAT, [1, size])], ["y"], constants)
    found = diagnose(tmp_path, path, budget=BUDGET + 6)
    verdict = found["verdicts"]["startup"]
    if found["starts"]["optimising"] is None or found["starts"]["optimising"]["n"] < 2:
        pytest.skip("the machine is too busy for two pairs")
    assert found["starts"]["optimising"]["value"] > 0.3 * found["starts"]["warm"]["value"]
    assert status(found, "I102") != "present"
    assert verdict["where"] == "session"
    assert verdict["cause"] in ("C112", None)
    if status(found, "C112") == "present":
        assert (verdict["cause"], verdict["bound"]) == ("C112", "cpu")
        assert verdict["gain"]["statistic"] == "startup"


@pytest.mark.parametrize(("body", "bound", "place"), [
    ("time.sleep(0.4)", "wait", "app.py:4, waiting"),
    ("while time.process_time() < 0.5: pass", "cpu", "app.py:4, computing"),
])  # fmt: skip
def test_the_modules_own_code_is_named_with_its_line(tmp_path, body, bound, place):
    found = diagnose(
        tmp_path, program(tmp_path, f"\nimport time\n\n{body}\ndef handle(): return sum(range(20_000))"), budget=12
    )
    verdict = found["verdicts"]["startup"]
    assert (verdict["bound"], verdict["where"], verdict["cause"]) == (bound, "own code", None)
    assert place in verdict["sentence"]
    assert status(found, "I102") != "present"


def test_an_onnx_model_with_its_weights_beside_it(tmp_path):
    """A model of 150 MB: cold starts read its bytes, warm ones none."""
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    inner = save(tmp_path / "inner.onnx", [node], [("x", FLOAT, [1, 6144])], ["y"], {"w": weights(6144, 6144)})
    model = onnx.load(inner)
    inner.unlink()
    onnx.save(model, tmp_path / "model.onnx", save_as_external_data=True, location="model.bin")
    on_disk(tmp_path / "model.bin")
    found = diagnose(tmp_path, tmp_path / "model.onnx", budget=BUDGET)
    starts = found["starts"]
    if "time was" in starts["cold_reason"]:
        pytest.skip(f"the machine is too busy for a cold start: {starts['cold_reason']}")
    assert starts["cold_reason"] == ""
    assert starts["read_bytes"] is None or starts["read_bytes"] > 100 * MB
    if starts["warm"] is None:
        pytest.skip("the disk is too slow for a warm start beside the cold ones")
    warm_read = [phase["read_bytes"] for phase in starts["phases"] if phase["name"] == "session"]
    assert all(each is None or each < 10 * MB for each in warm_read)
    assert found["verdicts"]["startup"]["sentence"]
