"""A page in a real browser: what it drew, and that nothing in it was refused or failed."""

from __future__ import annotations

import shutil
import subprocess

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
]


def shown(page, folder, width):
    """The document as the browser has it, after a screenshot that is not empty and no message on its console."""
    (folder / "report.html").write_text(page, "utf-8")
    picture, address = folder / "page.png", (folder / "report.html").as_uri()
    command = [BROWSER, *FLAGS, f"--user-data-dir={folder}/profile", f"--window-size={width},1600"]
    drawn = _ran([*command, f"--screenshot={picture}", "--enable-logging=stderr", address])
    assert drawn.returncode == 0, drawn.stderr
    assert picture.stat().st_size > 20_000
    assert "CONSOLE" not in drawn.stderr, drawn.stderr  # nothing was refused, nothing failed
    return _ran([*command, "--dump-dom", address]).stdout


def _ran(command):
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
