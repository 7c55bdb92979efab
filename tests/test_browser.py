"""The notebooks in a real JupyterLab, in Chromium: all cells, the keyboard, the rules of accessibility, screenshots."""

import re

import guards
import pytest
from axe_playwright_python.sync_playwright import Axe
from browser import SCREENSHOTS, Notebook, lab

pytestmark = pytest.mark.slow
KERNEL = "window.jupyterapp.shell.currentWidget.sessionContext.session.kernel"


@pytest.fixture(scope="module")
def server(browser, tmp_path_factory):  # not without a browser
    with lab(tmp_path_factory.mktemp("lab")) as server:
        yield server


@pytest.mark.parametrize("name", [path.stem for path in guards.PATHS])
def test_runs_and_reads_well(name, server, browser):
    notebook = Notebook(browser, server, name)
    notebook.command("apputils:change-theme", theme="JupyterLab Light")  # the notebook before has left it dark
    assert notebook.run_all() == []
    assert notebook.dialogs() == []
    notebook.screenshots(name, 800)
    assert notebook.cut_texts() == []
    notebook.screenshots(name, 1280)
    assert notebook.cut_texts() == []
    assert violations(notebook.page) == []
    notebook.command("apputils:change-theme", theme="JupyterLab Dark")
    notebook.screenshots(f"{name}_dark", 1280)
    assert violations(notebook.page) == []
    assert notebook.outside == []
    assert notebook.errors == []
    notebook.page.close()


def violations(page):
    """What axe-core finds wrong in the outputs of the cells (not in JupyterLab itself).

    Two things are not ours to mend. JupyterLab 4.6 gives no figure an alternative text, and there is no way to pass it
    one: a sentence of the notebook describes each figure instead (CONTRIBUTING.md). ipywidgets 8.1 gives a slider's
    handle no name: its label stands beside it, and the table below says the same.
    """
    options = {"rules": {"image-alt": {"enabled": False}}}
    found = Axe().run(page, context=".jp-OutputArea-output", options=options).response["violations"]
    return [
        f"{one['id']}: {one['help']}: {node['html'][:200]}"
        for one in found
        for node in one["nodes"]
        if (one["id"], "noUi-handle" in node["html"]) != ("aria-input-field-name", True)
    ]


def test_by_keyboard_alone(server, browser):
    """A quiz answered wrongly and then rightly, own words, and an exercise: not one click."""
    notebook = Notebook(browser, server, "01_freeze_basics")
    assert notebook.run_all() == []
    notebook.go_to("predict-count")
    notebook.tab_to("INPUT")
    notebook.type("320")
    notebook.press("Enter")
    notebook.wait_for("predict-count", "Each of the 5 outputs has a bias, too.")
    notebook.press("Control+A")
    notebook.type("325")
    notebook.press("Tab")
    notebook.press("Enter")
    notebook.wait_for("predict-count", "✔ Correct")

    notebook.go_to("cards")
    notebook.tab_to("TEXTAREA")
    notebook.type("The weights of a frozen layer stay the same. The gradient passes through.")
    notebook.tab_to("Compare")
    notebook.press("Enter")
    notebook.wait_for("cards", "A model answer.")
    notebook.tab_to("☐")
    notebook.press("Space")
    notebook.wait_for("cards", "☑")
    notebook.tab_to("Record")
    notebook.press("Enter")
    notebook.wait_for("cards", "You said 1 of ")

    notebook.go_to("ex2")
    for code, told in (("(0, 1)", "✘"), ("(0, 1, 2)", "✔")):
        notebook.press("Enter")
        notebook.press("Control+A")
        notebook.type(f'answer = {code}\ncheck("01/ex2", answer)')
        notebook.press("Shift+Enter")
        notebook.wait_for("ex2", told)
        notebook.go_to("ex2")
    assert notebook.outside == notebook.errors == notebook.dialogs() == []
    notebook.page.close()


def test_make_lab_opens_the_first_notebook_among_copies_that_are_the_learners(browser, tmp_path):
    first, second = "01_freeze_basics.ipynb", "02_recompile_pitfall.ipynb"
    for start in (1, 2):
        with lab(tmp_path) as server:
            notebook = Notebook(browser, server)
            assert notebook.page.url.split("?")[0].endswith(f"/lab/tree/{first}")
            title = notebook.page.locator(".jp-Notebook h1").first.inner_text()
            assert title.startswith("Freeze a layer" if start == 1 else "Mine")
            notebook.page.screenshot(path=SCREENSHOTS / f"make_lab_{start}.png")
            assert notebook.outside == notebook.errors == []
            notebook.page.close()
        told = (tmp_path / "lab.log").read_text()
        assert ("`make fresh NOTEBOOK=02`" in told) == (start == 2) and "NOTEBOOK=01" not in told
        for folder, name in (("learn", first), ("notebooks", second)):
            path = tmp_path / "course" / folder / name
            path.write_text(re.sub(r'"# [^"\\]*', '"# Mine', path.read_text(), count=1))


WAITING = """() => [...document.querySelectorAll('.study-row, .study-button')]
    .filter(one => ['::before', '::after'].some(mark => getComputedStyle(one, mark).transform.startsWith('matrix(1')))
    .map(one => one.textContent.slice(0, 2))"""


def test_quizzes_while_the_kernel_is_busy_and_when_it_is_gone(server, browser):
    notebook = Notebook(browser, server, "01_freeze_basics")
    page = notebook.page
    assert notebook.run_all() == []

    def busy():
        page.evaluate(f"() => {{ {KERNEL}.requestExecute({{code: 'import time; time.sleep(2)'}}) }}")

    busy()
    page.locator(".study-row", has_text=re.compile(r"^a\)")).first.click(delay=80)
    page.wait_for_timeout(200)
    assert page.evaluate(WAITING) == ["a)"]  # it waits, and says so
    page.locator(".study-row", has_text=re.compile(r"^[✔✘] a\)")).first.wait_for()
    assert page.evaluate(WAITING) == []

    # the browser holds the second text back until the kernel has taken the first one, and lets the press overtake it
    notebook.go_to("predict-count")
    notebook.tab_to("INPUT")
    busy()
    for keys in ("3", "Tab", "Shift+Tab", "End", "2", "5", "Tab", "Enter"):
        notebook.press(keys)
    notebook.wait_for("predict-count", "✔ Correct")

    page.evaluate(f"() => {KERNEL}.restart()")
    page.get_by_role("button", name="Hint").first.wait_for(state="hidden")
    assert page.locator(".study-box :is(button, input, textarea):visible").count() == 0
    notebook.page.close()
