"""Run the benchmarks, each file in a process of its own, and show what they measured.

`make bench` runs all of tools/bench/bench_*.py, prints the table and writes build/bench.json. `python -m tools.bench
prefix cache` runs only those and writes nothing; `--show` runs nothing and puts the table of build/bench.json into
docs/benchmarks.md; `--rates` looks for the recipes' best learning rates.
"""

import argparse
import contextlib
import importlib
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

from tabulate import tabulate

from tools import ROOT, write
from tools.bench import table

FOLDER = Path(__file__).resolve().parent
RESULTS = ROOT / "build/bench.json"
PAGE = ROOT / "docs/benchmarks.md"
MARKS = "<!-- bench -->", "<!-- /bench -->"
ORDER = ("prefix", "cache", "features", "lora", "recipes", "sweep", "start", "report", "notebooks")  # short ones first
LIBRARIES = ("tensorflow", "keras", "torch", "numpy")
TIMEOUT = 600  # seconds for one file


def main(arguments=None):
    """Do what the command line says. Returns the exit code: 1 when a file could not be run."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", choices=[[], *files()], metavar="NAME", help=f"of {', '.join(files())}")
    parser.add_argument("--show", action="store_true", help="put the table of build/bench.json into docs/benchmarks.md")
    parser.add_argument("--rates", action="store_true", help="look for the recipes' best learning rates")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        module = importlib.import_module(f"tools.bench.bench_{options.names[0]}")
        options.child.write_text(json.dumps(module.rows()))
        return 0
    if options.show:
        write_page()
        return 0
    if options.rates:
        importlib.import_module("tools.bench.bench_recipes").rates()
        return 0
    results = run(options.names or files())
    print("\n" + report(results))
    if not options.names:
        write(json.dumps(results, indent=1) + "\n", RESULTS)
        print("\nWritten to build/bench.json; `python -m tools.bench --show` puts it into docs/benchmarks.md.")
    for name, why in results["failed"].items():
        print(f"\nFAILED: bench_{name}.py\n{why}", file=sys.stderr)
    return int(bool(results["failed"]))


def files():
    """The names of the benchmarks that there are, in the order in which they run."""
    found = [path.stem.removeprefix("bench_") for path in FOLDER.glob("bench_*.py")]
    return sorted(found, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))


def run(names):
    """Run the named benchmarks. Returns what build/bench.json holds: a dict with date, machine, versions, rows."""
    rows, failed, start = [], {}, time.perf_counter()
    for name in names:
        print(f"bench_{name}.py ...", end=" ", flush=True)
        began = time.perf_counter()
        try:
            found = run_one(name)
            rows += [{"file": name, **one} for one in found]
            print(f"{time.perf_counter() - began:.0f} s, {len(found)} rows", flush=True)
        except RuntimeError as error:
            failed[name] = str(error)
            print("FAILED", flush=True)
    return {
        "date": date.today().isoformat(),
        "machine": machine(),
        "versions": {"python": platform.python_version(), **versions()},
        "seconds": round(time.perf_counter() - start, 1),
        "rows": rows,
        "failed": failed,
    }


def run_one(name):
    """The rows of bench_NAME.py, run in a new process: threads, memory and imports are as it sets them."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.json"
        command = [sys.executable, "-m", "tools.bench", name, "--child", str(path)]
        try:
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"it ran longer than {TIMEOUT} s") from None
        if done.returncode:
            raise RuntimeError("\n".join(done.stderr.strip().splitlines()[-5:]) or f"exit code {done.returncode}")
        return json.loads(path.read_text())


def machine():
    """The processor, its cores, the memory and the system, in words."""
    name = platform.processor() or platform.machine()
    with contextlib.suppress(OSError, StopIteration):  # Linux says more there
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    memory = ""
    with contextlib.suppress(AttributeError, ValueError, OSError):  # not on Windows
        memory = f" {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB,"
    return f"{name}, {os.cpu_count()} cores,{memory} {platform.system()} {platform.release()}"


def versions():
    """Name -> version of the libraries that are there."""
    found = {}
    for name in LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def caption(results):
    """Date, machine, versions and time, in one sentence."""
    libraries = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    return f"Measured {results['date']} on {results['machine']}; {libraries}; {results['seconds'] / 60:.1f} minutes."


def report(results):
    """All rows as a table for the terminal, with the notes and the caption below."""
    rows = results["rows"]
    text = tabulate(table.lines(rows), table.HEADERS, disable_numparse=True)
    notes = "".join(f"\n- {row['note']}" for row in rows if row["note"])
    return f"{text}\n{notes}\n\n{caption(results)}"


def markdown(results):
    """The rows for docs/benchmarks.md, as Markdown."""
    rows = [row for row in results["rows"] if row["shown"]]
    text = tabulate(table.lines(rows), table.HEADERS, tablefmt="github", disable_numparse=True)
    notes = "".join(f"- {row['note']}\n" for row in rows if row["note"])
    return f"{text}\n\n{notes}\n{caption(results)}\n"


def write_page():
    """Put the table between the page's marks. Exits with one sentence if there is no whole result, or no mark."""
    try:
        results = json.loads(RESULTS.read_text())
    except (OSError, ValueError):
        sys.exit("There is no table in build/bench.json: run `make bench` first.")
    if results["failed"]:
        sys.exit(f"The last run was not whole ({', '.join(results['failed'])} failed): run `make bench` again.")
    text = PAGE.read_text(encoding="utf-8")
    before, first, rest = text.partition(MARKS[0])
    _, last, after = rest.partition(MARKS[1])
    if not first or not last:
        sys.exit(f"docs/benchmarks.md has no lines {MARKS[0]} and {MARKS[1]}: put them back where the table belongs.")
    write(f"{before}{first}\n{markdown(results)}{last}{after}", PAGE)
