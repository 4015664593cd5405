"""A graph as plain Python: a function in NumPy that anyone can read, run and step through.

Every operation becomes one statement with the user's line beside it. How an operation is written is its own
answer to `Primitive.python` (or `python_lines`, for loops and branches, whose graphs become inner functions).
An operation that gives none is called through the registry, so that the source runs in any case.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import GraphError
from .nodes import Atom, Const, Node, Var
from .primitive import Primitive, registry
from .printing import name_edges
from .reference_source import RESERVED, References, dtype_text, number_text, parameter_text
from .trees import Structure
from .types import ArrayType, Dim

if TYPE_CHECKING:
    from .graph import Graph

WRITTEN_OUT = 16
"""Elements up to which an array constant stands in the source; a larger one is handed in."""


class Operand(str):
    """The text of an operand, which also knows the type of the value."""

    __slots__ = ("type",)
    type: ArrayType

    def __new__(cls, text: str, type: ArrayType) -> Operand:
        self = super().__new__(cls, text)
        self.type = type
        return self


class PythonSource(str):
    """Source code; `constants` are the arrays that are too large to stand in it, by name."""

    __slots__ = ("constants",)
    constants: dict[str, Any]


def python_source(graph: Graph, name: str | None = None) -> PythonSource:
    """The source of a function that computes what the graph does, in NumPy.

    The function takes and returns the containers of the traced function. Array constants of more than 16
    elements come in by the keyword `constants`.

    Raises
    ------
    GraphError : a constant is not known (dynamic graphs keep only those that derivatives need).
    """
    writer = Writer(graph)
    source = PythonSource(writer.source(name or graph.name))
    source.constants = writer.given
    return source


def identifier(label: str) -> str:
    """A user's name, `p['w'][0]`, as a Python name, `p_w_0`, that cannot be one that the source itself makes."""
    text = re.sub(r"\W+", "_", unicodedata.normalize("NFKC", label)).strip("_")
    if not text.isidentifier():
        text = f"_{text}"
    return f"{text}_" if text in RESERVED or re.fullmatch(r"[cgnv]\d+", text) else text


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


class Writer:
    """Writes one graph. All names of the source are distinct, so that inner functions may use those around them."""

    def __init__(self, graph: Graph) -> None:
        self.main = graph
        self.given: dict[str, Any] = {}
        self.references = References()
        self.constants: dict[int, tuple[Any, str]] = {}
        self.head: list[str] = []
        self.dims: dict[str, str] = {}
        self.taken = set(RESERVED)
        seen: set[tuple[Primitive, int]] = set()
        for node in graph.all_nodes():
            if (node.primitive, len(node.inputs)) not in seen:
                seen.add((node.primitive, len(node.inputs)))
                operands, targets = (
                    [Operand("_", atom.type) for atom in part or ()] for part in (node.inputs, node.outputs)
                )
                if not node.subgraphs and node.primitive.python_lines(targets, operands, (), str) is None:
                    self.expression(node.primitive, operands)  # the names of helpers come before those of values
        self.taken.update(self.references.texts)

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
            '@np.errstate(all="ignore")',
            f"def {function}({', '.join(parameters)}):",
            f'    """({types}) -> {results}"""',
            *(f"    {line}" for line in [*unpack, *self.head]),
            *body,
        ]
        code = "\n".join(lines)
        whole = "\n".join([*self.references.texts.values(), code])
        modules = sorted(set(re.findall(r"\bscipy\.\w+(?=\.)", whole)))
        imports = ["import numpy as np", *(f"import {module}" for module in modules)]
        if "registry[" in code:
            imports += ["import wengert", "from wengert.graph.primitive import registry"]
        return "\n\n\n".join(["\n".join(imports), *self.references.texts.values(), code]) + "\n"

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
        lines = [(self.numbered(line), "") for var in graph.inputs for line in self.know_lengths(var, names)]
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
            text = self.expression(primitive, operands) or self.through_registry(primitive, operands)
            left = ", ".join(targets) + ("," if primitive.multiple and len(targets) == 1 else "")
            written = [f"{left} = {text}" if left else text]
        lines += written
        for var in node.outputs or ():
            lines += self.know_lengths(var, names)
        return [self.numbered(line) for line in lines]

    def expression(self, primitive: Primitive, operands: list[Operand]) -> str | None:
        """The value as the operation writes it, or as its NumPy reference says."""
        return primitive.python(*operands) or self.references.call(primitive, operands)

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
