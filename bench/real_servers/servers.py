"""The real servers: how each is laid out in a folder and started there, what it is asked, and when it is ready."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import sysconfig
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.real_servers import debian, network

APPS = Path(__file__).parent / "apps"
MODEL, SCALER, ENSEMBLE = "network", "scaler", "pipeline"
NEEDLESS = "needless"  # an input that no model looks at
HONEST, SHORT = 20, 1  # layers: about 10 ms of one CPU, and one beside which a fault leads
LARGEST_BATCH = 8
ROW = [0.5] * network.INPUTS


@dataclass(frozen=True, slots=True)
class Knobs:
    """What is planted: a `fault` of apps/planted.py, so many layers, instances and threads of each, a batching window, numbers that
    nobody needs, a `quota` of so many CPUs.

    `other` is the port of the slow service beside it; an `ensemble` of Triton scales its inputs in a model of their own first.
    So many `responses` has a request where a model of Triton is decoupled. llama-server and transformers are asked for as many tokens as
    there are layers.
    """

    fault: str = ""
    layers: int = HONEST
    instances: int = 1
    threads: int = 1
    window_s: float = 0.0
    needless_numbers: int = 0
    other: int = 0
    ensemble: bool = False
    responses: int = 0
    quota: float | None = None

    def variables(self) -> dict[str, str]:
        """What the models read."""
        told = {"FAULT": self.fault, "LAYERS": self.layers, "INSTANCES": self.instances, "THREADS": self.threads}
        told["OTHER"] = self.other or ""
        told["RESPONSES"] = self.responses
        return {f"PLANTED_{key}": str(value) for key, value in told.items()}


@dataclass(frozen=True, slots=True)
class Start:
    """A server that is laid out: the command that serves in the foreground, and what it is asked once it is ready.

    `target` is what pinchpoint is given, if not the URL that takes `body`; `within` the working directory, if not its own folder;
    `metrics` where it tells its counters, if that is a port of its own; `shares` how its files in shared memory begin, which it leaves
    when it is killed.
    """

    command: tuple[str, ...]
    url: str
    ready: str
    body: object
    variables: Mapping[str, str] = field(default_factory=dict)
    target: str = ""
    within: Path | None = None
    metrics: str = ""
    shares: str = ""


@dataclass(frozen=True, slots=True)
class Server:
    """A real server: what of the installation it needs, and what lays it out: (installed, folder, knobs) -> Start."""

    name: str
    start: Callable[[Path, Path, Knobs], Start]


def _triton(installed: Path, folder: Path, knobs: Knobs) -> Start:
    http, grpc, metrics = _free_ports(3)
    source = "triton_stream.py" if knobs.responses else "triton_model.py"
    shares = f"pinchpoint_{http}_"
    _sources(folder / "models" / MODEL / "1", knobs, source, "model.py")
    sizes = {"x": network.INPUTS, **({NEEDLESS: knobs.needless_numbers} if knobs.needless_numbers else {})}
    inputs = ", ".join(f'{{ name: "{name}" data_type: TYPE_FP32 dims: [{size}] }}' for name, size in sizes.items())
    window = f"preferred_batch_size: [{LARGEST_BATCH}] max_queue_delay_microseconds: {knobs.window_s * 1e6:.0f}"
    (folder / "models" / MODEL / "config.pbtxt").write_text(
        f'backend: "python"\nmax_batch_size: {LARGEST_BATCH}\n'
        f"input [ {inputs} ]\n"
        f'output [{{ name: "y" data_type: TYPE_FP32 dims: [{network.OUTPUTS}] }}]\n'
        f"instance_group [{{ kind: KIND_CPU count: {knobs.instances} }}]\n"
        + ("model_transaction_policy { decoupled: true }\n" if knobs.responses else "")
        + (f"dynamic_batching {{ {window} }}\n" if knobs.window_s else "")
    )
    if knobs.ensemble:
        _ensemble(folder / "models")
    wheel = next(installed.glob("lib/python*/site-packages/pytriton"))
    command = (
        str(wheel / "tritonserver/bin/tritonserver"),
        *(f"--{key}={value}" for key, value in {
            "model-repository": folder / "models", "backend-directory": installed / "backends",
            "cache-directory": wheel / "tritonserver/caches",
            "http-address": "127.0.0.1", "http-port": http, "grpc-address": "127.0.0.1", "grpc-port": grpc,
            "metrics-address": "127.0.0.1", "metrics-port": metrics, "allow-gpu-metrics": "false",
            "model-control-mode": "explicit", "load-model": "*", "strict-readiness": "true", "exit-on-error": "false",
            "backend-config": f"python,shm-region-prefix-name={shares}",
        }.items()),
    )  # fmt: skip
    # The backend has lost its place beside its libraries; its stub embeds the Python that it finds first.
    libraries = f"{wheel.parent / 'nvidia_pytriton.libs'}:{sysconfig.get_config_var('LIBDIR')}"
    asked = ENSEMBLE if knobs.ensemble else MODEL
    start = _of_the_protocol(http, command, {"LD_LIBRARY_PATH": libraries}, "triton", metrics, knobs, asked)
    start = replace(start, shares=shares)
    return _as_a_stream(start, grpc) if knobs.responses else start


def _as_a_stream(start: Start, grpc: int) -> Start:
    """A decoupled model: over HTTP it is asked in another way, and pinchpoint asks it over gRPC."""
    url = start.url.replace("/infer", "/generate_stream")
    return replace(start, url=url, body={"x": ROW}, target=f"triton+grpc://127.0.0.1:{grpc}/{MODEL}")


def _ensemble(models: Path) -> None:
    """Two steps of Triton's: what scales the inputs, and the network."""
    (models / SCALER / "1").mkdir(parents=True)
    (models / ENSEMBLE / "1").mkdir(parents=True)
    shutil.copy(APPS / "triton_scaler.py", models / SCALER / "1/model.py")
    inputs = f'max_batch_size: {LARGEST_BATCH}\ninput [{{ name: "x" data_type: TYPE_FP32 dims: [{network.INPUTS}] }}]\n'
    (models / SCALER / "config.pbtxt").write_text(
        f'backend: "python"\n{inputs}output [{{ name: "scaled" data_type: TYPE_FP32 dims: [{network.INPUTS}] }}]\n'
        "instance_group [{ kind: KIND_CPU count: 1 }]\n"
    )
    steps = ((SCALER, ("x", "x"), ("scaled", "between")), (MODEL, ("x", "between"), ("y", "y")))
    listed = ", ".join(
        f'{{ model_name: "{name}" model_version: -1 input_map {{ key: "{taken[0]}" value: "{taken[1]}" }}'
        f' output_map {{ key: "{given[0]}" value: "{given[1]}" }} }}'
        for name, taken, given in steps
    )
    (models / ENSEMBLE / "config.pbtxt").write_text(
        f'platform: "ensemble"\n{inputs}output [{{ name: "y" data_type: TYPE_FP32 dims: [{network.OUTPUTS}] }}]\n'
        f"ensemble_scheduling {{ step [ {listed} ] }}\n"
    )


def _mlserver(installed: Path, folder: Path, knobs: Knobs) -> Start:
    http, grpc, metrics = _free_ports(3)
    _sources(folder / MODEL, knobs, "mlserver_model.py", "mlserver_model.py")
    told = {"host": "127.0.0.1", "http_port": http, "grpc_port": grpc, "metrics_port": metrics, "debug": False}
    (folder / "settings.json").write_text(json.dumps({**told, "parallel_workers": knobs.instances}))
    tensors = {
        key: [{"name": name, "datatype": "FP32", "shape": [-1, size]}]
        for key, name, size in (("inputs", "x", network.INPUTS), ("outputs", "y", network.OUTPUTS))
    }
    batching = {"max_batch_size": LARGEST_BATCH, "max_batch_time": knobs.window_s} if knobs.window_s else {}
    model = {"name": MODEL, "implementation": "mlserver_model.Network", **tensors, **batching}
    (folder / MODEL / "model-settings.json").write_text(json.dumps(model))
    return _of_the_protocol(http, (str(installed / "bin/mlserver"), "start", "."), {}, "oip", metrics, knobs)


def _metrics_at(port: int) -> str:
    return f"http://127.0.0.1:{port}/metrics"


def _of_the_protocol(
    port: int, command: tuple[str, ...], variables: Mapping[str, str], scheme: str, metrics: int, knobs: Knobs,
    asked: str = MODEL,
) -> Start:  # fmt: skip
    """A server of the Open Inference Protocol, which tells its inputs itself; what is to be JSON is sent as a body of ours."""
    tensors = {"x": ROW, **({NEEDLESS: _needless(knobs)} if knobs.needless_numbers else {})}
    inputs = [{"name": name, "datatype": "FP32", "shape": [1, len(row)], "data": row} for name, row in tensors.items()]
    model = f"http://127.0.0.1:{port}/v2/models/{asked}"
    target = "" if knobs.needless_numbers else f"{scheme}+http://127.0.0.1:{port}/{asked}"
    body = {"inputs": inputs}
    return Start(command, f"{model}/infer", f"{model}/ready", body, variables, target, metrics=_metrics_at(metrics))


def _torchserve(installed: Path, folder: Path, knobs: Knobs) -> Start:
    *grpc, inference, management, metrics = _free_ports(5)
    ports = {"inference": inference, "management": management, "metrics": metrics}
    archive = folder / "store" / MODEL  # as a folder, which it takes like an archive
    _sources(archive, knobs, "torchserve_handler.py", "handler.py")
    (archive / "MAR-INF").mkdir()
    manifest = {"modelName": MODEL, "handler": "handler.py", "modelVersion": "1.0"}
    (archive / "MAR-INF/MANIFEST.json").write_text(json.dumps({"runtime": "python", "model": manifest}))
    batching = {"batchSize": 4 if knobs.window_s else 1, "maxBatchDelay": round(knobs.window_s * 1e3)}
    workers = {"defaultVersion": True, "marName": MODEL, "minWorkers": knobs.instances, "maxWorkers": knobs.instances}
    told = {
        **{f"{name}_address": f"http://127.0.0.1:{port}" for name, port in ports.items()},
        **{f"grpc_{name}_address": "127.0.0.1" for name in ("inference", "management")},
        "grpc_inference_port": grpc[0], "grpc_management_port": grpc[1],
        "metrics_mode": "prometheus", "disable_token_authorization": "true", "enable_envvars_config": "false",
        "number_of_netty_threads": 2, "model_store": folder / "store", "load_models": MODEL,
        "models": json.dumps({MODEL: {"1.0": {**workers, **batching, "responseTimeout": 60}}}),
        "vmargs": f"-Xmx512m -Djava.io.tmpdir={folder / 'tmp'}",
    }  # fmt: skip
    (folder / "config.properties").write_text("".join(f"{key}={value}\n" for key, value in told.items()))
    program = str(installed / "bin/torchserve")
    command = (
        program,
        "--start",
        "--foreground",
        "--ncs",
        "--ts-config",
        str(folder / "config.properties"),
        "--disable-token-auth",
    )
    variables = {"LOG_LOCATION": str(folder / "logs"), "METRICS_LOCATION": str(folder / "logs")}
    url = f"http://127.0.0.1:{ports['inference']}"
    body = {"data": ROW + _needless(knobs)}
    return Start(command, f"{url}/predictions/{MODEL}", f"{url}/ping", body, variables, metrics=_metrics_at(metrics))


def _bentoml(installed: Path, folder: Path, knobs: Knobs) -> Start:
    (port,) = _free_ports(1)
    _sources(folder / "app", knobs, "bento_service.py", "service.py")
    program = str(installed / "bin/bentoml")
    command = (
        program,
        "serve",
        "service:Network",
        "--working-dir",
        str(folder / "app"),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    )
    variables = {"BENTOML_DO_NOT_TRACK": "True", "BENTOML_HOME": str(folder / "home")}
    url = f"http://127.0.0.1:{port}"
    return Start(command, f"{url}/predict", f"{url}/readyz", {"x": [ROW + _needless(knobs)]}, variables)


def _llama(installed: Path, _folder: Path, knobs: Knobs) -> Start:
    (port,), place = _free_ports(1), installed / "debian"
    root = place / "root"
    plugins = root / debian.LIBRARIES / "ggml/backends0"
    options = {
        "-m": installed / "random.gguf",
        "--host": "127.0.0.1",
        "--port": port,
        "-c": 2048,
        "-np": knobs.instances,
        "-t": knobs.threads,
    }
    server = debian.command(place, str(root / "usr/bin/llama-server"))
    command = (*server, *(str(word) for pair in options.items() for word in pair), "--metrics", "--slots")
    url = f"http://127.0.0.1:{port}"
    body: dict[str, object] = {
        "prompt": "the",
        "n_predict": knobs.layers,
        "temperature": 0,
        "ignore_eos": True,
        "cache_prompt": False,
    }
    body |= {NEEDLESS: _needless(knobs)} if knobs.needless_numbers else {}
    # In its working directory it looks for what computes.
    return Start(command, f"{url}/completion", f"{url}/health", body, within=plugins)


def _transformers(installed: Path, _folder: Path, knobs: Knobs) -> Start:
    (port,) = _free_ports(1)
    where = {"--host": "127.0.0.1", "--port": str(port), "--device": "cpu", "--dtype": "float32"}
    model = str(installed / "random")
    command = (str(installed / "bin/transformers"), "serve", *(word for pair in where.items() for word in pair), model)
    url = f"http://127.0.0.1:{port}"
    body = {
        "messages": [{"role": "user", "content": "to be or not to be"}],
        "max_tokens": knobs.layers,
        "temperature": 0,
    }
    variables = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(knobs.threads)}
    return Start(command, f"{url}/v1/chat/completions", f"{url}/health", body, variables)


def _tensorflow(installed: Path, _folder: Path, _knobs: Knobs) -> Start:
    grpc, rest = _free_ports(2)
    command = (str(installed / "bin/python"), str(APPS / "tensorflow_double.py"), str(installed / "saved_model"))
    url = f"http://127.0.0.1:{rest}/v1/models/{MODEL}"
    variables = {"CUDA_VISIBLE_DEVICES": "-1"}
    return Start((*command, str(grpc), str(rest)), f"{url}:predict", url, {"instances": [ROW]}, variables)


def _sources(folder: Path, knobs: Knobs, source: str, called: str) -> None:
    """The model's source, what is planted in it, and its network."""
    folder.mkdir(parents=True)
    shutil.copy(APPS / source, folder / called)
    shutil.copy(APPS / "planted.py", folder)
    network.save(folder / "network.onnx", knobs.layers)


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, no two alike."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _needless(knobs: Knobs) -> list[float]:
    return [each * 1.01 for each in range(knobs.needless_numbers)]


SERVERS = {
    each.name: each
    for each in (
        Server("triton", _triton),
        Server("mlserver", _mlserver),
        Server("torchserve", _torchserve),
        Server("bentoml", _bentoml),
        Server("llama", _llama),
        Server("transformers", _transformers),
        Server("tensorflow", _tensorflow),
    )
}
