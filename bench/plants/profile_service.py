"""A profile service: `python profile_service.py DELAY_S DRIFT_S_PER_S` prints its port and answers GET after a delay.

It ends when its standard input does, so that it never outlives who started it.
The delay is slept, not computed: it is time that the caller waits for and this machine does not work for.
"""

from __future__ import annotations

import json
import os
import socketserver
import sys
import threading
import time

DELAY_S, DRIFT_S_PER_S = float(sys.argv[1]), float(sys.argv[2])
BODY = json.dumps({"profile": [0.5] * 16}).encode()
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)


class Service(socketserver.ThreadingTCPServer):
    """One thread a connection."""

    allow_reuse_address = True
    daemon_threads = True
    first: float | None = None  # when the first request came: the drift counts from there


class Answering(socketserver.StreamRequestHandler):
    """Keep-alive, one answer a request, whatever was asked."""

    disable_nagle_algorithm = True

    def handle(self) -> None:
        """Answer until the caller hangs up."""
        while self.rfile.readline().strip():
            while self.rfile.readline().strip():
                pass
            Service.first = Service.first or time.monotonic()
            time.sleep(DELAY_S + DRIFT_S_PER_S * (time.monotonic() - Service.first))
            self.wfile.write(ANSWER)


def _end_with_the_caller() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=_end_with_the_caller, daemon=True).start()
    with Service(("127.0.0.1", 0), Answering) as service:
        print(service.server_address[1], flush=True)
        service.serve_forever()
