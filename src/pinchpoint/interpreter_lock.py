"""How much of the time the interpreter's lock (GIL) of another process is held: its flag, read at random moments.

Where threads wait for it, it counts as held also from its release until one of them has it: a thread that has been woken up
does not run at once, and meanwhile the lock serves nobody. `child.gil` finds the flag and the waiters; /proc/PID/mem shows them
to whoever may trace the process, which a parent may unless the host forbids it altogether. A reading takes no lock and stops
nobody, so it sees holders however short they are.
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time

MEAN_S = 0.001  # between readings
FLAG_BYTES = 4
FIRST_WAITER = 8  # as `child.gil` has it
HELD = (1).to_bytes(FLAG_BYTES, "little")


class LockReader:
    """Reads the flag between `begin` and `end`; a process whose memory may not be read gives no readings.

    `waiters` is the address of what tells how many wait, behind the flag; without it only holders are seen.
    """

    def __init__(self, pid: int, address: int | None, waiters: int | None, seed: int) -> None:
        self._address = address or 0
        self._waiters = waiters - self._address if waiters is not None else 0
        self._memory: int | None = None
        if address is not None:
            with contextlib.suppress(OSError):
                self._memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
        self._random = random.Random(seed)  # noqa: S311  # sampling, not secrets
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._readings = self._held = 0

    def begin(self) -> None:
        """Start to read."""
        self._readings = self._held = 0
        if self._memory is not None:
            self._stop.clear()
            self._thread = threading.Thread(target=self._read, name="interpreter lock", daemon=True)
            self._thread.start()

    def end(self) -> tuple[int, int]:
        """Stop; how often it was read, and how often the lock was held."""
        if self._thread is not None:
            self._stop.set()
            self._thread.join()
            self._thread = None
        return self._readings, self._held

    def close(self) -> None:
        """Let go of the process."""
        self.end()
        if self._memory is not None:
            os.close(self._memory)
            self._memory = None

    def _read(self) -> None:
        assert self._memory is not None
        while not self._stop.is_set():
            time.sleep(self._random.uniform(0.5, 1.5) * MEAN_S)
            try:
                read = os.pread(self._memory, self._waiters + FLAG_BYTES, self._address)
            except OSError:
                return
            if len(read) == self._waiters + FLAG_BYTES:
                self._readings += 1
                self._held += read[:FLAG_BYTES] == HELD or self._awaited(read)

    def _awaited(self, read: bytes) -> bool:
        return bool(self._waiters) and int.from_bytes(read[self._waiters :], "little") >= FIRST_WAITER
