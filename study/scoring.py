"""Scoring of typed and chosen answers, and of exercises: what is right, and the lines to tell. It shows nothing."""

import contextlib
import inspect
import math
from dataclasses import dataclass

from . import exercises, freetext
from .questions import QuestionFileError, a_type, matches, one_line, shown

RIGHT, WRONG = "✔ Correct.", "✘ Not yet."


@dataclass(frozen=True)
class Score:
    """right: True, False, or None for an answer that was refused and does not count; lines: what to tell, plain text.

    best: for free recall, (concepts found, concepts in all).
    """

    right: bool | None
    lines: tuple
    best: tuple | None = None


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
    keys = [value.strip().rstrip(").").lower() if isinstance(value, str) else value for value in values]
    call = _call(question) + ('"a", "b")' if several else '"a")')
    for key, value in zip(keys, values, strict=True):
        if not isinstance(key, str) or key not in options:
            return Score(None, (f"{shown(value)} is none of the choices {', '.join(options)}: write {call}.",))
    chosen = [key for key in options if key in keys]
    if not chosen or (len(chosen) > 1 and not several):
        count = "at least one choice" if several else "one choice"
        return Score(None, (f"This question takes {count}: write {call}.",))
    wanted = {key for key in options if options[key].get("right")}
    right = set(chosen) == wanted
    if not several:
        return Score(right, (f"{RIGHT if right else WRONG} {options[chosen[0]]['feedback']}", *_after(question, right)))
    missing, wrong = len(wanted - set(chosen)), len(set(chosen) - wanted)
    faults = ((wrong, "of your choices {} not right."), (missing, "{} missing."))
    faults = [f"{count} {text.format('is' if count == 1 else 'are')}" for count, text in faults if count]
    verdict = RIGHT if right else " ".join((WRONG, *faults))
    each = (f"{key}) {'right' if key in wanted else 'not right'}: {options[key]['feedback']}" for key in chosen)
    return Score(right, (verdict, *each, *_after(question, right)))


def _typed(question, values):
    is_text = isinstance(question["answer"], str)
    call = _call(question) + ('"what is printed")' if is_text else "0.5)")
    if len(values) != 1:
        return Score(None, (f"This question takes one answer: write {call}.",))
    value = values[0]
    if is_text:
        if not isinstance(value, (str, int, float, type(None))) or not str(value).strip():
            return Score(None, (f"This question takes a text, not {a_type(value)}: write {call}.",))
        value = value if isinstance(value, str) else str(value)
    else:
        number = _number(value)
        if number is None:
            return Score(None, (f"This question takes a number, not {shown(value)}: write {call}.",))
        value = number
    if matches(question, value):
        return Score(True, (RIGHT, *_after(question, True)))
    for mistake in question.get("mistakes", ()):
        if matches(question, value, mistake):
            return Score(False, (f"{WRONG} {mistake['feedback']}",))
    return Score(False, (f"{WRONG} {question['otherwise']}",))


def _number(value):
    """A finite float from a number, a numpy or tensor scalar, or a text such as "0.41", "0,41", "41 %"; else None."""
    if isinstance(value, (bool, bytes, bytearray)) or value is None:
        return None
    scale = 1.0
    if isinstance(value, str):
        value = value.strip().replace("−", "-")
        if value.endswith("%"):
            value, scale = value[:-1], 0.01
        if value.count(",") == 1 and "." not in value:
            whole, _, part = value.partition(",")
            thousands = len(part) == 3 and whole.lstrip("-") not in ("", "0")  # 12,345 and not 0,410
            value = whole + ("" if thousands else ".") + part
    with contextlib.suppress(Exception):  # whatever the learner's object raises when asked for its number
        number = float(value) * scale
        return number if math.isfinite(number) else None
    return None


def _after(question, right):
    return (question["explanation"],) if right and question.get("explanation") else ()


def score_recall(question, text):
    """Score the learner's own words.

    question: a dict from a question file. text: any object. Returns Score; never raises.
    """
    result = freetext.score(question, text)
    if result.refused:
        return Score(None, (result.refused,))
    concepts, found = question["concepts"], sum(result.found)
    said = [f"✔ {concept['name']}" for concept, has in zip(concepts, result.found, strict=True) if has]
    missing = [f"– Hint: {concept['hint']}" for concept, has in zip(concepts, result.found, strict=True) if not has]
    lines = (f"{found} of {len(concepts)} concepts", *said, *missing)
    right = found == len(concepts)
    return Score(right, (*lines, *_after(question, right)), best=(found, len(concepts)))


def score_exercise(question, answer):
    """Check the result of an exercise with its function in `study/exercises.py`.

    question: a dict from a question file. answer: any object. Returns Score. Raises QuestionFileError if the exercise
    has no check, or one that returns something else than None or a key of `mistakes`.
    """
    name = question["id"]
    check = exercises.CHECKS.get(name)
    if check is None:
        raise QuestionFileError(f"study/exercises.py: {name}: there is no check for this exercise.")
    if is_blank(answer):
        return Score(None, (f"{name}: not attempted yet. {question['prompt']}",))
    try:
        mistake = check(answer)
    except (Exception, SystemExit) as error:
        if _raised_in(answer, error):
            what = ""
            with contextlib.suppress(Exception):  # the learner's own exception may fail to tell its text
                what = one_line(str(error), 200)
            return Score(False, (f"{WRONG} Your code raised {type(error).__name__}" + (f": {what}" if what else "."),))
        return Score(None, (f"This exercise expects {question['expects']}, not {a_type(answer)}.",))
    if mistake is None:
        return Score(True, (RIGHT, *_after(question, True)))
    if not isinstance(mistake, str) or mistake not in question["mistakes"]:
        where = f"{question['file']}: {name}: mistakes"
        raise QuestionFileError(f"{where}: has no key {shown(mistake)}, which the check returned.")
    return Score(False, (f"{WRONG} {question['mistakes'][mistake]}",))


def _empty(): ...


def _empty_with_docstring():
    """A function that the learner has not filled in."""
    ...


_EMPTY = {function.__code__.co_code for function in (_empty, _empty_with_docstring)}


def is_blank(answer):
    """Whether an answer is not filled in: `...`, None, a list, tuple or dict with `...` in it, a function of `...`."""
    if answer is ... or answer is None:
        return True
    if type(answer) in (list, tuple):
        return any(value is ... for value in answer)
    if type(answer) is dict:
        return any(value is ... for value in answer.values())
    return (
        inspect.isfunction(answer)
        and answer.__code__.co_code in _EMPTY
        and not any(constant is not None and not isinstance(constant, str) for constant in answer.__code__.co_consts)
    )


def _raised_in(answer, error):
    """Whether the learner's function (or another of the same file or cell) was running when the error was raised."""
    try:
        code = answer.__code__ if inspect.isfunction(answer) else None
        files = {inspect.unwrap(answer).__code__.co_filename} if code else set()
    except Exception:
        return False
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code is code or trace.tb_frame.f_code.co_filename in files:
            return True
        trace = trace.tb_next
    return False
