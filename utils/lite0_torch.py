"""EfficientNet-Lite0 in plain PyTorch, with ImageNet's weights: the base of notebook 07. Twin of `lite0_keras`.

The table of convolutions and the weights are in `photos`. Nothing here freezes or unfreezes: that is the lesson.
"""

import numpy as np
import torch
from torch import nn

from utils import photos, torch_lab

# The GPU if there is one. (Notebooks 01 to 06 stay on the CPU: their networks are too small to gain from it.)
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Unit(nn.Sequential):
    """One `photos.Convolution`: pad, conv, bn, and relu if it has one."""

    def __init__(self, convolution):
        super().__init__()
        _, kernel, stride, before, after, depthwise, relu = convolution
        low, high = photos.padding(kernel, stride)
        self.pad = nn.ZeroPad2d((low, high, low, high))
        self.conv = nn.Conv2d(before, after, kernel, stride, groups=before if depthwise else 1, bias=False)
        self.bn = nn.BatchNorm2d(after, eps=photos.EPSILON, momentum=0.01)  # momentum 0.01 here is 0.99 in Keras
        if relu:
            self.relu = nn.ReLU6()


class InvertedResidual(nn.Sequential):
    """expand (but in stage1), depthwise, project; all but the first of a stage add their input."""

    def __init__(self, adds_input):
        super().__init__()
        self.adds_input = adds_input

    def forward(self, x):
        return x + super().forward(x) if self.adds_input else super().forward(x)


class Model(nn.Module):
    """base (stem, stage1 to stage7, top, gap, flatten: features (n, 1280)) and a linear head: logits."""

    def __init__(self, n_classes):
        super().__init__()
        self.base = nn.Sequential()
        for block in photos.BLOCKS:
            convolutions = list(photos.convolutions(block))
            if block not in photos.STAGES:
                self.base.add_module(block, Unit(convolutions[0]))
                continue
            stage = nn.Sequential()
            for convolution in convolutions:
                _, place, part = convolution.name.split(".")
                if int(place) == len(stage):
                    stage.append(InvertedResidual(adds_input=place != "0"))
                stage[-1].add_module(part, Unit(convolution))
            self.base.add_module(block, stage)
        self.base.add_module("gap", nn.AdaptiveAvgPool2d(1))
        self.base.add_module("flatten", nn.Flatten())
        self.head = nn.Linear(photos.FEATURES, n_classes)

    def forward(self, x):
        return self.head(self.base(x))


@torch.no_grad()
def build(n_classes=None, seed=0):
    """A Model with the weights that `photos.weights` gives for the same arguments, on DEVICE; all of it trainable.

    It takes what `tensor` makes of pictures. Returned in training mode, as PyTorch makes models. Raises DataError.
    """
    values = photos.weights(n_classes, seed)
    model = Model(len(values["head.bias"]))
    for convolution in (one for block in photos.BLOCKS for one in photos.convolutions(block)):
        unit = model.base.get_submodule(convolution.name.removesuffix(".conv"))
        order = (2, 3, 0, 1) if convolution.depthwise else (3, 2, 0, 1)  # ours: height, width, in, out
        kernel = np.ascontiguousarray(values[f"{convolution.name}.kernel"].transpose(order))
        unit.conv.weight.copy_(torch.from_numpy(kernel))
        norm = (unit.bn.weight, unit.bn.bias, unit.bn.running_mean, unit.bn.running_var)
        for part, target in zip(photos.NORM, norm, strict=True):
            target.copy_(torch.from_numpy(values[f"{convolution.name}.{part}"]))
    model.head.weight.copy_(torch.from_numpy(values["head.kernel"].T.copy()))
    model.head.bias.copy_(torch.from_numpy(values["head.bias"]))
    return model.to(DEVICE, memory_format=torch.channels_last)


def tensor(x):
    """Pictures uint8 (n, size, size, 3) as the base wants them: float32 (n, 3, size, size) on DEVICE."""
    return torch_lab.tensor(photos.prepare(x)).to(DEVICE)


def outputs(module, x, batch_size=32):
    """What a module makes of pictures, uint8 (n, size, size, 3), in inference mode: float32 (n, ...).

    Give it the base for features, the model for logits. Every module's mode is put back afterwards.
    """
    with torch_lab.inference(module):
        parts = [module(tensor(x[i : i + batch_size])).cpu().numpy() for i in range(0, len(x), batch_size)]
    return np.concatenate(parts)
