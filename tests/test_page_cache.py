"""The page cache of single files; what the kernel will not let go of is found out."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import pytest

from pinchpoint import page_cache

SIZE = 4 << 20


@pytest.fixture
def written(tmp_path):
    """A file whose pages are on disk."""
    path = tmp_path / "weights.bin"
    with path.open("wb") as file:
        file.write(os.urandom(SIZE))
        file.flush()
        os.fsync(file.fileno())
    return path


def lets_go(path):
    """Whether this file system heeds the advice: one in memory cannot."""
    page_cache.let_go([path])
    return page_cache.resident_share([path]) == 0


def test_files_leave_and_come_back(written):
    if not lets_go(written):
        pytest.skip("a file system that keeps its pages")
    page_cache.fill([written])
    assert page_cache.resident_share([written]) == 1


def test_pages_that_are_mapped_stay_and_are_seen_to(written):
    with written.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert sum(mapped[i] for i in range(0, SIZE, mmap.PAGESIZE)) > 0
        page_cache.let_go([written])
        assert page_cache.resident_share([written]) > 0.9


def test_a_file_in_memory_stays():
    folder = Path("/dev/shm")
    if not folder.is_dir():
        pytest.skip("no shared memory")
    path = folder / f"pinchpoint-test-{os.getpid()}"
    try:
        path.write_bytes(os.urandom(SIZE))
        page_cache.let_go([path])
        assert page_cache.resident_share([path]) == 1
    finally:
        path.unlink()


def test_only_regular_files_count_and_each_once(written, tmp_path):
    (tmp_path / "link").symlink_to(written)
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "pipe")
    names = ["link", "weights.bin", "empty", "pipe", "absent", "."]
    assert page_cache.regular_files([str(tmp_path / name) for name in names]) == (tmp_path / "link",)


def test_files_that_have_gone_are_passed_over(written, tmp_path):
    files = [written, tmp_path / "absent"]
    page_cache.let_go(files)
    page_cache.fill(files)
    assert page_cache.size_of(files) == SIZE
    assert page_cache.resident_share([tmp_path / "absent"]) is None
