"""Bytes on the wire, from a recorded tree."""

from __future__ import annotations

import pytest

from pinchpoint.probes.network import NetworkProbe

DEV = """Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:    5000      10    0    0    0     0          0         0     5000      10    0    0    0     0       0          0
  eth0: 1200000     900    0    0    0     0          0         0    34000     400    0    0    0     0       0          0
  eth1:     300       3    0    0    0     0          0         0       70       1    0    0    0     0       0          0
"""


def test_bytes_by_direction(tmp_path):
    (tmp_path / "proc/7/net").mkdir(parents=True)
    (tmp_path / "proc/7/net/dev").write_text(DEV)
    probe = NetworkProbe(tmp_path)
    probe.open(7)
    assert probe.read() == {"received_bytes": 1200300.0, "sent_bytes": 34070.0, "loopback_bytes": 5000.0}
    probe.close()


def test_a_kernel_without_counters(tmp_path):
    with pytest.raises(OSError, match="network counters cannot be read"):
        NetworkProbe(tmp_path).open(7)
