"""How a plant comes to stand ready: a template or a network written to its folder, and what is set up around it.

A surrounding is a context manager that gives constants for the app (a port, a path) and an argv prefix for the tool.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx

from bench.plants.cgroups import cgroup, granting, joining
from bench.plants.contract import Prepare, Prepared
from bench.plants.disks import drop_from_cache, loop_disk, slow_disk
from bench.plants.neighbours import cores, downstream, hogs
from bench.plants.swap import zram_swap

APPS = Path(__file__).with_name("apps")
Constant = str | float | bool | tuple[int, ...]
Network = Callable[[], onnx.ModelProto]


@dataclass(frozen=True, slots=True)
class Surrounding:
    """What was set up: constants of the app that point at it, and how the tool is started inside it."""

    constants: Mapping[str, Constant] = field(default_factory=dict)
    wrapper: tuple[str, ...] = ()


Around = Callable[[Path], AbstractContextManager[Surrounding]]


def app(
    template: str,
    *around: Around,
    network: Network | None = None,
    truth: Mapping[str, float] | None = None,
    **constants: Constant,
) -> Prepare:
    """A Python target: `apps/TEMPLATE.py` as app.py with these constants, beside model.onnx."""

    @contextlib.contextmanager
    def prepare(folder: Path) -> Iterator[Prepared]:
        with _surrounded(folder, around) as (found, wrapper):
            if network is not None:
                _write(network, folder / "model.onnx")
            source = with_constants((APPS / f"{template}.py").read_text(), {**found, **constants})
            (folder / "app.py").write_text(source)
            yield Prepared(f"{folder / 'app.py'}:handle", (), wrapper, truth or {})

    return prepare


def model(network: Network, *around: Around, options: str = "", truth: Mapping[str, float] | None = None) -> Prepare:
    """A model file as the target, with options for the command line; @FOLDER in them is the plant's folder."""

    @contextlib.contextmanager
    def prepare(folder: Path) -> Iterator[Prepared]:
        with _surrounded(folder, around) as (_, wrapper):
            _write(network, folder / "model.onnx")
            given = tuple(option.replace("@FOLDER", str(folder)) for option in options.split())
            yield Prepared(str(folder / "model.onnx"), given, wrapper, truth or {})

    return prepare


def with_constants(source: str, constants: Mapping[str, Constant]) -> str:
    """The source with top-level assignments replaced; KeyError if there is not exactly one of that name."""
    for name, value in constants.items():
        source, count = re.subn(
            rf"^{name} = .*?(?=  #|$)", lambda _, n=name, v=value: f"{n} = {v!r}", source, flags=re.MULTILINE
        )
        if count != 1:
            raise KeyError(f"{name}: {count} assignments")
    return source


@contextlib.contextmanager
def _surrounded(folder: Path, around: tuple[Around, ...]) -> Iterator[tuple[dict[str, Constant], tuple[str, ...]]]:
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as undo:
        constants: dict[str, Constant] = {}
        wrapper: tuple[str, ...] = ()
        for enter in around:
            found = undo.enter_context(enter(folder))
            constants |= found.constants
            wrapper += found.wrapper
        yield constants, wrapper


def _write(network: Network, path: Path) -> None:
    path.write_bytes(network().SerializeToString())


# --- surroundings ------------------------------------------------------------------------------------------------


def one_core(which: int = 0) -> Around:
    """The tool and its target on one CPU."""

    @contextlib.contextmanager
    def enter(_: Path) -> Iterator[Surrounding]:
        yield Surrounding(wrapper=("taskset", "-c", str(cores()[which])))

    return enter


def busy_neighbours(count: int, which: int = 0) -> Around:
    """The same, with that many other processes computing on that CPU."""

    @contextlib.contextmanager
    def enter(_: Path) -> Iterator[Surrounding]:
        cpu = cores()[which]
        with hogs(count, cpu):
            yield Surrounding(wrapper=("taskset", "-c", str(cpu)))

    return enter


def outweighed(shares: int, neighbour_shares: int, which: int = -1) -> Around:
    """Two groups on one CPU, as two containers: the target's weight against that of two computing processes."""

    @contextlib.contextmanager
    def enter(_: Path) -> Iterator[Surrounding]:
        cpu = cores()[which]
        with (
            cgroup("cpu", {"cpu.shares": str(neighbour_shares)}) as theirs,
            cgroup("cpu", {"cpu.shares": str(shares)}) as ours,
            hogs(2, cpu, joining(theirs)),
        ):
            yield Surrounding(wrapper=(*joining(ours), "taskset", "-c", str(cpu)))

    return enter


def quota(cpus: float, period_s: float = 0.1) -> Around:
    """A group that may use so many CPUs' time in each period."""

    @contextlib.contextmanager
    def enter(_: Path) -> Iterator[Surrounding]:
        with cgroup("cpu", granting(cpus, period_s)) as group:
            yield Surrounding(wrapper=joining(group))

    return enter


def disk(
    constant: str,
    name: str,
    size_mb: int,
    fill: Callable[[Path], None] | None = None,
    *,
    cold: bool = True,
    **limits: int,
) -> Around:
    """A slow disk whose file `name`, or whole folder if that is empty, becomes `constant`; `fill` writes it, and `cold`
    takes it out of the page cache again.
    """

    @contextlib.contextmanager
    def enter(folder: Path) -> Iterator[Surrounding]:
        with slow_disk(folder / "disk", size_mb, limits) as made:
            path = made.folder / name if name else made.folder
            if fill is not None:
                fill(path)
                if cold:
                    drop_from_cache(path)
            assert made.group is not None
            yield Surrounding({constant: str(path)}, joining(made.group))

    return enter


def plain_disk(constant: str, name: str, size_mb: int, fill: Callable[[Path], None]) -> Around:
    """The loop device without any throttle, its file out of the page cache."""

    @contextlib.contextmanager
    def enter(folder: Path) -> Iterator[Surrounding]:
        with loop_disk(folder / "disk", size_mb) as made:
            fill(made.folder / name)
            drop_from_cache(made.folder / name)
            yield Surrounding({constant: str(made.folder / name)})

    return enter


def little_memory(limit_mb: int, swap_mb: int) -> Around:
    """A memory limit, and swap for what is above it."""

    @contextlib.contextmanager
    def enter(_: Path) -> Iterator[Surrounding]:
        with zram_swap(swap_mb), cgroup("memory", {"memory.limit_in_bytes": f"{limit_mb}M"}) as group:
            yield Surrounding(wrapper=joining(group))

    return enter


def service(delay_s: float, drift_s_per_s: float = 0.0) -> Around:
    """A downstream service, whose port becomes PORT."""

    @contextlib.contextmanager
    def enter(_: Path) -> Iterator[Surrounding]:
        with downstream(delay_s, drift_s_per_s) as port:
            yield Surrounding({"PORT": port})

    return enter


def feeds(count: int, **shapes: tuple[int, int, int]) -> Around:
    """Requests in FOLDER/requests for --input: int64 of shape [1, lookups], ids below `rows`, a multiple of `step` apart."""

    @contextlib.contextmanager
    def enter(folder: Path) -> Iterator[Surrounding]:
        (folder / "requests").mkdir()
        random = np.random.default_rng(0)
        for number in range(count):
            arrays = {
                name: random.integers(0, rows, (1, lookups)) * step for name, (lookups, rows, step) in shapes.items()
            }
            np.savez(folder / "requests" / f"{number:02}.npz", **arrays)
        yield Surrounding()

    return enter
