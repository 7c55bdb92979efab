"""Question files: reading `data/questions/*.yaml`, and saying in plain words what is wrong with one.

The format is told, with an example of each kind, in `data/questions/README.md`, and checked by `schema.json` and the
few rules below that a schema cannot say. A question is a plain dict, as written in its file, plus "section" (cards,
quiz, recall, exercises or challenge) and "file" (the file's name). Where the environment variable FREEZING_FRAMEWORK
names keras or torch (a one-framework edition does), questions read as their fields of that name say.
"""

import contextlib
import difflib
import functools
import json
import os
import re
from pathlib import Path

import yaml

from utils import data

FOLDER = data.FOLDER / "questions"
SECTIONS = ("cards", "quiz", "recall", "exercises", "challenge")
LEVELS = ("beginner", "intermediate", "advanced")
PROBLEMS = ("output", "model", "hyper-parameter", "debug", "concept")  # of the challenge, in the order they are asked
KEYS = "abcdefgh"
FRAMEWORKS = ("keras", "torch")
LARGEST, DEEPEST, ALIASES = 500_000, 20, 12  # a question file's bytes, levels and aliases, at most


class StudyError(Exception):
    """Something the learner or teacher can mend; the message is one sentence that says how."""


class QuestionFileError(StudyError):
    """A question file is missing or has mistakes; the message names file, id and field."""


def find(question, sections=SECTIONS):
    """The question with an id, whose case and blanks do not matter.

    question: text such as "01/ex1". sections: where it may stand. Returns its dict. Raises StudyError for an unknown
    id, QuestionFileError for a file with mistakes.
    """
    if not isinstance(question, str):
        raise StudyError(f'The id of a question is a text such as "01/ex1", not {a_type(question)}.')
    id = re.sub(r"[\s_]+", "-", re.sub(r"\s*([/-])\s*", r"\1", question[:100].strip().lower()))
    own = [path for path in files() if path.name[:2] == id[:2]]
    known = {}
    for path in own or files():  # without a number, the name may stand in any file
        with contextlib.suppress(() if own else QuestionFileError):
            known |= load(path)["questions"]
    if id not in known:
        near = difflib.get_close_matches(id, [key for key, q in known.items() if q["section"] in sections], n=1)
        raise StudyError(f"There is no question {shown(question)}." + (f' Did you mean "{near[0]}"?' if near else ""))
    if known[id]["section"] not in sections:
        raise StudyError(f'"{id}" is {_USE[known[id]["section"]].replace("ID", id)}')
    return known[id]


_USE = {
    "cards": 'a card: show it with cards("ID").',
    "quiz": 'a quiz question: show it with quiz("ID"), answer it with answer("ID", ...).',
    "recall": 'a question for your own words: show it with recall("ID"), answer it with explain("ID", "...").',
    "exercises": 'an exercise: check your result with check("ID", result).',
    "challenge": 'a problem of the challenge: try it without the clock with practice("ID").',
}


def files():
    """The paths of all question files, sorted by number."""
    return sorted(FOLDER.glob("[0-9][0-9]_*.yaml"))


def notebook(name):
    """The content of one notebook's question file.

    name: "01" or "01_freeze_basics" or 1. Returns {"title": text, "questions": {id: dict}}. Raises StudyError.
    """
    is_short = isinstance(name, str) or (isinstance(name, int) and 0 <= name < 100)
    wanted = str(name).strip().lower().removesuffix(".ipynb") if is_short else None
    for path in files():
        if wanted in (path.stem, path.name[:2], path.name[:2].lstrip("0")):
            return load(path)
    raise StudyError(f"There are no questions for {shown(name)}; there are: {', '.join(p.stem for p in files())}.")


_loaded = {}  # path: ((time of change, size, framework), content), so that a teacher's edit shows at the next call


def load(path):
    """Read one question file.

    Returns {"title": text, "questions": {id: dict}}, ids in the file's order. Raises QuestionFileError, which names
    the first mistake and how many more there are.
    """
    path = Path(path)
    framework = os.environ.get("FREEZING_FRAMEWORK", "")
    try:
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


def read(path):
    """Read one question file and list what is wrong with it.

    Returns ({"title", "questions"} or None, problems): problems is a list of sentences "file: id: field: what is
    wrong". Raises nothing for a bad file.
    """
    path = Path(path)
    try:
        raw = _yaml(path)
    except (OSError, UnicodeDecodeError) as error:
        return None, [f"{path.name}: the file cannot be read ({getattr(error, 'strerror', '') or 'it is not UTF-8'})."]
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: such as the date 2026-99-99
        mark, problem = getattr(error, "problem_mark", None), str(getattr(error, "problem", None) or error)
        told = next((plain for sign, plain in _PLAIN.items() if sign in problem), f"{one_line(problem, 80)}")
        return None, [f"{path.name}{f', line {mark.line + 1}' if mark else ''}: {told}."]
    raw = raw if isinstance(raw, dict) else {}
    top, *validators = _validators()
    shell = {field: [] if field in SECTIONS and isinstance(value, list) else value for field, value in raw.items()}
    problems, questions = [f"{path.name}: {fault}" for fault in _faults(top, shell)], {}
    for section, validator in zip(SECTIONS, validators, strict=True):
        for number, entry in enumerate(raw[section] if isinstance(raw.get(section), list) else [], 1):
            name = entry.get("id") if isinstance(entry, dict) else None
            label = name if isinstance(name, str) else f"{section}, number {number}"
            faults = ["id: is used twice"] * (label in questions)
            for variant in _variants(entry):
                faults += _faults(validator, variant) or _rules(variant, path.name[:2])
            problems += [f"{path.name}: {one_line(label, 60)}: {fault}" for fault in dict.fromkeys(faults)]
            questions[label] = {**entry, "section": section, "file": path.name} if isinstance(entry, dict) else {}
    problems = [problem if problem.endswith("?") else f"{problem}." for problem in problems]
    return {"title": raw.get("title"), "questions": questions}, problems


def validate(path):
    """Everything wrong with one question file: a list of sentences, empty for a good file."""
    return read(path)[1]


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """PyYAML's safe loader, which refuses the merge key, and a key that stands twice (PyYAML keeps the last one)."""

    def construct_mapping(self, node, deep=False):
        for place, (key, _) in enumerate(node.value):
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a field's name must be a word", key.start_mark)
            if key.value == "<<" or key.value in [other.value for other, _ in node.value[:place]]:
                what = "is not allowed" if key.value == "<<" else "stands twice"
                told = f"'{one_line(key.value, 40)}' {what} here"
                raise yaml.constructor.ConstructorError(None, None, told, key.start_mark)
        return super().construct_mapping(node, deep)

    def number(self, node):
        """A whole number; one so long that Python refuses to write it is infinite."""
        return self.construct_yaml_int(node) if len(node.value) < 300 else float("inf")


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.number)

_TOO_LARGE = "the file is too large, too deeply nested, or has too many aliases: split it"
_PLAIN = {  # a part of what the YAML parser says (in C or in Python): what it means to a teacher
    "mapping values are not allowed": "there is a second colon: put a text with a colon in quotes",
    "find expected ':'": "a field needs a colon and a blank behind its name, or a text is not indented",
    "start any token": "a text that begins with ` @ or % needs quotes, and lines are indented without tabs",
    "alphabetic or numeric": "a text that begins with & or * needs quotes",
    "undefined alias": "a text that begins with * needs quotes",
    "expected key": "the line is not indented like those above, or a text goes on behind its closing quote",
    "<block end>": "the line is not indented like those above, or a text goes on behind its closing quote",
    "'-' indicator": "an entry of a list begins with - below that of the one before",
    "expected ',' or": "a bracket [ or { is not closed, or a text in it needs quotes",
    "node content": "a bracket [ or { is not closed",
    "end of stream": "a quote is not closed",
    "document indicator": "a quote is not closed",
    "document": "a line of only --- or ... ends the file, and more follows",
    "unacceptable character": "it holds a control character, which cannot be typed",
    "escape": "a backslash stands in double quotes: use single ones",
    "determine a constructor": "a text that begins with ! needs quotes",
}


def _yaml(path):
    """What a YAML file holds. Raises OSError, YAMLError, ValueError or RecursionError."""
    if path.stat().st_size > LARGEST:
        raise yaml.YAMLError(_TOO_LARGE)
    text, depth, aliases = path.read_text(encoding="utf-8"), 0, 0
    for event in yaml.parse(text, _Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        aliases += isinstance(event, yaml.AliasEvent)
        if depth > DEEPEST or aliases > ALIASES:  # else the stack may overflow, or a few lines fill all memory
            raise yaml.YAMLError(_TOO_LARGE)
    return yaml.load(text, _Loader)


@functools.cache
def _validators():
    """The schema's validators: of the file without its entries, and of an entry of each of SECTIONS."""
    import jsonschema  # takes a tenth of a second

    schema = json.loads((Path(__file__).parent / "schema.json").read_text(encoding="utf-8"))
    draft = jsonschema.Draft202012Validator
    numbers = draft.TYPE_CHECKER.redefine("number", lambda _, value: type(value) in (int, float) and abs(value) < 1e300)
    draft = jsonschema.validators.extend(draft, type_checker=numbers)  # no infinite ones
    entries = [schema["properties"][section]["items"] for section in SECTIONS]
    return [draft(schema), *(draft({**entry, "$defs": schema["$defs"]}) for entry in entries)]


def _variants(entry):
    """An entry as it reads in the whole course, and as it reads with one framework only."""
    yield entry
    for framework in FRAMEWORKS if isinstance(entry, dict) else ():
        if isinstance(entry.get(framework), dict):
            yield {key: part for key, part in entry.items() if key not in FRAMEWORKS} | entry[framework]


def _faults(validator, value):
    """What the schema finds wrong: sentences "field: what is wrong". What is misspelt is not called missing, too."""
    faults = [fault for error in validator.iter_errors(value) for fault in _sentences(error)]
    meant = re.findall(r"^(.*?)[^.:\n]*: unknown field, did you mean (.*)\?$", "\n".join(faults), re.M)
    return [fault for fault in faults if fault not in {f"{prefix}{field}: is missing" for prefix, field in meant}]


_TYPES = {"string": "text", "number": "a number", "boolean": "true or false", "array": "a list", "object": "a mapping"}


def _sentences(error):
    path = [str(part + 1 if isinstance(part, int) else part) for part in error.absolute_path]
    rule, wanted, value, sizes = error.validator, error.validator_value, error.instance, error.schema
    if "propertyNames" in error.absolute_schema_path:
        near = difflib.get_close_matches(str(value), wanted, n=1)
        told = "unknown field" + (f", did you mean {near[0]}?" if near else "")
        return [f"{'.'.join([*path, one_line(str(value), 40)])}: {told}"]
    if rule == "required":
        return [f"{'.'.join([*path, name])}: is missing" for name in wanted if name not in value]
    if path and path[0] in FRAMEWORKS:
        told = "must be cut, or a mapping of the fields that read otherwise"
    elif "say" in error.schema:
        told = f"{error.schema['say']}, not {shown(value)}"
    elif rule == "type":
        told = f"must be {_TYPES[wanted]}, not {'one so large' if type(value) in (int, float) else a_type(value)}"
        told = told if wanted == "number" else told.replace("one so large", "a number")
        told += ": put it in quotes" if wanted == "string" else ""
        told += ", write 1.0e-3 for 1e-3" if wanted == "number" and isinstance(value, str) and "e" in value else ""
    elif rule == "enum":
        told = f"must be one of {', '.join(wanted)}, not {shown(value)}"
    elif "maxItems" in sizes:
        told = f"must be {sizes['minItems']} to {sizes['maxItems']}, not {len(value)}"
    else:  # a pattern (any sign but blanks), minItems 1, minProperties 1
        told = "is empty"
    return [": ".join([".".join(path), told] if path else [told])]


def _rules(entry, number):
    """What a schema cannot say, of an entry that fits the schema: sentences "field: what is wrong"."""
    if entry["id"][:2] != number:
        yield f"id: must begin with {number}/, the number of the file, not {shown(entry['id'])}"
    kind, options, mistakes = entry.get("kind"), entry.get("options"), entry.get("mistakes", ())
    if options is not None:
        if list(options) != list(KEYS[: len(options)]) or len(options) < 2:
            yield f"options: must be 2 to {len(KEYS)}, with the keys a, b, c ... in order"
        right = sum(option.get("right", False) for option in options.values())
        if right == 0:
            yield "options: no option is marked right: true"
        if right > 1 and kind != "multiple":
            yield f"options: {right} options are marked right: true, {kind} takes one"
    if "problem" in entry and (kind == "repair") != (entry["problem"] == "debug"):
        yield "kind: must be repair for the problem debug, and for no other"
    for field in ("code", "check") if kind == "repair" else ():
        try:
            compile(entry[field], field, "exec")
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            yield f"{field}: is not Python ({one_line(str(error), 80)})"
    if isinstance(mistakes, dict):
        shows = [sample["mistake"] for sample in entry["wrong"]]
        unknown = [(place, key) for place, key in enumerate(shows, 1) if key not in mistakes]
        for place, key in unknown:
            yield f"wrong.{place}.mistake: must be one of {', '.join(map(str, mistakes))}, not {shown(key)}"
        for key in [] if unknown else [key for key in mistakes if key not in shows]:
            yield f"mistakes.{key}: no entry of `wrong` shows it"
    else:
        wrong = [place for place, mistake in enumerate(mistakes, 1) if matches(entry, mistake["value"])]
        yield from (f"mistakes.{place}.value: is counted as right" for place in wrong)


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


def shown(value):
    """A value as a message may show it: short, and without the address in the repr of an object."""
    if isinstance(value, int) and value.bit_length() > 200:
        return f"a number of about {int(value.bit_length() * 0.30103) + 1:,} digits"  # Python may refuse to write it
    if isinstance(value, str):
        return one_line(f'"{value}"', 60)
    return one_line(repr(value), 60) if isinstance(value, (int, float, complex, type(None))) else a_type(value)


def one_line(text, limit):
    """A text in one line of at most `limit` characters, which every terminal and file can hold."""
    text = " ".join(text.split()).encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= limit else text[: limit - 4] + " ..."


def a_type(value):
    """What a value is, in a learner's words, such as "a number", "an array" or "a DataFrame"."""
    names = {
        **{str: "a text", bool: "true or false", int: "a number", float: "a number", complex: "a complex number"},
        **{list: "a list", dict: "a mapping", bytes: "bytes", type: "a class", type(...): "`...`"},
        **{type(None): "nothing", type(len): "a function", "ndarray": "an array"},
    }
    name = type(value).__name__
    article = "an" if name[:1].lower() in "aeio" else "a"
    return names.get(type(value)) or names.get(name, f"{article} {name}")
