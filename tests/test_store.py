"""A run folder: what is saved is loaded, and what anyone may have done to it ends in one line."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import random
import subprocess
import sys
import textwrap
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import pytest

from pinchpoint import store
from pinchpoint.domain.operator import Cost
from pinchpoint.domain.quantity import Quantity, exact
from pinchpoint.domain.run import (
    Ceiling,
    Environment,
    OperatorTime,
    Phase,
    Probes,
    Requests,
    Run,
    Samples,
    Spans,
    Telemetry,
)
from pinchpoint.domain.target import Session, TargetFacts
from pinchpoint.domain.workload import Workload
from pinchpoint.errors import BadInput, RunDamaged

NOW = datetime(2025, 11, 23, 17, 29, tzinfo=UTC)


def columns(kind, rows, **given):
    """A table of `kind` with small numbers in each column that is not given."""
    names = [field.name for field in dataclasses.fields(kind)]
    return kind(**{name: given.get(name, np.arange(rows, dtype=np.int64) % 7 - 1) for name in names})


def requests(n, seed=0):
    rng = np.random.default_rng(seed)
    latency = (rng.lognormal(0, 0.1, n) * 1e6).astype(np.int64)
    end = 10**15 + np.cumsum(latency + rng.integers(200, 900, n))
    return Requests(np.arange(n), end - latency, end, (rng.random(n) < 0.33).astype(np.int64) * 2)


def a_run(n=50, **changes):
    """A run with something in each field."""
    t = np.arange(9, dtype=np.int64) * 200_000_000
    made = Run(
        id="1123-1729",
        created="2025-11-23T17:29:00+00:00",
        version="0.1.0",
        target=TargetFacts("onnx", "modèle 'x'.onnx", 67, 268, 1e9, 4, sessions=(
            Session("onnxruntime", "1.32", None, 1, 1, "all", ("CPUExecutionProvider",)),)),
        workload=Workload(budget_s=1.5, seed=7),
        environment=Environment(
            "cpu", 8, 2, None, 4 << 30, "6.1", True,
            (Ceiling("read_bytes_per_s", exact(2e10), "B/s", "ort", 1),), (("CPU counters", "virtual machine"),),
        ),
        requests=requests(n),
        probes=columns(Probes, n // 3),
        spans=columns(Spans, n, name=np.arange(n) % 2),
        span_names=("preprocess", "model"),
        samples=columns(Samples, 2 * n, site=np.arange(2 * n) % 9),
        telemetry=Telemetry(t, (("process.cpu_s", t / 1e9), ('odd "name"; a.b', np.where(t > 0, 1.5, np.nan)))),
        request_thread=4711,
        operators=(
            OperatorTime(0, "MatMul_1", "MatMul", "CPU", Quantity(1e-3, 9e-4, 1.1e-3, 30), 1.0,
                         Cost(1.0, 2.0, 3.0, 0.0, 0.0, "float32")),
            OperatorTime(0, "Odd", "Odd", "CPU", exact(1e-6), 1.0, None),
        ),
        startup=(Phase("import", 0.2), Phase("load", 0.1, 1234)),
        errors=(("ValueError", 2),),
        notes=("line one\nline two",),
        second_length=(128, 256),
        told=Telemetry(t[:3], (("requests", t[:3] / 1e9),)),
    )  # fmt: skip
    return dataclasses.replace(made, **changes)


def assert_equal(one, other, path="run"):
    """Equal in value, type and dtype, tables included."""
    assert type(one) is type(other), path
    if isinstance(one, np.ndarray):
        assert one.dtype == other.dtype, path
        np.testing.assert_array_equal(one, other, err_msg=path)
    elif dataclasses.is_dataclass(one):
        for field in dataclasses.fields(one):
            assert_equal(getattr(one, field.name), getattr(other, field.name), f"{path}.{field.name}")
    elif isinstance(one, tuple):
        assert len(one) == len(other), path
        for number, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_equal(a, b, f"{path}[{number}]")
    else:
        assert one == other, path


@pytest.fixture
def folder(tmp_path):
    store.save(a_run(), tmp_path / "run")
    return tmp_path / "run"


def edit(folder, change):
    """Change the decoded manifest in place."""
    path = folder / "manifest.json"
    tree = json.loads(path.read_text())
    change(tree)
    path.write_text(json.dumps(tree))


def replace_table(folder, name, sql, *, rows=None, tell=True):
    """Put the table that `sql` gives in the place of another, and tell the manifest."""
    path = folder / f"{name}.parquet"
    path.unlink()
    duckdb.connect().execute(f"COPY ({sql}) TO '{path}' (FORMAT parquet)")
    data = path.read_bytes()

    def describe(tree):
        said = tree["tables"][name]
        said["bytes"], said["sha256"] = len(data), hashlib.sha256(data).hexdigest()
        said["rows"] = said["rows"] if rows is None else rows

    if tell:
        edit(folder, describe)


def damaged(folder):
    """The one line that loading ends in."""
    with pytest.raises(RunDamaged) as caught:
        store.load(folder)
    assert "\n" not in str(caught.value)
    assert caught.value.what
    assert caught.value.where
    assert caught.value.todo
    return str(caught.value)


# --- there and back ------------------------------------------------------------------------------------------------
def test_what_is_saved_is_loaded(folder):
    assert_equal(store.load(folder), a_run())


def test_an_empty_run_is_one_too(tmp_path):
    t = np.empty(0, dtype=np.int64)
    run = a_run(0, telemetry=Telemetry(t, ()), operators=(), startup=())
    store.save(run, tmp_path)
    assert_equal(store.load(tmp_path), run)


@pytest.mark.parametrize(
    "name", ["runs 'of' me", "a[1]*?", "ünï", "new\nline", b"\xff\xfe".decode("utf-8", "surrogateescape")]
)
def test_any_folder_name_will_do(tmp_path, name):
    store.save(a_run(), tmp_path / name)
    assert_equal(store.load(tmp_path / name), a_run())


def test_a_file_name_that_is_not_utf8_is_kept_readable(tmp_path):
    run = a_run()
    uri = b"model-\xff.onnx".decode("utf-8", "surrogateescape")
    store.save(dataclasses.replace(run, target=dataclasses.replace(run.target, uri=uri)), tmp_path)
    assert store.load(tmp_path).target.uri == "model-\\udcff.onnx"


def test_scalars_of_numpy_are_stored_as_numbers(tmp_path):
    run = a_run(request_thread=np.int64(5), startup=(Phase("x", np.float64(0.5)),))
    store.save(run, tmp_path)
    assert store.load(tmp_path).startup == (Phase("x", 0.5),)
    assert type(store.load(tmp_path).request_thread) is int


def test_columns_of_a_wider_array_and_of_narrower_integers_are_stored(tmp_path):
    rows = np.arange(40, dtype=np.int32).reshape(10, 4)
    store.save(a_run(requests=Requests(*rows.T)), tmp_path)
    np.testing.assert_array_equal(store.load(tmp_path).requests.end_ns, rows[:, 2])


def test_saving_again_replaces_the_run(folder):
    store.save(a_run(80), folder)
    assert_equal(store.load(folder), a_run(80))
    assert sorted(p.name for p in folder.iterdir()) == sorted(
        [
            "manifest.json",
            *(
                f"{n}.parquet"
                for n in ("requests", "probes", "spans", "samples", "telemetry", "events", "asked", "told")
            ),
        ]
    )


def test_a_killed_save_leaves_no_manifest_and_is_no_obstacle(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(store, "_encode", lambda run, layout, files: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            store.save(a_run(), tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / ".manifest.json.new").write_text("left by a kill")
    store.save(a_run(), tmp_path)
    assert_equal(store.load(tmp_path), a_run())


@pytest.mark.parametrize(
    "changes",
    [
        {"startup": (Phase("x", float("nan")),)},
        {"requests": Requests(np.arange(3), np.arange(3), np.arange(3), np.arange(2))},
        {"telemetry": Telemetry(np.arange(2), (("a", np.zeros(2)), ("A", np.zeros(2))))},
    ],
)
def test_a_run_that_could_not_be_read_again_is_a_loud_defect(tmp_path, changes):
    with pytest.raises(ValueError, match=r"cannot be stored|differ in length or share"):
        store.save(a_run(**changes), tmp_path)
    assert list(tmp_path.iterdir()) == []


# --- versions ------------------------------------------------------------------------------------------------------
def test_keys_of_a_later_version_are_ignored(folder):
    def later(tree):
        tree["later"] = {"deep": [1, None]}
        tree["run"]["later"] = tree["run"]["target"]["later"] = tree["run"]["operators"][0]["later"] = 1
        tree["tables"]["later"] = {"rows": 1, "bytes": 2, "sha256": "../../etc/passwd"}

    edit(folder, later)
    assert_equal(store.load(folder), a_run())


def test_keys_that_an_earlier_version_did_not_write_get_their_defaults(folder):
    def earlier(tree):
        for name in ("operators", "errors", "notes", "second_length"):
            del tree["run"][name]
        del tree["run"]["workload"]["observe"]

    edit(folder, earlier)
    run = store.load(folder)
    assert (run.operators, run.errors, run.second_length) == ((), (), None)
    assert run.workload.observe == Workload().observe


def test_a_table_or_column_added_with_a_default_may_be_missing():
    @dataclasses.dataclass(frozen=True, slots=True)
    class Grown:
        old: npt.NDArray[np.int64]
        new: npt.NDArray[np.float64] = dataclasses.field(default_factory=lambda: np.zeros(0))

    globals()["Grown"] = Grown
    kind = dataclasses.make_dataclass("Later", [("id", str), ("grown", "Grown"), ("more", "Grown | None", None)])
    kind.__module__ = __name__
    layout = store._layout(kind)
    assert [table.name for table in layout.tables] == ["grown", "more"]
    assert layout.required == {"grown"}
    grown = layout.tables[0]
    assert list(store._wanted(grown, {"old": "BIGINT"}, 1)) == ["old"]
    assert "no column old" in store._wanted(grown, {"new": "DOUBLE"}, 1)
    assert len(grown.join({"old": np.zeros(1)}).new) == 0
    assert list(grown.split(Grown(np.arange(3)))) == ["old"]  # an older run that is saved again
    assert list(grown.split(Grown(np.arange(0)))) == ["old", "new"]


def test_every_array_of_a_run_is_in_a_table():
    """A column that is not found would be refused by the manifest at the first save."""
    arrays = {f.name for f in dataclasses.fields(Run) if dataclasses.is_dataclass(getattr(a_run(), f.name))}
    found = {table.name for table in store.LAYOUT.tables}
    assert found == arrays - {"target", "workload", "environment", "aside"}


# --- damage --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("schema", "line"),
    [
        ("pinchpoint/run/2", "written by a newer pinchpoint (pinchpoint/run/2). Update"),
        ("pinchpoint/run/0", "not a run of pinchpoint"),
        ("pinchpoint/run/" + "9" * 4000, "not a run of pinchpoint"),
        ("pinchpoint/diagnosis/1", "not a run of pinchpoint"),
        (None, "damaged"),
    ],
)
def test_other_schemas(folder, schema, line):
    edit(folder, lambda tree: tree.update(schema=schema))
    assert line in damaged(folder)


def test_a_newer_schema_is_recognised_whatever_else_changed(folder):
    (folder / "manifest.json").write_text('{"schema": "pinchpoint/run/12", "run": 7, "tables": []}')
    assert "newer" in damaged(folder)


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"null", b"[]", b'"x"', b"[" * 100_000, b'{"a":' * 100_000, b"\xff\xfe\x00", b"{}",
     b'{"schema":"pinchpoint/run/1"}'],
)  # fmt: skip
def test_damaged_manifests(folder, text):
    (folder / "manifest.json").write_bytes(text)
    damaged(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda tree: tree["run"].update(id=7),
        lambda tree: tree["run"].pop("target"),
        lambda tree: tree["run"]["environment"].update(cpus="two"),
        lambda tree: tree["run"]["operators"][0]["seconds"].update(low=None),
        lambda tree: tree["run"]["operators"][0].update(calls=10**400),
        lambda tree: tree["tables"].pop("spans"),
        lambda tree: tree["tables"]["spans"].update(sha256="0" * 64),
        lambda tree: tree["tables"]["spans"].update(bytes=1),
        lambda tree: tree["tables"]["spans"].update(rows=49),
        lambda tree: tree["tables"]["spans"].update(rows=51),
        lambda tree: tree["tables"]["spans"].update(rows=-1),
        lambda tree: tree["tables"]["spans"].update(rows=2**62),
        lambda tree: tree["tables"]["spans"].update(rows=2**63),
        lambda tree: tree["tables"]["spans"].update(rows=0.5),
        lambda tree: tree["run"].update(span_names=["only one"]),
    ],
)
def test_manifests_that_contradict_the_tables_or_the_types(folder, change):
    edit(folder, change)
    damaged(folder)


@pytest.mark.parametrize("keep", [0, 3, 100, -1])
def test_truncated_tables(folder, keep):
    path = folder / "requests.parquet"
    path.write_bytes(path.read_bytes()[:keep])
    assert "requests.parquet" in damaged(folder)


def test_tampered_and_missing_tables(folder):
    path = folder / "requests.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert "damaged" in damaged(folder)
    path.unlink()
    assert "missing" in damaged(folder)


@pytest.mark.parametrize(
    ("sql", "rows", "word"),
    [
        ("SELECT 1::BIGINT AS index", 1, "no column"),
        ("SELECT 1.5::DOUBLE AS index, 1::BIGINT AS start_ns, 1::BIGINT AS end_ns, 0::BIGINT AS flags", 1, "DOUBLE"),
        ("SELECT 1 AS index, 1::BIGINT AS start_ns, 1::BIGINT AS end_ns, 0::BIGINT AS flags", 1, "INTEGER"),
        ("SELECT [1] AS index, 1::BIGINT AS start_ns, 1::BIGINT AS end_ns, 0::BIGINT AS flags", 1, "[]"),
        ("SELECT NULL::BIGINT AS index, 1::BIGINT AS start_ns, 1::BIGINT AS end_ns, 0::BIGINT AS flags", 1, "missing"),
        ("SELECT i AS index, i AS start_ns, i AS end_ns, i AS flags FROM range(10) t(i)", 9, "missing"),
        ("SELECT " + ", ".join(f"1::BIGINT AS c{i}" for i in range(1200)), 1, "too large"),
    ],
)  # fmt: skip
def test_forged_tables(folder, sql, rows, word):
    replace_table(folder, "requests", sql, rows=rows)
    assert word in damaged(folder)


def test_a_table_that_is_small_on_disk_and_huge_in_memory(folder, monkeypatch):
    monkeypatch.setattr(store, "TABLE_VALUES", 199)  # 50 rows of 4 columns have 200
    assert "too large: 50 rows of 4 columns" in damaged(folder)


def test_forged_telemetry(folder):
    replace_table(folder, "telemetry", "SELECT 1::BIGINT AS t_ns, 'x' AS load", rows=1)
    assert "VARCHAR" in damaged(folder)


def test_columns_of_a_later_version_are_ignored(folder):
    (folder / "requests.parquet").rename(folder / "was.parquet")
    (folder / "requests.parquet").touch()
    replace_table(folder, "requests", f"SELECT 'x' AS later, * FROM '{folder}/was.parquet'")
    assert_equal(store.load(folder), a_run())


def test_other_files_in_the_place_of_a_table(folder, tmp_path):
    path = folder / "requests.parquet"
    moved = path.rename(tmp_path / "elsewhere.parquet")
    path.symlink_to(moved)
    assert "link" in damaged(folder)
    path.unlink()
    path.mkdir()
    assert "not a file" in damaged(folder)
    path.rmdir()
    os.mkfifo(path)
    assert "not a file" in damaged(folder)
    path.unlink()
    path.symlink_to("/dev/zero")
    assert "link" in damaged(folder)


def test_sizes_are_bounded_before_anything_is_read(folder):
    os.truncate(folder / "requests.parquet", 5 << 30)
    assert "not a file of at most 1024 MB" in damaged(folder)
    os.truncate(folder / "manifest.json", 1 << 30)
    assert "not a file of at most 64 MB" in damaged(folder)


def test_a_link_as_manifest_is_no_run(folder, tmp_path):
    path = folder / "manifest.json"
    path.symlink_to(path.rename(tmp_path / "elsewhere.json"))
    assert not store.is_run(folder)
    assert "link" in damaged(folder)


def test_an_incomplete_or_missing_folder(folder, tmp_path):
    assert store.is_run(folder)
    (folder / "manifest.json").unlink()
    assert not store.is_run(folder)
    assert "incomplete" in damaged(folder)
    assert "no such run" in damaged(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    assert "no such run" in damaged(tmp_path / "file")
    assert not store.is_run(tmp_path / "file")
    assert not store.is_run(Path("a\0b"))


def test_random_damage_never_escapes_as_another_error(folder):
    """Flipped bytes under a correct hash: a run loads, or the user gets one line."""
    rng = random.Random(0)
    path = folder / "spans.parquet"
    good = path.read_bytes()
    outcomes = set()
    for _ in range(25):
        data = bytearray(good)
        for _ in range(rng.choice([1, 4])):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(data)
        edit(folder, lambda tree, data=data: tree["tables"]["spans"].update(sha256=hashlib.sha256(data).hexdigest()))
        try:
            store.load(folder)
            outcomes.add("loaded")
        except RunDamaged:
            outcomes.add("refused")
    assert "refused" in outcomes


def test_loading_can_open_nothing_else(folder):
    with store._opened(folder / "spans.parquet", 1 << 20, "") as (fd, _), store._database(fd) as (database, name):
        assert database.read_parquet(name).limit(1).fetchall()
        for sql in (
            f"SELECT * FROM read_parquet('{folder}/requests.parquet')",
            "SELECT * FROM read_text('/etc/hostname')",
            f"COPY (SELECT 1) TO '{folder}/x.csv'",
            "INSTALL httpfs",
            "LOAD httpfs",
            "SET enable_external_access = true",
            "SET allowed_paths = ['/etc/hostname']",
            f"ATTACH '{folder}/x.db'",
        ):
            with pytest.raises(duckdb.Error):
                database.execute(sql)


# --- folders -------------------------------------------------------------------------------------------------------
def test_folders_are_named_after_the_minute(tmp_path):
    out = tmp_path / "pinchpoint-runs"
    assert [store.new_folder(out, NOW).name for _ in range(3)] == ["1123-1729", "1123-1729-2", "1123-1729-3"]
    (out / "1123-1730").write_text("a file in the way")
    assert store.new_folder(out, NOW.replace(minute=30)).name == "1123-1730-2"


@pytest.mark.parametrize(
    ("code", "word"), [(13, "Permission denied"), (30, "Read-only"), (28, "the disk is full"), (122, "full")]
)
def test_a_folder_that_cannot_be_made(tmp_path, monkeypatch, code, word):
    def refuse(*args, **kwargs):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(BadInput, match=word) as caught:
        store.new_folder(tmp_path / "out", NOW)
    assert "\n" not in str(caught.value)


def test_a_file_in_the_way_of_the_out_folder(tmp_path):
    (tmp_path / "out").touch()
    for out in (tmp_path / "out", tmp_path / "out" / "deeper"):
        with pytest.raises(BadInput):
            store.new_folder(out, NOW)


def test_a_directory_in_the_way_of_a_table(tmp_path):
    (tmp_path / "spans.parquet").mkdir()
    with pytest.raises(BadInput):
        store.save(a_run(), tmp_path)
    assert not store.is_run(tmp_path)


CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000
ON_A_SMALL_DISK = """
    import ctypes, os, pathlib, sys
    libc = ctypes.CDLL(None, use_errno=True)
    flags = 0x20000 if os.geteuid() == 0 else 0x20000 | 0x10000000
    if libc.unshare(flags) or libc.mount(b"none", b"/", None, 0x44000, None):
        sys.exit(77)
    if libc.mount(b"tmpfs", sys.argv[1].encode(), b"tmpfs", 0, b"size=" + sys.argv[2].encode()):
        sys.exit(77)
    sys.path[:0] = sys.argv[4:]
    from test_store import a_run, assert_equal
    from pinchpoint import store
    from pinchpoint.errors import BadInput
    folder = pathlib.Path(sys.argv[1]) / "run"
    store.save(a_run(10), folder)
    try:
        store.save(a_run(int(sys.argv[3])), folder)
    except BadInput as error:
        print(error)
    else:
        sys.exit("it fitted")
    assert_equal(store.load(folder), a_run(10))
    assert not [p for p in folder.iterdir() if p.name.startswith(".")]
"""


@pytest.mark.parametrize(("size", "rows"), [("200k", 100_000), ("1m", 300_000), ("4m", 900_000)])
def test_a_full_disk_is_one_line_and_keeps_the_run_that_is_there(tmp_path, size, rows):
    paths = [str(Path(__file__).parent), str(Path(store.__file__).parents[1])]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(ON_A_SMALL_DISK), str(tmp_path), size, str(rows), *paths],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if done.returncode == 77:
        pytest.skip("no mount namespaces here")
    assert done.returncode == 0, done.stderr
    assert "the disk is full" in done.stdout
    assert done.stdout.count("\n") == 1


# --- size ----------------------------------------------------------------------------------------------------------
MILLION = """
    import pathlib, sys, time
    sys.path[:0] = sys.argv[2:]
    from test_store import a_run, million
    from pinchpoint import store
    def rss(key):
        return next(int(l.split()[1]) / 1024 for l in open("/proc/self/status") if l.startswith(key))
    run = million()
    folder = pathlib.Path(sys.argv[1])
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    before, began = rss("VmRSS"), time.perf_counter()
    store.save(run, folder)
    saved = time.perf_counter()
    store.load(folder)
    print(rss("VmHWM") - before, saved - began, time.perf_counter() - saved)
"""


def million():
    """A million requests, a third of them observed with three spans each."""
    n, m = 1_000_000, 333_000
    rng = np.random.default_rng(0)
    begin = np.sort(rng.integers(0, 10**12, 3 * m)) + 10**15
    spans = columns(
        Spans, 3 * m, name=np.arange(3 * m) % 2, begin_ns=begin, end_ns=begin + rng.integers(10_000, 300_000, 3 * m),
        begin_cpu_ns=begin // 2, end_cpu_ns=begin // 2 + 9000,
    )  # fmt: skip
    probes = columns(
        Probes, m, index=np.arange(m) * 3, cpu_ns=rng.integers(9e5, 1e6, m), process_cpu_ns=rng.integers(9e5, 1e6, m)
    )
    return a_run(requests=requests(n), probes=probes, spans=spans)


def test_a_million_requests_are_small_and_quick(tmp_path):
    store.save(a_run(requests=requests(1_000_000)), tmp_path / "plain")
    size = sum(path.stat().st_size for path in (tmp_path / "plain").iterdir())
    assert size < 8e6
    paths = [str(Path(__file__).parent), str(Path(store.__file__).parents[1])]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(MILLION), str(tmp_path / "full"), *paths],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    rss, saving, loading = map(float, done.stdout.split())
    size = sum(path.stat().st_size for path in (tmp_path / "full").iterdir())
    print(f"{size / 1e6:.1f} MB on disk, {rss:.0f} MB RSS, saved in {saving:.2f} s, loaded in {loading:.2f} s")
    assert size < 25e6
    assert rss < 300
    assert saving + loading < 20
