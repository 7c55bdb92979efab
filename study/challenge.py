"""The challenge: five problems of five kinds, each with a time limit, two attempts, a hint, and an explanation.

This file is the core: it knows problems, clock and attempts, and shows nothing (`challenge_view.py` does). The state
of a try is plain data, kept in the learner's progress file, so that the clock runs on when a cell is run again or the
kernel is restarted:

    {"number": 2, "ids": [five ids], "won": null or {"number", "date", "seconds", "name"},
     "problems": [{"started": seconds since 1970, "away": seconds the check took, "attempts": 1,
                   "right": true, false or null while it is asked, "seconds": taken}]}

The environment variable FREEZING_SECONDS shortens every limit, for tests; it cannot lengthen one.
"""

import importlib.util
import math
import os
import random
import time

from . import progress as progress_file
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
_LIBRARY = {"keras": "keras", "torch": "torch"}


def pool():
    """All problems that can be asked here: {problem: list of dicts}, in the order of the question files.

    Left out is what needs a framework that is not installed. Raises QuestionFileError.
    """
    found = {problem: [] for problem in PROBLEMS}
    for path in questions.files():
        for question in questions.load(path)["questions"].values():
            framework = framework_of(question)
            if question["section"] == "challenge" and (not framework or importlib.util.find_spec(_LIBRARY[framework])):
                found[question["problem"]].append(question)
    return found


def framework_of(question):
    """ "keras" or "torch" for a problem that a one-framework edition of the other cuts, else None."""
    for framework, other in zip(FRAMEWORKS, FRAMEWORKS[::-1], strict=True):
        if question.get(framework) == "cut":
            return other
    return None


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
    """What the challenge and the practice round have in common: problems that are asked one after the other.

    Its methods return the lines to tell the learner, and raise StudyError for a call that does not fit. `call` is what
    the learner types, such as "challenge()"; record(id, right) keeps an attempt and returns lines.
    """

    call, timed = "practice()", False

    def __init__(self, ids, record, clock=time.time):
        self._clock, self._record = clock, record
        self._state = {"number": 0, "ids": list(ids), "problems": [], "won": None}
        self.views = []  # functions without arguments: called when something has changed

    # where the state is kept

    def _load(self):
        return self._state, []

    def _save(self, state):
        self._state = state
        return []

    # what is going on

    def look(self):
        """(stage, state, lines): stage is "idle", "asking", "told" (between two problems) or "over".

        A problem whose time is over is ended first; lines tell of it.
        """
        state, lines = self._load()
        if state is None or not state["ids"]:
            return "idle", state, lines
        if not all(map(self._known, state["ids"])):
            return "idle", state, [*lines, "The question file was changed: that try is not counted. Start another."]
        if state["problems"] and state["problems"][-1]["right"] is None and self._left(state) <= 0:
            lines += self._end(state, False)
        problems = state["problems"]
        if problems and problems[-1]["right"] is None:
            return "asking", state, lines
        if len(problems) == len(state["ids"]):
            return "over", state, lines
        return "told" if problems else "idle", state, lines

    @staticmethod
    def _known(id):
        try:
            questions.find(id, ("challenge",))
        except StudyError:
            return False
        return True

    def question(self, state):
        """The problem that is asked, or was asked last: a dict."""
        return questions.find(state["ids"][len(state["problems"]) - 1], ("challenge",))

    def limit(self, question):
        """Seconds for a problem, or None without a clock."""
        if not self.timed:
            return None
        shorter = os.environ.get("FREEZING_SECONDS", "")
        return min(question["seconds"], int(shorter)) if shorter.isdecimal() else question["seconds"]

    def _taken(self, state):
        record = state["problems"][-1]
        return max(0.0, self._clock() - record["started"] - record["away"])

    def _left(self, state):
        limit = self.limit(self.question(state))
        return math.inf if limit is None else limit - self._taken(state)

    def left(self):
        """Seconds that are left for the problem that is asked, inf without a clock, None when none is asked."""
        state, _ = self._load()
        asking = state and state["problems"] and state["problems"][-1]["right"] is None
        return self._left(state) if asking else None

    def heading(self, state):
        """One line on the problem: its number and kind, the time left, and the attempts left."""
        question, record = self.question(state), state["problems"][-1]
        parts = [f"Problem {len(state['problems'])} of {len(state['ids'])}: {NAMES[question['problem']]}"]
        if record["right"] is None:
            if self.timed:
                parts.append(f"{clock_text(self._left(state))} left of {clock_text(self.limit(question))}")
            left = ATTEMPTS - record["attempts"]
            parts.append(f"{left} attempts" if left > 1 else "last attempt")
        else:
            parts.append("right" if record["right"] else "not solved")
        return " · ".join(parts)

    # what the learner does

    def start(self):
        """Begin: the first problem is asked, and its clock runs."""
        stage, state, _ = self.look()
        if stage in ("asking", "told"):
            raise StudyError(f"A round is under way. Go on with it, or end it with {self.call}.give_up().")
        return self._begin(state)

    def _begin(self, state):
        return self._ask({**state, "problems": []})

    def next(self):
        """Ask the next problem; its clock runs from now."""
        stage, state, _ = self.look()
        if stage == "asking":
            raise StudyError("This problem is not solved yet, and an attempt is left.")
        if stage != "told":
            raise StudyError(f"No problem is waiting: begin with {self.call}.start().")
        return self._ask(state)

    def _ask(self, state):
        new = {"started": self._clock(), "away": 0.0, "attempts": 0, "right": None, "seconds": None}
        state = {**state, "problems": [*state["problems"], new]}
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
        if score.right is None:
            return list(score.lines)
        return self._attempt(state, score.right, score.lines)

    def repair(self, code=None):
        """Hand in repaired code: it is run in a process of its own, and the clock stands still meanwhile."""
        handed_in = self._clock()
        state, lines = self._asked()
        if state is None:
            return self._changed(lines)
        question = self.question(state)
        if question["kind"] != "repair":
            raise StudyError(f'This problem takes an answer: write {self.call}.answer("a").')
        if not isinstance(code, str):
            raise StudyError(f'The code must be a text, not {a_type(code)}: write {self.call}.repair("""...""").')
        if code.split() == question["code"].split():
            return ["That is the code as it was: it does not count as an attempt."]
        outcome = run_repair(question, code)
        state["problems"][-1]["away"] += max(0.0, self._clock() - handed_in)
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
            lines += self._end(state, False)
        state = {**state, "ids": state["ids"][: len(state["problems"])]}
        return self._changed([*lines, *self._save(state), "The round is ended."])

    def _asked(self):
        """(the state with a problem that may be answered, lines); the state is None if the time is over."""
        stage, state, lines = self.look()
        if stage == "asking":
            return state, lines
        if lines:
            return None, lines
        if stage == "told":
            raise StudyError(f"That problem is over: go on with {self.call}.next().")
        raise StudyError(f"No problem is asked now: begin with {self.call}.start().")

    def _attempt(self, state, right, lines):
        record, question = state["problems"][-1], self.question(state)
        record["attempts"] += 1
        lines = [*lines, *self._record(question["id"], right)]
        if right or record["attempts"] == ATTEMPTS:
            return self._changed([*lines, *self._end(state, right)])
        return self._changed([*lines, f"Hint: {question['hint']}", "One attempt is left.", *self._save(state)])

    def _end(self, state, right):
        """End the problem that is asked. Returns the lines to tell."""
        record = state["problems"][-1]
        record["seconds"] = round(min(self._taken(state), self.limit(self.question(state)) or math.inf), 1)
        record["right"] = right
        if len(state["problems"]) == len(state["ids"]):
            self._finish(state)
        return [*self.outcome(state), *self._save(state)]

    def outcome(self, state):
        """What is told of a problem that has ended: the answer, if it was not found, and the explanation."""
        record, question = state["problems"][-1], self.question(state)
        limit, lines = self.limit(question), []
        if not record["right"]:
            late = limit is not None and record["seconds"] >= limit
            lines = [f"✘ Time is over ({clock_text(limit)})."] if late else []
            lines += answer_lines(question)
        lines.append(question["explanation"])
        return [*lines, *(self._verdict(state) if len(state["problems"]) == len(state["ids"]) else [])]

    def _finish(self, state):
        """What the last problem's end brings with it."""

    def _verdict(self, state):
        return [f"{sum(record['right'] for record in state['problems'])} of {len(state['ids'])} right."]

    def _changed(self, lines):
        for view in list(self.views):
            view()
        return lines


class Challenge(Round):
    """The timed round, kept in the learner's progress file; five of five right make a Freezing Master.

    progress: a progress_file.Progress.
    """

    call, timed = "challenge()", True

    def __init__(self, progress, clock=time.time):
        super().__init__([], lambda id, right: progress.record(id, right), clock)
        self._progress = progress

    def _load(self):
        state, lines = self._progress.challenge()
        if progress_file.location() is None:
            return self._state if self._state["ids"] else None, lines
        return state, lines

    def _save(self, state):
        self._state = state
        return self._progress.keep_challenge(state) if progress_file.location() else []

    def _begin(self, state):
        number, won = (state["number"], state["won"]) if state else (0, None)
        ids = draw(number + 1, pool())
        return self._ask({"number": number + 1, "ids": ids, "problems": [], "won": won})

    def _finish(self, state):
        if self._all_right(state):
            taken = sum(record["seconds"] for record in state["problems"])
            state["won"] = {"number": state["number"], "date": progress_file.now(), "seconds": taken, "name": None}

    @staticmethod
    def _all_right(state):
        return len(state["problems"]) == len(PROBLEMS) and all(record["right"] for record in state["problems"])

    def _verdict(self, state):
        if not self._all_right(state):
            right = sum(record["right"] for record in state["problems"])
            return [f"{right} of {len(PROBLEMS)} right. The badge is for all five: another try has other problems."]
        taken = clock_text(state["won"]["seconds"])
        return [f'Five of five in {taken}: you are a Freezing Master. {self.call}.badge("your name") shows it.']

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


def run_repair(question, code):
    """Run repaired code and the problem's check in the sandbox. Returns sandbox.Outcome."""
    framework = framework_of(question)
    # keras_lab before keras: it keeps TensorFlow from logging
    imports = {"keras": ("utils.keras_lab", "keras"), "torch": ("torch",), None: ()}[framework]
    return sandbox.run(code, question["check"], imports=("utils.evidence", *imports))


def answer_lines(question):
    """The right answer of a problem, as lines; a line with line breaks in it is code."""
    if question["kind"] == "repair":
        return ["A repair:", question["right"][0].strip("\n") + "\n"]
    if "options" in question:
        right = [f"{key}) {option['text']}" for key, option in question["options"].items() if option.get("right")]
        return [f"The answer: {'; '.join(right)}"]
    return ["The answer:", str(question["answer"]).strip() + "\n"]


def task_lines(question, call):
    """A problem as lines of text: prompt, code, options, and what to type."""
    lines = [question["prompt"], *("    " + line for line in question.get("code", "").rstrip().splitlines())]
    lines += [f"  {key}) {option['text']}" for key, option in question.get("options", {}).items()]
    several = question["kind"] == "multiple"
    example = '"a", "c"' if several else '"a"' if "options" in question else "..."
    how = 'repair("""the whole code, repaired""")' if question["kind"] == "repair" else f"answer({example})"
    return [*lines, f"Write {call}.{how}" + (" (more than one may be right)" if several else "")]
