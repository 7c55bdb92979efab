"""What freeze_report costs on large models: seconds by the number of layers, and what a light snapshot keeps."""

import time
import tracemalloc

import torch
from torch import nn

from tools.bench.table import row
from utils.freeze_report import freeze_report, snapshot

ROUNDS = 3
MANY = 300_000_000  # weights


def seconds(function, *arguments):
    start = time.perf_counter()
    result = function(*arguments)
    return time.perf_counter() - start, result


def report_on(layers):
    """A report with optimizer and snapshot on a model of so many layers, all but ten of them frozen."""
    model = nn.Sequential(*(nn.Linear(8, 8) for _ in range(layers)))
    model[:-10].requires_grad_(False)
    optimizer = torch.optim.Adam(model.parameters())
    return seconds(freeze_report, model, optimizer, snapshot(model))[0]


def rows():
    """All rows of this file."""
    report_on(10)  # the first optimizer of a process imports much
    taken = {layers: [report_on(layers) for _ in range(ROUNDS)] for layers in (1000, 3000)}
    large = nn.Sequential(*(nn.Linear(10_000, 10_000, bias=False) for _ in range(MANY // 10**8)))
    tracemalloc.start()  # numpy tells it of its arrays; PyTorch's own memory it does not see
    taken_by_snapshot, kept = seconds(snapshot, large, True)
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    return [
        row("freeze_report: 1,000 layers", taken[1000], "s", goal=["at most", 0.5]),
        row("freeze_report: 3,000 layers", taken[3000], "s", goal=["at most", 1.5]),
        row("a light snapshot of 300 million weights", taken_by_snapshot, "s", goal=["at most", 3]),
        row("a light snapshot of 300 million weights: memory for copies", peak, "MB", goal=["at most", 100]),
    ]
