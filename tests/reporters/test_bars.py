"""The ledger as bars."""

from __future__ import annotations

from factories import row, rows
from pinchpoint.reporters.bars import bars, parts
from pinchpoint.reporters.layout import columns


def named(shown):
    return [part.name for part in shown]


def test_a_models_cells_are_told_in_words_of_the_cause():
    cells = (
        row("memory", 0.007, 0.7, label="session 0", operator="A"),
        row("cpu", 0.002, 0.2, label="session 0", operator="A"),
        row("cpu", 0.001, 0.1, label="session 0", operator="dispatch"),
    )  # fmt: skip
    assert named(parts(cells, ["M101"])) == ["reading weights", "arithmetic", "starting operators"]
    assert named(parts(cells, ["M102"]))[0] == "moving results"
    assert named(parts(cells, ["C114"], {"A"}))[1] == "operator A"


def test_operators_without_known_costs_are_not_called_arithmetic():
    cells = (row("cpu", 0.01, 1.0, label="session 0", operator="Custom"),)
    assert named(parts(cells, [])) == ["operators"]


def test_pipelines_name_stages_labels_and_what_is_waited_for():
    cells = rows(
        0.02,
        ("preprocess", "resize", "cpu", 0.4, ""), ("preprocess", "preprocess", "cpu", 0.1, ""),
        ("model", "session 0", "cpu", 0.2, ""), ("preprocess", "load", "wait", 0.1, "futex"),
        ("framework", "", "cpu", 0.05, ""), ("model", "session 0", "starved", 0.05, ""),
        ("preprocess", "load", "disk", 0.04, "sync"), ("postprocess", "", "memory", 0.03, "fault"),
        ("model", "", "unexplained", -0.02, ""), ("preprocess", "", "unexplained", 0.01, ""),
    )  # fmt: skip
    assert set(named(parts(cells, []))) == {
        "preprocess: resize", "preprocess", "model", "load: waiting for threads", "request handling",
        "model: waiting for a CPU", "load: writing to disk", "postprocess: getting new memory", "unexplained",
    }  # fmt: skip


def test_sessions_are_told_apart_only_where_there_are_several():
    cells = rows(0.02, ("model", "session 0", "cpu", 0.5, ""), ("model", "session 1", "cpu", 0.5, ""))
    assert named(parts(cells, [])) == ["session 0", "session 1"]


def test_small_parts_are_merged_and_the_sum_is_kept():
    cells = rows(
        1.0, ("preprocess", "big", "cpu", 0.97, ""), *(("model", f"s{i}", "cpu", 0.004, "") for i in range(5)),
        ("model", "", "unexplained", 0.01, ""),
    )  # fmt: skip
    shown = parts(cells, [])
    assert named(shown) == ["preprocess: big", "other", "unexplained"]
    assert sum(part.share for part in shown) == sum(each.share for each in cells)


def test_one_small_part_keeps_its_name():
    cells = rows(1.0, ("preprocess", "big", "cpu", 0.99, ""), ("preprocess", "tiny", "cpu", 0.005, ""))
    assert named(parts(cells, [])) == ["big", "tiny"]


def test_unexplained_is_last_and_shown_with_its_sign_however_small():
    for share in (0.001, -0.001, -0.2, 0.0):
        shown = parts(rows(1.0, ("model", "", "cpu", 1 - share, ""), ("model", "", "unexplained", share, "")), [])
        assert shown[-1].name == "unexplained"
        assert shown[-1].share == share


def test_a_stage_that_the_user_calls_unexplained_or_other_is_not_merged_into_ours():
    cells = rows(1.0, ("model", "unexplained", "cpu", 0.6, ""), ("model", "", "unexplained", 0.4, ""))
    assert named(parts(cells, [])) == ["unexplained", "unexplained"]


def test_many_large_parts_do_not_fill_the_screen():
    cells = rows(1.0, *(("preprocess", f"step {i:02}", "cpu", 0.03, "") for i in range(33)))
    assert len(parts(cells, [])) <= 9


def test_parts_that_err_together_add_their_ends():
    cells = tuple(row("memory", 0.001, 0.1, operator=f"o{i}", plus_minus=0.1) for i in range(9))
    seconds = parts(cells, ["M101"])[0].seconds
    assert round(seconds.high / seconds.value, 6) == 1.1


def test_bars_scale_to_shares_and_point_the_other_way_below_zero():
    shown = parts(rows(0.02, ("model", "", "cpu", 1.2, ""), ("model", "", "unexplained", -0.2, "")), [])
    lines = [each.text for each in bars(shown, 0.02)]
    assert lines[0].count("#") == 30
    assert lines[1].count("-----") == 1
    assert "#" not in lines[1]
    assert "-20 %" in lines[1]
    assert "-4.0 ms" in lines[1]


def test_all_rows_fit_whatever_is_in_them():
    for latency in (3e-6, 0.0133, 90.0):
        cells = rows(
            latency,
            ("preprocess", "x" * 500, "cpu", 0.5, ""), ("preprocess", "猫" * 60, "wait", 0.3, "futex"),
            ("model", "\x1b[31mred", "cpu", 0.4, ""), ("model", "", "unexplained", -0.2, ""),
        )  # fmt: skip
        for each in bars(parts(cells, []), latency):
            assert columns(each.text) <= 80
            assert each.text.isprintable()


def test_no_rows_are_no_lines():
    assert bars(parts((), []), 0.0) == []
