"""Execute the notebooks, store their outputs, and tell what each took; then the pages show what they found.

`make refresh` runs this on all of notebooks/; `python -m tools.refresh NOTEBOOK ...` on some, and leaves the pages as
they are; `make run` with `--to`, which keeps the outputs out of the notebooks.
"""

import argparse
import base64
import functools
import json
import os
import re
import sys
import time
from pathlib import Path
from subprocess import DEVNULL
from typing import NamedTuple

from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from tabulate import SEPARATING_LINE, tabulate
from tqdm import tqdm

from study.scoring import RIGHT
from tools import ROOT, code_cells, notebooks, read, without_outputs, write
from utils.evidence import CLAIM_MARK

WIDGET = "application/vnd.jupyter.widget-view+json"
# As in every notebook that JupyterLab saves, less the version of Python: a notebook is the same from every machine.
LANGUAGE = {"file_extension": ".py", "mimetype": "text/x-python", "name": "python", "pygments_lexer": "ipython3"}
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
METADATA = {"kernelspec": KERNEL, "language_info": LANGUAGE}
REASONS = {
    CellTimeoutError: "it ran too long (--timeout gives it more)",
    DeadKernelError: "the kernel died; most often the memory was used up",
}
TOOK = "took.json"  # what `make run` took, for `make bench`
PICTURE = ROOT / "tools/site/truth_table.png"
SHOWN = "02_recompile_pitfall", "keras-table"  # the notebook and the cell whose figure README.md shows
ROW = re.compile(r"^\| (C\d\d) \|.*$", re.MULTILINE)
MAP = re.compile(r"^(\| \[.*\]\(notebooks/(\w+)\.ipynb\) \|.*\|) \d+ \|$", re.MULTILINE)  # the last column: claims
LINK = re.compile(r"\(((?:\.\./)?notebooks/(\w+)\.ipynb)(?:#cell-id=([\w-]+))?\)")
PAGES = ROOT / "README.md", ROOT / "docs/claims.md"  # what shows rows of claims


class Result(NamedTuple):
    """What one notebook took: seconds, and MB at the peak; `failure` says in words which cell failed, and why."""

    name: str
    cells: int
    claims: int
    seconds: float
    peak: int
    failure: str


def main(arguments=None):
    """Run the notebooks that the command line names. Returns the exit code: 1 when a cell failed."""
    parser = argparse.ArgumentParser(prog="python -m tools.refresh", description=__doc__.split("\n")[0])
    parser.add_argument("notebooks", nargs="*", type=Path, metavar="NOTEBOOK", help="default: all of notebooks/")
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="write executed copies there, and nothing else")
    parser.add_argument("--timeout", type=int, default=600, metavar="SECONDS", help="for one cell (default: 600)")
    options = parser.parse_args(arguments)
    paths = options.notebooks or notebooks()
    results = []
    for path, notebook in tqdm([(path, without_outputs(read(path))) for path in paths], unit="notebook", leave=False):
        results.append(execute(path, notebook, options.timeout))
        if options.to or not results[-1].failure:
            write(notebook, options.to / path.name if options.to else path)
    print(table(results))
    if options.to and not options.notebooks:
        write(json.dumps([result._asdict() for result in results], indent=1) + "\n", options.to / TOOK)
    failures = [f"\nFAILED: {result.name}, {result.failure}" for result in results if result.failure]
    print(*failures, sep="\n", end="", file=sys.stderr)
    if not (failures or options.notebooks or options.to):
        update_pages()
    return int(bool(failures))


# --- running ----------------------------------------------------------------------------------------------------------


def execute(path, notebook, timeout=600):
    """Run a notebook's cells in its folder, on a fresh kernel, up to the first that fails; outputs go into `notebook`.

    timeout: seconds for a cell. Returns a Result. Exits with one sentence when the kernel does not start.
    """
    where = {"metadata": {"path": str(path.parent)}}
    form = {"kernel_name": "python3", "record_timing": False, "store_widget_state": False, "resources": where}
    client = NotebookClient(notebook, timeout=timeout, **form)
    # Under pytest ipykernel would drop what C code and child processes print (see conftest.py). The learner's progress
    # is not ours to write, and stored widgets would only name a kernel that has ended: what is stored is static.
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    environment |= {"FREEZING_PROGRESS": "off", "FREEZING_WIDGETS": "off"}
    cells, failure, start = code_cells(notebook), "", time.perf_counter()
    try:
        with client.setup_kernel(env=environment, stdout=DEVNULL, stderr=DEVNULL):  # its log: outputs go elsewhere
            for number, cell in enumerate(cells, start=1):
                try:
                    client.execute_cell(cell, notebook.cells.index(cell))
                except (CellExecutionError, *REASONS) as error:
                    last = getattr(error, "evalue", "").strip().rpartition("\n")[2]
                    why = REASONS.get(type(error)) or f"{error.ename}: {last}"
                    failure = f"code cell {number} `{cell.source.strip().splitlines()[0]}`\n  {why}"
                    break
            peak = peak_memory(client.km.provisioner.pid)
    except (OSError, RuntimeError) as error:  # not of a cell: those are caught above
        sys.exit(f"{path}: its kernel does not start ({error}): look for room on the disk and in memory.")
    tidy(notebook)
    return Result(path.stem, len(cells), count_claims(notebook), time.perf_counter() - start, peak, failure)


def peak_memory(pid):
    """The most memory that a process held so far, its children apart, in MB; 0 where no Linux tells it."""
    try:
        return int(re.search(r"VmHWM:\s*(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) * 1024 // 10**6
    except (OSError, TypeError):
        return 0


def tidy(notebook):
    """Leave out of an executed notebook what differs from run to run or from machine to machine."""
    notebook.metadata.pop("widgets", None)
    notebook.metadata.update(METADATA)
    for cell in code_cells(notebook):
        cell.metadata.pop("execution", None)  # timing
        outputs = []
        for output in cell.outputs:
            if len(output.get("data", ())) > 1:
                output.data.pop(WIDGET, None)  # names a widget of the kernel that has ended
            before = outputs[-1] if outputs else {}
            if output.output_type == "stream" and output.name == before.get("name"):
                before.text += output.text  # a long print arrives in pieces, cut by chance
            else:
                outputs.append(output)
        cell.outputs = outputs


def table(results):
    """The results as a table of text, with a total row: sums, and the highest memory."""
    failed = sum(bool(result.failure) for result in results)
    _, cells, claims, seconds, peaks, _ = zip(*results, strict=True)
    total = ["total", sum(cells), sum(claims), sum(seconds), max(peaks), f"{failed} FAILED" if failed else "ok"]
    rows = [[*result[:-1], "FAILED" if result.failure else "ok"] for result in results]
    headers = ["notebook", "code cells", "claims", "seconds", "peak MB", "result"]
    return tabulate([*rows, SEPARATING_LINE, total], headers=headers, floatfmt=".1f")


# --- what README.md and docs/claims.md show of the notebooks ----------------------------------------------------------


def printed(cell):
    """What a cell printed, as lines."""
    return "".join(output.get("text", "") for output in cell.outputs).splitlines()


def count_claims(notebook):
    """How many claims were asserted: each printed one line with the mark. (So does a right answer to an exercise.)"""
    lines = (line for cell in code_cells(notebook) for line in printed(cell))
    return sum(line.startswith(f"{CLAIM_MARK} ") and not line.startswith(RIGHT) for line in lines)


def update_pages():
    """Bring the pages that show claims up to date, and the README's figure. Exits with one sentence if it cannot."""
    for path in PAGES:
        text, picture = readme(path.read_text(encoding="utf-8"))
        write(text, path)
    PICTURE.write_bytes(picture)


def readme(text):
    """A page's text brought up to date, and the README's figure: text and PNG (bytes).

    In a table of claims each link leads to the cell that asserts its row; the map's last column is how many claims
    a notebook's stored outputs show. Exits with one sentence when no cell asserts a row.
    """
    stored = functools.cache(lambda name: read(ROOT / "notebooks" / f"{name}.ipynb"))

    def to_cell(row, link):
        for cell in code_cells(stored(link[2])):
            if any(line.startswith(f"{CLAIM_MARK} [{row}]") for line in printed(cell)):
                return f"({link[1]}#cell-id={cell.id})"
        sys.exit(f"A page says that {link[2]} asserts {row}, but no cell of it does: correct one of the two.")

    text = ROW.sub(lambda line: LINK.sub(lambda link: to_cell(line[1], link), line[0]), text)
    text = MAP.sub(lambda line: f"{line[1]} {count_claims(stored(line[2]))} |", text)
    outputs = next(cell for cell in code_cells(stored(SHOWN[0])) if cell.id == SHOWN[1]).outputs
    return text, base64.b64decode(next(o.data["image/png"] for o in outputs if "image/png" in o.get("data", ())))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("\nInterrupted: the notebooks that were not finished are as they were.")
