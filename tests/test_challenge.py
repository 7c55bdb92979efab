"""The challenge: its pool, clock and attempts, the view, the sandbox and the badge."""

import asyncio
import contextlib
import importlib
import io
import itertools
import json
import os
import re
import time
import xml.etree.ElementTree as xml

import pytest

import study
from study import badge, challenge_view, questions, sandbox, views
from study.progress import Progress

challenge = importlib.import_module("study.challenge")  # `study.challenge` is the learner's call
POOL = [question for group in challenge.pool().values() for question in group]
REPAIRS = [question for question in POOL if question["kind"] == "repair"]


class Clock:
    """Seconds that pass when told to."""

    now = 1_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def quick(monkeypatch):
    """Repairs are judged by comparison: the sandbox has tests of its own."""

    def judge(question, code):
        if code in ("loop", "syntax", "no process"):
            return sandbox.Outcome("time" if code == "loop" else code, text="told")
        return sandbox.Outcome("done", None if code in question["right"] else next(iter(question["mistakes"])))

    monkeypatch.setattr(challenge, "run_repair", judge)


def kernel(clock):
    """What a learner has after a restart: nothing but the file."""
    return challenge.Challenge(Progress(), clock)


def asked(game):
    return game.question(game.look()[1])


def solve(game, right=True):
    """Answer the problem that is asked. Returns the lines."""
    question = asked(game)
    if question["kind"] == "repair":
        return game.repair(question["right"][0] if right else question["wrong"][0]["code"])
    if "options" in question:
        keys = [key for key, option in question["options"].items() if bool(option.get("right")) is right]
        return game.answer(*(keys if question["kind"] == "multiple" else keys[:1]))
    return game.answer(question["answer"] if right else 10**6)


# --- the pool


@pytest.mark.parametrize("framework", [None, *questions.FRAMEWORKS])
def test_the_pool_has_five_kinds_for_each_edition(framework, monkeypatch):
    monkeypatch.setenv("FREEZING_FRAMEWORK", framework or "")
    groups = challenge.pool()
    assert list(groups) == list(questions.PROBLEMS)
    assert len(challenge.draw(1, groups)) == len(challenge.practice_ids(groups)) == 5
    found = {challenge.framework_of(question) for group in groups.values() for question in group}
    assert found == ({framework, None} if framework else {"keras", "torch", None})
    monkeypatch.setattr(challenge.importlib.util, "find_spec", lambda name: name != "torch")  # what is not installed
    assert {challenge.framework_of(q) for group in challenge.pool().values() for q in group} <= {"keras", None}


def test_a_second_try_has_other_problems_and_the_same_number_the_same():
    groups = challenge.pool()
    draws = [challenge.draw(number, groups) for number in range(1, 10)]
    assert challenge.draw(3, groups) == draws[2]
    for one, other in itertools.pairwise(draws):
        assert not set(one) & {*other, *challenge.practice_ids(groups)}
    assert len(set(sum(draws, []))) == len(POOL) - 5  # all of them have their turn


def test_no_hint_gives_the_answer_away():
    for question in POOL:
        for line in challenge.answer_lines(question):
            if line != "The answer:":
                assert line.removeprefix("The answer: ").strip() not in question["hint"], question["id"]


@pytest.mark.parametrize("question", [q for q in POOL if q["problem"] == "output"], ids=lambda question: question["id"])
def test_the_code_prints_the_answer(question):
    pytest.importorskip("utils.keras_lab")
    import keras
    import torch

    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(question["code"], {"keras": keras, "torch": torch, "nn": torch.nn})
    if "options" in question:
        right = next(option["text"] for option in question["options"].values() if option.get("right"))
        assert printed.getvalue().strip() == right.strip("`")
    else:
        assert questions.matches(question, float(printed.getvalue()))


@pytest.mark.parametrize("question", REPAIRS, ids=lambda question: question["id"])
def test_stored_repairs_are_judged_as_they_say(question, monkeypatch):
    keras = pytest.importorskip("utils.keras_lab").keras
    build = keras.Model.compile  # a program of its own for each small network takes most of the time
    monkeypatch.setattr(keras.Model, "compile", lambda *a, **k: build(*a, **{"jit_compile": False} | k))
    assert challenge.framework_of(question)  # what is imported beforehand
    for code in question["right"]:
        assert sandbox.judge(code, question["check"]) == sandbox.Outcome("done")
    assert sandbox.judge(question["code"], question["check"]).mistake
    for sample in question["wrong"]:
        assert sandbox.judge(sample["code"], question["check"]).mistake == sample["mistake"]


@pytest.mark.slow
@pytest.mark.parametrize("question", REPAIRS, ids=lambda question: question["id"])
def test_repairs_run_in_the_sandbox(question):
    assert challenge.run_repair(question, question["right"][0]) == sandbox.Outcome("done")
    assert challenge.run_repair(question, question["code"]).mistake in question["mistakes"]


def wrong_answers(question):
    """Plausible wrong answers to a problem: (what is handed in, a part of the feedback that is its own)."""
    options = question.get("options", {})
    if question["kind"] == "repair":
        return [((one["code"],), question["mistakes"][one["mistake"]]) for one in question["wrong"]]
    if question["kind"] == "multiple":
        right = [key for key, option in options.items() if option.get("right")]
        return [(right[:1], "1 is missing")] + [
            ((*right, key), f"{key}) not right: {option['feedback']}")
            for key, option in options.items()
            if key not in right
        ]
    if options:
        return [((key,), option["feedback"]) for key, option in options.items() if not option.get("right")]
    return [((one["value"],), one["feedback"]) for one in question["mistakes"]] + [((10**6,), question["otherwise"])]


@pytest.mark.parametrize("question", POOL, ids=lambda question: question["id"])
def test_right_answers_win_and_four_plausible_wrong_ones_lose_with_feedback_of_their_own(question, monkeypatch):
    judged = {one["code"]: one["mistake"] for one in question.get("wrong", ())}  # as the tests of stored repairs find
    monkeypatch.setattr(challenge, "run_repair", lambda _, code: sandbox.Outcome("done", judged.get(code)))
    told = []

    def play(values):
        game = challenge.Round([question["id"]], lambda *_: [])
        game.start()
        lines = (game.repair if question["kind"] == "repair" else game.answer)(*values)
        told.append("\n".join(lines))
        return game.look()[1]["problems"][0]["right"]

    for values, feedback in wrong_answers(question):
        assert play(values) is None and "✘ Not yet." in told[-1] and feedback in told[-1]
        assert f"Hint: {question['hint']}" in told[-1] and question["explanation"] not in told[-1]
    assert len(told) >= 4 and (question["kind"] == "repair" or len({*told}) == len(told))
    right = [key for key, option in question.get("options", {}).items() if option.get("right")]
    assert play(right or question.get("right", [question.get("answer")])[:1]) is True
    assert told[-1].startswith("✔ Correct.")


# --- clock and attempts


def test_won(file, clock, quick):
    game = kernel(clock)
    game.start()
    for number in range(5):
        clock.now += 10
        lines = solve(game)
        assert lines[0].startswith("✔ Correct.")
        clock.now += 1000  # to read an explanation takes no time off
        if number < 4:
            with pytest.raises(study.StudyError, match="badge is for all five"):
                game.award("Ada")
            game.next()
    assert "you are a Freezing Master" in lines[-2] and game.award("Ada")["seconds"] == 50
    assert kernel(clock).award()["name"] == "Ada"
    kernel(clock).start()  # a badge that was won is not lost
    assert kernel(clock).award()["number"] == 1 and kernel(clock).look()[1]["number"] == 2


def test_lost_by_two_misses_and_by_time(file, clock, quick):
    game = kernel(clock)
    game.start()
    question, first = asked(game), solve(game, right=False)
    assert first[0].startswith("✘ Not yet.") and any(line.startswith("Hint: ") for line in first)
    assert question["explanation"] not in first and not any(line.startswith("The answer") for line in first)
    second = solve(game, right=False)
    assert second[-1] == question["explanation"] and any(line.startswith("The answer") for line in second)
    with pytest.raises(study.StudyError, match="That problem is over: go on with challenge"):
        solve(game)
    game.next()
    question = asked(game)
    clock.now += question["seconds"] + 1
    late = game.answer("b")
    assert late[0].startswith("✘ Time is over") and late[-1] == question["explanation"]
    for _ in range(3):
        game.next()
        lines = solve(game)
    assert lines[-1].startswith("3 of 5 right.")
    with pytest.raises(study.StudyError, match="badge is for all five"):
        game.award("Ada")


def test_the_clock_runs_on_when_the_cell_is_run_again_or_the_kernel_restarted(file, clock, quick):
    game = kernel(clock)
    game.start()
    limit = game.limit(asked(game))
    clock.now += 30
    assert kernel(clock).left() == limit - 30
    with pytest.raises(study.StudyError, match="under way"):
        kernel(clock).start()
    solve(kernel(clock), right=False)  # an attempt is kept, too
    assert "last attempt" in kernel(clock).heading(kernel(clock).look()[1])
    clock.now += limit
    stage, state, lines = kernel(clock).look()
    assert stage == "told" and lines[0].startswith("✘ Time") and state["problems"][0]["right"] is False
    assert kernel(clock).look()[2] == []  # told once


def test_repair_takes_no_time_off_the_clock_and_what_was_not_run_no_attempt(file, clock, quick, monkeypatch):
    game, judge = kernel(clock), challenge.run_repair

    def slowly(question, code):
        clock.now += 60
        return judge(question, code)

    monkeypatch.setattr(challenge, "run_repair", slowly)
    game.start()
    for odd in ((), ("z",), (None,)):
        game.answer(*odd)
    assert game.look()[1]["problems"][0]["attempts"] == 0
    for _ in range(3):
        solve(game)
        game.next()
    question = asked(game)
    clock.now += 20
    for refused in (question["code"] + "\n\n", "syntax", "no process"):
        game.repair(refused)
    with pytest.raises(study.StudyError, match="must be a text"):
        game.repair(5)
    assert game.look()[1]["problems"][-1]["attempts"] == 0
    assert game.repair("loop")[0] == "✘ Not yet. told" and game.left() == question["seconds"] - 20
    clock.now += question["seconds"] - 21
    assert game.repair(question["right"][0])[0] == "✔ Correct."  # handed in within the limit
    assert game.look()[1]["problems"][-1]["seconds"] == question["seconds"] - 1


def test_giving_up_and_a_second_try(clock, quick):
    game = kernel(clock)  # no file: the try lives in the kernel
    with pytest.raises(study.StudyError, match="No round"):
        game.give_up()
    game.start()
    first = game.look()[1]["ids"]
    game.give_up()
    assert game.look()[0] == "over" and game.left() is None
    game.start()
    assert game.look()[1]["number"] == 2 and not set(game.look()[1]["ids"]) & set(first)


def test_seconds_of_the_environment_shorten_and_never_lengthen(monkeypatch, clock):
    game, question = kernel(clock), POOL[0]
    for text, limit in (("5", 5), ("9999", question["seconds"]), ("x", question["seconds"]), ("", question["seconds"])):
        monkeypatch.setenv("FREEZING_SECONDS", text)
        assert game.limit(question) == limit


DAMAGE = {
    "a question is gone": lambda state: state["ids"].insert(0, "09/gone"),
    "ids": lambda state: state.update(ids=5),
    "a time": lambda state: state["problems"][0].update(started="now"),
    "a badge": lambda state: state.update(won={"number": 1}),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_try_that_cannot_be_gone_on_with_is_told_and_another_begins(file, clock, quick, damage):
    kernel(clock).start()
    line = json.loads(file.read_text(encoding="utf-8").splitlines()[-1])
    damage(line["challenge"])
    with file.open("a", encoding="utf-8") as old:
        old.write(json.dumps(line) + "\n")
    stage, _, lines = kernel(clock).look()
    assert stage == "idle" and lines == [challenge.CHANGED]
    kernel(clock).start()
    assert kernel(clock).look()[0] == "asking"


# --- what the learner calls


@pytest.fixture
def play(file, quick, capsys):
    """Calls a function and returns the lines it printed."""

    def call(function, *values):
        function(*values)
        return capsys.readouterr().out.splitlines()

    return call


def test_played_by_code(play, file, monkeypatch):
    monkeypatch.setattr("study.kept._START", file.parent)
    assert play(study.challenge().answer, "a") == ["No problem is asked now: begin with challenge().start()."]
    lines = play(study.challenge().start)
    assert lines[0].startswith("Problem 1 of 5: predict the output · ") and "Write challenge().answer(" in lines[-1]
    game = study._rounds["challenge"]
    assert play(study.challenge().repair, "x")[0].startswith("This problem takes an answer")
    for _ in range(4):
        solve(game)
        play(study.challenge().next)
    assert "Write challenge().answer(" in play(study.challenge().status)[-1]
    assert play(study.challenge().badge, "Ada")[0].startswith("The badge is for all five")
    solve(game)
    assert play(study.challenge().badge)[0].startswith("The badge needs your name")
    assert play(study.challenge().badge, 5)[0].startswith("The name must be a text")
    assert "Freezing Master: Ada," in play(study.challenge().badge, "Ada")[0]
    assert "freezing_master.svg" in play(study.challenge().save_badge)[0]
    assert "freezing_master-2.svg" in play(study.challenge().save_badge, "<Ada>")[0]
    assert "<text" in (file.parent / "freezing_master.svg").read_text(encoding="utf-8")


def test_practice_has_no_clock_and_no_badge(play):
    lines = play(study.practice().start)
    assert "left of" not in lines[0] and "2 attempts" in lines[0]
    game = study._rounds[tuple(challenge.practice_ids(challenge.pool()))]
    game._clock = lambda: time.time() + 10**6
    assert solve(game)[0].startswith("✔")
    assert "practice().next()" in play(study.practice().status)[-1]
    assert play(study.practice().badge, "Ada") == ["Practice has no badge: it is for the challenge."]
    assert re.match(r"Problem 1 of \d+: repair", play(study.practice("debug").start)[0])


def test_whatever_is_called_in_whatever_order_gets_a_sentence(play, clock):
    calls = ("answer", "repair", "start", "next", "give_up", "status", "badge", "save_badge")
    for value in ("", "a", None, 5, ["a"], object(), "\ud800", "<script>"):
        for name, game in itertools.product(calls, (study.challenge(), study.practice())):
            lines = play(getattr(game, name), *([value] if name in ("answer", "repair", "badge") else []))
            assert lines and "0x" not in " ".join(lines), (name, value)


# --- the sandbox


@pytest.mark.parametrize(
    ("code", "kind", "told"),
    [
        ("x = 1", "done", ""),
        ("def f(:", "syntax", "Line 1 is not Python"),
        ("x = '\ud800'", "syntax", "is not Python"),
        ("while True: pass", "time", "ran longer than 1 seconds and was stopped"),
        ("while True:\n    try:\n        10**10**9\n    except BaseException:\n        pass", "time", "endless loop"),
        ("import os\nos._exit(0)", "exited", "ended the Python process"),
        ("import sys\nsys.exit()", "exited", "ended the Python process"),
        ("import ctypes\nctypes.string_at(0)", "crashed", "crashed the Python process"),
        ("\nraise ValueError('no\\nnumber')", "raised", "in line 2 of your code, ValueError was raised: no number."),
        ("def f(): f()\nf()", "raised", "RecursionError"),
        ("import atexit, time\natexit.register(time.sleep, 60)", "done", ""),
    ],
)
def test_an_outcome_of_each_kind_is_one_sentence(code, kind, told):
    start = time.monotonic()
    outcome = sandbox.run(code, seconds=1 if kind == "time" else 20)
    assert (outcome.kind, outcome.mistake) == (kind, None)
    assert told in outcome.text and "\n" not in outcome.text and bool(outcome.text) == (kind != "done")
    assert outcome.counts == (kind != "syntax") and time.monotonic() - start < 7


def test_the_check_names_the_first_expectation_that_fails():
    check = "expect(x == 1, 'one')\nexpect(x == 2, 'two')"
    assert sandbox.judge("x = 1", check).mistake == "two" and sandbox.judge("x = 2", check).mistake == "one"
    caught = "class X:\n    def __eq__(self, other):\n        try: expect(0, 'one')\n        except Exception: return 1"
    assert sandbox.judge(f"{caught}\nx = X()", check).mistake == "one"
    assert sandbox.judge("", check).text.startswith("Your code was run, and in the check of your code, NameError")


def test_what_cannot_be_started_costs_no_attempt(monkeypatch):
    outcomes = [sandbox.run("x = 1", imports=["no_such_module"])]
    monkeypatch.setattr("sys.executable", "/no/such/python")
    for outcome in [*outcomes, sandbox.run("x = 1")]:
        assert outcome.kind == "no process" and not outcome.counts and "was not run" in outcome.text


def test_the_code_leaves_no_file_and_not_the_learners_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = sandbox.run("open('left', 'w').write('x')\nimport os", "expect(os.getcwd() == '/', os.getcwd())")
    assert not os.path.exists(outcome.mistake) and list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- the badge

AWARD = {"date": "2026-11-22T21:00:00+00:00", "seconds": 254.5, "number": 2}
NAMES = {
    "Ada Lovelace": "Ada Lovelace",
    "]]><svg onload=x> & \"co\" 'x'": "]]><svg onload=x> & \"co\" 'x'",
    " a\n\tb\r\u2028 c\x00\x1b[31m ": "a b c[31m",
    "\u202eevil\u2066 turn\u200f": "evil turn",
    "عائشة بنت أحمد": "عائشة بنت أحمد",
    "李小龍 🙂👩‍👩‍👧": "李小龍 🙂👩‍👩‍👧",
    "\ud800x\ufffe\uffff": "x",
    "x" * 500: "x" * 59 + "…",
    "e" + "\u0301" * 400 + "x": "e" + "\u0301" * 4 + "x",
}


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_a_badge_bears_any_name_as_text(name):
    text = badge.svg(name, **AWARD)
    root = xml.fromstring(text)  # well-formed, so no part of the name became markup
    tags = {element.tag.split("}")[1] for element in root.iter()}
    assert tags <= {"svg", "title", "defs", "pattern", "rect", "line", "g", "text"}
    shown = [element.text for element in root.iter() if element.tag.endswith("}text")]
    assert {"Freezing Master", NAMES[name], "22 November 2026"} <= set(shown) and any("4:15" in line for line in shown)
    outside = text.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert "http" not in outside and "href" not in outside
    page = challenge_view.badge_bundle(text, badge.label(name, **AWARD))["text/html"]
    assert re.fullmatch(r'<img alt="[^"<>]*" width="720" height="400" src="data:image/svg\+xml;base64,[\w+/=]+">', page)


@pytest.mark.parametrize("name", ["", "\u202e\n", "...", None, 5])
def test_a_badge_needs_a_name(name):
    with pytest.raises(study.StudyError, match="name"):
        badge.clean_name(name)


def test_a_saved_badge_overwrites_nothing(tmp_path):
    (tmp_path / "freezing_master.svg").write_text("older")
    assert badge.save("new", tmp_path).name == "freezing_master-2.svg"
    assert (tmp_path / "freezing_master.svg").read_text() == "older"
    with pytest.raises(study.StudyError, match="cannot be saved"):
        badge.save("new", tmp_path / "nowhere")


# --- the view


@pytest.fixture
def view(file, clock, quick):
    pytest.importorskip("ipywidgets")
    game = kernel(clock)
    award = lambda name: (challenge_view.badge_bundle(badge.svg(**game.award(name)), "label"), [])  # noqa: E731
    rules = challenge_view.rules((90, 150))
    return challenge_view.RoundView(game, [challenge_view.CHALLENGE], award, lambda name: ["saved"], rules)


def shown(widget):
    return widget.layout.display != "none"


def choose(view, right=True):
    options = asked(view.round)["options"]
    for row, option in zip(view.options, options.values(), strict=False):
        if bool(option.get("right")) is right:
            row.children[0].click()
            if asked(view.round)["kind"] != "multiple":
                return


def test_the_view_plays_as_the_code_does(view, clock):
    assert view.go.description == "Start" and not shown(view.check) and not shown(view.name)
    view.go.click()
    assert "two attempts" in view.outer.children[0].value and shown(view.outer.children[0])  # the rules stay
    clock.now += 10
    view.refresh()
    assert f"{challenge.clock_text(asked(view.round)['seconds'] - 10)} left" in view.clock.value
    texts = {view.feedback.value}
    for _ in range(2):
        view.go.click()
        texts.add(view.feedback.value)
    assert len(texts) == 3  # the same text again differs, else a screen reader would stay silent
    assert "stands below" in view.feedback.value and view.round.look()[1]["problems"][0]["attempts"] == 0
    for number in range(5):
        question = asked(view.round)
        assert views.text_html(question["prompt"]) in view.task.value and not shown(view.name)
        assert shown(view.input) == ("options" not in question)
        if question["kind"] == "repair":
            assert view.input.value == question["code"] and view.check.description == "Run and check"
            view.input.value = question["right"][0]
        elif "options" not in question:
            view.input.value = str(question["answer"])
        else:
            if question["kind"] != "multiple":
                choose(view, right=False)
                assert "Hint: " in view.feedback.value
                assert sum("study-wrong" in row._dom_classes for row in view.options) == 1
            choose(view)
        if shown(view.check):
            view.check.click()
        assert "✔ Correct." in view.feedback.value, number
        if number < 4:
            view.go.click()
    assert "Freezing Master" in view.feedback.value and shown(view.name) and view.go.description == "Start"
    assert "Write your name below" in view.feedback.value and "challenge()" not in view.feedback.value
    view.show.click()
    assert "needs your name" in view.feedback.value
    view.name.value = "Ada <b>"
    view.show.click()
    assert view.picture.value.startswith("<img alt=")
    view.keep.click()
    assert "saved" in view.feedback.value


def test_a_press_that_overtakes_the_text_judges_the_new_text_and_costs_no_attempt(view, monkeypatch):
    question = REPAIRS[0]
    game = challenge.Round([question["id"]], lambda *_: [])
    view = challenge_view.RoundView(game, [])
    view.go.click()
    view.check.click()  # the text is still on its way
    assert game.look()[1]["problems"][0]["attempts"] == 0 and "✔" not in view.feedback.value
    view.input.value = question["wrong"][0]["code"]
    assert "Hint: " in view.feedback.value and game.look()[1]["problems"][0]["attempts"] == 1
    view.check.click()
    assert game.look()[1]["problems"][0]["attempts"] == 1
    monkeypatch.setattr(challenge_view, "_LATE", 0)
    view.input.value = "no process"  # long after the press: it waits for the next one
    assert "told" not in view.feedback.value
    view.check.click()
    view.check.click()  # what was not run may be handed in once more
    assert "told" in view.feedback.value


def test_the_view_ends_a_problem_by_time_and_a_round_by_giving_up(view, clock):
    view.go.click()
    clock.now += 1000
    assert view.round.look()[2]  # told to somebody else
    view.go.click()
    assert "✘ Time is over" in view.feedback.value and view.go.description == "Next problem"
    view.options[0].children[0].click()
    assert "go on with" in view.feedback.value and shown(view.end)
    view.end.click()
    assert not shown(view.end) and view.go.description == "Start" and view.round.look()[0] == "over"


def test_the_view_counts_down_until_the_problem_is_over(file, monkeypatch):
    pytest.importorskip("ipywidgets")
    monkeypatch.setattr(challenge_view, "_SECONDS", 0.01)
    monkeypatch.setenv("FREEZING_SECONDS", "1")

    async def play():
        view = challenge_view.RoundView(kernel(time.time), [])
        view.go.click()
        first = view.clock.value
        await asyncio.wait_for(view.counting, 10)
        return first, view

    first, view = asyncio.run(play())
    assert "0:01 left" in first and "left" not in view.clock.value and "✘ Time is over" in view.feedback.value


def test_several_options_are_chosen_before_they_are_checked():
    pytest.importorskip("ipywidgets")
    question = next(question for question in POOL if question["kind"] == "multiple")
    view = challenge_view.RoundView(challenge.Round([question["id"]], lambda *_: []), [])
    view.go.click()
    choose(view, right=False)
    choose(view, right=False)  # a second click takes it back
    choose(view)
    right = [bool(option.get("right")) for option in question["options"].values()]
    assert [row.children[0].description[0] == "☑" for row in view.options[: len(right)]] == right
    assert "✔" not in view.feedback.value
    view.check.click()
    assert "✔ Correct." in view.feedback.value


def test_a_view_shows_what_was_done_by_code_or_in_another_view(view, clock):
    other = challenge_view.RoundView(view.round, [])
    view.round.start()
    assert view.go.description == other.go.description == "Go on below" and other.task.value == view.task.value
    assert not shown(other.name)
    clock.now += 1000
    view.refresh()
    late = challenge_view.RoundView(view.round, [])  # the cell is run again
    for one in (view, other, late):
        one.refresh()
        explanation = views.text_html(asked(view.round)["explanation"])
        assert explanation in one.feedback.value and one.go.description == "Next problem"


def test_static_views_depend_on_no_draw_and_show_hint_and_explanation(play, monkeypatch):
    before = [study.challenge()._bundle, study.practice()._bundle]
    play(study.challenge().start)
    assert [study.challenge()._bundle, study.practice()._bundle] == before
    page = before[0]["text/html"] + before[1]["text/html"]
    assert not re.search(r"<\w+ (?!class=\"study-[a-z0-9-]+\")", page)  # no attribute: no address, no handler
    for id in challenge.practice_ids(challenge.pool()):
        assert views.text_html(questions.find(id)["explanation"]) in page
    made = []
    monkeypatch.setattr(views, "show", lambda bundle, widget: made.append((bundle, widget())))
    for game in (study.challenge(), study.practice()):
        game._ipython_display_()
        assert made[-1][0] == game._bundle and repr(game) == game._bundle["text/plain"] and made[-1][1].children
