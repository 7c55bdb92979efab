"""What every notebook must look like, readable without running it: each guard returns the faults it finds.

A guard takes a notebook (as nbformat reads it) and returns a list of sentences, empty when all is well.
`test_notebooks.py` runs them on the course, and on a broken sample each.
"""

import functools
import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat

PATHS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))
LIMIT = 900_000  # bytes of a notebook with its outputs: its page on the site stays under 1 MB
FOLDED = {"plumbing", "proof", "solution"}  # come folded; the rest is the lesson
TAGS = {"keras", "torch", "exercise", "script", "hide-input", "nbval-ignore-output", "raises-exception", *FOLDED}


@functools.cache
def read(path):
    """A notebook, read once: copy it before you change it."""
    return nbformat.read(path, as_version=4)


def code(nb):
    return [cell for cell in nb.cells if cell.cell_type == "code"]


def prose(nb):
    return "\n\n".join(cell.source for cell in nb.cells if cell.cell_type == "markdown")


def tags(cell):
    return set(cell.metadata.get("tags", []))


def lines(cell):
    return [line for line in cell.source.splitlines() if line.strip()]


def outputs_text(cell):
    """All that a cell shows as text or markup."""
    parts = []
    for output in cell.outputs:
        parts += [output.get("text", "")] + [str(v) for k, v in output.get("data", {}).items() if k.startswith("text/")]
    return "\n".join(parts)


def shown(nb):
    """All that a notebook shows as text or markup."""
    return "\n".join(outputs_text(cell) for cell in code(nb))


def undefined_names(path):
    """What ruff says of names that a notebook, or any in a folder, uses and does not define; "" if there is none."""
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F821", "--quiet", path]
    return subprocess.run(command, capture_output=True, text=True).stdout


def ran_from_top_to_bottom(nb):
    # nbval passes a notebook without outputs: nothing is compared then
    counts = [cell.execution_count for cell in code(nb)]
    return [] if counts == list(range(1, len(counts) + 1)) else [f"prompts are {counts}, not 1 to {len(counts)}"]


def has_outputs(nb):
    return [] if any(cell.outputs for cell in code(nb)) else ["no cell has an output"]


def no_errors(nb):
    return [
        f"{cell.id} ends with {output.ename}"
        for cell in code(nb)
        for output in cell.outputs
        if output.output_type == "error" and "raises-exception" not in tags(cell)
    ]


def no_stderr(nb):
    return [f"{cell.id} writes to stderr" for cell in code(nb) for o in cell.outputs if o.get("name") == "stderr"]


def no_scripts_or_addresses(nb):
    outside = (
        r"<script|<iframe|application/javascript|(src|href)\s*=\s*[\"']?\s*(https?:)?//|url\(\s*[\"']?(https?:)?//"
    )
    return [
        f"{cell.id} shows {found.group()!r}"
        for cell in code(nb)
        for output in cell.outputs
        if (found := re.search(outside, json.dumps(output).replace("\\", ""), re.IGNORECASE))
    ]


def no_widget_state(nb):
    return ["metadata.widgets is stored"] if "widgets" in nb.metadata else []


def no_timing(nb):
    return [f"{cell.id} stores when it ran" for cell in code(nb) if "execution" in cell.metadata]


def plain_kernel(nb):
    right = nb.metadata.get("kernelspec", {}).get("name") == "python3"
    info = nb.metadata.get("language_info", {}).keys()
    return ([] if right else ["the kernel is not python3"]) + (
        ["language_info tells a version"] if "version" in info else []
    )


def small(nb):
    size = len(json.dumps(nb))
    return [] if size <= LIMIT else [f"{size:,} bytes are more than {LIMIT:,}"]


def no_semicolons(nb):
    # nbval shows what a semicolon hides in JupyterLab
    return [f"{cell.id} ends with ;" for cell in code(nb) if cell.source.rstrip().endswith(";")]


def nothing_that_waits_or_chatters(nb):
    bad = r"\binput\(|verbose=[12\"]|\.predict\((?![^)]*verbose=0)"
    return [f"{cell.id} has {m.group()!r}" for cell in code(nb) if (m := re.search(bad, cell.source))]


def is_open(cell):
    return not tags(cell) & FOLDED


def short_open_cells(nb):
    """The open code is the lesson: cells of 12 lines and 78 characters, 150 lines a notebook, and no claim in it.

    A cell tagged `script`, a program as somebody sent it, to be examined and mended, may have 40 of the lines.
    """
    cells = [cell for cell in code(nb) if is_open(cell)]
    most = {cell.id: 40 if "script" in tags(cell) else 12 for cell in cells}
    faults = [f"{cell.id} has {len(lines(cell))} lines" for cell in cells if len(lines(cell)) > most[cell.id]]
    faults += [f"{cell.id} claims in the open" for cell in cells if "claim(" in cell.source]
    wide = [cell.id for cell in cells if any(len(line) > 78 for line in lines(cell))]
    total = sum(len(lines(cell)) for cell in cells)
    return (
        faults
        + [f"{id} has lines over 78 characters" for id in wide]
        + ([f"{total} open lines"] if total > 150 else [])
    )


def folded_cells(nb):
    """Proofs, plumbing and solutions are folded in JupyterLab; the first two also on Colab and on the site."""
    faults = []
    for cell in code(nb):
        is_folded = cell.metadata.get("jupyter", {}).get("source_hidden", False)
        if is_folded == is_open(cell):
            faults.append(f"{cell.id} is {'folded' if is_folded else 'open'}, and its tags say otherwise")
        elif tags(cell) & {"plumbing", "proof"}:
            colab = cell.metadata.get("cellView") == "form" and cell.source.startswith("# @title ")
            faults += [] if colab and "hide-input" in tags(cell) else [f"{cell.id} is not folded on Colab and the site"]
    return faults


def not_too_many_claims(nb):
    claims = sum(cell.source.count("claim(") for cell in code(nb))
    return [] if claims <= 25 else [f"{claims} claims are more than 25"]


def figures_have_alt_texts(nb):
    return [
        f"{cell.id} shows a figure without alt text"
        for cell in code(nb)
        for output in cell.outputs
        for kind in output.get("data", {})
        if kind.startswith("image/") and not output.metadata.get(kind, {}).get("alt")
    ]


def goes_on(nb):
    return (
        [] if re.search(r"^Next: \[", nb.cells[-1].source, re.MULTILINE) else ["the last cell names no next notebook"]
    )


def excused_cells_are_claimed(nb):
    """What strict comparison leaves out must be asserted: by a claim in the cell itself or in the next code cell."""
    cells = code(nb)
    faults = []
    for cell, after in zip(cells, [*cells[1:], None], strict=True):
        hides = "nbval-ignore-output" in tags(cell) and cell.outputs  # a bar that vanishes leaves no output
        if hides and cell.source.strip() != "progress()":
            claimed = "claim(" in cell.source or (after is not None and "claim(" in after.source)
            faults += [] if claimed else [f"{cell.id} is excused from comparison, and no claim follows"]
    return faults


def known_tags(nb):
    return [f"{cell.id} has unknown tags {tags(cell) - TAGS}" for cell in nb.cells if tags(cell) - TAGS]


def framework_tags(nb):
    """A cell that names a framework's module must bear its tag, so that editions can cut it."""
    words = {"keras": r"\b(keras|keras_lab|tf)\.", "torch": r"\b(torch|torch_lab|nn)\."}
    return [
        f"{cell.id} uses {framework} without the tag"
        for cell in code(nb)
        for framework, word in words.items()
        if re.search(word, cell.source) and framework not in tags(cell)
    ]


def solutions_follow(nb):
    cells = code(nb)
    return [
        f"{cell.id}: no solution follows"
        for cell, after in zip(cells, [*cells[1:], None], strict=True)
        if "exercise" in tags(cell) and not (after is not None and {"solution", "exercise"} & tags(after))
    ]


def exercises_wait_and_solutions_pass(nb):
    faults = []
    for cell in code(nb):
        if "exercise" in tags(cell) and "not attempted yet" not in outputs_text(cell):
            faults.append(f"{cell.id} does not say 'not attempted yet'")
        if "solution" in tags(cell) and "✔ Correct" not in outputs_text(cell):
            faults.append(f"{cell.id}: its own solution does not pass")
    return faults


def alt_texts(nb):
    bare = re.findall(r"!\[\s*\]\([^)]*\)|<img(?![^>]*alt=\"[^\"]+\")[^>]*>", prose(nb))
    return [f"picture without alt text: {picture}" for picture in bare]


def skeleton(nb):
    text = prose(nb)
    parts = [
        r"\A# \S",
        r"^\*\*The question\.\*\*",
        r"^\*\*You will\*\*",
        r"^\*\*You need\*\*",
        r"^## Exercises",
        r"^## Recall",
    ]
    faults = [f"the text has no {part!r}" for part in parts if not re.search(part, text, re.MULTILINE)]
    last = nb.cells[-1]
    if last.cell_type != "markdown" or not last.source.startswith("## Key points"):
        faults.append("the last cell is not '## Key points'")
    return faults


def size_that_reads_well(nb):
    words = len(re.findall(r"\w+", prose(nb)))
    faults = [] if 800 <= words <= 1600 else [f"{words} words are not 800 to 1,600"]
    return faults + ([] if 25 <= len(nb.cells) <= 52 else [f"{len(nb.cells)} cells are not 25 to 52"])


GUARDS = [
    ran_from_top_to_bottom,
    has_outputs,
    no_errors,
    no_stderr,
    no_scripts_or_addresses,
    no_widget_state,
    no_timing,
    plain_kernel,
    small,
    no_semicolons,
    nothing_that_waits_or_chatters,
    short_open_cells,
    folded_cells,
    not_too_many_claims,
    excused_cells_are_claimed,
    known_tags,
    framework_tags,
    solutions_follow,
    exercises_wait_and_solutions_pass,
    alt_texts,
    figures_have_alt_texts,
    skeleton,
    goes_on,
    size_that_reads_well,
]
