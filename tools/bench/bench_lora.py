"""Notebook 08: a training step of LoRA, of the last block and of everything, in time and memory, against the count.

The small transformer with random weights (its cost does not depend on them), 32 texts of 32 pieces. The count is of
floating-point operations, by PyTorch, while a step runs. Memory is what a step has to hold besides the weights: what
the forward pass stores for the backward pass, the gradients, and Adam's two numbers for each of them.
"""

import functools

import numpy as np

from tools.bench.table import row
from utils import texts, transformer_keras, transformer_torch  # Keras first: it silences TensorFlow
from utils.evidence import time_ratios

import keras  # isort: skip
import torch  # isort: skip
from torch import nn  # isort: skip
from torch.utils.flop_counter import FlopCounterMode  # isort: skip

ROUNDS, RANK, CLASSES = 9, 4, 6
IDS = np.random.default_rng(0).integers(4, texts.WRITER.words, (32, texts.WRITER.length))
LABELS = np.arange(32) % CLASSES
LINEAR = ("query", "key", "value", "out", "up", "down")
WAYS = {  # name -> what is open besides the head: blocks, or linear layers that get adapters
    "everything": None,
    "the last block": texts.WRITER.blocks[-1:],
    "LoRA on q and v": ("query", "value"),
    "LoRA on all linear layers": LINEAR,
    "the head": (),
}


class Adapted(nn.Module):
    """A frozen linear layer plus two thin ones (LoRA; Hu et al., 2021)."""

    def __init__(self, linear):
        super().__init__()
        self.linear, self.down = linear, nn.Linear(linear.in_features, RANK, bias=False)
        self.up = nn.Linear(RANK, linear.out_features, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x):
        return self.linear(x) + self.up(self.down(x))


def torch_model(way):
    model = transformer_torch.build(CLASSES, base=None)
    if WAYS[way] is None:
        return model
    model.base.requires_grad_(False)
    for name in WAYS[way]:
        if name in texts.WRITER.blocks:
            model.base.get_submodule(name).requires_grad_(True)
            model.base.norm.requires_grad_(True)
        for block in texts.WRITER.blocks if name in LINEAR else ():
            block = model.base.get_submodule(block)
            setattr(block, name, Adapted(block.get_submodule(name)))
    return model


def torch_step(way):
    """A step, its floating-point operations, and the bytes that it holds."""
    model, ids, labels = torch_model(way), torch.from_numpy(IDS), torch.from_numpy(LABELS)
    trainable = [p for p in model.parameters() if p.requires_grad]
    optimizer, own, stored = torch.optim.Adam(trainable, lr=1e-4), {p.data_ptr() for p in model.parameters()}, {}

    def step():
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(ids), labels).backward()
        optimizer.step()

    def note(tensor):
        stored[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with FlopCounterMode(display=False) as counter, torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        step()
    held = sum(size for at, size in stored.items() if at not in own)
    return step, counter.get_total_flops(), held + 3 * sum(p.nbytes for p in trainable)


def keras_model(way):
    model = transformer_keras.build(CLASSES, base=None)
    base = model.get_layer("base")
    if WAYS[way] is None:
        return model
    adapted = [name for name in WAYS[way] if name in LINEAR]
    for layer in base.layers:
        open_block = layer.name in WAYS[way] or (layer.name == "norm" and texts.WRITER.blocks[-1] in WAYS[way])
        if not isinstance(layer, transformer_keras.Block) or not adapted:
            layer.trainable = open_block
            continue
        for part in LINEAR:  # the flag of a block would reach its adapters, too
            linear = getattr(layer, part)
            if part in adapted:
                linear.enable_lora(RANK)
                linear.bias.trainable = False
            else:
                linear.trainable = False
        layer.norm1.trainable = layer.norm2.trainable = False
    return model


def keras_step(way):
    model = keras_model(way)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-4), loss, jit_compile=False)
    return functools.partial(model.train_on_batch, IDS.astype("int32"), LABELS)


def rows():
    """All rows of this file."""
    torch.manual_seed(0)
    keras.utils.set_random_seed(0)
    made = {way: torch_step(way) for way in WAYS}
    times = {"PyTorch": time_ratios({way: step for way, (step, _, _) in made.items()}, ROUNDS)}
    times["Keras, graph"] = time_ratios({way: keras_step(way) for way in WAYS}, ROUNDS)
    shown, (_, operations, held) = [*WAYS][1:4], made["everything"]
    result = []
    for name, ratios in times.items():
        for way in list(WAYS)[1:]:
            theory = made[way][1] / operations if name == "PyTorch" else None  # Keras' LoRA computes another product
            what = f"{name}, notebook 08's base, a step: {way} / everything"
            result.append(row(what, ratios[way], theory=theory, shown=way in shown))
    for way in list(WAYS)[1:]:
        what = f"PyTorch, notebook 08's base, memory of a step: {way} / everything"
        result.append(row(what, made[way][2] / held, shown=way in shown))
    return result
