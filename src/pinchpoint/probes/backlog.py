"""How many connections wait at a server's doors until somebody accepts them."""

from __future__ import annotations

from collections.abc import Mapping

from pinchpoint.connections import Doors
from pinchpoint.listeners import family


class BacklogProbe:
    """Connections of a server's clients that are made and that nobody has accepted (`waiting`), at all ports of its processes."""

    name = "backlog"

    def open(self, pid: int) -> None:
        """Find the sockets of a process and all that it started; OSError where none of them listens."""
        self._doors = Doors([each.pid for each in family([pid])])
        if not self._doors.waiting():
            self._doors.close()
            raise OSError("it listens at no TCP port")

    def read(self) -> Mapping[str, float]:
        """The number now; nothing where the kernel does not answer."""
        found = self._doors.waiting()
        return {"waiting": float(sum(found.values()))} if found else {}

    def close(self) -> None:
        """Let go of the kernel's ear."""
        self._doors.close()
