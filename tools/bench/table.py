"""A row of the benchmarks: what was measured, its median and spread, and what it should be."""

import numpy as np


def row(what, values, unit="", theory=None, goal=None, shown=True, note=""):
    """One row, as `rows()` of each bench_*.py returns it: a dict that JSON can hold.

    what: the two things compared ("plain loop / sweep"). values: one number a round, a ratio unless `unit` says
    otherwise ("s", "MB"). theory: the number they should come near. goal: [relation, number] with "at least",
    "at most" or "within" (of theory, as a share: 0.1 is 10 %), or None. shown: whether the page shows it. note: what a
    reader must know. Raises ValueError without values or for another goal.
    """
    values = [float(value) for value in np.atleast_1d(values)]
    if not values:
        raise ValueError(f"{what!r} was not measured: a row needs a value or more")
    if goal is not None and (goal[0] not in ("at least", "at most", "within") or (goal[0] == "within") > bool(theory)):
        raise ValueError(f"{what!r}: a goal is at least, at most, or within a share of theory, not {goal}")
    return {
        "what": what,
        "values": values,
        "unit": unit,
        "theory": theory,
        "goal": goal,
        "shown": shown,
        "note": note,
    }


def median(row):
    """The median of a row's values."""
    return float(np.median(row["values"]))


def middle_half(row):
    """The lower and the upper quartile of a row's values, or None if there are fewer than three."""
    if len(row["values"]) < 3:
        return None
    return tuple(float(q) for q in np.percentile(row["values"], [25, 75]))


def met(row):
    """Whether the median meets the goal; None if the row has none."""
    if row["goal"] is None:
        return None
    relation, number = row["goal"]
    value = median(row)
    if relation == "within":
        return abs(value / row["theory"] - 1) <= number
    return value >= number if relation == "at least" else value <= number


def lines(rows):
    """The rows as cells of text: what, median, middle half, rounds, theory, goal and whether it is met."""
    return [
        [
            row["what"],
            _number(median(row), row["unit"]),
            " to ".join(_number(q) for q in middle_half(row) or ()) or "–",
            len(row["values"]),
            "–" if row["theory"] is None else _number(row["theory"]),
            _goal(row),
        ]
        for row in rows
    ]


HEADERS = ["what", "median", "middle half", "rounds", "theory", "goal"]


def _number(value, unit=""):
    """A number to about three figures, and its unit."""
    size = abs(value)
    text = f"{value:.{0 if size >= 100 else 1 if size >= 10 else 2 if size >= 0.1 or not size else 4}f}"
    return f"{text} {unit}".rstrip()


def _goal(row):
    if row["goal"] is None:
        return "–"
    relation, number = row["goal"]
    words = f"within {number:.0%}" if relation == "within" else f"{relation} {number:g}"
    return f"{words}: {'yes' if met(row) else 'NO'}"
