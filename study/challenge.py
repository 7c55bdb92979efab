"""The challenge: five problems of five kinds, each with a time limit, two attempts, a hint, and an explanation.

This file is the core: it knows problems, clock and attempts, and shows nothing (`challenge_view.py` does). The state
of a try is plain data, kept in the learner's progress file, so that the clock runs on when a cell is run again or the
kernel is restarted:

    {"number": 2, "ids": [five ids], "won": null or {"number", "date", "seconds", "name"},
     "problems": [{"started": seconds since 1970, "attempts": 1, "right": true, false or null while it is asked,
                   "seconds": taken}]}

The environment variable FREEZING_SECONDS shortens every limit, for tests; it cannot lengthen one.
"""

import datetime
import importlib.util
import math
import os
import random
import time

from . import progress as kept
from . import questions, sandbox, scoring
from .questions import FRAMEWORKS, PROBLEMS, StudyError, a_type
from .scoring import RIGHT, WRONG

ATTEMPTS = 2
NAMES = {
    "output": "predict the output",
    "model": "choose the model",
    "hyper-parameter": "choose the hyper-parameter",
    "debug": "repair the code",
    "concept": "know the concept",
}
BADGE = 'challenge().badge("your name") shows the badge, challenge().save_badge() saves it.'  # buttons say it otherwise
CHANGED = "That try is not counted, because the questions or your progress file were changed: start another."


def pool():
    """All problems that can be asked here: {problem: list of dicts}, in the order of the question files.

    Left out is what needs a framework that is not installed. Raises QuestionFileError.
    """
    found = {problem: [] for problem in PROBLEMS}
    for path in questions.files():
        for question in questions.load(path)["questions"].values():
            framework = framework_of(question)
            if question["section"] == "challenge" and (not framework or importlib.util.find_spec(framework)):
                found[question["problem"]].append(question)
    return found


def framework_of(question):
    """ "keras" or "torch" for a problem that a one-framework edition of the other cuts, else None."""
    return next(
        (own for own in FRAMEWORKS for other in FRAMEWORKS if own != other and question.get(other) == "cut"), None
    )


def practice_ids(problems):
    """The draw of the practice round: one of each kind, always the same, and not asked in the challenge."""
    return [next((q for q in group if q.get("practice")), group[0])["id"] for group in problems.values() if group]


def draw(number, problems):
    """The ids of a try's five problems, one of each kind.

    number: of the try, from 1. problems: as `pool` gives them. The same number draws the same problems, and the next
    number draws others, until each was asked. Raises StudyError if a kind has no problem.
    """
    ids = []
    for kind, group in problems.items():
        group = [question["id"] for question in group if not question.get("practice")] or [q["id"] for q in group]
        if not group:
            raise StudyError(f"data/questions: there is no problem of the kind {kind} for the challenge.")
        random.Random(f"freezing {kind}").shuffle(group)
        ids.append(group[(number - 1) % len(group)])
    return ids


def clock_text(seconds):
    """Seconds as "1:05"; a part of a second counts as one more, so that 0:00 means that the time is over."""
    seconds = math.ceil(max(0, seconds))
    return f"{seconds // 60}:{seconds % 60:02d}"


class Round:
    """Problems that are asked one after the other, without a clock: the practice round.

    Its methods return the lines to tell the learner, and raise StudyError for a call that does not fit. `call` is what
    the learner types, such as "practice()"; record(id, right) keeps an attempt and returns lines. `views` are functions
    that are called when something has changed.
    """

    call, timed = "practice()", False

    def __init__(self, ids, record, clock=time.time):
        self._clock, self._record, self._ids, self._state, self.views = clock, record, list(ids), None, []

    # what differs in the challenge

    def _load(self):
        return self._state, []

    def _save(self, state):
        self._state = state
        return []

    def _draw(self, number):
        return self._ids

    def _verdict(self, state):
        return [f"{sum(problem['right'] for problem in state['problems'])} of {len(state['ids'])} right."]

    # what is going on

    def look(self):
        """(stage, state, lines): stage is "idle", "asking", "told" (between two problems) or "over".

        A problem whose time is over is ended first; lines tell of it.
        """
        state, lines = self._load()
        if not state:
            return "idle", None, lines
        try:
            self.question(state)
        except StudyError:  # it is gone from the file
            return "idle", state, [*lines, CHANGED]
        problem, more = state["problems"][-1], len(state["problems"]) < len(state["ids"])
        if problem["right"] is None and self._left(state) <= 0:
            lines = [*lines, *self._end(state, False)]
        return "asking" if problem["right"] is None else "told" if more else "over", state, lines

    def question(self, state):
        """The problem that is asked, or was asked last: a dict."""
        return questions.find(state["ids"][len(state["problems"]) - 1], ("challenge",))

    def limit(self, question):
        """Seconds for a problem; inf without a clock."""
        shorter = os.environ.get("FREEZING_SECONDS", "")
        limit = question["seconds"] if self.timed else math.inf
        return min(limit, int(shorter)) if self.timed and shorter.isdecimal() else limit

    def _left(self, state):
        return self.limit(self.question(state)) - max(0, self._clock() - state["problems"][-1]["started"])

    def left(self):
        """Seconds that are left for the problem that is asked, inf without a clock, None when none is asked."""
        stage, state, _ = self.look()
        return self._left(state) if stage == "asking" else None

    def heading(self, state):
        """One line on the problem: its number and kind, the time left, and the attempts left."""
        question, problem = self.question(state), state["problems"][-1]
        parts = [f"Problem {len(state['problems'])} of {len(state['ids'])}: {NAMES[question['problem']]}"]
        if problem["right"] is not None:
            return " · ".join([*parts, "right" if problem["right"] else "not solved"])
        if self.timed:
            parts.append(f"{clock_text(self._left(state))} left of {clock_text(self.limit(question))}")
        left = ATTEMPTS - problem["attempts"]
        return " · ".join([*parts, f"{left} attempts" if left > 1 else "last attempt"])

    # what the learner does

    def start(self):
        """Begin: the first problem is asked, and its clock runs."""
        stage, state, _ = self.look()
        if stage in ("asking", "told"):
            raise StudyError(f"A round is under way. Go on with it, or end it with {self.call}.give_up().")
        number, won = (state["number"] + 1, state["won"]) if state else (1, None)
        return self._ask({"number": number, "ids": self._draw(number), "problems": [], "won": won})

    def next(self):
        """Ask the next problem; its clock runs from now."""
        stage, state, _ = self.look()
        if stage == "asking":
            raise StudyError("This problem is not solved yet, and an attempt is left.")
        if stage != "told":
            raise StudyError(f"No problem is waiting: begin with {self.call}.start().")
        return self._ask(state)

    def _ask(self, state):
        state["problems"].append({"started": self._clock(), "attempts": 0, "right": None, "seconds": None})
        return self._changed(self._save(state))

    def answer(self, *values):
        """Answer a problem that is chosen or typed."""
        state, lines = self._asked()
        if state is None:
            return self._changed(lines)
        question = {**self.question(state), "call": f"{self.call}.answer(", "explanation": ""}
        if question["kind"] == "repair":
            raise StudyError(f'This problem takes repaired code: write {self.call}.repair("""...""").')
        score = scoring.score(question, *values)
        return list(score.lines) if score.right is None else self._attempt(state, score.right, score.lines)

    def repair(self, code=None):
        """Hand in repaired code: it is run in a process of its own, and the clock stands still meanwhile."""
        handed_in = self._clock()
        state, lines = self._asked()
        if state is None:
            return self._changed(lines)
        question, problem = self.question(state), state["problems"][-1]
        if question["kind"] != "repair":
            raise StudyError(f'This problem takes an answer: write {self.call}.answer("a").')
        if not isinstance(code, str):
            raise StudyError(f'The code must be a text, not {a_type(code)}: write {self.call}.repair("""...""").')
        if code.split() == question["code"].split():
            return ["That is the code as it was: it does not count as an attempt."]
        outcome = run_repair(question, code)
        problem["started"] += max(0.0, self._clock() - handed_in)
        if not outcome.counts:
            return self._changed([outcome.text, *self._save(state)])
        text = outcome.text if outcome.kind != "done" else question["mistakes"].get(outcome.mistake, "")
        right = outcome.kind == "done" and outcome.mistake is None
        return self._attempt(state, right, [RIGHT if right else f"{WRONG} {text}"])

    def give_up(self):
        """End the round; what was not solved counts as not solved."""
        stage, state, lines = self.look()
        if stage not in ("asking", "told"):
            raise StudyError("No round is under way.")
        if stage == "asking":
            lines = [*lines, *self._end(state, False)]
        state["ids"] = state["ids"][: len(state["problems"])]
        return self._changed([*lines, *self._save(state), "The round is ended."])

    def _asked(self):
        """(the state with a problem that may be answered, lines); the state is None if the time is over."""
        stage, state, lines = self.look()
        if stage == "asking" or lines:
            return state if stage == "asking" else None, lines
        if stage == "told":
            raise StudyError(f"That problem is over: go on with {self.call}.next().")
        raise StudyError(f"No problem is asked now: begin with {self.call}.start().")

    def _attempt(self, state, right, lines):
        problem, question = state["problems"][-1], self.question(state)
        problem["attempts"] += 1
        lines = [*lines, *self._record(question["id"], right)]
        if right or problem["attempts"] == ATTEMPTS:
            return self._changed([*lines, *self._end(state, right)])
        return self._changed([*lines, f"Hint: {question['hint']}", "One attempt is left.", *self._save(state)])

    def _end(self, state, right):
        """End the problem that is asked. Returns the lines to tell."""
        problem, limit = state["problems"][-1], self.limit(self.question(state))
        problem |= {"right": right, "seconds": round(min(limit - self._left(state), limit) if self.timed else 0, 1)}
        return [*self.outcome(state), *self._save(state)]

    def outcome(self, state):
        """What is told of a problem that has ended: the answer, if it was not found, and the explanation."""
        problem, question = state["problems"][-1], self.question(state)
        lines, limit = [], self.limit(question)
        if not problem["right"]:
            lines = [f"✘ Time is over ({clock_text(limit)})."] if problem["seconds"] >= limit else []
            lines += answer_lines(question)
        last = len(state["problems"]) == len(state["ids"])
        return [*lines, question["explanation"], *(self._verdict(state) if last else [])]

    def _changed(self, lines):
        for view in list(self.views):
            view()
        return lines


class Challenge(Round):
    """The timed round, kept in the learner's progress file; five of five right make a Freezing Master.

    progress: a progress.Progress.
    """

    call, timed = "challenge()", True

    def __init__(self, progress, clock=time.time):
        super().__init__([], progress.record, clock)
        self._progress = progress

    def _load(self):
        state, lines = self._progress.challenge()
        return (state, lines) if state is None or _is_sound(state) else (None, [*lines, CHANGED])

    def _save(self, state):
        return self._progress.keep_challenge(state)

    def _draw(self, number):
        return draw(number, pool())

    def _verdict(self, state):
        right = [problem["right"] for problem in state["problems"]].count(True)
        if right < len(PROBLEMS):
            return [f"{right} of {len(PROBLEMS)} right. The badge is for all five: another try has other problems."]
        if not state["won"] or state["won"]["number"] != state["number"]:
            taken = sum(problem["seconds"] for problem in state["problems"])
            state["won"] = {"number": state["number"], "date": kept.now(), "seconds": taken, "name": None}
        taken = clock_text(state["won"]["seconds"])
        return [f"Five of five in {taken}: you are a Freezing Master.", BADGE]

    def award(self, name=None):
        """What the badge says: {"name", "date", "seconds", "number"}, with the name kept for the next time.

        name: text that badge.clean_name has been through, None for that of the last time. Raises StudyError if the
        challenge was not won, or for no name.
        """
        _, state, _ = self.look()
        won = state and state["won"]
        if not won:
            raise StudyError("The badge is for all five problems solved in one try of the challenge.")
        if name is None and won["name"] is None:
            raise StudyError('The badge needs your name: write challenge().badge("Ada Lovelace").')
        if name is not None:
            won["name"] = name
            self._save(state)
        return won


def _is_sound(state):
    """Whether a state from the file can be played on: it may have been edited by hand."""
    try:
        won, problems = state["won"], state["problems"]
        numbers = [state["number"], *(problem[key] for problem in problems for key in ("started", "attempts"))]
        numbers += [problem["seconds"] for problem in problems if problem["right"] is not None]
        if won:
            numbers += [won["seconds"], won["number"], datetime.datetime.fromisoformat(won["date"]).year]
        return all(map(math.isfinite, numbers)) and 0 < len(problems) <= len(state["ids"])
    except (KeyError, TypeError, ValueError):
        return False


def run_repair(question, code):
    """Run repaired code and the problem's check in the sandbox. Returns sandbox.Outcome."""
    # keras_lab before keras: it keeps TensorFlow from logging
    imports = {"keras": ["utils.keras_lab", "keras"], "torch": ["torch"], None: []}[framework_of(question)]
    return sandbox.run(code, question["check"], imports=["utils.freeze_report", *imports])


def answer_lines(question):
    """The right answer of a problem, as lines; a line with line breaks in it is code."""
    if question["kind"] == "repair":
        return ["A repair:", question["right"][0].strip("\n") + "\n"]
    right = [f"{key}) {option['text']}" for key, option in question.get("options", {}).items() if option.get("right")]
    return [f"The answer: {'; '.join(right)}"] if right else ["The answer:", f"{str(question['answer']).strip()}\n"]


def task_lines(question, call):
    """A problem as lines of text: prompt, code, options, and what to type."""
    lines = [question["prompt"], *("    " + line for line in question.get("code", "").rstrip().splitlines())]
    lines += [f"  {key}) {option['text']}" for key, option in question.get("options", {}).items()]
    several = question["kind"] == "multiple"
    example = '"a", "c"' if several else '"a"' if "options" in question else "..."
    how = 'repair("""the whole code, repaired""")' if question["kind"] == "repair" else f"answer({example})"
    return [*lines, f"Write {call}.{how}" + (" (more than one may be right)" if several else "")]
