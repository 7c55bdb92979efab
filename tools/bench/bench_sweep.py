"""How much faster the sweep of notebook 05 is than the plain loop of separate trainings, and whether it gives the same.

Both do the same trainings, with the same batches, in turn, from one process. The plain loop is what one writes first:
PyTorch's defaults (all threads, contiguous tensors), pictures rendered for each training, frozen blocks computed at
every step. The sweep runs in two processes that were started beforehand. By itself:
`python -m tools.bench sweep`.
"""

import os
import time

import numpy as np
import torch

from tools.bench.table import row
from utils import data, runs, torch_lab

GRID, SEEDS, ROUNDS = {"per_class": [5, 200], "frozen": [0, 2, 4]}, 2, 3
# PyTorch's default is a thread for each core that it may use; not asked of PyTorch, since torch_lab has set it to 1
THREADS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def freeze_first(model, blocks):
    model.requires_grad_(True).train()
    for name in data.BLOCKS[:blocks]:
        model.base.get_submodule(name).requires_grad_(False).eval()


def optimizer_of(model, rate, **options):
    return torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=rate, **options)


def steps_for(per_class):
    return 40 if per_class < 90 else 80


def two_phases(per_class, frozen, seed):
    """The recipe of notebook 05."""
    x, y = data.images("target_pool", per_class=per_class, seed=seed)
    model = torch_lab.build(5, seed)
    freeze_first(model, 4)
    runs.fit(model, x, y, optimizer_of(model, 1e-2, fused=True), 200, seed=seed)
    if frozen < 4:
        freeze_first(model, frozen)
        runs.fit(model, x, y, optimizer_of(model, 1e-3, fused=True), steps_for(per_class), seed=seed)
    return {"train": torch_lab.accuracy(model, x, y), "test": torch_lab.accuracy(model, *data.images("target_test"))}


def plain_fit(model, x, y, optimizer, steps, seed):
    for batch in torch.from_numpy(runs.batches(len(x), steps, seed=seed)):
        loss = torch.nn.functional.cross_entropy(model(x[batch]), y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def plain_accuracy(model, x, y):
    model.eval()
    with torch.no_grad():
        return float((torch.cat([model(part) for part in x.split(500)]).argmax(1) == y).float().mean())


def plain(per_class, frozen, seed):
    """The same training at PyTorch's defaults."""

    def tensors(split, **which):
        x, y = data.images(split, **which)
        return torch.from_numpy(x).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(y)

    x, y = tensors("target_pool", per_class=per_class, seed=seed)
    model = torch_lab.build(5, seed).to(memory_format=torch.contiguous_format)
    freeze_first(model, 4)
    plain_fit(model, x, y, optimizer_of(model, 1e-2), 200, seed)
    if frozen < 4:
        freeze_first(model, frozen)
        plain_fit(model, x, y, optimizer_of(model, 1e-3), steps_for(per_class), seed)
    return {"train": plain_accuracy(model, x, y), "test": plain_accuracy(model, *tensors("target_test"))}


def nothing(seed):
    torch.ones(1)
    return {"threads": torch.get_num_threads()}


def plain_loop():
    threads = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    cells = [(n, k, seed) for seed in range(SEEDS) for n in GRID["per_class"] for k in GRID["frozen"]]
    results = [plain(*cell)["test"] for cell in cells]
    torch.set_num_threads(threads)
    return np.array(results)


def swept():
    return np.array([row["test"] for row in runs.run(two_phases, GRID, SEEDS, n_jobs=2, progress=False)])


def rows():
    """How many times as fast the sweep is, and how far its test accuracies are from the plain loop's."""
    runs.run(nothing, {}, seeds=4, n_jobs=2, progress=False)  # the processes start, and import PyTorch
    seconds = {"plain loop": [], "sweep": []}
    accuracies = {}
    for _ in range(ROUNDS):
        for name, way in (("plain loop", plain_loop), ("sweep", swept)):
            start = time.perf_counter()
            accuracies[name] = way()
            seconds[name].append(time.perf_counter() - start)
    faster = np.array(seconds["plain loop"]) / seconds["sweep"]
    differences = accuracies["sweep"] - accuracies["plain loop"]
    what = "notebook 05's sweep: "
    count = f"{len(differences)} runs each"
    return [
        row(
            f"{what}plain loop of trainings / sweep", faster, goal=["at least", 3], note=f"{what}{count}; 5 is the aim."
        ),
        row(f"{what}plain loop", seconds["plain loop"], "s", shown=False, note=f"{count}, {THREADS} threads"),
        row(f"{what}sweep", seconds["sweep"], "s", shown=False, note=f"{count}, two processes of one thread"),
        row(
            f"{what}difference of the mean test accuracy", abs(differences.mean()), goal=["at most", 0.002], shown=False
        ),
        row(f"{what}largest difference of a run", abs(differences).max(), goal=["at most", 0.03], shown=False),
    ]
