"""Keras on PyTorch and on JAX: the table that notebook 02 quotes (cell `backends-said`), run again.

Each backend runs in a process of its own. Where JAX cannot be imported (PYTHONPATH may name a folder that has it), it
is fetched from PyPI once, as test_report_slowly does it; without a network that test is skipped.
"""

import importlib.util
import os
import re
import subprocess
import sys

import pytest
from test_report_slowly import libraries  # noqa: F401  a fixture

from tools import ROOT as COURSE
from tools import read

pytestmark = pytest.mark.slow

PROGRAM = """
import keras
import numpy as np
from utils.freeze_report import moved, snapshot

x, y = np.random.default_rng(0).standard_normal((2, 16, 4)).astype("float32")

def after_a_fit(frozen_first):
    layer = keras.layers.Dense(4, "tanh", name="layer", trainable=not frozen_first)
    model = keras.Sequential([keras.Input((4,)), layer, keras.layers.Dense(4, name="head")])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(x, y, verbose=0)
    layer.trainable = frozen_first
    before = snapshot(model)
    try:
        model.fit(x, y, verbose=0)
    except ValueError:
        try:
            lost = any(not np.isfinite(value).all() for value in snapshot(model).values())
        except Exception:  # what was thrown away cannot be read
            lost = True
        return "error, weights lost" if lost else "error"
    moves = any(name.startswith("layer.") for name in moved(before, model))
    return "obeyed" if moves == frozen_first else "silently ignored"

print(after_a_fit(frozen_first=False))
print(after_a_fit(frozen_first=True))
base = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4), keras.layers.Dense(4)])
base.layers[0].trainable = False
base.trainable = True
print("opens all inside" if base.layers[0].trainable else "opens nothing")

base.trainable = False
model = keras.Sequential([keras.Input((4,)), base, keras.layers.Dense(4)])
for _ in range(2):  # frozen, then opened by the notebook's own function
    model.compile(keras.optimizers.Adam(0.01), "mse")
    before = snapshot(model)
    model.fit(x, y, verbose=0)
    names = moved(before, model)
    set_trainable(base, True)
print("obeyed" if set(names) == set(before) else "silently ignored")
"""


@pytest.mark.parametrize("backend", ["tensorflow", "torch", "jax"])
def test_notebook_02_quotes_what_happens(backend, request):
    more = {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    more["PYTHONPATH"] = os.pathsep.join([str(COURSE), *filter(None, [os.environ.get("PYTHONPATH")])])
    if backend == "jax" and importlib.util.find_spec("jax") is None:
        try:
            more["PYTHONPATH"] += f"{os.pathsep}{request.getfixturevalue('libraries')}"
        except subprocess.CalledProcessError:
            pytest.skip("there is no jax, and pip could not fetch it: name a folder that holds it in PYTHONPATH")
    cells = {cell.id: cell.source for cell in read(COURSE / "notebooks/02_recompile_pitfall.ipynb").cells}
    function = cells["recipe-keras"].split("\n\n\n")[0]
    command = [sys.executable, "-W", "ignore", "-c", function + PROGRAM]
    ended = subprocess.run(command, env=os.environ | more, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr[-2000:]
    rows = [re.split(r" *\| *", line)[1:-1] for line in cells["backends-said"].splitlines() if line.startswith("|")]
    column = {"tensorflow": 1, "torch": 3, "jax": 4}[backend]
    quoted = [row[column] for row in rows if len(row) == 5][2:]
    assert ended.stdout.splitlines() == quoted
