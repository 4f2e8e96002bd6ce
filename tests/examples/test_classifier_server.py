"""The example server keeps connections, refuses what is no photo, and takes load; the classifier itself is tested elsewhere."""

from __future__ import annotations

import importlib
import sys
import threading
import types
from http.client import HTTPConnection
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from pinchpoint import api
from pinchpoint.driving import LoadOptions

PHOTOS = [b"photo one", b"photo two"]


def handle(photo):
    if photo not in PHOTOS:
        raise OSError("cannot identify image file")
    return '{"classes": []}'


@pytest.fixture
def server(tmp_path, monkeypatch):
    stub = types.ModuleType("image_classifier")
    stub.DEFAULT_MODEL, stub.example_inputs, stub.handle = tmp_path / "resnet50.onnx", lambda: PHOTOS, handle
    monkeypatch.setitem(sys.modules, "image_classifier", stub)
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "examples"))
    monkeypatch.delitem(sys.modules, "classifier_server", raising=False)
    module = importlib.import_module("classifier_server")
    module.write_photos()
    with ThreadingHTTPServer(("127.0.0.1", 0), module.Classifier) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield found.server_address[1], tmp_path / "photos"
        found.shutdown()


def test_several_requests_on_one_connection(server):
    connection = HTTPConnection("127.0.0.1", server[0])
    statuses = []
    for body in (PHOTOS[0], b"text", PHOTOS[1]):
        connection.request("POST", "/", body)
        answer = connection.getresponse()
        answer.read()
        statuses.append(answer.status)
    connection.close()
    assert statuses == [200, 400, 200]


@pytest.mark.slow
def test_it_takes_load(server, tmp_path):
    port, photos = server
    asked = LoadOptions(
        f"http://127.0.0.1:{port}/", input=(str(photos),), concurrency="2", count=50, expect="classes=[]"
    )
    (level,) = api.load(asked, out=tmp_path / "runs").report.levels
    assert (level.done, level.failed) == (50, 0)
