"""The text of an exported program, checked before torch turns it into Python code."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

from edge_vss.errors import ModelError

ARITHMETIC = (
    *("abs", "add", "and_", "eq", "floordiv", "ge", "getitem", "gt", "index", "inv", "invert", "le"),
    *("lshift", "lt", "mod", "mul", "ne", "neg", "not_", "or_", "pos", "pow", "rshift", "sub"),
    *("truediv", "xor", "iadd", "imul", "isub"),
)
"""What of Python's ``operator`` a graph may call. ``attrgetter`` and ``methodcaller`` reach everything."""
TARGETS = (
    re.compile(r"torch\.ops\.higher_order\.[a-z]\w*"),
    re.compile(r"torch\.ops\.(?!load_library|import_module|loaded_libraries)[a-z]\w*\.\w+\.[A-Za-z]\w*"),
    re.compile(rf"_operator\.({'|'.join(ARITHMETIC)})"),
    re.compile(r"math\.[a-z]\w*"),
    re.compile(r"torch\._?sym_\w+"),
)
REACHES_OUT = re.compile(r"torch\.ops\.\w+\.(from_file|save|load)\b.*")
"""Operators that open files."""
FUNCTIONS = frozenset(
    (
        *("FloorDiv", "ModularIndexing", "Where", "PythonMod", "Mod", "CleanDiv", "CeilToInt", "FloorToInt"),
        *("CeilDiv", "LShift", "RShift", "PowByNatural", "FloatPow", "FloatTrueDiv", "IntTrueDiv", "Max"),
        *("Min", "Identity", "IsNonOverlappingAndDenseIndicator", "TruncToFloat", "TruncToInt"),
        *("RoundToInt", "RoundDecimal", "ToFloat", "Eq", "Ne", "Lt", "Le", "Gt", "Ge", "And", "Or", "Not"),
        *("Abs", "Integer", "Float", "Rational", "Symbol", "Add", "Mul", "Pow", "floor", "ceiling"),
    )
)
"""What a size may call. Sizes are evaluated as Python."""
POWERS = frozenset(("Pow", "LShift", "PowByNatural", "FloatPow"))
MOST_EXPONENT, MOST_POWERS, MOST_EXTENT = 16, 2, 1 << 63
SIZE_NODES = (
    *(ast.Expression, ast.BinOp, ast.UnaryOp, ast.Compare, ast.BoolOp, ast.keyword, ast.Load, ast.operator),
    *(ast.unaryop, ast.cmpop, ast.boolop),
)
"""What else may be in a size: no attributes, no subscripts, no comprehensions."""
NAME = re.compile(r"\w*")
PATH = re.compile(r"""[^"'\\(){};\x00-\x1f]*""")
KEY = re.compile(r"[\w.\- /]*")
MOST_CHARACTERS, MOST_NODES = 2000, 500


def check_program(content: Any, path: Path) -> None:
    """Raise ModelError for a part of the JSON ``content`` of ``path`` that torch would run as Python.

    Guards, which are Python text as well, are taken out of it: torch checks the picture's size without them.
    """
    if content.get("guards_code"):
        content["guards_code"] = []
    for name in content.get("range_constraints") or {}:
        _size(name, path)
    waiting = [content]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            if "__enum__" in value:
                raise _refused(path, "__enum__")
            for key, item in value.items():
                _check(key, item, path)
                waiting.append(item)
        elif isinstance(value, str) and ("__enum__" in value or "default_factory_module" in value):
            raise _refused(path, value)


def _check(key: str, item: Any, path: Path) -> None:
    if key in ("target", "as_operator") and isinstance(item, str):
        known = any(target.fullmatch(item) for target in TARGETS)
        if not known or REACHES_OUT.fullmatch(item):
            raise _refused(path, item)
    elif key == "expr_str":
        _size(item, path)
    elif key == "name" and isinstance(item, str):
        # Becomes a name in the Python code that torch writes for the graph.
        if not NAME.fullmatch(item):
            raise _refused(path, item)
    elif key == "forward_arg_names":
        for name in item or []:
            if not isinstance(name, str) or not NAME.fullmatch(name):
                raise _refused(path, name)
    elif key.endswith("_name") and isinstance(item, str):
        if not PATH.fullmatch(item):
            raise _refused(path, item)
    elif key in ("in_spec", "out_spec") and isinstance(item, str) and item:
        _structure(item, path)


def _size(text: Any, path: Path) -> None:
    """A size: numbers, names and the functions that make sizes of them, as torch writes them."""
    try:
        if not isinstance(text, str) or len(text) > MOST_CHARACTERS:
            raise ValueError
        nodes = list(ast.walk(ast.parse(text.strip(), mode="eval")))
        if len(nodes) > MOST_NODES or not all(_makes_a_size(node) for node in nodes):
            raise ValueError
        powers = [node for node in nodes if isinstance(node, ast.Pow) or _called(node) in POWERS]
        if len(powers) > MOST_POWERS:
            raise ValueError
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        raise _refused(path, text) from None


def _makes_a_size(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant):
        value = node.value
        if isinstance(value, str):
            return value.isidentifier() and "__" not in value
        return isinstance(value, bool | float) or (isinstance(value, int) and value < MOST_EXTENT)
    if isinstance(node, ast.Call):
        name = _called(node)
        small = name not in POWERS or (len(node.args) == 2 and _is_small(node.args[1]))
        return name in FUNCTIONS and small
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow | ast.LShift):
        return isinstance(node.op, ast.Pow) and _is_small(node.right)
    if isinstance(node, ast.Name):
        return "__" not in node.id
    return isinstance(node, SIZE_NODES)


def _called(node: ast.AST) -> str:
    """The name of the function that a node calls; empty where it calls none, or one without a name."""
    return node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""


def _is_small(node: ast.AST) -> bool:
    """Whether an exponent is a small number."""
    if _called(node) == "Integer" and isinstance(node, ast.Call) and len(node.args) == 1:
        return _is_small(node.args[0])
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return _is_small(node.operand)
    return isinstance(node, ast.Constant) and isinstance(node.value, int) and node.value <= MOST_EXPONENT


def _structure(text: str, path: Path) -> None:
    """How arguments are nested: JSON that holds JSON. Keys of dicts become names of arguments."""
    waiting: list[Any] = [text]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            waiting += [*value, *value.values()]
        elif isinstance(value, str) and not KEY.fullmatch(value):
            if value[:1] not in ("[", "{", '"'):
                raise _refused(path, value)
            try:
                waiting.append(json.loads(value))
            except (ValueError, RecursionError):
                raise _refused(path, value) from None


def _refused(path: Path, what: object) -> ModelError:
    shown = ascii(what)[:80]
    return ModelError(
        f"{path} asks for {shown}, which no graph of operators needs and which could run any code: "
        "do not use this file, or export the model again"
    )
