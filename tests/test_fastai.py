"""C29: what notebook 04 says of fastai's freezing, beside the real library; `make test-slow` runs this.

fastai is not one of the course's libraries. It is put into build/fastai, over the course's own torch, where only this
test sees it. With FREEZING_FASTAI_PYTHON, the Python of an environment that has fastai and torch, that one is used.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BUILD = ROOT / "build/fastai"
CHECK = ROOT / "tests/fastai_check.py"
PACKAGES = [  # what fastai imports and the course does not have; --no-deps, or it would bring a torch of its own
    "fastai==2.8.12",
    "fastcore==2.2.39",
    "fastdownload==0.0.8",
    "fastprogress==1.1.6",
    "fasttransform==0.0.5",
    "plum-dispatch==2.9.0",
    "beartype==0.23.1",
    "cloudpickle==3.1.2",
    "itsdangerous==2.2.0",
    "pandas==3.1.1",
    "python-fasthtml==0.14.14",
    "python-multipart==0.0.34",
    "rich==15.0.0",
    "starlette==1.10.0",
]


def environment_with_fastai():
    """The Python that has fastai, and its environment; skips with the reason when fastai cannot be installed."""
    python = os.environ.get("FREEZING_FASTAI_PYTHON")
    if python:
        return python, dict(os.environ)
    stamp, wanted = BUILD / "made_from.txt", "\n".join([sys.version, *PACKAGES])
    if not stamp.is_file() or stamp.read_text() != wanted:
        shutil.rmtree(BUILD, ignore_errors=True)
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", BUILD, *PACKAGES]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            shutil.rmtree(BUILD, ignore_errors=True)
            errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or [done.stderr[-300:]]
            pytest.skip(f"fastai cannot be installed here: {errors[-1]}")
        stamp.write_text(wanted)
    return sys.executable, {**os.environ, "PYTHONPATH": str(BUILD)}


@pytest.fixture(scope="module")
def report():
    """What fastai_check.py found."""
    python, environment = environment_with_fastai()
    done = subprocess.run([python, CHECK], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_freeze_and_unfreeze_open_as_many_parameters_as_notebook_04_says(report):
    assert report["default"] is True  # train_bn
    cells = json.loads((ROOT / "notebooks/04_two_phase_fine_tuning.ipynb").read_text(encoding="utf-8"))["cells"]
    (cell,) = [cell for cell in cells if "def freeze_to(" in "".join(cell["source"])]
    assert "[61_013, 325, 677]" in "".join(cell["source"])  # what it claims
    assert report["counts"] == {"freeze": 677, "unfreeze": 61_013, "no train_bn": 325}


@pytest.mark.slow
def test_the_cell_of_notebook_04_opens_what_fastai_opens(report):
    assert len(report["same"]) == 20 and all(report["same"].values()), report["same"]


@pytest.mark.slow
def test_batchnorm_moves_in_frozen_groups_under_fastai(report):
    weights = [f"base.block{i}.bn.{name}" for i in range(1, 5) for name in ("weight", "bias")]
    statistics = [f"base.block{i}.bn.{name}" for i in range(1, 5) for name in ("running_mean", "running_var")]
    head = ["head.weight", "head.bias"]
    assert sorted(report["moved"]) == sorted(weights + statistics + head)
    assert sorted(report["moved without train_bn"]) == sorted(statistics + head)  # train_bn is about weights only
