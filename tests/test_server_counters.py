"""The table of known servers: from a page as each writes it to columns in seconds and counts."""

from __future__ import annotations

import pytest

from pinchpoint.prometheus_text import samples
from pinchpoint.server_counters import (
    GAUGES,
    KINDS,
    PARTS,
    count_of,
    kind_by_name,
    kind_of,
    values_of,
    values_of_statistics,
    values_of_step,
)
from server_pages import LLAMA, PAGES, TORCHSERVE, TRITON, VLLM

COLUMNS = {
    "Triton": {
        "requests": 161, "request_s": 1.7, "queue_s": 0.01111, "input_s": 0.002, "compute_s": 1.6, "output_s": 0.003,
        "inferences": 322, "batches": 80, "waiting": 3,
    },
    "TorchServe": {"requests": 1000, "request_s": 10.234, "queue_s": 416.079e-6},
    "TensorFlow Serving": {
        "requests": 10, "request_s": 0.0512345, "request_count": 10, "compute_s": 0.04, "compute_count": 10,
        "queue_s": 0.009, "queue_count": 10,
    },
    "llama-server": {
        "prefill_s": 5.6, "prefill_tokens": 1234, "decode_s": 8.4, "decode_tokens": 789, "running": 1, "waiting": 2,
    },
    "vLLM": {
        "requests": 5, "request_s": 0.6, "request_count": 5, "queue_s": 0.1, "queue_count": 5, "prefill_s": 0.25,
        "prefill_count": 5, "decode_s": 0.15, "decode_count": 5, "prompt_tokens": 343, "generated_tokens": 826,
        "preemptions": 4, "running": 4, "waiting": 2, "kv_cache_share": 0.42,
    },
    "MLServer": {"requests": 13, "request_s": 0.26, "request_count": 13},
    "KServe": {
        "requests": 4, "preprocess_s": 0.02, "preprocess_count": 4, "compute_s": 0.08, "compute_count": 4,
        "postprocess_s": 0.004, "postprocess_count": 4,
    },
}  # fmt: skip


def told(page, model=""):
    """The kind of server, and its columns."""
    found = tuple(samples(page.encode()))
    kind = kind_of(found)
    return kind, values_of(kind, found, model)


@pytest.mark.parametrize("name", COLUMNS)
def test_the_page_of_a_server(name):
    kind, values = told(PAGES[name], model="network" if name == "Triton" else "")
    assert kind.name == name
    assert values == pytest.approx(COLUMNS[name])


def test_every_kind_has_a_page_and_each_second_a_count():
    assert [kind.name for kind in KINDS] == list(COLUMNS)
    for kind in KINDS:
        columns = [series.column for series in kind.series]
        timed = [part for part in PARTS if f"{part}_s" in columns]
        assert timed
        assert all(count_of(part, columns) for part in timed)
        assert kind.turn_on


@pytest.mark.parametrize(("page", "model", "requests"), [
    (TRITON, "", 1161),         # all models: the load of the whole server
    (TRITON, "network", 161),
    (TRITON, "unknown", None),
    (TORCHSERVE, "network", 1000),
    (VLLM, "meta-llama/Llama-3.1-8B", 5),
    (VLLM, "another", None),
])  # fmt: skip
def test_one_model_of_several(page, model, requests):
    assert told(page, model)[1].get("requests") == requests


def test_series_without_a_label_of_a_model_are_of_any():
    assert told(LLAMA, "random.gguf")[1]["prefill_tokens"] == 1234


def test_a_gauge_is_no_counter_and_a_counter_no_gauge():
    page = (
        "# TYPE ts_queue_latency_microseconds gauge\nts_queue_latency_microseconds 5\nts_inference_requests_total 7\n"
    )
    assert told(page)[1] == {"requests": 7}
    page = (
        "# TYPE llamacpp:requests_processing counter\nllamacpp:requests_processing 5\nllamacpp:prompt_tokens_total 1\n"
    )
    assert told(page)[1] == {"prefill_tokens": 1}


def test_of_two_names_of_a_series_the_first_that_is_there_counts():
    old = VLLM.replace("vllm:kv_cache_usage_perc", "vllm:something_else")
    assert told(old)[1]["kv_cache_share"] == 0.42
    both = told(VLLM.replace("vllm:kv_cache_usage_perc{engine=\"0\",model_name=\"meta-llama/Llama-3.1-8B\"} 0.42",
                             "vllm:kv_cache_usage_perc{engine=\"0\",model_name=\"meta-llama/Llama-3.1-8B\"} 0.9"))  # fmt: skip
    assert both[1]["kv_cache_share"] == 0.9


@pytest.mark.parametrize("page", ["", "python_info 1\n", "process_cpu_seconds_total 5\n", "<html>ts_</html>"])
def test_a_page_of_nobody_known(page):
    assert kind_of(samples(page.encode())) is None


@pytest.mark.parametrize(("names", "kind"), [
    (("tritonserver", "python"), "Triton"),
    (("java", "model_service_worker.py"), "TorchServe"),
    (("tensorflow_model_server",), "TensorFlow Serving"),
    (("llama-server",), "llama-server"),
    (("vllm.entrypoints.openai.api_server",), "vLLM"),
    (("mlserver",), "MLServer"),
    (("uvicorn", "llama.cpp"), "llama-server"),  # by what its answers say
    (("uvicorn", ""), None),
    ((), None),
])  # fmt: skip
def test_a_server_by_its_processes(names, kind):
    found = kind_by_name(names)
    assert (found.name if found else None) == kind


def test_statistics_of_triton():
    found = values_of_statistics({"success": (7, 70_000_000), "queue": (7, 3_500), "compute_infer": (7, 60_000_000)})
    assert found == pytest.approx({
        "requests": 7, "request_s": 0.07, "request_count": 7, "queue_s": 3.5e-6, "queue_count": 7,
        "compute_s": 0.06, "compute_count": 7,
    })  # fmt: skip
    assert values_of_statistics({}) == {}


def test_gauges_are_named():
    gauges = {series.column for kind in KINDS for series in kind.series} & GAUGES
    assert gauges == GAUGES


def test_statistics_of_a_step_count_the_requests_that_it_served():
    """GIVEN a model that an ensemble asks twice for each request THEN seconds are those of both, and the count is halved."""
    found = values_of_step({"success": (14, 70_000_000), "queue": (14, 3_500)}, "bert", 2)
    assert found == pytest.approx(
        {"request_s@bert": 0.07, "request_count@bert": 7, "queue_s@bert": 3.5e-6, "queue_count@bert": 7}
    )
