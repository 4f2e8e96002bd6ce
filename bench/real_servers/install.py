"""Installs real inference servers into a folder, each by itself; nothing of the system is changed.

    python -m bench.real_servers.install [NAME ...] [--into build/servers]

One line tells what became of each. What this machine cannot have is said and is no failure: its tests skip with that reason. What is
there already, by the same recipe, is left as it is.
"""

from __future__ import annotations

import argparse
import ctypes.util
import hashlib
import os
import shutil
import sys
import sysconfig
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from inspect import getsource
from pathlib import Path

from bench.real_servers import debian
from bench.real_servers.failed import Failed, run

HERE = Path(__file__).parent
PLACE = os.environ.get("PINCHPOINT_SERVERS", "build/servers")  # another one, for who has them already
FOLDER = HERE.parents[1] / PLACE
MARK, WHY = "installed", "why-not"
AT_ONCE = 2  # unpacking wheels keeps a CPU busy
PERF_ANALYZER = "perf-analyzer==2.60.0"  # without a version pip takes an empty placeholder
PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
ITS_PLATFORM = "manylinux_2_38_x86_64"  # newer than Debian 12: it runs under a C library of its own


def packages(name: str, folder: Path) -> None:
    """A virtual environment with what the server's lock file pins."""
    run([sys.executable, "-m", "venv", "--without-pip", str(folder)])
    pip = [*PIP, "--python", str(folder / "bin/python")]
    run([*pip, "install", "--requirement", str(HERE / "locks" / f"{name}.txt")])


def triton(folder: Path) -> None:
    """The server inside of pytriton's wheel, and its Python backend in the form that the server itself expects."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    ours = Path(sysconfig.get_config_var("LIBDIR"), f"libpython{version}.so.1.0")  # the backend's stub embeds it
    if not ours.exists() and ctypes.util.find_library(f"python{version}") is None:
        raise Failed(f"needs {ours.name} (Debian's libpython{version})")
    packages("triton", folder)
    bundled = next(folder.glob("lib/python*/site-packages/pytriton"))
    backend = folder / "backends/python"
    backend.mkdir(parents=True)
    stub = "triton_python_backend_stub"
    names = ("backends/python/libtriton_python.so", "backends/python/triton_python_backend_utils.py",
             f"python_backend_stubs/{version}/{stub}")  # fmt: skip
    for part in (bundled / "tritonserver" / each for each in names):
        if not part.exists():
            raise Failed(f"its Python backend has no part for Python {version}")
        shutil.copy(part, backend)
    (backend / stub).chmod(0o755)


def torchserve(folder: Path) -> None:
    """Its frontend is a Java program."""
    if shutil.which("java") is None:
        raise Failed("needs Java 17 (Debian's openjdk-17-jre-headless)")
    packages("torchserve", folder)


def llama(folder: Path) -> None:
    """Debian's package, unpacked with a C library of its own, and a small model of random weights."""
    debian.unpacked(folder / "debian", "forky", ["llama.cpp-tools"], with_dependencies=True)
    packages("llama", folder)
    run([str(folder / "bin/python"), str(HERE / "apps/random_gguf.py"), str(folder / "random.gguf")])


def transformers(folder: Path) -> None:
    """Its own server of language models, and a small model of random weights."""
    packages("transformers", folder)
    run([str(folder / "bin/python"), str(HERE / "apps/random_llama.py"), str(folder / "random")])


def tensorflow(folder: Path) -> None:
    """The runtime of the double of TensorFlow Serving, and a SavedModel."""
    packages("tensorflow", folder)
    run([str(folder / "bin/python"), str(HERE / "apps/saved_model.py"), str(folder / "saved_model")])


def perf_analyzer(folder: Path) -> None:
    """Triton's own load generator, a peer to compare with; under a C library of its own."""
    run(
        [
            *PIP,
            "download",
            "--no-deps",
            "--only-binary=:all:",
            "--platform",
            ITS_PLATFORM,
            "--dest",
            str(folder),
            PERF_ANALYZER,
        ]
    )
    wheel = next(folder.glob("*.whl"))
    shutil.unpack_archive(wheel, folder / "wheel", "zip")
    wheel.unlink()
    (folder / "wheel/perf_analyzer/bin/perf_analyzer").chmod(0o755)
    debian.unpacked(folder / "debian", "trixie", ["libc6", "libstdc++6", "libgcc-s1", "zlib1g"])


RECIPES: Mapping[str, Callable[[Path], None]] = {
    "triton": triton,
    "torchserve": torchserve,
    "mlserver": lambda folder: packages("mlserver", folder),
    "bentoml": lambda folder: packages("bentoml", folder),
    "llama": llama,
    "transformers": transformers,
    "tensorflow": tensorflow,
    "perf_analyzer": perf_analyzer,
}


def missing(name: str, into: Path = FOLDER) -> str | None:
    """Why a server is not there, in words; None where it is."""
    if (into / name / MARK).exists():
        return None
    told = into / f"{name}.{WHY}"
    return f"{name} is not installed: {told.read_text('utf-8') if told.exists() else 'make servers'}"


def installed(name: str, into: Path) -> str:
    """Installs one, and tells what became of it in a line."""
    folder, mark, told = into / name, _mark(name), into / f"{name}.{WHY}"
    if (folder / MARK).exists() and (folder / MARK).read_text("utf-8") == mark:
        return "there already"
    began = time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    told.unlink(missing_ok=True)
    folder.mkdir(parents=True)
    try:
        RECIPES[name](folder)
    except (Failed, OSError, shutil.ReadError, StopIteration) as error:
        shutil.rmtree(folder, ignore_errors=True)
        why = str(error) or type(error).__name__
        told.write_text(why, "utf-8")
        return f"NOT INSTALLED: {why}"
    (folder / MARK).write_text(mark, "utf-8")
    size = sum(each.lstat().st_size for each in folder.rglob("*") if each.is_file())
    return f"installed in {time.monotonic() - began:.0f} s, {size / 1e6:.0f} MB"


def _mark(name: str) -> str:
    """What changes when the recipe does: how it is installed, what is pinned, and what is made there."""
    files = (f"locks/{name}.txt", "debian.py", "apps/random_gguf.py", "apps/random_llama.py", "apps/saved_model.py")
    texts = [(HERE / each).read_text("utf-8") for each in files if (HERE / each).exists()]
    return hashlib.sha256("".join([sys.version, PERF_ANALYZER, getsource(RECIPES[name]), *texts]).encode()).hexdigest()


def main() -> int:
    """Installs those that were named, or all, some at once; always 0, what failed is told."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.real_servers.install", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("names", nargs="*", metavar="NAME", choices=(*RECIPES, []), help=f"of {', '.join(RECIPES)}")
    parser.add_argument("--into", type=Path, default=FOLDER, metavar="FOLDER", help=f"where to ({PLACE})")
    chosen = parser.parse_args()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        running = {pool.submit(installed, name, chosen.into.resolve()): name for name in chosen.names or RECIPES}
        for each in as_completed(running):
            print(f"{running[each]:<14}{each.result()}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
