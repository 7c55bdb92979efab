"""Copies of the notebooks for one audience or one framework, cut by tags: `python -m tools.editions [EDITION ...]`.

student: without solutions. instructor: solutions open, notes and minutes behind each heading. keras, torch: one
framework only. nbgrader: the source version of assignments. + joins an audience and a framework: student+torch.
The copies go to build/editions/, with what they need beside them.
"""

import argparse
import ast
import copy
import re
import shutil
import sys
from pathlib import Path

from nbconvert.preprocessors import ClearOutputPreprocessor, TagRemovePreprocessor
from nbformat.v4 import new_code_cell, new_markdown_cell

from study import questions
from tools import ROOT, notebooks, read, without_links, without_outputs, write

AUDIENCES, FRAMEWORKS = ("student", "instructor", "nbgrader"), {"keras": "Keras", "torch": "PyTorch"}
EDITIONS = (*AUDIENCES, *FRAMEWORKS)
USUAL = (*EDITIONS, "student+keras", "student+torch")  # what is made when none is named
BESIDE = ("utils", "study", "data")  # what the notebooks need beside their folder
TEACHING = ROOT / "data" / "teaching"
HEADING = re.compile(r"^##? (?:\d+\. )?(.+?)\s*$", re.MULTILINE)  # less its number: a cut may change that


class EditionError(Exception):
    """An edition that cannot be made; the message is one sentence that says what to do."""


def main(arguments=None):
    """Write the editions that the command line names. Exits with one sentence when something is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tools.editions", description=__doc__.split("\n")[0])
    parser.add_argument("editions", nargs="*", metavar="EDITION", help=f"{', '.join(EDITIONS)}, or joined by +")
    parser.add_argument("--notebooks", type=Path, default=ROOT / "notebooks", help="their folder (default: notebooks)")
    parser.add_argument("--to", type=Path, default=ROOT / "build" / "editions", help="default: build/editions")
    options = parser.parse_args(arguments)
    originals = {path.stem: read(path) for path in notebooks(options.notebooks)}
    try:
        wanted = ["+".join(parts(edition)) for edition in options.editions or USUAL]
        made = {one: {name: make(nb, name, one) for name, nb in originals.items()} for one in wanted}
        for name in BESIDE:
            # notes for teachers are no part of a hand-out
            leave_out = shutil.ignore_patterns("__pycache__", "teaching")
            shutil.copytree(ROOT / name, options.to / name, dirs_exist_ok=True, ignore=leave_out)
    except EditionError as error:
        sys.exit(str(error))
    except OSError as error:  # copytree gives a list of what it could not copy
        path = error.args[0][0][1] if isinstance(error, shutil.Error) else error.filename or options.to
        sys.exit(f"Cannot write {path} ({error.strerror or 'not copied'}): choose another folder with --to.")
    for edition, copies in made.items():
        for name, notebook in copies.items():
            write(notebook, options.to / edition / f"{name}.ipynb")
        print(f"{options.to / edition}: {len(copies)} notebooks")


def parts(edition):
    """The parts of an edition, audience first: text such as "torch+student" gives ["student", "torch"].

    Raises EditionError for an unknown part, or for two audiences or two frameworks.
    """
    named = {part.strip() for part in edition.split("+")}
    for part in named - {*EDITIONS}:
        raise EditionError(f'There is no edition "{part}": name {", ".join(EDITIONS)}, or several joined by +.')
    for group in (AUDIENCES, FRAMEWORKS):
        chosen = [part for part in group if part in named]
        if len(chosen) > 1:
            raise EditionError(f"{' and '.join(chosen)} exclude each other: make two editions.")
    return [part for part in EDITIONS if part in named]


def make(notebook, name, edition):
    """The notebook of one edition.

    notebook: as nbformat reads it; it is not changed. name: such as "01_freeze_basics". edition: such as
    "student+torch". Raises EditionError for an unknown edition, or when a data file does not fit the notebook.
    """
    made = copy.deepcopy(notebook)
    framework = next((part for part in parts(edition) if part in FRAMEWORKS), None)
    for part in reversed(parts(edition)):  # the framework first: then the audience sees what is left
        if part in FRAMEWORKS:
            made = _one_framework(made, part)
        elif part == "student":
            made = _without(made, "solution")
            _run(ClearOutputPreprocessor(), made, [cell for cell in made.cells if "exercise" in tags(cell)])
        elif part == "instructor":
            for cell in made.cells:
                if "solution" in tags(cell):
                    cell.metadata.pop("jupyter", None)
            made = _with_notes(made, name, framework)
        else:
            made = _for_nbgrader(made, name)
    return without_links(made)


def tags(cell):
    """The tags of a cell, a set."""
    return set(cell.metadata.get("tags", ()))


def _without(notebook, tag):
    return TagRemovePreprocessor(enabled=True, remove_cell_tags={tag}).preprocess(notebook, {})[0]


def _run(preprocessor, notebook, cells):
    """A preprocessor of nbconvert, on some of the cells."""
    for cell in cells:
        preprocessor.preprocess_cell(cell, {}, 0)


# --- one framework --------------------------------------------------------------------------------------------------


def _one_framework(notebook, framework):
    """Without the other framework's cells and questions, and without outputs: they may show both."""
    other = next(name for name in FRAMEWORKS if name != framework)
    notebook = without_outputs(_without(notebook, other))
    gone = cut_questions(framework)
    for cell in notebook.cells:
        if framework in tags(cell):
            cell.metadata.tags = [tag for tag in cell.metadata.tags if tag != framework]
        if cell.cell_type == "code":
            cell.source = without_questions(cell.source, gone)
        else:
            cell.source = without_column(cell.source, FRAMEWORKS[other])
        if cell.id == "setup":
            cell.source += f'\nos.environ["FREEZING_FRAMEWORK"] = "{framework}"  # the questions, too'
    notebook.cells = [cell for cell in notebook.cells if cell.source.strip()]
    return notebook


def cut_questions(framework):
    """The ids of all questions that a one-framework edition leaves out, a set; of none for None."""
    contents = [questions.read(path)[0]["questions"] for path in questions.files()] if framework else []
    return {id for content in contents for id, question in content.items() if question.get(framework) == "cut"}


def without_questions(source, gone):
    """A cell's code without the calls that show these questions, alone or in a loop over a tuple of ids."""
    cuts = []  # (statement or tuple, its new text)
    for statement in ast.parse(source).body:
        call = statement.value if isinstance(statement, ast.Expr) else None
        if isinstance(call, ast.Call) and ast.unparse(call.func) in ("quiz", "recall"):
            if call.args and isinstance(call.args[0], ast.Constant) and call.args[0].value in gone:
                cuts.append((statement, ""))
        elif isinstance(statement, ast.For) and isinstance(statement.iter, ast.Tuple):
            words = [element.value for element in statement.iter.elts if isinstance(element, ast.Constant)]
            left = [word for word in words if not any(word in (id, id.partition("/")[2]) for id in gone)]
            if len(left) < len(words):
                text = ", ".join(f'"{word}"' for word in left) + ("," if len(left) == 1 else "")
                cuts.append((statement.iter, f"({text})") if left else (statement, ""))
    lines = source.splitlines()
    for node, text in reversed(cuts):
        first, last = node.lineno - 1, node.end_lineno - 1
        line = lines[first][: node.col_offset] + text + lines[last][node.end_col_offset :]
        lines[first : last + 1] = [line] if line.strip() else []
    return "\n".join(lines)


def without_column(text, label):
    """A Markdown text whose tables lose the column that is headed by exactly this label."""
    lines, column = text.split("\n"), None
    for i, line in enumerate(lines):
        if not line.startswith("|"):
            column = None
            continue
        cells = re.split(r"(?<!\\)\|", line)
        if i == 0 or not lines[i - 1].startswith("|"):
            heads = [cell.strip() for cell in cells]
            column = heads.index(label) if label in heads else None
        if column is not None:
            lines[i] = "|".join(cells[:column] + cells[column + 1 :])
    return "\n".join(lines)


# --- notes for teachers ---------------------------------------------------------------------------------------------


def notes(name):
    """Notes on a notebook's sections, from `data/teaching/NAME.md`: {heading: (minutes, text)}.

    The file has the notebook's own headings (their numbers do not matter); below each stands a line such as
    "6 minutes", then free text. Empty without the file. Raises EditionError for a section without its minutes.
    """
    path = TEACHING / f"{name}.md"
    _, *found = HEADING.split(path.read_text(encoding="utf-8") if path.exists() else "")
    result = {}
    for heading, body in zip(found[::2], found[1::2], strict=True):
        minutes, _, text = body.strip().partition("\n")
        if not re.fullmatch(r"\d+ minutes?", minutes):
            raise EditionError(f'{path.name}: {heading}: the first line below it must be such as "6 minutes".')
        result[heading] = (int(minutes.split()[0]), text.strip())
    return result


def headings(notebook):
    """The title and the section headings of a notebook, in order and without their numbers: (cell, heading) each."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "markdown"]
    code = re.compile(r"```.*?```", re.DOTALL)
    return [(cell, match[1]) for cell in cells for match in HEADING.finditer(code.sub("", cell.source))]


def _with_notes(notebook, name, framework):
    """The notebook with a quotation for the teacher behind each cell in which a section begins."""
    known, gone = notes(name), cut_questions(framework)
    found = [(cell, heading) for cell, heading in headings(notebook) if heading in known]
    for number, (cell, heading) in enumerate(found):
        minutes, text = known[heading]
        told = f"**For the teacher: {heading}** ({minutes} min)\n\n{_of_framework(text, framework, gone)}"
        if number == 0:
            rows = [f"| {heading} | {known[heading][0]} |" for _, heading in found]
            total = sum(known[heading][0] for _, heading in found)
            told += "\n".join(["\n\n| section | minutes |", "|---|---|", *rows, f"| **in all** | **{total}** |"])
        quoted = "\n".join(f"> {line}".rstrip() for line in told.strip().split("\n"))
        note = new_markdown_cell(quoted, id=f"notes-{number}", metadata={"tags": ["notes"]})
        notebook.cells.insert(notebook.cells.index(cell) + 1, note)
    return notebook


def _of_framework(text, framework, gone):
    """Notes without what begins with the other framework's name, and without points on questions that are cut."""
    if framework is None:
        return text
    (other,) = (label for name, label in FRAMEWORKS.items() if name != framework)
    left = [block for block in text.split("\n\n") if not block.startswith(f"{other}:")]
    lines = [line for line in "\n\n".join(left).split("\n") if not line.startswith(f"- {other}:")]
    lines = [line for line in lines if not any(f"`{id}`" in line for id in gone)]
    return re.sub(r"(`\d\d/[\w-]+`), answer \w\)", r"\1)", "\n".join(lines))  # there the letters may be others


# --- nbgrader -------------------------------------------------------------------------------------------------------

POINTS = 2  # an exercise
# nbgrader runs a submission in a folder of its own, autograded/<learner>/<assignment>/, and puts the teacher's files
# into it: the course is looked for in it and above.
SET_UP = """\
import os
import sys

folders = [os.path.abspath(os.path.join(".", *[".."] * depth)) for depth in range(6)]
course = next((path for path in folders if os.path.isdir(os.path.join(path, "study"))), None)
if course is None:
    sys.exit("The folder study is missing: it belongs beside this notebook, with utils and data. Ask your teacher.")
sys.path.insert(0, course)"""
TEST = """\
check("{id}", {value})
### BEGIN HIDDEN TESTS
from study import questions, scoring

score = scoring.score_exercise(questions.find("{id}", ("exercises",)), {value})
assert score.right is True, score.lines[0]
### END HIDDEN TESTS"""


def _for_nbgrader(notebook, name):
    """nbgrader's source version: each exercise a cell for the solution, then a locked test of POINTS points.

    Cell metadata of schema 3: https://nbgrader.readthedocs.io/en/stable/contributor_guide/metadata.html. Raises
    EditionError for an exercise without check or solution.
    """
    cells, waiting = [], None  # waiting: an exercise whose solution has not come yet
    for cell in [*notebook.cells, None]:
        if waiting is not None and (cell is None or "solution" not in tags(cell)):
            raise EditionError(f"{name}: no solution follows the exercise in cell {waiting.id}: nbgrader needs one.")
        if cell is None:
            break
        if "exercise" in tags(cell):
            waiting = cell
        elif "solution" not in tags(cell):
            if cell.id == "setup":
                cell.source, cell.outputs, cell.execution_count = SET_UP, [], None
                _mark(cell, "set-up", locked=True)
            cells.append(cell)
        elif waiting is not None:
            cells += _pair(waiting, cell, name)
            waiting = None
    notebook.cells = cells
    return notebook


def _pair(exercise, solution, name):
    """The solution cell and the test cell of an exercise."""
    found = re.findall(r'^check\("([^"]+)", (\w+)\)$', exercise.source, re.MULTILINE)
    if len(found) != 1:
        raise EditionError(f'{name}: cell {exercise.id} has not one line `check("id", answer)`: nbgrader needs it.')
    (id, value), check = found[0], re.compile(r"^check\(.*\n?", re.MULTILINE)
    given, solved = (check.sub("", cell.source).strip() for cell in (exercise, solution))
    exercise.source = "\n".join([given, "### BEGIN SOLUTION", solved, "### END SOLUTION"])
    exercise.outputs, exercise.execution_count = [], None
    needed = sorted((tags(exercise) | tags(solution)) & {*FRAMEWORKS})
    test = new_code_cell(TEST.format(id=id, value=value), id=f"{exercise.id}-test", metadata={"tags": needed})
    _mark(exercise, id.replace("/", "-") + f"-{exercise.id}", solution=True)
    _mark(test, id.replace("/", "-") + f"-{exercise.id}-test", grade=True, locked=True, points=POINTS)
    return exercise, test


def _mark(cell, grade_id, grade=False, solution=False, locked=False, **points):
    """Give a cell nbgrader's metadata."""
    kind = {"grade": grade, "solution": solution, "locked": locked, "task": False, "cell_type": cell.cell_type}
    cell.metadata["nbgrader"] = {"schema_version": 3, "grade_id": grade_id, **kind, **points}


if __name__ == "__main__":
    main()
