"""Fixtures that several test files share."""

import shutil
from pathlib import Path

import pytest

import study
from study import questions
from study.progress import Progress
from utils import data

DEMO = Path(__file__).parent / "questions" / "90_demo.yaml"


@pytest.fixture(autouse=True)
def nothing_answered(monkeypatch):
    """Each test begins with a learner who has answered nothing, and keeps nothing in a file."""
    monkeypatch.setenv("FREEZING_PROGRESS", "off")
    monkeypatch.delenv("FREEZING_SECONDS", raising=False)
    monkeypatch.setattr(study, "_progress", Progress())
    for memory in ("_hints_given", "_said", "_rounds"):
        monkeypatch.setattr(study, memory, {})


@pytest.fixture
def file(monkeypatch, tmp_path):
    """The path of the learner's progress file, in a folder of its own; there is none yet."""
    path = tmp_path / "mine" / "progress.jsonl"
    path.parent.mkdir()
    monkeypatch.setenv("FREEZING_PROGRESS", str(path))
    return path


@pytest.fixture
def demo(monkeypatch, tmp_path):
    """A folder with the demo questions in the place of the course's; what is asked comes from there."""
    folder = tmp_path / "questions"
    folder.mkdir()
    shutil.copy(DEMO, folder)
    monkeypatch.setattr(questions, "FOLDER", folder)
    return folder


@pytest.fixture(scope="module")
def browser():
    """Chromium, without a window."""
    pytest.importorskip("playwright", reason="there is no playwright: pip install -r requirements.txt")
    from browser import CHROMIUM, chromium

    if not CHROMIUM:
        pytest.skip("there is no Chromium: apt-get install chromium fonts-dejavu-core")
    with chromium() as browser:
        yield browser


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """A copy of data/, without the questions, that a test may damage; utils.data reads it."""
    folder = tmp_path / "data"
    folder.mkdir()
    for path in [*data.FOLDER.glob("*.npz"), data.FOLDER / "SHA256SUMS"]:
        shutil.copy(path, folder)
    monkeypatch.setattr(data, "FOLDER", folder)
    for cache in (data._load, data._rendered):
        cache.cache_clear()
    yield folder
    for cache in (data._load, data._rendered):
        cache.cache_clear()
