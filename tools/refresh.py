"""Execute the notebooks, store their outputs, and tell what each took; then README.md shows what they found.

`make refresh` runs this on all of notebooks/; `python -m tools.refresh NOTEBOOK ...` on some, and leaves README.md as
it is; `make run` with `--to`, which keeps the outputs out of the notebooks.
"""

import argparse
import base64
import functools
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

from tools import ROOT, code_cells, notebooks, read, without_outputs, write
from utils.evidence import CLAIM_MARK

WIDGET = "application/vnd.jupyter.widget-view+json"
# As in every notebook that JupyterLab saves, less the version of Python: a notebook is the same from every machine.
METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "name": "python",
        "pygments_lexer": "ipython3",
    },
}
PICTURE = ROOT / "tools/site/truth_table.png"
SHOWN = "02_recompile_pitfall", "keras-table"  # the notebook and the cell whose figure README.md shows
ROW = re.compile(r"^\| (C\d\d) \|.*$", re.MULTILINE)
MAP = re.compile(r"^(\| \[.*\]\(notebooks/(\w+)\.ipynb\) \|.*\|) \d+ \|$", re.MULTILINE)  # the last column: claims
LINK = re.compile(r"\(notebooks/(\w+)\.ipynb(?:#cell-id=([\w-]+))?\)")


class Result(NamedTuple):
    """What one notebook took; `failure` says in words which cell failed, and why."""

    path: Path
    cells: int
    claims: int
    seconds: float
    peak: int  # MB
    failure: str | None


def main(arguments=None):
    """Run the notebooks that the command line names. Returns the exit code: 1 when a cell failed."""
    parser = argparse.ArgumentParser(prog="python -m tools.refresh", description=__doc__.split("\n")[0])
    parser.add_argument("notebooks", nargs="*", type=Path, metavar="NOTEBOOK", help="default: all of notebooks/")
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="write executed copies there, and nothing else")
    parser.add_argument("--timeout", type=int, default=600, metavar="SECONDS", help="for one cell (default: 600)")
    options = parser.parse_args(arguments)
    paths = options.notebooks or notebooks()
    read_in = [without_outputs(read(path)) for path in paths]
    results = []
    with tqdm(total=sum(len(cells_to_run(notebook)) for notebook in read_in), unit="cell", leave=False) as bar:
        for path, notebook in zip(paths, read_in, strict=True):
            bar.set_description(path.stem)
            results.append(execute(path, notebook, options.timeout, bar))
            if options.to:
                write(notebook, options.to / path.name)
            elif not results[-1].failure:
                write(notebook, path)
    print(table(results))
    failed = [result for result in results if result.failure]
    for result in failed:
        print(f"\nFAILED: {os.path.relpath(result.path)}, {result.failure}", file=sys.stderr)
    if not (failed or options.notebooks or options.to):
        PICTURE.write_bytes(picture())
        write(counted(linked((ROOT / "README.md").read_text(encoding="utf-8"))), ROOT / "README.md")
    return int(bool(failed))


# --- running ----------------------------------------------------------------------------------------------------------


def cells_to_run(notebook):
    """The code cells that are not empty, each with its index among all cells."""
    return [(i, cell) for i, cell in enumerate(notebook.cells) if cell.cell_type == "code" and cell.source.strip()]


def execute(path, notebook, timeout=600, bar=None):
    """Run a notebook's cells in its folder, on a fresh kernel, up to the first that fails; outputs go into `notebook`.

    timeout: seconds for a cell. bar: a tqdm bar that is moved by one for each cell. Returns a Result. Exits with one
    sentence when the kernel does not start.
    """
    client = NotebookClient(
        notebook,
        timeout=timeout,
        kernel_name="python3",
        record_timing=False,
        store_widget_state=False,
        resources={"metadata": {"path": str(path.parent)}},
    )
    # Under pytest ipykernel would drop what C code and child processes print (see conftest.py). The learner's progress
    # is not ours to write, and stored widgets would only name a kernel that has ended: what is stored is static.
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    environment |= {"FREEZING_PROGRESS": "off", "FREEZING_WIDGETS": "off"}
    cells, failure, start = cells_to_run(notebook), None, time.perf_counter()
    try:
        with client.setup_kernel(env=environment, stdout=DEVNULL, stderr=DEVNULL):  # its log: outputs go elsewhere
            for prompt, (index, cell) in enumerate(cells, start=1):
                try:
                    client.execute_cell(cell, index)
                except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
                    failure = f"cell [{prompt}] `{cell.source.strip().splitlines()[0]}`\n  {reason(error, timeout)}"
                    break
                finally:
                    if bar is not None:
                        bar.update()
            peak = peak_memory(client.km.provisioner.pid)
    except (OSError, RuntimeError) as error:  # not of a cell: those are caught above
        sys.exit(f"{path}: its kernel does not start ({error}): look for room on the disk and in memory.")
    tidy(notebook)
    return Result(path, len(cells), count_claims(notebook), time.perf_counter() - start, peak, failure)


def reason(error, timeout):
    """One line on why a cell failed."""
    if isinstance(error, CellTimeoutError):
        return f"it ran longer than {timeout} s (--timeout gives it more)"
    if isinstance(error, DeadKernelError):
        return "the kernel died; most often the memory was used up"
    return f"{error.ename}: {(error.evalue.strip().splitlines() or [''])[-1]}"


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
    rows = [[r.path.stem, r.cells, r.claims, r.seconds, r.peak, "FAILED" if r.failure else "ok"] for r in results]
    _, cells, claims, seconds, peaks, verdicts = zip(*rows, strict=True)
    failed = verdicts.count("FAILED")
    total = ["total", sum(cells), sum(claims), sum(seconds), max(peaks), f"{failed} FAILED" if failed else "ok"]
    headers = ["notebook", "code cells", "claims", "seconds", "peak MB", "result"]
    return tabulate([*rows, SEPARATING_LINE, total], headers=headers, floatfmt=".1f")


# --- what README.md shows of the notebooks ----------------------------------------------------------------------------


@functools.cache
def stored(name):
    """The notebook of that name, with its outputs."""
    return read(ROOT / "notebooks" / f"{name}.ipynb")


def printed(cell):
    """What a cell printed, as lines."""
    return "".join(output.get("text", "") for output in cell.outputs).splitlines()


def count_claims(notebook):
    """How many claims were asserted: each printed one line that begins with the mark."""
    return sum(line.startswith(f"{CLAIM_MARK} ") for cell in code_cells(notebook) for line in printed(cell))


def linked(text):
    """The README's text, each row's links set to the cells that assert it. Exits with one sentence when none does."""

    def to_cell(row, match):
        for cell in code_cells(stored(match[1])):
            if any(line.startswith(f"{CLAIM_MARK} [{row}]") for line in printed(cell)):
                return f"(notebooks/{match[1]}.ipynb#cell-id={cell.id})"
        sys.exit(f"README.md says that {match[1]} asserts {row}, but no cell of it does: correct one of the two.")

    return ROW.sub(lambda line: LINK.sub(lambda match: to_cell(line[1], match), line[0]), text)


def counted(text):
    """The README's text, the last column of its map set to how many claims each notebook's stored outputs show."""
    return MAP.sub(lambda line: f"{line[1]} {count_claims(stored(line[2]))} |", text)


def picture():
    """The figure of the README as a notebook stores it: PNG, bytes."""
    outputs = next(cell for cell in code_cells(stored(SHOWN[0])) if cell.id == SHOWN[1]).outputs
    return base64.b64decode(next(o.data["image/png"] for o in outputs if "image/png" in o.get("data", ())))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("\nInterrupted: the notebooks that were not finished are as they were.")
