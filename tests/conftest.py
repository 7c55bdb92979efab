"""Fixtures that several test files share."""

import shutil

import pytest

from utils import data


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """A copy of data/, without the questions, that a test may damage; utils.data reads it."""
    folder = tmp_path / "data"
    folder.mkdir()
    for path in [*data.FOLDER.glob("*.npz"), data.FOLDER / "SHA256SUMS"]:
        shutil.copy(path, folder)
    monkeypatch.setattr(data, "FOLDER", folder)
    data._load.cache_clear()
    yield folder
    data._load.cache_clear()
