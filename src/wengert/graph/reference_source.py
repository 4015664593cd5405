"""The source of an operation, taken from its NumPy reference.

`numpy(self, x): return np.reshape(x, self.shape)` becomes `np.reshape(x, (3, 2))`. A longer reference becomes a
function of its own, with the parameters it reads as keywords; so do the functions it calls. A reference that needs
more than NumPy and such functions has no text.
"""

from __future__ import annotations

import ast
import builtins
import copy
import functools
import inspect
import keyword
import textwrap
import types
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import WengertError
from .primitive import Primitive
from .types import Dim

RESERVED = frozenset({*keyword.kwlist, *dir(builtins), "np", "scipy", "wengert", "registry", "constants"})
"""Names that a source does not give to its own values and functions."""


class _NoTextError(Exception):
    """This reference cannot be written down by itself."""


class References:
    """The functions that one source needs beside NumPy, each by a name of its own."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self._names: dict[Any, str | None] = {}

    def call(self, primitive: Primitive, operands: Sequence[str]) -> str | None:
        """The operation on operands given as text; None if its reference cannot be written down."""
        if primitive.reference is not None:
            if primitive.reference in OPERATORS:
                return OPERATORS[primitive.reference].format(*operands)
            function = self.function(primitive.reference)
            return None if function is None else f"{function}({', '.join(operands)})"
        method = type(primitive).numpy
        values = [ast.parse(operand, mode="eval").body for operand in operands]
        try:
            tree = parsed(method)
            body = plain(tree)
            if len(body) == 1 and isinstance(body[0], ast.Return) and body[0].value is not None:
                return ast.unparse(self._expression(primitive, method, tree, body[0].value, values))
            name, read = self._method(primitive, method, tree)
        except _NoTextError:
            return None
        parameters = [f"{attribute}={parameter_text(getattr(primitive, attribute))}" for attribute in read]
        return f"{name}({', '.join([*operands, *parameters])})"

    def function(self, function: Any) -> str | None:
        """How to call a function: NumPy's and SciPy's by their names, one of Python by its own; None if neither."""
        known = function_text(function)
        if known is None:
            try:
                known = self._helper(function)
            except _NoTextError:
                return None
        return known

    def _expression(
        self, primitive: Primitive, method: Any, tree: ast.FunctionDef, value: ast.expr, operands: Sequence[ast.expr]
    ) -> ast.expr:
        """The value that a one-line reference returns, with operands and parameters in place."""
        names = [argument.arg for argument in tree.args.args[1:]]
        bound: dict[str, ast.expr] = dict(zip(names, operands, strict=False))
        if tree.args.vararg is not None:
            bound[tree.args.vararg.arg] = ast.Tuple(list(operands[len(names) :]), ast.Load())
        visitor = _Translator(self, method, set(bound), primitive, bound, {})
        found = visitor.visit(copy.deepcopy(value))
        return ast.fix_missing_locations(found)  # type: ignore[no-any-return]

    def _method(self, primitive: Primitive, method: Any, tree: ast.FunctionDef) -> tuple[str, list[str]]:
        """The name of a function made of a reference, and the parameters of the operation that it takes."""
        read: dict[str, None] = {}
        key = type(primitive), method
        visitor = _Translator(self, method, local_names(tree), primitive, {}, read)
        body = [visitor.visit(copy.deepcopy(statement)) for statement in plain(tree)]
        if key not in self._names:
            tree = copy.deepcopy(tree)
            tree.args.args = tree.args.args[1:]
            tree.args.kwonlyargs = [*tree.args.kwonlyargs, *(ast.arg(attribute) for attribute in read)]
            tree.args.kw_defaults = [*tree.args.kw_defaults, *(None for _ in read)]
            if tree.args.vararg is None:  # plain parameters read better than keywords alone
                tree.args.args += tree.args.kwonlyargs
                tree.args.kwonlyargs, tree.args.kw_defaults = [], []
            self._names[key] = self._write(primitive.name, tree, body)
        return str(self._names[key]), list(read)

    def _helper(self, function: Any) -> str:
        """The name of a function of Python, which with all that it calls needs nothing but NumPy."""
        if function not in self._names:
            code = getattr(function, "__func__", function)
            tree = copy.deepcopy(parsed(code))
            if code.__closure__ or tree.decorator_list:
                raise _NoTextError
            if code is not function:  # a method that reads nothing of its operation, or it has no text
                tree.args.args = tree.args.args[1:]
            self._names[function] = name = self._fresh(function.__name__.strip("_"))
            self.texts[name] = ""
            try:
                visitor = _Translator(self, code, local_names(tree), None, {}, {})
                body = [visitor.visit(copy.deepcopy(statement)) for statement in plain(tree)]
            except _NoTextError:
                del self.texts[name]
                self._names[function] = None
                raise
            self._write(name, tree, body)
        found = self._names[function]
        if found is None:
            raise _NoTextError
        return found

    def _write(self, name: str, tree: ast.FunctionDef, body: list[ast.stmt]) -> str:
        tree = copy.deepcopy(tree)
        if name not in self._names.values():
            name = self._fresh(name)
        arguments = tree.args
        for argument in (*arguments.args, *arguments.posonlyargs, *arguments.kwonlyargs):
            argument.annotation = None
        for starred in (arguments.vararg, arguments.kwarg):
            if starred is not None:
                starred.annotation = None
        tree.name, tree.body, tree.returns, tree.decorator_list = name, body, None, []
        self.texts.pop(name, None)  # what it calls stands before it
        self.texts[name] = ast.unparse(ast.fix_missing_locations(tree))
        return name

    def _fresh(self, name: str) -> str:
        while name in self.texts or name in RESERVED:
            name += "_"
        return name


class _Translator(ast.NodeTransformer):
    """Puts parameters, operands and the names of functions into the code of a reference."""

    def __init__(
        self,
        references: References,
        function: Any,
        local: set[str],
        primitive: Primitive | None,
        bound: dict[str, ast.expr],
        read: dict[str, None],
    ) -> None:
        self.references = references
        self.scope = function.__globals__
        self.local = local
        self.primitive = primitive
        self.bound = bound
        self.read = read

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id in self.bound:
            return copy.deepcopy(self.bound[node.id])
        if node.id in self.local:
            return node
        if node.id in self.scope:
            return self.value(self.scope[node.id])
        if hasattr(builtins, node.id) and node.id != "super":
            return node
        raise _NoTextError

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        if isinstance(node.value, ast.Name) and node.value.id == "self" and self.primitive is not None:
            value = getattr(self.primitive, node.attr, _NoTextError)
            if callable(value):
                return self.value(value)
            if self.bound:
                return self.value(value)
            if parameter_text(value) is None:
                raise _NoTextError
            self.read[node.attr] = None
            return ast.Name(node.attr, ast.Load())
        return self.generic_visit(node)  # type: ignore[return-value]

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        arguments: list[ast.expr] = []
        for argument in node.args:  # `*values` of known operands
            known = isinstance(argument, ast.Starred) and isinstance(argument.value, ast.Tuple)
            arguments += argument.value.elts if known else [argument]  # type: ignore[attr-defined]
        node.args = arguments
        return node

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        self.generic_visit(node)
        if isinstance(node.value, ast.Tuple) and isinstance(node.slice, ast.Constant) and self.bound:
            return node.value.elts[node.slice.value]  # type: ignore[index]
        return node

    def visit_IfExp(self, node: ast.IfExp) -> ast.expr:
        self.generic_visit(node)
        if isinstance(node.test, ast.Constant):
            return node.body if node.test.value else node.orelse
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.stmt:
        if node.value is None:
            raise _NoTextError
        return ast.Assign([node.target], self.visit(node.value))

    def value(self, value: Any) -> ast.expr:
        """A value of the reference's module or operation as an expression."""
        if value is np:
            return ast.Name("np", ast.Load())
        if isinstance(value, type) and issubclass(value, WengertError):
            text: str | None = error_text(value)
        elif callable(value):
            text = self.references.function(value)
        else:
            text = parameter_text(value)
        if text is None:
            raise _NoTextError
        return ast.parse(text, mode="eval").body


@functools.cache
def parsed(function: Any) -> ast.FunctionDef:
    """The syntax tree of a named function of Python (not to be changed)."""
    if not isinstance(function, types.FunctionType) or function.__name__ == "<lambda>":
        raise _NoTextError
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    except (OSError, SyntaxError, IndexError):
        raise _NoTextError from None
    if not isinstance(tree, ast.FunctionDef):
        raise _NoTextError
    return tree


def plain(tree: ast.FunctionDef) -> list[ast.stmt]:
    """The statements of a function, without what only words an error anew."""

    class Unwrapper(ast.NodeTransformer):
        def visit_Try(self, node: ast.Try) -> Any:
            self.generic_visit(node)
            words = all(isinstance(handler.body[-1], ast.Raise) for handler in node.handlers)
            return node.body if words and not node.orelse and not node.finalbody else node

    return Unwrapper().visit(copy.deepcopy(tree)).body  # type: ignore[no-any-return]


def local_names(tree: ast.FunctionDef) -> set[str]:
    """Names that a function, or one inside it, binds."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            found.add(node.arg)
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            found.add(node.id)
        elif isinstance(node, ast.alias):
            found.add((node.asname or node.name).split(".")[0])
        elif isinstance(node, ast.ExceptHandler) and node.name:
            found.add(node.name)
    return found - {"self"}


def error_text(kind: type[WengertError]) -> str:
    """Python's or NumPy's exception that one of ours derives from."""
    for base in kind.__mro__:
        if base.__module__ == "numpy.linalg":
            return f"np.linalg.{base.__name__}"
        if base.__module__ == "builtins":
            return base.__name__
    return "Exception"


def function_text(function: Any) -> str | None:
    """How to call a function of NumPy or SciPy: `np.sin`, `np.linalg.inv`, `scipy.special.erf`; None for others."""
    name = getattr(function, "__name__", "")
    if getattr(np, name, None) is function:
        return f"np.{name}"
    module = str(getattr(function, "__module__", None) or "")
    if module == "numpy.linalg":
        return f"np.linalg.{name}"
    if isinstance(function, np.ufunc):
        return f"scipy.special.{name}"
    return None


def number_text(value: Any) -> str | None:
    """A Python number as an operand, `2.0`, `(-1)`, `np.inf`; None if there is no exact text."""
    if isinstance(value, complex):
        parts = number_text(value.real), number_text(value.imag)
        return f"complex({parts[0]}, {parts[1]})"
    if isinstance(value, float) and value != value:
        return "np.nan"
    if isinstance(value, float) and value in (np.inf, -np.inf):
        return "np.inf" if value > 0 else "(-np.inf)"
    if isinstance(value, (bool, int, float)):
        text = repr(value)
        return f"({text})" if text.startswith("-") else text
    return None


def dtype_text(dtype: Any) -> str:
    """`np.float64`, `np.bool_`."""
    return f"np.{np.dtype(dtype).type.__name__}" if np.dtype(dtype).kind != "b" else "np.bool_"


def parameter_text(value: Any) -> str | None:
    """A parameter of an operation as source; None if it has none."""
    if isinstance(value, Dim):
        return repr(value)
    if value is None or value is Ellipsis or isinstance(value, str):
        return repr(value)
    if isinstance(value, np.dtype):
        return f"np.dtype({value.str!r})"
    if isinstance(value, np.generic) and value.dtype.kind in "biufc":
        value = value.item()
    if isinstance(value, (tuple, list)):
        parts = [parameter_text(item) for item in value]
        if type(value) not in (tuple, list) or any(part is None for part in parts):
            return None
        inner = ", ".join(part for part in parts if part is not None)
        return f"[{inner}]" if isinstance(value, list) else f"({inner}{',' if len(parts) == 1 else ''})"
    if isinstance(value, slice):
        parts = [parameter_text(part) for part in (value.start, value.stop, value.step)]
        return None if None in parts else f"slice({', '.join(map(str, parts))})"
    return number_text(value)


OPERATORS: dict[Callable[..., Any], str] = {
    np.add: "{} + {}", np.subtract: "{} - {}", np.multiply: "{} * {}", np.divide: "{} / {}",
    np.floor_divide: "{} // {}", np.remainder: "{} % {}", np.negative: "-{}",
    np.equal: "{} == {}", np.not_equal: "{} != {}", np.less: "{} < {}", np.less_equal: "{} <= {}",
    np.greater: "{} > {}", np.greater_equal: "{} >= {}", np.bitwise_and: "{} & {}", np.bitwise_or: "{} | {}",
    np.bitwise_xor: "{} ^ {}", np.invert: "~{}", np.left_shift: "{} << {}", np.right_shift: "{} >> {}",
}  # fmt: skip
"""NumPy function -> Python operator."""
