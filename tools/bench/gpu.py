"""What freezing saves on a CUDA GPU, at real sizes: `make bench-gpu` prints tables and writes build/gpu.json.

Weights are random: cost does not depend on them. Time is the median of some steps by CUDA's clock, memory the peak that
PyTorch allocated, work the floating-point operations of a step, counted; all are shares of the table's first row. It
needs PyTorch with CUDA, and torchvision for ResNet-50. `--tiny` takes small sizes, on the CPU too, to see that it runs.

data/gpu.json holds figures in the same form, with their card and date, for notebook 08 to show; `--out data/gpu.json`
puts one's own in their place.
"""

import argparse
import contextlib
import gc
import importlib.util
import json
import math
import statistics
import sys
import time
from datetime import date
from pathlib import Path

import torch
from tabulate import tabulate
from torch import nn
from torch.nn.functional import cross_entropy, gelu, scaled_dot_product_attention, silu
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from tools import ROOT, write

CUDA = torch.cuda.is_available()
GIVEN = ROOT / "data/gpu.json"  # what notebook 08 shows
DEVICE = torch.device("cuda" if CUDA else "cpu")
RANK = 16
HEADERS = ["what trains", "trainable", "time", "work", "memory"]


# --- the networks -----------------------------------------------------------------------------------------------------


class Block(nn.Module):
    """A transformer's block: as Llama's (RMSNorm, gated, causal, no biases), or as ViT's (LayerNorm, GELU)."""

    def __init__(self, width, heads, hidden, llama):
        super().__init__()
        self.heads, self.llama, norm = heads, llama, nn.RMSNorm if llama else nn.LayerNorm
        self.norm1, self.norm2 = norm(width), norm(width)
        self.query, self.key, self.value, self.out = (nn.Linear(width, width, bias=not llama) for _ in range(4))
        self.up, self.down = nn.Linear(width, hidden, bias=not llama), nn.Linear(hidden, width, bias=not llama)
        if llama:
            self.gate = nn.Linear(width, hidden, bias=False)

    def forward(self, x):
        h = self.norm1(x)
        q, k, v = (f(h).unflatten(-1, (self.heads, -1)).transpose(1, 2) for f in (self.query, self.key, self.value))
        h = scaled_dot_product_attention(q, k, v, is_causal=self.llama)
        x = x + self.out(h.transpose(1, 2).flatten(2))
        h = self.norm2(x)
        return x + self.down(silu(self.gate(h)) * self.up(h) if self.llama else gelu(self.up(h)))


class Transformer(nn.Module):
    """Blocks between an embedding and a norm; `stored` activations, or the forward pass again in the backward pass."""

    def __init__(self, embedding, width, heads, hidden, blocks, llama):
        super().__init__()
        self.embedding, self.norm, self.stored = embedding, nn.RMSNorm(width) if llama else nn.LayerNorm(width), True
        self.blocks = nn.ModuleList(Block(width, heads, hidden, llama) for _ in range(blocks))

    def forward(self, x):
        x = self.embedding(x)
        for block in self.blocks:
            x = block(x) if self.stored else checkpoint(block, x, use_reentrant=False)
        return self.norm(x)


class Patches(nn.Module):
    """A picture as a row of vectors, one for each square of 16 x 16 pixels, plus one for its place."""

    def __init__(self, width, size):
        super().__init__()
        self.convolution = nn.Conv2d(3, width, 16, 16)
        self.places = nn.Parameter(0.02 * torch.randn((size // 16) ** 2, width))

    def forward(self, x):
        return self.convolution(x).flatten(2).transpose(1, 2) + self.places


class Adapted(nn.Module):
    """A linear layer plus two thin ones (LoRA; Hu et al., 2021)."""

    def __init__(self, linear):
        super().__init__()
        self.linear = linear
        self.a = nn.Linear(linear.in_features, RANK, bias=False)
        self.b = nn.Linear(RANK, linear.out_features, bias=False)
        nn.init.zeros_(self.b.weight)

    def forward(self, x):
        return self.linear(x) + self.b(self.a(x))


# --- what trains ------------------------------------------------------------------------------------------------------


def frozen(*parts):
    """A function that freezes these parts of a model: "blocks 0 4" are the first four, the others have names."""

    def change(model):
        for part in parts:
            name, *ends = part.split()
            found = [model.get_submodule(name)] if not ends else model.get_submodule(name)[slice(*map(int, ends))]
            for module in found:
                module.requires_grad_(False)

    return change


def only(word):
    """A function that freezes all weights but those whose name has this word."""

    def change(model):
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(word in name)

    return change


def adapted(*parts, first=0):
    """A function that freezes a transformer and adapts these linear layers, or all, in the blocks from `first` on."""

    def change(model):
        model.requires_grad_(False)
        for block in model.get_submodule("blocks")[first:]:
            for name, linear in [*block.named_children()]:
                if isinstance(linear, nn.Linear) and (not parts or name in parts):
                    setattr(block, name, Adapted(linear).to(linear.weight.device))
        if hasattr(model, "head"):
            model.head.requires_grad_(True)

    return change


def recomputed(change):
    """The same, with checkpointing: blocks do not keep their activations."""

    def both(model):
        change(model)
        model.stored = False

    return both


def nothing(model):
    """Leaves a model as it is: everything trains."""


# --- the tables: {"model", "setting", "make": () -> (model, inputs, loss), "ways": {name: change}} --------------------


def decoder(tiny, batch=4, compiled=False):
    """1.14 billion parameters, Llama-shaped."""
    words, width, blocks, length = (100, 32, 4, 8) if tiny else (32_000, 2048, 16, 1024)
    quarter = blocks // 4

    def make():
        model = Transformer(nn.Embedding(words, width), width, width // 16 if tiny else 32, 4 * width, blocks, True)
        ids = torch.randint(0, words, (batch, length), device=DEVICE)

        def loss(model, ids):  # next token, tied to the embedding
            logits = model(ids[:, :-1]) @ model.embedding.weight.T
            return cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())

        return model, ids, loss

    prefixes = {
        f"blocks {k + 1} to {blocks}": frozen("embedding", f"blocks 0 {k}") for k in (quarter, 2 * quarter, 3 * quarter)
    }
    lora = {
        "LoRA, all linear layers": adapted(),
        "LoRA, queries and values": adapted("query", "value"),
        "LoRA in the last quarter of the blocks": adapted(first=3 * quarter),
    }
    ways = {"everything": nothing, "all but the embedding": frozen("embedding"), **prefixes, **lora}
    ways["the first half of the blocks"] = frozen(f"blocks {2 * quarter} {blocks}")
    ways["the norms"], ways["the last norm"] = only("norm"), frozen("embedding", f"blocks 0 {blocks}")
    ways["everything, checkpointing"] = recomputed(nothing)
    ways["LoRA, all linear layers, checkpointing"] = recomputed(adapted())
    if compiled:
        ways = {"everything": nothing, **dict([*prefixes.items()][-1:]), **lora}
    setting = f"{batch} x {length} tokens, bf16 autocast, {'compiled' if compiled else 'eager'}"
    return {"model": "decoder", "setting": setting, "make": make, "ways": ways, "compiled": compiled}


def vit(tiny):
    """ViT-B/16."""
    batch, size, width, blocks = (2, 32, 32, 4) if tiny else (128, 224, 768, 12)
    quarter = blocks // 4

    def make():
        model = Transformer(Patches(width, size), width, width // 16 if tiny else 12, 4 * width, blocks, False)
        model.head = nn.Linear(width, 1000)
        labels = torch.randint(0, 1000, (batch,), device=DEVICE)
        x = torch.randn(batch, 3, size, size, device=DEVICE)
        return model, x, lambda model, x: cross_entropy(model.head(model(x).mean(1)), labels)

    ways = {"everything": nothing}
    for k in (quarter, 2 * quarter, 3 * quarter):
        ways[f"blocks {k + 1} to {blocks}"] = frozen("embedding", f"blocks 0 {k}")
    ways["the head"] = only("head")
    ways["the first quarter of the blocks, and the head"] = frozen(f"blocks {quarter} {blocks}")
    ways["LoRA, all linear layers"] = adapted()
    return {"model": "ViT-B/16", "setting": f"batch {batch}, {size} pixels, bf16 autocast", "make": make, "ways": ways}


def resnet(tiny):
    """ResNet-50, from torchvision; BatchNorm of what is frozen is in eval mode."""
    from torchvision.models import resnet50

    batch, size = (2, 32) if tiny else (128, 224)
    stages = ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc")

    def make():
        model = resnet50().to(memory_format=torch.channels_last)
        x = torch.randn(batch, 3, size, size, device=DEVICE).to(memory_format=torch.channels_last)
        labels = torch.randint(0, 1000, (batch,), device=DEVICE)
        return model, x, lambda model, x: cross_entropy(model(x), labels)

    def resting(*parts):
        def change(model):
            frozen(*parts)(model)
            for part in parts:
                model.get_submodule(part).eval()

        return change

    ways = {"everything": nothing}
    for k, name in ((3, "layer2 to head"), (4, "layer3 to head"), (5, "layer4 and head"), (6, "the head")):
        ways[name] = resting(*stages[:k])
    ways["the head, BatchNorm in training mode"] = frozen(*stages[:6])
    ways["stem to layer2 (the last layers frozen)"] = resting(*stages[4:])
    setting = f"batch {batch}, {size} pixels, channels last, bf16 autocast"
    return {"model": "ResNet-50", "setting": setting, "make": make, "ways": ways}


# --- measuring --------------------------------------------------------------------------------------------------------


def measure(table, change, steps, warm):
    """Milliseconds, counted operations and peak bytes of a training step, and how many numbers it trains: a dict."""
    torch.manual_seed(0)
    with torch.device(DEVICE):
        model, inputs, loss = table["make"]()
    change(model.train())
    trainable = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=1e-6, fused=CUDA)
    autocast = torch.autocast("cuda", torch.bfloat16) if CUDA else contextlib.nullcontext()
    forward = torch.compile(loss) if table.get("compiled") else loss

    def step(forward):
        with autocast:
            result = forward(model, inputs)
        result.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    with FlopCounterMode(display=False) as counter:  # not of the compiled one: it would not be seen
        step(loss)
    times = [timed(step, forward) for _ in range(warm)]
    if CUDA:
        torch.cuda.reset_peak_memory_stats()
    times = [timed(step, forward) for _ in range(steps)]
    peak = torch.cuda.max_memory_allocated() if CUDA else math.nan
    numbers = sum(p.numel() for p in trainable)
    return {"ms": statistics.median(times), "flops": counter.get_total_flops(), "peak": peak, "trainable": numbers}


def timed(step, forward):
    """Milliseconds of one step, by CUDA's clock or else by the processor's."""
    if not CUDA:
        start = time.perf_counter()
        step(forward)
        return 1e3 * (time.perf_counter() - start)
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    first.record()
    step(forward)
    last.record()
    torch.cuda.synchronize()
    return first.elapsed_time(last)


def run(table, steps, warm):
    """A table as the JSON file holds it; a way for which the memory does not suffice has no figures."""
    rows, whole = [], None
    for way, change in table["ways"].items():
        gc.collect()
        if CUDA:
            torch.cuda.empty_cache()
        try:
            took = measure(table, change, steps, warm)
        except torch.cuda.OutOfMemoryError:
            rows.append({"way": way, "trainable": None, "time": None, "work": None, "memory": None})
            continue
        whole = whole or took  # the first way is everything
        shares = {"time": took["ms"] / whole["ms"], "work": took["flops"] / whole["flops"]}
        shares["memory"] = took["peak"] / whole["peak"] if CUDA else None
        shares = {name: share and round(share, 3) for name, share in shares.items()}
        rows.append({"way": way, "trainable": took["trainable"], **shares})
    everything = whole and {"ms": round(whole["ms"], 2), "TF": round(whole["flops"] / 1e12, 4)}
    if CUDA and whole:
        everything["GB"] = round(whole["peak"] / 1e9, 2)
    return {"model": table["model"], "setting": table["setting"], "everything": everything, "rows": rows}


def shown(table):
    """A table for the terminal."""
    cells = [[row["way"], row["trainable"], row["time"], row["work"], row["memory"]] for row in table["rows"]]
    title = f"{table['model']}, {table['setting']}; everything: {table['everything']}"
    return f"\n{title}\n{tabulate(cells, HEADERS, floatfmt='.2f', intfmt=',', missingval='-')}"


def main(arguments=None):
    """Measure all tables, print and write them. Exits with one sentence without a CUDA GPU."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.gpu", description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "build/gpu.json", help="default: build/gpu.json")
    parser.add_argument("--tiny", action="store_true", help="small sizes, on the CPU too: to see that it runs")
    options = parser.parse_args(arguments)
    if not CUDA and not options.tiny:
        sys.exit("PyTorch sees no CUDA GPU here: run this on a machine that has one, with a CUDA build of PyTorch.")
    if not CUDA:
        torch.set_num_threads(1)  # threads cost more than they gain on sizes as small as these
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    makers = [decoder, lambda tiny: decoder(tiny, batch=4 if tiny else 16), vit]
    if not options.tiny:
        makers.insert(2, lambda tiny: decoder(tiny, compiled=True))
    if importlib.util.find_spec("torchvision"):
        makers.insert(0, resnet)
    else:
        print("torchvision is not there: ResNet-50 is left out.")
    steps, warm = (2, 1) if options.tiny else (12, 4)
    tables = []
    for make in makers:
        tables.append(run(make(options.tiny), steps, warm))
        print(shown(tables[-1]), flush=True)
    card = torch.cuda.get_device_name() if CUDA else "CPU"
    about = {"card": card, "date": date.today().isoformat(), "torch": torch.__version__, "by": "make bench-gpu"}
    write(json.dumps({**about, "tables": tables}, indent=1) + "\n", options.out)
    print(f"\nWritten to {options.out}.")


if __name__ == "__main__":
    main()
