"""utils/fingerprint.py: what changes a result changes the digits, and nothing else does."""

import functools
import importlib.metadata
import os
import subprocess
import sys

import pytest
import torch

from utils import data, sweep, torch_lab
from utils.fingerprint import NoFingerprint, fingerprint

ROOT = data.FOLDER.parent


def short(per_class, seed, rate=1e-2):
    """A recipe as notebook 05 has them; it is compared, not run."""
    x, y = sweep.images("target_pool", per_class=per_class, seed=seed)
    model = torch_lab.build(5, seed)
    sweep.fit(model, x, y, torch.optim.Adam(model.parameters(), rate), seed=seed)
    return {"test": sweep.accuracy(model, *sweep.images("target_test"))}


RECIPE = """
RATE = 0.5
def helper(a):
    return RATE * a
class Scale:
    by = 2
    def __call__(self, a):
        return self.by * a
scale = Scale()
def recipe(a, seed, extra=1):
    inner = lambda: helper(a) + extra
    return {"value": scale(inner())}
"""


def made(source):
    space = {"__name__": "__main__"}
    exec(source, space)
    return space["recipe"]


@pytest.mark.parametrize(
    ("old", "new", "again"),
    [
        ("RATE = 0.5", "RATE = 0.25", True),
        ("RATE * a", "RATE + a", True),
        ("by = 2", "by = 3", True),
        ("self.by * a", "self.by - a", True),
        ("extra=1", "extra=2", True),
        ("inner())", "inner() + 1)", True),
        ("RATE = 0.5", "RATE = 0.5  # half\n\n", False),
        ("RATE = 0.5", "OTHER = 0.25\nRATE = 0.5", False),
    ],
)
def test_a_changed_recipe_is_told_from_a_changed_comment(old, new, again):
    one, two = made(RECIPE), made(RECIPE.replace(old, new))
    assert (fingerprint(one) != fingerprint(two)) is again


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("use = len", "use = sum"),
        ("import numpy\nuse = numpy.add", "import numpy\nuse = numpy.multiply"),
        (
            "class A:\n    def by(self, a): return a\nuse = A().by",
            "class A:\n    def by(self, a): return -a\nuse = A().by",
        ),
        (
            "class A:\n    @classmethod\n    def by(cls, a): return a\nuse = A.by",
            "class A:\n    @classmethod\n    def by(cls, a): return -a\nuse = A.by",
        ),
        (
            "class A:\n    @staticmethod\n    def by(a): return a\nx = A()\nuse = lambda a: x.by(a)",
            "class A:\n    @staticmethod\n    def by(a): return -a\nx = A()\nuse = lambda a: x.by(a)",
        ),
        (
            "class A:\n    @property\n    def by(self): return 1\nx = A()\nuse = lambda a: x.by",
            "class A:\n    @property\n    def by(self): return 2\nx = A()\nuse = lambda a: x.by",
        ),
        ("use = lambda a: a in {1, 2}", "use = lambda a: a in {1, 3}"),
        (
            "def use(a):\n    from utils import recipes as it\n    return it.of(a)",
            "def use(a):\n    from utils import schedules as it\n    return it.of(a)",
        ),
    ],
)
def test_what_a_recipe_names_counts_whatever_kind_it_is_of(one, other):
    recipe = "\ndef recipe(a, seed):\n    return {'value': use(a)}"
    digits = [fingerprint(made(source + recipe)) for source in (one, one, other)]
    assert digits[0] == digits[1] != digits[2]


def test_what_a_recipe_uses_through_wrappers_counts():
    def with_constant(value):
        @functools.cache
        def helper():
            return value

        return functools.partial(lambda a, seed, b: {"value": helper() + a}, b=1)

    assert fingerprint(with_constant(1)) != fingerprint(with_constant(2))
    assert fingerprint(with_constant(1)) == fingerprint(with_constant(1))


def test_the_fingerprint_is_the_same_in_another_process():
    code = "import test_fingerprint; print(test_fingerprint.fingerprint(test_fingerprint.short))"
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    shown = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip() == fingerprint(short)


def test_the_data_and_the_versions_of_libraries_count(tmp_path, monkeypatch):
    digits = [fingerprint(short)]
    (tmp_path / "SHA256SUMS").write_text("0" * 64 + "  images.npz\n")
    with monkeypatch.context() as patch:
        patch.setattr(data, "FOLDER", tmp_path)
        digits.append(fingerprint(short))
    version = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.1" if name == "keras" else version(name))
    digits.append(fingerprint(short))
    assert len(set(digits)) == 3


def test_all_things_count():
    assert len({fingerprint(short), fingerprint(short, 1), fingerprint(short, 2), fingerprint(1, short)}) == 4


def test_a_value_that_cannot_be_compared_is_named():
    with open(os.devnull) as handle, pytest.raises(NoFingerprint, match="a TextIOWrapper that the recipe uses"):
        fingerprint(lambda seed: handle)


def test_a_library_counts_alike_before_and_after_it_is_imported(monkeypatch):
    def recipe(a, seed):
        import yaml

        return yaml.safe_load(a)

    recipe("1", 0)
    after = fingerprint(recipe)
    monkeypatch.delitem(sys.modules, "yaml")
    assert fingerprint(recipe) == after
