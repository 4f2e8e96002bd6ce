"""The command line: one file a verb; each parses, calls `pinchpoint.api` and prints.

Only `main` turns errors into exit codes. Nothing heavy is imported before a verb runs, so `pinchpoint --help` answers
at once.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import functools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, ParamSpec

import typer

from pinchpoint import __version__
from pinchpoint.cli import configuration
from pinchpoint.cli.diagnose import diagnose
from pinchpoint.cli.explain import explain
from pinchpoint.cli.load import load
from pinchpoint.cli.machine import machine
from pinchpoint.cli.record import record
from pinchpoint.cli.report import report
from pinchpoint.cli.schema import schema
from pinchpoint.cli.streams import say, show, standard_streams
from pinchpoint.errors import INTERRUPTS, Interrupted, PinchpointError, interrupts_postponed

__all__ = ["main"]

Given = ParamSpec("Given")
VERBS: tuple[Callable[..., int], ...] = (diagnose, record, load, report, machine, explain, schema)
DONE, USAGE, DEFECT, INTERRUPTED = 0, 2, 70, 130
OUT_OF_MEMORY = -1  # among ourselves: a usage error, after which nothing more is tried
_NO_MEMORY = ("can't start new thread", "failed to map segment", "Cannot allocate memory")  # as others say it
REPORT_TO = "the pinchpoint issue tracker"
_USAGE_ERROR: Any = typer.BadParameter.__base__  # UsageError: click's own, or the copy in newer versions of typer
_ELSEWHERE = "Choose another folder with --out, or make room"
_SHORTAGES = {  # of the system, with what the user can do about each
    errno.ENOSPC: _ELSEWHERE, errno.EDQUOT: _ELSEWHERE, errno.EROFS: _ELSEWHERE, errno.EACCES: _ELSEWHERE,
    errno.EMFILE: "Raise the limit with ulimit -n", errno.ENFILE: "Close some programs",
    errno.ENOMEM: "Give it more memory", errno.EAGAIN: "Close some programs, or raise the limit with ulimit -u",
}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; never raises and never shows a traceback unless asked to.

    0 answered, 1 a gate failed, 2 usage or bad input, 3 invalid or inconclusive, 70 our own defect, 130 interrupted.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments or bool(os.environ.get("PINCHPOINT_DEBUG"))
    with standard_streams(), _terminations_as_interrupts():
        code = _answered(arguments, debug=debug)
    if argv is None:
        if code == OUT_OF_MEMORY:
            os._exit(USAGE)  # libraries that end in order want memory for it, and crash without
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # all is done: an interrupt of the interpreter's own end is silent
    return USAGE if code == OUT_OF_MEMORY else code


def _answered(arguments: list[str], *, debug: bool) -> int:
    """The exit code, after what went wrong was said."""
    try:
        return _run([each for each in arguments if each != "--debug"])
    except KeyboardInterrupt:
        say("interrupted.")
        return INTERRUPTED
    except _USAGE_ERROR as error:
        say(_usage(error))
        return USAGE
    except PinchpointError as error:
        if error.exit_code == DEFECT:
            return _defect(error, debug=debug)
        say(str(error))
        return error.exit_code
    except OSError as error:
        if error.errno not in _SHORTAGES:
            return _defect(error, debug=debug)
        say(f"{error.filename or 'system'}: {error.strerror}. {_SHORTAGES[error.errno]}.")
        return USAGE
    except MemoryError:
        say("memory ran out. Give pinchpoint more, or measure less with a smaller --budget.")
        return OUT_OF_MEMORY
    except Exception as error:  # noqa: BLE001  # the last line of defence: a user never sees a traceback unasked
        if isinstance(error, RuntimeError | ImportError) and any(each in str(error) for each in _NO_MEMORY):
            say(f"memory ran out: {error}. Give pinchpoint more (ulimit -v, ulimit -u).")
            return OUT_OF_MEMORY
        return _defect(error, debug=debug)


@contextlib.contextmanager
def _terminations_as_interrupts() -> Iterator[None]:
    """Whoever terminates pinchpoint, or closes its terminal, gets what Ctrl-C gives: a saved run and no leftovers."""
    main = threading.current_thread() is threading.main_thread()
    ours = [each for each in INTERRUPTS if main and signal.getsignal(each) is signal.SIG_DFL]
    for each in ours:
        signal.signal(each, signal.default_int_handler)
    try:
        yield
    finally:
        for each in ours:
            signal.signal(each, signal.SIG_DFL)


def _run(arguments: list[str]) -> int:
    """Parse and call the verb."""
    if not arguments:
        with contextlib.redirect_stdout(sys.stderr):
            _application()(["--help"], prog_name="pinchpoint", standalone_mode=False)
        return USAGE
    verb = next((each for each in arguments if not each.startswith("-")), None)
    names = [each.__name__ for each in VERBS]
    if verb is not None and verb not in names:
        say(_unknown_verb(verb, names))
        return USAGE
    helped = any(each in ("-h", "--help") for each in arguments)
    defaults = configuration.read().defaults() if verb in configuration.VERBS and not helped else None
    try:
        with interrupts_postponed():
            command = typer.main.get_command(_application())
        code = command(arguments, prog_name="pinchpoint", standalone_mode=False, default_map=defaults)
        if code == INTERRUPTED and "pinchpoint.api" not in sys.modules:
            raise KeyboardInterrupt  # typer, interrupted before the verb began, says nothing
    except SystemExit as stop:
        if isinstance(stop.__context__, OSError):  # typer's answer to a reader of the help text that went away
            return DONE
        raise RuntimeError(f"exit with {stop.code}") from stop
    return int(code or DONE)


def _application() -> typer.Typer:
    """The verbs as a typer application, without the parts of typer that load rich."""
    application = typer.Typer(
        name="pinchpoint", add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )  # fmt: skip
    application.callback()(_pinchpoint)
    for verb in VERBS:
        application.command(verb.__name__)(_interruptible(verb))
    return application


def _version(wanted: bool) -> None:
    """Print the version and leave."""
    if wanted:
        show(f"pinchpoint {__version__}")
        raise typer.Exit


def _pinchpoint(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an internal error.")] = False,
) -> None:
    """Find what limits an ML inference system, and what removing the limit would gain.

    Start with: pinchpoint diagnose model.onnx
    """


def _interruptible(verb: Callable[Given, int]) -> Callable[Given, int]:
    """`verb` with an interrupt as an error of ours, which typer passes on; libraries are loaded in one piece."""

    @functools.wraps(verb)
    def called(*positional: Given.args, **named: Given.kwargs) -> int:
        try:
            with interrupts_postponed():
                import pinchpoint.api  # noqa: F401
            return verb(*positional, **named)
        except KeyboardInterrupt as error:
            raise Interrupted(what="interrupted", where="", todo="") from error

    return called


def _unknown_verb(word: str, names: Sequence[str]) -> str:
    """One helpful line about a first word that is no verb: a target without its verb, or a misspelling."""
    close = difflib.get_close_matches(word, names, n=1)
    if close and not os.path.exists(word):
        return f"no verb {word!r}; did you mean {close[0]}? See pinchpoint --help."
    if any(c in word for c in "./:") or os.path.exists(word):
        import shlex

        return f"say what to do with {word}: pinchpoint diagnose {shlex.quote(word)}"
    return f"no verb {word!r}; the verbs are {', '.join(names)}. See pinchpoint --help."


def _usage(error: typer.BadParameter) -> str:
    """A usage error of typer in one line: what, the nearest that exists, and where to read on."""
    command = error.ctx.command_path if error.ctx else "pinchpoint"
    option, possible = getattr(error, "option_name", None), getattr(error, "possibilities", None)
    if option and hasattr(error, "possibilities"):
        known = [name for each in error.ctx.command.params for name in each.opts] if error.ctx else []
        close = difflib.get_close_matches(option, known, n=1) or list(possible or [])[:1]
        what = f"no option {option}" + (f"; did you mean {close[0]}?" if close else ".")
    else:
        what = error.format_message().rstrip(".") + "."
    return f"{what} See {command} --help."


def _defect(error: BaseException, *, debug: bool) -> int:
    """One line about a defect of ours, with a file that holds the traceback; the traceback itself where asked for."""
    import tempfile
    import traceback

    text = "".join(traceback.format_exception(error))
    if debug:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(text)
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="pinchpoint-", suffix=".log", delete=False, encoding="utf-8", errors="replace"
        ) as log:
            log.write(f"pinchpoint {__version__}, Python {sys.version}, {sys.platform}\n{text}")
        kept = f"with {log.name}"
    except OSError:
        kept = "with what --debug prints"
    words = " ".join(str(error).split())[:200]
    say(f"internal error, {type(error).__name__}: {words}. Please report it to {REPORT_TO} {kept}")
    return DEFECT
