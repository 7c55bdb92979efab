"""Editions and pages: what is cut is gone from code, prose and questions; what is left is whole, and runs."""

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
from tools.editions import __main__ as command
from tools.editions import framework, html, notes, prose

ROOT = Path(__file__).parent.parent
COMBINED = ["student", "instructor", "keras", "torch"]
COMBINED += [f"{audience}+{one}" for audience in ("student", "instructor") for one in ("keras", "torch")]

# What names a framework or its API, wherever it stands.
WORDS = {
    "keras": r"Keras|keras|TensorFlow|\btf\.|GradientTape|stop_gradient|\bcompile[sd]?\b(?! program)|\.trainable\b"
    r"|trainable = [TF]|`trainable\b|summary\(\)|BatchNormalization|training=False",
    "torch": r"[Tt]orch|requires_grad|zero_grad|add_param_group|\beval\(|\.train\(|\btrain\(\)|no_grad|\bdetach\b"
    r"|`backward|\.backward|set_to_none|\bnn\.|\w+LRs?\b|\bscheduler|\bfiltered\b",
}
BOTH = r"|[Ff]rameworks|\btwins?\b|framework you like"
# Questions about the word, or about lines that only look right: there a name from elsewhere is the point.
MAY_NAME = {"01/predict-lines", "09/predict-freeze-word", "09/concept-snowflake"}


def made(path, edition):  # a copy: `make` changes none that it is given
    return editions.make(read(path), path.stem, edition)


def words_of(one):
    return WORDS[framework.OTHER[one]] + BOTH


def named(notebook, name, one):
    """Where a one-framework edition still names the other: list of texts."""
    faults = []
    for cell in notebook.cells:
        source, changes = cell.source, prose.changes(name, one).get(cell.id, [])
        for entry in changes if changes != "cut" else []:
            if "keep" in entry:
                source = prose.pattern(entry["keep"]).sub("", source)
        found = re.finditer(words_of(one), source)
        faults += [f"{cell.id}: {source[max(0, m.start() - 40) : m.end() + 40]!r}" for m in found]
    return faults


def every(test):
    return pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)(test)


@pytest.mark.parametrize("one", ["keras", "torch"])
@every
def test_one_framework_names_no_other(path, one):
    assert named(made(path, one), path.stem, one) == []
    assert named(made(path, f"instructor+{one}"), path.stem, one) == []


@pytest.mark.parametrize("one", ["keras", "torch"])
@pytest.mark.parametrize("path", questions.files(), ids=lambda path: path.stem)
def test_questions_of_one_framework_name_no_other(path, one):
    def texts(value):
        if isinstance(value, dict):
            hidden = ("wrong", "right", "accepted", "rejected", "says", "denies", "contradicts", "file", "id")
            return [t for k, v in value.items() if k not in (*hidden, *questions.FRAMEWORKS) for t in texts(v)]
        if isinstance(value, list):
            return [text for part in value for text in texts(part)]
        return [value] if isinstance(value, str) else []

    left = questions.for_framework(questions.read(path)[0]["questions"], one)
    assert left
    faults = {id: [t for t in texts(question) if re.search(words_of(one), t)] for id, question in left.items()}
    assert {id: found for id, found in faults.items() if found and id not in MAY_NAME} == {}


@pytest.mark.parametrize("edition", COMBINED)
@every
def test_structure(path, edition):
    notebook, parts = made(path, edition), editions.names(edition)
    nbformat.validate(notebook)
    tags = set.union(*(guards.tags(cell) for cell in notebook.cells))
    if "student" in parts:
        assert "solution" not in tags
        text = guards.prose(notebook) + "".join(cell.source for cell in guards.code(notebook))
        assert re.search(r"(?i)\bsolution", text) is None
        assert not any(cell.outputs for cell in guards.code(notebook) if "exercise" in guards.tags(cell))
        assert any("exercise" in guards.tags(cell) for cell in notebook.cells)
    if "instructor" in parts:
        solutions = [cell for cell in guards.code(notebook) if "solution" in guards.tags(cell)]
        assert solutions and not any("jupyter" in cell.metadata for cell in solutions)
        assert "click the three dots" not in guards.prose(notebook)
        assert "For the teacher" in notebook.cells[1].source
    one = parts[-1]
    if one in framework.OTHER:
        assert not tags & {"keras", "torch"}
        assert f'os.environ["FREEZING_FRAMEWORK"] = "{one}"' in guards.code(notebook)[0].source
        assert not any(cell.outputs for cell in guards.code(notebook))
        assert len(re.findall(r"quiz\(|recall\(|mixed\(", "".join(c.source for c in guards.code(notebook)))) >= 3
    assert not any(notes.MEMORY in cell.metadata for cell in notebook.cells)
    assert all(cell.source.strip() for cell in notebook.cells)
    numbers = [int(n) for n in re.findall(r"^## (\d)\.", guards.prose(notebook), re.MULTILINE)]
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("edition", ["student", "keras", "torch", "student+keras", "student+torch"])
def test_no_name_is_used_that_only_a_cut_cell_defines(edition, tmp_path):
    for path in PATHS:
        nbformat.write(made(path, edition), tmp_path / path.name)
    assert guards.undefined_names(tmp_path) == ""


@pytest.mark.parametrize("one", ["keras", "torch"])
@every
def test_every_question_that_is_asked_is_there(path, one, monkeypatch):
    monkeypatch.setenv("FREEZING_FRAMEWORK", one)
    source = "\n".join(cell.source for cell in guards.code(made(path, one)))
    ids = re.findall(r'"(\d\d/[a-z0-9-]+)"', source)
    ids += [
        f"{path.stem[:2]}/{word}" for call in re.findall(r"in (\([^)]*\)):\n    quiz\(f", source) for word in eval(call)
    ]
    assert ids
    assert all(questions.find(id) for id in ids)


def small(**source):
    cells = [new_code_cell('import os\n\nCOURSE = ""', id="setup")]
    cells += [new_code_cell(text, id=id, metadata={"tags": [id]}) for id, text in source.items()]
    return new_notebook(cells=cells)


def test_broken_samples_are_caught(tmp_path):
    notebook = framework.torch_only(small(keras="name = 1", torch="print(name)"), "99_none")
    notebook.cells.append(new_markdown_cell("The Keras cell above."))
    assert len(named(notebook, "99_none", "torch")) == 1
    nbformat.write(notebook, tmp_path / "cut.ipynb")
    assert "name" in guards.undefined_names(tmp_path)


def test_questions_are_cut_from_calls_and_loops():
    source = 'quiz("01/a")\nfor q in ("01/a", "01/b"):\n    quiz(q)\nfor q in ("a",):\n    quiz(f"01/{q}")\nx = 1'
    assert framework.without_questions(source, {"01/a"}) == 'for q in ("01/b",):\n    quiz(q)\nx = 1'
    assert framework.without_questions(source, {"01/c"}) == source


def test_a_column_is_cut():
    table = "| a | Keras | PyTorch |\n|---|---|---|\n| b | c | d |\n\nKeras | x"
    assert framework.without_column(table, "Keras") == "| a | PyTorch |\n|---|---|\n| b | d |\n\nKeras | x"


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ({"cut": "B b."}, "A a.\n\nC c.\n\nD."),
        ({"cut": "D."}, "A a.\n\nB b. C c."),
        ({"cut": "A … c."}, "D."),
        ({"from": "a. B", "to": "x"}, "Ax b. C c.\n\nD."),
        ({"keep": "C c."}, "A a.\n\nB b. C c.\n\nD."),
    ],
)
def test_changes_of_prose(entry, text):
    source = "A a.\n\nB b. C c.\n\nD."
    if "a. B" in entry.values():
        source, text = "A a.\nB b.", "A x b."
    assert prose.changed(source, entry) == text


def test_a_text_that_is_gone_or_there_twice_is_told():
    for text in ("Z", "A"):
        with pytest.raises(editions.EditionError, match="must stand there once, not [02] times: [ZA]$"):
            prose.changed("A A", {"cut": text})


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("torch: {nowhere: cut}", "torch: the notebook has no cell nowhere"),
        ("torch: {setup: [{replace: a}]}", "setup must be cut, or a list of"),
        ("torch: {setup", "cannot be read, line"),
    ],
)
def test_a_mistake_in_the_file_of_changes_is_told(content, told, tmp_path, monkeypatch):
    monkeypatch.setattr(prose, "FOLDER", tmp_path)
    (tmp_path / "99_none.yaml").write_text(content)
    with pytest.raises(editions.EditionError, match=told):
        editions.make(small(), "99_none", "torch")


# ---------------------------------------------------------------- notes for teachers


@every
def test_every_section_has_notes_and_the_minutes_add_up(path):
    sections = notes.read(path.stem)
    assert list(sections) == [heading for _, heading in notes.headings(read(path))]
    row = rf"\(notebooks/{path.stem}\.ipynb\) \|.*\| (\d+) \| \d+ \|$"  # its last columns: minutes, claims
    told = re.search(row, (ROOT / "README.md").read_text(), re.M)
    assert sum(entry["minutes"] for entry in sections.values()) == int(told[1])
    assert all(entry.get("notes") or entry.get("keras") or entry.get("torch") for entry in sections.values())


@every
def test_every_misconception_is_revealed_by_a_question(path):
    expected = [item for entry in notes.read(path.stem).values() for item in entry.get("misconceptions", ())]
    assert len(expected) >= 3
    for item in expected:
        question = questions.find(item["question"])
        if "option" in item:
            assert not question["options"][item["option"]].get("right"), item


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("sections: {A: {notes: x}}", "A: needs minutes"),
        ("sections: {A: {minutes: 5, misconceptions: [{thinks: x}]}}", "A: a misconception needs thinks, question"),
        ("- A", "99_none.yaml must begin with a name and a colon."),
        ("sections: [", "99_none.yaml cannot be read, line 1."),
    ],
)
def test_a_mistake_in_the_notes_is_told(text, told, tmp_path, monkeypatch):
    monkeypatch.setattr(notes, "FOLDER", tmp_path)
    (tmp_path / "99_none.yaml").write_text(text)
    with pytest.raises(editions.EditionError, match=told):
        notes.read("99_none")


# ---------------------------------------------------------------- the command


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["studnet"], 'There is no edition "studnet": name student, instructor'),
        (["student+instructor"], "student and instructor exclude each other"),
        (["keras+torch"], "keras and torch exclude each other"),
        (["student", "--notebooks", "nowhere"], "There are no notebooks in nowhere"),
    ],
)
def test_bad_input_gets_one_sentence(arguments, told, tmp_path):
    with pytest.raises(SystemExit) as end:
        command.main([*arguments, "--to", str(tmp_path / "made")])
    assert told in str(end.value) and "\n" not in str(end.value)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("content", "told"),
    [("{", "is not a notebook"), ("[" * 100_000, "is not a notebook"), (None, "Cannot read .*01_x")],
)
def test_a_file_that_is_no_notebook_is_told(content, told, tmp_path):
    path = tmp_path / "01_x.ipynb"
    path.mkdir() if content is None else path.write_text(content)
    with pytest.raises(SystemExit, match=told):
        command.main(["student", "--notebooks", str(tmp_path), "--to", str(tmp_path / "made")])


def in_the_way(target):
    target.write_text("mine")


def nowhere_to_copy(target):
    (target / "utils").mkdir(parents=True)
    (target / "utils/data.py").symlink_to("/nowhere/data.py")


@pytest.mark.parametrize(
    ("main", "before", "obstacle", "path"),
    [
        (command.main, ["student", "--notebooks"], in_the_way, "made"),
        (command.main, ["student", "--notebooks"], nowhere_to_copy, "made/utils/data.py"),
        (html.main, [], in_the_way, "made"),
    ],
)
def test_a_folder_that_cannot_be_written_is_told(main, before, obstacle, path, tmp_path, capsys):
    """And with a good one each copy is told."""
    (tmp_path / "notebooks").mkdir()
    one = tmp_path / "notebooks" / "01_x.ipynb"
    nbformat.write(small(torch="1"), one)
    arguments = [*before, str(one.parent)]
    obstacle(tmp_path / "made")
    with pytest.raises(SystemExit) as end:
        main([*arguments, "--to", str(tmp_path / "made")])
    told = re.escape(str(tmp_path / path))
    assert re.fullmatch(rf"Cannot write {told}\S* \(.+\): choose another folder with --to\.", end.value.code)
    main([*arguments, "--to", str(tmp_path / "good")])
    assert str(tmp_path / "good") in capsys.readouterr().out


def test_the_order_of_parts_does_not_matter():
    assert editions.names("torch+student") == editions.names("student + torch") == ["student", "torch"]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The folder of editions as the command writes it, a new one: nothing in it is from an earlier run."""
    target = tmp_path_factory.mktemp("editions")
    list(command.write(ROOT / "notebooks", ["student", "keras", "torch", "student+torch"], target))
    return target


def test_an_edition_has_beside_it_what_it_needs(written):
    assert {path.name for path in written.iterdir()} == {
        "student",
        "keras",
        "torch",
        "student+torch",
        "utils",
        "study",
        "data",
    }
    assert [path.name for path in sorted((written / "student").iterdir())] == [path.name for path in PATHS]


@pytest.mark.slow
@pytest.mark.parametrize("edition", ["student", "keras", "torch", "student+torch"])
@every
def test_an_edition_runs_from_top_to_bottom(path, edition, written, tmp_path):
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = [sys.executable, "-m", "tools.refresh", written / edition / path.name, f"--to={tmp_path}"]
    done = subprocess.run(run, capture_output=True, text=True, cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    ran = read(tmp_path / path.name)
    shown = guards.shown(ran)
    assert "There is no question" not in shown and "✔" in shown


# ---------------------------------------------------------------- pages

RESOURCE = r"<(?:script|img|link|iframe|source|video|audio|embed|object)\b[^>]*?(?:src|href|data)\s*=\s*(?![\"']?data:)"
OUTSIDE = RESOURCE + r"|@import|url\(\s*[\"']?(?!data:|#|[\"']?\))"


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    target = tmp_path_factory.mktemp("html")
    assert html.write(ROOT / "notebooks", target) == len(PATHS)
    return target


def test_pages_hold_all_that_they_show(pages):
    for page in pages.iterdir():
        text = page.read_text(encoding="utf-8")
        assert not re.search(OUTSIDE, text), (page.name, re.search(OUTSIDE, text).group())
        assert "<script" not in text
    text = (pages / "01_freeze_basics.html").read_text(encoding="utf-8")
    assert text.count('src="data:image/png;base64,') >= 3
    assert text.count('<details class="solution"><summary>Solution</summary>') == 3


@pytest.mark.parametrize(
    "broken",
    [
        '<script src="https://x/a.js"></script>',
        '<img src="a.png">',
        "<link rel=x href=//x/a.css>",
        "url(https://x/a.woff)",
    ],
)
def test_an_outside_resource_is_found(broken):
    assert re.search(OUTSIDE, broken)


def test_the_index_leads_to_every_page_and_tells_question_and_minutes(pages):
    text = (pages / "index.html").read_text(encoding="utf-8")
    links = re.findall(r'href="([^"]+)"', text)
    assert links == [f"{path.stem}.html" for path in PATHS] and all((pages / link).exists() for link in links)
    assert "When you freeze a layer, what stops" in text and "<td>40</td>" in text
    assert "<td></td>" not in text


def test_a_browser_asks_no_other_host(pages, browser):
    asked, page = [], browser.new_page()
    page.route(lambda url: not url.startswith("file:"), lambda route: (asked.append(route.request.url), route.abort()))
    page.goto((pages / "index.html").as_uri())
    page.click("text=01 Freeze a layer")
    assert page.locator("h1").first.inner_text().startswith("Freeze a layer, and prove it")
    assert page.locator("img").first.evaluate("image => image.complete && image.naturalWidth > 100")
    page.locator("summary", has_text="Solution").first.click()
    assert page.locator("details[open] pre").first.is_visible()
    page.close()
    assert [url for url in asked if not url.startswith("data:")] == []


def test_no_notebooks_gets_one_sentence(tmp_path):
    with pytest.raises(SystemExit, match="There are no notebooks in"):
        html.main([str(tmp_path), "--to", str(tmp_path / "made")])
    assert not (tmp_path / "made").exists()
