"""Grade learners' notebooks: a folder of submissions in, a table and grades.csv out.

A folder in SUBMISSIONS is a learner with one or more notebooks; so is a single file: alice_01_freeze_basics.ipynb.
Exercises (2 points each): the course's own check judges the answer, in a process of its own with limits of time and
  memory. Only the exercise's cell runs, and what it needs of other cells: a loop or a crash elsewhere costs nothing.
Quizzes and own words (1 point each) count where they are answered in code: answer("01/id", "b"), explain("01/id", "").
  Buttons leave no answer, only a line in progress.json, which anyone can edit: --trust-progress counts it.
"Look at it yourself": a function is run beside its check, so code that reaches into the interpreter gets no mark by
  machine. This is a fence, no proof: who goes to great lengths can still forge the mark of a function.
"""

import argparse
import ast
import contextlib
import csv
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tabulate import tabulate
from tqdm import tqdm

from utils.editions.nbgrader import POINTS
from utils.study import scoring
from utils.study.questions import StudyError, one_line

from . import submissions
from .run import Course, Mark

WORTH = {"exercises": POINTS, "quiz": 1, "recall": 1}
NAMES = {"exercises": "exercises", "quiz": "quizzes", "recall": "own words"}


@dataclass
class Row:
    """One learner's marks: {question id: Mark}, and what else is to be said."""

    name: str
    marks: dict = field(default_factory=dict)
    notes: list = field(default_factory=list)


def main(arguments=None):
    """Grade the folder that the command line names. Returns the exit code: 0 if all learners have their row."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.grade", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("submissions", type=Path, nargs="?", help="the folder of submissions")
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: grades.csv in the folder of submissions")
    parser.add_argument("--seconds", type=int, default=120, help="for one exercise (default: 120)")
    parser.add_argument("--memory", type=int, default=3000, metavar="MB", help="for one exercise (default: 3000)")
    parser.add_argument("--jobs", type=int, default=2, help="exercises judged at a time (default: 2)")
    parser.add_argument("--trust-progress", action="store_true", help="count what the learner's progress.json says")
    options = parser.parse_args(arguments)
    if options.submissions is None:
        sys.exit("Name the folder of submissions: make grade SUBMISSIONS=folder")
    out = options.out or options.submissions / "grades.csv"
    try:
        learners = submissions.collect(options.submissions)
        course = Course(options.submissions, options.seconds, options.memory)
    except (OSError, submissions.NoNotebook) as error:
        sys.exit(f"Cannot grade {options.submissions}: {getattr(error, 'strerror', None) or error}.")
    if not learners:
        sys.exit(f"{options.submissions} is empty: put a folder or a notebook for each learner into it.")
    if course.no_cage:
        print(
            f"This system lets a submission do what you may do ({one_line(course.no_cage, 100)}): it could change your "
            "files and end your programs. Grade people you do not know in a container, or as a user of its own.",
            file=sys.stderr,
        )
    questions = asked(learners, course)
    rows = grade(learners, questions, course, options.jobs, options.trust_progress)
    if changed := course.changed():
        print(f"The course's files were changed meanwhile: restore {', '.join(changed)}.", file=sys.stderr)
    print(table(rows, questions))
    try:
        write(out, rows, questions)
    except OSError as error:
        sys.exit(f"Cannot write {out} ({error.strerror}): name another file with OUT=... (--out).")
    print(f"\n{out}: {len(rows)} learners, {len(questions)} questions.")
    return 0


def asked(learners, course):
    """The questions of all notebooks that someone handed in: {id: question}, in the course's order.

    A question that stands in a cell of one framework, and in no submission, was cut with the other framework's cells.
    """
    found = {}
    for number in sorted({number for learner in learners for number in learner.notebooks}):
        if number not in course.notebooks:
            continue
        try:
            content = submissions.content_of(number)
        except StudyError as error:
            sys.exit(str(error))
        cells = [cell for learner in learners for cell in learner.notebooks.get(number, ())]
        seen = {text for cell in cells for text in texts(cell)}
        for id, question in content.items():
            names = {id, id.split("/")[1]}
            tags = [cell.tags & {"keras", "torch"} for cell in course.notebooks[number] if names & texts(cell)]
            cut = tags and all(len(tag) == 1 for tag in tags) and not names & seen
            if tags and not cut:
                found[id] = question
    return found


def texts(cell):
    """All texts that are written out in a cell."""
    nodes = ast.walk(cell.tree) if cell.tree else ()
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def grade(learners, questions, course, jobs, trust):
    """The rows of all learners; the exercises are judged `jobs` at a time."""
    rows = [Row(learner.name, notes=list(learner.notes)) for learner in learners]
    exercises = []
    for row, learner in zip(rows, learners, strict=True):
        for number, cells in sorted(learner.notebooks.items()):
            if number not in course.notebooks:
                row.notes.append(f"The course has no notebook {number}.")
                continue
            own = {id: question for id, question in questions.items() if id[:2] == number}
            words(row, own, cells, learner.progress if trust else {})
            exercises += [(row, cells, q) for q in own.values() if q["section"] == "exercises"]
    with ThreadPoolExecutor(jobs) as pool:
        judged = [pool.submit(course.exercise, cells, q["id"][:2], q) for _, cells, q in exercises]
        try:
            with tqdm(total=len(judged), unit="exercise", leave=False, disable=None) as bar:
                for (row, _, question), mark in zip(exercises, judged, strict=True):
                    row.marks[question["id"]] = mark.result()
                    bar.update()
        except BaseException:
            course.stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    return rows


def words(row, questions, cells, progress):
    """Score a notebook's quiz and free-recall questions into a row."""
    questions = {id: question for id, question in questions.items() if question["section"] != "exercises"}
    given, unclear = submissions.answers(cells, questions)
    for id, question in questions.items():
        if id in given:
            row.marks[id] = score(question, given[id])
        elif progress.get(id, {}).get("right"):
            row.marks[id] = Mark(1)
        else:
            row.marks[id] = Mark(0, "its answer is not written out" if id in unclear else "not answered")


def score(question, values):
    """The mark of an answer to a quiz or free-recall question."""
    if question["section"] == "recall":
        result = scoring.score_recall(question, values[0] if values else "")
    else:
        result = scoring.score(question, *values)
    if result.right:
        return Mark(1)
    found, of = result.best or (0, 1)
    return Mark(round(found / of, 2), f"{found} of {of} concepts" if result.best else "wrong")


def failed(row):
    """What failed, in words: the exercises one by one, the other questions by kind."""
    lines, kinds = list(row.notes), {}
    for id, mark in row.marks.items():
        if mark.why in ("wrong", "not answered"):
            kinds.setdefault(mark.why, []).append(id)
        elif mark.why:
            lines.append(f"{id}: {mark.why}")
    for why, ids in kinds.items():
        lines.append(f"wrong: {', '.join(ids)}" if why == "wrong" else f"{len(ids)} {why}")
    return "; ".join(line.rstrip(".") for line in lines)


def sums(row, questions):
    """The points of a row by kind of question: {section: (points, of)}; `of` is the same for all learners."""
    found = {}
    for id, question in questions.items():
        worth = WORTH[question["section"]]
        points, of = found.get(question["section"], (0, 0))
        found[question["section"]] = (points + worth * row.marks.get(id, Mark(0)).share, of + worth)
    return found


def number(value):
    """Points as they are written: 2, or 1.25."""
    return f"{value:g}"


def cell(text, limit=1000):
    """A text that a terminal, a table and a spreadsheet can take: one line, printable, and no formula."""
    text = one_line("".join(c if c.isprintable() or c.isspace() else "?" for c in str(text)), limit)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def write(path, rows, questions):
    """Write grades.csv, whole or not at all; an older one is kept as grades.csv.old. Raises OSError."""
    part = path.with_name(path.name + ".part")
    with open(part, "w", newline="", encoding="utf-8-sig") as file:  # the mark tells Excel that it is UTF-8
        lines = csv.writer(file)
        sections = [section for section in NAMES if any(q["section"] == section for q in questions.values())]
        lines.writerow(["learner", *questions, *(NAMES[s] for s in sections), "total", "of", "what failed"])
        for row in rows:
            points = [
                number(row.marks[id].share * WORTH[q["section"]]) if id in row.marks else ""
                for id, q in questions.items()
            ]
            kinds = sums(row, questions)
            total, of = (number(sum(kind[i] for kind in kinds.values())) for i in (0, 1))
            each = [number(kinds[section][0]) for section in sections]
            lines.writerow([cell(row.name), *points, *each, total, of, cell(failed(row), 5000)])
    if path.exists():
        with contextlib.suppress(OSError):
            os.replace(path, path.with_name(path.name + ".old"))
    os.replace(part, path)


def table(rows, questions):
    """The rows as a table of text: a line a learner, with what failed cut to what a line holds."""
    sections = [section for section in NAMES if any(q["section"] == section for q in questions.values())]
    lines = []
    for row in rows:
        kinds = sums(row, questions)
        each = [f"{number(kinds[s][0])}/{number(kinds[s][1])}" for s in sections]
        total, of = (number(sum(kind[i] for kind in kinds.values())) for i in (0, 1))
        lines.append([cell(row.name, 30), *each, f"{total}/{of}", cell(failed(row), 110)])
    headers = ["learner", *(NAMES[s] for s in sections), "total", "what failed"]
    return tabulate(lines, headers, disable_numparse=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("\nInterrupted: no grades were written.")
