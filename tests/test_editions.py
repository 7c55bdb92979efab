"""Editions: what is cut is gone from code, prose and questions; what is left is whole, and runs."""

import os
import re
import subprocess
import sys
from pathlib import Path

import guards
import nbformat
import pytest
from guards import PATHS, read
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from study import questions
from tools import editions

ROOT = Path(__file__).parent.parent
OTHER = {"keras": "torch", "torch": "keras"}
# What names a framework or its API, wherever it stands.
WORDS = {
    "keras": r"Keras|keras|TensorFlow|\btf\.|GradientTape|stop_gradient|(?<!torch\.)\bcompile[sd]?\b(?! program)"
    r"|\.trainable\b|trainable = [TF]|`trainable\b|summary\(\)|BatchNormalization|training=False",
    "torch": r"[Tt]orch(?! backend| \d)|requires_grad|zero_grad|add_param_group|\beval\(|\.train\(|\btrain\(\)|no_grad"
    r"|\bdetach\b|`backward|\.backward|set_to_none|\bnn\.|\w+LRs?\b|\bscheduler|\bfiltered\b",
}
BOTH = r"|[Ff]rameworks|\btwins?\b|framework you like"
# Questions about the word, or questions and cells about lines that only look right: a name from elsewhere is the point.
MAY_NAME = {
    "01/predict-lines",
    "proof-frozen-keras",
    "proof-frozen-torch",
    "09/predict-freeze-word",
    "09/concept-snowflake",
}


def every(test):
    return pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)(test)


def named(notebook, one):
    """Where a one-framework edition still names the other: list of texts."""
    faults = []
    for cell in (cell for cell in notebook.cells if cell.id not in MAY_NAME):
        found = re.finditer(WORDS[OTHER[one]] + BOTH, cell.source)
        faults += [f"{cell.id}: {cell.source[max(0, m.start() - 40) : m.end() + 40]!r}" for m in found]
    return faults


@pytest.mark.parametrize("one", ["keras", "torch"])
@every
def test_a_copy_for_one_framework_is_whole_and_names_no_other(path, one, monkeypatch, tmp_path):
    notebook = editions.make(read(path), path.stem, one)
    instructors = editions.make(read(path), path.stem, f"instructor+{one}")
    assert named(notebook, one) == named(instructors, one) == []
    assert not set.union(*map(guards.tags, notebook.cells)) & {"keras", "torch"}
    assert f'os.environ["FREEZING_FRAMEWORK"] = "{one}"' in guards.code(notebook)[0].source
    assert not any(cell.outputs for cell in guards.code(notebook))
    assert "README.md" not in guards.prose(notebook)  # it is not handed out
    assert all(cell.source.strip() for cell in notebook.cells)
    numbers = [int(n) for n in re.findall(r"^## (\d)\.", guards.prose(notebook), re.MULTILINE)]
    assert numbers == list(range(1, len(numbers) + 1))
    for edition in (one, f"student+{one}"):
        nbformat.write(editions.make(read(path), path.stem, edition), tmp_path / f"{edition}.ipynb")
    assert guards.undefined_names(tmp_path) == ""
    monkeypatch.setenv("FREEZING_FRAMEWORK", one)
    source = "\n".join(cell.source for cell in guards.code(notebook))
    ids = re.findall(r'"(\d\d/[a-z0-9-]+)"', source)
    for call in re.findall(r"in (\([^)]*\)):\n    quiz\(f", source):
        ids += [f"{path.stem[:2]}/{word}" for word in eval(call)]
    assert len(ids) >= 3 and all(questions.find(id) for id in ids)


@pytest.mark.parametrize("one", ["keras", "torch"])
def test_questions_of_one_framework_name_no_other(one):
    def texts(value):
        if isinstance(value, dict):
            hidden = ("wrong", "right", "file", "id", *questions.FRAMEWORKS)
            return [text for key, part in value.items() if key not in hidden for text in texts(part)]
        if isinstance(value, list):
            return [text for part in value for text in texts(part)]
        return [value] if isinstance(value, str) else []

    for path in questions.files():
        left = questions.for_framework(questions.read(path)[0]["questions"], one)
        faults = {id: [t for t in texts(q) if re.search(WORDS[OTHER[one]] + BOTH, t)] for id, q in left.items()}
        assert left and {id: found for id, found in faults.items() if found and id not in MAY_NAME} == {}


@every
def test_students_get_no_solutions_and_instructors_open_ones_with_notes(path):
    students, instructors = (editions.make(read(path), path.stem, edition) for edition in ("student", "instructor"))
    exercises = [cell for cell in students.cells if "exercise" in guards.tags(cell)]
    assert exercises and not any(cell.outputs for cell in exercises)
    assert re.search(r"(?i)\bsolution", "".join(cell.source for cell in students.cells)) is None
    assert not any("solution" in guards.tags(cell) for cell in students.cells)
    solutions = [cell for cell in instructors.cells if "solution" in guards.tags(cell)]
    assert solutions and not any("jupyter" in cell.metadata for cell in solutions)
    assert instructors.cells[1].source.startswith("> **For the teacher: ")
    for notebook in (students, instructors):
        nbformat.validate(notebook)


def small(**source):
    cells = [new_code_cell("import os", id="setup")]
    cells += [new_code_cell(text, id=id, metadata={"tags": [id]}) for id, text in source.items()]
    return new_notebook(cells=cells)


def test_broken_samples_are_caught(tmp_path):
    notebook = editions.make(small(keras="name = 1", torch="print(name)"), "99_none", "torch")
    notebook.cells.append(new_markdown_cell("The Keras cell above."))
    assert len(named(notebook, "torch")) == 1
    nbformat.write(notebook, tmp_path / "cut.ipynb")
    assert "name" in guards.undefined_names(tmp_path)


def test_questions_are_cut_from_calls_and_loops_and_columns_from_tables():
    source = 'quiz("01/a")\nfor q in ("01/a", "01/b"):\n    quiz(q)\nfor q in ("a",):\n    quiz(f"01/{q}")\nx = 1'
    assert editions.without_questions(source, {"01/a"}) == 'for q in ("01/b",):\n    quiz(q)\nx = 1'
    assert editions.without_questions(source, {"01/c"}) == source
    table = "| a | Keras | PyTorch |\n|---|---|---|\n| b | c | d |\n\nKeras | x"
    assert editions.without_column(table, "Keras") == "| a | PyTorch |\n|---|---|\n| b | d |\n\nKeras | x"


# --- notes for teachers ---------------------------------------------------------------------------------------------


@every
def test_every_section_has_notes_and_the_minutes_add_up(path):
    sections = editions.notes(path.stem)
    assert list(sections) == [heading for _, heading in editions.headings(read(path))]
    row = rf"\(notebooks/{path.stem}\.ipynb\) \|.*\| (\d+) \| \d+ \|$"  # its last columns: minutes, claims
    told = re.search(row, (ROOT / "README.md").read_text(), re.M)
    assert sum(minutes for minutes, _ in sections.values()) == int(told[1])
    text = "".join(text for _, text in sections.values())
    expected = re.findall(r"\(`(\d\d/[\w-]+)`(?:, answer (\w))?\)", text)
    assert len(expected) >= 3 and all(text for _, text in sections.values())
    for id, option in expected:
        question = questions.find(id)
        assert not option or not question["options"][option].get("right"), id


def test_a_section_without_minutes_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(editions, "TEACHING", tmp_path)
    (tmp_path / "99_none.md").write_text("# A\n\nask them\n")
    with pytest.raises(editions.EditionError, match=r'99_none.md: A: the first line below it must be such as "6 min'):
        editions.notes("99_none")


def test_notes_of_one_framework():
    text = "All.\n\nKeras: k.\n\nPyTorch: t.\n\n- *x* (`01/a`, answer b) y\n- PyTorch: *z* (`01/b`) y"
    assert editions._of_framework(text, "keras", {"01/c"}) == "All.\n\nKeras: k.\n\n- *x* (`01/a`) y"
    assert editions._of_framework(text, "torch", {"01/a"}) == "All.\n\nPyTorch: t.\n\n- PyTorch: *z* (`01/b`) y"


# --- the command ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["studnet"], 'There is no edition "studnet": name student, instructor'),
        (["student+instructor"], "student and instructor exclude each other"),
        (["keras+torch"], "keras and torch exclude each other"),
        (["student", "--notebooks", "nowhere"], "There are no notebooks in nowhere"),
        (["student", "--to", "/dev/null/made"], "Cannot write /dev/null/made"),
    ],
)
def test_bad_input_gets_one_sentence(arguments, told, tmp_path):
    with pytest.raises(SystemExit) as end:
        editions.main(["--to", str(tmp_path / "made"), *arguments])
    assert told in str(end.value) and "\n" not in str(end.value)
    assert not (tmp_path / "made").exists()


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The folder of editions as the command writes it, a new one: nothing in it is from an earlier run."""
    target = tmp_path_factory.mktemp("editions")
    editions.main(["student", "keras", "torch", "torch + student", f"--to={target}"])
    return target


def test_an_edition_has_beside_it_what_it_needs_and_no_notes_for_teachers(written):
    found = {path.name for path in written.iterdir()}
    assert found == {"student", "keras", "torch", "student+torch", "utils", "study", "data"}
    assert [path.name for path in sorted((written / "student").iterdir())] == [path.name for path in PATHS]
    assert not (written / "data" / "teaching").exists() and (written / "data" / "questions").exists()


@pytest.mark.slow
@pytest.mark.parametrize("edition", ["student", "keras", "torch", "student+torch"])
@every
def test_an_edition_runs_from_top_to_bottom(path, edition, written, tmp_path):
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = [sys.executable, "-m", "tools.refresh", written / edition / path.name, f"--to={tmp_path}"]
    done = subprocess.run(run, capture_output=True, text=True, cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    shown = guards.shown(read(tmp_path / path.name))
    assert "There is no question" not in shown and "✔" in shown
