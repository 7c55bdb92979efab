"""Grading: on a course of two exercises made here. What learners hand in by accident and by malice gets its right row.

Where the system lets a process be caged (Linux), the attacks on files and on other processes are tried too.
"""

import ast
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
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tools.grade import __main__ as grading
from tools.grade import cage, run, slices, submissions
from utils.editions.nbgrader import POINTS

ROOT = Path(__file__).resolve().parent.parent
CHECKS = """
CHECKS = {}


def applied(function):
    return [function(number) for number in (1, 2, 5)]


def number(answer):
    return None if answer == 42 else "other"


def double(function):
    return None if applied(function) == [2, 4, 10] else "other"


CHECKS |= {"01/number": number, "01/double": double}
"""
QUESTIONS = """
title: Tiny
quiz:
  - id: 01/pick
    kind: single
    prompt: Which?
    options: {a: {text: this, feedback: No.}, b: {text: that, right: true, feedback: Yes.}}
  - {id: 01/count, kind: numeric, prompt: How many?, answer: 0.5, tolerance: 0, otherwise: Count again.}
exercises:
  - id: 01/number
    prompt: Give the number.
    expects: a number
    mistakes: {other: It is another number.}
    wrong: [{mistake: other, code: answer = base + 1}]
  - id: 01/double
    prompt: Give a function that doubles.
    expects: a function
    mistakes: {other: It does not double.}
    wrong: [{mistake: other, code: "answer = lambda x: base"}]
"""
CELLS = {
    "setup": "import math\n\nfrom utils.study import check, quiz",
    "base": "base = 40\nslow = [math.sqrt(n) for n in range(10)]",
    "quiz": 'quiz("01/pick")\nfor question in ("01/count",):\n    quiz(question)',
    "number": 'answer = ...\ncheck("01/number", answer)',
    "number-solution": 'answer = base + 2\ncheck("01/number", answer, counts=False)',
    "double": 'answer = ...\ncheck("01/double", answer)',
    "double-solution": 'answer = lambda x: 2 * x\ncheck("01/double", answer, counts=False)',
}
TAGS = {
    "number": ["exercise"],
    "double": ["exercise"],
    "number-solution": ["solution"],
    "double-solution": ["solution"],
}
NUMBER, DOUBLE = "answer = base + 2", "def double(x):\n    return 2 * x\n\n\nanswer = double"
QUIZ = """from utils import study
study.answer("01/pick", "a")
study.answer("01/pick", "b")
study.answer("01/count", 1 / 2)"""


def notebook(order=tuple(CELLS), extra=(), **cells):
    """The tiny notebook with some cells of the learner's own; in those of the exercises the call of check is added."""
    made = [new_markdown_cell("# Tiny")]
    for id in order:
        source = cells.get(id, CELLS[id])
        if id in cells and id in ("number", "double") and "check(" not in source:
            source += f'\ncheck("01/{id}", answer)'
        made.append(new_code_cell(source, id=id, metadata={"tags": TAGS.get(id, [])}))
    return new_notebook(cells=[*made, *map(new_code_cell, extra)])


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A course in a folder of its own: this one's utils and tools, with one tiny notebook."""
    folder = tmp_path_factory.mktemp("course")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "utils", folder / "utils", ignore=ignored)
    shutil.copytree(ROOT / "tools", folder / "tools", ignore=ignored)
    (folder / "utils/exercises.py").write_text(CHECKS)
    (folder / "data/questions").mkdir(parents=True)
    (folder / "data/questions/01_tiny.yaml").write_text(QUESTIONS)
    (folder / "notebooks").mkdir()
    nbformat.write(notebook(), folder / "notebooks/01_tiny.ipynb")
    return folder


def grade(course, folder, *options, code=0):
    """Run the grader as a teacher does: ({learner: row of grades.csv}, the finished process)."""
    command = [sys.executable, "-m", "tools.grade", str(folder), *options]
    done = subprocess.run(command, cwd=course, capture_output=True, text=True, timeout=500)
    assert done.returncode == code and "Traceback" not in done.stderr, done.stderr
    if code:
        return {}, done
    with open(folder / "grades.csv", encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({row["learner"] for row in rows}) == len(rows)
    return {row["learner"]: row for row in rows}, done


def hand_in(folder, name, made, file="01_tiny.ipynb"):
    (folder / name).mkdir(exist_ok=True)
    nbformat.write(made, folder / name / file)
    return folder / name / file


def works():
    """Whether this system lets a process be caged."""
    command = [*cage.command(), sys.executable, "-c", "pass"]
    return bool(cage.command()) and subprocess.run(command, capture_output=True).returncode == 0


caged = pytest.mark.skipif(not works(), reason="this system does not let a process have namespaces of its own")


def test_a_class_of_three_is_graded(course, tmp_path):
    hand_in(tmp_path, "ann", notebook(number=NUMBER, double=DOUBLE, extra=[QUIZ]))
    hand_in(tmp_path, "bob", notebook(number="answer = 41", double="answer = lambda x: 1 / 0"))
    nbformat.write(notebook(), tmp_path / "cy_01_tiny.ipynb")
    rows, done = grade(course, tmp_path)
    points = {name: [row[id] for id in ("01/number", "01/double", "total", "of")] for name, row in rows.items()}
    full, of = str(2 * POINTS + 2), str(2 * POINTS + 2)
    assert points == {"ann": [str(POINTS)] * 2 + [full, of], "bob": ["0", "0", "0", of], "cy": ["0", "0", "0", of]}
    assert rows["ann"]["what failed"] == ""
    assert rows["bob"]["what failed"] == (
        "01/number: It is another number; 01/double: Your code raised ZeroDivisionError: division by zero; "
        "2 not answered"
    )
    assert "01/number: not attempted; 01/double: not attempted" in rows["cy"]["what failed"]
    assert "ann" in done.stdout and "3 learners" in done.stdout


RIGHT = notebook(number=NUMBER, double=DOUBLE)
PATCH = "import utils.exercises as e\ne.CHECKS['01/{0}'] = lambda a: None\ne.applied = lambda f: [2, 4, 10]\n"
FORGED = """import os
for fd in range(1, 30):
    try:
        os.write(fd, b'{"right": true, "line": "", "nonce": ""}\\n')
    except OSError:
        pass
open("grades.csv", "w").write("learner,total\\nforger,99")
"""
DEEP = '{"cells": ' * 20_000
# name: (what is handed in, whether number and double are right, what the row says)
MADE = {
    "right": (RIGHT, "11", "^2 not answered$"),
    "wrong": (notebook(number="answer = 1", double="answer = lambda x: x"), "00", "another number.*does not double"),
    "partly": (notebook(number=NUMBER), "10", "01/double: not attempted"),
    "untouched": (notebook(), "00", "01/number: not attempted; 01/double: not attempted"),
    "loop": (notebook(number="while True:\n    pass", double=DOUBLE), "01", "01/number: it ran longer than 12 s"),
    "loop elsewhere": (notebook(setup="while True: pass", number=NUMBER, double=DOUBLE), "11", "^2 not answered$"),
    "hog": (
        notebook(number="answer = []\nwhile True:\n    answer.append(bytearray(10**7))"),
        "00",
        "MemoryError|memory",
    ),
    "no notebook": ("I did it, really.", "  ", "01_tiny.ipynb is damaged, or not a notebook"),
    "truncated": (nbformat.writes(RIGHT)[:-300], "  ", "is damaged, or not a notebook"),
    "nested": (DEEP, "  ", "01_tiny.ipynb is"),
    "another": (new_notebook(cells=[new_code_cell("1 + 1")]), "00", "01/number: its cell is missing"),
    "not python": (notebook(number="answer = = 42", double=DOUBLE), "01", "01/number: The cell is not Python.*line 1"),
    "exits": (notebook(number="import os\nos._exit(0)", double=DOUBLE), "01", "01/number: its process ended without"),
    "leaves": (notebook(number="raise SystemExit", double=DOUBLE), "01", "01/number: The cell raised SystemExit"),
    "crashes": (notebook(number="import ctypes\nctypes.string_at(0)", double=DOUBLE), "01", "01/number: its process"),
    "patches": (
        notebook(number=PATCH.format("number") + "answer = 0", double=PATCH.format("double") + "answer = lambda x: 0"),
        "00",
        "01/number: It is another number; 01/double: not judged by the machine, because .* look at it yourself",
    ),
    "fakes check": (
        notebook(extra=["def check(*all):\n    print('✔ Correct.')"], number="answer = 0", double="answer = max"),
        "00",
        "another number.*01/double",
    ),
    "forges": (
        notebook(number=FORGED + "answer = 0", double=FORGED + DOUBLE),
        "00",
        "01/number: .*look at it yourself",
    ),
    "prints": (
        notebook(
            number="for _ in range(10**5):\n    print('x' * 10**4)\n" + NUMBER, double="raise ValueError('x' * 10**8)"
        ),
        "10",
        "Error",
    ),
    "deleted": (
        notebook(order=["setup", "base"]),
        "00",
        "01/number: its cell is missing; 01/double: its cell is missing",
    ),
    "lost base": (notebook(order=["double", "number"], number=NUMBER, double=DOUBLE), "11", "^2 not answered$"),
    "reordered": (
        notebook(order=[*CELLS][::-1], number="answer = helper(0)", extra=["def helper(n):\n    return base + 2 + n"]),
        "10",
        "01/double: not attempted",
    ),
    "format 3": (nbformat.writes(nbformat.convert(RIGHT, 3), 3), "11", "^2 not answered$"),
    '<b>Eve, "the best"; \x1b[31m': (RIGHT, "11", "^2 not answered$"),
    "=cmd()": (notebook(number="raise ValueError('=cmd()')"), "00", "^01/number: The cell raised ValueError: =cmd"),
    "own record": (notebook(), "00", "2 not answered"),
}


@pytest.mark.slow
def test_a_class_of_many_kinds_gets_its_right_rows(course, tmp_path):
    for name, (made, *_) in MADE.items():
        path = hand_in(tmp_path, name, RIGHT)
        path.write_text(made) if isinstance(made, str) else nbformat.write(made, path)
    entry = {
        "attempts": 1,
        "right": "2026-01-01T00:00:00+00:00",
        "last": "2026-01-01T00:00:00+00:00",
        "last_right": True,
    }
    record = {"format": 1, "questions": dict.fromkeys(("01/pick", "01/count", "01/number"), entry)}
    (tmp_path / "own record/progress.json").write_text(json.dumps(record))
    (tmp_path / "empty").mkdir()
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked/01_tiny.ipynb").symlink_to("../right/01_tiny.ipynb")
    (tmp_path / "thesis.docx").write_text("no")
    old = hand_in(tmp_path, "twice", RIGHT, "first 01_tiny.ipynb")
    os.utime(old, (0, 0))
    hand_in(tmp_path, "twice", notebook(number=NUMBER), "01_tiny.ipynb")
    before = {path: path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()}
    rows, done = grade(course, tmp_path, "--seconds=12", "--memory=400")

    said = {name: row["what failed"] for name, row in rows.items()}
    assert said.pop("empty") == "There is no notebook in this folder"
    assert said.pop("linked") == "01_tiny.ipynb is a link or a device, not a file"
    assert said.pop("thesis") == "thesis.docx is not a notebook (.ipynb)"
    assert said.pop("twice").startswith("Notebook 01 came 2 times: graded is the newest, 01_tiny.ipynb; 01/double: not")
    assert rows["twice"]["01/number"] == str(POINTS)
    names = {"=cmd()": "'=cmd()", '<b>Eve, "the best"; \x1b[31m': '<b>Eve, "the best"; ?[31m'}
    assert said.keys() == {names.get(name, name) for name in MADE}
    for name, (_, right, words) in MADE.items():
        row = rows[names.get(name, name)]
        marks = {"1": str(POINTS), "0": "0", " ": ""}
        assert [row["01/number"], row["01/double"]] == [marks[mark] for mark in right], (name, row)
        assert re.search(words, row["what failed"]), (name, row)
        assert row["total"] == str(POINTS * right.count("1")), (name, row)
    assert "\x1b" not in done.stdout and all(len(line) < 250 for line in done.stdout.splitlines())
    assert {path: path.read_bytes() for path in before} == before
    trusting, _ = grade(course, tmp_path, "--seconds=12", "--memory=400", "--trust-progress")
    assert (trusting["own record"]["quizzes"], trusting["own record"]["exercises"]) == ("2", "0")


@pytest.mark.slow
@caged
def test_neither_files_nor_other_programs_nor_other_submissions_are_in_reach(course, tmp_path):
    folder, victim = tmp_path / "class", subprocess.Popen(["sleep", "100"])
    folder.mkdir()
    tries = {
        "course": f"open({str(course / 'utils/exercises.py')!r}, 'a').write('CHECKS.clear()')",
        "box": "import utils.exercises\nopen(utils.exercises.__file__, 'a').write('CHECKS.clear()')",
        "other": f"open({str(folder / 'ann/01_tiny.ipynb')!r}).read()",
        "grades": f"open({str(folder / 'grades.csv')!r}, 'w')",
        "kill": f"import os\nos.kill({victim.pid}, 9)",
        "net": "import socket\nsocket.create_connection(('127.0.0.1', 22), 1)",
        "rights": "import re\ntext = open('/proc/self/status').read()\n"
        "assert any(int(mask, 16) for mask in re.findall('Cap(?:Prm|Eff|Bnd):(.*)', text))",
    }
    for name, code in tries.items():
        quiet = "    " + code.replace("\n", "\n    ")
        hand_in(folder, name, notebook(number=f"answer = 0\ntry:\n{quiet}\nexcept BaseException:\n    answer = 42"))
    before = (course / "utils/exercises.py").read_bytes()
    try:
        rows, done = grade(course, folder)
        assert {name: row["01/number"] for name, row in rows.items()} == dict.fromkeys(tries, str(POINTS))
        assert victim.poll() is None and (course / "utils/exercises.py").read_bytes() == before
        assert "lets a submission do" not in done.stderr
    finally:
        victim.kill()
        victim.wait()


def test_without_a_cage_the_teacher_is_told_and_grades_the_same(course, tmp_path, monkeypatch):
    hand_in(tmp_path, "ann", notebook(number=NUMBER, double=DOUBLE))
    monkeypatch.setenv("PATH", "/nowhere")
    rows, done = grade(course, tmp_path)
    assert rows["ann"]["exercises"] == str(2 * POINTS)
    assert "This system lets a submission do what you may do (there is no `unshare`)" in done.stderr


def test_the_cage_is_never_closed_around_the_whole_machine():
    own = {"user": "user:[1]", "mnt": "mnt:[2]"}
    for same in (own, {**own, "user": "user:[9]"}, {**own, "mnt": "mnt:[9]"}, {}):
        with pytest.raises(OSError, match="no namespace of its own"):
            cage.refuse_outside(own, same)
    cage.refuse_outside(own, {"user": "user:[8]", "mnt": "mnt:[9]"})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "absent", "Cannot grade .*absent: No such file or directory."),
        (lambda folder: folder, "is empty: put a folder or a notebook for each learner into it."),
    ],
)
def test_a_folder_that_cannot_be_graded_is_told_in_one_sentence(course, tmp_path, make, message):
    _, done = grade(course, make(tmp_path), code=1)
    assert len(done.stderr.splitlines()) == 1 and re.search(message, done.stderr)


# --- the parts --------------------------------------------------------------------------------------------------------


def answer(learner, course=(), exercise="01/ex1"):
    """The program that is judged: learner's and course's cells are sources, the learner's last one is the exercise."""
    cells = [submissions.Cell(str(i), frozenset(), source, ast.parse(source)) for i, source in enumerate(learner)]
    theirs = [submissions.Cell(str(i), frozenset(), source, ast.parse(source)) for i, source in enumerate(course)]
    return slices.answer(cells[-1], exercise, run.program(cells[:-1]), run.program(theirs))


def test_only_what_an_answer_needs_is_run():
    course = ["import numpy as np\nimport torch", "model = build()\nmodel.fit()", "def area(x):\n    return x * WIDTH"]
    found = answer(["WIDTH = 3", "slow()", 'model = 1\nanswer = area(2)\ncheck("01/ex1", answer)'], course)
    assert found.before == ["def area(x):\n    return x * WIDTH", "WIDTH = 3"]
    assert (found.cell, found.value) == ("model = 1\nanswer = area(2)", "answer")


def test_what_changes_a_value_on_the_way_is_run():
    mine = ["model = old()", "model = build()", "model.base.trainable = False", "print(model)", "freeze(model)"]
    found = answer([*mine, 'check("01/ex1", model)'], ["def build(): ...", "def freeze(m): ..."])
    assert [line.partition("\n")[0] for line in found.before] == [
        "def build():",
        "def freeze(m):",
        "model = build()",
        "model.base.trainable = False",
        "freeze(model)",
    ]
    assert (found.cell, found.value) == ("", "model")


def test_what_an_answer_binds_itself_is_not_looked_for_elsewhere():
    mine = ["for name in sweep():\n    train(name)", "answer = slow()", "model = 3"]
    cell = "answer = []\nfor name in 'ab':\n    answer.append(name)\nlast = name\nuse(answer)"
    assert answer([*mine, cell + '\ncheck("01/ex1", answer)']).before == []


@pytest.mark.parametrize(
    "code",
    [
        "import sys",
        "import utils.exercises as e",
        "from utils import exercises",
        "from utils.study import scoring",
        "import numpy.core._x",
        "().__class__.__base__",
        "torch.sys",
        "exec('1')",
        "getattr(x, 'a' + 'b')",
        "setattr(torch, 'equal', 1)",
        "torch.equal = 1",
        "def f():\n    import gc",
    ],
)
def test_code_that_reaches_past_an_answer_is_named(code):
    assert slices.reach(ast.parse(code).body)


def test_the_course_s_own_solutions_and_wrong_answers_reach_nowhere():
    for path in run.notebooks():
        for cell in submissions.parse(path.read_bytes()):
            if {"exercise", "solution"} & cell.tags:
                assert slices.reach(cell.tree.body) is None, cell.source
        for question in submissions.content_of(path.name[:2]).values():
            for wrong in question.get("wrong", ()):
                assert slices.reach(ast.parse(wrong["code"]).body) is None, wrong["code"]


def test_answers_to_quizzes_are_read_and_not_run():
    source = "answer('01/a', 'b', 'c')\nstudy.answer('01/b', -1 / 4)\nanswer('01/c', exit())\nanswer('01/d', 1 / 0)"
    cells = [submissions.Cell("1", frozenset(), source, ast.parse(source))]
    assert submissions.answers(cells, {"01/a", "01/b", "01/c", "01/d"}) == (
        {"01/a": ("b", "c"), "01/b": (-0.25,)},
        {"01/c", "01/d"},
    )


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\t=1", " =1", "\r=1"])
def test_no_text_is_a_formula_in_a_spreadsheet(text):
    assert grading.cell(text).startswith("'")


def test_a_notebook_is_known_by_its_questions_and_then_by_its_name():
    asks = submissions.parse(nbformat.writes(notebook()).encode())
    assert submissions.number_of("my work.ipynb", asks) == "01"
    assert submissions.number_of("ann 2026 03_batchnorm_pitfall (1).ipynb", []) == "03"
    with pytest.raises(submissions.NoNotebook, match="has no question of the course"):
        submissions.number_of("Untitled.ipynb", [])


def test_magics_of_ipython_are_left_out():
    source = "%%time\n%matplotlib inline\nif x:\n    !ls\nanswer = 5 % 3"
    (cell,) = submissions.parse(nbformat.writes(new_notebook(cells=[new_code_cell(source)])).encode())
    assert cell.source == "pass\nif x:\n    pass\nanswer = 5 % 3" and cell.fault is None


@pytest.mark.slow
def test_the_first_notebook_of_the_course_is_graded(tmp_path):
    """Both frameworks' right answers, a wrong one, and one that claims to be a model of the course."""
    made = {
        "keras": "answer = keras_lab.build(5)\nfor n in (1, 2, 3):\n"
        "    answer.get_layer('base').get_layer(f'block{n}').trainable = False",
        "torch": "m = torch_lab.build(5).requires_grad_(False)\nfor part in (m.base.block4, m.head):\n"
        "    part.requires_grad_(True)\nanswer = m",
        "wrong": "answer = torch_lab.build(5)\nanswer.base.requires_grad_(False)",
        "crash": "answer = keras_lab.build(5, 6, 7, 8)",
    }
    for name, source in made.items():
        nb = nbformat.read(ROOT / "notebooks/01_freeze_basics.ipynb", as_version=4)
        for cell in nb.cells:
            if cell.id == "ex1":
                cell.source = source + '\ncheck("01/ex1", answer)'
            if cell.id == "ex2":
                cell.source = 'answer = np.float64(15) / 29\ncheck("01/ex2", answer)'
        hand_in(tmp_path, name, nb, "01_freeze_basics.ipynb")
    rows, _ = grade(ROOT, tmp_path)
    assert {name: (row["01/ex1"], row["01/ex2"]) for name, row in rows.items()} == {
        "keras": ("2", "2"),
        "torch": ("2", "2"),
        "wrong": ("0", "2"),
        "crash": ("0", "2"),
    }
    assert "If you froze the whole base" in rows["wrong"]["what failed"]
    assert "The cell raised TypeError" in rows["crash"]["what failed"]
