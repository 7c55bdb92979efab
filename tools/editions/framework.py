"""One framework only: its cells, its imports, its questions, and prose that names no other."""

import ast
import functools
import re

from study import questions

from . import prose

OTHER = {"keras": "torch", "torch": "keras"}
LABEL = {"keras": "Keras", "torch": "PyTorch"}
SETUP = "setup"  # the id of the cell that finds utils


def only(framework, notebook, name):
    """Cut the other framework's cells, questions, table columns and words, and all outputs: they may show both."""
    other = OTHER[framework]
    prose.apply(notebook, name, framework)
    notebook.cells = [cell for cell in notebook.cells if other not in tags(cell)]
    gone = cut_questions(framework)
    for cell in notebook.cells:
        untag(cell, framework)
        if cell.cell_type == "markdown":
            cell.source = without_column(cell.source, LABEL[other])
            continue
        cell.source = without_questions(cell.source, gone)
        cell.outputs, cell.execution_count = [], None
        if cell.id == SETUP:
            cell.source += f'\nos.environ["FREEZING_FRAMEWORK"] = "{framework}"  # the questions, too'
    notebook.cells = [cell for cell in notebook.cells if cell.source.strip()]
    return notebook


keras_only = functools.partial(only, "keras")
torch_only = functools.partial(only, "torch")


def tags(cell):
    """The tags of a cell, a set."""
    return set(cell.metadata.get("tags", ()))


def untag(cell, tag):
    """Take a tag away."""
    if tag in tags(cell):
        cell.metadata.tags = [other for other in cell.metadata.tags if other != tag]
        if not cell.metadata.tags:
            del cell.metadata["tags"]


def cut_questions(framework):
    """The ids of all questions that an edition leaves out, a set."""
    found = set()
    for path in questions.files():
        content, _ = questions.read(path)
        found |= {id for id, question in content["questions"].items() if question.get(framework) == "cut"}
    return found


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
