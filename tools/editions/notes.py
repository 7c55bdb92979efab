"""Notes for teachers, section by section: `data/teaching/NN_name.yaml`.

    sections:
      "3. The gradient passes through":      # the heading, without its #
        minutes: 6
        notes: What to do and to say here.
        keras: A sentence that only concerns Keras. Optional, and so is torch.
        misconceptions:                      # optional
          - thinks: A frozen layer is a wall for the gradient.
            question: 01/predict-through     # what reveals it
            option: a                        # optional: the answer that gives it away
            reply: What to answer.
            framework: torch                 # optional: left out where this framework is cut

A notebook's title (`# ...`) and its sections (`## ...`) have an entry each; the minutes make up the notebook's.
"""

import re

from nbformat.v4 import new_markdown_cell

from study import questions
from utils import data

from .errors import EditionError
from .framework import LABEL, OTHER, cut_questions
from .prose import read_yaml

FOLDER = data.FOLDER / "teaching"
FIELDS = {"minutes", "notes", "keras", "torch", "misconceptions"}
MEMORY = "headings"  # key of a cell's metadata while an edition is made
HEADING = re.compile(r"^##? (.+?)\s*$", re.MULTILINE)


def read(name):
    """The notes on a notebook's sections.

    name: such as "01_freeze_basics". Returns {heading: dict}, empty without a file. Raises EditionError for a file
    that is not in the format.
    """
    sections = read_yaml(FOLDER / f"{name}.yaml").get("sections") or {}
    for heading, entry in sections.items():
        where = f"{name}.yaml: {heading}"
        if not isinstance(entry, dict) or not isinstance(entry.get("minutes"), int) or not set(entry) <= FIELDS:
            raise EditionError(f"{where}: needs minutes (a whole number), and may have {', '.join(sorted(FIELDS))}.")
        for item in entry.get("misconceptions") or []:
            if not isinstance(item, dict) or not {"thinks", "question", "reply"} <= set(item):
                raise EditionError(f"{where}: a misconception needs thinks, question and reply.")
    return sections


def headings(notebook):
    """The title and the section headings of a notebook, in order: (index of the cell, heading) each."""
    return [
        (i, match[1])
        for i, cell in enumerate(notebook.cells)
        if cell.cell_type == "markdown"
        for match in HEADING.finditer(re.sub(r"```.*?```", "", cell.source, flags=re.DOTALL))
    ]


def remember_headings(notebook):
    """Store each cell's headings in its metadata: a one-framework edition may word them otherwise."""
    for i, heading in headings(notebook):
        notebook.cells[i].metadata.setdefault(MEMORY, []).append(heading)


def forget_headings(notebook):
    """Take away what `remember_headings` stored."""
    for cell in notebook.cells:
        cell.metadata.pop(MEMORY, None)


def insert(notebook, name):
    """Put a cell with the notes behind each cell in which a section begins. Returns the notebook."""
    sections, left, found = read(name), frameworks(notebook), {}
    for i, heading in headings(notebook):
        found.setdefault(i, []).append(heading)
    known = {}  # index of the cell: [(heading as it reads here, its entry)]
    for i, now in found.items():
        before = notebook.cells[i].metadata.get(MEMORY, [])
        before = before if len(before) == len(now) else now
        known[i] = [(new, sections[old]) for new, old in zip(now, before, strict=True) if old in sections]
    for i, entries in reversed(known.items()):
        text = "\n\n".join(note(heading, entry, left) for heading, entry in entries)
        if i == 0 and entries:
            text += "\n>\n" + plan([entry for cell in known.values() for entry in cell])
        if text:
            cell = new_markdown_cell(text, id=f"notes-{notebook.cells[i].id}"[:64], metadata={"tags": ["notes"]})
            notebook.cells.insert(i + 1, cell)
    return notebook


def frameworks(notebook):
    """The frameworks that a notebook still has: both, unless it was made for one of them."""
    source = "".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    only = re.search(r'"FREEZING_FRAMEWORK"\] = "(\w+)"', source)
    return [only[1]] if only else list(OTHER)


def note(heading, entry, left):
    """The notes on one section as Markdown, set off as a quotation."""
    gone = cut_questions(left[0]) if len(left) == 1 else set()
    paragraphs = [f"**For the teacher: {heading}** ({entry['minutes']} min)"]
    paragraphs += [entry["notes"].strip()] if entry.get("notes") else []
    paragraphs += [f"{LABEL[one]}: {entry[one].strip()}" for one in left if entry.get(one)]
    expected = [item for item in entry.get("misconceptions") or [] if item["question"] not in gone]
    expected = [item for item in expected if item.get("framework", left[0]) in left]
    if expected:
        paragraphs.append("Expect to hear:")
        paragraphs.append("\n".join(f"- {misconception(item, left)}" for item in expected))
    return "\n".join(f"> {line}".rstrip() for line in "\n\n".join(paragraphs).split("\n"))


def misconception(item, left):
    """One misconception in a line: what the learner thinks, what shows it, what to reply."""
    shown = f"`{item['question']}`"
    reworded = len(left) == 1 and "options" in (questions.find(item["question"]).get(left[0]) or {})
    if item.get("option") and not reworded:  # else the letters are others
        shown += f", answer {item['option']}"
    thinks, reply = (" ".join(item[field].split()) for field in ("thinks", "reply"))
    return f"*{thinks}* ({shown}) {reply}"


def plan(entries):
    """A table of the minutes. entries: (heading, entry) of each section."""
    rows = [f"> | {heading} | {entry['minutes']} |" for heading, entry in entries]
    total = f"> | **in all** | **{sum(entry['minutes'] for _, entry in entries)}** |"
    return "\n".join(["> | section | minutes |", "> |---|---|", *rows, total])
