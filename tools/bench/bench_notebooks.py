"""Wall time and peak memory of every notebook, each run once on a fresh kernel as `make run` does."""

from tools import notebooks, read, without_outputs
from tools.bench.table import row
from tools.refresh import execute

LIMITS = dict.fromkeys(("04", "05", "07", "08"), 90)  # seconds on two cores; the others 60
COURSE = 480


def rows():
    """All rows of this file; a notebook that fails has one row that says so, and then there is no sum."""
    result, seconds = [], []
    for path in notebooks():
        took = execute(path, without_outputs(read(path)))
        if took.failure:
            note = f"{path.name} failed in {took.failure.splitlines()[0]}."
            result.append(row(f"{path.stem}: FAILED after", took.seconds, "s", note=note))
            continue
        seconds.append(took.seconds)
        result += [
            row(f"{path.stem}: wall time", took.seconds, "s", goal=["at most", LIMITS.get(path.stem[:2], 60)]),
            row(f"{path.stem}: peak memory", took.peak, "MB"),
        ]
    if len(result) == 2 * len(seconds) > 0:
        result.append(row("all notebooks, one after the other", sum(seconds), "s", goal=["at most", COURSE]))
    return result
