"""The nbgrader edition: what it makes of every notebook, and a real nbgrader that releases and autogrades notebook 01.

nbgrader gets an environment of its own, build/nbgrader: it pulls in a data base and another JupyterLab. Only its kernel
is this Python, which has the course's libraries.
"""

import copy
import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from guards import PATHS, tags
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tools.editions import POINTS, EditionError, make

ROOT = Path(__file__).resolve().parent.parent
VERSION = "0.9.6"
NAME = "01_freeze_basics"


def made(path):
    return make(nbformat.read(path, as_version=4), path.stem, "nbgrader")


def tagged(notebook, tag):
    return [cell for cell in notebook.cells if tag in tags(cell)]


def kind(notebook, key):
    return [cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get(key)]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_each_exercise_is_a_solution_and_a_locked_test(path):
    before, after = nbformat.read(path, as_version=4), made(path)
    nbformat.validate(after)
    solutions, tests = kind(after, "solution"), kind(after, "grade")
    assert len(solutions) == len(tests) == len(tagged(before, "exercise"))
    assert tagged(after, "solution") == []
    for solution, test in zip(solutions, tests, strict=True):
        assert after.cells.index(test) == after.cells.index(solution) + 1
        assert solution.source.count("### BEGIN SOLUTION") == solution.source.count("### END SOLUTION") == 1
        value = re.match(r'check\("[^"]+", (\w+)\)\n### BEGIN HIDDEN TESTS', test.source)[1]
        assert "check(" not in solution.source and value in solution.source.split("### BEGIN SOLUTION")[0]
        assert test.metadata.nbgrader.locked and test.metadata.nbgrader.points == POINTS
    marked = [cell.metadata.nbgrader for cell in after.cells if "nbgrader" in cell.metadata]
    assert len({data.grade_id for data in marked}) == len(marked)
    assert all(data.schema_version == 3 and not data.task for data in marked)


def exercise(source='answer = ...\ncheck("01/a", answer)'):
    return new_code_cell(source, id="ex", metadata={"tags": ["exercise"]})


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ([exercise()], "01_x: no solution follows the exercise in cell ex"),
        ([exercise(), new_markdown_cell("text")], "01_x: no solution follows"),
        (
            [exercise("answer = 1"), new_code_cell("answer = 2", metadata={"tags": ["solution"]})],
            "has not one line `check",
        ),
    ],
)
def test_an_exercise_that_nbgrader_could_not_take_is_refused(cells, message):
    with pytest.raises(EditionError, match=message):
        make(new_notebook(cells=cells), "01_x", "nbgrader")


@pytest.fixture(scope="module")
def environment():
    """The folder of the programs of an environment with nbgrader; it is made once, and kept."""
    folder = ROOT / "build/nbgrader"
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    stamp = folder / "made_from.txt"  # written last
    if not stamp.exists() or stamp.read_text() != VERSION:
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [programs / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        done = subprocess.run([*pip, f"nbgrader=={VERSION}"], capture_output=True, text=True)
        if done.returncode:
            shutil.rmtree(folder)
            pytest.skip(f"nbgrader {VERSION} cannot be installed: {done.stderr.strip().splitlines()[-1]}")
        stamp.write_text(VERSION)
    return programs


SOLVED = {
    "ex1": "answer = torch_lab.build(5).requires_grad_(False)\n"
    "for part in (answer.base.block4, answer.head):\n    part.requires_grad_(True)",
    "ex2": "answer = (0, 1, 2)",
}
HANDED_IN = {  # learner: (the two cells, points)
    "right": (SOLVED, 4),
    "wrong": ({"ex1": "answer = torch_lab.build(5)", "ex2": "answer = (0, 1)"}, 0),
    "crashing": ({"ex1": "del answer\nraise RuntimeError('lost')", "ex2": SOLVED["ex2"]}, 2),
    "untouched": ({}, 0),
}


@pytest.mark.slow
def test_nbgrader_releases_and_grades_the_first_notebook(environment, tmp_path):
    course = tmp_path / "course"
    (course / "source" / NAME).mkdir(parents=True)
    for name in ("utils", "study", "data"):
        shutil.copytree(ROOT / name, course / name, ignore=shutil.ignore_patterns("__pycache__"))
    nbformat.write(made(ROOT / f"notebooks/{NAME}.ipynb"), course / "source" / NAME / f"{NAME}.ipynb")
    kernel = tmp_path / "jupyter/kernels/python3"
    kernel.mkdir(parents=True)
    start = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernel / "kernel.json").write_text(json.dumps({"argv": start, "display_name": "course", "language": "python"}))

    def run(*arguments):
        own = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
        own |= {"JUPYTER_PATH": str(tmp_path / "jupyter"), "HOME": str(tmp_path), "FREEZING_PROGRESS": "off"}
        own["PATH"] = f"{environment}{os.pathsep}{own['PATH']}"  # nbgrader starts its own alembic by name
        command = [environment / "nbgrader", *arguments, f"--CourseDirectory.root={course}"]
        done = subprocess.run(command, cwd=course, env=own, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    run("generate_assignment", NAME, "--create")
    release = nbformat.read(course / "release" / NAME / f"{NAME}.ipynb", as_version=4)
    text = "\n".join(cell.source for cell in release.cells)
    for hidden in ("HIDDEN TESTS", "SOLUTION", "score_exercise", "(10 + 3 + 2) / 29", "pieces(range(7)"):
        assert hidden not in text
    assert text.count("raise NotImplementedError()") == text.count('check("01/ex') == 2

    for learner, (cells, _) in HANDED_IN.items():
        own = copy.deepcopy(release)
        for cell in own.cells:
            if cell.id in cells:
                cell.source = cell.source.split("# YOUR CODE HERE")[0] + cells[cell.id]
            if cell.id == "ex1-test":
                cell.source = "print('this test is mine')"  # it is locked: nbgrader puts the teacher's back
        folder = course / "submitted" / learner / NAME
        folder.mkdir(parents=True)
        nbformat.write(own, folder / f"{NAME}.ipynb")
    run("autograde", NAME, "--create", "--Execute.timeout=300")
    run("export", f"--CsvExportPlugin.to={course}/grades.csv")
    with open(course / "grades.csv", newline="") as file:
        found = {row["student_id"]: (float(row["score"]), float(row["max_score"])) for row in csv.DictReader(file)}
    assert found == {learner: (points, 4) for learner, (_, points) in HANDED_IN.items()}
