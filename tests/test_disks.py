"""How long a device was busy, from counters as the kernel writes them."""

from __future__ import annotations

import os

import pytest

from pinchpoint import disks

LINE = "{major} 0 {name} {reads} 0 8 5 {writes} 0 8 5 0 {busy} 10 0 0 0 0 0 0\n"


@pytest.fixture
def counters(tmp_path, monkeypatch):
    """Writes /proc/diskstats and the process's io."""
    monkeypatch.setattr(disks, "DISKSTATS", tmp_path / "diskstats")
    watch = disks.DiskWatch(os.getpid())
    watch._io = tmp_path / "io"

    def write(moved, **devices):
        lines = (
            LINE.format(major=254, name=name, reads=r, writes=w, busy=busy) for name, (r, w, busy) in devices.items()
        )
        (tmp_path / "diskstats").write_text("".join(lines))
        (tmp_path / "io").write_text(f"rchar: 9\nread_bytes: {moved}\nwrite_bytes: 0\n")

    return watch, write


def test_the_busiest_device_of_a_process_that_used_storage(counters):
    watch, write = counters
    write(0, vda=(10, 5, 1000), vdb=(0, 0, 0), zram0=(0, 0, 0))
    watch.begin()
    write(4096, vda=(30, 6, 1400), vdb=(1, 0, 20), zram0=(9, 9, 9000))
    (found,) = watch.end()
    assert (found.kind, found.name, found.capacity) == ("disk", "vda", 1.0)
    assert found.held_s == pytest.approx(0.4)
    assert found.count == 21


def test_others_use_of_a_disk_is_not_the_targets(counters):
    watch, write = counters
    write(4096, vda=(10, 5, 1000))
    watch.begin()
    write(4096, vda=(90, 5, 2000))
    assert watch.end() == ()


def test_where_nobody_tells_nothing_is_claimed(tmp_path, monkeypatch):
    monkeypatch.setattr(disks, "DISKSTATS", tmp_path / "none")
    watch = disks.DiskWatch(2**22 + 1)
    watch.begin()
    assert watch.end() == ()
