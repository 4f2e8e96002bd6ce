"""Debian packages of a newer release, unpacked into a folder with their own C library; the system's packages stay as they are."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path

from bench.real_servers.failed import Failed, run

KEYS = "/usr/share/keyrings/debian-archive-keyring"
LIBRARIES = "usr/lib/x86_64-linux-gnu"
FURTHER = ("llama", "ggml", "ggml/backends0", "blas", "lapack", "openblas-pthread")  # that Debian keeps aside


def unpacked(folder: Path, release: str, names: Sequence[str], with_dependencies: bool = False) -> None:
    """The packages of a release unpacked in `folder`/root. Failed where this machine's apt has no archive of Debian."""
    if platform.machine() != "x86_64":
        raise Failed("is installed on x86-64 only")
    for each in ("state/lists/partial", "cache/archives/partial", "root"):
        (folder / each).mkdir(parents=True)
    (folder / "status").touch()
    keys = next((f"{KEYS}{end}" for end in (".gpg", ".pgp") if Path(f"{KEYS}{end}").exists()), None)
    if keys is None:
        raise Failed("needs the keys of Debian's archive (debian-archive-keyring)")
    source = {"Types": "deb", "URIs": _archive(), "Suites": release, "Components": "main", "Signed-By": keys}
    (folder / "release.sources").write_text("".join(f"{key}: {value}\n" for key, value in source.items()), "utf-8")
    places = {
        "Dir::Etc::sourcelist": folder / "release.sources", "Dir::Etc::sourceparts": "-", "Dir::State": folder / "state",
        "Dir::State::status": folder / "status", "Dir::Cache": folder / "cache", "APT::Sandbox::User": "root",
        "Debug::NoLocking": 1,
    }  # fmt: skip
    apt = ["apt-get", "-qq", *(word for key, value in places.items() for word in ("-o", f"{key}={value}"))]
    run([*apt, "update"])
    packages = folder / "cache/archives"
    if with_dependencies:
        run([*apt, "install", "-y", "--download-only", "--no-install-recommends", *names])
    else:
        run([*apt, "download", *names], packages)
    for each in sorted(packages.glob("*.deb")):
        run(["dpkg-deb", "-x", str(each), str(folder / "root")])
        each.unlink()


def _archive() -> str:
    """The address of the archive that this machine's own apt uses."""
    known = run(["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]).split()
    found = next((each for each in known if each.rstrip("/").endswith("/debian")), None)
    if found is None:
        raise Failed("needs an archive of Debian among apt's sources")
    return found


def command(folder: Path, program: str, *beside: str) -> list[str]:
    """The beginning of a command: `program` under the loader and the libraries that were unpacked in `folder`, then those beside."""
    libraries = folder / "root" / LIBRARIES
    path = ":".join([str(libraries), *(str(libraries / each) for each in FURTHER), *beside])
    return [str(libraries / "ld-linux-x86-64.so.2"), "--library-path", path, program]
