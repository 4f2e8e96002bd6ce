"""Codecs of the standard library are stages of their own, however they are imported."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import textwrap

import pytest

from pinchpoint.child.wrapping import _wrap_after

HEARD = """
    import json
    from pinchpoint import stages
    from pinchpoint.child.wrapping import wrap_entry_points

    class Listener:
        names = []
        def begin(self, name, kind=0):
            self.names.append(name)
        def end(self):
            pass

    wrap_entry_points()
    stages._listener = Listener()
"""


def test_what_loads_all_that_is_built_in_is_left_as_it_is():
    spec = importlib.util.find_spec("_sre")
    before = spec.loader.exec_module
    _wrap_after(spec)
    assert spec.loader.exec_module == before


@pytest.mark.parametrize(("source", "names"), [
    ("import zlib; zlib.decompress(zlib.compress(b'x'))", ["serialize:zlib.compress", "deserialize:zlib.decompress"]),
    ("from lzma import compress, decompress; decompress(compress(b'x'))",
     ["serialize:lzma.compress", "deserialize:lzma.decompress"]),
    ("import bz2; bz2.decompress(bz2.compress(b'x'))", ["serialize:bz2.compress", "deserialize:bz2.decompress"]),
    ("import gzip; gzip.decompress(gzip.compress(b'x'))", ["serialize:gzip.compress", "deserialize:gzip.decompress"]),
    ("import gzip, io; gzip.open(io.BytesIO(gzip.compress(b'x'))).read()",
     ["serialize:gzip.compress", "deserialize:gzip.GzipFile.read"]),
    ("import xml.etree.ElementTree as tree; tree.tostring(tree.fromstring('<a/>'))",
     ["deserialize:xml.etree.ElementTree.fromstring", "serialize:xml.etree.ElementTree.tostring"]),
    ("import json; json.loads(json.dumps([1]))", ["serialize:json.dumps", "deserialize:json.loads"]),
])  # fmt: skip
def test_a_codec_is_a_stage(source, names):
    program = f"{textwrap.dedent(HEARD)}\n{source}\nnames = Listener.names[:]\nstages._listener = None\nprint(json.dumps(names))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == names
