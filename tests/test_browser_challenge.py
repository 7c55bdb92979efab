"""The challenge in a real JupyterLab, by keyboard alone: once lost, by two misses and by time, and once won."""

import re
import shutil

import pytest

pytest.importorskip("playwright", reason="there is no playwright: pip install -r requirements.txt")

from axe_playwright_python.sync_playwright import Axe
from browser import FOCUSED, SCREENSHOTS, Notebook, lab

from study import questions
from study.challenge import draw, pool

pytestmark = pytest.mark.slow
CELL = "play"
SECONDS = 15
PLAYED = """id => window.jupyterapp.shell.currentWidget.content.widgets
    .find(one => one.model.id === id).outputArea.node.innerText"""


class Game:
    """Notebook 09, open and run; its challenge is played with keys only."""

    def __init__(self, browser, server):
        self.notebook = Notebook(browser, server, "09_freezing_master")
        self.page = self.notebook.page
        self.page.set_default_timeout(120_000)
        assert self.notebook.run_all() == []
        self.notebook.go_to(CELL)
        self.notebook.tab_to("Start")

    def text(self):
        return self.page.evaluate(PLAYED, CELL)

    def wait_for(self, text, seconds=120):
        look = f"([id, text]) => ({PLAYED})(id).includes(text)"
        self.page.wait_for_function(look, arg=[CELL, text], timeout=1000 * seconds)

    def back_to(self, text):
        """Shift+Tab until what has the focus begins with `text`."""
        for _ in range(30):
            if self.page.evaluate(FOCUSED).startswith(text):
                return
            self.notebook.press("Shift+Tab")
        raise AssertionError(f"Shift+Tab does not reach {text!r}, but {self.page.evaluate(FOCUSED)!r}")

    def next(self, number):
        self.back_to("Next problem")
        self.notebook.press("Enter")
        self.wait_for(f"Problem {number} of 5")

    def choose(self, key):
        self.notebook.tab_to(f"{key}) ")
        self.notebook.press("Enter")

    def write(self, text):
        self.notebook.tab_to("TEXTAREA")
        self.notebook.press("Control+A")
        self.notebook.type(text)
        self.notebook.press("Tab")
        self.notebook.press("Enter")

    def solve(self, question):
        """The right answer to the problem that is asked, whatever it is."""
        if question["kind"] == "repair":
            return self.write(question["right"][0])
        if "options" not in question:
            return self.write(str(question["answer"]))
        keys = [key for key, option in question["options"].items() if option.get("right")]
        if question["kind"] != "multiple":
            return self.choose(keys[0])
        for key in keys:
            self.notebook.tab_to(f"☐ {key}) ")
            self.notebook.press("Space")
        self.notebook.tab_to("Check")
        self.notebook.press("Enter")

    def screenshot(self, name):
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.locator(".jp-Cell.jp-mod-active [role=status]").scroll_into_view_if_needed()
        self.page.wait_for_timeout(500)
        self.page.screenshot(path=SCREENSHOTS / f"challenge_{name}.png")

    def is_well(self):
        found = Axe().run(self.page, context=".jp-Cell.jp-mod-active .jp-OutputArea-output").response["violations"]
        assert [f"{one['id']}: {node['html'][:200]}" for one in found for node in one["nodes"]] == []
        assert self.notebook.cut_texts() == []
        assert self.notebook.outside == [] and self.notebook.errors == []


def problems(number):
    return [questions.find(id) for id in draw(number, pool())]


def test_lost_by_two_misses_and_by_time(browser, tmp_path):
    first, second, *_ = problems(1)
    with lab(tmp_path, FREEZING_SECONDS=str(SECONDS)) as server:
        game = Game(browser, server)
        game.notebook.press("Enter")
        game.wait_for("Problem 1 of 5")
        game.is_well()
        for wrong in [key for key, option in first["options"].items() if not option.get("right")][:2]:
            assert game.page.evaluate(FOCUSED)  # the focus has not been lost
            game.choose(wrong)
            game.wait_for(first["options"][wrong]["feedback"].replace("`", ""))
            if "last attempt" in game.text():
                assert first["hint"].replace("`", "") in game.text()
                assert first["explanation"].replace("`", "") not in game.text()
                game.screenshot("missed_once")
                game.back_to("Go on below")
        game.wait_for("not solved")
        assert first["explanation"].replace("`", "") in game.text() and "The answer: " in game.text()
        game.screenshot("missed_twice")

        game.next(2)
        game.page.wait_for_timeout(3000)
        left = int(re.search(r"0:(\d\d) left of 0:15", game.text()).group(1))
        assert left <= SECONDS - 2  # counted down without a key
        game.notebook.go_to(CELL)
        game.notebook.press("Control+Enter")  # the cell once more: no time is given back
        game.wait_for("Problem 2 of 5")
        assert int(re.search(r"0:(\d\d) left of 0:15", game.text()).group(1)) <= left
        game.wait_for("Time is over", SECONDS + 10)
        assert second["explanation"].replace("`", "") in game.text()
        game.screenshot("time_over")
        game.is_well()
        game.notebook.tab_to("Next problem")
        game.notebook.press("Tab")
        game.notebook.press("Enter")
        game.wait_for("The round is ended.")
        assert "badge" not in game.text()
        game.page.close()


def test_won_and_the_badge_seen(browser, tmp_path):
    with lab(tmp_path) as server:
        game = Game(browser, server)
        game.notebook.press("Enter")
        for number, question in enumerate(problems(1), 1):
            if number > 1:
                game.next(number)
            else:
                game.wait_for("Problem 1 of 5")
            game.solve(question)
            game.wait_for("✔ Correct.")
            if question["kind"] == "repair":
                game.screenshot("repaired")
        game.wait_for("you are a Freezing Master")
        game.notebook.tab_to("TEXTAREA")
        game.notebook.type("Ada <b>Lovelace</b> 🙂")
        game.notebook.press("Tab")
        game.notebook.press("Enter")
        badge = game.page.locator("img[alt^='Freezing Master']")
        badge.wait_for()
        assert "Freezing Master: Ada <b>Lovelace</b> 🙂, 20" in badge.get_attribute("alt")
        assert badge.evaluate("img => img.complete && img.naturalWidth") == 720
        badge.scroll_into_view_if_needed()
        game.screenshot("badge")
        badge.screenshot(path=SCREENSHOTS / "challenge_badge_only.png")
        game.is_well()
        game.notebook.press("Tab")
        game.notebook.press("Enter")
        game.wait_for("Saved as ")
        saved = tmp_path / "course" / "learn" / "freezing_master.svg"
        game.page.goto(saved.as_uri())
        assert game.page.locator("text=Freezing Master").count() >= 1
        shutil.copy(saved, SCREENSHOTS / "freezing_master.svg")
        game.page.screenshot(path=SCREENSHOTS / "challenge_badge_file.png")
        game.page.close()
