"""A real JupyterLab with a copy of the course in it, used in Chromium: what the tests in test_browser*.py share.

Debian: `apt-get install chromium fonts-dejavu-core`. Screenshots go to build/browser/, for people to look at.
"""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import sync_playwright

COURSE = Path(__file__).parent.parent
SCREENSHOTS = COURSE / "build" / "browser"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
READY = """() => {
    const session = window.jupyterapp?.shell.currentWidget?.sessionContext?.session;
    return session?.kernel?.connectionStatus === 'connected' && session.kernel.status === 'idle';
}"""
ERRORS = """() => [...window.jupyterapp.shell.currentWidget.content.model.cells]
    .filter(cell => cell.type === 'code')
    .flatMap(cell => cell.outputs.toJSON()
        .filter(output => output.output_type === 'error')
        .map(output => `${cell.id}: ${output.ename}: ${output.evalue}`))"""
ACTIVE_CELL = "() => window.jupyterapp.shell.currentWidget.content.activeCell.model.id"
FOCUSED = "() => (document.activeElement.textContent || document.activeElement.tagName).trim()"


@contextmanager
def lab(folder, **environment):
    """`make lab` on a copy of the course in `folder`, made when it is not there. Gives (its address, its token)."""
    course = folder / "course"
    for part in ("utils", "study", "data", "notebooks", "tools", "Makefile"):
        if not (course / part).exists():
            copy = shutil.copy if (COURSE / part).is_file() else shutil.copytree
            copy(COURSE / part, course / part)
    # Cells outside the window would not be in the page: the tests look at all of them.
    tracker = folder / "settings" / "@jupyterlab" / "notebook-extension" / "tracker.jupyterlab-settings"
    tracker.parent.mkdir(parents=True, exist_ok=True)
    tracker.write_text(json.dumps({"windowingMode": "none"}))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(8)
    options = f"--no-browser --ip=127.0.0.1 --port={port} --expose-app-in-browser --IdentityProvider.token={token}"
    command = ["make", "--old-file=.venv/made", f'VENV_PYTHON="{sys.executable}"', "lab", f"LAB_ARGS={options}"]
    own = ("JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR")  # nothing of the user's
    left_out = ("PYTEST_CURRENT_TEST", "MAKEFLAGS", "MAKELEVEL", "MFLAGS")
    environment = {name: value for name, value in os.environ.items() if name not in left_out} | environment
    environment |= {name: str(folder / name.lower()) for name in own} | {
        "JUPYTERLAB_SETTINGS_DIR": f"{folder}/settings"
    }
    environment.pop("FREEZING_PROGRESS", None)  # conftest.py turns progress off: here it is the learner's
    with open(folder / "lab.log", "w") as log:
        server = subprocess.Popen(
            command, cwd=course, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(120):
            try:
                urllib.request.urlopen(f"{address}/api/status?token={token}")
                break
            except OSError:
                time.sleep(0.5)
        yield address, token
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(20)


@contextmanager
def chromium():
    """A browser without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


class Notebook:
    """A notebook that is open in JupyterLab; `outside` and `errors` collect what should not happen."""

    def __init__(self, browser, server, name="", dark=False):
        self.page = browser.new_page(viewport={"width": 1280, "height": 1600})
        self.outside, self.errors = [], []
        self.page.on("request", lambda request: self.note(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        address, token = server
        where = f"lab/workspaces/auto-x/tree/{name}.ipynb" if name else ""  # or where the server sends everybody
        self.page.goto(f"{address}/{where}?token={token}&reset")
        self.page.wait_for_function(READY, timeout=60_000)
        self.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.ready")
        self.command("application:toggle-left-area")  # the list of files
        if dark:
            self.command("apputils:change-theme", theme="JupyterLab Dark")

    def note(self, url):
        """Remember a request to another host."""
        if url.startswith("http") and "//127.0.0.1" not in url:
            self.outside.append(url)

    def command(self, name, **arguments):
        """One of JupyterLab's own commands; returns when it is done."""
        run = "([name, arguments]) => window.jupyterapp.commands.execute(name, arguments)"
        self.page.evaluate(run, [name, arguments])

    def run_all(self):
        """Run all cells. Returns what went wrong: the cell's id and the error."""
        self.command("notebook:run-all-cells")
        self.page.wait_for_timeout(2000)  # the last outputs are drawn after the last cell is done
        return self.page.evaluate(ERRORS)

    def dialogs(self):
        """The texts of what asks the user something."""
        return self.page.locator(".jp-Dialog").all_inner_texts()

    def screenshots(self, name, width, height=4000):
        """Pictures of the whole notebook, one after the other, so wide (pixels): build/browser/name_width_n.png."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.set_viewport_size({"width": width, "height": height})
        inner = self.page.locator(".jp-WindowedPanel-outer")
        total = inner.evaluate("panel => panel.scrollHeight")
        for number, top in enumerate(range(0, total, height - 100)):
            inner.evaluate("(panel, top) => panel.scrollTo(0, top)", top)
            self.page.wait_for_timeout(400)
            self.page.screenshot(path=SCREENSHOTS / f"{name}_{width}_{number}.png")

    def cut_texts(self):
        """The texts of buttons and options that are wider or higher than their place."""
        return self.page.evaluate("""() => [...document.querySelectorAll('.study-option, .study-button')]
            .filter(one => one.scrollWidth > one.clientWidth + 1 || one.scrollHeight > one.clientHeight + 1)
            .map(one => one.textContent)""")

    def press(self, key):
        """One key; "Shift+Enter" and the like."""
        self.page.keyboard.press(key)

    def type(self, text):
        """Text, key by key."""
        self.page.keyboard.type(text)

    def go_to(self, cell):
        """Arrow keys, from the first cell to the one of that id."""
        self.press("Escape")
        self.page.evaluate("() => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = 0; }")
        self.page.evaluate("() => window.jupyterapp.shell.currentWidget.content.activeCell.node.focus()")
        for _ in range(100):
            if self.page.evaluate(ACTIVE_CELL) == cell:
                return
            self.press("ArrowDown")
        raise AssertionError(f"the arrow keys do not reach the cell {cell}")

    def tab_to(self, text):
        """Tab until what has the focus begins with `text`."""
        for _ in range(60):
            if self.page.evaluate(FOCUSED).startswith(text):
                return
            self.press("Tab")
        raise AssertionError(f"Tab does not reach {text!r}, but {self.page.evaluate(FOCUSED)!r}")

    def wait_for(self, cell, text):
        """Wait until the outputs of the cell of that id show a text."""
        self.page.wait_for_function(
            """([id, text]) => {
                const notebook = window.jupyterapp.shell.currentWidget.content;
                const cell = notebook.widgets.find(one => one.model.id === id);
                return cell.outputArea.node.innerText.includes(text);
            }""",
            arg=[cell, text],
            timeout=20_000,
        )
