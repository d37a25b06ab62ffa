"""A file takes another's place whole, or not at all."""

from __future__ import annotations

import pytest

from pytest_inferbench.replacing import replacing


def test_what_was_written_is_there_and_nothing_else(tmp_path):
    path = tmp_path / "kept"
    for text in ("first", "second"):
        with replacing(path) as temporary:
            temporary.write_text(text)
        assert path.read_text() == text
    assert list(tmp_path.iterdir()) == [path]


def test_what_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "kept"
    path.write_text("old")

    def interrupted():
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(OSError, match="none"), replacing(tmp_path / "none" / "file") as temporary:
        temporary.write_text("nowhere")
