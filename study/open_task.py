"""The open task of notebook 09: pictures of a task not seen before, a budget, and two recipes to be compared with.

The ten handwritten digits before clutter, as a negative and in a mirror: 40 of each to learn from, drawn and set before
new clutter by the number of the draw. `REFERENCES` holds what two recipes got on the test pictures of draws 0 to 4; a
slow test runs them again. Their learning rates were chosen on the validation digits of other draws (100 and up).
"""

import os

import numpy as np

from utils import data
from utils.evidence import mean_interval

from .exercises import exercise
from .questions import StudyError, shown

PER_CLASS, BUDGET = 40, 60.0  # pictures; seconds of the processor, summed over threads
REFERENCES = {
    "a new head on the frozen base": (0.358, 0.357, 0.365, 0.378, 0.360),
    "head first, then everything": (0.552, 0.527, 0.558, 0.578, 0.588),
}


def pictures(draw=0, split="digits_pool"):
    """The pictures of a draw: float32 (n, 32, 32, 3) in [0, 1], sorted by class, and their labels, int64 (n,), 0 to 9.

    draw: a whole number from 0. split: "digits_pool" (40 of each to learn from), "digits_validation" (24) or, for the
    scoring, "digits_test" (60). Raises StudyError for another draw.
    """
    if isinstance(draw, bool) or not isinstance(draw, int) or not 0 <= draw < 10**9:
        raise StudyError(f"The draw must be a whole number from 0, not {shown(draw)}.")
    x, y = data.images(split, per_class=PER_CLASS if split == "digits_pool" else None, seed=draw)
    return np.ascontiguousarray(1 - x[:, :, ::-1]), y


def spread(values):
    """(mean, half the width of where 95 of 100 further draws are to be expected) of a recipe's accuracies."""
    mean, half = mean_interval(values)
    return mean, half * np.sqrt(len(values) + 1)


@exercise("09/open-task")
def an_open_task(solve, draw=0):
    x, y = pictures(draw)
    unseen, truth = pictures(draw, "digits_test")
    start = _seconds()
    predict = solve(x, y)
    taken = _seconds() - start
    if predict is None:
        return "no-return"
    answers = np.asarray(_answers(predict, unseen))
    answers = answers.argmax(1) if answers.shape == (len(unseen), 10) else answers
    if answers.shape != (len(unseen),) or not np.isin(answers, range(10)).all():
        return "shape"
    right, half = (answers == truth).mean(), 1.96 * np.sqrt(0.25 / len(truth))
    told = [
        f"{right:.2f} ± {half:.2f} right on {len(truth)} test pictures, after {taken:.0f} of {BUDGET:.0f} CPU seconds."
    ]
    edges = []
    for name, values in REFERENCES.items():
        mean, wide = spread(values)
        edges.append((mean - wide, mean + wide))
        told.append(f"{mean:.2f} ± {wide:.2f} (95 of 100 draws) for {name}.")
    if taken > BUDGET:
        return "slow", *told
    (_, head_high), (low, high) = edges
    place = "below-head" if right <= head_high else "between" if right < low else None
    best = "above" if right > high else "level with"
    return place, *told, *([] if place else [f"You are {best} the better of the two."])


def _seconds():
    """The processor's seconds so far, of this process and of those that it waited for."""
    return sum(os.times()[:4])


def _answers(predict, x):
    """What a function or a model of either framework answers for pictures: labels (n,) or scores (n, 10)."""
    if hasattr(predict, "named_parameters"):
        from utils import torch_lab

        return torch_lab.logits(predict, x)
    if hasattr(predict, "trainable_weights"):
        from utils import keras_lab

        return keras_lab.logits(predict, x)
    found = predict(x)
    return found.detach().cpu().numpy() if hasattr(found, "detach") else found
