"""Question files: reading `data/questions/*.yaml`, and saying exactly what is wrong with one that is damaged.

The format is told, with an example of each kind, in `data/questions/README.md`. A question is a plain dict, as written
in its file, plus "section" (cards, quiz, recall, exercises or challenge) and "file" (the file's name). Where the
environment variable FREEZING_FRAMEWORK names keras or torch (a one-framework edition does), questions read as its
fields say.
"""

import difflib
import os
import re
import sys
from pathlib import Path

import yaml

from utils import data

from . import freetext

FOLDER = data.FOLDER / "questions"
SECTIONS = ("cards", "quiz", "recall", "exercises", "challenge")
LEVELS = ("beginner", "intermediate", "advanced")
KINDS = ("single", "multiple", "numeric", "output")
PROBLEMS = ("output", "model", "hyper-parameter", "debug", "concept")  # of the challenge, in the order they are asked
ID = re.compile(r"\d\d/[a-z0-9]+(-[a-z0-9]+)*")
KEYS = "abcdefgh"
FRAMEWORKS = ("keras", "torch")
LARGEST = 1_000_000  # bytes of a question file
NESTED = 10_000  # signs in it that may open a level: [ { ? -
SAMPLES = 6  # accepted and rejected sample sentences a free-recall prompt needs, each


class StudyError(Exception):
    """Something the learner or teacher can mend; the message is one sentence that says how."""


class QuestionFileError(StudyError):
    """A question file is missing or has mistakes; the message names file, id and field."""


def find(question, sections=SECTIONS):
    """The question with an id.

    question: text such as "01/ex1". sections: where it may stand. Returns its dict. Raises StudyError for an unknown
    id, QuestionFileError for a file with mistakes.
    """
    if not isinstance(question, str):
        raise StudyError(f'The id of a question is a text such as "01/ex1", not {a_type(question)}.')
    path = _file_of(question[:2])
    known = load(path)["questions"] if path else {}
    found = known.get(question)
    if found is None:
        near = difflib.get_close_matches(question, known, n=1)
        meant = f' Did you mean "{near[0]}"?' if near else ""
        raise StudyError(f"There is no question {shown(question)}.{meant}")
    if found["section"] not in sections:
        raise StudyError(f'"{question}" is {_USE[found["section"]]}')
    return found


_USE = {
    "cards": 'a card: show it with cards(["id"]).',
    "quiz": 'a quiz question: show it with quiz("id"), answer it with answer("id", ...).',
    "recall": 'a question for your own words: answer it with explain("id", "...").',
    "exercises": 'an exercise: check your result with check("id", result).',
    "challenge": 'a problem of the challenge: try it without the clock with practice("id").',
}


def files():
    """The paths of all question files, sorted by number."""
    return sorted(FOLDER.glob("[0-9][0-9]_*.yaml"))


def _file_of(number):
    return next((path for path in files() if path.name[:2] == number), None)


def notebook(name):
    """The content of one notebook's question file.

    name: "01" or "01_freeze_basics" or 1. Returns {"title": text, "questions": {id: dict}}. Raises StudyError.
    """
    number = f"{name:02d}" if isinstance(name, int) else str(name)[:2]
    path = _file_of(number)
    if path is None or not (path.stem == str(name) or str(name) in (number, str(int(number)))):
        raise StudyError(f"There are no questions for {shown(name)}; there are: {', '.join(p.stem for p in files())}.")
    return load(path)


_loaded = {}  # path: ((time of change, size, framework), content), so that a teacher's edit shows at the next call


def load(path):
    """Read one question file.

    Returns {"title": text, "questions": {id: dict}}, ids in the file's order. Raises QuestionFileError, which names
    the first mistake and how many more there are.
    """
    path = Path(path)
    try:
        framework = os.environ.get("FREEZING_FRAMEWORK", "")
        stamp = (path.stat().st_mtime_ns, path.stat().st_size, framework)
    except OSError:
        raise QuestionFileError(f"{path.name}: this question file is missing.") from None
    if _loaded.get(path, (None,))[0] != stamp:
        content, problems = read(path)
        if problems:
            more = f" ({len(problems) - 1} more: run python -m study)" if problems[1:] else ""
            raise QuestionFileError(problems[0] + more)
        _loaded[path] = (stamp, {**content, "questions": for_framework(content["questions"], framework)})
    return _loaded[path][1]


def for_framework(questions, framework):
    """The questions of an edition that has only one framework.

    questions: {id: dict}. framework: "keras" or "torch"; anything else changes nothing. Returns {id: dict} without
    those whose field of that name is `cut`, and with the fields that it holds put in place of the question's own.
    """
    if framework not in FRAMEWORKS:
        return questions
    left = {id: question for id, question in questions.items() if question.get(framework) != "cut"}
    return {id: {**question, **question.get(framework, {})} for id, question in left.items()}


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """PyYAML's safe loader, which also refuses a key that stands twice (PyYAML keeps the last one silently), and the
    merge key `<<`, by which a few lines can grow to fill all memory."""

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.value in seen:
                what = f"{key.value!r} stands twice" if isinstance(key, yaml.ScalarNode) else "a key must be a word"
                raise yaml.constructor.ConstructorError(None, None, what, key.start_mark)
            if key.tag == "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(None, None, "'<<' is not allowed here", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read(path):
    """Read one question file and list what is wrong with it.

    Returns ({"title", "questions"}, problems): problems is a list of sentences "file: id: field: what is wrong".
    Raises nothing for a bad file.
    """
    path, problems = Path(path), []
    try:
        text = path.read_text(encoding="utf-8") if path.stat().st_size <= LARGEST else None
        # what may nest deeper would overflow libyaml's stack, which ends the kernel
        if text is None or sum(map(text.count, "[{?-")) > NESTED:
            return None, [f"{path.name}: the file is too large or too deeply nested: split it."]
        raw = yaml.load(text, _Loader)
    except (OSError, UnicodeDecodeError) as error:
        return None, [f"{path.name}: the file cannot be read ({error})."]
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: such as the date 2026-99-99
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        return None, [f"{path.name}{line}: not YAML: {getattr(error, 'problem', None) or type(error).__name__}."]
    top = _Reader(path.name, "", problems)
    if not isinstance(raw, dict):
        return None, [f"{path.name}: the file needs a title and lists of questions, see data/questions/README.md."]
    top.fields(raw, {"title": top.text}, dict.fromkeys(SECTIONS, top.list))
    questions = {}
    for section in SECTIONS:
        entries = raw.get(section)
        for number, entry in enumerate(entries if isinstance(entries, list) else [], 1):
            name = entry.get("id") if isinstance(entry, dict) else None
            label = name if isinstance(name, str) else f"{section}, number {number}"
            reader = _Reader(path.name, label, problems)
            if not isinstance(entry, dict):
                reader.problem("", f"must be a mapping with an id, not {a_type(entry)}")
                continue
            reader.id(entry, questions)
            for variant in reader.variants(entry):
                getattr(reader, section)(variant)
            questions[label] = {**entry, "section": section, "file": path.name}
    return {"title": raw.get("title"), "questions": questions}, problems


class _Reader:
    """Checks one entry, field by field, and adds what is wrong to `problems`."""

    def __init__(self, file, name, problems):
        self.where = f"{file}: {name}" if name else file
        self.number, self.problems = file[:2], problems

    def problem(self, field, what):
        self.problems.append(": ".join(part for part in (self.where, field, what) if part) + ".")

    # kinds of field

    def fields(self, entry, required, optional, prefix=""):
        """Each required field must be there, no other than the optional ones may be, and each must have its type."""
        if not isinstance(entry, dict):
            needed = ", ".join(required)
            return self.problem(prefix.rstrip("."), f"must be a mapping with {needed}, not {a_type(entry)}")
        for field in required:
            if field not in entry:
                self.problem(prefix + field, "is missing")
        for field, value in entry.items():
            check = required.get(field) or optional.get(field)
            if check is None:
                near = difflib.get_close_matches(str(field), [*required, *optional], n=1)
                self.problem(f"{prefix}{field}", "unknown field" + (f", did you mean {near[0]}?" if near else ""))
            else:
                check(prefix + field, value)

    def text(self, field, value):
        if not isinstance(value, str):
            self.problem(field, f"must be text, not {a_type(value)}: put it in quotes")
        elif not value.strip():
            self.problem(field, "is empty")

    def number_(self, field, value):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= sys.float_info.max:
            hint = ", write 1.0e-3 for 1e-3" if isinstance(value, str) and "e" in value.lower() else ""
            what = "one so large" if a_type(value) == "a number" else a_type(value)
            self.problem(field, f"must be a number, not {what}{hint}")

    def tolerance(self, field, value):
        before = len(self.problems)
        self.number_(field, value)
        if len(self.problems) == before and value < 0:
            self.problem(field, "must not be negative")

    def flag(self, field, value):
        if not isinstance(value, bool):
            self.problem(field, f"must be true or false, not {a_type(value)}")

    def list(self, field, value):
        if not isinstance(value, list):
            self.problem(field, f"must be a list, not {a_type(value)}")

    def texts(self, field, value):
        self.list(field, value)
        for text in value if isinstance(value, list) else []:
            self.text(field, text)

    def anything(self, field, value):
        """A field that is looked at elsewhere."""

    def one_of(self, *allowed):
        def check(field, value):
            if value not in allowed:
                self.problem(field, f"must be one of {', '.join(allowed)}, not {shown(value)}")

        return check

    def id(self, entry, known):
        name = entry.get("id")
        if "id" not in entry:
            self.problem("id", "is missing")
        elif not isinstance(name, str) or not ID.fullmatch(name) or name[:2] != self.number:
            like = f"{self.number}/some-words (small letters, digits, -)"
            self.problem("id", f"must look like {like}, not {shown(name)}")
        elif name in known:
            self.problem("id", "is used twice")

    def variants(self, entry):
        """The entry as it reads in the whole course, and as it reads with one framework only."""
        plain = {field: value for field, value in entry.items() if field not in FRAMEWORKS}
        yield plain
        for framework in FRAMEWORKS:
            value = entry.get(framework, "cut")
            if isinstance(value, dict) and value and "id" not in value:
                yield plain | value
            elif value != "cut":
                self.problem(framework, "must be cut, or a mapping of the fields that read otherwise")

    # the five sections

    def cards(self, entry):
        self.fields(
            entry, {"id": self.anything, "level": self.one_of(*LEVELS), "front": self.text, "back": self.text}, {}
        )

    def quiz(self, entry):
        required = {"id": self.anything, "kind": self.one_of(*KINDS), "prompt": self.text}
        optional = {"code": self.text, "explanation": self.text, "hints": self.texts, "predict": self.flag}
        self.question(entry, required, optional)

    def challenge(self, entry):
        required = {"id": self.anything, "problem": self.one_of(*PROBLEMS), "prompt": self.text}
        required |= {"kind": self.one_of(*KINDS, "repair"), "seconds": self.seconds, "hint": self.text}
        required |= {"explanation": self.text}
        optional = {"code": self.text, "practice": self.flag}
        if (entry.get("kind") == "repair") != (entry.get("problem") == "debug"):
            self.problem("kind", "must be repair for the problem debug, and for no other")
        if entry.get("kind") != "repair":
            return self.question(entry, required, optional)
        required |= {"code": self.text, "check": self.text, "mistakes": self.anything}
        self.fields(entry, {**required, "right": self.texts, "wrong": self.list}, optional)
        if entry.get("right") == []:
            self.problem("right", "needs at least one repaired code")
        self.mistakes_shown(entry)
        for field in ("code", "check"):
            self.python(field, entry.get(field))

    def python(self, field, value):
        try:
            compile(value, field, "exec") if isinstance(value, str) else None
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            self.problem(field, f"is not Python ({error})")

    def seconds(self, field, value):
        if isinstance(value, bool) or not isinstance(value, int) or not 90 <= value <= 150:
            self.problem(field, f"must be a whole number from 90 to 150, not {shown(value)}")

    def question(self, entry, required, optional):
        """The fields of a quiz question: options, or an answer that is typed."""
        kind = entry.get("kind")
        if kind in ("single", "multiple") or (kind == "output" and "answer" not in entry):
            self.fields(entry, {**required, "options": self.anything}, optional)
            self.options(entry.get("options"), kind) if "options" in entry else None
        elif kind in ("numeric", "output"):
            self.typed(entry, required, optional)
        else:
            self.one_of(*KINDS)("kind", kind) if "kind" in entry else self.problem("kind", "is missing")

    def options(self, options, kind):
        if not isinstance(options, dict):
            return self.problem("options", f"must be a mapping a: ..., b: ..., not {a_type(options)}")
        if list(options) != list(KEYS[: len(options)]) or len(options) < 2:
            self.problem("options", f"must be 2 to {len(KEYS)}, with the keys a, b, c ... in order")
        for key, option in options.items():
            self.fields(option, {"text": self.text, "feedback": self.text}, {"right": self.flag}, f"options.{key}.")
        right = sum(isinstance(option, dict) and option.get("right") is True for option in options.values())
        if right == 0:
            self.problem("options", "no option is marked right: true")
        if right > 1 and kind != "multiple":
            self.problem("options", f"{right} options are marked right: true, {kind} takes one")

    def typed(self, entry, required, optional):
        """A question whose answer is typed: a number, or (kind output) a text."""
        numbers = entry["kind"] == "numeric" or not isinstance(entry.get("answer"), str)
        value = self.number_ if numbers else self.text
        required = {**required, "answer": value, "otherwise": self.text}
        if numbers:
            required["tolerance"] = self.tolerance
        self.fields(entry, required, {**optional, "mistakes": self.list})
        for number, mistake in enumerate(entry["mistakes"] if isinstance(entry.get("mistakes"), list) else [], 1):
            prefix, before = f"mistakes.{number}.", len(self.problems)
            self.fields(
                mistake,
                {"value": value, "feedback": self.text},
                {"tolerance": self.tolerance} if numbers else {},
                prefix,
            )
            if len(self.problems) == before and not self.problems and matches(entry, mistake["value"]):
                self.problem(prefix + "value", "is counted as right")

    def recall(self, entry):
        self.fields(
            entry,
            {"id": self.anything, "prompt": self.text, "concepts": self.list},
            {"accepted": self.texts, "rejected": self.texts, "explanation": self.text},
        )
        concepts = entry["concepts"] if isinstance(entry.get("concepts"), list) else []
        if not 4 <= len(concepts) <= 6:
            self.problem("concepts", f"must be 4 to 6, not {len(concepts)}")
        for number, concept in enumerate(concepts, 1):
            prefix = f"concepts.{number}."
            self.fields(
                concept,
                {"name": self.text, "hint": self.text, "accepted": self.texts, "rejected": self.texts},
                {"says": self.patterns, "denies": self.patterns, "contradicts": self.patterns},
                prefix,
            )
            if isinstance(concept, dict):
                if not concept.get("says") and not concept.get("denies"):
                    self.problem(prefix + "says", "is missing (or denies)")
                for samples in ("accepted", "rejected"):
                    if concept.get(samples) == []:
                        self.problem(prefix + samples, "needs at least one sentence")
        for samples in ("accepted", "rejected"):
            total = sum(len(c.get(samples) or ()) for c in [entry, *concepts] if isinstance(c, dict))
            if total < SAMPLES:
                self.problem(samples, f"{total} sample sentences in all, at least {SAMPLES} are needed")

    def patterns(self, field, value):
        self.list(field, value)
        for pattern in value if isinstance(value, list) else []:
            fault = freetext.pattern_fault(pattern)
            if fault:
                self.problem(field, f"{shown(pattern)} {fault}")

    def exercises(self, entry):
        self.fields(
            entry,
            {
                "id": self.anything,
                "prompt": self.text,
                "expects": self.text,
                "mistakes": self.anything,
                "wrong": self.list,
            },
            {"hints": self.texts, "explanation": self.text},
        )
        self.mistakes_shown(entry)

    def mistakes_shown(self, entry):
        """`mistakes` gives keys their hints, and each has an example among `wrong`."""
        mistakes = entry.get("mistakes", {})
        if not isinstance(mistakes, dict) or not mistakes and "mistakes" in entry:
            self.problem("mistakes", "must be a mapping of key: hint")
            mistakes = {}
        for key, hint in mistakes.items():
            self.text(f"mistakes.{key}", hint)
        wrong = entry["wrong"] if isinstance(entry.get("wrong"), list) else []
        for number, sample in enumerate(wrong, 1):
            self.fields(
                sample, {"mistake": self.one_of(*map(str, mistakes)), "code": self.text}, {}, f"wrong.{number}."
            )
        shown = {sample.get("mistake") for sample in wrong if isinstance(sample, dict)}
        for key in mistakes:
            if key not in shown:
                self.problem(f"mistakes.{key}", "no entry of `wrong` shows this mistake")


def matches(question, value, target=None):
    """Whether a typed value is the answer of a numeric or output question.

    value: a number, or text. target: one of its `mistakes`, to compare with that instead. Returns bool.
    """
    wanted = question["answer"] if target is None else target["value"]
    if isinstance(wanted, str):
        return _lines(value) == _lines(wanted)
    tolerance = (target or {}).get("tolerance", question["tolerance"])
    # a hair more than the tolerance, because 0.43 - 0.41 is not quite 0.02 in binary
    return abs(value - wanted) <= tolerance + 1e-9 * max(1.0, abs(wanted))


def _lines(text):
    return [" ".join(line.split()) for line in str(text).strip().splitlines()]


def validate(path):
    """Everything wrong with one question file: its format, and each sample sentence that scores otherwise than it says.

    Returns a list of sentences, empty for a good file. Raises nothing for a bad file.
    """
    content, problems = read(path)
    if problems:
        return problems
    for framework in ("", *FRAMEWORKS):
        for name, question in for_framework(content["questions"], framework).items():
            if question["section"] == "recall":
                problems += [f"{Path(path).name}: {name}: {fault}." for fault in freetext.sample_faults(question)]
    return list(dict.fromkeys(problems))


def shown(value):
    """A value as a message may show it: short, and without the address in the repr of an object."""
    if isinstance(value, int) and value.bit_length() > 200:
        return "a number"  # Python refuses to write one of more than 4300 digits
    if isinstance(value, (str, int, float, bool, type(None))):
        return one_line(f'"{value}"' if isinstance(value, str) else repr(value), 60)
    return a_type(value)


def one_line(text, limit):
    """A text in one line of at most `limit` characters, which every terminal and file can hold."""
    text = " ".join(text.split()).encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= limit else text[: limit - 4] + " ..."


def a_type(value):
    """What a value is, in a learner's words, such as "a number" or "a DataFrame"."""
    names = {
        str: "a text",
        bool: "true or false",
        int: "a number",
        float: "a number",
        list: "a list",
        dict: "a mapping",
        type(None): "nothing",
    }
    return names.get(type(value), f"a {type(value).__name__}")
