"""A graph as plain Python: a function in NumPy that anyone can read, run and step through.

Every operation becomes one statement with the user's line beside it. How an operation is written is its own
answer to `Primitive.python` (or `python_lines`, for loops and branches, whose graphs become inner functions).
An operation that gives none is called through the registry, so that the source runs in any case.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import keyword
import re
import textwrap
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import GraphError
from .nodes import Atom, Const, Node, Var
from .primitive import Primitive, registry
from .printing import name_edges
from .trees import Structure
from .types import ArrayType, Dim

if TYPE_CHECKING:
    from .graph import Graph

WRITTEN_OUT = 16
"""Elements up to which an array constant stands in the source; a larger one is handed in."""
RESERVED = frozenset({*keyword.kwlist, *dir(builtins), "np", "scipy", "wengert", "registry", "constants"})


class Operand(str):
    """The text of an operand, which also knows the type of the value."""

    __slots__ = ("type",)
    type: ArrayType

    def __new__(cls, text: str, type: ArrayType) -> Operand:
        self = super().__new__(cls, text)
        self.type = type
        return self


def python_source(graph: Graph, name: str | None = None) -> str:
    """The source of a function that computes what the graph does, in NumPy.

    The function takes and returns the containers of the traced function. Array constants of more than 16
    elements come in by the keyword `constants`, which `python_constants(graph)` gives.

    Raises
    ------
    GraphError : a constant is not known (dynamic graphs keep only those that derivatives need).
    """
    return Writer(graph).source(name or graph.name)


def python_constants(graph: Graph) -> dict[str, Any]:
    """What the source of `python_source` expects as `constants`: the larger arrays by name."""
    writer = Writer(graph)
    writer.source(graph.name)
    return writer.given


def identifier(label: str) -> str:
    """A user's name, `p['w'][0]`, as a Python name, `p_w_0`, that cannot be one that the source itself makes."""
    text = re.sub(r"\W+", "_", unicodedata.normalize("NFKC", label)).strip("_")
    if not text.isidentifier():
        text = f"_{text}"
    return f"{text}_" if text in RESERVED or re.fullmatch(r"[cgnv]\d+", text) else text


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


def array_text(value: np.ndarray[Any, Any]) -> str | None:
    """An array as source, if it is small or all its elements are the same."""
    kind = dtype_text(value.dtype)
    shape = parameter_text(value.shape)
    if value.dtype.kind not in "biufc" or value.dtype.itemsize > 16:
        return None
    if value.size == 0:
        return f"np.zeros({shape}, {kind})"
    first = value.flat[0]
    if value.size > 1 and first == first and bool((value == first).all()):
        if first != 0:
            return f"np.full({shape}, {number_text(first.item())}, {kind})"
        if value.dtype.kind in "biu" or not (np.signbit(value.real).any() or np.signbit(value.imag).any()):
            return f"np.zeros({shape}, {kind})"
    if value.size > WRITTEN_OUT:
        return None
    return f"np.array({nested_text(value.tolist())}, {kind})"


def nested_text(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(nested_text, value))}]"
    text = number_text(value) or repr(value)
    return text[1:-1] if text.startswith("(") else text


def standalone(function: Any) -> list[str] | None:
    """The sources of a function and of those it calls, if they need nothing but NumPy; None otherwise."""
    found: dict[Any, str] = {}

    def visit(function: Any) -> bool:
        if function in found:
            return True
        if not inspect.isfunction(function) or function.__name__ == "<lambda>" or function.__closure__:
            return False
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
        except (OSError, SyntaxError):
            return False
        if not isinstance(tree, ast.FunctionDef) or tree.decorator_list:
            return False
        found[function] = ""
        for value in inspect.getclosurevars(function).globals.values():
            if value is not np and not visit(value):
                return False
        tree.returns = None
        for argument in (*tree.args.args, *tree.args.posonlyargs, *tree.args.kwonlyargs):
            argument.annotation = None
        found[function] = ast.unparse(tree)
        return True

    return list(found.values()) if visit(function) else None


class Writer:
    """Writes one graph. All names of the source are distinct, so that inner functions may use those around them."""

    def __init__(self, graph: Graph) -> None:
        self.main = graph
        self.given: dict[str, Any] = {}
        self.helpers: dict[str, None] = {}
        self.constants: dict[int, tuple[Any, str]] = {}
        self.head: list[str] = []
        self.dims: dict[str, str] = {}
        self.taken = set(RESERVED)
        for node in graph.all_nodes():
            for helper in node.primitive.python_helpers():
                for text in standalone(helper) or ():
                    self.helpers[text] = None
                self.taken.add(helper.__name__)
        for text in self.helpers:
            self.taken.add(text[4 : text.index("(")])

    def source(self, name: str) -> str:
        graph = self.main
        function = self.fresh(identifier(name))
        parameters, unpack, names = self.signature(graph)
        body = self.body(graph, names, "    ")
        if self.given:
            parameters = [*parameters, "*", "constants"]
        types = ", ".join(str(var.type) for var in graph.inputs)
        results = ", ".join(str(atom.type) for atom in graph.outputs)
        lines = [
            f"def {function}({', '.join(parameters)}):",
            f'    """({types}) -> {results}"""',
            *(f"    {line}" for line in [*unpack, *self.head]),
            *body,
        ]
        code = "\n".join(lines)
        modules = sorted(set(re.findall(r"\bscipy\.\w+(?=\.)", code)))
        imports = ["import numpy as np", *(f"import {module}" for module in modules)]
        if "registry[" in code:
            imports += ["import wengert", "from wengert.graph.primitive import registry"]
        return "\n\n\n".join(["\n".join(imports), *self.helpers, code]) + "\n"

    # Names. ------------------------------------------------------------------------------------------

    def fresh(self, name: str) -> str:
        """A name that nothing else has."""
        found, count = name, 1
        while found in self.taken:
            count += 1
            found = f"{name}_{count}"
        self.taken.add(found)
        return found

    def name_edges(self, graph: Graph) -> dict[Var, str]:
        names = name_edges(graph, identifier, frozenset(self.taken))
        self.taken.update(names.values())
        return names

    def operand(self, atom: Atom, names: dict[Var, str]) -> Operand:
        """A name, or a constant as text."""
        if isinstance(atom, Var):
            return Operand(names[atom], atom.type)
        return Operand(self.constant(atom), atom.type)

    def constant(self, atom: Const) -> str:
        value = atom.value
        if not isinstance(value, (bool, int, float, complex, np.generic, np.ndarray)):
            raise GraphError(
                f"a constant of type {atom.type} is not known, so that the graph cannot be written as Python",
                "dynamic graphs keep only the values that derivatives need: use wg.trace(f, *args)",
            )
        if atom.type.weak:
            return number_text(value) or repr(value)
        array = np.asarray(value)
        if array.shape == () and array.dtype.kind in "biufc":
            text = number_text(array.item())
            if text is not None:
                return f"{dtype_text(array.dtype)}({text[1:-1] if text.startswith('(') else text})"
        if id(value) not in self.constants:
            name = f"c{len(self.constants)}"
            text = array_text(array)
            if text is None:
                self.given[name] = value
                text = f'constants["{name}"]'
            self.head.append(f"{name} = {text}")
            self.constants[id(value)] = (value, name)
        return self.constants[id(value)][1]

    # Functions. --------------------------------------------------------------------------------------

    def signature(self, graph: Graph) -> tuple[list[str], list[str], dict[Var, str]]:
        """Parameters, statements that take containers apart, and the names of the edges."""
        names = self.name_edges(graph)
        flat = [names[var] for var in graph.inputs]
        tree = graph.in_tree
        if tree is None or tree.num_leaves != len(flat):
            return flat, [], names
        accessors = tree.accessors()
        arguments, keywords = tree.children()
        parameters: list[str] = []
        unpack: list[str] = []
        position = 0
        entries = [*((0, k) for k in range(arguments.num_children)), *((1, key) for key in keywords.entries())]
        for (part, entry), child in zip(entries, (*arguments.children(), *keywords.children()), strict=True):
            inside = range(position, position + child.num_leaves)
            position += child.num_leaves
            if child.is_leaf():
                parameters.append(flat[inside[0]])
                continue
            label = str(entry) if part else f"arg{entry}"
            if inside and not part:
                label = re.split(r"[.\[]", getattr(graph.inputs[inside[0]], "name", None) or label)[0]
            root = self.fresh(identifier(label))
            parameters.append(root)
            for k in inside:
                path = accessors[k][2:].codify(root)
                if "<" in path:  # a registered class that cannot be reached by subscript or attribute
                    return flat, [], names
                unpack.append(f"{flat[k]} = {path}")
        return parameters, unpack, names

    def body(self, graph: Graph, names: dict[Var, str], indent: str) -> list[str]:
        """The statements of a function, with the user's lines as aligned comments."""
        for var in graph.inputs:
            self.know_lengths(var, names)
        lines: list[tuple[str, str]] = []
        for node in graph.nodes:
            comment = "" if node.source is None else ("gradient of " if node.backward else "") + str(node.source)
            for line in self.statements(node, names):
                lines.append((line, comment))
                comment = ""
        results = [self.operand(atom, names) for atom in graph.outputs]
        nested = graph.out_tree if graph.out_tree is not None and graph.out_tree.num_leaves == len(results) else None
        text = None if nested is None else container_text(nested, iter(results))
        if text is None:
            text = results[0] if len(results) == 1 else f"({', '.join(results)})"
        lines.append((f"return {text}", ""))
        widths = [len(code) for code, comment in lines if comment and len(code) <= 80]
        column = max(widths, default=0) + 2
        return [f"{indent}{code:<{column}}# {comment}" if comment else f"{indent}{code}" for code, comment in lines]

    def statements(self, node: Node, names: dict[Var, str]) -> list[str]:
        """One operation; inner functions come before it."""
        primitive = node.primitive
        operands = [self.operand(atom, names) for atom in node.inputs]
        if operands and all(operand.type.weak for operand in operands):
            # Among Python numbers alone Python's operators would compute, which differ: 1 / 0 is an error there.
            operands[0] = Operand(f"{dtype_text(operands[0].type.dtype)}({operands[0]})", operands[0].type)
        targets = [Operand(names[var], var.type) for var in node.outputs or ()]
        lines: list[str] = []
        functions = []
        for label, inner in node.subgraphs:
            function = self.fresh(identifier(f"{primitive.name}_{label}"))
            inner_names = self.name_edges(inner)
            lines.append(f"def {function}({', '.join(inner_names[var] for var in inner.inputs)}):")
            lines += self.body(inner, inner_names, "    ")
            functions.append(function)
        written = primitive.python_lines(targets, operands, functions, self.fresh)
        if written is None:
            text = primitive.python(*operands) or self.through_registry(primitive, operands)
            left = ", ".join(targets) + ("," if primitive.multiple and len(targets) == 1 else "")
            written = [f"{left} = {text}" if left else text]
        lines += written
        for var in node.outputs or ():
            lines += self.know_lengths(var, names)
        return [self.numbered(line) for line in lines]

    def through_registry(self, primitive: Primitive, operands: Iterable[str]) -> str:
        """The operation by its name, for one that has no text of its own; by itself if a parameter has none."""
        entry = registry.get(primitive.name)
        made = f"registry[{primitive.name!r}]"
        if entry is not primitive:
            parts = [parameter_text(value) for value in primitive.arguments().values()]
            if entry is type(primitive) and None not in parts:
                made += f"({', '.join(map(str, parts))})"
            else:
                made = f"constants[{self.fresh('operation')!r}]"
                self.given[made[11:-2]] = primitive
        return f"{made}.numpy({', '.join(operands)})"

    def know_lengths(self, var: Var, names: dict[Var, str]) -> list[str]:
        """Statements that name the lengths which only the run knows, where they first occur."""
        lines = []
        for axis, extent in enumerate(var.shape):
            if isinstance(extent, Dim) and repr(extent) not in self.dims:
                self.dims[repr(extent)] = f"n{len(self.dims)}"
                lines.append(f"{extent!r} = {names[var]}.shape[{axis}]")
        return lines

    def numbered(self, line: str) -> str:
        """Unknown lengths numbered from 0, so that the source is the same in every run."""
        if not self.dims:
            return line
        return re.sub(r"\bn\d+\b", lambda found: self.dims.get(found[0], found[0]), line)


def container_text(tree: Structure, leaves: Any) -> str | None:
    """Tuples, lists and dictionaries of the leaves' texts; None if the tree holds any other container."""
    if tree.is_leaf():
        return str(next(leaves))
    if tree.type is None or tree.type is type(None):
        return "None"
    parts = [container_text(child, leaves) for child in tree.children()]
    if any(part is None for part in parts):
        return None
    inner = ", ".join(str(part) for part in parts)
    if tree.type is tuple:
        return f"({inner}{',' if len(parts) == 1 else ''})"
    if tree.type is list:
        return f"[{inner}]"
    if tree.type is dict:
        return "{" + ", ".join(f"{key!r}: {part}" for key, part in zip(tree.entries(), parts, strict=True)) + "}"
    return None


def function_text(function: Any) -> str | None:
    """How to call a function of NumPy or SciPy: `np.sin`, `np.linalg.inv`, `scipy.special.erf`; None for others."""
    name = getattr(function, "__name__", "")
    if getattr(np, name, None) is function:
        return f"np.{name}"
    module = str(getattr(function, "__module__", None) or "")
    if module == "numpy.linalg":
        return f"np.linalg.{name}"
    if isinstance(function, np.ufunc) and type(function).__module__ == "numpy":
        return f"scipy.special.{name}"
    return None


OPERATORS: dict[Callable[..., Any], str] = {
    np.add: "{} + {}", np.subtract: "{} - {}", np.multiply: "{} * {}", np.divide: "{} / {}", np.power: "{} ** {}",
    np.floor_divide: "{} // {}", np.remainder: "{} % {}", np.negative: "-{}", np.positive: "+{}",
    np.matmul: "{} @ {}", np.equal: "{} == {}", np.not_equal: "{} != {}", np.less: "{} < {}",
    np.less_equal: "{} <= {}", np.greater: "{} > {}", np.greater_equal: "{} >= {}", np.bitwise_and: "{} & {}",
    np.bitwise_or: "{} | {}", np.bitwise_xor: "{} ^ {}", np.invert: "~{}", np.left_shift: "{} << {}",
    np.right_shift: "{} >> {}",
}  # fmt: skip
"""NumPy function -> Python operator."""


def assignment(targets: Sequence[str], value: str) -> str:
    """`a, b = value`, or `value` alone if there is nothing to assign to."""
    return f"{', '.join(targets)} = {value}" if targets else value
