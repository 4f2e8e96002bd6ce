"""A torch model file: an exported program (`.pt2`) or TorchScript (`.pt`); read by the torch of the user's interpreter."""

from __future__ import annotations

import stat
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from pinchpoint.contracts import Plan
from pinchpoint.domain.target import TargetFacts, TargetSpec
from pinchpoint.domain.workload import Workload
from pinchpoint.errors import BadInput
from pinchpoint.targets.python_callable import absolute_input

EXPORTED, SCRIPTED = ".pt2", (".pt", ".pth", ".ts", ".torchscript")
FILE_BYTES = 64 << 30
MEMBERS = 200_000
FACTORY = "name the code that builds the model: model.py:build"


@dataclass(frozen=True, slots=True)
class TorchFile:
    """A file that torch.export.save or torch.jit.save wrote. Reading either can run code, so the user must trust it."""

    kind: str = "torch"

    def recognises(self, uri: str) -> bool:
        """By its name; what is in it is checked in `prepare`."""
        return uri.lower().endswith((EXPORTED, *SCRIPTED))

    def prepare(self, spec: TargetSpec, workload: Workload, folder: Path) -> Plan:
        """Look at the file's table of contents, never at what is pickled in it; BadInput where it cannot be used."""
        del folder
        path = Path(spec.uri)
        form = _form(path, _members(path))
        if not spec.trust:
            raise BadInput(
                what=f"reading {'an exported program' if form == 'exported' else 'TorchScript'} can run code from the file",
                where=spec.uri,
                todo="Use --trust if you trust the file",
            )
        if workload.batch > 1:
            raise BadInput(
                what="--batch needs a model with open sizes, and a torch file does not tell which are",
                where=spec.uri,
                todo="Give a larger request with --input",
            )
        load = {
            "kind": self.kind,
            "uri": spec.uri,
            "path": str(path.resolve()),
            "form": form,
            "folder": str(Path.cwd()),
            "input": None if spec.input is None else absolute_input(spec.input),
            "trust": spec.trust,
            "settings": dict(spec.settings),
        }
        return Plan(spec, TargetFacts(self.kind, spec.uri, settings=spec.settings), load)


def _members(path: Path) -> list[str]:
    """The names in the archive; BadInput where it is none, or larger than can be meant."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise BadInput(what="not a file", where=str(path), todo="Check the path")
        with zipfile.ZipFile(path) as archive:
            found = archive.infolist()
    except FileNotFoundError:
        raise BadInput(what="no such file", where=str(path), todo="Check the path") from None
    except OSError as error:
        raise BadInput(what=f"cannot be read: {error.strerror}", where=str(path), todo="Check the file") from None
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, NotImplementedError, RuntimeError):
        what = "not an archive that torch.export.save or torch.jit.save writes"
        raise BadInput(what=what, where=str(path), todo=f"Save it again, or {FACTORY}") from None
    size = sum(member.file_size for member in found)
    if len(found) > MEMBERS or size > FILE_BYTES:
        raise BadInput(
            what=f"{len(found):,} parts of {size >> 30} GB in all, more than is read",
            where=str(path),
            todo="Check the file",
        )
    return [member.filename for member in found]


def _form(path: Path, members: list[str]) -> str:
    """`exported` or `scripted`, by what the archive holds."""
    inner = [name.partition("/")[2] for name in members]
    if path.name.lower().endswith(EXPORTED):
        if any(name.startswith("models/") for name in inner) or "serialized_exported_program.json" in members:
            return "exported"
        if any(name.startswith("data/aotinductor/") for name in inner):
            what = "a package of compiled code (AOTInductor), which is not measured yet"
            raise BadInput(what=what, where=str(path), todo="Name the program itself, saved with torch.export.save")
        raise BadInput(what="no exported program is in it", where=str(path), todo="Write it with torch.export.save")
    if any(name.startswith("code/") for name in inner) and "constants.pkl" in inner:
        return "scripted"
    what = "weights or a pickled object, not TorchScript" if "data.pkl" in inner else "no TorchScript is in it"
    raise BadInput(what=what, where=str(path), todo=FACTORY[0].upper() + FACTORY[1:])


TORCH_FILE = TorchFile()
