"""The statements that an exercise's answer needs, found without running any, and what in them an answer need not have.

Only these statements run when an answer is judged: an endless loop or a crash elsewhere in the notebook costs nothing,
and a notebook is graded in seconds. What is needed is looked up in the learner's notebook first, and in the course's
where the learner's has lost or spoilt it, whatever the order of the cells.
"""

import ast
import symtable
from dataclasses import dataclass

READERS = {"print", "claim", "display", "len", "tabulate", "check", "quiz", "progress"}  # change no argument
DEFINITIONS = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@dataclass
class Statement:
    """A statement of a notebook's top level."""

    node: ast.stmt
    source: str
    binds: frozenset  # names that it gives a value
    needs: frozenset  # names that it reads, also inside functions
    changes: frozenset  # names whose object it may change

    @property
    def surely_binds(self):
        """The names that it binds whatever happens, so that nothing before it counts."""
        if isinstance(self.node, (*DEFINITIONS, ast.Assign, ast.AnnAssign)):
            return self.binds
        return self.binds & _targets(self.node)


def statements(tree):
    """The statements of a syntax tree, as a list of Statement. One that cannot be compiled is left out."""
    found = []
    for node in tree.body:
        try:
            source = ast.unparse(node)
            table = symtable.symtable(source, "cell", "exec")
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        binds, needs = _names(table)
        needs -= _targets(node)  # a loop gives its own variable its value
        found.append(Statement(node, source, frozenset(binds), frozenset(needs), frozenset(_changes(node))))
    return found


def _targets(node):
    """The names that a loop or a `with` gives a value before its body runs, less those that its head reads."""
    if isinstance(node, ast.For):
        targets, heads = [node.target], [node.iter]
    elif isinstance(node, ast.With):
        targets = [item.optional_vars for item in node.items if item.optional_vars]
        heads = [item.context_expr for item in node.items]
    else:
        return set()
    names = [{n.id for part in parts for n in ast.walk(part) if isinstance(n, ast.Name)} for parts in (targets, heads)]
    return names[0] - names[1]


def _names(table):
    own = table.get_type() == "module"
    binds = {s.get_name() for s in table.get_symbols() if (own or s.is_declared_global()) and _is_bound(s)}
    needs = {s.get_name() for s in table.get_symbols() if s.is_referenced() and (own or s.is_global())}
    for child in table.get_children():
        inner_binds, inner_needs = _names(child)
        binds, needs = binds | inner_binds, needs | inner_needs
    return binds, needs


def _is_bound(symbol):
    return symbol.is_assigned() or symbol.is_imported()


def _changes(node):
    if isinstance(node, DEFINITIONS):
        return
    for part in ast.walk(node):
        if isinstance(part, (ast.Attribute, ast.Subscript)) and not isinstance(part.ctx, ast.Load):
            yield root(part)
        elif isinstance(part, ast.Call):
            if isinstance(part.func, ast.Attribute):
                yield root(part.func)
            if getattr(part.func, "id", None) not in READERS:
                yield from (argument.id for argument in part.args if isinstance(argument, ast.Name))


def root(node):
    """The name that an expression such as a.b[0].c begins with, "" if it begins with none."""
    while isinstance(node, (ast.Attribute, ast.Subscript, ast.Call)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def needed(own, program):
    """The statements of a program that these statements, which follow it, need: with all that those need, in order."""
    start, program = len(program), [*program, *own]
    chosen = set(range(start, len(program)))
    seen, todo = set(), [(name, index) for index in chosen for name in program[index].needs]
    while todo:
        name, end = todo.pop()
        if (name, end) in seen:
            continue
        seen.add((name, end))
        found = set()
        for index in range(end - 1, -1, -1):
            statement = program[index]
            if name in statement.binds:
                found.add(index)
                if name in statement.surely_binds:
                    if not isinstance(statement.node, DEFINITIONS):
                        found |= {i for i in range(index + 1, end) if name in program[i].changes}
                    break
        for index in found - chosen:  # what a function reads may be bound after it, as long as it is before the end
            until = end if isinstance(program[index].node, DEFINITIONS) else index
            todo += [(need, until) for need in program[index].needs]
        chosen |= found
    return [program[index] for index in sorted(chosen) if index < start]


@dataclass
class Answer:
    """An exercise's answer as a program: `before`, then `cell`, then the expression `value`."""

    before: list  # sources of single statements
    cell: str
    value: str
    reaches: str | None  # what in the learner's part reaches past an answer's business


def answer(cell, exercise, mine, theirs):
    """The program of a learner's answer.

    cell: the learner's Cell, which has a tree. exercise: its id. mine, theirs: statements of the learner's notebook
    (those after the cell first) and of the course's. Returns an Answer.
    """
    tree, value = _without_check(cell.tree, exercise)
    own = statements(tree)
    before = needed([*own, *statements(ast.parse(value))], [*theirs, *mine])
    course = {statement.source for statement in theirs}
    written = [statement for statement in [*before, *own] if statement.source not in course]
    return Answer([s.source for s in before], ast.unparse(tree), value, reach([s.node for s in written]))


def before_code(source, program):
    """The sources of the statements that a piece of the course's own code needs, and its own: a list of texts."""
    own = statements(ast.parse(source))
    return [statement.source for statement in [*needed(own, program), *own]]


def _without_check(tree, exercise):
    """The cell without its calls `check("01/ex1", ...)`, and the expression that the last of them was given."""
    value, body = "answer", []
    for node in tree.body:
        call = node.value if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) else None
        if call and getattr(call.func, "id", getattr(call.func, "attr", None)) == "check" and _first(call) == exercise:
            given = [*call.args[1:2], *(keyword.value for keyword in call.keywords if keyword.arg == "value")]
            value = ast.unparse(given[0]) if given and not isinstance(given[0], ast.Starred) else value
        else:
            body.append(node)
    return ast.Module(body, []), value


def _first(call):
    return call.args[0].value if call.args and isinstance(call.args[0], ast.Constant) else None


# What an answer that must run beside its check may import. The rest of Python is not forbidden to learners: such an
# answer is left to the teacher.
LIBRARIES = """math functools itertools collections copy random operator statistics typing warnings contextlib time
dataclasses numpy scipy torch keras tensorflow sklearn matplotlib tabulate tqdm utils joblib pandas"""
UTILS = "data evidence keras_lab torch_lab plots report recipes sweep anatomy explorer study"
CALLS = "eval exec compile open globals locals vars breakpoint input __import__ memoryview"
INSIDE = """sys os gc ctypes inspect builtins importlib subprocess threading multiprocessing pickle
exercises scoring CHECKS f_back f_locals f_globals f_code gi_frame cr_frame tb_frame tb_next load loads load_model"""
LIBRARIES, UTILS, CALLS, INSIDE = (set(names.split()) for names in (LIBRARIES, UTILS, CALLS, INSIDE))
UNDERSCORES = {"__init__", "__call__", "__name__", "__doc__", "__len__", "__class__", "_"}


def reach(nodes):
    """The first thing in these statements that reaches past an answer's business, as text; None if there is none.

    Looked for are ways into the interpreter, into the checker, and new attributes on modules. It is a fence that says
    where a teacher should look, and no proof: see `python -m tools.grade --help`.
    """
    modules = {"utils"}
    for part in [part for node in nodes for part in ast.walk(node)]:
        if isinstance(part, (ast.Import, ast.ImportFrom)):
            modules |= {alias.asname or alias.name.split(".")[0] for alias in part.names}
    modules |= LIBRARIES | {"np", "nn", "tf", "plt"} | UTILS
    for part in [part for node in nodes for part in ast.walk(node)]:
        found = _reaches(part, modules)
        if found:
            return found
    return None


def _reaches(part, modules):
    if isinstance(part, ast.Import):
        names = [alias.name for alias in part.names]
    elif isinstance(part, ast.ImportFrom):
        names = [f"{part.module or ''}.{alias.name}" for alias in part.names]
    else:
        names = []
    for name in names:
        parts = name.split(".")
        if parts[0] not in LIBRARIES or (parts[0] == "utils" and parts[1:2] and parts[1] not in UTILS):
            return f"import {name}"
        if set(parts) & INSIDE or any(p.startswith("_") for p in parts) or "*" in parts:
            return f"import {name}"
    if isinstance(part, ast.Name) and (part.id in CALLS or (part.id.startswith("__") and part.id not in UNDERSCORES)):
        return part.id
    if isinstance(part, ast.Attribute):
        if part.attr in INSIDE or (part.attr.startswith("_") and part.attr not in UNDERSCORES):
            return f".{part.attr}"
        if not isinstance(part.ctx, ast.Load) and root(part) in modules:
            return f"{ast.unparse(part)} = ..."
    if isinstance(part, ast.Call) and getattr(part.func, "id", None) in {"getattr", "setattr", "delattr"}:
        name = part.args[1] if len(part.args) > 1 else None
        text = name.value if isinstance(name, ast.Constant) and isinstance(name.value, str) else "_"
        if text.startswith("_") or text in INSIDE or root(part.args[0]) in modules:
            return f"{part.func.id}(...)"
    return None
