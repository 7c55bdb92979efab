"""A grid of runs over seeds, in several processes, that goes on where it stopped, and computes frozen parts once.

    rows = run(recipe, {"per_class": [5, 20], "frozen": [0, 4]}, seeds=5, n_jobs=2, cache="../build/sweep")

`recipe` is yours: nothing here freezes, unfreezes or makes an optimizer. It may use `images`, `fit` and `accuracy` of
this module. These see from flags and modes which first blocks of the course's PyTorch network can give nothing new,
and compute these blocks' output once. PyTorch is imported when they are first called, TensorFlow never.
"""

import contextlib
import ctypes
import functools
import hashlib
import importlib.util
import inspect
import itertools
import json
import os
import sys
import tempfile
from collections import OrderedDict
from pathlib import Path

import joblib
import numpy as np
from tqdm.auto import tqdm

from utils import data
from utils.fingerprint import NoFingerprint, fingerprint

MEMORY = 60e6  # bytes of frozen blocks' outputs that a process keeps


# --- the grid -------------------------------------------------------------------------------------------------------


def run(recipe, grid, seeds=5, n_jobs=None, cache=None, progress=True):
    """Call `recipe(**cell, seed=seed)` for every combination of the grid's values and every seed.

    recipe: a function that returns a dict of numbers and texts. grid: name -> list of numbers, texts, True, False or
    None; the last name varies fastest. seeds: how many (0, 1, ...), or which. n_jobs: processes, each of one thread;
    None is 1, or what a `joblib.parallel_config` around the call says, such as backend="dask" for a cluster. cache: a
    folder where each finished run is kept, so that an interrupted sweep goes on; None keeps nothing. progress: show a
    bar (never if FREEZING_WIDGETS=off). Returns a list of dicts {**cell, "seed": ..., **result} in the grid's order.
    Raises ValueError for a grid that is none, TypeError for arguments or results of a wrong kind, and what the recipe
    raises, with a note that names the run.
    """
    cells = _cells(recipe, grid, seeds)
    store = _Store(cache, recipe) if cache is not None else None
    results = {i: kept for i, cell in enumerate(cells) if store and (kept := store.get(cell)) is not None}
    missing = [i for i in range(len(cells)) if i not in results]
    hidden = not progress or os.environ.get("FREEZING_WIDGETS", "").lower() == "off"
    with tqdm(total=len(cells), initial=len(results), disable=hidden, leave=False, unit="run") as bar:
        for i, result in _finished(recipe, cells, missing, n_jobs):
            results[i] = result
            if store:
                store.put(cells[i], result)  # before the next interruption
            bar.update()
    return [{**cell, **results[i]} for i, cell in enumerate(cells)]


def _finished(recipe, cells, missing, n_jobs):
    """Run what is missing, and yield (i, result) for each run as it ends."""
    if missing:
        parallel = joblib.Parallel(n_jobs, return_as="generator_unordered", batch_size=1)
        with contextlib.closing(parallel(joblib.delayed(_one)(recipe, i, cells[i]) for i in missing)) as finished:
            yield from finished


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
        error.add_note(f"in the sweep's run {', '.join(f'{name}={value!r}' for name, value in cell.items())}")
        raise
    finally:
        with contextlib.suppress(AttributeError, OSError, TypeError):  # not every C library has it
            ctypes.CDLL(None).malloc_trim(0)  # give back what is free: joblib ends a process that has grown by 300 MB


# --- what is kept on disk -------------------------------------------------------------------------------------------


class _Store:
    """Finished runs in a folder, a file each, named by all that the result hangs on.

    A file is written whole or not at all, and bears its own checksum. A folder that cannot be used is told about once,
    and the sweep goes on without it.
    """

    def __init__(self, folder, recipe):
        self.folder = Path(folder)
        try:
            self.common = fingerprint(recipe, sys.modules[__name__])
            self.folder.mkdir(parents=True, exist_ok=True)
        except NoFingerprint as error:
            self._give_up(f"{error} cannot be compared with an earlier run; pass it as a plain value")
        except OSError as error:
            self._give_up(f"{folder} cannot be used ({error.strerror})")

    def get(self, cell):
        """The result kept for these arguments, or None."""
        if self.folder is None:
            return None
        try:
            with open(self._path(cell), "rb") as file:
                head, _, body = file.read(1_000_000).partition(b"\n")  # no result of numbers and texts is larger
            if head != hashlib.sha256(body).hexdigest().encode():
                return None  # damaged, or of another program: computed anew
            kept = json.loads(body)
        except (OSError, ValueError):
            return None
        return kept["result"] if kept["cell"] == cell else None

    def put(self, cell, result):
        """Keep a result."""
        if self.folder is None:
            return
        body = json.dumps({"cell": cell, "result": result}).encode()
        part = None
        try:
            handle, part = tempfile.mkstemp(dir=self.folder, suffix=".part")
            with open(handle, "wb") as file:
                file.write(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
            os.replace(part, self._path(cell))
        except OSError as error:
            with contextlib.suppress(OSError, TypeError):
                os.unlink(part)
            self._give_up(f"nothing can be written to {self.folder} ({error.strerror})")

    def _path(self, cell):
        arguments = json.dumps(cell, sort_keys=True)
        return self.folder / f"{hashlib.sha256(f'{self.common} {arguments}'.encode()).hexdigest()}.json"

    def _give_up(self, why):
        print(f"The sweep goes on, but finished runs are not kept: {why}.")
        self.folder = None


# --- inside a recipe: pictures, training, accuracy, each computing once what is the same ----------------------------


@functools.lru_cache(maxsize=4)
def _images(*arguments):
    x, y = data.images(*arguments)
    return np.rint(x * 255).astype(np.uint8), y  # as they were rendered: a quarter of the memory, and exact


def images(split, style="wild", per_class=None, seed=0):
    """What `data.images` returns, to the bit; from memory if this process rendered it lately."""
    x, y = _images(split, style, per_class, seed)
    pixels = x.astype(np.float32)
    pixels /= np.float32(255)  # in place: np.divide(x, ..., dtype=np.float32) gives the same, and takes 9 times as long
    return pixels, y.copy()


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
    is frozen. reuse: compute the output of first blocks that are frozen and in inference mode only once.
    """
    import torch

    features, rest = _split(model, x, reuse)
    labels = torch.from_numpy(y)
    for batch in torch.from_numpy(batches(len(x), steps, batch_size, seed)):
        loss = torch.nn.functional.cross_entropy(rest(features[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def accuracy(model, x, y, reuse=True):
    """The share of pictures whose largest logit is their label's, in inference mode: a float from 0 to 1."""
    from utils import torch_lab

    features, rest = _split(model, x, reuse)  # looks at the modes, so before they are changed
    with torch_lab.inference(model):
        answers = [rest(features[i : i + 500]).argmax(1).numpy() for i in range(0, len(x), 500)]
    return float((np.concatenate(answers) == y).mean())


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


_memory = OrderedDict()  # (pictures, weights of the first blocks) -> their output, a tensor; the last used at the end


def _split(model, x, reuse):
    """The pictures as the frozen first blocks give them out, and the rest of the network: (tensor, module)."""
    import torch

    from utils import torch_lab

    *first, last, gap, flatten = model.base
    parts = [*first, torch.nn.Sequential(last, gap, flatten)]  # one for each block
    frozen = frozen_blocks(model) if reuse else 0
    features = torch_lab.tensor(x)
    if frozen:
        keys = _keys(x, parts[:frozen])
        known = next((i for i in range(frozen, 0, -1) if keys[i] in _memory), 0)
        features = _memory[keys[known]] if known else features
        for i in range(known, frozen):
            with torch.no_grad():
                features = torch.cat([parts[i](features[j : j + 500]) for j in range(0, len(x), 500)])
            _memory[keys[i + 1]] = features
        _memory.move_to_end(keys[frozen])
        while sum(tensor.nbytes for tensor in _memory.values()) > MEMORY and len(_memory) > 1:
            _memory.popitem(last=False)
    return features, torch.nn.Sequential(*parts[frozen:], model.head)


def _keys(x, parts):
    """For each number of first parts, what their output hangs on: a list of digests, one longer than `parts`."""
    digest = hashlib.sha256(repr((x.shape, x.dtype)).encode())
    digest.update(np.ascontiguousarray(x))
    keys = [digest.digest()]
    for part in parts:
        digest.update(type(part).__name__.encode())
        for name, tensor in part.state_dict().items():
            digest.update(name.encode() + np.ascontiguousarray(tensor.numpy()).tobytes())
        keys.append(digest.digest())
    return keys
