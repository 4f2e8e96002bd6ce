"""What a word means: a cause, a bound, a state, a stage, a level of proof, a metric, a limit, a setting."""

from __future__ import annotations

import difflib
import inspect
import re
import textwrap
from collections.abc import Iterator

from pinchpoint.contracts import Detector, Plugins
from pinchpoint.domain.words import CAUSE_HEADLINE, CEILING_WORDS
from pinchpoint.errors import BadInput
from pinchpoint.limits import Limits

WIDTH = 80
_SECTION = re.compile(r"\*\*(?P<title>[^*]+?)\.?\*\*\s*(?P<body>.*?)(?=\n\s*\*\*|\Z)", re.DOTALL)

CAUSES = "causes"  # the word that lists them
GLOSSARY: dict[str, str] = {
    "bound": "What kind of resource the answer is about: cpu, gpu, memory, io, wait, none or unknown. It belongs to the cause, "
    "not to the clock: a thread that waits for a CPU quota is cpu-bound although it does not run. Of a gain: no change of this "
    "kind can gain more.",
    "cpu": "As a bound: the request's time, or the capacity, is spent on computing. As a state of the ledger: the thread that "
    "the request waits for was running, and not at the memory floor. Source: the thread's CPU clock at stage boundaries.",
    "memory": "As a bound: data has to come from memory, or memory is full. As a state: running at the memory floor "
    "(compulsory bytes over the measured bandwidth at this footprint and thread count), or in page faults.",
    "gpu": "As a bound: the GPU's arithmetic, its memory, or its starvation by the host. As a state: waiting for the GPU.",
    "io": "Disk or network: reads, writes, syncs, and calls to other services.",
    "wait": "A soft resource is exhausted before the hardware: a lock, the GIL, a pool, a window, an event loop, a timer. The "
    "classical list of bounds misses it. As a state: blocked, with positive evidence of what on (sampled thread states).",
    "none": "Nothing needs to be done: slow requests are hardly slower than typical ones, or a given objective is met.",
    "unknown": "The measurement does not decide. The verdict says what would: a longer run, a missing signal, a quieter machine.",
    "starved": "A state of the ledger: the thread could run and no CPU ran it: run queue, quota, or steal. Source: the kernel's "
    "run-queue clock (/proc/PID/task/TID/schedstat).",
    "disk": "A state of the ledger: blocked in a read, a write, a sync or a page-in from storage. Source: sampled thread states.",
    "network": "A state of the ledger: blocked on a connection. As a stage: the way between client and server.",
    "unexplained": "The latency less the sum of all cells. No cell is a remainder: each has a source of its own, so this can be "
    "negative. A verdict is only supported while it is small.",
    "measurement": "As a bound: the finding is about the measurement itself, not about the target (V102, V104 and others).",
    "latency": "How long one request takes, alone in flight, from when it was due to its answer; typical unless a percentile is "
    "named. As a question: what makes one request slow?",
    "throughput": "Requests completed a second with a number of them in flight.",
    "p99": "The 99th percentile: one request in a hundred takes longer. With too few requests for it (459) it is not given, and "
    "neither are p90 and p50 without theirs.",
    "interval": "The figures in brackets: 95 % of the intervals made like this hold the true value. Means are made of batches, "
    "since requests that follow each other are alike. `n` is how many figures it is made of. Where `load` saw too few requests "
    "for an interval there is no figure, and it says about how many are needed.",
    "ledger": "The account of a request's time: stages by states, each cell measured by a source of its own.",
    "ceiling": "The most that this machine, or a resource of the target, can do: measured for the machine (`pinchpoint "
    "machine`), capacity over demand for a resource.",
    "capacity": "The most requests a second that the target serves, found by raising the number in flight until throughput "
    "stops growing, and the resource that is full then.",
    "tail": "Requests above the 99th percentile of latency, or the highest that the sample resolves; explained by what they "
    "spend beyond typical ones, cell by cell.",
    "startup": "From the begin of the process to the first answer: the interpreter, importing libraries, your own module's code, "
    "opening the model, and the first request. After the main run the target is started again a few times in processes of "
    "its own, in turn with its own files in the page cache (warm) and on disk (cold). The files are let go by advice; the "
    "system's cache is never dropped, and libraries stay in it. Example inputs are not counted.",
    "cold": "A start whose own files (the model, its weights, your module) come from disk. Where the kernel keeps their pages "
    "(mapped by another process, not yet written, a disk in memory), there is none, and the report says so. "
    "Caches of the disk's or the hypervisor's own stay as they are, so it is no slower than a first start on a new machine.",
    "warm": "A start whose files are in the page cache: what is left is CPU work and waiting for other things than the disk.",
    "demand": "Busy seconds of a resource a completed request, without what is busy anyway. Its capacity over its demand is its "
    "ceiling in requests a second; the smallest ceiling is the bottleneck (operational analysis: Denning & Buzen 1978).",
    "gil": "A resource: Python's global interpreter lock. One thread at a time runs Python code; native code may let go of "
    "it. Its holder is sampled from outside of the process.",
    "lock": "A resource: a lock that the target's own code makes, named by the line that made it; timed while several "
    "requests are in flight.",
    "semaphore": "A resource: a number of places that the target's own code makes, named by the line that made it.",
    "pool": "A resource: an executor's workers, named by the line that made it; each is busy from the begin of a job to its end.",
    "process": "A resource of a server: one of several processes that serve alike while requests lie unevenly among them, named "
    "by its id; busy while any of its threads has something to do.",
    "loop": "A resource: an event loop, busy while it does not wait in its selector.",
    "queue": "A stage: waiting for a worker, an instance, or a batch to fill.",
    "counters": "What a live server counts of itself: requests, and seconds that they queue or compute, read beside the load "
    "from Triton's statistics or from a page of metrics as Prometheus text (Triton, TorchServe, TensorFlow Serving, "
    "llama-server, vLLM, MLServer, KServe). Only differences of them are told: what was counted while one request was in "
    "flight. A gauge (running, waiting, the share of a KV cache) is shown over time only. docs/servers.md says where each "
    "server tells them.",
    "passive": "Of `record`: a server that runs is watched under the load that it has, by its URL or its process (--pid N), and "
    "nothing is sent. It tells which resources are how full, where CPU time goes and what is waited for, as shares of the time. "
    "No request is observed: latency, tail and throughput are not known. docs/servers.md says what can be told and what not.",
    "backlog": "Connections to a server that are made and that it has not accepted: who made them waits for a worker, or for "
    "the event loop.",
    "server-timing": "A header of an answer by which a server tells how long each stage of the request took. "
    "pinchpoint.asgi.Middleware writes it from the stages that are marked; what other servers write counts too. Where "
    "it is there, the rows of the ledger take their stages from it. Of a server that nobody can look into, how long a "
    "stage takes is then known and what it is spent on is not: unseen. docs/servers.md has an example.",
    "traces": "Of a server: --set traces=FILE names where it writes OpenTelemetry's traces (OTLP as JSON lines). Requests "
    "then bear the header traceparent, and the spans below theirs are the stages of the ledger. docs/servers.md says more.",
    "unseen": "A stage of a server into which nobody can look from here: the server itself tells how long it takes "
    "(server-timing), and what for is not known.",
    "running": "A gauge that some servers tell: requests that are worked on at a moment.",
    "prefill": "Of an answer that comes as a stream of tokens: what is computed until the first one is there.",
    "decode": "Of an answer that comes as a stream of tokens: what is computed from the first one to the last.",
    "waiting": "A gauge that some servers tell: requests that queue at a moment.",
    "framework": "A stage: request handling, and code of yours that lies in no other stage.",
    "deserialize": "A stage: from bytes to objects (JSON, protobuf, base64).",
    "preprocess": "A stage: from the request's objects to the model's input (decoding, resizing, tokenising).",
    "model": "A stage: the run of the model; inside it, its operators.",
    "postprocess": "A stage: from the model's output to the answer (softmax, top-k, boxes).",
    "serialize": "A stage: from objects to bytes.",
    "client": "A stage: what the load generator itself adds.",
    "hypothesis": "A level of proof: one observation suggests it.",
    "supported": "A level of proof: the ledger accounts for the time, and the look-alikes were looked for and are absent.",
    "verified": "A level of proof: an experiment changed that one thing, and the outcome moved as predicted.",
    "defect": "A kind of cause: it can be removed in software.",
    "limit": "A kind of cause: the hardware does honest work. It comes with the headroom to the ceiling.",
    "typical": "The requests between the 25th and the 75th percentile of latency, after the warm-up.",
    "headroom": "How far a limit is from its ceiling, from 0 (at it) to 1.",
    "gain": "Before over after, above 1 is better: of the typical latency, p99, throughput or a start, as the report says beside "
    "it. Predicted from the tables and the machine's ceilings, with an interval; either a forecast or a bound.",
    "forecast": "A predicted gain of a remedy, from the tables and this machine's ceilings: what it should give.",
    "estimate": "The kind of a gain that a report calls a forecast: what the remedy should give.",
    "settings": "Of a model file, by --set KEY=VALUE: intra_op_threads, inter_op_threads (whole numbers), "
    "graph_optimization (disabled, basic, extended, layout, all), execution_mode (sequential, parallel), dim.NAME (the size "
    "of a free dimension, such as dim.height=48), providers (names with commas), and any session.* entry of ONNX Runtime, "
    "such as session.intra_op.allow_spinning=0. Of a live server, metrics=URL: where it tells its counters as Prometheus "
    "text, if that is not where its kind usually does (explain counters); and ca=FILE, insecure=yes (of TLS: explain tls). "
    "Defaults of these and of other options can lie in a file: explain pyproject.",
    "load": "The verb that sends requests to a server. With --concurrency a closed loop: each request in flight is followed by "
    "the next when its answer is there. With --rate an open loop: requests are due at times that do not wait for the server, so "
    "what piles up behind a slow answer is counted; latency is from due to done. Rarely needed, by --set NAME=VALUE: think=10ms "
    "(a pause after each answer), warmup=2s (a start that does not count; found out unless given), mix=3,1 (weights of --input), "
    "mlperf=yes (MLPerf's rules for percentiles as well), ca=FILE, insecure=yes (of TLS). A header's value env:NAME is read from "
    "the environment; no value of a header is in a run, a report or a log. Other machines are sent one request at a time unless "
    "--max-rate permits more.",
    "decoupled": "Of a model of Triton that may answer a request any number of times (model_transaction_policy). It is found out "
    "by the model's configuration, and asked by a stream of gRPC (ModelStreamInfer), or by events over HTTP (generate_stream). "
    "The time to the first response, between responses, and how many a request has are told as for tokens.",
    "tls": "Of https:// and grpcs://. A server's certificate is checked by the system's authorities, or by those that --set "
    "ca=FILE names (PEM). With --set insecure=yes nothing is checked; gRPC, which always checks, then takes the one certificate "
    "that the server shows, if it is valid today. The server that does nothing, against which the client measures itself, speaks "
    "TLS where the target does, so that TLS is not booked to the server.",
    "knee": "The fewest requests in flight that reach nine tenths of the highest throughput: beyond it, more of them only wait.",
    "over-saturated": "An open loop that sends more than the server answers. Latency grows for as long as it lasts, so none is "
    "told; the answers a second are what the server can do.",
    "mlperf": "The rules of MLPerf Inference for a percentile: a run shows at 99 % confidence that p99 is within a bound if 459 "
    "queries are all within it, 2,010 with ten above, and so on (early stopping), or with 262,742 queries without that rule. "
    "They take queries as independent; where they queue they are not.",
    "pyproject": "Defaults for `diagnose` and `record`, in the table [tool.pinchpoint] of a pyproject.toml of the current "
    'folder or in the nearest one above it that has the table: budget, timeout (seconds, or a text such as "5m"),'
    " out, input, python (paths count from the file's folder), seed, batch, length, workers, quiet (true or "
    "false), and set, a table such as set = {intra_op_threads = 1}. An option on the command line replaces the "
    "file's. The table [tool.pinchpoint.limits] overrides limits by name, such as trivial_share = 0.02, for "
    "`load` and `report` as well; `explain limits` lists them; [tool.pinchpoint.frames] "
    "puts frames of a live server into stages (docs/servers.md). Of the options, out, seed and quiet hold for "
    "`load`. A file that another user has put above your folder is not read, and trust cannot be given in a file.",
}


OF_A_CEILING = (
    "A ceiling of this machine, measured by small workloads in the target's own runtime by data type, threads and footprint; "
    "`pinchpoint machine` shows it, and each run keeps its own."
)


def explained(word: str, plugins: Plugins, limits: Limits) -> str:
    """The page of a word, at most 80 columns wide; BadInput names near matches of a word that is not known."""
    asked = word.strip()
    if asked.lower() in ("", CAUSES):
        return index(plugins)
    causes = {detector.code.lower(): detector for detector in plugins.detectors}
    if asked.lower() in causes:
        return cause_page(causes[asked.lower()])
    if asked.lower() in GLOSSARY:
        return _wrapped(f"{asked.lower()}: {GLOSSARY[asked.lower()]}")
    metrics = {source.name: source for source in plugins.signals}
    if asked in metrics:
        found = metrics[asked]
        return _wrapped(f"{found.name} ({found.unit}, by {found.mechanism}): {found.doc}")
    if asked in CEILING_WORDS:
        return _wrapped(f"{asked}: {CEILING_WORDS[asked]}. {OF_A_CEILING}")
    if asked == "limits":
        return "\n".join(_limit_lines(limits))
    if asked in limits.by_name:
        limit = limits.by_name[asked]
        return _wrapped(f"{limit.name} = {limit.value:g} {limit.unit}: {limit.why} Source: {limit.source}.")
    raise _not_known(
        asked, [*(d.code for d in plugins.detectors), *GLOSSARY, *metrics, *CEILING_WORDS, *limits.by_name]
    )


def index(plugins: Plugins) -> str:
    """All causes, a line each, and the other words but signals and limits."""
    causes = [f"{each.code}  {each.title}" for each in sorted(plugins.detectors, key=lambda each: each.code)]
    return "\n".join(
        [*causes, "", _wrapped(f"Other words: {', '.join(sorted(GLOSSARY))}, limits; and the name of any signal.")]
    )


def cause_page(detector: Detector) -> str:
    """A cause: its headline, what it is about, and the four sections of its detector."""
    lines = [f"{detector.code}  {detector.title}", f"bound: {detector.bound}   kind: {detector.kind}", ""]
    if detector.code in CAUSE_HEADLINE:
        lines += [_wrapped(CAUSE_HEADLINE[detector.code]), ""]
    lines += [_wrapped(detector.question), ""]
    for title, body in sections(detector):
        lines += [f"{title}:", textwrap.indent(_wrapped(body, WIDTH - 2), "  "), ""]
    return "\n".join(lines).rstrip() + "\n"


def sections(detector: Detector) -> Iterator[tuple[str, str]]:
    """Title and text of the sections of a detector's docstring."""
    for match in _SECTION.finditer(inspect.cleandoc(detector.doc)):
        yield match["title"], " ".join(match["body"].split())


def _limit_lines(limits: Limits) -> Iterator[str]:
    for limit in sorted(limits, key=lambda each: each.name):
        yield _wrapped(f"{limit.name} = {limit.value:g} {limit.unit}: {limit.why}")


def _wrapped(text: str, width: int = WIDTH) -> str:
    return "\n".join(textwrap.wrap(text, width))


def _not_known(word: str, known: list[str]) -> BadInput:
    near = difflib.get_close_matches(word, known, n=4, cutoff=0.5) or difflib.get_close_matches(
        word.upper(), known, n=4, cutoff=0.5
    )
    todo = f"Near to it are {', '.join(near)}" if near else f"{CAUSES} lists all of them, and the other words"
    return BadInput(what=f"{word!r} is not a word that pinchpoint explains", where="explain", todo=todo)
