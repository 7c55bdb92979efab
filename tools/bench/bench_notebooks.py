"""Wall time and peak memory of every notebook, each run once on a fresh kernel: as `make run` took them, or run here.

What `make run` took counts if it is newer than all notebooks and all of utils and study. Together with the other
benchmarks the notebooks would take more than ten minutes.
"""

import json

from tools import ROOT, notebooks, read, without_outputs
from tools.bench.table import row
from tools.refresh import TOOK, Result, execute

# Seconds on two cores; the others 60. Of 08's, 75 are for the small base and 60 for MiniLM.
LIMITS = {"04": 90, "05": 90, "07": 90, "08": 135}
COURSE = 480
RUN = ROOT / "build/notebooks" / TOOK


def taken():
    """What each notebook took, as a list of Results."""
    paths = notebooks()
    sources = [*paths, *ROOT.glob("utils/*.py"), *ROOT.glob("study/*.py")]
    if RUN.exists() and RUN.stat().st_mtime > max(path.stat().st_mtime for path in sources):
        found = [Result(**one) for one in json.loads(RUN.read_text(encoding="utf-8"))]
        if [one.name for one in found] == [path.stem for path in paths]:
            return found
    return [execute(path, without_outputs(read(path))) for path in paths]


def rows():
    """All rows of this file; a notebook that fails has one row that says so, and then there is no sum."""
    result, seconds = [], []
    for took in taken():
        if took.failure:
            note = f"{took.name} failed in {took.failure.splitlines()[0]}."
            result.append(row(f"{took.name}: FAILED after", took.seconds, "s", note=note))
            continue
        seconds.append(took.seconds)
        result += [
            row(f"{took.name}: wall time", took.seconds, "s", goal=["at most", LIMITS.get(took.name[:2], 60)]),
            row(f"{took.name}: peak memory", took.peak, "MB"),
        ]
    if len(result) == 2 * len(seconds) > 0:
        result.append(row("all notebooks, one after the other", sum(seconds), "s", goal=["at most", COURSE]))
    return result
