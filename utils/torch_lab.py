"""The course's network in PyTorch: build, load, weights, layer table, accuracy, and a fit. Twin of `keras_lab`.

Pictures come as numpy arrays, channels last, as in Keras; `tensor` makes what PyTorch wants of them. Nothing here
freezes or unfreezes: that is the notebooks' lesson.
"""

import contextlib

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from tqdm.auto import trange

from utils import data

# On two cores a second thread gains nothing on so small a network, and costs much when the other core is busy.
torch.set_num_threads(1)


class Block(nn.Sequential):
    """3x3 convolution (no bias), BatchNorm, ReLU: conv, bn, relu."""

    def __init__(self, before, channels, stride):
        super().__init__()
        self.conv = nn.Conv2d(before, channels, 3, stride=stride, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(channels, eps=1e-3, momentum=0.1)  # momentum 0.1 here is 0.9 in Keras
        self.relu = nn.ReLU()


class Base(nn.Sequential):
    """block1 to block4, then the mean over the picture: (n, 3, 32, 32) to (n, 64)."""

    def __init__(self):
        super().__init__()
        before = 3
        for name, channels, stride in zip(data.BLOCKS, data.CHANNELS, data.STRIDES, strict=True):
            self.add_module(name, Block(before, channels, stride))
            before = channels
        self.add_module("gap", nn.AdaptiveAvgPool2d(1))
        self.add_module("flatten", nn.Flatten())


class Model(nn.Module):
    """The base and a linear head: (n, 3, 32, 32) to logits (n, n_classes)."""

    def __init__(self, n_classes):
        super().__init__()
        self.base = Base()
        self.head = nn.Linear(data.CHANNELS[-1], n_classes)

    def forward(self, x):
        return self.head(self.base(x))


def build(n_classes=None, seed=0, base="base"):
    """The course's network with the weights that `data.weights` gives for the same arguments; all of it trainable.

    Returns a Model in training mode, as PyTorch makes them. Raises DataError for a damaged file.
    """
    values = data.weights(n_classes, seed, base)
    model = Model(values["head.bias"].shape[0])
    set_weights(model, values)
    return model.to(memory_format=torch.channels_last)  # 1.3 times as fast on a CPU


def get_weights(model):
    """The weights and BatchNorm statistics by the course's names, copied: float32 arrays in the Keras layout."""
    return {name: _to_keras(name, tensor.detach().numpy()).copy() for name, tensor in _tensors(model)}


@torch.no_grad()
def set_weights(model, values):
    """Copy `values` (as `get_weights` returns them) into the model. Raises KeyError for a missing name."""
    for name, tensor in _tensors(model):
        tensor.copy_(torch.from_numpy(_to_torch(name, values[name])))


def layer_table(model):
    """One row for each block and the head: [name, parameters, trainable ones]. Statistics do not count."""
    parts = [*((name, model.base.get_submodule(name)) for name in data.BLOCKS), ("head", model.head)]
    return [
        [
            name,
            sum(p.numel() for p in part.parameters()),
            sum(p.numel() for p in part.parameters() if p.requires_grad),
        ]
        for name, part in parts
    ]


def tensor(x):
    """Pictures (n, 32, 32, 3) as a tensor (n, 3, 32, 32) that shares their memory; other arrays as they are."""
    result = torch.from_numpy(np.ascontiguousarray(x))
    return result.permute(0, 3, 1, 2) if result.ndim == 4 else result


@contextlib.contextmanager
def inference(model):
    """In a `with`: no gradients, and all modules in eval(); afterwards each module has the mode that it had."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode  # not train(): that would reset the modules below, too


def logits(model, x, batch_size=100):
    """The network's answers in inference mode, float32 (n, n_classes); every module's mode is put back afterwards."""
    with inference(model):
        parts = [model(tensor(x[i : i + batch_size])).numpy() for i in range(0, len(x), batch_size)]
    return np.concatenate(parts)


def accuracy(model, x, y):
    """The share of pictures whose largest logit is their label's, in inference mode: a float from 0 to 1."""
    return float((logits(model, x).argmax(1) == y).mean())


def fit(model, x, y, optimizer, epochs=1, batch_size=32, seed=0, progress=False):
    """The plain training loop with cross-entropy; calls `model.train()` at the start of each epoch, as such loops do.

    x: float32 (n, 32, 32, 3); y: int64 (n,). `seed` fixes the order of the pictures. progress: show a bar once a run
    takes longer than two seconds. Returns what Keras' `fit(...).history` holds: {"loss": [...], "accuracy": [...]}, a
    number an epoch, means over the epoch's pictures.
    """
    order = torch.Generator().manual_seed(seed)
    inputs, labels = tensor(x), torch.from_numpy(y)
    history = {"loss": [], "accuracy": []}
    for _ in trange(epochs, disable=not progress, delay=2, leave=False, unit="epoch"):
        model.train()
        loss_sum = right = 0.0
        for batch in torch.randperm(len(x), generator=order).split(batch_size):
            output = model(inputs[batch])
            loss = nn.functional.cross_entropy(output, labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss_sum += loss.item() * len(batch)
            right += (output.argmax(1) == labels[batch]).sum().item()
        history["loss"].append(loss_sum / len(x))
        history["accuracy"].append(right / len(x))
    return history


def count_products(model, x, y):
    """How many matrix products one training step runs (squared error, a network of equal Linear layers): an int.

    Counted while the step runs, by PyTorch's FlopCounterMode: operations / (2 x pictures x width x width).
    """
    counter = FlopCounterMode(display=False)
    with counter:
        (model(tensor(x)) - tensor(y)).square().mean().backward()
    return counter.get_total_flops() // (2 * len(x) * x.shape[1] ** 2)


def _tensors(model):
    """Every weight and statistic as (the course's name, tensor), in the order of `data.weights`."""
    for name in data.BLOCKS:
        block = model.base.get_submodule(name)
        yield f"{name}.conv.kernel", block.conv.weight
        yield f"{name}.bn.gamma", block.bn.weight
        yield f"{name}.bn.beta", block.bn.bias
        yield f"{name}.bn.mean", block.bn.running_mean
        yield f"{name}.bn.variance", block.bn.running_var
    yield "head.kernel", model.head.weight
    yield "head.bias", model.head.bias


def _to_keras(name, array):
    if name.endswith("conv.kernel"):  # out, in, height, width -> height, width, in, out
        return array.transpose(2, 3, 1, 0)
    return array.T


def _to_torch(name, array):
    array = array.transpose(3, 2, 0, 1) if name.endswith("conv.kernel") else array.T
    return np.ascontiguousarray(array)
