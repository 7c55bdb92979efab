"""Schedules of freezing: who trains when, and what that costs in layer passes. Knows nothing of either framework.

A schedule gives the span in which each part trains, in shares of the run: {"block4": (0.5, 1), "head": (0, 1)}. A part
that it does not name is frozen from start to end.
"""

import itertools


def stages(schedule, parts):
    """The run, cut wherever something freezes or opens: a list of (start, end, trains), in order.

    parts: all names, front to back. trains: a tuple of bool, one a part; start and end: shares of the run.
    Raises ValueError for an unknown part, a span that is none within 0 and 1, or a time at which nothing trains.
    """
    for part, (start, end) in schedule.items():
        if part not in parts:
            raise ValueError(f"the schedule names {part!r}; the parts are {', '.join(parts)}")
        if not 0 <= start < end <= 1:
            raise ValueError(f"{part!r} trains from {start} to {end}; a span runs from 0 to 1, and not backwards")
    cuts = sorted({0, 1}.union(*schedule.values()))
    result = []
    for start, end in itertools.pairwise(cuts):
        spans = [schedule.get(part, (1, 0)) for part in parts]
        trains = tuple(first <= start and end <= last for first, last in spans)
        if not any(trains):
            raise ValueError(f"nothing trains from {start} to {end} of the run; leave at least the head open")
        result.append((start, end, trains))
    return result


def passes(trains, work=None, cached=False):
    """The cost of one training step by kind: a dict of "forward", "input gradients" and "weight gradients".

    A layer's forward pass, the gradient to its input and the gradient to its weights count alike. Input gradients are
    needed only behind the first trainable layer. trains: a bool a layer, front to back. work: the cost of one pass of
    each layer; None takes 1. cached: the output of the frozen first layers is stored, and their forward pass left out.
    Raises ValueError if nothing trains.
    """
    work = [1] * len(trains) if work is None else list(work)
    if not any(trains):
        raise ValueError("nothing trains: there is no training step to count")
    first = list(trains).index(True)
    return {
        "forward": sum(work[first:] if cached else work),
        "input gradients": sum(work[first + 1 :]),
        "weight gradients": sum(units for units, open_ in zip(work, trains, strict=True) if open_),
    }


def cost(schedule, parts, work=None, cached_epochs=None):
    """What a whole run costs by kind, as shares of a run of the same length in which everything trains: a dict.

    work: as in `passes`. cached_epochs: None computes frozen first parts in each step. A number stores their output
    instead; the run is then so many epochs long, and "filling the store" says what that took: one forward pass for
    each picture, from the last stored part on, or from the pictures when a shorter prefix was not stored before.
    """
    work = [1] * len(parts) if work is None else list(work)
    full = sum(passes([True] * len(parts), work).values())
    total = dict.fromkeys(["forward", "input gradients", "weight gradients", "filling the store"], 0.0)
    stored = 0
    for start, end, trains in stages(schedule, parts):
        for kind, units in passes(trains, work, cached_epochs is not None).items():
            total[kind] += (end - start) * units / full
        frozen = trains.index(True)
        if cached_epochs is not None and frozen != stored:
            known = stored if stored < frozen else 0
            total["filling the store"] += sum(work[known:frozen]) / cached_epochs / full
        stored = frozen
    return total
