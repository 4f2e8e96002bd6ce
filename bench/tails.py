"""Tails: what makes slow requests slow, on programs whose rare trouble is planted, and on one that has none."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial

from bench.noise import Status, tried
from bench.report import Claim, Report, Table
from bench.settings import Settings
from bench.tool import diagnose
from bench.truth import noise_text
from pinchpoint.domain.verdict import Diagnosis, Verdict

BUDGETS = 2.0  # of the budget: what one request in flight takes, and what comes after it


@dataclass(frozen=True, slots=True)
class Case:
    """A program of `bench.shared`, and the cause that its tail must have; None where there is none to name."""

    name: str
    cause: str | None


CASES = (
    Case("collected", "W109"),
    Case("slept", "W110"),
    Case("called", "I105"),
    Case("locked", "W104"),
    Case("written", "I106"),
    Case("heavy", None),
)


def run(settings: Settings) -> Report:
    """Diagnose every program."""
    began = time.monotonic()
    rows, claims = [], []
    for case in (each for each in CASES if settings.wants(each.name)):
        settings.progress(f"tails: {case.name}")
        found = tried(partial(_diagnosed, case.name, settings), partial(_judged, case), settings.retries)
        verdict = found.value.verdicts.get("tail")
        due, got = case.cause or "none", _got(verdict)
        proof = (verdict.proof or "-") if verdict else "-"
        rows.append((case.name, due, got, _times(found.value), proof, noise_text(found.noise), found.status))
        claims.append(Claim(case.name, due, got, found.status))
    headings = ("program", "due", "got", "p99 / typical", "proof", "noise", "status")
    title = "TAILS: the cause of slow requests, where it is planted and where there is none"
    return Report("tails", title, (Table(headings, tuple(rows)),), tuple(claims), {}, time.monotonic() - began)


def _diagnosed(name: str, settings: Settings) -> Diagnosis:
    return diagnose(f"bench.shared:{name}", settings.budget_s * BUDGETS)


def _judged(case: Case, diagnosis: Diagnosis) -> Status:
    verdict = diagnosis.verdicts.get("tail")
    return "holds" if verdict is not None and verdict.cause == case.cause else "violated"


def _got(verdict: Verdict | None) -> str:
    return "-" if verdict is None else verdict.cause or "none"


def _times(diagnosis: Diagnosis) -> str:
    typical, slow = (diagnosis.measured.latency_s.get(name) for name in ("typical", "p99"))
    return f"{slow.value / typical.value:.1f}" if typical and slow else "-"
