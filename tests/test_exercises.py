"""Every exercise: each stored wrong answer fails with its own hint. Shipped solutions are run by nbval and guards."""

import ast

import guards
import pytest

from study import exercises, questions, scoring

ODD = ["text", [], {}, object(), float("nan"), 10**400, lambda: 1, int]
CASES = [
    pytest.param(path.stem, question, wrong, id=f"{question['id']}-{wrong['mistake']}-{i}")
    for path in questions.files()
    for question in questions.load(path)["questions"].values()
    if question["section"] == "exercises"
    for i, wrong in enumerate(question["wrong"])
]


@pytest.fixture(scope="module")
def names_of():
    """What a notebook imports and defines, without running the rest of it: a function from its name to a namespace."""
    known = {}

    def names(stem):
        if stem not in known:
            known[stem] = {}
            path = next(path for path in guards.PATHS if path.stem == stem)
            for cell in guards.code(guards.read(path)):
                kept = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
                body = [node for node in ast.parse(cell.source).body if isinstance(node, kept)]
                exec(compile(ast.Module(body, []), cell.id, "exec"), known[stem])
        return dict(known[stem])

    return names


@pytest.mark.parametrize(("stem", "question", "wrong"), CASES)
def test_a_wrong_answer_fails_with_its_own_hint(names_of, stem, question, wrong):
    namespace = names_of(stem)
    exec(wrong["code"], namespace)
    assert exercises.CHECKS[question["id"]](namespace["answer"]) == wrong["mistake"]
    score = scoring.score_exercise(question, namespace["answer"])
    assert score.right is False and any(question["mistakes"][wrong["mistake"]] in line for line in score.lines)


def test_every_mistake_has_a_stored_wrong_answer():
    for path in questions.files():
        for question in questions.load(path)["questions"].values():
            if question["section"] == "exercises":
                assert {wrong["mistake"] for wrong in question["wrong"]} == set(question["mistakes"]), question["id"]


def test_two_checks_for_one_exercise_are_refused(monkeypatch):
    monkeypatch.setattr(exercises, "CHECKS", {"01/ex1": exercises.last_block_and_head})
    with pytest.raises(ValueError, match="01/ex1 has two checks: last_block_and_head and work_left"):
        exercises.exercise("01/ex1")(exercises.work_left)


@pytest.mark.parametrize("value", ODD, ids=range(len(ODD)))
@pytest.mark.parametrize("name", sorted(exercises.CHECKS))
def test_an_answer_of_any_type_gets_a_sentence(name, value):
    score = scoring.score_exercise(questions.find(name, ("exercises",)), value)
    assert score.right is not True and score.lines
