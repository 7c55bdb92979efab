"""Cards, quizzes, own words and exercises for the notebooks, and the learner's progress through them.

    quiz("01/predict-frozen-moves")          show a question; answer it there, or with
    answer("01/predict-frozen-moves", "b")   an option, several ("a", "c"), a number, or what is printed
    recall("01/explain-freezing")            show a question to answer in your own words, there or with
    explain("01/explain-freezing", "...")    which shows a model answer; said=[1, 3] records what of it you said
    check("01/ex1", result)                  check the result of an exercise
    hint("01/ex1")                           the next hint
    cards("01")                              the recall cards of a notebook
    progress()                               what is right, and what to review next
    mixed()                                  what to answer again, from all notebooks
    practice()                               problems like those of the challenge, without a clock
    challenge()                              five problems against the clock, and a badge

The questions stand in `data/questions/` (its README tells the format), the checks of exercises in `study/exercises.py`.
`python -m study` looks for mistakes in them. Three environment variables: FREEZING_PROGRESS (the file of the
learner's progress, or off), FREEZING_WIDGETS=off (static questions only), for tests FREEZING_SECONDS (`challenge.py`).
"""

import dataclasses
import functools
from itertools import chain, zip_longest

# a module and a learner's call share the names challenge and progress: the calls are defined below
from . import badge, challenge_view, questions, scoring, views
from . import challenge as rounds
from . import progress as kept
from .questions import StudyError

__all__ = [
    *("answer", "cards", "challenge", "check", "explain", "hint", "mixed", "practice", "progress", "quiz", "recall"),
]

_progress = kept.Progress()
_hints_given = {}  # question id: how many hints this kernel has given
_rounds = {}  # what is played: "challenge", or the ids of a practice round -> rounds.Round
_said = {}  # id of a question for own words: the concepts ticked last, so that hints are about the others


def _plainly(function):
    """For learners: what they can mend is told in one sentence, not in a traceback."""

    @functools.wraps(function)
    def plain(*args, **kwargs):
        try:
            return function(*args, **kwargs)
        except StudyError as error:
            print(error)

    return plain


def _submit(question, *values, counts=True, **settings):
    """Score an answer and record it, unless it was refused. Returns (Score, sentences about the progress file)."""
    if question["section"] == "exercises":
        score = scoring.score_exercise(question, values[0], **settings)
    else:
        score = (scoring.score_recall if question["section"] == "recall" else scoring.score)(question, *values)
    if score.right is None or not counts:
        return score, []
    more = {}
    if score.said is not None:
        _said[question["id"]] = score.said
        more = {"said": score.said, "of": len(question["concepts"])}
    return score, _progress.record(question["id"], score.right, **more)


def _print(score, notes):
    first, *rest = score.lines
    print(first, *(f"  {line}" for line in rest), *notes, sep="\n")


def _entries():
    """All answers known, by id; what is to tell about the progress file is printed."""
    entries, notes = _progress.entries()
    for note in notes:
        print(note)
    return entries


def _show(question, bundle):
    def widget():
        since = _entries().get(question["id"], {}).get("right")
        submit, hint = functools.partial(_submit, question), functools.partial(_next_hint, question)
        return views.live(question, submit, hint, since)

    views.show(bundle, widget)


@_plainly
def quiz(id=None):
    """Show a quiz question: choices where a kernel lives, else its options with the feedback folded.

    id: text such as "01/predict-frozen-moves". Prints one sentence for an unknown id.
    """
    question = questions.find(id, ("quiz",))
    _show(question, views.quiz_bundle(question))


@_plainly
def recall(id=None):
    """Show a question to answer in your own words, and to compare with a model answer; folded where no kernel lives.

    id: text such as "01/explain-freezing". Prints one sentence for an unknown id.
    """
    question = questions.find(id, ("recall",))
    _show(question, views.recall_bundle(question))


@_plainly
def cards(which=None, level=None):
    """Show recall cards, grouped by level: open a card to see its back.

    which: a notebook such as "01", or the id of a card, or a list of ids. level: "beginner", "intermediate",
    "advanced", or None for all. Prints one sentence for an unknown notebook, id or level.
    """
    if level not in (None, *questions.LEVELS):
        raise StudyError(f"level must be one of {', '.join(questions.LEVELS)}.")
    ids = which if isinstance(which, (list, tuple)) else [which] if isinstance(which, str) and "/" in which else None
    if ids is None:
        found = [q for q in questions.notebook(which)["questions"].values() if q["section"] == "cards"]
    else:
        found = [questions.find(id, ("cards",)) for id in ids]
    found = [card for card in found if level in (None, card["level"])]
    if not found:
        raise StudyError("There is no such card.")
    views.show(views.cards_bundle(found))


@_plainly
def answer(id=None, *values):
    """Answer a quiz question, and print whether it is right and why.

    id: text. values: an option key ("b"), several for a question that takes several ("a", "c"), a number, or a text.
    Prints one sentence for an unknown id or an answer that cannot be one; that does not count as an attempt.
    """
    _print(*_submit(questions.find(id, ("quiz",)), *values))


@_plainly
def explain(id=None, text=None, said=None):
    """Answer a question in your own words: print a model answer, then record which of its concepts you have said.

    id, text: text. said: the numbers of the concepts that you find in your text, such as [1, 3], by your own judgement;
    None to see the model answer first. Prints one sentence for an unknown id, an empty text, or numbers that are none.
    """
    question = questions.find(id, ("recall",))
    score, notes = _submit(question, text, said)
    if len(score.lines) > 1 and score.right is None:
        notes = [f'Which of these did you say? explain("{question["id"]}", "...", said=[1, 3]) records it.']
    _print(score, notes)


@_plainly
def check(id=None, value=..., counts=True, **settings):
    """Check the result of an exercise, and print whether it is right, or a hint for the mistake in it.

    id: text such as "01/ex1". value: the result, whatever the exercise asks for; `...` is "not attempted yet".
    counts: False for the course's own solutions: running all cells is not the learner's success, and tells no more
    than that they are right. settings: what an exercise lets you choose, such as draw=1 of the open task.
    """
    score, notes = _submit(questions.find(id, ("exercises",)), value, counts=counts, **settings)
    _print(score if counts else dataclasses.replace(score, lines=score.lines[:1]), notes)


@_plainly
def hint(id=None):
    """Print the next hint to a question; after the last one, the answer if you ask once more.

    id: of a quiz question, a free-recall question or an exercise. Prints one sentence for an unknown id.
    """
    print(_next_hint(questions.find(id, ("quiz", "recall", "exercises"))))


def _next_hint(question):
    name, section, hints = question["id"], question["section"], question.get("hints", ())
    if section == "recall":
        concepts = enumerate(question["concepts"], 1)
        hints = [concept["hint"] for place, concept in concepts if place not in _said.get(name, ())]
        end = "A model answer: " + " ".join(concept["says"] for concept in question["concepts"])
    elif section == "exercises":
        end = "The solution is folded below the exercise, unless your copy was made without solutions."
    else:
        right = (f"{key}) {o['text']}" for key, o in question.get("options", {}).items() if o.get("right"))
        end = f"The answer: {question.get('answer', '; '.join(right))}"
    given = _hints_given[name] = _hints_given.get(name, 0) + 1
    if given <= len(hints):
        return f"Hint {given} of {len(hints)}: {hints[given - 1]}"
    more = "There are no more hints" if hints else "There is no hint to this question"
    return f"{more}. Ask once more to see the answer." if given == len(hints) + 1 else end


@_plainly
def mixed(count=5):
    """Show questions from all notebooks: what you got wrong, then what you have not seen, or not for longest.

    Above each stands the notebook that it is from. count: how many, a whole number from 1.
    """
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise StudyError(f"The count must be a whole number from 1, not {questions.shown(count)}.")
    notebooks = [questions.load(path)["questions"] for path in questions.files()]
    entries = _entries()
    for question in _most_needed(notebooks, entries)[:count]:
        views.show(views.origin_bundle(question, _state(question, entries)))
        (recall if question["section"] == "recall" else quiz)(question["id"])


def _most_needed(notebooks, entries):
    """The questions to ask again, most needed first.

    notebooks: a list of {id: question}, one a notebook. entries: as Progress.entries gives them. Returns those of quiz
    and recall whose last answer was not right (or not all concepts), the oldest first; those never asked, a notebook at
    a time in turn; those that were right, the oldest first. One made to be asked before a cell (predict) comes only
    when it was answered.
    """
    asked = [[q for q in group.values() if q["section"] in ("quiz", "recall")] for group in notebooks]
    known = sorted((q for q in chain(*asked) if q["id"] in entries), key=lambda q: _need(q["id"], entries))
    wrong = [q for q in known if not entries[q["id"]]["last_right"]]
    new = [[q for q in group if q["id"] not in entries and not q.get("predict")] for group in asked]
    return [*wrong, *(q for q in chain(*zip_longest(*new)) if q), *known[len(wrong) :]]


def _need(id, entries):
    """What sorts questions that were answered by how much they need another look."""
    # text order is time order as long as the learner stays in one time zone, which is good enough for an advice
    return entries[id]["last_right"], entries[id]["last"], id


@_plainly
def challenge():
    """The challenge: five problems against the clock. As a cell's last line it is shown; by code it is played with

    .start(), .answer("b"), .repair(code), .next(), .status(), .give_up(), .badge(name) and .save_badge(name).
    """
    if "challenge" not in _rounds:
        _rounds["challenge"] = rounds.Challenge(_progress)
    groups = rounds.pool()
    limits = [question["seconds"] for group in groups.values() for question in group] or [0]
    limits = min(limits), max(limits)
    bundle, rules = challenge_view.challenge_bundle(limits), challenge_view.rules(limits)
    return Game(_rounds["challenge"], bundle, [challenge_view.CHALLENGE], rules)


@_plainly
def practice(which=None):
    """Problems like those of the challenge, without a clock; shown and played as `challenge()` is.

    which: None for five that are always the same and never asked in the challenge; a kind of problem ("output",
    "model", "hyper-parameter", "debug", "concept") for all of it; or the id of one.
    """
    groups = rounds.pool()
    if which is None:
        ids = rounds.practice_ids(groups)
    elif isinstance(which, str) and which in groups:
        ids = [question["id"] for question in groups[which]]
    else:
        ids = [questions.find(which, ("challenge",))["id"]]
    key = tuple(ids)
    if key not in _rounds:
        _rounds[key] = rounds.Round(ids, _progress.record)
        _rounds[key].call = "practice()" if which is None else f'practice("{which}")'
    found = [questions.find(id, ("challenge",)) for id in ids]
    return Game(_rounds[key], challenge_view.practice_bundle(found), found)


class Game:
    """A challenge or a practice round as the learner has it: shown as a cell's last line, and played by its methods."""

    def __init__(self, round_, bundle, shown, rules=""):
        self._round, self._bundle, self._shown, self._rules = round_, bundle, shown, rules

    def _ipython_display_(self):
        timed = self._round.timed
        extra = (self._badge, self._save, self._rules) if timed else ()
        views.show(self._bundle, lambda: challenge_view.RoundView(self._round, self._shown, *extra).view())

    def __repr__(self):
        return self._bundle["text/plain"]

    @_plainly
    def start(self):
        """Begin: print the first problem. Its clock runs from now."""
        self._tell(self._round.start())

    @_plainly
    def next(self):
        """Print the next problem. Its clock runs from now."""
        self._tell(self._round.next())

    @_plainly
    def status(self):
        """Print the problem that is asked, and what is left of its time."""
        self._tell(self._round.look()[2], whole=True)

    @_plainly
    def answer(self, *values):
        """Answer the problem that is asked: an option key, several, a number, or what is printed."""
        self._tell(self._round.answer(*values), whole=False)

    @_plainly
    def repair(self, code=None):
        """Hand in the repaired code of a debug problem, a text; it is run apart from the notebook."""
        self._tell(self._round.repair(code), whole=False)

    @_plainly
    def give_up(self):
        """End the round."""
        self._tell(self._round.give_up(), whole=False)

    @_plainly
    def badge(self, name=None):
        """Show the badge, once five of five were right. name: for the badge; None for that of the last time."""
        views.show(self._badge(name)[0])

    @_plainly
    def save_badge(self, name=None):
        """Save the badge as an SVG file beside the notebook, and print where."""
        self._tell(self._save(name), whole=False)

    def _award(self, name):
        if not self._round.timed:
            raise StudyError("Practice has no badge: it is for the challenge.")
        return self._round.award(name if name is None else badge.clean_name(name))

    def _badge(self, name):
        won = self._award(name)
        return challenge_view.badge_bundle(badge.svg(**won), badge.label(**won)), []

    def _save(self, name):
        path = badge.save(badge.svg(**self._award(name)), kept.folder())
        return [f"Saved as {path}. Open it in a browser to print it."]

    def _tell(self, lines, whole=True):
        """Print lines, then where the round stands; `whole` prints the problem that is asked, too."""
        stage, state, told = self._round.look()
        call = self._round.call
        lines = [*lines, *told]
        if stage == "asking":
            lines.append(self._round.heading(state))
            lines += rounds.task_lines(self._round.question(state), call) if whole else []
        else:
            go_on = {"told": f"Go on with {call}.next()", "over": f"Another round: {call}.start()"}
            lines.append(go_on.get(stage, f"Begin with {call}.start()"))
        print(*(line.rstrip("\n") for line in lines), sep="\n")


@_plainly
def progress():
    """Show a small table of what is right by notebook, what to do next, and what to answer again: the wrong ones first.

    Where a notebook shows it, titles are links to the notebooks, which lie beside it.
    """
    entries, rows, known = _entries(), [], []
    for path in questions.files():
        try:
            content = questions.load(path)["questions"].values()
        except StudyError as error:
            print(error)
            continue
        asked = [question for question in content if question["section"] != "cards"]
        tried = [entries[question["id"]] for question in asked if question["id"] in entries]
        known += [question for question in asked if question["id"] in entries]
        last = max((entry["last"] for entry in tried), default="")[:10]
        rows.append((path, sum(entry["last_right"] for entry in tried), len(tried), len(asked), last))
    again = sorted(known, key=lambda question: _need(question["id"], entries))[:5]
    unseen = next((path for path, _, tried, *_ in rows if not tried), None)
    if again and not entries[again[0]["id"]]["last_right"]:
        todo = "Answer again what was not right: it stands first below.", None
    elif unseen:
        todo = "Go on with" if known else "Begin with", unseen
    else:
        todo = (
            "All that you tried is right, in every notebook. The challenge and the badge:",
            rows[-1][0] if rows else None,
        )
    if kept.location() is None:
        todo += ("Progress is not kept in a file (FREEZING_PROGRESS=off).",)
    views.show(views.progress_bundle(rows, [(question, _state(question, entries)) for question in again], *todo))


def _state(question, entries):
    """In words, how a question was answered last."""
    entry = entries.get(question["id"])
    if entry is None:
        return "not asked yet"
    state = f"{entry['said']} concepts" if "said" in entry else "right" if entry["last_right"] else "not yet"
    return f"{state}, {entry['last'][:10]}"
