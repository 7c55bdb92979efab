"""How much faster the sweep of notebook 05 is than the plain loop of separate trainings: `make bench`, or run it.

Both do the same trainings, with the same batches, in turn, from one process. The plain loop is what one writes first:
PyTorch's defaults (all threads, contiguous tensors), pictures rendered for each training, frozen blocks computed at
every step. The sweep runs in two processes that were started beforehand.
"""

import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import torch  # noqa: E402

THREADS = torch.get_num_threads()  # PyTorch's default, before torch_lab makes it 1

from utils import data, sweep, torch_lab  # noqa: E402

GRID = {"per_class": [5, 20, 200], "frozen": [0, 1, 2, 3, 4]}


def freeze_first(model, blocks):
    model.requires_grad_(True).train()
    for name in data.BLOCKS[:blocks]:
        model.base.get_submodule(name).requires_grad_(False).eval()


def optimizer_of(model, rate, **options):
    return torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=rate, **options)


def two_phases(per_class, frozen, seed):
    """The recipe of notebook 05."""
    x, y = sweep.images("target_pool", per_class=per_class, seed=seed)
    model = torch_lab.build(5, seed)
    freeze_first(model, 4)
    sweep.fit(model, x, y, optimizer_of(model, 1e-2, fused=True), 200, seed=seed)
    if frozen < 4:
        freeze_first(model, frozen)
        sweep.fit(model, x, y, optimizer_of(model, 1e-3, fused=True), 100, seed=seed)
    return {"train": sweep.accuracy(model, x, y), "test": sweep.accuracy(model, *sweep.images("target_test"))}


def plain_fit(model, x, y, optimizer, steps, seed):
    for batch in torch.from_numpy(sweep.batches(len(x), steps, seed=seed)):
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
        plain_fit(model, x, y, optimizer_of(model, 1e-3), 100, seed)
    return {"train": plain_accuracy(model, x, y), "test": plain_accuracy(model, *tensors("target_test"))}


def nothing(seed):
    torch.ones(1)
    return {"threads": torch.get_num_threads()}


def plain_loop():
    torch.set_num_threads(THREADS)
    cells = [(n, k, seed) for seed in (0, 1) for n in GRID["per_class"] for k in GRID["frozen"]]
    results = [plain(*cell)["test"] for cell in cells]
    torch.set_num_threads(1)
    return np.array(results)


def swept():
    return np.array([row["test"] for row in sweep.run(two_phases, GRID, seeds=2, n_jobs=2, progress=False)])


def main():
    sweep.run(nothing, {}, seeds=4, n_jobs=2, progress=False)  # the processes start, and import PyTorch
    ratios = []
    for _ in range(3):
        start = time.perf_counter()
        slow = plain_loop()
        middle = time.perf_counter()
        fast = swept()
        end = time.perf_counter()
        ratios.append((middle - start) / (end - middle))
        print(f"plain loop {middle - start:.1f} s, sweep {end - middle:.1f} s, {ratios[-1]:.1f} times as fast")
    apart = np.abs(slow - fast)
    print(
        f"test accuracies: mean {slow.mean():.4f} and {fast.mean():.4f}, largest difference of a run {apart.max():.4f}"
    )
    print(f"sweep: {np.median(ratios):.1f} times as fast as the plain loop (median of {len(ratios)}; target 3, aim 5)")


if __name__ == "__main__":
    main()
