"""The notebooks without running them (guards), and run with one framework cut out. Strict nbval runs them whole."""

import ast
import copy
import re

import guards
import nbformat
import pytest
from guards import PATHS, read
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from study import questions, views


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_no_guard_finds_a_fault(path):
    assert {guard.__name__: faults for guard in guards.GUARDS if (faults := guard(read(path)))} == {}


def good():
    """A tiny notebook in which no guard finds a fault, to break in one way each."""
    top = "# T\n\n**The question.** Why?\n\n**You will** see.\n\n**You need** time.\n\n## Exercises\n\n## Recall\n\n"
    show = [new_output("stream", name="stdout", text="✔ holds\n")]
    waiting = [new_output("stream", name="stdout", text="01/ex1: not attempted yet.\n")]
    right = [new_output("stream", name="stdout", text="✔ Correct.\n")]
    folded = {"tags": ["solution"], "jupyter": {"source_hidden": True}}
    proof = {"tags": ["proof", "hide-input", "nbval-ignore-output"], "cellView": "form", "jupyter": folded["jupyter"]}
    cells = [
        new_code_cell("# @title Proof\nclaim('a', a > 0)", outputs=show, id="claimed", metadata=proof),
        new_code_cell("keras.Model()", id="keras", metadata={"tags": ["keras"]}),
        new_code_cell("answer = ...", outputs=waiting, id="ex", metadata={"tags": ["exercise"]}),
        new_code_cell("answer = 1", outputs=right, id="solution", metadata=folded),
    ]
    for i, cell in enumerate(cells):
        cell.execution_count = i + 1
    cells = [new_markdown_cell(top + "word " * 900, id="top"), *cells]
    cells += [new_markdown_cell("text", id=f"m{i}") for i in range(20)] + [
        new_markdown_cell("## Key points\n\nNext: [02](02.ipynb)", id="end")
    ]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3"}, "language_info": {"name": "python"}}
    return new_notebook(cells=cells, metadata=metadata)


def set_cell(number, **values):
    def change(nb):
        nb.cells[number].update(values)

    return change


def output(kind, **values):
    return [new_output(kind, **values)]


LINK = output("display_data", data={"text/html": "<a href='https://example.org'>x</a>"})
BROKEN = {
    "ran_from_top_to_bottom": set_cell(1, execution_count=None),
    "has_outputs": lambda nb: [cell.update(outputs=[]) for cell in guards.code(nb)],
    "no_errors": set_cell(1, outputs=output("error", ename="E", evalue="v", traceback=[])),
    "no_stderr": set_cell(1, outputs=output("stream", name="stderr", text="warning")),
    "no_scripts_or_addresses": set_cell(1, outputs=LINK),
    "no_widget_state": lambda nb: nb.metadata.update(widgets={}),
    "no_timing": set_cell(1, metadata={"execution": {}}),
    "plain_kernel": lambda nb: nb.metadata.kernelspec.update(name="my-venv"),
    "small": set_cell(1, outputs=output("stream", name="stdout", text="x" * guards.LIMIT)),
    "no_semicolons": set_cell(1, source="plot(x);"),
    "nothing_that_waits_or_chatters": set_cell(1, source="model.fit(x, verbose=1)"),
    "short_open_cells": set_cell(2, source="a = 1\n" * 13),
    "folded_cells": lambda nb: nb.cells[1].metadata.pop("jupyter"),
    "not_too_many_claims": set_cell(1, source="# @title Proof\n" + "claim('a', a > 0)\n" * 26),
    "figures_have_alt_texts": set_cell(2, outputs=output("display_data", data={"image/png": "x", "text/plain": "y"})),
    "goes_on": lambda nb: nb.cells[-1].update(source="## Key points"),
    "excused_cells_are_claimed": set_cell(1, source="print(accuracy)"),
    "known_tags": set_cell(1, metadata={"tags": ["keras", "kers"]}),
    "framework_tags": set_cell(1, source="torch.ones(3)"),
    "solutions_follow": lambda nb: nb.cells.pop(4),
    "exercises_wait_and_solutions_pass": set_cell(4, outputs=output("stream", name="stdout", text="✘ Not yet.")),
    "alt_texts": set_cell(0, source="![](figure.png)"),
    "skeleton": lambda nb: nb.cells.pop(),
    "size_that_reads_well": set_cell(0, source="# Short"),
}


def test_guards_find_no_fault_in_a_good_sample():
    assert {guard.__name__: guard(good()) for guard in guards.GUARDS if guard(good())} == {}


@pytest.mark.parametrize("guard", guards.GUARDS, ids=lambda guard: guard.__name__)
def test_each_guard_catches_its_broken_sample(guard):
    nb = good()
    BROKEN[guard.__name__](nb)
    assert guard(nb) != []


def test_all_notebooks_begin_with_the_same_set_up_cell():
    assert len({guards.code(read(path))[0].source for path in PATHS}) == 1


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_stored_question_reads_as_its_file_does_now(path):
    """Strict nbval says so too, but minutes later."""
    views_of = {"quiz": views.quiz_bundle, "recall": views.recall_bundle}
    asked = [
        (kind, id, guards.outputs_text(cell))
        for cell in guards.code(read(path))
        for kind, id in re.findall(r'^(quiz|recall)\("([^"]+)"\)', cell.source, re.MULTILINE)
    ]
    now = {id: views_of[kind](questions.find(id, (kind,)))["text/html"] for kind, id, _ in asked}
    assert asked
    assert [id for _, id, shown in asked if now[id] not in shown] == []


def test_no_function_is_defined_in_two_notebooks():
    defined = {
        path.stem: {
            node.name
            for cell in guards.code(read(path))
            if not guards.tags(cell) & {"exercise", "solution", "script"}  # there the names are others' own
            for node in ast.parse(cell.source).body
            if isinstance(node, ast.FunctionDef)
        }
        for path in PATHS
    }
    names = [name for found in defined.values() for name in found]
    assert sorted(set(names)) == sorted(names), defined


REAL = {"07"}  # 08 stays on the CPU: its claims are about a small base and about work


def device_faults(number, sources):
    """What is wrong with the way in which a notebook's code cells choose where to compute."""
    code = "\n".join(sources)
    if number not in REAL:
        words = ("FREEZING_GPU", "cuda", ".DEVICE", "lite0_")
        return [f"names {word}" for word in words if word in code]
    labs = sorted(set(re.findall(r"\b(\w+)\.DEVICE", code)))
    asks, first = code.find('environ["FREEZING_GPU"] = "on"'), re.search(r"import \w+_keras|import keras", code)
    faults = [f"does not print {lab}.DEVICE" for lab in labs if not re.search(rf"print\(.*\b{lab}\.DEVICE", code)]
    faults += ["names no device"] * (not labs)
    return faults + ["asks for the GPU when TensorFlow is there already"] * bool(first and asks > first.start())


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_only_notebooks_with_a_real_base_use_a_gpu_and_they_say_so(path):
    assert device_faults(path.stem[:2], [cell.source for cell in guards.code(read(path))]) == []


def test_a_wrong_use_of_a_gpu_is_found():
    asks, use, say = 'os.environ["FREEZING_GPU"] = "on"', "from utils import lite0_keras", "print(lite0_keras.DEVICE)"
    assert device_faults("07", [asks, use, say]) == []
    for number, cells in (("01", ["x.to('cuda')"]), ("07", [use, asks, say]), ("07", [asks, use, "y = a.DEVICE"])):
        assert len(device_faults(number, cells)) == 1


def without(nb, framework):
    """A copy of the notebook without the cells of a framework."""
    cut = copy.deepcopy(nb)
    cut.cells = [cell for cell in cut.cells if framework not in guards.tags(cell)]
    return cut


@pytest.mark.parametrize("framework", ["keras", "torch"])
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_no_cell_needs_a_name_from_a_cell_of_the_other_framework(path, framework, tmp_path):
    nbformat.write(without(read(path), framework), tmp_path / "cut.ipynb")
    assert guards.undefined_names(tmp_path / "cut.ipynb") == ""


def test_a_name_that_only_the_other_framework_defines_is_found(tmp_path):
    nb = good()
    nb.cells[1].source = "keras = 1"
    nb.cells[2].source = "print(keras)"
    nb.cells[1].metadata.tags, nb.cells[2].metadata.tags = ["torch"], []
    nbformat.write(without(nb, "torch"), tmp_path / "cut.ipynb")
    assert "keras" in guards.undefined_names(tmp_path / "cut.ipynb")


@pytest.mark.slow
@pytest.mark.parametrize("framework", ["keras", "torch"])
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_each_framework_runs_without_the_other(path, framework, monkeypatch):
    """Cells of the other framework are cut, and its library is not imported after all."""
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    monkeypatch.setenv("FREEZING_PROGRESS", "off")
    other, library = {"keras": ("torch", "torch"), "torch": ("keras", "tensorflow")}[framework]
    nb = without(read(path), other)
    nb.cells.append(new_code_cell(f"assert {library!r} not in sys.modules"))
    NotebookClient(nb, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}).execute()
    claimed = re.findall(r"^✔ .*", guards.shown(nb), re.MULTILINE)
    assert len(claimed) >= 5
