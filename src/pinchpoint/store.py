"""Run <-> folder: `manifest.json` beside one Parquet file for each table of `Run`.

The fields of `Run` that are tables (dataclasses of numpy columns) become files, all others go into the manifest. Both
are found from the dataclasses: a field added there is stored without a change here, and one with a default may be
missing from an older run. The manifest is renamed into place last: a folder without it is an incomplete run.

A run folder may come from anyone. Only the file names that `Run` itself gives are opened, never through a symlink;
sizes are bounded before anything is read; each table must have the length, hash, columns and types that are expected;
and DuckDB reads nothing but that one open file, without extensions. The hashes are against accidents, not forgery.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import os
import re
import stat
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import duckdb
import msgspec
import numpy as np
import numpy.typing as npt

from pinchpoint.domain.outcomes import BUCKETS, OUTCOMES
from pinchpoint.domain.run import SITES, Run
from pinchpoint.domain.traffic import LoadRun
from pinchpoint.errors import BadInput, RunDamaged

SCHEMA = "pinchpoint/run/1"
MANIFEST = "manifest.json"
MANIFEST_BYTES = 64 << 20  # a large graph with all its operators takes 2 MB
TABLE_BYTES = 1 << 30  # a table of a million requests takes 5 to 30 MB
TABLE_VALUES = 200_000_000  # rows x columns: 1.6 GB of memory; a million requests with ten spans each are 100 million
COLUMNS = 1000
FOLDERS_A_MINUTE = 1000
HASH_BLOCK_BYTES = 1 << 20
AGAIN, ELSEWHERE = "Record it again", "Use another --out folder"

Column = npt.NDArray[Any]
Columns = Mapping[str, Column]

_SQL_TYPES = {
    "int8": "TINYINT", "int16": "SMALLINT", "int32": "INTEGER", "int64": "BIGINT", "uint8": "UTINYINT",
    "uint16": "USMALLINT", "uint32": "UINTEGER", "uint64": "UBIGINT", "float32": "FLOAT", "float64": "DOUBLE",
    "bool": "BOOLEAN",
}  # fmt: skip
_FULL = tuple(map(os.strerror, (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)))  # words: DuckDB hands on no numbers


# --- what a run consists of ----------------------------------------------------------------------------------------
@dataclasses.dataclass(frozen=True, slots=True)
class _Table:
    """A table of `Run`: its columns with their types; `named` is the field that holds (name, column) pairs, if any."""

    name: str
    make: Callable[..., Any]
    columns: Mapping[str, np.dtype[Any]]
    defaulted: frozenset[str]
    named: str | None
    named_dtype: np.dtype[Any] | None

    @property
    def file(self) -> str:
        """The name of its file inside the run folder."""
        return f"{self.name}.parquet"

    def split(self, value: object) -> dict[str, Column]:
        """The columns of a table of this kind; ValueError where they disagree in length or share a name."""
        found = [(name, getattr(value, name), dtype) for name, dtype in self.columns.items()]
        if self.named and self.named_dtype is not None:
            found += [(name, column, self.named_dtype) for name, column in getattr(value, self.named)]
        longest = max((len(column) for _, column, _ in found), default=0)
        # an older run may lack columns that came later
        found = [each for each in found if len(each[1]) or not longest or each[0] not in self.defaulted]
        columns = {name: np.ascontiguousarray(column, dtype=dtype) for name, column, dtype in found}
        if len({name.casefold() for name in columns}) < len(found) or len({c.shape for c in columns.values()}) > 1:
            raise ValueError(f"the columns of {self.name} differ in length or share a name")
        return columns

    def join(self, columns: Columns) -> object:
        """The table from its columns."""
        fields: dict[str, Any] = {name: columns[name] for name in self.columns if name in columns}
        if self.named:
            fields[self.named] = tuple((name, column) for name, column in columns.items() if name not in self.columns)
        return self.make(**fields)


class _File(msgspec.Struct, frozen=True):
    """What the manifest says of a table's file."""

    rows: int
    bytes: int
    sha256: str


class _Head(msgspec.Struct, frozen=True):
    """The part of a manifest that every version has."""

    schema: str


class _Manifest(_Head, frozen=True):
    """A manifest but for its field `run`, which has all of a run that is no table."""

    tables: dict[str, _File]


def _dtype(hint: object) -> np.dtype[Any] | None:
    """The dtype of an `NDArray[...]` annotation, or None if it is something else."""
    return np.dtype(get_args(get_args(hint)[1])[0]) if get_origin(hint) is np.ndarray else None


def _table(name: str, hint: object) -> _Table | None:
    """The table that a field of `Run` is, or None if its type is no dataclass of columns."""
    bare = [kind for kind in get_args(hint) if kind is not type(None)]
    kind = bare[0] if get_origin(hint) in {typing.Union, types.UnionType} and len(bare) == 1 else hint
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
        return None
    hints = get_type_hints(kind)
    columns = {field: dtype for field in hints if (dtype := _dtype(hints[field])) is not None}
    named = next((field for field in hints if _named_dtype(hints[field]) is not None), None)
    optional = {f.name for f in dataclasses.fields(kind) if _default(f) is not None}
    if not columns:
        return None
    return _Table(name, kind, columns, frozenset(optional), named, _named_dtype(hints[named]) if named else None)


def _named_dtype(hint: object) -> np.dtype[Any] | None:
    """The dtype of the columns in a `tuple[tuple[str, NDArray], ...]` annotation, or None if it is something else."""
    pair = get_args(hint)[0] if get_origin(hint) is tuple and get_args(hint) else None
    return _dtype(get_args(pair)[1]) if get_origin(pair) is tuple and len(get_args(pair)) > 1 else None


def _default(field: dataclasses.Field[Any]) -> tuple[Any] | None:
    """A field's default as msgspec takes it, in a tuple of one; None if it has none."""
    if field.default_factory is not dataclasses.MISSING:
        return (msgspec.field(default_factory=field.default_factory),)
    return None if field.default is dataclasses.MISSING else (field.default,)


@dataclasses.dataclass(frozen=True, slots=True)
class _Layout:
    """How a type of run is laid out: the schema of its manifest, its tables, and the type of its manifest."""

    schema: str
    make: Callable[..., Any]
    tables: tuple[_Table, ...]
    required: frozenset[str]
    rest: tuple[str, ...]
    manifest: type[_Manifest]


def _layout(kind: type[Any], schema: str = SCHEMA) -> _Layout:
    """The layout of a dataclass such as `Run`."""
    hints, fields = get_type_hints(kind), dataclasses.fields(kind)
    tables = tuple(table for f in fields if (table := _table(f.name, hints[f.name])) is not None)
    names = {table.name for table in tables}
    rest = [f for f in fields if f.name not in names]
    body = msgspec.defstruct(
        "Body", [(f.name, hints[f.name], *(_default(f) or ())) for f in rest], frozen=True, kw_only=True
    )
    manifest = msgspec.defstruct("Manifest", [("run", body)], bases=(_Manifest,), frozen=True)
    required = frozenset(f.name for f in fields if f.name in names and _default(f) is None)
    return _Layout(
        schema, kind, tables, required, tuple(f.name for f in rest), typing.cast("type[_Manifest]", manifest)
    )


LAYOUT = _layout(Run)
LOAD_LAYOUT = _layout(LoadRun, "pinchpoint/load-run/1")


# --- folders -------------------------------------------------------------------------------------------------------
def is_run(path: Path) -> bool:
    """Whether `path` is a folder with a manifest; the run in it may still be damaged."""
    try:
        return stat.S_ISREG((path / MANIFEST).lstat().st_mode)
    except (OSError, ValueError):
        return False


def new_folder(out: Path, now: datetime) -> Path:
    """Create and return a folder in `out` named after the minute, such as `1123-1729`, then `1123-1729-2`, and so on.

    BadInput where it cannot be created: no permission, a full disk, a file in the way.
    """
    name = now.strftime("%m%d-%H%M")
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        for number in range(1, FOLDERS_A_MINUTE):
            folder = out / (name if number == 1 else f"{name}-{number}")
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
                return folder
    raise BadInput(what=f"it has {FOLDERS_A_MINUTE} runs of this minute", where=str(out), todo=ELSEWHERE)


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn a failure to write below `folder` into one line for the user: BadInput."""
    try:
        yield
    except (OSError, duckdb.IOException) as error:
        if any(words in str(error) for words in _FULL):
            raise BadInput(
                what="the disk is full", where=str(folder), todo=f"{ELSEWHERE}, or free some space"
            ) from error
        reason = (isinstance(error, OSError) and error.strerror) or str(error).splitlines()[0]
        raise BadInput(what=f"cannot write there: {reason}", where=str(folder), todo=ELSEWHERE) from error


# --- save ----------------------------------------------------------------------------------------------------------
def save(run: Run | LoadRun, folder: Path) -> None:
    """Write `run` into `folder`, which is created if need be; a run that is already there is replaced.

    All files are written beside their places first and renamed at the end, the manifest last. BadInput where that
    fails (no permission, a full disk); then no new file is left behind. ValueError for a run that could not be read
    again: a NaN outside of the tables, columns of different lengths.
    """
    layout, written = LOAD_LAYOUT if isinstance(run, LoadRun) else LAYOUT, dict[str, Path]()
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            held = [table for table in layout.tables if getattr(run, table.name) is not None]
            files = {table.name: _write_table(run, table, folder, written) for table in held}
            manifest = _encode(run, layout, files)
            written[MANIFEST] = folder / f".{MANIFEST}.new"
            with _created(written[MANIFEST]) as descriptor, os.fdopen(os.dup(descriptor), "wb") as stream:
                stream.write(manifest)
                stream.flush()
                os.fsync(descriptor)
            for name in list(written):  # the manifest came last
                written[name].replace(folder / name)
                del written[name]
        finally:
            for path in written.values():
                path.unlink(missing_ok=True)


def _write_table(run: object, table: _Table, folder: Path, written: dict[str, Path]) -> _File:
    """Write one table to a file beside its place and describe it; `written` learns of the file before it exists."""
    columns = table.split(getattr(run, table.name))
    path = written[table.file] = folder / f".{table.file}.new"
    with _created(path) as descriptor, _database(descriptor) as (database, name):
        database.register("rows", dict(columns))
        form = "FORMAT parquet, PARQUET_VERSION v2, COMPRESSION zstd, USE_TMP_FILE false"  # v2 stores differences
        database.execute(f"COPY (SELECT * FROM rows) TO '{name}' ({form})")  # noqa: S608  # a name of our own
        os.fsync(descriptor)
        rows = len(next(iter(columns.values())))
        return _File(rows, os.fstat(descriptor).st_size, _sha256(descriptor))


def _encode(run: object, layout: _Layout, files: Mapping[str, _File]) -> bytes:
    """The manifest as JSON, proven readable: a NaN would become null, and a run lost is worse than a loud defect."""
    values = {name: getattr(run, name) for name in layout.rest}
    tree = {"schema": layout.schema, "tables": files, "run": values}
    try:
        text = msgspec.json.encode(tree, enc_hook=_scalar)
    except UnicodeEncodeError:  # a file name that is not UTF-8
        text = msgspec.json.encode(_printable(msgspec.to_builtins(tree, enc_hook=_scalar)))
    try:
        msgspec.json.decode(text, type=layout.manifest)
    except msgspec.ValidationError as error:
        raise ValueError(f"this run cannot be stored: {error}") from error
    return msgspec.json.format(text, indent=1)


def _scalar(value: object) -> object:
    """The scalars of numpy as those of Python."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} in a run")


def _printable(tree: object) -> object:
    """`tree` with what is not UTF-8 in its strings replaced."""
    if isinstance(tree, str):
        return tree.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(tree, dict):
        return {_printable(key): _printable(value) for key, value in tree.items()}
    return [_printable(item) for item in tree] if isinstance(tree, (list, tuple)) else tree


@contextlib.contextmanager
def _created(path: Path) -> Iterator[int]:
    """A new empty file's descriptor; a leftover of an interrupted save is replaced."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def write_beside(folder: Path, name: str, text: str) -> None:
    """Write a text of ours into a run folder, whole or not at all; BadInput where that fails.

    What has that name is replaced, a symlink itself and not what it points to: a run folder may come from anyone.
    """
    path = folder / f".{name}.new"
    with writing(folder):
        try:
            with _created(path) as descriptor, os.fdopen(os.dup(descriptor), "w", encoding="utf-8") as stream:
                stream.write(text)
            path.replace(folder / name)
        finally:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


# --- load ----------------------------------------------------------------------------------------------------------
def load(folder: Path) -> Run:
    """Read the run in `folder`; RunDamaged in one line where it is incomplete, damaged or newer than this version."""
    run = typing.cast("Run", _loaded(folder, LAYOUT))
    _check_references(run, folder)
    return run


def load_traffic(folder: Path) -> LoadRun:
    """Read what `load` recorded in `folder`; RunDamaged as `load`."""
    run = typing.cast("LoadRun", _loaded(folder, LOAD_LAYOUT))
    levels = len(run.levels)
    numbers = [(run.sends.level, levels), (run.buckets.level, levels)]
    numbers += [(run.sends.outcome, len(OUTCOMES)), (run.buckets.bucket, BUCKETS)]
    if any(each.size and not 0 <= int(each.min()) <= int(each.max()) < most for each, most in numbers):
        what = "a request has a level, an outcome or a bucket that does not exist"
        raise RunDamaged(what=what, where=str(folder), todo=AGAIN)
    return run


def is_traffic(folder: Path) -> bool:
    """Whether the run in `folder` is one of `load`; RunDamaged where its manifest cannot be read."""
    return _schema_of(_manifest_text(folder), folder / MANIFEST).startswith(LOAD_LAYOUT.schema.rpartition("/")[0])


def _loaded(folder: Path, layout: _Layout) -> object:
    manifest = _read_manifest(folder, layout)
    body, tables = manifest.run, {}  # type: ignore[attr-defined]  # the field that `_layout` adds
    for table in layout.tables:
        if table.name in manifest.tables:
            tables[table.name] = _read_table(folder / table.file, table, manifest.tables[table.name])
        elif table.name in layout.required:
            raise RunDamaged(what=f"it has no table {table.name}", where=str(folder / MANIFEST), todo=AGAIN)
    return layout.make(**{name: getattr(body, name) for name in layout.rest}, **tables)


def _manifest_text(folder: Path) -> bytes:
    if not folder.is_dir():
        raise RunDamaged(what="there is no such run folder", where=str(folder), todo="Give the folder of a run")
    with _opened(folder / MANIFEST, MANIFEST_BYTES, "the run is incomplete: it has no manifest") as (descriptor, size):
        return os.pread(descriptor, size, 0)


def _schema_of(text: bytes, path: Path) -> str:
    try:
        return msgspec.json.decode(text, type=_Head).schema
    except (msgspec.DecodeError, RecursionError) as error:
        raise RunDamaged(what=f"the manifest is damaged: {error}", where=str(path), todo=AGAIN) from error


def _read_manifest(folder: Path, layout: _Layout) -> _Manifest:
    path, text = folder / MANIFEST, _manifest_text(folder)
    _check_schema(_schema_of(text, path), layout.schema, path)
    try:
        return msgspec.json.decode(text, type=layout.manifest)
    except (msgspec.DecodeError, RecursionError) as error:
        raise RunDamaged(what=f"the manifest is damaged: {error}", where=str(path), todo=AGAIN) from error


def _check_schema(schema: str, known: str, path: Path) -> None:
    """RunDamaged unless `schema` is the one that this version reads."""
    if schema == known:
        return
    family, _, number = known.rpartition("/")
    if re.fullmatch(rf"{re.escape(family)}/[0-9]{{1,9}}", schema) and int(schema.rpartition("/")[2]) > int(number):
        what = f"written by a newer pinchpoint ({schema})"
        raise RunDamaged(what=what, where=str(path), todo="Update pinchpoint to read it")
    raise RunDamaged(what=f"not a run of pinchpoint ({schema})", where=str(path), todo=AGAIN)


def _read_table(path: Path, table: _Table, said: _File) -> object:
    """One table, checked against what the manifest says of it."""

    def damaged(what: str) -> RunDamaged:
        return RunDamaged(what=what, where=str(path), todo=AGAIN)

    with _opened(path, TABLE_BYTES, "a table of the run is missing") as (descriptor, size):
        if size != said.bytes or _sha256(descriptor) != said.sha256:
            raise damaged("the table is damaged: it is not what the manifest says")
        try:
            with _database(descriptor) as (database, name):
                found = database.read_parquet(name)
                wanted = _wanted(table, dict(zip(found.columns, map(str, found.types), strict=True)), said.rows)
                if isinstance(wanted, str):
                    raise damaged(wanted)
                # one column at a time: DuckDB holds a result twice while it hands it over
                rows = {c: found.project(_quoted(c)).limit(said.rows + 1).fetchnumpy()[c] for c in wanted}
        except (duckdb.Error, ValueError, OverflowError, MemoryError) as error:
            raise damaged(f"the table cannot be read: {str(error).splitlines()[0]}") from error
    columns = {column: _filled(rows[column], dtype) for column, dtype in wanted.items()}
    if any(column is None or len(column) != said.rows for column in columns.values()):
        raise damaged("the table is damaged: rows or values are missing")
    return table.join(typing.cast("Columns", columns))


def _quoted(name: str) -> str:
    """A column's name as SQL."""
    return '"' + name.replace('"', '""') + '"'


def _wanted(table: _Table, found: Mapping[str, str], rows: int) -> dict[str, np.dtype[Any]] | str:
    """The columns to read, with their types, or what is wrong with those that were found."""
    if rows < 0 or len(found) > COLUMNS or rows * max(len(found), 1) > TABLE_VALUES:
        return f"the table is too large: {rows} rows of {len(found)} columns"
    missing = [name for name in table.columns if name not in found and name not in table.defaulted]
    if missing:
        return f"the table has no column {missing[0]}"
    wanted = {name: dtype for name, dtype in table.columns.items() if name in found}
    if table.named_dtype is not None:
        wanted |= dict.fromkeys((name for name in found if name not in table.columns), table.named_dtype)
    wrong = [name for name, dtype in wanted.items() if found[name] != _SQL_TYPES[dtype.name]]
    return f"column {wrong[0]} is {found[wrong[0]]}" if wrong else wanted


def _filled(column: Column, dtype: np.dtype[Any]) -> Column | None:
    """A column as read: missing values are NaN among floats, and damage (None) elsewhere."""
    if not isinstance(column, np.ma.MaskedArray):
        return column
    return np.ma.filled(column, np.nan) if dtype.kind == "f" else None


def _check_references(run: Run, folder: Path) -> None:
    """RunDamaged where numbers in one table point to nothing in another."""
    for what, column, end in (("span", run.spans.name, len(run.span_names)), ("sample", run.samples.site, len(SITES))):
        if column.size and not 0 <= int(column.min()) <= int(column.max()) < end:
            raise RunDamaged(what=f"a {what} has a number without a name", where=str(folder), todo=AGAIN)


@contextlib.contextmanager
def _opened(path: Path, most: int, missing: str) -> Iterator[tuple[int, int]]:
    """Descriptor and size of a regular file of at most `most` bytes; RunDamaged says what is wrong with another."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise RunDamaged(what=missing, where=str(path), todo=AGAIN) from error
    except OSError as error:
        reason = "it is a link" if error.errno == errno.ELOOP else error.strerror
        raise RunDamaged(what=f"cannot be read: {reason}", where=str(path), todo="Copy the run itself") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > most:
            raise RunDamaged(what=f"not a file of at most {most >> 20} MB", where=str(path), todo=AGAIN)
        yield descriptor, status.st_size
    finally:
        os.close(descriptor)


# --- the common ground ---------------------------------------------------------------------------------------------
@contextlib.contextmanager
def _database(descriptor: int) -> Iterator[tuple[duckdb.DuckDBPyConnection, str]]:
    """DuckDB in memory that can open nothing but the file of `descriptor`, and the name under which it does.

    The name is the descriptor's: no character of a path is taken for a pattern, and no file is swapped in between.
    """
    name = f"/dev/fd/{descriptor}"
    settings: dict[str, str | bool | int | float | list[str]] = {
        "threads": "1", "memory_limit": "512MB", "temp_directory": "", "allow_community_extensions": "false",
        "autoinstall_known_extensions": "false", "autoload_known_extensions": "false",
    }  # fmt: skip
    with duckdb.connect(":memory:", config=settings) as database:
        database.execute(f"SET allowed_paths = ['{name}']")
        database.execute("SET enable_external_access = false")
        database.execute("SET enable_progress_bar = false")  # it would go to stdout, where results are
        database.execute("SET lock_configuration = true")
        yield database, name


def _sha256(descriptor: int) -> str:
    """The hash of a whole file."""
    digest, offset = hashlib.sha256(), 0
    while block := os.pread(descriptor, HASH_BLOCK_BYTES, offset):
        digest.update(block)
        offset += len(block)
    return digest.hexdigest()
