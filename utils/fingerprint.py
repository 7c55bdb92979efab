"""What a result hangs on, in 64 digits: a function's code and all that it uses, the data, the versions of libraries.

`utils.sweep` names its finished runs by it, so that a changed recipe is never served an old result.
"""

import ast
import contextlib
import dis
import functools
import hashlib
import importlib.metadata
import importlib.util
import platform
import sys
import sysconfig
import types
from pathlib import Path

import joblib
import numpy as np

from utils import data

LIBRARIES = ("numpy", "torch", "keras", "tensorflow", "scikit-learn", "scipy")  # results hang on their versions


class NoFingerprint(Exception):
    """Something that a recipe uses cannot be told from a changed one."""


def fingerprint(*things):
    """64 hexadecimal digits that change with the code of the things and what it uses, with the course's data, and with
    the versions of Python and the libraries.

    things: functions, classes, modules or values. What a function uses: functions, classes, modules and values that it
    names, wherever they stand outside of installed libraries, in turn with what they use. Of modules every character
    counts, of the others comments do not. Raises NoFingerprint for a value that cannot be compared.
    """
    digest = hashlib.sha256(platform.python_version().encode())
    digest.update((data.FOLDER / "SHA256SUMS").read_bytes())
    for name in LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            digest.update(f"{name} {importlib.metadata.version(name)}".encode())
    seen = {}
    for thing in things:
        _describe(thing, digest.update, seen)
    return digest.hexdigest()


def _describe(thing, say, seen):
    """Say, in bytes, what a recipe or a thing that it uses does. seen: id -> (number, thing), for circles."""
    if id(thing) in seen and not isinstance(thing, int | float | str | bytes | None):
        return say(f"again {seen[id(thing)][0]}".encode())
    seen[id(thing)] = len(seen), thing  # kept alive, so that no other thing gets its id
    say(f"<{type(thing).__name__}".encode())
    if isinstance(thing, types.ModuleType):
        _describe_module(thing.__name__, say, seen)
    elif isinstance(thing, types.BuiltinFunctionType | np.ufunc):
        say(str(getattr(thing, "__qualname__", thing)).encode())
    elif isinstance(thing, functools.partial):
        _describe((thing.func, thing.args, thing.keywords), say, seen)
    elif isinstance(thing, types.MethodType):
        _describe((thing.__func__, thing.__self__), say, seen)
    elif hasattr(thing, "__wrapped__") and not isinstance(thing, types.FunctionType | type):
        _describe(thing.__wrapped__, say, seen)  # functools.cache, staticmethod, classmethod and the like
    elif isinstance(thing, types.FunctionType | type) and _is_covered(thing):
        say(thing.__qualname__.encode())
        _describe_module(thing.__module__, say, seen)
    elif isinstance(thing, types.FunctionType):
        _describe_function(thing, say, seen)
    elif isinstance(thing, type):
        inside = {name: value for name, value in vars(thing).items() if name not in _NOT_CODE}
        _describe((thing.__bases__, inside), say, seen)
    elif isinstance(thing, property):
        _describe((thing.fget, thing.fset), say, seen)
    elif isinstance(thing, tuple | list):
        for part in thing:
            _describe(part, say, seen)
    elif isinstance(thing, dict):
        for key, value in thing.items():
            _describe(key, say, seen)
            _describe(value, say, seen)
    elif isinstance(thing, int | float | complex | str | bytes | range | None | types.EllipsisType):
        say(repr(thing).encode())
    else:
        _describe_value(thing, say, seen)
    say(b">")


_NOT_CODE = ("__module__", "__dict__", "__weakref__", "__doc__", "__firstlineno__", "__static_attributes__")


def _describe_function(function, say, seen):
    _describe((function.__defaults__, function.__kwdefaults__), say, seen)
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):  # an empty cell
            _describe(cell.cell_contents, say, seen)
    for name in sorted(_describe_code(function.__code__, say, seen)):
        say(name.encode())
        if name in function.__globals__:
            _describe(function.__globals__[name], say, seen)


def _describe_code(code, say, seen):
    """The code's instructions and constants, without names of files and numbers of lines. Returns the global names."""
    say(repr((code.co_code, code.co_names, code.co_varnames, code.co_freevars, code.co_flags)).encode())
    names = set()
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _describe_code(constant, say, seen)
        elif isinstance(constant, frozenset):
            say(repr(sorted(map(repr, constant))).encode())
        else:
            _describe(constant, say, seen)
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            names.add(instruction.argval)
        elif instruction.opname == "IMPORT_NAME":
            _describe_module(instruction.argval, say, seen)
        elif instruction.opname == "IMPORT_FROM":
            _describe_module(f"utils.{instruction.argval}", say, seen)  # `from utils import x`; another x has no file
    return names


def _describe_module(name, say, seen):
    """A module by its version, or, if it is not installed, its source and that of what it imports."""
    if name in seen:
        return
    seen[name] = name, name
    say(name.encode())
    with contextlib.suppress(importlib.metadata.PackageNotFoundError, ValueError):
        say(importlib.metadata.version(name.partition(".")[0]).encode())  # imported by now or not
    with contextlib.suppress(ImportError, ValueError, AttributeError, TypeError, SyntaxError):
        if _is_installed(importlib.util.find_spec(name.partition(".")[0]).origin):
            return  # and do not import its package to find the rest of the name
        file = importlib.util.find_spec(name).origin
        if file.endswith(".py"):
            source = Path(file).read_bytes()
            say(source)
            for node in ast.walk(ast.parse(source)):
                if isinstance(node, ast.Import | ast.ImportFrom):
                    names = [alias.name for alias in node.names]
                    module = getattr(node, "module", None)
                    for other in [module, *(f"{module}.{n}" for n in names)] if module else names:
                        _describe_module(other, say, seen)


def _describe_value(thing, say, seen):
    """Any other value: by its class, and its contents, as they are pickled if the class is a library's."""
    _describe(type(thing), say, seen)
    if hasattr(thing, "__dict__") and not _is_covered(type(thing)):
        return _describe(vars(thing), say, seen)
    try:
        say(joblib.hash(thing, "sha1").encode())
    except Exception as error:  # pickling runs code of any kind
        raise NoFingerprint(f"a {type(thing).__name__} that the recipe uses") from error


def _is_covered(thing):
    """Whether this function or class is told well enough by its name: it is installed, or of `utils`."""
    module = sys.modules.get(thing.__module__)
    at_home = getattr(thing, "__globals__", None) is vars(module) if hasattr(thing, "__globals__") else True
    if module is None or not at_home or thing.__module__ == "__main__":
        return False  # made by exec, say
    file = getattr(module, "__file__", None)
    if file is None:
        return thing.__module__ in sys.builtin_module_names
    return _is_installed(file) or Path(file).resolve().parent == Path(__file__).resolve().parent


def _is_installed(file):
    path = Path(file).resolve()
    inside = {"site-packages", "dist-packages"} & set(path.parts) or path.is_relative_to(_STDLIB)
    return file in ("built-in", "frozen") or bool(inside)


_STDLIB = Path(sysconfig.get_paths()["stdlib"]).resolve()
