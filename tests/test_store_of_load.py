"""The folder of a run of `load`: what is saved is loaded, and what was done to it ends in one line."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from load_runs import a_level, a_run
from pinchpoint import store
from pinchpoint.domain.quantity import Quantity
from pinchpoint.domain.run import Telemetry
from pinchpoint.domain.served import Served, ServerProcess
from pinchpoint.domain.traffic import Slo, Traffic
from pinchpoint.errors import RunDamaged
from pinchpoint.load import records
from test_store import assert_equal, edit, replace_table


def full():
    """A run with something in each field."""
    first = a_level(np.full(50, 10.0), outcomes=[records.RESET, records.STATUS, records.CUT_OFF], unasked=3, lost=2)
    second = a_level(
        np.linspace(1, 9, 70), rate_per_s=100.0, gap_ms=10.0, thinned=4, ended="over-saturated", promise="broken"
    )
    traffic = Traffic(
        (first[0].arrivals, second[0].arrivals), 3.0, 7, 1.5, 2.0, 5, 2, "POST", ("ä.json", "b"), (3.0, 1.0), ("X",),
        (200, 404), ("at", "a.b", "c"), Slo(0.99, 0.05), 100.0, True,
    )  # fmt: skip
    served = Served((ServerProcess(7, 1, "ä"), ServerProcess(8, 7, "worker")), cpus=1.5)
    used = Telemetry(np.arange(3), (("cpu_s", np.arange(3.0)), ("thread 7/7 ä b", np.ones(3))))
    return a_run(
        first, second, traffic=traffic, ended="interrupted", notes=("one", "two\nlines"), served=served, telemetry=used
    )


@pytest.fixture
def folder(tmp_path):
    store.save(full(), tmp_path / "run")
    return tmp_path / "run"


def damaged(folder):
    with pytest.raises(RunDamaged) as caught:
        store.load_traffic(folder)
    assert "\n" not in str(caught.value)
    assert caught.value.todo
    return str(caught.value)


def test_what_is_saved_is_loaded(folder):
    assert_equal(store.load_traffic(folder), full())
    assert sorted(each.name for each in folder.iterdir()) == [
        *("buckets.parquet", "manifest.json", "sends.parquet", "telemetry.parquet")
    ]


def test_an_empty_run_is_one_too(tmp_path):
    store.save(a_run(), tmp_path)
    assert_equal(store.load_traffic(tmp_path), a_run())


def test_the_two_kinds_of_run_are_told_apart(folder, tmp_path):
    import test_store

    store.save(test_store.a_run(), tmp_path / "other")
    assert store.is_run(folder)
    assert store.is_traffic(folder)
    assert not store.is_traffic(tmp_path / "other")
    with pytest.raises(RunDamaged, match="not a run of pinchpoint"):
        store.load(folder)
    with pytest.raises(RunDamaged, match="not a run of pinchpoint"):
        store.load_traffic(tmp_path / "other")


def test_a_newer_run(folder):
    edit(folder, lambda tree: tree.update(schema="pinchpoint/load-run/2"))
    assert "written by a newer pinchpoint" in damaged(folder)
    assert store.is_traffic(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda tree: tree.update(schema="pinchpoint/load-run/x"),
        lambda tree: tree["run"].pop("traffic"),
        lambda tree: tree["run"].update(levels="none"),
        lambda tree: tree["run"]["levels"][0].update(sent="many"),
        lambda tree: tree["tables"].pop("sends"),
        lambda tree: tree["tables"]["sends"].update(rows=3),
        lambda tree: tree["tables"]["buckets"].update(bytes=3),
        lambda tree: tree["run"]["levels"].pop(),
        lambda tree: tree["run"].update(levels=[]),
    ],
)
def test_a_damaged_manifest(folder, change):
    edit(folder, change)
    damaged(folder)


@pytest.mark.parametrize("name", ["sends", "buckets"])
def test_a_damaged_table(folder, name):
    path = folder / f"{name}.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    damaged(folder)
    path.unlink()
    damaged(folder)


@pytest.mark.parametrize(
    ("name", "sql"),
    [
        ("sends", "SELECT * EXCLUDE (due_ns) FROM rows"),
        ("sends", "SELECT * REPLACE (level + 2 AS level) FROM rows"),
        ("sends", "SELECT * REPLACE (level - 1 AS level) FROM rows"),
        ("sends", "SELECT * REPLACE ('x' AS level) FROM rows"),
        ("buckets", "SELECT * REPLACE (CAST(NULL AS BIGINT) AS count) FROM rows"),
        ("buckets", "SELECT * REPLACE (CAST(99 AS BIGINT) AS level) FROM rows"),
    ],
)
def test_a_table_of_somebody_else(folder, name, sql):
    path = folder / f"{name}.parquet"
    copy = folder / "copy"
    copy.write_bytes(path.read_bytes())
    replace_table(folder, name, sql.replace("FROM rows", f"FROM read_parquet('{copy}')"))
    damaged(folder)


@pytest.mark.parametrize("field", ["outcome", "bucket"])
def test_numbers_that_mean_nothing(folder, field):
    name = "sends" if field == "outcome" else "buckets"
    copy = folder / "copy"
    copy.write_bytes((folder / f"{name}.parquet").read_bytes())
    replace_table(folder, name, f"SELECT * REPLACE (CAST(-5 AS BIGINT) AS {field}) FROM read_parquet('{copy}')")
    damaged(folder)


def test_what_is_not_a_number_is_not_stored(tmp_path):
    run = dataclasses.replace(full(), levels=(dataclasses.replace(full().levels[0], cpu_s=float("nan")),))
    with pytest.raises(ValueError, match="cannot be stored"):
        store.save(run, tmp_path)
    with pytest.raises(ValueError, match="finite"):
        Quantity(float("nan"), 0.0, 0.0, 1)


def test_a_run_without_later_fields_is_read(folder):
    def older(tree):
        for name in ("server", "ended", "notes"):
            tree["run"].pop(name)
        for level in tree["run"]["levels"]:
            for name in ("unasked", "thinned", "lost", "ended", "promise"):
                level.pop(name)

    edit(folder, older)
    found = store.load_traffic(folder)
    assert (found.server, found.ended, found.notes) == ("", "complete", ())
    assert json.loads((folder / "manifest.json").read_text())["schema"] == "pinchpoint/load-run/1"
