"""Proof for the notebooks: a claim that is asserted, means with their intervals, paired comparisons, times.

Knows nothing of either framework.
"""

import time

import numpy as np
from scipy import stats

CLAIM_MARK = "✔"


def claim(statement, holds, row=None, **measured):
    """Print one line if the statement holds; raise AssertionError with the measured values if it does not.

    statement: a sentence with its margin ("at least 5 points better"). holds: True or False, from Python or numpy; for
    anything else (a string or an array would always count as true) TypeError is raised. row: the claim's id in
    docs/claims.md ("C04"). measured: what was compared; shown only when the claim fails, since the line that is printed
    must be the same on every machine.
    """
    label = f"[{row}] {statement}" if row else statement
    if not isinstance(holds, bool | np.bool_):
        raise TypeError(f"claim {label!r} needs True or False, got {type(holds).__name__}; compare explicitly")
    if not holds:
        values = ", ".join(f"{name} = {value}" for name, value in measured.items()) or "nothing was passed on"
        raise AssertionError(f"the claim does not hold: {label}. Measured: {values}")
    print(f"{CLAIM_MARK} {label}")


def mean_interval(values, level=0.95):
    """Mean of the values over seeds, and the half width of its Student t interval at `level`: two floats.

    For a paired comparison pass the differences, seed by seed. Raises ValueError for fewer than two values.
    """
    values = np.asarray(values, float)
    if values.ndim != 1 or len(values) < 2:
        raise ValueError("an interval needs at least two values, one a seed")
    half = stats.t.ppf((1 + level) / 2, len(values) - 1) * stats.sem(values)
    return float(values.mean()), float(half)


def time_ratios(steps, rounds=15):
    """How much processor time each step takes, as a share of the first one's in the same round.

    steps: name -> function without arguments. They run in turn, so that what disturbs the machine disturbs all alike;
    one round before the first is not counted. Processor time, summed over threads, since a busy machine stretches
    the time by the clock by chance (ten notebooks at once: by up to 2); where the system counts it too coarsely, as
    Windows does, the clock's is taken. Returns name -> float64 array (rounds,).
    """
    fine = time.get_clock_info("process_time").resolution < 1e-5
    now = time.process_time if fine else time.perf_counter
    seconds = {name: [] for name in steps}
    for _ in range(rounds + 1):
        for name, step in steps.items():
            start = now()
            step()
            seconds[name].append(now() - start)
    first = np.array(next(iter(seconds.values()))[1:])
    return {name: np.array(values[1:]) / first for name, values in seconds.items()}
