"""Many runs: a grid over seeds in several processes, and training that computes a frozen prefix once.

    rows = run(recipe, {"per_class": [5, 20], "frozen": [0, 4]}, seeds=5, n_jobs=2)

`recipe` is yours: nothing here freezes, unfreezes or makes an optimizer. It may use `fit`, which sees from flags and
modes which first blocks of the course's PyTorch network can give nothing new, and computes these blocks' output once
a call. PyTorch is imported when a function first needs it, TensorFlow never.
"""

import contextlib
import ctypes
import functools
import importlib.util
import inspect
import itertools
import os
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm.auto import tqdm

from utils import data

# --- the grid -------------------------------------------------------------------------------------------------------


def run(recipe, grid, seeds=5, n_jobs=None, progress=True):
    """Call `recipe(**cell, seed=seed)` for every combination of the grid's values and every seed.

    recipe: a function that returns a dict of numbers and texts. grid: name -> list of numbers, texts, True, False or
    None; the last name varies fastest. seeds: how many (0, 1, ...), or which. n_jobs: processes, each of one thread;
    None is 1, or what a `joblib.parallel_config` around the call says, such as backend="dask" for a cluster. progress:
    show a bar (never if FREEZING_WIDGETS=off). Returns a list of dicts {**cell, "seed": ..., **result} in the grid's
    order. Raises ValueError for a grid that is none, TypeError for arguments or results of a wrong kind, and what the
    recipe raises, with a note that names the run.
    """
    cells, results = _cells(recipe, grid, seeds), {}
    hidden = not progress or os.environ.get("FREEZING_WIDGETS", "").lower() == "off"
    parallel = joblib.Parallel(n_jobs, return_as="generator_unordered", batch_size=1)
    jobs = (joblib.delayed(_one)(recipe, i, cell) for i, cell in enumerate(cells))
    with contextlib.closing(parallel(jobs)) as finished:
        for i, result in tqdm(finished, total=len(cells), disable=hidden, leave=False, unit="run"):
            results[i] = result
    return [{**cell, **results[i]} for i, cell in enumerate(cells)]


def over_seeds(rows, value, *names):
    """One result of a sweep, by cell. rows: what `run` returned. value: the result's name, such as "test".

    names: of the grid, such as "per_class", "frozen". Returns {(5, 0): float64 array with a number a seed, ...}, or
    {5: ...} for a single name. Raises KeyError for an unknown name.
    """
    found = {}
    for row in sorted(rows, key=lambda row: row["seed"]):
        key = tuple(row[name] for name in names)
        found.setdefault(key[0] if len(names) == 1 else key, []).append(row[value])
    in_order = dict.fromkeys(tuple(row[name] for name in names) for row in rows)
    keys = [key[0] if len(names) == 1 else key for key in in_order]
    return {key: np.array(found[key], float) for key in keys}


def two_at_a_time(function, jobs):
    """[function(job) for job in jobs], in two threads: PyTorch lets go of Python while it computes.

    Each job must seed its own random numbers; then the results are those of a plain loop.
    """
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(function, jobs))


def _cells(recipe, grid, seeds):
    """Every run's arguments, seeds outermost: runs that share pictures are neighbours."""
    seeds = range(seeds) if isinstance(seeds, int) else seeds
    grid = {name: [_plain(name, value) for value in values] for name, values in grid.items()}
    seeds = [_plain("seed", seed) for seed in seeds]
    empty = [name for name, values in {**grid, "seeds": seeds}.items() if not values]
    if empty or "seed" in grid:
        raise ValueError(f"the grid has no values for {empty[0]}" if empty else "name the seeds in seeds, not in grid")
    cells = [
        {**dict(zip(grid, values, strict=True)), "seed": seed}
        for seed in seeds
        for values in itertools.product(*grid.values())
    ]
    try:
        inspect.signature(recipe).bind(**cells[0])
    except TypeError as error:
        raise TypeError(f"the recipe does not take the grid's names and seed: {error}") from None
    return cells


def _plain(name, value):
    """A grid's value as plain Python: it names the run, in the table and on disk."""
    value = value.item() if isinstance(value, np.generic) else value
    if not isinstance(value, int | float | str | None):
        raise TypeError(f"{name} takes numbers, texts, True, False and None, not {type(value).__name__}")
    return value


def _one(recipe, i, cell):
    """One run, in a worker: one thread, and a result that is plain Python. Returns (i, result)."""
    try:
        if importlib.util.find_spec("torch"):
            import torch

            torch.set_num_threads(1)
        result = recipe(**cell)
        if not isinstance(result, dict) or result.keys() & cell.keys():
            raise TypeError("a recipe returns a dict whose names are not in the grid")
        return i, {str(name): _plain(f"the result {name!r}", value) for name, value in result.items()}
    except Exception as error:
        error.add_note(f"in the run {', '.join(f'{name}={value!r}' for name, value in cell.items())}")
        raise
    finally:
        with contextlib.suppress(AttributeError, OSError, TypeError):  # not every C library has it
            ctypes.CDLL(None).malloc_trim(0)  # give back what is free: joblib ends a process that has grown by 300 MB


# --- inside a recipe ------------------------------------------------------------------------------------------------


def batches(n, steps, batch_size=32, seed=0):
    """Which pictures make each step's batch: int64 (steps, min(batch_size, n)).

    Epoch after epoch in a new order, drawn by `seed`; what does not fill a batch waits for the next epoch.
    """
    rng, size = np.random.default_rng([seed, 3]), min(batch_size, n)
    epochs = -(-steps // (n // size))
    orders = [rng.permutation(n)[: n // size * size].reshape(-1, size) for _ in range(epochs)]
    return np.concatenate(orders)[:steps]


def fit(model, x, y, optimizer, steps=200, batch_size=32, seed=0, reuse=True):
    """The plain training loop with cross-entropy, for a course model in PyTorch.

    x: float32 (n, 32, 32, 3). y: int64 (n,). Flags and modes are yours, and are left as they are: set `eval()` on what
    is frozen. reuse: compute the output of first blocks that are frozen and in inference mode once, not at each step.
    """
    import torch

    features, rest = _split(model, x, frozen_blocks(model) if reuse else 0)
    labels = torch.from_numpy(y)
    for batch in torch.from_numpy(batches(len(x), steps, batch_size, seed)):
        loss = torch.nn.functional.cross_entropy(rest(features[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def frozen_blocks(model):
    """How many first blocks of a course model in PyTorch give the same output at every step, bit for bit: an int.

    All of a block's weights are frozen and have no gradient left over, and no part of it is in training mode.
    """
    still = [
        not any(parameter.requires_grad or parameter.grad is not None for parameter in block.parameters())
        and not any(module.training for module in block.modules())
        for block in (model.base.get_submodule(name) for name in data.BLOCKS)
    ]
    return [*still, False].index(False)


def _split(model, x, frozen):
    """The pictures as the first `frozen` blocks give them out, and the rest of the network: (tensor, module)."""
    import torch

    from utils import torch_lab

    children = list(model.base)  # the blocks, then the mean over the picture
    features, first = torch_lab.tensor(x), torch.nn.Sequential(*children[:frozen])
    if frozen:
        with torch.no_grad():
            features = torch.cat([first(part) for part in features.split(500)])
    return features, torch.nn.Sequential(*children[frozen:], model.head)


# --- what a base knows ----------------------------------------------------------------------------------------------


def linear_probe(train, y, test, labels):
    """Accuracy of a linear (ridge) classifier trained on features and tested on others, a float from 0 to 1.

    train, test: float arrays (n, features). y, labels: their classes, int (n,).
    """
    classifier = make_pipeline(StandardScaler(), RidgeClassifier(10))
    return float(classifier.fit(train, y).score(test, labels))


def source_accuracy(features_of, base="base"):
    """What a base still knows of its source task: {"old head": accuracy, "refitted": accuracy}.

    features_of: gives the base's features, float (n, 64), for pictures (n, 32, 32, 3). base: which one it was, as in
    `data.weights`. "old head" puts that base's head of the pretraining back on the features; "refitted" trains a linear
    classifier on them anew (`linear_probe`).
    """
    (train, y), (test, labels) = _source_pictures()
    head, known, new = data.weights(base=base), features_of(train), features_of(test)
    answers = (new @ head["head.kernel"] + head["head.bias"]).argmax(1)
    return {"old head": float(np.mean(answers == labels)), "refitted": linear_probe(known, y, new, labels)}


@functools.cache
def _source_pictures():
    return data.images("source_train"), data.images("source_test")
