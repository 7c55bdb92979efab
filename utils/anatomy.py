"""What a Keras model or an `nn.Module` is made of, in one form for both, and without importing either.

`weights(model)` lists every weight and statistic once; `evidence` and `report` stand on it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Weight:
    """One array that a model remembers."""

    name: str  # "base.block1.conv.kernel": the path of names from the model down
    key: int  # the id of the parameter or variable, for comparison with what an optimizer holds
    size: int  # numbers in it
    is_statistic: bool  # BatchNorm's running mean and the like: nothing an optimizer could train
    trainable: bool
    value: Callable[[], Any]  # the present values as a numpy array; not a copy
    source: Any  # the parameter or variable itself


def is_torch(model):
    """Whether the model is PyTorch's; False means Keras'. Raises TypeError for anything else."""
    if hasattr(model, "named_parameters") and hasattr(model, "named_buffers"):
        return True
    if hasattr(model, "trainable_weights") and hasattr(model, "layers"):
        return False
    raise TypeError(f"expected a Keras model or a torch nn.Module, got {type(model).__name__}")


def weights(model):
    """Every weight and statistic of the model once, in the model's order: a list of Weight.

    A shared or tied weight appears under the first of its names. Raises TypeError for anything but a model.
    """
    found = _torch_weights(model) if is_torch(model) else _keras_weights(model)
    result, names = [], set()
    for weight in found:
        name, number = weight.name, 2
        while name in names:  # two Keras layers in one parent may bear the same name
            name, number = f"{weight.name}#{number}", number + 1
        names.add(name)
        result.append(weight if name == weight.name else replace(weight, name=name))
    return result


def parts(model):
    """The model and everything inside it as (path of names, layer or module), each once, the model itself first."""
    if is_torch(model):
        return list(model.named_modules())
    return list(_keras_parts(model, "", set()))


def children(layer):
    """The layers right inside a Keras layer or model."""
    return getattr(layer, "_layers", None) or getattr(layer, "layers", [])


def same(one, other):
    """Whether two arrays hold the same bits (a NaN equals itself)."""
    return one.shape == other.shape and np.ascontiguousarray(one).tobytes() == np.ascontiguousarray(other).tobytes()


def _torch_weights(model):
    seen = set()
    for path, module in model.named_modules():
        own = [(pair, False) for pair in module.named_parameters(path, recurse=False)]
        own += [(pair, True) for pair in module.named_buffers(path, recurse=False)]
        for (name, tensor), is_statistic in own:
            if id(tensor) not in seen:  # tied weights
                seen.add(id(tensor))
                yield _torch_weight(name, tensor, is_statistic)


def _torch_weight(name, tensor, is_statistic):
    def value():
        return tensor.detach().cpu().numpy()

    return Weight(name, id(tensor), tensor.numel(), is_statistic, tensor.requires_grad, value, tensor)


def _keras_weights(model):
    # What fit trains is this list: a layer's own flag is not enough, since its parent's counts, too.
    trained = {id(variable) for variable in model.trainable_weights}
    seen = set()
    for path, layer in _keras_parts(model, "", set()):
        inside = {id(variable) for child in children(layer) for variable in child.weights}
        for variable in layer.weights:
            if id(variable) in seen or id(variable) in inside:
                continue
            seen.add(id(variable))
            yield Weight(
                name=f"{path}.{variable.name}" if path else variable.name,
                key=id(variable),
                size=int(np.prod(variable.shape)),
                is_statistic=_is_keras_statistic(layer, variable),
                trainable=id(variable) in trained,
                value=lambda variable=variable: np.asarray(variable.numpy()),
                source=variable,
            )


def _is_keras_statistic(layer, variable):
    """A variable that its layer made with trainable=False: it would not train if the layer did."""
    own = getattr(layer, "_non_trainable_variables", ())  # no public name tells it from a frozen weight
    return any(variable is v for v in own)


def _keras_parts(layer, path, seen):
    if id(layer) in seen:
        return
    seen.add(id(layer))
    yield path, layer
    for child in children(layer):
        yield from _keras_parts(child, f"{path}.{child.name}" if path else child.name, seen)
