"""The challenge: its pool, clock, attempts, sandbox, badge; and the mixed recall."""

import asyncio
import contextlib
import io
import itertools
import json
import os
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as xml

import pytest

import study
from study import badge, challenge_view, progress_file, questions, review, rounds, sandbox, views

POOL = [question for group in rounds.pool().values() for question in group]
REPAIRS = [question for question in POOL if question["kind"] == "repair"]


class Clock:
    """Seconds that pass when told to."""

    def __init__(self):
        self.now = 1_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def quick(monkeypatch):
    """Repairs are judged by comparison: the sandbox has tests of its own. Running one takes 5 s of the clock."""

    def judge(question, code):
        if "loop" in code:
            return sandbox.Outcome("time", text="stopped")
        if code == "syntax":
            return sandbox.Outcome("syntax", text="not Python")
        right = code in question["right"]
        return sandbox.Outcome("done", None if right else next(iter(question["mistakes"])))

    monkeypatch.setattr(rounds, "run_repair", judge)


def kernel(clock):
    """What a learner has after a restart: nothing but the file."""
    return rounds.Challenge(progress_file.Progress(), clock)


def solve(game, right=True):
    """Answer the problem that is asked. Returns the lines."""
    question = game.question(game.look()[1])
    if question["kind"] == "repair":
        return game.repair(question["right"][0] if right else question["wrong"][0]["code"])
    if "options" in question:
        keys = [key for key, option in question["options"].items() if bool(option.get("right")) is right]
        return game.answer(*(keys if question["kind"] == "multiple" else keys[:1]))
    return game.answer(question["answer"] if right else 10**6)


def win(game):
    lines = game.start() + solve(game)
    for _ in range(4):
        lines = game.next() + solve(game)
    return lines


# ---------------------------------------------------------------- the pool


def test_the_pool_has_five_kinds_and_both_frameworks():
    groups = rounds.pool()
    assert list(groups) == list(questions.PROBLEMS)
    for kind, group in groups.items():
        assert len([question for question in group if not question.get("practice")]) >= 4, kind
        assert len([question for question in group if question.get("practice")]) == 1, kind
    for kind in ("output", "debug"):
        assert {rounds.framework_of(question) for question in groups[kind]} == {"keras", "torch"}
    assert all(rounds.framework_of(question) for question in REPAIRS)  # what is imported beforehand


@pytest.mark.parametrize("framework", questions.FRAMEWORKS)
def test_each_framework_alone_has_problems_of_each_kind(framework, monkeypatch):
    monkeypatch.setenv("FREEZING_FRAMEWORK", framework)
    groups = rounds.pool()
    found = {rounds.framework_of(question) for group in groups.values() for question in group}
    assert found <= {framework, None} and len(rounds.draw(1, groups)) == len(rounds.practice_ids(groups)) == 5


def test_what_needs_a_library_that_is_missing_is_left_out(monkeypatch):
    monkeypatch.setitem(rounds._LIBRARY, "torch", "no_such_library")
    assert {rounds.framework_of(q) for group in rounds.pool().values() for q in group} == {"keras", None}


def test_a_second_try_has_other_problems_and_the_same_number_the_same():
    groups = rounds.pool()
    draws = [rounds.draw(number, groups) for number in range(1, 9)]
    assert rounds.draw(3, groups) == draws[2]
    practised = set(rounds.practice_ids(groups))
    for one, other in itertools.pairwise(draws):
        assert [questions.find(id)["problem"] for id in one] == list(questions.PROBLEMS)
        assert not set(one) & (set(other) | practised)
    assert len(set(sum(draws, []))) == len(POOL) - 5  # all of them have their turn


@pytest.mark.parametrize("question", POOL, ids=lambda question: question["id"])
def test_the_hint_gives_nothing_away_and_shows_before_the_answer(question):
    for line in rounds.answer_lines(question):
        if line != "The answer:":
            assert line.removeprefix("The answer: ").strip() not in question["hint"]


@pytest.mark.parametrize("question", [q for q in POOL if q["problem"] == "output"], ids=lambda question: question["id"])
def test_the_code_prints_the_answer(question):
    pytest.importorskip("utils.keras_lab")
    import keras
    import torch

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(question["code"], {"keras": keras, "torch": torch, "nn": torch.nn})
    if "options" in question:
        right = next(option["text"] for option in question["options"].values() if option.get("right"))
        assert printed.getvalue().strip() == right.strip("`")
    else:
        assert questions.matches(question, float(printed.getvalue()))


def repairs():
    for question in REPAIRS:
        yield pytest.param(question, question["code"], False, id=f"{question['id']}-broken")
        for number, code in enumerate(question["right"]):
            yield pytest.param(question, code, None, id=f"{question['id']}-right-{number}")
        for sample in question["wrong"]:
            yield pytest.param(question, sample["code"], sample["mistake"], id=f"{question['id']}-{sample['mistake']}")


@pytest.mark.parametrize(("question", "code", "mistake"), list(repairs()))
def test_stored_repairs_are_judged_as_they_say(question, code, mistake):
    pytest.importorskip("utils.keras_lab")
    found = sandbox._run({"code": code, "check": question["check"], "megabytes": 1})  # here, for speed
    assert found["kind"] == "done"
    if mistake is False:
        assert found["mistake"] is not None
    else:
        assert found["mistake"] == mistake


@pytest.mark.slow
@pytest.mark.parametrize("question", REPAIRS, ids=lambda question: question["id"])
def test_repairs_run_in_the_sandbox(question):
    assert rounds.run_repair(question, question["right"][0]) == sandbox.Outcome("done")
    assert rounds.run_repair(question, question["code"]).mistake in question["mistakes"]


README = (questions.FOLDER / "README.md").read_text(encoding="utf-8")
EXAMPLE = "title: Example\n" + re.search(r"```yaml\n(challenge:.*?)```", README, re.DOTALL).group(1)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("", "", None),
        ("    seconds: 90 ", "    seconds: 30 ", "seconds: must be a whole number from 90 to 150, not 30"),
        ("problem: output", "problem: outputs", "problem: must be one of output, model"),
        ("problem: debug", "problem: concept", "kind: must be repair for the problem debug, and for no other"),
        ("    hint: On", "    hints: On", "hint: is missing"),
        ("    answer: 2", "    answer: two", "answer: must be a number"),
        ("    kind: numeric ", "    kind: number ", "kind: must be one of single"),
        ("    check: |  ", "    checks: |  ", "check: is missing"),
        ("      freeze(layer)", "      freeze(layer", "check: is not Python"),
        ("mistake: nothing", "mistake: none", "wrong.1.mistake: must be one of nothing"),
        ("{nothing: The", "{other: It., nothing: The", "mistakes.other: no entry of `wrong` shows this mistake"),
    ],
)
def test_a_mistake_in_a_problem_is_named(tmp_path, old, new, told):
    path = tmp_path / "07_example.yaml"
    assert old in EXAMPLE
    path.write_text(EXAMPLE.replace(old, new, 1), encoding="utf-8")
    problems = questions.validate(path)
    assert any(told in problem for problem in problems) if told else problems == [], problems


# ---------------------------------------------------------------- clock and attempts


def test_won(file, clock, quick):
    game = kernel(clock)
    game.start()
    for number in range(5):
        clock.now += 10
        lines = solve(game)
        assert lines[0].startswith("✔ Correct.")
        clock.now += 1000  # to read an explanation takes no time off
        if number < 4:
            with pytest.raises(study.StudyError, match="only for|badge is for all five"):
                game.award("Ada")
            game.next()
    assert "you are a Freezing Master" in lines[-1]
    assert game.award("Ada")["seconds"] == 50
    assert kernel(clock).award() == json.loads(file.read_text())["challenge"]["won"]


def test_lost_by_two_misses_and_by_time(file, clock, quick):
    game = kernel(clock)
    game.start()
    first = solve(game, right=False)
    assert first[0].startswith("✘ Not yet.") and any(line.startswith("Hint: ") for line in first)
    question = game.question(game.look()[1])
    assert question["explanation"] not in first and not any(line.startswith("The answer") for line in first)
    second = solve(game, right=False)
    assert second[-1] == question["explanation"] and any(line.startswith("The answer") for line in second)
    with pytest.raises(study.StudyError, match="That problem is over: go on with challenge"):
        solve(game)
    game.next()
    question = game.question(game.look()[1])
    clock.now += question["seconds"] + 1
    late = game.answer("b")
    assert late[0].startswith("✘ Time is over") and late[-1] == question["explanation"]
    for _ in range(3):
        game.next()
        lines = solve(game)
    assert lines[-1].startswith("3 of 5 right.")
    with pytest.raises(study.StudyError, match="badge is for all five"):
        game.award("Ada")
    state = game.look()[1]
    assert [record["right"] for record in state["problems"]] == [False, False, True, True, True]


def test_the_clock_runs_on_when_the_cell_is_run_again_or_the_kernel_restarted(file, clock, quick):
    game = kernel(clock)
    game.start()
    limit = game.limit(game.question(game.look()[1]))
    assert 90 <= limit <= 150 and game.left() == limit
    clock.now += 30
    assert kernel(clock).left() == limit - 30
    with pytest.raises(study.StudyError, match="under way"):
        kernel(clock).start()
    solve(kernel(clock), right=False)  # an attempt is kept, too
    again = kernel(clock)
    assert "last attempt" in again.heading(again.look()[1])
    clock.now += limit
    stage, state, lines = kernel(clock).look()
    assert stage == "told" and lines[0].startswith("✘ Time") and state["problems"][0]["right"] is False
    assert kernel(clock).look()[2] == []  # told once


def test_a_miss_leaves_an_attempt_and_a_refused_answer_costs_none(file, clock, quick):
    game = kernel(clock)
    game.start()
    for odd in ((), ("z",), (None,), (object(),)):
        with contextlib.suppress(study.StudyError):
            game.answer(*odd)
    assert game.look()[1]["problems"][0]["attempts"] == 0
    solve(game, right=False)
    assert solve(game)[0].startswith("✔ Correct.")
    with pytest.raises(study.StudyError, match="That problem is over"):
        game.answer("a")


def to_debug(game):
    game.start()
    for _ in range(3):
        solve(game)
        game.next()
    return game.question(game.look()[1])


def test_repair_takes_no_time_off_the_clock(file, clock, quick, monkeypatch):
    game = kernel(clock)
    question = to_debug(game)
    judge = rounds.run_repair

    def slowly(question, code):
        clock.now += 60
        return judge(question, code)

    monkeypatch.setattr(rounds, "run_repair", slowly)
    clock.now += 20
    for refused in (question["code"], question["code"] + "\n\n", "syntax"):
        game.repair(refused)
    with pytest.raises(study.StudyError, match="must be a text"):
        game.repair(5)
    assert game.look()[1]["problems"][-1]["attempts"] == 0
    assert game.left() == question["seconds"] - 20
    lines = game.repair("endless loop")
    assert lines[0] == "✘ Not yet. stopped" and game.left() == question["seconds"] - 20
    clock.now += question["seconds"] - 21
    assert game.repair(question["right"][0])[0] == "✔ Correct."  # handed in within the limit
    assert game.look()[1]["problems"][-1]["seconds"] == question["seconds"] - 1


def test_giving_up_and_a_second_try(file, clock, quick):
    game = kernel(clock)
    with pytest.raises(study.StudyError, match="No round"):
        game.give_up()
    game.start()
    first = game.look()[1]["ids"]
    solve(game)
    game.give_up()
    assert game.look()[0] == "over"
    with pytest.raises(study.StudyError, match="badge is for all five"):
        game.award("Ada")
    win(game)
    state = game.look()[1]
    assert state["number"] == 2 and not set(state["ids"]) & set(first)
    game.award("Ada")
    game.start()  # a badge that was won is not lost
    assert game.award()["name"] == "Ada" and game.award()["number"] == 2


def test_seconds_of_the_environment_shorten_and_never_lengthen(file, clock, quick, monkeypatch):
    game = kernel(clock)
    game.start()
    question = game.question(game.look()[1])
    for text, limit in (("5", 5), ("9999", question["seconds"]), ("x", question["seconds"]), ("", question["seconds"])):
        monkeypatch.setenv("FREEZING_SECONDS", text)
        assert game.limit(question) == limit


def test_without_a_file_the_try_lives_in_the_kernel(clock, quick):
    game = kernel(clock)
    assert "Freezing Master" in win(game)[-1] and game.award("Ada")["name"] == "Ada"


def test_a_problem_that_is_gone_from_the_file_ends_no_notebook(file, clock, quick):
    kernel(clock).start()
    data = json.loads(file.read_text())
    data["challenge"]["ids"][0] = "09/gone"
    file.write_text(json.dumps(data))
    stage, _, lines = kernel(clock).look()
    assert stage == "idle" and "question file was changed" in lines[0]
    kernel(clock).start()
    assert kernel(clock).look()[0] == "asking"


@pytest.mark.parametrize(
    "damage",
    [
        lambda state: state.update(number="many"),
        lambda state: state.update(ids=[1]),
        lambda state: state.update(problems=[{}]),
        lambda state: state["problems"][0].update(started="now"),
        lambda state: state["problems"][0].update(started=float("nan")),
        lambda state: state.update(problems=state["problems"] * 9),
        lambda state: state.update(won={"number": 1}),
        lambda state: state.update(won=5),
        lambda state: state.clear(),
    ],
)
def test_a_damaged_state_is_set_aside_with_its_file(file, clock, quick, damage):
    game = kernel(clock)
    game.start()
    solve(game)
    data = json.loads(file.read_text())
    damage(data["challenge"])
    file.write_text(json.dumps(data))
    stage, _, lines = kernel(clock).look()
    assert stage == "idle" and "progress.json is damaged: it is kept as progress.json.damaged-1" in lines[0]
    kernel(clock).start()


def test_answers_and_challenge_share_the_file(file, clock, quick):
    mine, game = progress_file.Progress(), kernel(clock)
    mine.record("01/ex1", True)
    game.start()
    mine.record("01/ex2", False)
    data = json.loads(file.read_text())
    assert data["format"] == 1 and set(data["questions"]) == {"01/ex1", "01/ex2"} and data["challenge"]["number"] == 1
    solve(game)
    assert set(json.loads(file.read_text())["questions"]) == {"01/ex1", "01/ex2", data["challenge"]["ids"][0]}


def test_a_state_that_met_a_lock_is_kept_and_written_later(file, clock, quick, monkeypatch):
    monkeypatch.setattr(progress_file, "WAIT", 0.05)
    progress = progress_file.Progress()
    game = rounds.Challenge(progress, clock)
    lock = file.with_name("progress.json.lock")
    lock.write_text("another kernel")
    assert "in use by another kernel" in game.start()[0]
    clock.now += 30
    assert game.look()[0] == "asking" and game.left() < 150 - 29
    lock.unlink()
    assert progress.save() == [] and kernel(clock).left() == game.left()


# ---------------------------------------------------------------- what the learner calls


@pytest.fixture
def play(file, quick, capsys):
    """Calls a function and returns the lines it printed."""

    def call(function, *values):
        function(*values)
        return capsys.readouterr().out.splitlines()

    return call


def test_played_by_code(play, file, monkeypatch):
    monkeypatch.setattr(progress_file, "_START", file.parent)
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
    assert play(study.challenge().badge, " \n")[0].startswith("Write your name")
    assert play(study.challenge().badge, 5)[0].startswith("The name must be a text")
    assert "Freezing Master: Ada," in play(study.challenge().badge, "Ada")[0]
    assert "freezing_master.svg" in play(study.challenge().save_badge)[0]
    assert "freezing_master-2.svg" in play(study.challenge().save_badge, "<Ada>")[0]
    assert "<text" in (file.parent / "freezing_master.svg").read_text(encoding="utf-8")
    assert play(study.practice().badge, "Ada") == ["Practice has no badge: it is for the challenge."]


def test_practice_has_no_clock(play):
    lines = play(study.practice().start)
    assert "left of" not in lines[0] and "2 attempts" in lines[0]
    game = study._rounds[tuple(rounds.practice_ids(rounds.pool()))]
    game._clock = lambda: time.time() + 10**6
    assert solve(game)[0].startswith("✔")
    assert "practice().next()" in play(study.practice().status)[-1]
    assert play(study.practice("debug").start)[0].startswith("Problem 1 of 5: repair")
    assert play(study.practice, 5) == ['The id of a question is a text such as "01/ex1", not a number.']
    assert play(study.practice, "01/ex1")[0].startswith('"01/ex1" is an exercise')
    assert play(study.quiz, "09/debug-flag")[0].endswith('without the clock with practice("id").')


def test_whatever_is_called_in_whatever_order_gets_a_sentence(play, clock):
    odd = ["", "a", None, 5, ["a"], {"a": 1}, object(), "x" * 5000, "\ud800", "<script>", lambda: 1]
    calls = ("answer", "repair", "start", "next", "give_up", "status", "badge", "save_badge")
    for value in odd:
        for name in calls:
            for game in (study.challenge(), study.practice()):
                lines = play(getattr(game, name), *([value] if name in ("answer", "repair", "badge") else []))
                assert lines and "Traceback" not in " ".join(lines) and "0x" not in " ".join(lines), (name, value)


# ---------------------------------------------------------------- the sandbox


@pytest.mark.parametrize(
    ("code", "kind", "told"),
    [
        ("x = 1", "done", ""),
        ("def f(:", "syntax", "Line 1 is not Python"),
        ("a\0b", "syntax", "is not Python"),
        ("x = '\ud800'", "syntax", "is not Python"),
        ("(" * 10_000, "syntax", "is not Python"),
        ("while True: pass", "time", "ran longer than 2 seconds and was stopped"),
        ("while True:\n    try:\n        input()\n    except BaseException:\n        pass", "time", "endless loop"),
        ("while True: print('x' * 1000)", "time", "endless loop"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)", "time", "endless loop"),
        ("x = bytearray(10**11)", "memory", "asked for more than 300 MB"),
        ("x = []\nwhile True: x.append(b'x' * 10**6)", "memory", "asked for more than 300 MB"),
        ("import os\nos._exit(0)", "exited", "ended the Python process"),
        ("import sys\nsys.exit()", "exited", "ended the Python process"),
        ("import ctypes\nctypes.string_at(0)", "crashed", "crashed the Python process"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "crashed", "The system stopped your code"),
        ("\nraise ValueError('no\\nnumber')", "raised", "in line 2 of your code, ValueError was raised: no number."),
        ("def f(): f()\nf()", "raised", "RecursionError"),
        ("f = open('x', 'wb')\nwhile True: f.write(b'x' * 10**6)", "raised", "File too large"),
        ("import threading, time\nthreading.Thread(target=time.sleep, args=[60]).start()", "done", ""),
        ("import atexit, time\natexit.register(time.sleep, 60)", "done", ""),
    ],
)
def test_an_outcome_of_each_kind_is_one_sentence(code, kind, told):
    start = time.monotonic()
    outcome = sandbox.run(code, seconds=2, megabytes=300)
    assert (outcome.kind, outcome.mistake) == (kind, None)
    assert told in outcome.text and "\n" not in outcome.text and bool(outcome.text) == (kind != "done")
    assert outcome.counts == (kind != "syntax")
    assert time.monotonic() - start < 30


def test_the_check_names_the_first_expectation_that_fails():
    check = "expect(x == 1, 'one')\nexpect(x == 2, 'two')"
    assert sandbox.run("x = 1", check).mistake == "two"
    assert sandbox.run("x = 2", check).mistake == "one"
    # what only looks like success: leaving, printing, catching, an empty check result
    assert sandbox.run("import os\nx = 5\nclass X: __eq__ = lambda *a: os._exit(0)\nx = X()", check).kind == "exited"
    assert sandbox.run("", check).text.startswith("Your code was run, and in the check of your code, NameError")


def test_processes_that_the_code_started_are_ended_too(tmp_path):
    marks = [tmp_path / "child", tmp_path / "apart"]
    code = f"""
import os, subprocess, sys, time
program = "import sys, time, pathlib; time.sleep(2.5); pathlib.Path(sys.argv[1]).touch()"
subprocess.Popen([sys.executable, "-c", program, {str(marks[0])!r}])
subprocess.Popen([sys.executable, "-c", program, {str(marks[1])!r}], start_new_session=True)
while True: time.sleep(0.1)
"""
    assert sandbox.run(code, seconds=1).kind == "time"
    time.sleep(3)
    assert not any(mark.exists() for mark in marks)


def test_an_orphan_stays_in_the_family():
    """A process whose parent has ended counts on, here and in `make grade`, and is ended with the others."""
    program = "import subprocess, time; subprocess.run(['sh', '-c', 'sleep 60 & sleep 1']); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", program], start_new_session=True)
    family, counts = sandbox.Family(process.pid), [0]
    try:
        deadline = time.monotonic() + 20
        while not (max(counts) == 4 and counts[-1] == 2) and time.monotonic() < deadline:
            counts.append(family.look()[1])  # itself, sh and two sleeps; then itself and the orphan
            time.sleep(0.05)
    finally:
        family.kill()
        process.wait()
    assert max(counts) == 4 and counts[-1] == 2
    time.sleep(0.2)
    assert family.look()[0] == 0  # what is ended but not yet buried takes no memory


def test_a_process_that_cannot_be_started_costs_no_attempt(monkeypatch):
    monkeypatch.setattr("sys.executable", "/no/such/python")
    outcome = sandbox.run("x = 1")
    assert outcome.kind == "no process" and not outcome.counts


def test_the_code_leaves_no_file_and_not_the_learners_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = sandbox.run("open('left', 'w').write('x')\nimport os", "expect(os.getcwd() == '/', os.getcwd())")
    assert not os.path.exists(outcome.mistake) and list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- the badge

AWARD = {"date": "2026-11-22T21:00:00+00:00", "seconds": 254.5, "number": 2}
NAMES = {
    "Ada Lovelace": "Ada Lovelace",
    "<script>alert(1)</script> & \"co\" 'x'": "<script>alert(1)</script> & \"co\" 'x'",
    "]]><svg onload=x>": "]]><svg onload=x>",
    " a\n\tb\r\u2028 c ": "a b c",
    "a\x00\x07\x1b[31mb\x7f": "a[31mb",
    "\u202eevil\u2066 turn\u200f": "evil turn",
    "عائشة بنت أحمد": "عائشة بنت أحمد",
    "יעל כהן": "יעל כהן",
    "李小龍 🙂👩‍👩‍👧": "李小龍 🙂👩‍👩‍👧",
    "\ud800x\ufffe\uffff": "x",
    "x" * 500: "x" * 59 + "…",
    "👩‍👧" * 100: None,
    "e" + "\u0301" * 400 + "x": "e" + "\u0301" * 4 + "x",
}


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_a_badge_bears_any_name_as_text(name):
    text = badge.svg(name, **AWARD)
    root = xml.fromstring(text)  # well-formed, so no part of the name became markup
    tags = {element.tag.split("}")[1] for element in root.iter()}
    assert tags <= {"svg", "title", "defs", "pattern", "rect", "line", "g", "text"}
    shown = [element.text for element in root.iter() if element.tag.endswith("}text")]
    assert "Freezing Master" in shown and badge.clean_name(name) in shown and "22 November 2026" in shown
    assert any("4:15" in line for line in shown)
    assert NAMES[name] in (None, badge.clean_name(name)) and len(badge.clean_name(name)) <= badge.LONGEST
    outside = text.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert "http" not in outside and "href" not in outside and "<script" not in outside
    page = challenge_view.badge_bundle(text, badge.label(name, **AWARD))["text/html"]
    assert re.fullmatch(r'<img alt="[^"<>]*" width="720" height="400" src="data:image/svg\+xml;base64,[\w+/=]+">', page)


@pytest.mark.parametrize("name", ["", "  \n", "\u202e", "\x00", "...", None, 5, b"Ada"])
def test_a_badge_needs_a_name(name):
    with pytest.raises(study.StudyError, match="name"):
        badge.clean_name(name)


def test_a_saved_badge_overwrites_nothing(tmp_path):
    (tmp_path / "freezing_master.svg").write_text("older")
    assert badge.save("new", tmp_path).name == "freezing_master-2.svg"
    assert (tmp_path / "freezing_master.svg").read_text() == "older"
    with pytest.raises(study.StudyError, match="cannot be saved"):
        badge.save("new", tmp_path / "nowhere")


# ---------------------------------------------------------------- the view


@pytest.fixture
def view(file, clock, quick):
    pytest.importorskip("ipywidgets")
    game = kernel(clock)
    award = lambda name: (challenge_view.badge_bundle(badge.svg(**game.award(name)), "label"), [])  # noqa: E731
    made = challenge_view.RoundView(game, [challenge_view.CHALLENGE], award, lambda name: ["saved"])
    made.view()
    return made


def shown(widget):
    return widget.layout.display != "none"


def test_the_view_plays_as_the_code_does(view, clock):
    assert view.go.description == "Start" and not shown(view.check) and not shown(view.name)
    view.go.click()
    question = view.round.question(view.round.look()[1])
    assert (
        question["prompt"] in view.task.value.replace("<b>", "")
        and f"of {question['seconds'] // 60}:" in view.clock.value
    )
    assert 'role="timer"' in view.clock.value and 'role="status"' in view.feedback.value
    clock.now += 10
    view.refresh()
    assert f"{rounds.clock_text(question['seconds'] - 10)} left" in view.clock.value
    view.go.click()
    before = view.feedback.value
    view.go.click()
    assert view.feedback.value != before  # else a screen reader would stay silent
    assert "stands below" in view.feedback.value and view.round.look()[1]["problems"][0]["attempts"] == 0
    for number in range(5):
        question = view.round.question(view.round.look()[1])
        assert shown(view.input) == ("options" not in question) and not shown(view.name)
        if question["kind"] == "repair":
            assert view.input.value == question["code"] and view.check.description == "Run and check"
            view.input.value = question["right"][0]
            view.check.click()
        elif question["kind"] == "multiple" or "options" not in question:
            view.input.value = str(question.get("answer", ""))
            for key, option in question.get("options", {}).items():
                if option.get("right"):
                    view.on_option(key)
            view.check.click()
        else:
            keys = list(question["options"])
            assert [shown(button) for button in view.options] == [key in keys for key in questions.KEYS]
            wrong = next(key for key in keys if not question["options"][key].get("right"))
            view.options[keys.index(wrong)].children[0].click()
            assert "Hint: " in view.feedback.value
            before = view.feedback.value
            view.options[keys.index(next(k for k in keys if question["options"][k].get("right")))].children[0].click()
            assert view.feedback.value != before
        assert "✔ Correct." in view.feedback.value, number
        if number < 4:
            view.go.click()
    assert "Freezing Master" in view.feedback.value and shown(view.name) and view.go.description == "Start"
    view.show.click()
    assert "needs your name" in view.feedback.value
    view.name.value = "Ada <b>"
    view.show.click()
    assert view.picture.value.startswith("<img alt=")


def test_the_view_tells_that_time_is_over(view, clock):
    view.go.click()
    clock.now += 1000
    view.refresh()
    assert "✘ Time is over" in view.feedback.value and view.go.description == "Next problem"
    view.options[0].children[0].click()
    assert "go on with" in view.feedback.value


def test_the_view_ends_a_round_and_saves_the_badge(view):
    view.go.click()
    assert shown(view.end)
    view.end.click()
    assert not shown(view.end) and view.go.description == "Start" and view.round.look()[0] == "over"
    view.keep.click()
    assert "saved" in view.feedback.value


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
    view = challenge_view.RoundView(rounds.Round([question["id"]], lambda *_: []), [])
    view.go.click()
    right = [bool(option.get("right")) for option in question["options"].values()]
    for i, is_right in enumerate(right):
        for _ in range(1 if is_right else 2):  # a second click takes it back
            view.options[i].children[0].click()
    assert [row.children[0].description[0] == "☑" for row in view.options[: len(right)]] == right
    assert "✔" not in view.feedback.value
    view.check.click()
    assert "✔ Correct." in view.feedback.value


def test_a_game_is_shown_by_its_view_and_told_by_one_line(play, monkeypatch):
    pytest.importorskip("ipywidgets")
    made = []
    monkeypatch.setattr(views, "show", lambda bundle, widget: made.append((bundle, widget())))
    for game, line in ((study.challenge(), "The challenge"), (study.practice(), "Practice: ")):
        game._ipython_display_()
        bundle, widget = made.pop()
        assert repr(game) == bundle["text/plain"] and repr(game).startswith(line)
        assert widget.children[2].children[0].description == "Start"


def test_a_view_shows_what_was_done_by_code_or_in_another_view(view, clock):
    other = challenge_view.RoundView(view.round, [])
    view.round.start()
    assert view.go.description == other.go.description == "Go on below" and other.task.value == view.task.value
    assert view.round.left() is not None and not shown(other.name)
    view.round.answer("b")
    clock.now += 1000
    view.refresh()
    late = challenge_view.RoundView(view.round, [])  # the cell is run again
    for one in (view, other, late):
        one.refresh()
        explanation = view.round.question(view.round.look()[1])["explanation"]
        assert views.text_html(explanation) in one.feedback.value and one.go.description == "Next problem"


def test_static_views_depend_on_no_draw_and_no_clock(play, clock, monkeypatch):
    before = study.challenge()._bundle, study.practice()._bundle
    play(study.challenge().start)
    assert (study.challenge()._bundle, study.practice()._bundle) == before
    page = before[0]["text/html"] + before[1]["text/html"]
    assert not re.search(r"<\w+ (?!class=\"study-[a-z0-9-]+\")", page)  # no attribute: no address, no handler
    for id in rounds.practice_ids(rounds.pool()):
        question = questions.find(id)
        assert views.text_html(question["explanation"]) in page
    assert views.text_html(questions.find("09/debug-flag")["hint"]) in page


def test_no_view_needs_more_than_the_widgets_that_both_versions_have():
    import ast
    from pathlib import Path

    tree = ast.parse(Path(challenge_view.__file__).read_text(encoding="utf-8"))
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and (
            isinstance(node.value, ast.Attribute)
            and node.value.attr == "w"
            or getattr(node.value, "id", "") == "ipywidgets"
        )
    }
    assert used and used <= {"Button", "HBox", "HTML", "Layout", "Textarea", "VBox"}


# ---------------------------------------------------------------- mixed recall


def test_mixed_recall_asks_what_was_wrong_then_what_is_new_then_the_oldest():
    def question(id, **fields):
        return id, {"id": id, "section": "quiz", **fields}

    def entry(right, day):
        return {"last_right": right, "last": f"2026-11-{day}T10:00:00+00:00"}

    first = dict(
        [question("01/a"), question("01/b"), question("01/p", predict=True), question("01/x", section="cards")]
    )
    second = dict([question("02/a"), question("02/b", section="recall"), question("02/e", section="exercises")])
    entries = {"01/a": entry(True, 12), "02/a": entry(True, 11), "02/e": entry(False, 10)}
    order = [q["id"] for q in review.pick([first, second], entries, 9)]
    assert order == ["01/b", "02/b", "02/a", "01/a"]  # no card, no exercise, no prediction without its cell
    entries |= {"01/p": entry(False, 20), "01/b": entry(False, 15)}
    assert [q["id"] for q in review.pick([first, second], entries, 3)] == ["01/b", "01/p", "02/b"]
    assert [q["id"] for q in review.pick([first, second], {}, 9)][:2] == ["01/a", "02/a"]  # a notebook at a time


def test_mixed_recall_of_the_course(play):
    asked = play(study.mixed)
    assert len(asked) == 5 and [line.split()[1][:2] for line in asked] == ["01", "02", "03", "04", "05"]
    play(study.answer, "02/first-fit", "a")
    play(study.answer, "03/predict-law", 10**6)
    assert "03/predict-law" in " ".join(play(study.mixed, 2))
    assert play(study.mixed, "many")[0].startswith("The count must be a whole number")
