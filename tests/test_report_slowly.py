"""utils.freeze_report with what the course does not need: transformers, peft, Keras on JAX and on torch, two ranks.

The libraries are fetched from PyPI once, into build/libraries. Each program below runs in a process of its own, prints
what kinds were found, and is compared with what is written beside it.
"""

import os
import subprocess
import sys

import pytest

from tools import ROOT as COURSE

pytestmark = pytest.mark.slow

LIBRARIES = COURSE / "build" / "libraries"
PINS = ["jax==0.10.2", "transformers==5.24.0", "peft==0.21.2", "accelerate==1.15.0"]

START = """
import numpy as np
from utils.freeze_report import freeze_report, watch

def tell(name, report):
    print(name, *sorted({found.kind for found in [*report.findings, *report.notes]}))
"""

BERT = """
import torch
from transformers import BertConfig, BertForSequenceClassification

torch.manual_seed(0)
config = BertConfig(vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)
tokens = torch.randint(5, 50, (4, 8))

def bert():
    return BertForSequenceClassification(config).train()

def step(model, optimizer):
    optimizer.zero_grad()
    model(input_ids=tokens, labels=torch.tensor([0, 1, 0, 1])).loss.backward()
    optimizer.step()
"""

PEFT = (
    BERT
    + """
from peft import LoraConfig, get_peft_model

def lora(model, **options):
    return get_peft_model(model, LoraConfig(r=2, target_modules=["query", "value"], **options))

def adam(model):
    return torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-3)
"""
)

KERAS = """
import keras

X = np.random.default_rng(0).standard_normal((16, 4)).astype("float32")
base = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4), keras.layers.BatchNormalization()], name="base")
model = keras.Sequential([keras.Input((4,)), base, keras.layers.Dense(4, name="head")])
base.trainable = False
model.compile(keras.optimizers.Adam(0.01), "mse")

def fit(name):
    with watch(model, expect_frozen="base.*" if not base.trainable else ()) as seen:
        model.fit(X, X, batch_size=8, verbose=0)
    tell(name, seen.report)

fit("frozen")
base.trainable = True
tell("opened", freeze_report(model))
model.compile(keras.optimizers.Adam(0.001), "mse")
fit("compiled")
fit("again")
"""

RANKS = """
import os
import torch
import torch.distributed as dist
from torch import nn

def work(rank, port):
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    dist.init_process_group("gloo", rank=rank, world_size=2)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2))
    model[0].requires_grad_(False)
    wrapped = nn.parallel.DistributedDataParallel(model)
    optimizer = torch.optim.SGD(wrapped.parameters(), lr=0.1)
    torch.manual_seed(rank)

    def steps(name, wrapped):
        with watch(wrapped, optimizer) as seen:
            for _ in range(2):
                optimizer.zero_grad()
                wrapped(torch.randn(8, 4)).square().mean().backward()
                optimizer.step()
        if rank == 0:
            tell(name, seen.report)

    steps("frozen", wrapped)
    model[0].requires_grad_(True)
    steps("opened", wrapped)
    steps("wrapped", nn.parallel.DistributedDataParallel(model))
    dist.destroy_process_group()

if __name__ == "__main__":
    import socket
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    torch.multiprocessing.spawn(work, args=(port,), nprocs=2)
"""

CASES = {
    "BERT by its configuration": (
        BERT
        + """
model = bert()
tell("whole", freeze_report(model, torch.optim.AdamW(model.parameters())))
model.bert.requires_grad_(False)
model.bert.eval()
optimizer = torch.optim.AdamW(model.parameters())
with watch(model, optimizer, expect_frozen="bert.*", expect_trainable="classifier.*") as seen:
    step(model, optimizer)
tell("frozen", seen.report)
model.train()
tell("noisy", freeze_report(model, optimizer))
""",
        ["whole", "frozen", "noisy frozen-dropout"],
    ),
    "peft's LoRA": (
        PEFT
        + """
healthy = lora(bert(), task_type="SEQ_CLS")  # this keeps the new head open, in a copy
healthy.base_model.model.bert.eval()
optimizer = adam(healthy)
with watch(healthy, optimizer) as seen:
    step(healthy, optimizer)
tell("first", seen.report)
with watch(healthy, optimizer) as seen:
    step(healthy, optimizer)
tell("second", seen.report)

headless = lora(bert())
headless.eval()
tell("headless", freeze_report(headless, adam(headless)))
two = lora(bert(), task_type="SEQ_CLS").eval()
two.add_adapter("other", LoraConfig(r=2, target_modules=["query", "value"], task_type="SEQ_CLS"))
for name, parameter in two.named_parameters():
    parameter.requires_grad_("lora" in name)
tell("two", freeze_report(two))
open_base = lora(bert(), task_type="SEQ_CLS").eval()
open_base.base_model.model.bert.requires_grad_(True)
tell("open", freeze_report(open_base))
""",
        [
            "first gradient-zero",
            "second",
            "headless head-frozen-by-adapters",
            "two adapter-inactive head-frozen-by-adapters",
            "open base-open-beside-adapters",
        ],
    ),
    "a tied weight in modules_to_save": (
        PEFT
        + """
from transformers import GPT2Config, GPT2LMHeadModel

model = GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=16, n_head=2, vocab_size=50, n_positions=16)).eval()
adapted = get_peft_model(model, LoraConfig(r=2, target_modules=["c_attn"], modules_to_save=["wte"])).eval()
tell("untied", freeze_report(adapted))
""",
        ["untied untied-copy"],
    ),
    "Keras on torch": (KERAS, ["frozen", "opened unknown-to-optimizer", "compiled", "again"]),
    "Keras on jax": (KERAS, ["frozen", "opened set-changed-on-jax", "compiled", "again"]),
    "MobileNetV2 in two phases": (
        """
import keras

base = keras.applications.MobileNetV2(weights=None, include_top=False, input_shape=(32, 32, 3))
base.trainable = False
inputs = keras.Input((32, 32, 3))
pooled = keras.layers.GlobalAveragePooling2D()(base(inputs, training=False))
model = keras.Model(inputs, keras.layers.Dense(3, name="head")(pooled))
x, y = np.random.default_rng(0).random((8, 32, 32, 3)).astype("float32"), np.zeros((8, 3), "float32")
model.compile(keras.optimizers.Adam(), "mse")
with watch(model) as seen:
    model.fit(x, y, batch_size=4, verbose=0)
tell("one", seen.report)
base.trainable = True
for number, layer in enumerate(base.layers):
    layer.trainable = number >= len(base.layers) - 20 and not isinstance(layer, keras.layers.BatchNormalization)
model.compile(keras.optimizers.Adam(1e-5), "mse")
model.fit(x, y, batch_size=4, verbose=0)
report = freeze_report(model)  # a watch would find weights at rest: in a random MobileNet the gradient vanishes
tell("two", report)
print(len(report.rows), "rows")
""",
        ["one", "two", "2 rows"],
    ),
    "two ranks": (RANKS, ["frozen", "opened ddp-older-than-flags", "wrapped"]),
}


@pytest.fixture(scope="session")
def libraries():
    """A folder with the libraries, without what .venv has already."""
    made = LIBRARIES / "made-from.txt"
    if not made.exists() or made.read_text() != str(PINS):
        names = ["jaxlib==0.10.2", "opt_einsum", "huggingface_hub", "hf_xet", "httpx2", "httpcore2", "truststore"]
        names += ["regex", "safetensors", "shellingham", "tokenizers", "typer", "anyio", "h11", "sniffio", "ml_dtypes"]
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--upgrade", "--no-deps", "--target", LIBRARIES]
        subprocess.run([*command, *PINS, *names], check=True)
        made.write_text(str(PINS))
    return LIBRARIES


@pytest.mark.parametrize("name", CASES)
def test_found_as_it_is(name, libraries, tmp_path):
    program, expected = CASES[name]
    (tmp_path / "program.py").write_text(START + program)
    more = {"PYTHONPATH": f"{COURSE}:{libraries}", "HF_HUB_OFFLINE": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    if name.startswith("Keras on "):
        more["KERAS_BACKEND"] = name.removeprefix("Keras on ")
    command = [sys.executable, "-W", "ignore", tmp_path / "program.py"]
    ended = subprocess.run(command, env=os.environ | more, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert [line.rstrip() for line in ended.stdout.splitlines()] == expected
