"""What known servers count of themselves: where they tell it, which series are what, and how to have it told.

Names differ between versions: of several the first that is there is taken, and a column of which none is there is left out. All
columns but those of `GAUGES` count up, so only differences of them say anything. Their names are `NAME_s` for seconds in all,
`NAME_count` or `NAME_tokens` for how often, where that is not `requests`. Of a step of an ensemble `@` and its model follow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pinchpoint.prometheus_text import Sample

RUNNING, WAITING, KV_CACHE = "running", "waiting", "kv_cache_share"
GAUGES = frozenset({RUNNING, WAITING, KV_CACHE})
REQUESTS, QUEUE = "requests", "queue"
PARTS = ("request", QUEUE, "input", "preprocess", "compute", "output", "postprocess", "prefill", "decode")
US = 1e-6
MODEL_LABELS = ("model", "model_name")
METRICS = "/metrics"
# Of Triton's statistics, each with a count of its own.
STATISTICS = {"success": "request", "queue": "queue", "compute_input": "input", "compute_infer": "compute",
              "compute_output": "output"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Series:
    """A column, the names that its series may have, and what one of them is in seconds, where it counts time."""

    column: str
    names: tuple[str, ...]
    unit: float = 1.0


@dataclass(frozen=True, slots=True)
class ServerKind:
    """A server by how the names of its series begin (`mark`), and by what its processes are called.

    `places` are a port (None: the one that is asked) and a path. `turn_on` ends the sentence "it tells that ...".
    """

    name: str
    mark: str
    programs: tuple[str, ...]
    places: tuple[tuple[int | None, str], ...]
    series: tuple[Series, ...]
    turn_on: str


TRITON = ServerKind(
    "Triton", "nv_inference_", ("tritonserver",), ((8002, METRICS),),
    (
        Series(REQUESTS, ("nv_inference_request_success",)),
        Series("request_s", ("nv_inference_request_duration_us",), US),
        Series("queue_s", ("nv_inference_queue_duration_us",), US),
        Series("input_s", ("nv_inference_compute_input_duration_us",), US),
        Series("compute_s", ("nv_inference_compute_infer_duration_us",), US),
        Series("output_s", ("nv_inference_compute_output_duration_us",), US),
        Series("inferences", ("nv_inference_count",)),
        Series("batches", ("nv_inference_exec_count",)),
        Series(WAITING, ("nv_inference_pending_request_count",)),
    ),
    "at /metrics of port 8002 (--metrics-port), unless started with --allow-metrics=false",
)  # fmt: skip
TORCHSERVE = ServerKind(  # its QueueTime, HandlerTime and the like are gauges of the last request: no averages
    "TorchServe", "ts_", ("torchserve", "model_service_worker"), ((8082, METRICS),),
    (
        Series(REQUESTS, ("ts_inference_requests_total",)),
        Series("request_s", ("ts_inference_latency_microseconds",), US),
        Series("queue_s", ("ts_queue_latency_microseconds",), US),
    ),
    "at /metrics of port 8082, with metrics_mode=prometheus in its config.properties (else it logs them)",
)  # fmt: skip
TENSORFLOW = ServerKind(
    "TensorFlow Serving", ":tensorflow:serving:", ("tensorflow_model_server",),
    ((None, "/monitoring/prometheus/metrics"), (8501, "/monitoring/prometheus/metrics")),
    (
        Series(REQUESTS, (":tensorflow:serving:request_count",)),
        Series("request_s", (":tensorflow:serving:request_latency_sum",), US),
        Series("request_count", (":tensorflow:serving:request_latency_count",)),
        Series("compute_s", (":tensorflow:serving:runtime_latency_sum",), US),
        Series("compute_count", (":tensorflow:serving:runtime_latency_count",)),
        Series("queue_s", (":tensorflow:serving:batching_session:queuing_latency_sum",), US),
        Series("queue_count", (":tensorflow:serving:batching_session:queuing_latency_count",)),
    ),
    "with --monitoring_config_file=FILE and prometheus_config { enable: true, path: \"/monitoring/prometheus/metrics\" } in it",
)  # fmt: skip
LLAMA = ServerKind(
    "llama-server", "llamacpp:", ("llama-server", "llama.cpp"), ((None, METRICS),),
    (
        Series("prefill_s", ("llamacpp:prompt_seconds_total",)),
        Series("prefill_tokens", ("llamacpp:prompt_tokens_total",)),
        Series("decode_s", ("llamacpp:tokens_predicted_seconds_total",)),
        Series("decode_tokens", ("llamacpp:tokens_predicted_total",)),
        Series(RUNNING, ("llamacpp:requests_processing",)),
        Series(WAITING, ("llamacpp:requests_deferred",)),
        Series(KV_CACHE, ("llamacpp:kv_cache_usage_ratio",)),
    ),
    "at /metrics, with --metrics",
)  # fmt: skip
VLLM = ServerKind(
    "vLLM", "vllm:", ("vllm",), ((None, METRICS),),
    (
        Series(REQUESTS, ("vllm:request_success_total",)),
        Series("request_s", ("vllm:e2e_request_latency_seconds_sum",)),
        Series("request_count", ("vllm:e2e_request_latency_seconds_count",)),
        Series("queue_s", ("vllm:request_queue_time_seconds_sum",)),
        Series("queue_count", ("vllm:request_queue_time_seconds_count",)),
        Series("prefill_s", ("vllm:request_prefill_time_seconds_sum",)),
        Series("prefill_count", ("vllm:request_prefill_time_seconds_count",)),
        Series("decode_s", ("vllm:request_decode_time_seconds_sum",)),
        Series("decode_count", ("vllm:request_decode_time_seconds_count",)),
        Series("prompt_tokens", ("vllm:prompt_tokens_total",)),
        Series("generated_tokens", ("vllm:generation_tokens_total",)),
        Series("preemptions", ("vllm:num_preemptions_total",)),
        Series(RUNNING, ("vllm:num_requests_running",)),
        Series(WAITING, ("vllm:num_requests_waiting",)),
        Series(KV_CACHE, ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc")),
    ),
    "at /metrics, unless started with --disable-log-stats",
)  # fmt: skip
MLSERVER = ServerKind(
    "MLServer", "model_infer_request_", ("mlserver",), ((8082, METRICS),),
    (
        Series(REQUESTS, ("model_infer_request_success_total",)),
        Series("request_s", ("model_infer_request_duration_sum",)),
        Series("request_count", ("model_infer_request_duration_count",)),
    ),
    "at /metrics of port 8082 (metrics_port), unless its metrics_endpoint is null",
)  # fmt: skip
KSERVE = ServerKind(
    "KServe", "request_predict_seconds", ("sklearnserver", "xgbserver", "lgbserver", "pmmlserver", "paddleserver"),
    ((None, METRICS),),
    (
        Series(REQUESTS, ("request_predict_seconds_count",)),
        Series("preprocess_s", ("request_preprocess_seconds_sum",)),
        Series("preprocess_count", ("request_preprocess_seconds_count",)),
        Series("compute_s", ("request_predict_seconds_sum",)),
        Series("compute_count", ("request_predict_seconds_count",)),
        Series("postprocess_s", ("request_postprocess_seconds_sum",)),
        Series("postprocess_count", ("request_postprocess_seconds_count",)),
    ),
    "at /metrics of its own port",
)  # fmt: skip
KINDS = (TRITON, TORCHSERVE, TENSORFLOW, LLAMA, VLLM, MLSERVER, KSERVE)


def kind_of(found: Iterable[Sample]) -> ServerKind | None:
    """Whose samples these are; None where they are of no server that is known."""
    names = {each.name for each in found}
    return next((kind for kind in KINDS if any(name.startswith(kind.mark) for name in names)), None)


def kind_by_name(names: Iterable[str]) -> ServerKind | None:
    """The server whose processes, or whose answers, bear one of these names."""
    known = [name.lower() for name in names]
    return next((kind for kind in KINDS if any(name.startswith(kind.programs) for name in known)), None)


def values_of(kind: ServerKind, found: Iterable[Sample], model: str = "") -> Mapping[str, float]:
    """The columns that are told, of one model where that is named and told apart.

    Series that differ in their labels are added up; of shares the largest counts. What is declared to be a gauge is no counter.
    """
    by_name: dict[str, list[Sample]] = {}
    for each in found:
        if not model or all(each.labels.get(label, model) == model for label in MODEL_LABELS):
            by_name.setdefault(each.name, []).append(each)
    told = {}
    for series in kind.series:
        other = "counter" if series.column in GAUGES else "gauge"
        named = next((by_name[name] for name in series.names if name in by_name), ())
        values = [each.value for each in named if each.kind != other]
        if values:
            told[series.column] = (max if series.column == KV_CACHE else sum)(values) * series.unit
    return told


def values_of_statistics(told: Mapping[str, tuple[int, int]]) -> Mapping[str, float]:
    """The columns of Triton's statistics of a model: how often, and nanoseconds in all."""
    return _durations(told) | ({REQUESTS: float(told["success"][0])} if "success" in told else {})


def values_of_step(told: Mapping[str, tuple[int, int]], model: str, times: int) -> Mapping[str, float]:
    """The same of a model that an ensemble runs so many `times` for each request: how many requests it has served so."""
    columns = _durations(told).items()
    return {f"{name}@{model}": value / (times if name.endswith("_count") else 1) for name, value in columns}


def _durations(told: Mapping[str, tuple[int, int]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, (count, ns) in told.items():
        found |= {f"{STATISTICS[name]}_s": ns / 1e9, f"{STATISTICS[name]}_count": float(count)}
    return found


def steps_of(columns: Iterable[str]) -> tuple[str, ...]:
    """The models of an ensemble's steps, in the order in which they are told."""
    return tuple(dict.fromkeys(name.partition("@")[2] for name in columns if "@" in name))


def count_of(part: str, columns: Sequence[str], step: str = "") -> str | None:
    """The column that says how often something was done; None where none does."""
    if step:
        return next((name for name in columns if name == f"{part}_count@{step}"), None)
    return next((name for name in (f"{part}_count", REQUESTS, f"{part}_tokens") if name in columns), None)
