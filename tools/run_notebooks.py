"""Execute notebooks, each on a fresh kernel, and print a table of what they took.

`python -m tools.run_notebooks` in the course's folder runs all of notebooks/, or only those that are named. The
executed copies go to build/notebooks/; `--in-place` also stores the outputs in the notebooks, as they are committed.
"""

import argparse
import contextlib
import os
import re
import sys
import threading
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL

import nbformat
import psutil
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from tabulate import SEPARATING_LINE, tabulate
from tqdm import tqdm

from tools.editions.files import NO_NOTEBOOK
from utils.evidence import CLAIM_MARK

BUILD = Path("build/notebooks")
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


@dataclass
class Result:
    """What one notebook took; `failure` says in words which cell failed, and why."""

    path: Path
    cells: int
    claims: int
    seconds: float
    peak: int  # MB
    failure: str | None


def main(arguments=None):
    """Run the notebooks that the command line names. Returns the exit code: 1 when a cell failed."""
    parser = argparse.ArgumentParser(prog="python -m tools.run_notebooks", description=__doc__.split("\n")[0])
    parser.add_argument("notebooks", nargs="*", type=Path, metavar="NOTEBOOK", help="default: all of notebooks/")
    parser.add_argument("--in-place", action="store_true", help="store the outputs in the notebooks too")
    parser.add_argument("--timeout", type=int, default=600, metavar="SECONDS", help="for one cell (default: 600)")
    options = parser.parse_args(arguments)
    paths = options.notebooks or sorted(Path("notebooks").glob("*.ipynb"))
    if not paths:
        sys.exit("There are no notebooks in notebooks/: run this in the course's folder, or name a notebook.")
    notebooks = [read(path) for path in paths]
    try:
        BUILD.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        sys.exit(f"Cannot make the folder {BUILD} ({error.strerror}).")
    results = []
    with tqdm(total=sum(len(run_cells(notebook)) for notebook in notebooks), unit="cell", leave=False) as bar:
        for path, notebook in zip(paths, notebooks, strict=True):
            bar.set_description(path.stem)
            try:
                results.append(execute(path, notebook, options.timeout, bar))
            except (OSError, RuntimeError) as error:  # not of a cell: there they are caught
                sys.exit(f"{path}: its kernel does not start ({error}): look for room on the disk and in memory.")
            write(notebook, BUILD / path.name)
            if options.in_place and not results[-1].failure:
                write(notebook, path)
    print(table(results))
    for result in results:
        if result.failure:
            print(f"\nFAILED: {result.path}, {result.failure}", file=sys.stderr)
    return int(any(result.failure for result in results))


def read(path):
    """The notebook of a file, in the newest format, without outputs. Exits with one sentence when it is none."""
    try:
        with warnings.catch_warnings(action="ignore"):  # what an older format lacks is mended here
            notebook = nbformat.read(path, as_version=4)
            notebook.nbformat_minor = nbformat.v4.nbformat_minor
            _, notebook = nbformat.validator.normalize(notebook)  # gives an id to cells that have none
            nbformat.validate(notebook)
    except FileNotFoundError:
        sys.exit(f"There is no notebook {path}: look at its name.")
    except OSError as error:
        sys.exit(f"Cannot read {path} ({error.strerror}).")
    except NO_NOTEBOOK:
        sys.exit(f"{path} is not a notebook of format 1 to 4: restore it, or leave it out.")
    for cell in code_cells(notebook):
        cell.outputs, cell.execution_count = [], None
    return notebook


def execute(path, notebook, timeout, bar):
    """Run a notebook's cells, in its folder, up to the first that fails; the outputs go into `notebook`."""
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
    cells = run_cells(notebook)
    failure, start = None, time.perf_counter()
    kernel = client.setup_kernel(env=environment, stdout=DEVNULL, stderr=DEVNULL)  # its own log; outputs are not there
    with kernel, PeakMemory(client.km.provisioner.pid) as peak:
        for prompt, (index, cell) in enumerate(cells, start=1):
            try:
                client.execute_cell(cell, index)
            except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
                failure = f"cell [{prompt}] `{cell.source.strip().splitlines()[0]}`\n  {reason(error, timeout)}"
                bar.total -= len(cells) - prompt
                break
            finally:
                bar.update()
    tidy(notebook)
    seconds = time.perf_counter() - start
    return Result(path, len(cells), count_claims(notebook), seconds, round(peak.bytes / 1e6), failure)


def reason(error, timeout):
    """One line on why a cell failed."""
    if isinstance(error, CellTimeoutError):
        return f"it ran longer than {timeout} s (--timeout gives it more)"
    if isinstance(error, DeadKernelError):
        return "the kernel died; most often the memory was used up"
    return f"{error.ename}: {(error.evalue.strip().splitlines() or [''])[-1]}"


class PeakMemory:
    """The most memory that a process and its descendants held while this context was open: `bytes`.

    Measured is the resident memory, summed over the processes five times a second: a shorter peak is missed, and what
    processes share counts in each. Linux keeps the exact peak of each process: there the first one's is taken as well.
    """

    def __init__(self, pid):
        self.process = psutil.Process(pid)
        self.bytes = 0
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()
        with contextlib.suppress(OSError, TypeError):  # not Linux, or the process has ended
            status = Path(f"/proc/{self.process.pid}/status").read_text()
            self.bytes = max(self.bytes, 1024 * int(re.search(r"VmHWM:\s*(\d+)", status)[1]))

    def watch(self):
        """Sample until the context closes."""
        while True:
            total = 0
            with contextlib.suppress(psutil.NoSuchProcess):
                for process in [self.process, *self.process.children(recursive=True)]:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        total += process.memory_info().rss
            self.bytes = max(self.bytes, total)
            if self.done.wait(0.2):
                return


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


def count_claims(notebook):
    """How many claims were asserted: each printed one line that begins with the mark."""
    printed = [
        output.text
        for cell in code_cells(notebook)
        for output in cell.outputs
        if output.output_type == "stream" and output.name == "stdout"
    ]
    return sum(line.startswith(f"{CLAIM_MARK} ") for text in printed for line in text.splitlines())


def code_cells(notebook):
    """The code cells of a notebook."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def run_cells(notebook):
    """The cells that run, each with its index among all: code cells that are not empty."""
    return [(i, cell) for i, cell in enumerate(notebook.cells) if cell.cell_type == "code" and cell.source.strip()]


def write(notebook, path):
    """Write a notebook whole or, when interrupted or on a full disk, not at all. Then it exits with one sentence."""
    part = path.with_suffix(f".{os.getpid()}.part")  # another run may write the same notebook now
    try:
        nbformat.write(notebook, part)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        sys.exit(f"Cannot write {path} ({error.strerror}): it is as it was. Make room there, and run this again.")


def table(results):
    """The results as a table of text, with a total row: sums, and the highest memory."""
    rows = [[r.path.stem, r.cells, r.claims, r.seconds, r.peak, "FAILED" if r.failure else "ok"] for r in results]
    _, cells, claims, seconds, peaks, verdicts = zip(*rows, strict=True)
    failed = verdicts.count("FAILED")
    total = ["total", sum(cells), sum(claims), sum(seconds), max(peaks), f"{failed} FAILED" if failed else "ok"]
    headers = ["notebook", "code cells", "claims", "seconds", "peak MB", "result"]
    return tabulate([*rows, SEPARATING_LINE, total], headers=headers, floatfmt=".1f")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("\nInterrupted: the notebooks that were not finished are as they were.")
