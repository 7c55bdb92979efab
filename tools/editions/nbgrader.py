"""The edition for nbgrader 0.9: each exercise becomes a cell for the solution and a locked test that is worth points.

It is nbgrader's *source* version, source/01_freeze_basics/01_freeze_basics.ipynb, and needs the course's folders utils/
and data/ beside the notebook, or above. `nbgrader generate_assignment` cuts what stands between the marks. Cell
metadata of schema 3: https://nbgrader.readthedocs.io/en/stable/contributor_guide/metadata.html
"""

import ast

from nbformat.v4 import new_code_cell

from study.questions import FRAMEWORKS

from .errors import EditionError
from .framework import tags

POINTS = 2  # an exercise; tools/grade gives as many

# nbgrader runs a submission in a folder of its own, autograded/<learner>/<assignment>/, and puts the teacher's files
# into it: the course is looked for in it and above.
SET_UP = """\
import os
import sys

folders = [os.path.abspath(os.path.join(".", *[".."] * depth)) for depth in range(6)]
course = next((path for path in folders if os.path.isfile(os.path.join(path, "utils", "study", "__init__.py"))), None)
if course is None:
    sys.exit("The folder utils is missing: it belongs beside this notebook, together with data. Ask your teacher.")
sys.path.insert(0, course)"""

TEST = """\
check("{id}", {value})
### BEGIN HIDDEN TESTS
from study import questions, scoring

score = scoring.score_exercise(questions.find("{id}", ("exercises",)), {value})
assert score.right is True, score.lines[0]
### END HIDDEN TESTS"""


def convert(notebook, name):
    """The notebook as nbgrader's source version of an assignment.

    notebook: as nbformat reads it; it is changed. name: such as "01_freeze_basics". Returns it. Each cell tagged
    `exercise` becomes a solution cell that holds the course's first solution between nbgrader's marks; a locked test of
    POINTS points follows; the cells tagged `solution` are gone. Raises EditionError for an exercise without check or
    solution.
    """
    cells, waiting = [], None  # waiting: an exercise whose solution has not come yet
    for cell in notebook.cells:
        if "exercise" in tags(cell):
            _refuse(waiting, name)
            waiting = cell
        elif "solution" in tags(cell):
            if waiting is not None:
                cells += _pair(waiting, cell, name)
                waiting = None
        else:
            _refuse(waiting, name)
            if cell.get("id") == "setup":
                cell.source, cell.outputs, cell.execution_count = SET_UP, [], None
                _mark(cell, "set-up", locked=True)
            cells.append(cell)
    _refuse(waiting, name)
    notebook.cells = cells
    return notebook


def _refuse(cell, name):
    if cell is not None:
        raise EditionError(f"{name}: no solution follows the exercise in cell {cell.id}: nbgrader needs one.")


def _pair(exercise, solution, name):
    """The solution cell and the test cell of an exercise."""
    checks = [node.value for node in ast.parse(exercise.source).body if _is_check(node)]
    if len(checks) != 1 or len(checks[0].args) != 2:
        raise EditionError(f'{name}: cell {exercise.id} has not one line `check("id", answer)`: nbgrader needs it.')
    id, value = checks[0].args[0].value, ast.unparse(checks[0].args[1])
    grade_id = id.replace("/", "-")
    parts = [_without_check(exercise.source), "### BEGIN SOLUTION", _without_check(solution.source), "### END SOLUTION"]
    exercise.source = "\n".join(parts)
    exercise.outputs, exercise.execution_count = [], None
    needed = sorted((tags(exercise) | tags(solution)) & set(FRAMEWORKS))
    test = new_code_cell(
        TEST.format(id=id, value=value), id=f"{exercise.id}-test", metadata={"tags": needed} if needed else {}
    )
    _mark(exercise, grade_id, solution=True)
    _mark(test, f"{grade_id}-test", grade=True, locked=True, points=POINTS)
    return exercise, test


def _is_check(node):
    """Whether a statement is nothing but a call of `check`."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Call)
        and getattr(node.value.func, "id", "") == "check"
    )


def _without_check(source):
    """A cell's source without its lines that call `check`."""
    lines, drop = source.splitlines(), set()
    for node in filter(_is_check, ast.parse(source).body):
        drop |= set(range(node.lineno, node.end_lineno + 1))
    return "\n".join(line for number, line in enumerate(lines, 1) if number not in drop).strip()


def _mark(cell, grade_id, grade=False, solution=False, locked=False, points=None):
    """Give a cell nbgrader's metadata."""
    cell.metadata["nbgrader"] = {
        "schema_version": 3,
        "grade_id": grade_id,
        "cell_type": cell.cell_type,
        "grade": grade,
        "solution": solution,
        "locked": locked,
        "task": False,
        **({"points": points} if grade else {}),
    }
