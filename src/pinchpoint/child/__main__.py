"""Entry of the child process: makes `pinchpoint` importable without touching the user's path, then obeys the parent.

Started as `PYTHON .../child/__main__.py CONTROL_FD`. The interpreter may not have pinchpoint installed, and must not see
the packages beside it: only this one package is made importable.
"""

from __future__ import annotations

import time

ENTERED = time.perf_counter_ns(), time.process_time_ns()  # the interpreter is up: what follows is pinchpoint's own

import importlib.util  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402


def _offer_package() -> None:
    """Make the package that this file belongs to importable as `pinchpoint`, and nothing beside it."""
    folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    spec = importlib.util.spec_from_file_location(
        "pinchpoint", os.path.join(folder, "__init__.py"), submodule_search_locations=[folder]
    )
    if spec is None or spec.loader is None:
        raise ImportError(folder)
    package = importlib.util.module_from_spec(spec)
    sys.modules["pinchpoint"] = package
    spec.loader.exec_module(package)


def _start() -> None:
    if sys.version_info < (3, 9):
        sys.exit("Python 3.9 or newer is needed")
    if sys.path and os.path.abspath(sys.path[0]) == os.path.dirname(os.path.abspath(__file__)):
        del sys.path[0]  # put there by the interpreter, unless PYTHONSAFEPATH forbids it
    _offer_package()
    from pinchpoint.child.commands import obey

    control = int(sys.argv[1])
    sys.argv[:] = ["pinchpoint-target"]
    os.set_inheritable(control, False)
    obey(control, ENTERED)


if __name__ == "__main__":
    _start()
