"""Step time with a frozen prefix, against the pieces of work that notebook 01 counts.

The stack of notebook 01: six equal Dense layers, here with batches of 512 so that the products outweigh what is done
around them. Then the course's base: its blocks differ, so the theory is the floating-point operations of each pass,
counted by PyTorch while a step runs; they are the same in Keras.
"""

import functools

import numpy as np

from tools.bench.table import row
from utils import data, keras_lab, torch_lab
from utils.evidence import time_ratios

import keras  # isort: skip
import tensorflow as tf  # isort: skip
import torch  # isort: skip
from torch import nn  # isort: skip
from torch.utils.flop_counter import FlopCounterMode  # isort: skip

LAYERS, WIDTH, ROUNDS = 6, 512, 15
ALL = 3 * LAYERS - 1  # pieces with nothing frozen: the first layer needs no input gradient
BATCH = np.random.default_rng(0).standard_normal((WIDTH, WIDTH)).astype("float32")


# --- six equal layers -------------------------------------------------------------------------------------------------


def torch_step(k):
    model = nn.Sequential(*(nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU()) for _ in range(LAYERS)))
    model[:k].requires_grad_(False)
    optimizer, inputs = torch.optim.SGD(model.parameters(), lr=1e-4), torch.from_numpy(BATCH)

    def step():
        optimizer.zero_grad()
        (model(inputs) - inputs).square().mean().backward()
        optimizer.step()

    return step, torch_lab.count_products(model, BATCH, BATCH)


def keras_stack(k):
    layers = [keras.layers.Dense(WIDTH, "relu") for _ in range(LAYERS)]
    model = keras.Sequential([keras.Input((WIDTH,)), *layers])
    for layer in layers[:k]:
        layer.trainable = False
    return model


def keras_step(k):
    model, inputs = keras_stack(k), tf.constant(BATCH)
    model.compile(keras.optimizers.SGD(1e-4), "mse", jit_compile=False)
    return functools.partial(model.train_on_batch, inputs, inputs), keras_lab.count_products(model, BATCH, BATCH)


def eager_step(k, watch_all):
    """A loop of one's own, not compiled: the tape watches every variable, or only what trains."""
    model, inputs, optimizer = keras_stack(k), tf.constant(BATCH), keras.optimizers.SGD(1e-4)

    def step():
        with tf.GradientTape(watch_accessed_variables=watch_all) as tape:
            for variable in () if watch_all else model.trainable_variables:
                tape.watch(variable.value)
            loss = tf.reduce_mean(tf.square(model(inputs, training=True) - inputs))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))

    return step, ALL if watch_all else ALL - 2 * k


def stack_rows(name, make, goal, prefixes=range(LAYERS)):
    made = {k: make(k) for k in prefixes}
    ratios = time_ratios({k: step for k, (step, _) in made.items()}, ROUNDS)
    theory = {k: products / ALL for k, (_, products) in made.items()}
    return [
        row(f"{name}: first {k} of 6 layers frozen / none", ratios[k], "", theory[k], goal, k == LAYERS - 1)
        for k in prefixes[1:]
    ]


# --- the course's base --------------------------------------------------------------------------------------------


def torch_base_step(k, x, y):
    """A step with the first k blocks frozen and in inference mode, and its floating-point operations."""
    model = torch_lab.build(len(data.TARGET)).train()
    for name in data.BLOCKS[:k]:
        model.base.get_submodule(name).requires_grad_(False).eval()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    inputs, labels = torch_lab.tensor(x), torch.from_numpy(y)

    def step():
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), labels).backward()
        optimizer.step()

    with FlopCounterMode(display=False) as counter:
        step()
    return step, counter.get_total_flops()


def keras_base_step(k, x, y):
    model = keras_lab.build(len(data.TARGET))
    for name in data.BLOCKS[:k]:
        model.get_layer("base").get_layer(name).trainable = False
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(1e-4), loss, jit_compile=False)
    return functools.partial(model.train_on_batch, tf.constant(x), tf.constant(y))


def base_rows():
    x, y = data.images("target_pool", per_class=25)
    x, y = np.concatenate([x, x])[:128], np.concatenate([y, y])[:128]
    depths = range(len(data.BLOCKS) + 1)
    made = {k: torch_base_step(k, x, y) for k in depths}
    theory = {k: operations / made[0][1] for k, (_, operations) in made.items()}
    steps = {"PyTorch": {k: step for k, (step, _) in made.items()}}
    steps["Keras, graph"] = {k: keras_base_step(k, x, y) for k in depths}
    result = [
        row(f"{name}: first {k} of the base's 4 blocks frozen / none", values, "", theory[k], shown=False)
        for name, cases in steps.items()
        for k, values in time_ratios(cases, ROUNDS).items()
        if k
    ]
    share = convolutions_share(steps["PyTorch"][0])
    note = (
        "The base's own blocks save more than their operations tell: convolutions take only "
        f"{share:.0%} of its step. The rest, mostly BatchNorm and ReLU, grows with the activations, half of which are "
        "block1's."
    )
    return [*result, row("PyTorch: the convolutions' share of the base's full step", share, shown=False, note=note)]


def convolutions_share(step):
    """Which share of a step's time the convolutions take, forward and backward, by PyTorch's profiler."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        for _ in range(10):
            step()
    events = profile.key_averages()
    convolutions = sum(event.self_cpu_time_total for event in events if "convolution" in event.key)
    return convolutions / sum(event.self_cpu_time_total for event in events)


def rows():
    """All rows of this file."""
    torch.manual_seed(0)
    keras.utils.set_random_seed(0)
    goal = ["within", 0.1]
    return [
        *stack_rows("PyTorch", torch_step, goal),
        *stack_rows("Keras, graph", keras_step, goal),
        *stack_rows("Keras, eager", functools.partial(eager_step, watch_all=True), None, (0, 3, 5)),
        *stack_rows(
            "Keras, eager, watching what trains", functools.partial(eager_step, watch_all=False), None, (0, 3, 5)
        ),
        *base_rows(),
    ]
