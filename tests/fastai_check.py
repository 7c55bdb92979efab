"""What notebook 04 says of fastai's freezing, beside the real library. Run by test_fastai.py, in fastai's Python.

Prints one JSON object: what is trainable and what moves, by fastai and by the notebook's cell.
"""

import ast
import contextlib
import inspect
import io
import json
import sys
import warnings
from pathlib import Path

import torch
from torch import nn

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import fastai  # noqa: E402
from fastai.data.core import DataLoaders  # noqa: E402
from fastai.data.load import DataLoader  # noqa: E402
from fastai.learner import Learner  # noqa: E402

from utils import data, torch_lab  # noqa: E402


def of_the_notebook():
    """The function `freeze_to` that notebook 04 defines."""
    cells = json.loads((ROOT / "notebooks/04_two_phase_fine_tuning.ipynb").read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    (source,) = [source for source in sources if "def freeze_to(" in source]
    function = next(node for node in ast.parse(source).body if getattr(node, "name", "") == "freeze_to")
    space = {"nn": nn}
    exec(compile(ast.Module([function], []), "notebook 04", "exec"), space)
    return space["freeze_to"]


def groups(model):
    """The five layer groups of the course's network: its four blocks and the head."""
    return [*(model.base.get_submodule(name) for name in data.BLOCKS), model.head]


def learner(**options):
    x, y = data.images("target_pool", per_class=8)
    pictures = list(zip(torch_lab.tensor(x), torch.from_numpy(y), strict=True))
    loader = DataLoader(pictures, bs=20, shuffle=True)
    model = torch_lab.build(n_classes=5)
    loss = nn.CrossEntropyLoss()
    split = lambda model: [list(group.parameters()) for group in groups(model)]  # noqa: E731
    return Learner(DataLoaders(loader, loader), model, loss_func=loss, splitter=split, **options)


def trainable(model):
    return [name for name, parameter in model.named_parameters() if parameter.requires_grad]


def count(model):
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def moved(learn):
    """What one epoch of fastai's own loop changes, without the counters of batches."""
    before = {name: value.clone() for name, value in learn.model.state_dict().items()}
    with contextlib.redirect_stdout(io.StringIO()):  # its table
        learn.fit(1, 1e-3)
    after = learn.model.state_dict()
    return [name for name in before if "num_batches" not in name and not torch.equal(before[name], after[name])]


def counts():
    default, plain = learner(), learner(train_bn=False)
    result = {}
    for name, learn, step in (
        ("freeze", default, Learner.freeze),
        ("unfreeze", default, Learner.unfreeze),
        ("no train_bn", plain, Learner.freeze),
    ):
        step(learn)
        result[name] = count(learn.model)
    return result


def same_as_the_notebook():
    """For each n and train_bn, whether the notebook's cell opens the same parameters as fastai."""
    ours, result = of_the_notebook(), {}
    for train_bn in (True, False):
        for n in range(-5, 5):
            learn, model = learner(train_bn=train_bn), torch_lab.build(n_classes=5)
            learn.freeze_to(n)
            number = ours(groups(model), n, train_bn)
            same = trainable(learn.model) == trainable(model) and number == count(learn.model)
            result[f"freeze_to({n}), train_bn={train_bn}"] = same
    return result


def frozen_and_fitted(**options):
    learn = learner(**options)
    learn.freeze()
    return moved(learn)


def main():
    torch.manual_seed(0)
    with warnings.catch_warnings(action="ignore"):
        beyond = learner()
        beyond.freeze_to(5)  # as many as there are groups
    report = {
        "versions": [fastai.__version__, torch.__version__],
        "default": inspect.signature(Learner).parameters["train_bn"].default,
        "counts": counts(),
        "same": same_as_the_notebook(),
        "moved": frozen_and_fitted(),
        "moved without train_bn": frozen_and_fitted(train_bn=False),
        "beyond": count(beyond.model),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
