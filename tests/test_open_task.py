"""The open task: its draws, how an answer is placed, and, slowly, what its two reference recipes get."""

import numpy as np
import pytest

from study import open_task

HEAD, BOTH = open_task.REFERENCES


def test_a_draw_is_the_same_each_time_and_another_has_other_pictures():
    x, y = open_task.pictures(3)
    again, _ = open_task.pictures(3)
    other, _ = open_task.pictures(4)
    assert x.shape == (400, 32, 32, 3) and x.dtype == np.float32 and x.min() >= 0 and x.max() <= 1
    assert np.array_equal(np.bincount(y), [40] * 10) and np.array_equal(x, again) and not np.array_equal(x, other)
    assert open_task.pictures(3, "digits_test")[0].shape == (600, 32, 32, 3)


@pytest.mark.parametrize(
    ("share", "place", "told"), [(0.99, None, "above"), (0.55, None, "level with"), (0.45, "between", "")]
)
def test_an_answer_is_placed_beside_the_references(share, place, told):
    truth = open_task.pictures(2, "digits_test")[1]
    answers = np.where(np.arange(600) < 600 * share, truth, (truth + 1) % 10)
    found, own, *lines = open_task.an_open_task(lambda x, y: lambda pictures: answers, draw=2)
    assert found == place and own.startswith(f"{share:.2f} ± 0.04 right on 600 test pictures, after ")
    assert lines[0] == f"0.36 ± 0.03 (95 of 100 draws) for {HEAD}." and told in lines[-1]


@pytest.mark.parametrize("framework", ["torch", "keras"])
def test_a_model_of_either_framework_is_asked_in_inference_mode(framework):
    lab = pytest.importorskip(f"utils.{framework}_lab")
    model = lab.build(10)
    answers = open_task._answers(model, open_task.pictures()[0][:8])
    assert np.allclose(answers, lab.logits(model, open_task.pictures()[0][:8])) and answers.shape == (8, 10)


def reference(name, draw):
    """Train one of the REFERENCES on a draw, in PyTorch. Returns its accuracy on the draw's test pictures.

    The rates are the best of 1e-3, 3e-3, 1e-2 on the validation digits of draws 100 to 102.
    """
    import torch

    from utils import runs, torch_lab

    x, y = open_task.pictures(draw)
    model = torch_lab.build(10, seed=draw).requires_grad_(False).eval()
    model.head.requires_grad_(True)
    runs.fit(model, x, y, torch.optim.Adam(model.head.parameters(), lr=1e-2), steps=300, seed=draw)
    if name == BOTH:
        model.requires_grad_(True)  # BatchNorm stays in inference mode
        runs.fit(model, x, y, torch.optim.Adam(model.parameters(), lr=3e-3), steps=300, seed=draw)
    return torch_lab.accuracy(model, *open_task.pictures(draw, "digits_test"))


@pytest.mark.slow
@pytest.mark.parametrize("name", open_task.REFERENCES)
def test_the_references_are_what_their_recipes_get(name):
    found = [reference(name, draw) for draw in range(5)]
    assert np.allclose(found, open_task.REFERENCES[name], atol=0.03), found
    assert abs(np.mean(found) - np.mean(open_task.REFERENCES[name])) < 0.015
