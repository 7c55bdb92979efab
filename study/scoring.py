"""Scoring of typed and chosen answers, and of exercises: what is right, and the lines to tell. It shows nothing."""

import contextlib
import inspect
import math
import re
import traceback
from dataclasses import dataclass

from . import exercises, open_task, patients  # noqa: F401  (they register their checks)
from .questions import QuestionFileError, StudyError, a_type, matches, one_line, shown

RIGHT, WRONG = "✔ Correct.", "✘ Not yet."
_PRINTED = (bool, int, float, type(None))  # what stands for its own print


@dataclass(frozen=True)
class Score:
    """right: True, False, or None for what was refused and does not count; lines: what to tell, plain text.

    said: for own words, the numbers of the concepts that were ticked.
    """

    right: bool | None
    lines: tuple
    said: tuple | None = None


def score(question, *values):
    """Score an answer to a quiz question.

    question: a dict from a question file. values: the learner's, of any type: option keys, a number, or a text.
    Returns Score; never raises.
    """
    if len(values) == 1 and isinstance(values[0], (list, tuple, set, frozenset)):
        values = tuple(values[0])
    if "options" in question:
        return _choice(question, values)
    return _typed(question, values)


def _call(question):
    """The beginning of the call that answers the question; the challenge has its own, in the field "call"."""
    return question.get("call") or f'answer("{question["id"]}", '


def _choice(question, values):
    options, several = question["options"], question["kind"] == "multiple"
    call, keys = _call(question) + ('"a", "b")' if several else '"a")'), set()
    for value in values:
        # "b", " B) ", and "b, c" or "b and c", which are two
        words = re.split(r"[\s,;&+]+|(?:and|or)\s", value.strip().lower()) if isinstance(value, str) else [value]
        words = [word.strip("().") if isinstance(word, str) else word for word in words]
        if not all(isinstance(word, str) and (word in options or not word) for word in words):
            return Score(None, (f"{shown(value)} is none of the choices {', '.join(options)}: write {call}.",))
        keys |= {word for word in words if word}
    if not keys or (len(keys) > 1 and not several):
        count = "at least one choice" if several else "one choice"
        return Score(None, (f"This question takes {count}: write {call}.",))
    chosen, wanted = [key for key in options if key in keys], {key for key in options if options[key].get("right")}
    right = keys == wanted
    if not several:
        return Score(right, (f"{RIGHT if right else WRONG} {options[chosen[0]]['feedback']}", *_after(question, right)))
    faults = (len(keys - wanted), "of your choices {} not right."), (len(wanted - keys), "{} missing.")
    faults = [f"{count} {text.format('is' if count == 1 else 'are')}" for count, text in faults if count]
    each = (f"{key}) {'right' if key in wanted else 'not right'}: {options[key]['feedback']}" for key in chosen)
    return Score(right, (RIGHT if right else " ".join((WRONG, *faults)), *each, *_after(question, right)))


def _typed(question, values):
    is_text = isinstance(question["answer"], str)
    call = _call(question) + ('"what is printed")' if is_text else "0.5)")
    if len(values) != 1:
        return Score(None, (f"This question takes one answer: write {call}.",))
    value = values[0]
    if is_text:
        value = value if isinstance(value, str) else shown(value) if type(value) in _PRINTED else ""
        if not value.strip():
            return Score(None, (f"This question takes a text, not {shown(values[0])}: write {call}.",))
    else:
        value = number(value)
        if value is None:
            what = "a number" if not isinstance(values[0], (int, float)) else "an ordinary number"
            return Score(None, (f"This question takes {what}, not {shown(values[0])}: write {call}.",))
    # where a share is asked, 41 is 41 %, unless it is a mistake of its own
    percent = question.get("share") and 1 < value <= 100
    for one in (value, value / 100) if percent else (value,):
        if matches(question, one):
            return Score(True, (RIGHT, *_after(question, True)))
        for mistake in question.get("mistakes", ()):
            if matches(question, one, mistake):
                return Score(False, (f"{WRONG} {mistake['feedback']}",))
    return Score(False, (f"{WRONG} {question['otherwise']}",))


def number(value):
    """A finite float from a number, a numpy or tensor scalar, or a text: "0.41", "0,41", "41 %", "7/17"; else None."""
    if isinstance(value, (bool, bytes, bytearray, type(None))):
        return None
    scale = 1.0
    with contextlib.suppress(Exception):  # whatever the learner's object raises when asked for its number
        if isinstance(value, str):
            text = value.strip().replace("−", "-")
            if text.endswith("%"):
                text, scale = text[:-1], 0.01
            over, slash, under = text.partition("/")
            value = _decimal(over) / _decimal(under) if slash else _decimal(text)
        found = float(value) * scale
        return found if math.isfinite(found) else None
    return None


def _decimal(text):
    """A float from a text with a point or a comma in it."""
    whole, comma, part = text.strip().partition(",")
    if "," in part or "." in text or not comma:
        return float(text)
    thousands = len(part) == 3 and whole.lstrip("-") not in ("", "0")  # 12,345 and not 0,410
    return float(whole + ("" if thousands else ".") + part)


def _after(question, right):
    return (question["explanation"],) if right and question.get("explanation") else ()


def score_recall(question, text, said):
    """Note which concepts learners find in their own words: the judgement is theirs, and nothing is called wrong.

    question: a dict from a question file. text: theirs, any object. said: the numbers of the concepts, from 1, or None
    to see the model answer only. Returns Score; right is None for a text or `said` that cannot be one.
    """
    concepts = question["concepts"]
    if not isinstance(text, str) or not text.strip():
        return Score(None, ("Write it in your own words first, and compare then.",))
    model = [f"{place}. {concept['says']}" for place, concept in enumerate(concepts, 1)]
    if said is None:
        return Score(None, ("A model answer:", *model))
    said = [said] if type(said) is int else said
    known = range(1, len(concepts) + 1)
    if not isinstance(said, (list, tuple, set)) or not all(type(one) is int and one in known for one in said):
        return Score(None, (f"`said` takes the numbers of what you said, from 1 to {len(concepts)}: said=[1, 3].",))
    said, right = tuple(sorted(set(said))), len(set(said)) == len(concepts)
    more = [f"Next time: {line}" for place, line in enumerate(model, 1) if place not in said]
    lines = f"You said {len(said)} of {len(concepts)} concepts.", *more, *_after(question, right)
    return Score(right, lines, said)


def score_exercise(question, answer, **settings):
    """Check the result of an exercise with its function in `study/exercises.py`, `patients.py` or `open_task.py`.

    question: a dict from a question file. answer: any object. settings: what this exercise lets one choose. Returns
    Score. Raises StudyError for a setting that it does not have, QuestionFileError if the exercise has no check, or one
    that returns something else than None or a key of `mistakes` (in a tuple, lines to tell follow).
    """
    name = question["id"]
    check = exercises.CHECKS.get(name)
    if check is None:
        raise QuestionFileError(f"study/exercises.py: {name}: there is no check for this exercise.")
    if is_blank(answer):
        return Score(None, (f"{name}: not attempted yet. {question['prompt']}",))
    for setting in settings.keys() - inspect.signature(check).parameters.keys():
        raise StudyError(f"{name} has no setting {shown(setting)}.")
    expects = f"This exercise expects {question['expects']}"
    try:
        found = check(answer, **settings)
    except StudyError:
        raise
    except (Exception, SystemExit) as error:
        if _raised_in(answer, error):
            what = ""
            with contextlib.suppress(Exception):  # the learner's own exception may fail to tell its text
                what = one_line(str(error), 200)
            return Score(False, (f"{WRONG} Your code raised {type(error).__name__}" + (f": {what}" if what else "."),))
        if inspect.isfunction(answer):
            return Score(None, (f"{expects}: your function does not take or return what is asked.",))
        return Score(None, (f"{expects}, not {a_type(answer)}.",))
    mistake, *figures = found if isinstance(found, tuple) else (found,)
    if mistake is None:
        return Score(True, (RIGHT, *figures, *_after(question, True)))
    told = {"no-return": "Your function returns nothing: end it with `return` and the result.", **question["mistakes"]}
    if not isinstance(mistake, str) or mistake not in told:
        where = f"{question['file']}: {name}: mistakes"
        raise QuestionFileError(f"{where}: has no key {shown(mistake)}, which the check returned.")
    return Score(False, (f"{WRONG} {told[mistake]}", *figures))


def _empty(): ...


def _documented():
    """A function that the learner has not filled in."""
    ...


_EMPTY = {_empty.__code__.co_code, _documented.__code__.co_code}


def is_blank(answer):
    """Whether an answer is not filled in: `...`, None, a list, tuple or dict with `...` in it, a function of `...`."""
    if inspect.isfunction(answer):
        code = answer.__code__
        return code.co_code in _EMPTY and {*code.co_consts} <= {None, answer.__doc__}
    parts = answer.values() if type(answer) is dict else answer if type(answer) in (list, tuple) else (answer,)
    return answer is None or any(part is ... for part in parts)


def _raised_in(answer, error):
    """Whether the learner's function (or another of the same file or cell) was running when the error was raised."""
    if not inspect.isfunction(answer):
        return False
    trace = traceback.walk_tb(error.__traceback__)
    return answer.__code__.co_filename in [frame.f_code.co_filename for frame, _ in trace]
