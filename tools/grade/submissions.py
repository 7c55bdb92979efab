"""Which file is whose, and what is in it. Learners' files are read here as data; nothing of theirs runs."""

import ast
import json
import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path

import nbformat

from utils.study import questions

GRADED = ("exercises", "quiz", "recall")
LARGEST = 50_000_000  # bytes of a notebook
LONGEST = 20_000  # characters of a cell: Python's parser is safe with so much, whatever is in it
NUMBER = re.compile(r"(?<!\d)(\d\d)_[a-z]\w*", re.IGNORECASE)  # 01_freeze_basics in the name of a file
CALL = re.compile(r"\b(?:check|quiz|recall|cards|answer|explain)\(\s*['\"](\d\d)[/'\"]")


class NoNotebook(Exception):
    """A file that cannot be graded; the message ends a sentence that begins with its name."""


@dataclass
class Cell:
    """A code cell: its source without IPython's magics, and its syntax tree or, in `fault`, why there is none."""

    id: str
    tags: frozenset
    source: str
    tree: ast.Module | None = None
    fault: str | None = None

    def calls(self, *names):
        """All calls of these functions whose first argument is written out as text: a list of (id, ast.Call)."""
        return [
            (node.args[0].value, node)
            for node in (ast.walk(self.tree) if self.tree else ())
            if isinstance(node, ast.Call)
            and (getattr(node.func, "id", None) in names or getattr(node.func, "attr", None) in names)
            and node.args
            and isinstance(node.args[0], ast.Constant)
            and isinstance(node.args[0].value, str)
        ]

    def checks(self):
        """The exercises whose answer this cell hands to `check`; the course's own solutions (counts=False) do not."""
        if self.tree:
            return {id for id, call in self.calls("check") if not any(k.arg == "counts" for k in call.keywords)}
        return set() if "counts" in self.source else set(re.findall(r"\bcheck\(\s*['\"]([^'\"]+)", self.source))


@dataclass
class Learner:
    """What one learner handed in."""

    name: str
    notebooks: dict = field(default_factory=dict)  # "01": list of Cell
    notes: list = field(default_factory=list)  # sentences on files that cannot be graded
    progress: dict = field(default_factory=dict)  # entries of progress.json: the learner's own record


def collect(folder):
    """All learners of a folder of submissions, in the order of their names, each with all files read.

    A folder in it is a learner, with whatever lies under it; so is each single file: alice_01_freeze_basics.ipynb is
    alice's. Returns a list of Learner. Raises OSError if the folder cannot be read.
    """
    found = {}  # name: the paths
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.name.startswith(".") or entry.name.startswith("grades.csv"):
            continue
        if entry.is_dir(follow_symlinks=False):
            found.setdefault(entry.name, []).extend(_below(entry.path))
        else:
            stem = Path(entry.name).stem
            name = NUMBER.sub("", stem).strip(" _-.") or stem
            found.setdefault(name, []).append(Path(entry.path))
    return [_learner(name, paths) for name, paths in sorted(found.items())]


def _below(folder):
    """The paths of the files in a folder and in those inside it; links to folders are not followed."""
    paths = []
    for path, inner, names in os.walk(folder):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        paths += [Path(path, name) for name in sorted(names) if not name.startswith(".")]
    return paths


def _learner(name, paths):
    learner, versions = Learner(name), {}
    for path in paths:
        try:
            if path.name == "progress.json":
                learner.progress = _progress(_bytes(path))
            elif path.suffix.lower() == ".ipynb":
                cells = parse(_bytes(path))
                versions.setdefault(number_of(path.name, cells), []).append((path.stat().st_mtime_ns, path.name, cells))
            elif path.parent.name != name or len(paths) == 1:
                raise NoNotebook("is not a notebook (.ipynb)")
        except (NoNotebook, OSError) as error:
            learner.notes.append(f"{path.name} {error if isinstance(error, NoNotebook) else 'cannot be read'}.")
    for number, several in versions.items():
        several.sort(key=lambda version: version[:2])
        learner.notebooks[number] = several[-1][2]
        if len(several) > 1:
            learner.notes.append(
                f"Notebook {number} came {len(several)} times: graded is the newest, {several[-1][1]}."
            )
    if not versions and not learner.notes:
        learner.notes.append("There is no notebook in this folder.")
    return learner


def _bytes(path):
    """The content of a plain file; a link or a pipe is not followed or waited for. Raises NoNotebook, OSError."""
    if not stat.S_ISREG(path.lstat().st_mode):
        raise NoNotebook("is a link or a device, not a file")
    if path.stat().st_size > LARGEST:
        raise NoNotebook(f"has more than {LARGEST // 1_000_000} MB")
    return path.read_bytes()


def _progress(content):
    try:
        entries = json.loads(content)["questions"]
        return {id: {"right": bool(entry["right"])} for id, entry in entries.items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise NoNotebook("is damaged, and left out") from None


def parse(content):
    """The code cells of a notebook of any format, as a list of Cell. Raises NoNotebook."""
    try:
        notebook = nbformat.reads(content.decode("utf-8-sig"), as_version=4)
        cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
        return [_cell(cell, index) for index, cell in enumerate(cells)]
    except RecursionError:
        raise NoNotebook("is nested too deeply to be a notebook") from None
    except Exception:  # nbformat raises what it meets: ValueError, KeyError, AttributeError, ValidationError ...
        raise NoNotebook("is damaged, or not a notebook: it cannot be read as one") from None


def _cell(raw, index):
    source = str(raw.source)
    tags = raw.metadata.get("tags", [])
    cell = Cell(str(raw.get("id", index)), frozenset(map(str, tags)), source)
    if len(source) > LONGEST:
        cell.fault = f"The cell has more than {LONGEST:,} characters."
        cell.source = ""
        return cell
    if re.match(r"\s*%%(time|timeit|capture)\b", source):
        source = source.lstrip().partition("\n")[2]
    cell.source = re.sub(r"^([ \t]*)[%!?].*$", r"\1pass", source, flags=re.MULTILINE)
    try:
        cell.tree = ast.parse(cell.source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = f" in line {error.lineno}" if getattr(error, "lineno", None) else ""
        cell.fault = f"The cell is not Python: {getattr(error, 'msg', None) or type(error).__name__}{line}."
    return cell


def number_of(name, cells):
    """The two digits of the course's notebook that a submission is: by its questions, else by its file's name."""
    named = [number for cell in cells for number in CALL.findall(cell.source)]
    if named:
        return max(sorted(set(named)), key=named.count)
    found = NUMBER.search(name)
    if not found:
        raise NoNotebook("has no question of the course in it, and no name such as 01_freeze_basics.ipynb")
    return found[1]


def literal(node):
    """The value of an argument that is written out: text, numbers, lists of them, and sums and products of numbers.

    Raises ValueError for anything else: nothing is run to find it out.
    """
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, MemoryError, RecursionError):
        pass
    if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        left, right = float(literal(node.left)), float(literal(node.right))
        return _ARITHMETIC[type(node.op)](left, right)
    raise ValueError


_ARITHMETIC = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
}


def answers(cells, known):
    """The answers to quiz and free-recall questions: the last `answer(...)` or `explain(...)` for each id.

    known: ids that count. Returns ({id: tuple of values}, ids whose last answer is not written out).
    """
    values, unclear = {}, set()
    for id, call in [call for cell in cells for call in cell.calls("answer", "explain")]:
        if id not in known:
            continue
        try:
            given = [*call.args[1:], *(keyword.value for keyword in call.keywords)]
            values[id] = tuple(literal(argument) for argument in given)
            unclear.discard(id)
        except (ValueError, TypeError, ArithmeticError):
            values.pop(id, None)
            unclear.add(id)
    return values, unclear


def content_of(number):
    """The questions of a notebook that are graded: {id: question}. Empty if it has none. Raises StudyError."""
    path = next((path for path in questions.files() if path.name[:2] == number), None)
    found = questions.load(path)["questions"] if path else {}
    return {id: question for id, question in found.items() if question["section"] in GRADED}
