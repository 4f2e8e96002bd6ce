"""Counters of the target's process, its container and the host, read from outside: one file each."""

from __future__ import annotations

from pinchpoint.probes.cgroup import CgroupProbe
from pinchpoint.probes.host import HostProbe
from pinchpoint.probes.network import NetworkProbe
from pinchpoint.probes.pressure import PressureProbe
from pinchpoint.probes.process import ProcessProbe

BUILTIN = (ProcessProbe, CgroupProbe, HostProbe, PressureProbe, NetworkProbe)
