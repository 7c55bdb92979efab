"""study: scoring of every kind of question, sample sentences of free recall, damaged files, progress."""

import ast
import json
import multiprocessing
import os
import random
import re
import time
from pathlib import Path

import pytest

import study
from study import exercises, freetext, progress_file, questions, scoring, views
from study.__main__ import mistakes

FIXTURES = Path(__file__).parent / "questions"
DEMO = questions.read(FIXTURES / "90_demo.yaml")[0]["questions"]
FILES = [*questions.files(), *sorted(FIXTURES.glob("*.yaml"))]


@pytest.fixture
def demo(demo, monkeypatch):
    """The demo questions, with a check for the demo's exercise."""
    monkeypatch.setitem(exercises.CHECKS, "90/ex1", double)
    return demo


def double(answer):
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
    assert said(study.answer, "90/single", " B) ") == [
        "✔ Correct. Bit for bit the same as before.",
        "  Other layers move.",
    ]
    assert said(study.answer, "90/single", "z")[0].startswith('"z" is none of the choices a, b, c')
    assert said(study.answer, "90/single", "a", "b")[0].startswith("This question takes one choice")
    assert said(study.answer, "90/single")[0].startswith("This question takes one choice")


def test_multiple(demo, said):
    assert said(study.answer, "90/multiple", "a", "b") == [
        "✘ Not yet. 1 of your choices is not right. 1 is missing.",
        "  a) right: They are counted apart.",
        "  b) not right: A frozen weight is still a weight.",
    ]
    assert said(study.answer, "90/multiple", "a")[0] == "✘ Not yet. 1 is missing."
    assert said(study.answer, "90/multiple", "c", "a", "a")[0] == "✔ Correct."
    assert said(study.answer, "90/multiple", ["a", "c"])[0] == "✔ Correct."


@pytest.mark.parametrize("value", [0.41, 0.43, 0.39, "0.41", "0,41", " 41 % ", "4.1e-1"])
def test_numeric_right(value):
    assert scoring.score(DEMO["90/numeric"], value).right is True


@pytest.mark.parametrize(
    "value, told",
    [
        (0.44, "Count forward"),
        (0.33, "That counts the forward"),
        (0.345, "That counts the forward"),
        (1, "That is a step with nothing"),
        (1.01, "Count forward"),
        (-0.41, "Count forward"),
        (10**400, None),
        (float("nan"), None),
        (float("inf"), None),
        (True, None),
        (None, None),
        ("many", None),
        (..., None),
        (1j, None),
    ],
)
def test_numeric_wrong_or_refused(value, told):
    score = scoring.score(DEMO["90/numeric"], value)
    assert score.right is (None if told is None else False)
    assert score.lines[0].startswith(f"✘ Not yet. {told}" if told else "This question takes a number")


def test_numbers_as_learners_write_them():
    written = {"12,345": 12345, "0,410": 0.41, "1,5": 1.5, "61013": 61013, "−3": -3, "50%": 0.5}
    assert {text: scoring._number(text) for text in written} == pytest.approx(written)


def test_output():
    text, number = DEMO["90/output-text"], DEMO["90/output-number"]
    assert scoring.score(DEMO["90/output-choice"], "b").right is True
    typed = {"True\na b": True, "True  \n a  b\n": True, "true\na b": False, 5: False, "": None, (): None}
    assert {value: scoring.score(text, value).right for value in typed} == typed
    assert "It was frozen." in scoring.score(text, "False\na b").lines[0]
    assert [scoring.score(number, value).right for value in (0, "0", 1, "none")] == [True, True, False, None]


def test_hints_do_not_tell_the_answer_before_the_end(demo, said):
    lines = [said(study.hint, "90/single")[0] for _ in range(4)]
    assert lines[0] == "Hint 1 of 2: Who changes weights, the gradient or the optimizer?"
    assert not any("Not at all" in line for line in lines[:3])
    assert lines[2].endswith("Ask once more to see the answer.")
    assert lines[3] == "The answer: b) Not at all."
    said(study.explain, "90/explain", "The weights of a frozen layer stay the same.")
    assert said(study.hint, "90/explain") == ["Hint 1 of 3: Can a layer in front of it still learn?"]


def test_after_the_last_hint_comes_the_answer_or_where_it_stands(demo, said):
    lines = [said(study.hint, "90/ex1")[0] for _ in range(3)]
    assert lines[0] == "Hint 1 of 1: Two times x." and lines[2].startswith("The solution is folded below")
    lines = [said(study.hint, "90/output-number")[0] for _ in range(2)]
    assert lines == ["There is no hint to this question. Ask once more to see the answer.", "The answer: 0"]


def test_cards_by_notebook_by_level_and_by_id(demo, said):
    assert said(study.cards, "90") == ["Cards: 1 beginner, 1 advanced"]
    assert said(study.cards, "90", "advanced") == said(study.cards, "90/card-markup") == ["Cards: 1 advanced"]
    assert said(study.cards, ["90/card-frozen"]) == ["Cards: 1 beginner"]
    assert said(study.cards, "90", "easy") == ["level must be one of beginner, intermediate, advanced."]
    assert said(study.cards, "90", "intermediate") == ["There is no such card."]
    assert said(study.cards, "91") == ['There are no questions for "91"; there are: 90_demo.']


def strange_values(seed):
    """Things a learner might pass by mistake, and some that nobody would."""
    rng = random.Random(seed)
    alphabet = "ab .,;?()[]{}*+\\^$|<>&'\"`\n\t0159éß漢字🙂\x00\u202e"
    words = ["weights", "gradient", "not", "never", "frozen", "stay", "same", "the", "of", "passes", "is", "(", "*"]

    class Hostile:
        def __repr__(self):
            raise RuntimeError("no repr")

        __str__ = __float__ = __bool__ = __eq__ = __hash__ = __len__ = __iter__ = __repr__

    fixed = [
        None,
        ...,
        True,
        0,
        -1,
        10**400,
        1e308,
        float("nan"),
        1j,
        b"a",
        "",
        " ",
        "a",
        "A",
        "a,c",
        [],
        ["a", ["b"]],
        {"a"},
        {"a": 1},
        {1: 2},
        range(3),
        object(),
        type,
        len,
        Hostile(),
        Hostile,
        lambda: 1,
        (x for x in "ab"),
        "<script>alert(1)</script>",
        "(" * 5000,
        "a" * 100_000,
        "weights " * 240,
        "not " * 400,
        "\ud800",
    ]
    texts = ["".join(rng.choices(alphabet, k=rng.randrange(60))) for _ in range(60)]
    sentences = [" ".join(rng.choices(words, k=rng.randrange(1, 40))) for _ in range(60)]
    return fixed + texts + sentences


def test_any_answer_of_any_type_is_scored_or_refused_with_one_sentence(demo, said):
    asked = questions.load(demo / "90_demo.yaml")["questions"]
    for value in strange_values(1):
        for name, question in asked.items():
            if question["section"] == "quiz":
                lines = said(study.answer, name, value)
            elif question["section"] == "recall":
                lines = said(study.explain, name, value)
            elif question["section"] == "exercises":
                lines = said(study.check, name, value)
            else:
                continue
            assert lines and re.match(r"✔ |✘ |\d of \d|.*[.:?] ?.*", lines[0]), (name, lines)
            assert "0x" not in lines[0] and "Traceback" not in " ".join(lines)
        for function in (study.quiz, study.recall, study.answer, study.explain, study.check, study.hint):
            assert len(said(function, value)) == 1  # no such id
    assert said(study.answer, "90/singel", "a") == ['There is no question "90/singel". Did you mean "90/single"?']
    assert said(study.answer, "90/explain", "a")[0].startswith('"90/explain" is a question for your own words')
    assert said(study.cards, "55")[0].startswith('There are no questions for "55"')


# ---------------------------------------------------------------- free recall


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_question_file_is_right_and_its_sample_sentences_score_as_it_says(path):
    assert questions.validate(path) == []


def test_every_exercise_has_a_check_and_every_check_an_exercise():
    assert mistakes() == []


def recall_questions():
    return [q for path in FILES for q in questions.load(path)["questions"].values() if q["section"] == "recall"]


@pytest.mark.parametrize("question", recall_questions(), ids=lambda question: question["id"])
def test_free_recall_is_not_fooled(question):
    for number, concept in enumerate(question["concepts"]):
        for sentence in concept["accepted"]:
            if len(freetext._clauses(sentence)) == 1:
                denied = f"It is not true that {sentence}"
                assert not freetext.score(question, denied).found[number], denied
            keywords = ", ".join(re.findall(r"\w+", sentence))
            assert not any(freetext.score(question, keywords).found), keywords
    for copied in (question["prompt"], "\n".join(concept["hint"] for concept in question["concepts"])):
        assert not any(freetext.score(question, copied).found), copied


def test_recall_names_what_was_said_and_hints_at_the_rest(demo, said):
    assert said(study.explain, "90/explain", "The weights of a frozen layer stay the same, and it saves time.") == [
        "2 of 4 concepts",
        "  ✔ frozen weights stay the same",
        "  ✔ it saves time",
        "  – Hint: Can a layer in front of it still learn?",
        "  – Hint: What would the next layers get, if it did nothing?",
    ]
    whole, prompt = DEMO["90/explain"]["accepted"][0], DEMO["90/explain"]["prompt"]
    assert said(study.explain, "90/explain", whole)[-1] == "  Weights are kept, gradients pass."
    refused = {
        "": freetext.NO_SENTENCE,
        "weights": freetext.NO_SENTENCE,
        "weights, gradient": freetext.NO_SENTENCE,
        prompt.rstrip("?"): freetext.COPIED,
        "The weights stay. " * 200: "3,600 characters",
    }
    for text, why in refused.items():
        assert why in said(study.explain, "90/explain", text)[0]
    assert "90/explain" in study._progress.entries()[0]
    assert study._progress.entries()[0]["90/explain"]["attempts"] == 2  # a refused text is no attempt


def test_free_recall_takes_little_time_whatever_the_text():
    rng = random.Random(2)
    words = ["weights", "gradient", "not", "frozen", "stay", "same", "the", "pass", "flow", "layer", ",", "."]
    texts = ["weights " * 250, "gradient the " * 150, " ".join(rng.choices(words, k=380))[: freetext.LIMIT]]
    for question in recall_questions():
        for text in texts:
            start = time.perf_counter()
            freetext.score(question, text)
            assert time.perf_counter() - start < 2  # milliseconds, unless a pattern explodes


# ---------------------------------------------------------------- exercises


def test_exercise(demo, said):
    assert said(study.check, "90/ex1", ...)[0].startswith("90/ex1: not attempted yet. Write `double(x)`")
    assert said(study.check, "90/ex1") == said(study.check, "90/ex1", None) == said(study.check, "90/ex1", [1, ...])

    def unfilled(x):
        """Twice the number."""
        ...

    def wrong(x):
        return x

    def raises(x):
        raise ValueError("no\nnumber")

    def leaves(x):
        raise SystemExit(3)

    assert "not attempted yet" in said(study.check, "90/ex1", unfilled)[0]
    assert said(study.check, "90/ex1", lambda x: 2 * x) == ["✔ Correct.", "  Two times x it is."]
    assert said(study.check, "90/ex1", wrong) == ["✘ Not yet. Try double(1)."]
    assert said(study.check, "90/ex1", lambda x: x * x) == ["✘ Not yet. That is the square."]
    assert said(study.check, "90/ex1", raises) == ["✘ Not yet. Your code raised ValueError: no number"]
    assert said(study.check, "90/ex1", leaves) == ["✘ Not yet. Your code raised SystemExit: 3"]
    assert said(study.check, "90/ex1", 5) == ["This exercise expects a function of one number, not a number."]


def test_exercise_stored_wrong_answers_fail_with_their_own_hint(demo):
    question = questions.find("90/ex1")
    for sample in question["wrong"]:
        names = {}
        exec(sample["code"], names)
        assert scoring.score_exercise(question, names["answer"]).lines == (
            f"✘ Not yet. {question['mistakes'][sample['mistake']]}",
        )


def test_exercise_check_that_names_no_mistake_is_reported(demo, said, monkeypatch):
    monkeypatch.setitem(exercises.CHECKS, "90/ex1", lambda answer: "unheard-of")
    assert said(study.check, "90/ex1", 1) == [
        '90_demo.yaml: 90/ex1: mistakes: has no key "unheard-of", which the check returned.'
    ]
    monkeypatch.delitem(exercises.CHECKS, "90/ex1")
    assert said(study.check, "90/ex1", 1) == ["study/exercises.py: 90/ex1: there is no check for this exercise."]


# ---------------------------------------------------------------- question files


@pytest.mark.parametrize(
    "old, new, told",
    [
        ("    kind: single", "    kind: singel", "90/single: kind: must be one of single, multiple, numeric, output"),
        ("    kind: single\n", "", "90/single: kind: is missing"),
        ("predict: true", "predikt: true", "90/single: predikt: unknown field, did you mean predict?"),
        ("predict: true", "predict: 1", "90/single: predict: must be true or false"),
        ("        right: true\n", "", "90/single: options: no option is marked right: true"),
        (
            "        text: Not at all.\n        right: true\n        feedback: Bit for bit the same as before.",
            "        text: Not at all.\n        right: true",
            "90/single: options.b.feedback: is missing",
        ),
        (
            "      b:\n        text: Not",
            "      d:\n        text: Not",
            "90/single: options: must be 2 to 8, with the keys a, b, c",
        ),
        (
            "right: true, feedback: They",
            "right: yes please, feedback: They",
            "90/multiple: options.a.right: must be true or false",
        ),
        ("  - id: 90/multiple", "  - id: 90/single", "90/single: id: is used twice"),
        ("  - id: 90/multiple", "  - id: 91/multiple", "id: must look like 90/some-words"),
        ("  - id: 90/multiple\n    kind", "  - kind", "quiz, number 2: id: is missing"),
        ("    tolerance: 0.02", "    tolerance: -0.02", "90/numeric: tolerance: must not be negative"),
        (
            "    tolerance: 0.02",
            "    tolerance: 1e-3",
            "90/numeric: tolerance: must be a number, not a text, write 1.0e-3",
        ),
        ("    answer: 0.41\n", "", "90/numeric: answer: is missing"),
        ("    otherwise: Count forward", "    other: Count forward", "90/numeric: otherwise: is missing"),
        ("{value: 0.33", "{value: 0.42", "90/numeric: mistakes.1.value: is counted as right"),
        ("    level: beginner", "    level: easy", "90/card-frozen: level: must be one of beginner"),
        (
            "    back: Its trained weights.",
            "    back: 5",
            "90/card-frozen: back: must be text, not a number: put it in quotes",
        ),
        ("weight ~ (stay", "weight ~ ((stay", "90/explain: concepts.1.says: "),
        ("weight ~ (stay", "weight ~ (s+)+(stay", "repeats a repeat"),
        ("weight ~ (stay", "Weight ~ (stay", "must be in small letters"),
        ("      - name: the layer still computes\n", "      - nome: x\n", "90/explain: concepts.3.name: is missing"),
        (
            "          - The frozen weights keep changing.",
            "          - The weights stay the same.",
            '90/explain: concepts.1.rejected: "The weights stay the same." scores',
        ),
        (
            "          - Freezing saves time.",
            "          - Freezing is nice for us.",
            '90/explain: concepts.4.accepted: "Freezing is nice for us." does not score',
        ),
        ("hint: Look at the clock of one step.", "hint: Freezing saves time.", "gives this concept away"),
        (
            "      squared: That is the square.\n",
            "      squared: That is the square.\n      cubed: The cube.\n",
            "90/ex1: mistakes.cubed: no entry of `wrong` shows this mistake",
        ),
        ("mistake: squared, code", "mistake: square, code", "90/ex1: wrong.1.mistake: must be one of squared, other"),
        ("other: Try double(1).", "other: Try double(1).\n    keras: gone", "90/ex1: keras: must be cut, or a mapping"),
        ("text: Not at all.", "text: ''", "90/single: options.b.text: is empty"),
        (
            "feedback: The gradient passes through the layer, but",
            "right: true\n        feedback: But",
            "90/single: options: 2 options are marked right: true, single takes one",
        ),
        (
            "        says: [(layer|forward) ~",
            "        contradicts: [(layer|forward) ~",
            "90/explain: concepts.3.says: is missing (or denies)",
        ),
        (
            "        rejected:\n          - The layer does not compute any more.\n"
            "          - The forward pass is not the same.\n",
            "        rejected: []\n",
            "90/explain: concepts.3.rejected: needs at least one sentence",
        ),
        ("weight ~ (stay", "5, weight ~ (stay", "90/explain: concepts.1.says: 5 must be text"),
        (
            "      - gradient, optimizer, weights\n",
            "      - The layer is still used in the forward pass.\n",
            '90/explain: rejected: "The layer is still used in the forward pass." scores: the layer still computes',
        ),
        (
            "the forward pass. A step is faster.",
            "the forward pass.",
            "does not score: it saves time",
        ),
        ("    expects: a function of one number\n", "", "90/ex1: expects: is missing"),
        ("title: Demo", "titel: Demo", "titel: unknown field, did you mean title?"),
        ("title: Demo", "title: Demo\ntitle: Again", "line 3: not YAML: 'title' stands twice"),
        ("title: Demo", "title: [", "not YAML"),
        ("title: Demo", "title: !!python/object/apply:os.system [echo]", "not YAML"),
    ],
)
def test_a_mistake_in_a_question_file_is_named(demo, said, old, new, told):
    path = demo / "90_demo.yaml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    problems = questions.validate(path)
    assert any(told in problem for problem in problems), problems
    assert all(problem.startswith("90_demo.yaml") for problem in problems)
    lines = said(study.answer, "90/numeric", 0.41)  # a learner gets one sentence, or the file works nevertheless
    assert lines[0].startswith(("90_demo.yaml", "✔ Correct."))


def test_the_example_in_the_readme_is_in_the_format(tmp_path):
    readme = (questions.FOLDER / "README.md").read_text(encoding="utf-8")
    (tmp_path / "01_example.yaml").write_text(re.search(r"```yaml\n(.*?)```", readme, re.S).group(1), encoding="utf-8")
    problems = questions.validate(tmp_path / "01_example.yaml")
    assert len(problems) == 3 and all("01/explain-freezing" in problem for problem in problems)  # it shows one concept


def test_a_question_file_that_is_no_question_file(tmp_path):
    path = tmp_path / "90_x.yaml"
    rng = random.Random(3)
    samples = [
        b"",
        b"5",
        b"[]",
        b"\xff\xfe",
        b"{" * 3000,
        b"a: &a [*a]",
        b"title: 2026-99-99",
        b"? [a]\n: b",
        *(
            b"title: x\n" + rest
            for rest in (
                b"quiz: 5",
                b"quiz: [5, [], {}]",
                b"quiz: [{kind: [], options: 5}]",
                b"recall: [{id: 1}]",
                b"recall: [{concepts: [5]}]",
                b"exercises: [{wrong: {}, mistakes: 3}]",
            )
        ),
    ]
    whole = (FIXTURES / "90_demo.yaml").read_bytes()
    for _ in range(20):  # a piece of the file is missing, or stands in another place
        start, end, to = sorted(rng.randrange(len(whole)) for _ in range(2)) + [rng.randrange(len(whole))]
        samples.append(whole[:start] + whole[min(end, start + 300) :])
        samples.append(whole[:to] + whole[start : min(end, start + 200)] + whole[to:])
    for sample in samples:
        path.write_bytes(sample)
        problems = questions.validate(path)
        assert isinstance(problems, list) and all(isinstance(problem, str) for problem in problems)
        assert problems or sample in samples[14:]


def test_an_edited_question_file_counts_at_the_next_call(demo, said):
    assert said(study.answer, "90/numeric", 0.5)[0].startswith("✘")
    path = demo / "90_demo.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("answer: 0.41", "answer: 0.50001"), encoding="utf-8")
    assert said(study.answer, "90/numeric", 0.5)[0] == "✔ Correct."


# ---------------------------------------------------------------- views


def bundles():
    for path in FILES:
        for question in questions.load(path)["questions"].values():
            if question["section"] == "quiz":
                yield question, views.quiz_bundle(question)
            elif question["section"] == "recall":
                yield question, views.recall_bundle(question)
            elif question["section"] == "cards":
                yield question, views.cards_bundle([question])


@pytest.mark.parametrize("question, bundle", list(bundles()), ids=lambda value: value.get("id", ""))
def test_static_view_is_complete_harmless_and_small(question, bundle):
    page, line = bundle["text/html"], bundle["text/plain"]
    assert "\n" not in line and line
    tags = set(re.findall(r"<\s*/?\s*(\w+)", page))
    assert tags <= {"div", "p", "b", "br", "code", "pre", "details", "summary", "ul", "li", "small"}
    assert not re.search(r"<\w+ (?!class=\"study-[a-z0-9-]+\")", page)  # no attribute: no address, no handler
    for option in question.get("options", {}).values():
        summary, feedback = views.text_html(option["text"]), views.text_html(option["feedback"])
        mark = "✔ Correct." if option.get("right") else "✘ Not yet."
        assert f"{summary}</summary>{mark} {feedback}" in page
    for text in [
        question.get("otherwise"),
        question.get("explanation"),
        question.get("front"),
        question.get("back"),
        *(mistake["feedback"] for mistake in question.get("mistakes", ())),
    ]:
        assert text is None or views.text_html(text) in page
    own_text = len(" ".join(re.findall(r">([^<]+)<", page)))
    assert len((page + line).encode()) < max(1500, 1.35 * own_text + 500)


def test_static_view_escapes_markup():
    page = views.cards_bundle([DEMO["90/card-markup"]])["text/html"]
    assert "<code>&lt;b&gt;</code>" in page and "&lt;script&gt;" in page and "&lt;img" in page and "<script" not in page


def test_no_view_needs_more_than_the_widgets_that_both_versions_have():
    source = ast.parse((Path(views.__file__)).read_text(encoding="utf-8"))
    used = {
        node.attr
        for node in ast.walk(source)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute) and node.value.attr == "w"
    }
    assert used <= {"Button", "HBox", "HTML", "Layout", "Text", "Textarea", "VBox"}


def live_view(name, submitted):
    pytest.importorskip("ipywidgets")
    question = DEMO[name]

    def submit(*values):
        submitted.append(values)
        return (scoring.score_recall if question["section"] == "recall" else scoring.score)(question, *values), []

    box = views.live(question, submit, lambda: "a hint", "2026-11-22T10:00:00+00:00")
    return box, box.children[-1]


def test_live_view_scores_and_tells(demo):
    submitted = []
    box, feedback = live_view("90/single", submitted)
    assert 'role="status"' in feedback.value and "correctly on 2026-11-22" in feedback.value
    a, b, _ = box.children[1:4]
    a.click()
    assert "✘ Not yet." in feedback.value and a.description.startswith("✘ a) ")
    before = feedback.value
    a.click()
    assert feedback.value != before  # else a screen reader would stay silent
    b.click()
    assert "✔ Correct." in feedback.value and submitted == [("a",), ("a",), ("b",)]
    box.children[-2].children[-1].click()
    assert "a hint" in feedback.value

    box, feedback = live_view("90/multiple", submitted := [])
    a, b, c, _, below, _ = box.children[1:]
    for button in (a, b, c, b):
        button.click()
    assert [button.description[0] for button in (a, b, c)] == ["☑", "☐", "☑"]
    below.children[0].click()
    assert "✔ Correct." in feedback.value and submitted == [("a", "c")]

    box, feedback = live_view("90/explain", [])
    box.children[1].value = "<img src=x> The weights stay the same."
    box.children[-2].children[0].click()
    assert "1 of 4 concepts" in feedback.value and "<img" not in feedback.value


# ---------------------------------------------------------------- progress


def test_progress_counts_and_keeps_the_first_right_date(file):
    times = iter(f"2026-11-2{day}T10:00:00+00:00" for day in range(9))
    mine = progress_file.Progress(lambda: next(times))
    for right, best in ((False, (1, 4)), (True, (4, 4)), (False, (2, 4))):
        assert mine.record("90/explain", right, best) == []
    assert json.loads(file.read_text())["format"] == 1
    assert progress_file.Progress().entries()[0] == {
        "90/explain": {
            "attempts": 3,
            "right": "2026-11-21T10:00:00+00:00",
            "last": "2026-11-22T10:00:00+00:00",
            "last_right": False,
            "best": "4 of 4",
        }
    }
    assert [path.name for path in file.parent.iterdir()] == ["progress.json"]  # no lock, no temporary file is left


@pytest.mark.parametrize(
    "content, why",
    [
        (b"", "is damaged"),
        (b"{", "is damaged"),
        (b"\xff\xfe\x00", "is damaged"),
        (b"[]", "is damaged"),
        (b"null", "is damaged"),
        (b'{"format": 1}', "is damaged"),
        (b'{"format": 1, "questions": []}', "is damaged"),
        (b'{"format": 1, "questions": {"90/single": {"attempts": "many"}}}', "is damaged"),
        (
            b'{"format": 1, "questions": {"90/x": {"attempts": 1, "right": null, "last": "now", "last_right": 1}}}',
            "is damaged",
        ),
        (b"[" * 100_000, "is damaged"),
        (b'{"format": 2, "questions": {}}', "was written by a newer version"),
    ],
)
def test_a_damaged_or_newer_file_is_set_aside(demo, said, file, content, why):
    file.write_bytes(content)
    older = file.with_name("progress.json.damaged-1")
    older.write_text("from last year")
    lines = said(study.answer, "90/single", "b")
    assert lines[0].startswith("✔ Correct.")
    assert lines[-1].startswith(f"progress.json {why}") and "kept as progress.json.damaged-2" in lines[-1]
    assert file.with_name("progress.json.damaged-2").read_bytes() == content and older.read_text() == "from last year"
    assert list(json.loads(file.read_text())["questions"]) == ["90/single"]
    assert "damaged" not in " ".join(said(study.answer, "90/single", "b"))
    file.write_bytes(content)
    assert "damaged-3" in said(study.progress)[0]


def test_a_folder_that_cannot_be_written_is_told_once(demo, said, tmp_path, monkeypatch):
    (tmp_path / "a file").write_text("")
    for path in (tmp_path / "a file" / "progress.json", tmp_path / "nowhere" / "progress.json", tmp_path):
        monkeypatch.setenv("FREEZING_PROGRESS", str(path))
        monkeypatch.setattr(study, "_progress", progress_file.Progress())
        first, second = said(study.answer, "90/single", "b"), said(study.answer, "90/single", "a")
        assert "Your progress is not saved" in first[-1] and "FREEZING_PROGRESS" in first[-1]
        assert "saved" not in " ".join(second)
        assert any("90/single  not yet" in line for line in said(study.progress))  # known to this kernel all the same


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root writes to read-only folders")
def test_a_read_only_folder(demo, said, file):
    file.parent.chmod(0o500)
    assert "Your progress is not saved" in said(study.answer, "90/single", "b")[-1]
    assert list(file.parent.iterdir()) == []


def test_a_kernel_that_slept_and_lost_its_lock_overwrites_nothing(file, monkeypatch):
    lock, sync = file.with_name("progress.json.lock"), os.fsync
    progress_file.Progress().record("90/a", True)
    before, mine = file.read_bytes(), progress_file.Progress()
    with monkeypatch.context() as asleep:  # meanwhile another kernel has broken the old lock, and holds its own
        asleep.setattr(os, "fsync", lambda handle: (sync(handle), lock.write_text("another kernel")))
        assert "in use by another kernel" in mine.record("90/b", True)[0]
    assert file.read_bytes() == before and lock.read_text() == "another kernel"
    assert {path.name for path in file.parent.iterdir()} == {"progress.json", "progress.json.lock"}
    lock.unlink()
    assert mine.save() == [] and set(json.loads(file.read_text())["questions"]) == {"90/a", "90/b"}


def test_a_lock_of_a_dead_kernel_is_broken_and_a_living_one_waited_for(file, monkeypatch):
    monkeypatch.setattr(progress_file, "WAIT", 0.1)
    lock = file.with_name("progress.json.lock")
    lock.write_text("another kernel")
    mine = progress_file.Progress()
    assert "in use by another kernel" in mine.record("90/a", True)[0]
    assert not file.exists() and mine.entries()[0]["90/a"]["attempts"] == 1  # nothing is lost
    os.utime(lock, (time.time() - 60,) * 2)
    assert mine.record("90/b", True) == []
    assert set(json.loads(file.read_text())["questions"]) == {"90/a", "90/b"} and not lock.exists()


def one_kernel(number, path, start):
    os.environ["FREEZING_PROGRESS"] = str(path)
    mine = progress_file.Progress()
    start.wait()
    for answer in range(6):
        mine.record("90/shared", answer % 2 == 0)
        mine.record(f"90/own-{number}", True)
    mine.save()


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
    entries = json.loads(file.read_text())["questions"]
    assert entries["90/shared"]["attempts"] == 60
    assert all(entries[f"90/own-{number}"]["attempts"] == 6 for number in range(10)) and len(entries) == 11


def test_progress_table_and_what_to_review(demo, said, file, monkeypatch):
    times = iter(f"2026-11-{day}T10:00:00+00:00" for day in range(10, 30))
    monkeypatch.setattr(study, "_progress", progress_file.Progress(lambda: next(times)))
    for name, value in (("90/single", "b"), ("90/multiple", "a"), ("90/numeric", 0.41), ("90/output-choice", "a")):
        said(study.answer, name, value)
    assert said(study.progress) == [
        "notebook  right  tried  of  attempts        last",
        "90 Demo       2      4   8         4  2026-11-13",
        "",
        "Review next:",
        "  90/multiple  not yet, last tried 2026-11-11",
        "  90/output-choice  not yet, last tried 2026-11-13",
        "  90/single  right, last tried 2026-11-10",
        "  90/numeric  right, last tried 2026-11-12",
    ]
    static = views.quiz_bundle(DEMO["90/single"])
    assert static == views.quiz_bundle(DEMO["90/single"]) and "2026" not in str(static)


def test_a_damaged_question_file_is_told_and_hides_no_progress(demo, said):
    (demo / "91_damaged.yaml").write_text("title: [")
    lines = said(study.progress)
    assert lines[0].startswith("91_damaged.yaml") and any(line.startswith("90 Demo") for line in lines)


def test_the_live_view_is_the_learners_own(demo, said, file, monkeypatch):
    """It scores into the progress file, gives the hints, and knows what was right before."""
    pytest.importorskip("ipywidgets")
    made = []
    monkeypatch.setattr(views, "show", lambda bundle, widget: made.append(widget()))
    said(study.quiz, "90/single")
    made[0].children[2].click()  # b
    assert json.loads(file.read_text())["questions"]["90/single"]["last_right"]
    made[0].children[-2].children[-1].click()
    assert "Hint 1 of 2" in made[0].children[-1].value
    said(study.quiz, "90/single")
    assert "You answered this correctly on" in made[1].children[-1].value
    said(study.recall, "90/explain")
    assert "correctly" not in made[2].children[-1].value


def test_progress_off_writes_nothing(demo, said, tmp_path, monkeypatch):
    monkeypatch.setattr(progress_file, "_START", tmp_path)
    before = set(tmp_path.iterdir())
    said(study.answer, "90/single", "b")
    assert said(study.progress)[-1] == "Progress is not kept in a file (FREEZING_PROGRESS=off)."
    assert set(tmp_path.iterdir()) == before
    monkeypatch.delenv("FREEZING_PROGRESS")
    said(study.answer, "90/single", "b")
    assert (tmp_path / "progress.json").exists()


def test_a_solution_of_the_course_is_not_the_learners_success(demo, said):
    said(study.check, "90/ex1", lambda x: 2 * x, counts=False)
    assert "90/ex1" not in study._progress.entries()[0]
    said(study.check, "90/ex1", lambda x: 2 * x)
    assert study._progress.entries()[0]["90/ex1"]["last_right"]
