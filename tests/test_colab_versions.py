"""All notebooks with the versions that Google Colab ships (tests/colab.txt): every cell runs, every claim holds.

The environment is made once, in build/colab (about two minutes). FREEZING_COLAB_PYTHON=/path/to/python takes another
one; if that has no PyTorch, the cells that need it are left out (no build of PyTorch for Python 3.13 is at hand here).
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_notebooks import PATHS, read, without

from tools import ROOT as COURSE
from tools import write

PINS = Path(__file__).parent / "colab.txt"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def colab_python():
    if "FREEZING_COLAB_PYTHON" in os.environ:
        return os.environ["FREEZING_COLAB_PYTHON"]
    environment = COURSE / "build" / "colab"
    python, made = environment / "bin" / "python", environment / "made-from.txt"
    if not made.exists() or made.read_text() != PINS.read_text():
        subprocess.run([sys.executable, "-m", "venv", "--clear", environment], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", PINS], check=True)
        made.write_text(PINS.read_text())
    return python


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_runs_with_colabs_versions(path, colab_python, tmp_path, monkeypatch):
    monkeypatch.delenv("PYTEST_CURRENT_TEST", raising=False)
    has_torch = subprocess.run([colab_python, "-c", "import torch"], capture_output=True).returncode == 0
    for part in ("utils", "study", "data", "tools"):
        (tmp_path / part).symlink_to(COURSE / part)
    copy = tmp_path / "notebooks" / path.name
    write(read(path) if has_torch else without(read(path), "torch"), copy)
    command = [colab_python, "-m", "tools.refresh", copy]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr[-2000:]
