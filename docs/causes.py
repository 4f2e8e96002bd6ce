"""Writes a page a cause into docs/causes from the detectors' docstrings: `python -m docs.causes` (`make docs`)."""

from __future__ import annotations

from pathlib import Path

from pinchpoint import plugins
from pinchpoint.contracts import Detector
from pinchpoint.domain.words import CAUSE_HEADLINE
from pinchpoint.explain import sections

FOLDER = Path(__file__).parent / "causes"


def page(detector: Detector) -> str:
    """The page of one cause."""
    lines = [
        f"# {detector.code}: {detector.title}",
        "",
        f"> {CAUSE_HEADLINE.get(detector.code, detector.question)}",
        "",
        f"Bound: **{detector.bound}**. Kind: **{detector.kind}**. {detector.question}",
        "",
    ]
    for title, body in sections(detector):
        lines += [f"## {title}", "", body, ""]
    if detector.lookalikes:
        links = ", ".join(f"[{code}]({code}.md)" for code in detector.lookalikes)
        lines += ["## Must be ruled out", "", f"{links}.", ""]
    return "\n".join(lines)


def index(detectors: tuple[Detector, ...]) -> str:
    """The list of all causes."""
    rows = [f"| [{d.code}]({d.code}.md) | {d.title} | {d.bound} | {d.kind} |" for d in detectors]
    head = [
        "# The causes",
        "",
        "Generated from the detectors by `make docs`.",
        "",
        "| code | cause | bound | kind |",
        "|---|---|---|---|",
    ]
    return "\n".join([*head, *rows, ""])


def pages() -> dict[str, str]:
    """All pages by file name."""
    detectors = plugins.builtin().detectors
    return {"README.md": index(detectors), **{f"{d.code}.md": page(d) for d in detectors}}


if __name__ == "__main__":
    for name, text in pages().items():
        (FOLDER / name).write_text(text, "utf-8")
