"""Where a JSON document may be written to: not over what is none."""

from __future__ import annotations

import pytest

from pinchpoint.cli.streams import checked_json
from pinchpoint.errors import BadInput


@pytest.mark.parametrize("text", ["", '{"schema": "pinchpoint/diagnosis/1"}'])
def test_an_older_document_is_replaced(tmp_path, text):
    (tmp_path / "out.json").write_text(text)
    checked_json(str(tmp_path / "out.json"))
    assert (tmp_path / "out.json").read_text() == text


def test_a_new_file_is_not_left_behind(tmp_path):
    checked_json(str(tmp_path / "out.json"))
    assert not (tmp_path / "out.json").exists()


@pytest.mark.parametrize("text", ["def handle(request): ...\n", "\x89PNG"])
def test_what_is_no_document_is_kept(tmp_path, text):
    (tmp_path / "app.py").write_text(text)
    with pytest.raises(BadInput, match="something else than JSON"):
        checked_json(str(tmp_path / "app.py"))
    assert (tmp_path / "app.py").read_text() == text
