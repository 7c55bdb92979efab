"""Runs one learner's answer in a process of its own: a job comes as JSON on its input, a result goes to its output.

An answer that is data (a number, a text, a list ...) or a model of the course is not judged here: it is handed back as
data, and judged in a second process in which nothing of the learner's runs. Only an answer that must run beside its
check, such as a function, is judged in this process, by functions that were looked up before the learner's code ran;
afterwards the check is tried on a stored wrong answer, which must still fail.
"""

import contextlib
import json
import os
import sys


def main():
    """Do the job. See `Course.start` in `run.py` for what is in it. Prints one line of JSON."""
    channel = os.dup(1)  # the only way out; nobody else gets it
    job = json.loads(sys.stdin.buffer.read())
    for number in (0, 1, 2):
        os.dup2(os.open(os.devnull, os.O_RDWR), number)
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [job["box"], *(path for path in sys.path if os.path.abspath(path or ".") != here)]
    from tools.grade import cage

    result = {}
    try:
        if job["caged"]:
            cage.enter(job["scratch"], job["hidden"], job["outside"])
        os.chdir(job["scratch"])
        cage.limit(job["seconds"], job["megabytes"])
    except OSError as error:
        result = {"no_cage": str(error)}
    if not result:
        result = {"probe": probe, "data": judge_data, "run": run}[job["task"]](job)
    with open(channel, "w", encoding="utf-8") as out:
        out.write("\n" + json.dumps({**result, "nonce": job["nonce"]}) + "\n")
    os._exit(0)  # nothing of the learner's runs at the exit


def probe(job):
    """Whether the cage holds: {"no_cage": what was still possible}, or {}."""
    with open(os.path.join(job["scratch"], "mine"), "w"), contextlib.suppress(OSError):
        open(os.path.join(job["box"], "written"), "w").close()
        return {"no_cage": "the disk could be written"}
    return {"no_cage": "the submissions could be seen"} if any(map(os.listdir, job["hidden"])) else {}


def run(job):
    """Run a learner's program and hand back its answer, or the verdict on one that is no data."""
    from utils import exercises
    from utils.study import questions, scoring

    score, is_blank = scoring.score_exercise, scoring.is_blank
    question = questions.find(job["exercise"], ("exercises",))
    checks, check = exercises.CHECKS, exercises.CHECKS[job["exercise"]]
    names, first = {"__name__": "__main__"}, None
    for source in job["before"]:
        try:
            exec(compile(source, "<before>", "exec"), names)
        except Exception as error:
            first = first or f" (before it, `{source[:60].splitlines()[0]}` raised {told(error)})"
    try:
        exec(compile(job["cell"], "<answer>", "exec"), names)
        value = eval(compile(job["value"], "<answer>", "eval"), names)
    except (Exception, SystemExit) as error:
        return {"right": False, "line": f"The cell raised {told(error)}{first or '.'}"}
    if is_blank(value):
        return {"right": False, "line": "not attempted yet"}
    data = as_data(value)
    if data is not None:
        return {"data": data}
    if not job["may_judge"]:
        return {"outside": True}
    checks[job["exercise"]] = check
    verdict = score(question, value)
    if verdict.right:
        checks[job["exercise"]] = check
        control = {"__name__": "__main__"}
        for source in job["control"]:
            exec(compile(source, "<control>", "exec"), control)
        if score(question, control["answer"]).right is not False:
            return {"changed": True}
    return {"right": verdict.right is True, "line": verdict.lines[0], "judged_here": True}


def judge_data(job):
    """The verdict on an answer that came as data."""
    from utils.study import questions, scoring

    verdict = scoring.score_exercise(questions.find(job["exercise"], ("exercises",)), from_data(job["data"]))
    return {"right": verdict.right is True, "line": verdict.lines[0]}


def told(error):
    """An exception in words. Its own text may fail."""
    with contextlib.suppress(Exception):
        return " ".join(f"{type(error).__name__}: {error}".split())[:300]
    return type(error).__name__


def as_data(value):
    """An answer as data that JSON can hold, to be made again by `from_data`; None if it is more than data."""
    with contextlib.suppress(Exception):
        if hasattr(value, "named_modules") or hasattr(value, "trainable_weights"):
            return {"model": switches(value)}
        plain = _plain(value)
        if len(json.dumps(plain)) < 1_000_000:
            return {"plain": plain}
    return None


def _plain(value):
    """A value of plain types, marked so that JSON gives it back; raises TypeError for others."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if value is ...:
        return {"...": None}
    if type(value) in (list, tuple, set):
        return {type(value).__name__: [_plain(item) for item in value]}
    if type(value) is dict:
        return {"dict": [[_plain(key), _plain(item)] for key, item in value.items()]}
    if getattr(value, "shape", None) == () and hasattr(value, "dtype"):  # a scalar of NumPy, PyTorch or TensorFlow
        return _plain(value.item() if hasattr(value, "item") else value.numpy().item())
    raise TypeError(type(value))


def from_data(data):
    """The answer that `as_data` wrote."""
    return rebuilt(**data["model"]) if "model" in data else _unplain(data["plain"])


def _unplain(value):
    if type(value) is not dict:
        return value
    ((kind, items),) = value.items()
    if kind == "...":
        return ...
    if kind == "dict":
        return {_unplain(key): _unplain(item) for key, item in items}
    return {"list": list, "tuple": tuple, "set": set}[kind](map(_unplain, items))


def switches(model):
    """What is on and off in a model that `keras_lab.build` or `torch_lab.build` made. Raises for any other model."""
    from utils import anatomy

    framework = "torch" if anatomy.is_torch(model) else "keras"
    head = [weight for weight in anatomy.weights(model) if weight.name == "head.bias"]
    found = {"framework": framework, "classes": int(head[0].size)}
    if framework == "torch":
        found["trains"] = {name: bool(p.requires_grad) for name, p in model.named_parameters()}
        found["awake"] = {name: bool(module.training) for name, module in model.named_modules()}
    else:
        found["trains"] = {name: bool(layer.trainable) for name, layer in anatomy.parts(model)}
        found["awake"] = {}
    if set(found["trains"]) != _names(framework, found["classes"]):
        raise ValueError("not a model of the course")
    return found


def _build(framework, classes):
    if framework == "torch":
        from utils import torch_lab as lab
    else:
        from utils import keras_lab as lab
    return lab.build(classes)


def _names(framework, classes):
    from utils import anatomy

    model = _build(framework, classes)
    return {name for name, _ in (model.named_parameters() if framework == "torch" else anatomy.parts(model))}


def rebuilt(framework, classes, trains, awake):
    """A new course model with these switches."""
    from utils import anatomy

    model = _build(framework, classes)
    if framework == "torch":
        for name, parameter in model.named_parameters():
            parameter.requires_grad = trains[name]
        for name, module in model.named_modules():
            module.training = awake[name]
    else:
        for name, layer in anatomy.parts(model):  # from the outside in: a switch reaches what is inside
            layer.trainable = trains[name]
    return model


if __name__ == "__main__":
    main()
