"""The middleware around WSGI applications: a real one of Flask, and some that are called by hand."""

from __future__ import annotations

import threading

import flask
import pytest

from pinchpoint import stages
from pinchpoint.stages import stage
from pinchpoint.wsgi import Middleware


@pytest.fixture(autouse=True)
def _nobody_listens_afterwards():
    yield
    stages.listen(None)


def names(headers):
    """The metrics of Server-Timing headers, one tuple a header."""
    return [
        tuple(each.partition(";")[0] for each in value.split(", "))
        for name, value in headers
        if name.lower() == "server-timing"
    ]


def test_a_view_of_flask_tells_its_stages():
    app = flask.Flask(__name__)

    @app.get("/")
    @stage("predict")
    def predict():
        with stage("model"):
            pass
        return {"y": 1}, {"Server-Timing": "mine;dur=1"}

    app.wsgi_app = Middleware(app.wsgi_app)
    for _ in range(2):  # the second request tells nothing of the first
        assert names(app.test_client().get("/").headers.items()) == [("mine",), ("predict", "model", "total")]


def test_threads_tell_their_own_requests():
    begun, heads = threading.Barrier(2), {}

    def app(environ, start_response):
        begun.wait(10)
        with stage(environ["name"]):
            begun.wait(10)
        start_response("200 OK", [])
        return [b""]

    wrapped = Middleware(app)

    def ask(name):
        wrapped({"name": name}, lambda status, headers, *_: heads.update({name: headers}))

    threads = [threading.Thread(target=ask, args=(name,)) for name in "ab"]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert {name: names(head) for name, head in heads.items()} == {"a": [("a", "total")], "b": [("b", "total")]}


def test_what_the_application_raises_goes_on():
    def app(environ, start_response):
        with stage("model"):
            raise KeyError

    with pytest.raises(KeyError):
        Middleware(app)({}, None)
    with stage("outside of any request"):
        pass
