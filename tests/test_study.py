"""study: scoring of every kind of question, own words, question files, views, progress."""

import ast
import json
import multiprocessing
import os
import random
import re
import sys
from fractions import Fraction
from pathlib import Path

import pytest

import study
from study import exercises, questions, scoring, views
from study.__main__ import mistakes
from study.progress import Progress

FIXTURES = Path(__file__).parent / "questions"
DEMO = questions.read(FIXTURES / "90_demo.yaml")[0]["questions"]
FILES = [*questions.files(), *sorted(FIXTURES.glob("*.yaml"))]


@pytest.fixture
def demo(demo, monkeypatch):
    """The demo questions, with a check for the demo's exercise."""
    monkeypatch.setitem(exercises.CHECKS, "90/ex1", double)
    return demo


def double(answer):
    if answer(1) is None:
        return "no-return"
    if answer(1) == 2 and answer(3) == 6:
        return None
    return "squared" if answer(3) == 9 else "other"


@pytest.fixture
def said(capsys):
    """Calls a learner function and returns the lines that it printed."""

    def call(function, *values, **named):
        function(*values, **named)
        return capsys.readouterr().out.splitlines()

    return call


# ---------------------------------------------------------------- quiz


def test_single(demo, said):
    assert said(study.answer, "90/single", "a") == [
        "✘ Not yet. The gradient passes through the layer, but the optimizer is never given these weights."
    ]
    right = ["✔ Correct. Bit for bit the same as before.", "  Other layers move."]
    assert said(study.answer, "90/single", " B) ") == right
    assert said(study.answer, "90/single", "a little") == [
        '"a little" is none of the choices a, b, c: write answer("90/single", "a").'
    ]
    for values in (("a", "b"), ("a, b",), (), ("",)):
        assert said(study.answer, "90/single", *values)[0].startswith("This question takes one choice")


def test_multiple(demo, said):
    assert said(study.answer, "90/multiple", "a", "b") == [
        "✘ Not yet. 1 of your choices is not right. 1 is missing.",
        "  a) right: They are counted apart.",
        "  b) not right: A frozen weight is still a weight.",
    ]
    assert said(study.answer, "90/multiple", "a")[0] == "✘ Not yet. 1 is missing."
    for values in (("c", "a", "a"), (["a", "c"],), ("a,c",), ("C and A",), ("(a) c)",)):
        assert said(study.answer, "90/multiple", *values)[0] == "✔ Correct."


@pytest.mark.parametrize(
    "value, right",
    [
        *dict.fromkeys((0.41, 0.43, 0.39, Fraction(7, 17), 41, 42.5), True).items(),
        *dict.fromkeys(("0.41", "0,41", " 41 % ", "41%", "41", "41,2", "7/17", "7 / 17", "4.1e-1"), True).items(),
        *dict.fromkeys((0.44, 1, 1.01, -0.41, 410, "0.41 %", "70/17", "1,234"), False).items(),
        *dict.fromkeys((10**400, float("nan"), float("inf"), True, None, "many", "", "7/0", "7/", ..., 1j)).items(),
    ],
)
def test_numeric(value, right):
    score = scoring.score(DEMO["90/numeric"], value)
    assert score.right is right
    if right is None:
        assert re.fullmatch(r"This question takes an? (ordinary )?number, not .+: write answer\(.+\)\.", score.lines[0])


def test_numeric_mistakes_have_their_own_feedback():
    told = {
        0.33: "That counts the forward",
        "33 %": "That counts the forward",
        1: "That is a step",
        0.5: "Count forward",
    }
    for value, feedback in told.items():
        assert scoring.score(DEMO["90/numeric"], value).lines[0].startswith(f"✘ Not yet. {feedback}")


def test_numbers_as_learners_write_them():
    written = {"12,345": 12345, "0,410": 0.41, "1,5": 1.5, "61013": 61013, "−3": -3, "50%": 0.5, 51.7: 51.7, "1e3": 1e3}
    assert {text: scoring.number(text) for text in written} == pytest.approx(written)


def test_a_number_is_a_percentage_only_where_a_share_is_asked_and_nothing_else_is_meant():
    share = DEMO["90/numeric"]
    assert scoring.score({**share, "share": False}, 41).right is False
    own = {**share, "mistakes": [{"value": 41, "tolerance": 0, "feedback": "The pieces."}]}
    assert scoring.score(own, 41).lines == ("✘ Not yet. The pieces.",)
    assert scoring.score(own, "41 %").right is True


def test_output():
    text, number = DEMO["90/output-text"], DEMO["90/output-number"]
    assert scoring.score(DEMO["90/output-choice"], "b").right is True
    typed = {"True\na b": True, "True  \n a  b\n": True, "true\na b": False, 5: False, "": None, (): None}
    assert {value: scoring.score(text, value).right for value in typed} == typed
    assert "It was frozen." in scoring.score(text, "False\na b").lines[0]
    assert [scoring.score(number, value).right for value in (0, "0", 1, "none")] == [True, True, False, None]


def test_an_id_is_forgiven_its_case_and_blanks_and_a_wrong_one_gets_one_of_its_kind(demo, said):
    for id in (" 90/Output-Number ", "90 / output number", "90/output_number"):
        assert said(study.answer, id, 0) == ["✔ Correct."]
    assert said(study.answer, "90/singel") == ['There is no question "90/singel". Did you mean "90/single"?']
    assert said(study.quiz, "single") == ['There is no question "single". Did you mean "90/single"?']
    assert said(study.quiz, "90/explaim") == ['There is no question "90/explaim".']  # a recall question is no quiz
    assert said(study.recall, "90/explaim")[0].endswith('Did you mean "90/explain"?')
    assert said(study.answer, "90/explain", "a") == [
        '"90/explain" is a question for your own words: show it with recall("90/explain"), '
        'answer it with explain("90/explain", "...").'
    ]
    assert said(study.cards, "91") == ['There are no questions for "91"; there are: 90_demo.']


def test_hints_do_not_tell_the_answer_before_the_end(demo, said):
    lines = [said(study.hint, "90/single")[0] for _ in range(4)]
    assert lines[0] == "Hint 1 of 2: Who changes weights, the gradient or the optimizer?"
    assert not any("Not at all" in line for line in lines[:3])
    assert lines[2].endswith("Ask once more to see the answer.") and lines[3] == "The answer: b) Not at all."
    lines = [said(study.hint, "90/ex1")[0] for _ in range(3)]
    assert lines[0] == "Hint 1 of 1: Two times x." and lines[2].startswith("The solution is folded below")
    lines = [said(study.hint, "90/output-number")[0] for _ in range(2)]
    assert lines == ["There is no hint to this question. Ask once more to see the answer.", "The answer: 0"]


def test_cards_by_notebook_by_level_and_by_id(demo, said):
    assert said(study.cards, "90") == said(study.cards, 90) == ["Cards: 1 beginner, 1 advanced"]
    assert said(study.cards, "90", "advanced") == said(study.cards, "90/card-markup") == ["Cards: 1 advanced"]
    assert said(study.cards, ["90/card-frozen"]) == ["Cards: 1 beginner"]
    assert said(study.cards, "90", "easy") == ["level must be one of beginner, intermediate, advanced."]
    assert said(study.cards, "90", "intermediate") == ["There is no such card."]


class Hostile:
    def __repr__(self):
        raise RuntimeError("no repr")

    __str__ = __float__ = __bool__ = __eq__ = __hash__ = __len__ = __iter__ = __repr__


STRANGE = [None, ..., True, -1, 10**5000, float("nan"), 1j, b"a", "", "a,c", [], ["a", ["b"]], {"a": 1}, range(3), len]
STRANGE += [object(), Hostile, Hostile(), lambda: 1, (x for x in "ab"), "<b>", "(" * 5000, "a" * 100_000, "\ud800\x00"]


@pytest.mark.parametrize("value", STRANGE, ids=range(len(STRANGE)))
def test_anything_is_scored_or_refused_in_plain_sentences(demo, said, value):
    calls = {"quiz": [study.answer], "recall": [study.explain], "exercises": [study.check]}
    for name, question in DEMO.items():
        for function in calls.get(question["section"], ()):
            told = " ".join(said(function, name, value))
            assert told and not re.search(r"0x|Traceback|an? number, not a number[:.]|\ba [aeio]\w+", told)
    assert len(said(study.explain, "90/explain", "Own words.", value)) in (1, 5, 6)
    for function in (study.quiz, study.recall, study.answer, study.check, study.hint):
        assert len(said(function, value)) == 1  # no such id
    assert len(said(study.cards, value)) == 1


# ---------------------------------------------------------------- own words


def test_own_words_are_compared_by_the_learner(demo, said):
    shown = said(study.explain, "90/explain", "It does not learn.")
    assert shown[0] == "A model answer:" and shown[1] == "  1. The weights of a frozen layer stay the same."
    assert len(shown) == 6 and shown[-1].endswith('explain("90/explain", "...", said=[1, 3]) records it.')
    assert study._progress.entries()[0] == {}
    assert said(study.explain, "90/explain", "It does not learn.", said=[1, 3, 1]) == [
        "You said 2 of 4 concepts.",
        "  Next time: 2. The gradient passes through it, to the layers in front, as `x @ W.T`.",
        "  Next time: 4. A step is faster.",
    ]
    assert said(study.hint, "90/explain") == ["Hint 1 of 2: Can a layer in front of it still learn?"]
    assert re.search(r'2 of 4 concepts, [\d-]+: recall\("90/explain"\)', " ".join(said(study.progress)))
    assert [q["id"] for q in study._most_needed([DEMO], study._entries())][0] == "90/explain"
    assert said(study.explain, "90/explain", "All of it.", said=(1, 2, 3, 4)) == [
        "You said 4 of 4 concepts.",
        "  Weights are kept, gradients pass.",
    ]
    assert study._progress.entries()[0]["90/explain"]["last_right"]


def test_own_words_that_are_none(demo, said):
    for text in ("", "  \n", None, 5):
        assert said(study.explain, "90/explain", text) == ["Write it in your own words first, and compare then."]
    for wrong in ([0], [5], ["1"], "1", [True], 1.0, [None]):
        told = said(study.explain, "90/explain", "Own words.", said=wrong)
        assert told == ["`said` takes the numbers of what you said, from 1 to 4: said=[1, 3]."]
    assert study._progress.entries()[0] == {}


# ---------------------------------------------------------------- exercises


def test_exercise(demo, said, monkeypatch):
    assert said(study.check, "90/ex1", ...)[0].startswith("90/ex1: not attempted yet. Write `double(x)`")
    assert said(study.check, "90/ex1") == said(study.check, "90/ex1", None) == said(study.check, "90/ex1", [1, ...])

    def unfilled(x):
        """Twice the number."""
        ...

    def forgets(x):
        x * 2

    def raises(x):
        raise ValueError("no\nnumber")

    def leaves(x):
        raise SystemExit(3)

    assert "not attempted yet" in said(study.check, "90/ex1", unfilled)[0]
    assert said(study.check, "90/ex1", lambda x: 2 * x) == ["✔ Correct.", "  Two times x it is."]
    assert said(study.check, "90/ex1", lambda x: x) == ["✘ Not yet. Try double(1)."]
    assert said(study.check, "90/ex1", forgets)[0].startswith("✘ Not yet. Your function returns nothing: end it with")
    assert said(study.check, "90/ex1", raises) == ["✘ Not yet. Your code raised ValueError: no number"]
    assert said(study.check, "90/ex1", leaves) == ["✘ Not yet. Your code raised SystemExit: 3"]
    assert said(study.check, "90/ex1", 5) == ["This exercise expects a function of one number, not a number."]
    monkeypatch.setitem(exercises.CHECKS, "90/ex1", eval("lambda function: function(1) + 1"))
    assert said(study.check, "90/ex1", str) == ["This exercise expects a function of one number, not a class."]
    assert said(study.check, "90/ex1", lambda x: "2") == [
        "This exercise expects a function of one number: your function does not take or return what is asked."
    ]


def test_a_solution_of_the_course_is_not_the_learners_success(demo, said):
    assert said(study.check, "90/ex1", lambda x: 2 * x, counts=False) == ["✔ Correct."]
    assert "90/ex1" not in study._progress.entries()[0]


def test_a_check_may_tell_figures_and_take_settings(demo, said, monkeypatch):
    monkeypatch.setitem(
        exercises.CHECKS, "90/ex1", lambda answer, draw=0: (None if answer > draw else "other", f"{draw}")
    )
    assert said(study.check, "90/ex1", 1) == ["✔ Correct.", "  0", "  Two times x it is."]
    assert said(study.check, "90/ex1", 1, draw=2) == ["✘ Not yet. Try double(1).", "  2"]
    assert said(study.check, "90/ex1", 1, seed=2) == ['90/ex1 has no setting "seed".']
    monkeypatch.setitem(exercises.CHECKS, "90/ex1", exercises.CHECKS["09/open-task"])
    for draw in (-1, 0.5, True, "1"):
        assert said(study.check, "90/ex1", len, draw=draw)[0].startswith("The draw must be a whole number from 0, not ")


def test_a_check_that_names_no_mistake_and_one_that_is_missing(demo, said, monkeypatch):
    monkeypatch.setitem(exercises.CHECKS, "90/ex1", lambda answer: "unheard-of")
    assert said(study.check, "90/ex1", 1) == [
        '90_demo.yaml: 90/ex1: mistakes: has no key "unheard-of", which the check returned.'
    ]
    monkeypatch.delitem(exercises.CHECKS, "90/ex1")
    assert said(study.check, "90/ex1", 1) == ["study/exercises.py: 90/ex1: there is no check for this exercise."]


# ---------------------------------------------------------------- question files


def test_question_files_are_right_and_fit_the_checks():
    assert mistakes() == questions.validate(FIXTURES / "90_demo.yaml") == []


MISTAKES = [  # (what stands in the demo file, what is put in its place, how the one sentence goes on)
    ("kind: single", "kind: singel", ': 90/single: kind: must be one of single, multiple, numeric, output, not "singe'),
    ("    kind: single\n", "", ": 90/single: kind: is missing."),
    ("predict: true", "predikt: true", ": 90/single: predikt: unknown field, did you mean predict?"),
    ("predict: true", "predict: 1", ": 90/single: predict: must be true or false, not a number."),
    ("predict: true", "answer: 1", ": 90/single: answer: unknown field."),
    ("        right: true\n", "", ": 90/single: options: no option is marked right: true."),
    ("\n        feedback: Bit for bit the same as before.", "", ": 90/single: options.b.feedback: is missing."),
    ("      b:\n        text: Not", "      d:\n        text: Not", ": 90/single: options: must be 2 to 8, with the ke"),
    ("feedback: The grad", "right: true\n        feedback: The grad", ": 90/single: options: 2 options are marked rig"),
    ("text: Not at all.", "text: ''", ": 90/single: options.b.text: is empty."),
    ("  - id: 90/multiple", "  - id: 90/single", ": 90/single: id: is used twice."),
    ("  - id: 90/multiple", "  - id: 91/multiple", ": 91/multiple: id: must begin with 90/, the number of the file"),
    ("  - id: 90/multiple", "  - id: 90/Mult", ": 90/Mult: id: must look like 01/some-words (small letters, digits, -"),
    ("  - id: 90/multiple\n    kind", "  - kind", ": quiz, number 2: id: is missing."),
    ("tolerance: 0.02", "tolerance: -0.02", ": 90/numeric: tolerance: must be 0 or more, not -0.02."),
    ("answer: 0.41", "answer: 4e-1", ": 90/numeric: answer: must be a number, not a text, write 1.0e-3 for 1e-3."),
    ("answer: 0.41", "answer: .inf", ": 90/numeric: answer: must be a number, not one so large."),
    ("otherwise: Count forward", "other: x", ": 90/numeric: other: unknown field, did you mean otherwise?"),
    ("{value: 0.33", "{value: 0.42", ": 90/numeric: mistakes.1.value: is counted as right."),
    ("back: Its trained weights.", "back: 5", ": 90/card-frozen: back: must be text, not a number: put it in quotes."),
    ("      - says: It still computes its output.\n", "      - sais: x\n", ": 90/explain: concepts.3.sais: unknown fi"),
    (
        "\n      - says: A step is faster.\n        hint: Look at the clock of one step.",
        "",
        ": 90/explain: concepts: must ",
    ),
    ("mistakes:\n      squared", "mistakes:\n      cubed: x\n      squared", ": 90/ex1: mistakes.cubed: no entry of `"),
    ("mistake: squared, code", "mistake: square, code", ": 90/ex1: wrong.1.mistake: must be one of squared, other, no"),
    ("other: Try double(1).", "other: x\n    keras: gone", ": 90/ex1: keras: must be cut, or a mapping of the fields "),
    ("expects: a func", "keras: {expects: 5}\n    expects: a func", ": 90/ex1: expects: must be text, not a number: p"),
    ("title: Demo", "titel: Demo", ": titel: unknown field, did you mean title?"),
    ("title: Demo", "title: Demo\ncards: 5", ", line 5: 'cards' stands twice here."),
    ("title: Demo", "title: [", ", line 5: a bracket [ or { is not closed."),
    ("title: Demo", "title: a: b", ", line 2: there is a second colon: put a text with a colon in quotes."),
    ("title: Demo", "title: `x`", ", line 2: a text that begins with ` @ or % needs quotes, and lines are indented wi"),
    ("title: Demo", 'title: "Demo', ", line 18: "),
    ("title: Demo", "title: !!python/name:os.system", ", line 2: a text that begins with ! needs quotes."),
    ("title: Demo", "<<: {title: x}", ", line 2: '<<' is not allowed here."),
]


@pytest.mark.parametrize("old, new, told", MISTAKES, ids=[told[2:40] for *_, told in MISTAKES])
def test_a_mistake_in_a_question_file_gets_one_plain_sentence(demo, said, old, new, told):
    path = demo / "90_demo.yaml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    problems = questions.validate(path)
    assert problems[0].startswith(f"90_demo.yaml{told}"), problems
    assert len(problems) == 1
    (line,) = said(study.answer, "90/numeric", 0.41)  # a learner gets one sentence
    assert line == problems[0]


def test_the_example_in_the_readme_is_in_the_format(tmp_path):
    readme = (questions.FOLDER / "README.md").read_text(encoding="utf-8")
    (tmp_path / "01_example.yaml").write_text(re.search(r"```yaml\n(.*?)```", readme, re.S).group(1), encoding="utf-8")
    assert questions.validate(tmp_path / "01_example.yaml") == []


def test_a_question_file_that_is_no_question_file(tmp_path):
    path, rng = tmp_path / "90_x.yaml", random.Random(3)
    samples = [b"", b"5", b"[]", b"\xff\xfe", b"{" * 3000, b"a: &a [*a]", b"title: 2026-99-99", b"? [a]\n: b"]
    samples += [b"title: x\n" + rest for rest in (b"quiz: 5", b"quiz: [5, [], {}]", b"quiz: [{kind: [], options: 5}]")]
    samples += [b"title: x\nrecall: [{id: 1}]", b"title: x\nexercises: [{wrong: {}, mistakes: 3}]"]
    whole = (FIXTURES / "90_demo.yaml").read_bytes()
    for _ in range(20):  # a piece of the file is missing
        start = rng.randrange(len(whole))
        samples.append(whole[:start] + whole[start + rng.randrange(300) :])
    for number, sample in enumerate(samples):
        path.write_bytes(sample)
        problems = questions.validate(path)
        assert all(isinstance(problem, str) and "\n" not in problem for problem in problems)
        assert problems or number > 12


def test_an_edited_question_file_counts_at_the_next_call(demo, said):
    assert said(study.answer, "90/numeric", 0.5)[0].startswith("✘")
    path = demo / "90_demo.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("answer: 0.41", "answer: 0.50001"), encoding="utf-8")
    assert said(study.answer, "90/numeric", 0.5)[0] == "✔ Correct."


# ---------------------------------------------------------------- views


def bundle(question):
    if question["section"] == "cards":
        return views.cards_bundle([question])
    return views.recall_bundle(question) if question["section"] == "recall" else views.quiz_bundle(question)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_static_views_are_complete_and_harmless(path):
    for question in questions.load(path)["questions"].values():
        if question["section"] not in ("cards", "quiz", "recall"):
            continue
        page, line = bundle(question)["text/html"], bundle(question)["text/plain"]
        assert "\n" not in line and line
        tags = set(re.findall(r"<\s*/?\s*(\w+)", page))
        assert tags <= {
            *("div", "p", "b", "br", "code", "pre", "details", "summary", "blockquote"),
            "ol",
            "ul",
            "li",
            "small",
        }
        assert not re.search(r"<\w+ (?!class=\"study-[a-z0-9-]+\">)", page)  # no attribute: no address, no handler
        for option in question.get("options", {}).values():
            summary, feedback = views.text_html(option["text"]), views.text_html(option["feedback"])
            mark = "✔ Correct." if option.get("right") else "✘ Not yet."
            assert f"{summary}</summary><blockquote>{mark} {feedback}" in page
        texts = [question.get(field) for field in ("otherwise", "explanation", "front", "back")]
        texts += [mistake["feedback"] for mistake in question.get("mistakes", ())]
        texts += [text for concept in question.get("concepts", ()) for text in concept.values()]
        assert all(views.text_html(text) in page for text in texts if text)


def test_no_view_needs_more_than_the_widgets_that_both_versions_have():
    source = ast.parse((Path(views.__file__)).read_text(encoding="utf-8"))
    attributes = [node for node in ast.walk(source) if isinstance(node, ast.Attribute)]
    used = {node.attr for node in attributes if isinstance(node.value, ast.Attribute) and node.value.attr == "w"}
    assert used <= {"Button", "HBox", "HTML", "Layout", "Text", "Textarea", "VBox"}


def live_view(name):
    """(the box, what was submitted): a live view whose answers are scored and not recorded."""
    pytest.importorskip("ipywidgets")
    question, submitted = DEMO[name], []

    def submit(*values):
        submitted.append(values)
        return (scoring.score_recall if question["section"] == "recall" else scoring.score)(question, *values), []

    return views.live(question, submit, lambda: "a hint", "2026-11-22T10:00:00+00:00"), submitted


def press(row):
    row.children[0].click()


def test_live_choice_is_marked_by_sign_and_colour(demo):
    box, submitted = live_view("90/single")
    a, b, _ = box.children[1:4]
    feedback, before = box.children[-1], set(box._dom_classes)
    assert 'role="status"' in feedback.value and "correctly on 2026-11-22" in feedback.value
    press(a)
    assert "✘ Not yet." in feedback.value and a.children[0].description.startswith("✘ a) A little")
    assert "study-wrong" in a._dom_classes and set(box._dom_classes) != before  # the mark of waiting has gone
    once = feedback.value
    press(a)
    assert feedback.value != once  # else a screen reader would stay silent
    press(b)
    assert "✔ Correct." in feedback.value and "study-right" in b._dom_classes
    assert submitted == [("a",), ("a",), ("b",)]
    box.children[-2].children[-1].click()
    assert "a hint" in feedback.value
    assert "<code>&lt;i&gt;As far&lt;/i&gt;</code>" in box.children[3].children[1].value  # code as code


def test_live_choice_of_several(demo):
    box, submitted = live_view("90/multiple")
    a, b, c, d = box.children[1:5]
    for row in (a, b, c):
        press(row)
    box.children[-2].children[0].click()
    assert [row.children[0].description[:3] for row in (a, b, c, d)] == ["☑ ✔", "☑ ✘", "☑ ✔", "☐ d"]
    press(b)
    box.children[-2].children[0].click()
    assert "✔ Correct." in box.children[-1].value and submitted == [("a", "b", "c"), ("a", "c")]


def test_a_typed_text_is_judged_when_it_arrives_and_once(demo):
    box, submitted = live_view("90/numeric")
    field, check, feedback = box.children[1], box.children[-2].children[0], box.children[-1]
    assert field.continuous_update is False
    check.click()
    assert "Write your answer first." in feedback.value
    field.value = "1"
    check.click()  # a press may come before the text that was typed before it: it judges nothing
    field.value = "7/17"
    assert "✔ Correct." in feedback.value and submitted == [("1",), ("7/17",)]


def test_live_own_words(demo):
    box, submitted = live_view("90/explain")
    _, field, buttons, model, feedback = box.children
    buttons.children[0].click()
    assert "first" in feedback.value and model.layout.display == "none"
    field.value = "<img src=x> The weights stay the same."
    buttons.children[0].click()
    assert model.layout.display is None
    press(model.children[1]), press(model.children[2]), press(model.children[2])
    model.children[-1].children[0].click()
    assert "You said 1 of 4 concepts." in feedback.value and submitted[-1] == (field.value, [1])
    assert not {"study-wrong"} & set(re.findall(r"study-\w+", feedback.value))  # nothing is called wrong


def test_the_live_view_is_the_learners_own(demo, said, file, monkeypatch):
    """It scores into the progress file, gives the hints, and knows what was right before."""
    pytest.importorskip("ipywidgets")
    made = []
    monkeypatch.setattr(views, "show", lambda bundle, widget: made.append(widget()))
    said(study.quiz, "90/single")
    press(made[0].children[2])  # b
    assert json.loads(file.read_text())["right"]
    made[0].children[-2].children[-1].click()
    assert "Hint 1 of 2" in made[0].children[-1].value
    said(study.quiz, "90/single")
    assert "You answered this correctly on" in made[1].children[-1].value


def test_a_kernel_without_ipywidgets_is_told_once(demo, said, monkeypatch):
    pytest.importorskip("IPython")
    shell = type("Shell", (), {"kernel": 1})
    monkeypatch.setattr("IPython.get_ipython", shell)
    monkeypatch.setattr("IPython.display.display", lambda *_, **__: None)
    monkeypatch.setattr(views, "_told", set())
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    monkeypatch.delenv("FREEZING_WIDGETS", raising=False)
    find = views.importlib.util.find_spec
    monkeypatch.setattr(views.importlib.util, "find_spec", lambda name: None if name == "ipywidgets" else find(name))
    assert "ipywidgets is not installed" in said(study.quiz, "90/single")[0]
    assert said(study.quiz, "90/multiple") == []


# ---------------------------------------------------------------- progress


def clock(*days):
    times = iter(f"2026-11-{day}T10:00:00+00:00" for day in days or range(10, 30))
    return lambda: next(times)


def test_an_answer_is_a_line_and_the_first_right_date_is_kept(file):
    mine = Progress(clock())
    for said in ([1], [1, 2, 3, 4], [2, 3]):
        assert mine.record("90/explain", len(said) == 4, said=said, of=4) == []
    assert file.read_text().splitlines()[0] == (
        '{"id": "90/explain", "right": false, "said": [1], "of": 4, "date": "2026-11-10T10:00:00+00:00"}'
    )
    entry = {"attempts": 3, "right": "2026-11-11T10:00:00+00:00", "last": "2026-11-12T10:00:00+00:00"}
    assert Progress().entries() == ({"90/explain": entry | {"last_right": False, "said": "2 of 4"}}, [])
    assert [path.name for path in file.parent.iterdir()] == ["progress.jsonl"]


def test_the_last_state_of_the_challenge_counts(file):
    mine = Progress()
    assert mine.challenge() == (None, [])
    for number in (1, 2):
        assert mine.keep_challenge({"number": number}) == []
    assert Progress().challenge() == ({"number": 2}, []) and Progress().entries() == ({}, [])


GOOD = b'{"id": "90/a", "right": true, "date": "2026-11-10T10:00:00+00:00"}'
DAMAGED = [b"{", GOOD[:-9], b"\xff\xfe\x00", b"[]", b"null", b"7", b"[" * 100_000, b"9" * 5000, b"x" * 1_000_000]
DAMAGED += [
    GOOD.replace(b"true", b"1"),
    GOOD.replace(b"2026", b"soon"),
    GOOD.replace(b'"90/a"', b"[]"),
    b'{"challenge": 5}',
]


@pytest.mark.parametrize("damaged", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_line_is_passed_over_and_stays(file, damaged):
    before = GOOD + b"\n" + damaged  # the last line may be a cut one: no line end
    file.write_bytes(before)
    mine = Progress()
    assert mine.record("90/b", True) == []
    entries, (told,) = mine.entries()
    assert set(entries) == {"90/a", "90/b"} and file.read_bytes().startswith(before + b"\n{")
    assert told.startswith("progress.jsonl: a damaged line is passed over (") and len(told) < 160
    assert mine.entries()[1] == []  # told once


def test_a_file_that_cannot_be_used_is_told_once_and_answers_are_scored(demo, said, tmp_path, monkeypatch):
    (tmp_path / "a file").write_text("")
    for path in (tmp_path / "a file" / "x", tmp_path / "nowhere" / "x", tmp_path):
        monkeypatch.setenv("FREEZING_PROGRESS", str(path))
        monkeypatch.setattr(study, "_progress", Progress())
        first, second = said(study.answer, "90/single", "b"), said(study.answer, "90/single", "a")
        assert first[0].startswith("✔") and "Your progress is not saved" in first[-1]
        assert "FREEZING_PROGRESS" in first[-1] and "saved" not in " ".join(second)
        assert any(
            re.search(r'not yet, .* quiz\("90/single"\)', line) for line in said(study.progress)
        )  # known to this kernel all the same
    monkeypatch.setenv("FREEZING_PROGRESS", str(tmp_path / "x"))
    said(study.answer, "90/multiple", "a")
    assert len((tmp_path / "x").read_text().splitlines()) == 3  # nothing was lost


def one_kernel(number, path, start):
    os.environ["FREEZING_PROGRESS"] = str(path)
    mine = Progress()
    start.wait()
    for answer in range(20):
        mine.record("90/shared", answer % 2 == 0)
        mine.record(f"90/own-{number}", True)


def test_ten_kernels_lose_no_answer(file):
    spawn = multiprocessing.get_context("fork" if hasattr(os, "fork") else "spawn")
    start = spawn.Event()
    kernels = [spawn.Process(target=one_kernel, args=(number, file, start)) for number in range(10)]
    for kernel in kernels:
        kernel.start()
    start.set()
    for kernel in kernels:
        kernel.join(30)
        assert kernel.exitcode == 0
    entries, notes = Progress().entries()
    assert entries.pop("90/shared")["attempts"] == 200 and notes == []
    assert [entry["attempts"] for entry in entries.values()] == [20] * 10


def test_progress_table_and_what_to_review(demo, said, file, monkeypatch):
    monkeypatch.setattr(study, "_progress", Progress(clock()))
    for name, value in (("90/single", "b"), ("90/multiple", "a"), ("90/numeric", 0.41), ("90/output-choice", "a")):
        said(study.answer, name, value)
    (demo / "91_damaged.yaml").write_text("title: [")
    file.write_bytes(file.read_bytes() + b"{\n")  # its own file is damaged, too
    assert said(study.progress) == [
        'progress.jsonl: a damaged line is passed over ("{"); all others count.',
        "91_damaged.yaml, line 2: a bracket [ or { is not closed.",
        "notebook  right            of  tried  last",
        "90 Demo   ███░░░░░░░   2    8      4  2026-11-13",
        "",
        "Next. Answer again what was not right: it stands first below.",
        "",
        "To answer again:",
        "  90 Demo: Which of these does freezing change?",
        '    not yet, 2026-11-11: quiz("90/multiple")',
        "  90 Demo: What is printed?",
        '    not yet, 2026-11-13: quiz("90/output-choice")',
        "  90 Demo: `block1` is frozen. How far do its weights move in one training step?",
        '    right, 2026-11-10: quiz("90/single")',
        "  90 Demo: What share of the work is left?",
        '    right, 2026-11-12: quiz("90/numeric")',
    ]


def test_progress_leads_on(demo, said, monkeypatch):
    monkeypatch.setattr(study, "_progress", Progress(clock()))
    shown = []
    monkeypatch.setattr(views, "show", lambda bundle, widget=None: shown.append(bundle))
    (demo / "91_more.yaml").write_text((demo / "90_demo.yaml").read_text().replace("90/", "91/"))
    said(study.progress)
    assert '<b>Next.</b> Begin with <a href="90_demo.ipynb">90 Demo</a>' in shown[-1]["text/html"]
    said(study.answer, "90/single", "b")
    said(study.progress)
    page = shown[-1]["text/html"]
    assert 'Go on with <a href="91_more.ipynb">91 Demo</a>' in page and "██░░░░░░░░</span> 1</td><td>8</td>" in page
    assert '<code>quiz("90/single")</code>' in page.replace("&quot;", '"') and "<code>block1</code>" in page
    said(study.answer, "91/single", "b")
    said(study.progress)
    assert "is right, in every notebook" in shown[-1]["text/plain"]
    said(study.mixed, 1)
    assert shown[-2]["text/html"] == '<p>From <a href="90_demo.ipynb">90 Demo</a> · not asked yet</p>'
    monkeypatch.setitem(sys.modules, "google.colab", study)  # there no notebook lies beside another
    said(study.progress)
    assert "href" not in shown[-1]["text/html"]


def test_mixed_asks_what_was_wrong_then_what_is_new(demo, said, monkeypatch):
    monkeypatch.setattr(study, "_progress", Progress(clock()))
    assert not any("90/single" in line for line in said(study.mixed, 9))  # it is to be asked before a cell
    said(study.answer, "90/single", "b")
    said(study.answer, "90/numeric", 0.5)
    shown = [line.split(":")[0] for line in said(study.mixed, 9)]
    origins, shown = shown[::2], shown[1::2]
    assert origins[0] == "From 90 Demo (90_demo.ipynb), not yet, 2026-11-11" and origins[1].endswith("not asked yet")
    assert shown == [
        *(
            "Quiz 90/numeric",
            "Quiz 90/multiple",
            "Quiz 90/output-choice",
            "Quiz 90/output-text",
            "Quiz 90/output-number",
        ),
        *("In your own words 90/explain", "Quiz 90/single"),
    ]
    assert said(study.mixed, 0) == ["The count must be a whole number from 1, not 0."]


def test_progress_off_writes_nothing_and_an_old_file_is_left_alone(demo, said, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules["study.progress"], "_START", tmp_path)
    (tmp_path / "progress.json").write_text("{")
    before = set(tmp_path.iterdir())
    said(study.answer, "90/single", "b")
    assert said(study.progress)[-1] == "Progress is not kept in a file (FREEZING_PROGRESS=off)."
    assert set(tmp_path.iterdir()) == before
    monkeypatch.delenv("FREEZING_PROGRESS")
    said(study.answer, "90/single", "b")
    assert (tmp_path / "progress.jsonl").exists() and (tmp_path / "progress.json").read_text() == "{"
