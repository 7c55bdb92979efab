"""A class on one machine: ten processes at once share files, and nothing is lost, half written or different.

Real interpreters, started apart and released together. `make test-slow` runs this; test_study has a quick one.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parent.parent
TEN = range(10)

WAIT = """
import os, sys, time
from pathlib import Path
sys.path.insert(0, os.environ["ROOT"])
def ready(number):
    Path(f"ready-{number}").touch()
    while not Path("go").exists():
        time.sleep(0.01)
"""

ANSWERS = """
import study
from study import progress_file, questions
questions.FOLDER = Path(os.environ["ROOT"]) / "tests/questions"
number = int(sys.argv[1])
ready(number)
for _ in range(8):
    study.answer("90/single", "b")
    study.answer("90/numeric", 0.41 if number % 2 else 0.5)
    study.progress()
print("waiting:", len(study._progress._pending))
"""

SWEEP = """
import json
import torch
from utils import runs, torch_lab
def recipe(per_class, frozen, seed):
    x, y = sweep.images("target_pool", per_class=per_class, seed=seed)
    model = torch_lab.build(5, seed)
    for block in list(model.base)[:3 * frozen]:
        block.requires_grad_(False).eval()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad])
    sweep.fit(model, x, y, optimizer, steps=2, seed=seed)
    return {"test": sweep.accuracy(model, *sweep.images("target_validation", per_class=20))}
def quick(a, seed):
    return {"test": a / (seed + 3)}
if __name__ == "__main__":
    ready(sys.argv[1])
    cache = sys.argv[2] or None
    rows = sweep.run(quick, {"a": list(range(150))}, 2, cache=cache)  # so short that all write at once
    print(json.dumps(rows + sweep.run(recipe, {"per_class": [2, 5], "frozen": [0, 4]}, 1, cache=cache)))
"""

NOTEBOOK = """
import nbformat
from tools import run_notebooks
notebook = run_notebooks.read(Path("notebook.ipynb"))
notebook.cells[0].source = f"number = {sys.argv[1]}"
ready(sys.argv[1])
for _ in range(40):
    run_notebooks.write(notebook, Path("notebook.ipynb"))
    nbformat.validate(nbformat.read("notebook.ipynb", 4))
"""


def program(folder, code):
    (folder / "kernel.py").write_text(WAIT + code)


def environment(**more):
    own = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    return {**own, "ROOT": str(ROOT), "FREEZING_PROGRESS": "off", "FREEZING_WIDGETS": "off", **more}


def ten_at_once(folder, code, *arguments, **more):
    """Ten processes that run the code, released together when all are ready: what each printed."""
    program(folder, code)
    kernels = [
        subprocess.Popen(
            [sys.executable, "kernel.py", str(number), *arguments],
            cwd=folder,
            env=environment(**more),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in TEN
    ]
    try:
        deadline = time.monotonic() + 240
        while len(list(folder.glob("ready-*"))) < len(TEN) and time.monotonic() < deadline:
            assert all(kernel.poll() is None for kernel in kernels), "one has ended before the start"
            time.sleep(0.05)
        (folder / "go").touch()
        printed = [kernel.communicate(timeout=240) for kernel in kernels]
    finally:
        for kernel in kernels:
            kernel.kill()
    assert [kernel.returncode for kernel in kernels] == [0] * 10, printed
    assert not any("Traceback" in errors for _, errors in printed), printed
    return [text for text, _ in printed]


@pytest.mark.slow
@pytest.mark.parametrize("before", [None, "{", '{"format": 1, "questions": {}}'], ids=["none", "damaged", "empty"])
def test_ten_kernels_answer_into_one_progress_file(tmp_path, before):
    folder = tmp_path / "mine"
    folder.mkdir()
    path = folder / "progress.json"
    if before is not None:
        path.write_text(before)
    said = ten_at_once(tmp_path, ANSWERS, FREEZING_PROGRESS=str(path))
    kept = json.loads(path.read_text(encoding="utf-8"))
    assert kept["format"] == 1 and set(kept["questions"]) == {"90/single", "90/numeric"}
    assert {name: entry["attempts"] for name, entry in kept["questions"].items()} == {"90/single": 80, "90/numeric": 80}
    assert all("waiting: 0" in text for text in said)
    damaged = ["progress.json.damaged-1"] if before == "{" else []
    assert sorted(file.name for file in folder.iterdir()) == ["progress.json", *damaged]
    assert sum("is damaged: it is kept as" in line for text in said for line in text.splitlines()) == len(damaged)


@pytest.mark.slow
def test_ten_processes_write_one_notebook(tmp_path):
    cells = [nbformat.v4.new_code_cell(source) for source in ("number = None", "'x' * 50_000", f"{'x' * 50_000!r}")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "notebook.ipynb")
    ten_at_once(tmp_path, NOTEBOOK)
    assert nbformat.read(tmp_path / "notebook.ipynb", 4).cells[0].source in [f"number = {number}" for number in TEN]
    assert list(tmp_path.glob("*.part")) == []
