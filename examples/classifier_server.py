"""The image classifier behind HTTP, with nothing but the standard library: POST a JPEG, get JSON.

`python examples/classifier_server.py [PORT]` writes photos to build/photos, to send to it with `pinchpoint load`.
"""

from __future__ import annotations

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from image_classifier import DEFAULT_MODEL, example_inputs, handle

MOST_BYTES = 10 << 20
PHOTOS = DEFAULT_MODEL.parent / "photos"


class Classifier(BaseHTTPRequestHandler):
    """Answers each POST; a thread a connection, which stays open."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:  # as http.server calls it
        """Classify the photo that was sent."""
        length = int(self.headers.get("Content-Length", 0))
        if not 0 < length <= MOST_BYTES:
            self.send_error(413)
            return
        try:
            answer, status = handle(self.rfile.read(length)), 200
        except OSError:  # Pillow's error for what is no image
            answer, status = '{"error": "not an image"}', 400
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer.encode())

    def log_message(self, *_: object) -> None:
        """No line for each request."""


def write_photos(folder: Path = PHOTOS) -> None:
    """The example's photos as files."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, photo in enumerate(example_inputs()):
        (folder / f"{number}.jpg").write_bytes(photo)


if __name__ == "__main__":
    write_photos()
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8000
    with ThreadingHTTPServer(("127.0.0.1", port), Classifier) as server:
        server.serve_forever()
