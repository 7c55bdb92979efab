"""Comparing recipes over seeds: run them two at a time, read off one number, take paired differences.

Knows nothing of either framework. The recipes themselves, what they freeze and at which rate, stand in the notebooks.
Results are lists with one entry a seed: each a dict from the recipe's label to a dict of its numbers.
"""

import functools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from utils import data
from utils.evidence import mean_interval


def two_at_a_time(function, jobs):
    """[function(job) for job in jobs], in two threads: PyTorch lets go of Python while it computes.

    Each job must seed its own random numbers; then the results are those of a plain loop.
    """
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(function, jobs))


def read_off(train, y, test, labels):
    """Accuracy of a linear (ridge) classifier trained on features and tested on others, a float from 0 to 1.

    train, test: float arrays (n, features). y, labels: their classes, int (n,).
    """
    classifier = make_pipeline(StandardScaler(), RidgeClassifier(10))
    return float(classifier.fit(train, y).score(test, labels))


def source_scores(features_of):
    """What a base still knows of its source task: {"old head": accuracy, "refitted": accuracy}.

    features_of: gives the base's features, float (n, 64), for pictures (n, 32, 32, 3). "old head" puts the head of the
    pretraining back on them; "refitted" trains a linear classifier on them anew (`read_off`).
    """
    (train, y), (test, labels) = _source_pictures()
    head, known, new = data.weights(), features_of(train), features_of(test)
    answers = (new @ head["head.kernel"] + head["head.bias"]).argmax(1)
    return {"old head": float(np.mean(answers == labels)), "refitted": read_off(known, y, new, labels)}


def of(runs, label, what="wild"):
    """One number of a recipe's runs: float64 array (seeds,)."""
    return np.array([run[label][what] for run in runs], float)


def gain(runs, label, other, what="wild"):
    """The paired difference label - other: its mean, and whether it has the same sign with each seed."""
    differences = of(runs, label, what) - of(runs, other, what)
    return float(differences.mean()), bool(np.all(differences > 0) or np.all(differences < 0))


def against(runs, other, what="wild"):
    """Each recipe's paired difference to `other` in words, by label: "+0.012 ± 0.004", mean and 95 % interval."""
    result = {}
    for label in runs[0]:
        mean, half = mean_interval(of(runs, label, what) - of(runs, other, what))
        result[label] = f"{mean:+.3f} ± {half:.3f}" if label != other else "–"
    return result


@functools.cache
def _source_pictures():
    return data.images("source_train"), data.images("source_test")
