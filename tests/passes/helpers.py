"""What the tests of passes share: the text of a graph without places, and equality down to the bits."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy

from wengert.errors import WengertError
from wengert.graph.graph import Graph
from wengert.graph.nodes import Var
from wengert.graph.printing import graph_text
from wengert.graph.stage import evaluate, stage
from wengert.graph.types import ArrayType


def text(graph: Graph) -> str:
    """The printed graph without the users' lines."""
    return "\n".join(re.sub(r"\s*# .*", "", line) for line in graph_text(graph).splitlines())


def lines(expected: str) -> str:
    """An indented text block as written in a test."""
    rows = expected.strip("\n").splitlines()
    margin = min(len(row) - len(row.lstrip()) for row in rows if row.strip())
    return "\n".join(row[margin:] for row in rows).rstrip()


def typed(*types: str) -> list[ArrayType]:
    """`f8`, `f4[2,3]`: types of inputs."""
    found = []
    for item in types:
        name, _, rest = item.partition("[")
        shape = tuple(int(n) for n in rest.rstrip("]").split(",") if n)
        found.append(ArrayType(shape, numpy.dtype(name)))
    return found


def staged(fn: Callable[..., Any], *types: str, names: Sequence[str] = "xyzw") -> Graph:
    """The graph of a function of arrays that returns a list."""
    return stage(lambda *args: fn(*args), typed(*types), list(names)[: len(types)], name="f")[0]


def bits_equal(found: Any, expected: Any, zero_signs: bool = True) -> bool:
    """Same dtype, shape, values, NaNs in the same places, and signs of zeros."""
    found, expected = numpy.asarray(found), numpy.asarray(expected)
    if found.dtype != expected.dtype or found.shape != expected.shape:
        return False
    if found.dtype.kind not in "fc":
        return bool((found == expected).all())
    if found.dtype.kind == "c":
        return all(bits_equal(getattr(found, p), getattr(expected, p), zero_signs) for p in ("real", "imag"))
    if not numpy.array_equal(found, expected, equal_nan=True):
        return False
    signs = numpy.signbit(found) == numpy.signbit(expected)
    return not zero_signs or bool((signs | numpy.isnan(found)).all())


def check(graph: Graph) -> None:
    """A valid graph: closed, in order, every edge made once, types as the operations say, nested graphs too."""
    seen = set(graph.inputs)
    assert len(seen) == len(graph.inputs), "an input occurs twice"
    for node in graph.nodes:
        for atom in node.inputs:
            assert not isinstance(atom, Var) or atom in seen, f"{node} reads an edge that is not made before"
        types = node.primitive.type(*[atom.type for atom in node.inputs])
        types = types if node.primitive.multiple else (types,)
        assert tuple(var.type for var in node.outputs) == tuple(types), f"{node}: {types}"
        for var in node.outputs:
            assert var not in seen, "an edge is made twice"
            seen.add(var)
        for _, inner in node.subgraphs:
            check(inner)
    for atom in graph.outputs:
        assert not isinstance(atom, Var) or atom in seen


def same_interface(before: Graph, after: Graph) -> None:
    """Inputs, names, containers and types of outputs are as before."""
    assert [v.type for v in before.inputs] == [v.type for v in after.inputs]
    assert [getattr(v, "name", None) for v in before.inputs] == [getattr(v, "name", None) for v in after.inputs]
    assert (before.in_tree, before.out_tree, before.name) == (after.in_tree, after.out_tree, after.name)
    assert [a.type for a in before.outputs] == [a.type for a in after.outputs]


def random_values(graph: Graph, seed: int = 0) -> list[Any]:
    rng = numpy.random.default_rng(seed)
    found = []
    for var in graph.inputs:
        value = rng.uniform(0.5, 2, var.shape) if var.dtype.kind in "fc" else rng.integers(0, 2, var.shape)
        found.append(numpy.asarray(value).astype(var.dtype)[()])
    return found


def same_results(before: Graph, after: Graph, rtol: float = 1e-12, seed: int = 0) -> None:
    """Both graphs compute the same on random values; both may raise instead."""
    values = random_values(before, seed)
    with numpy.errstate(all="ignore"):
        try:
            expected = evaluate(before, *values)
        except WengertError as error:
            expected = error
        if isinstance(expected, WengertError):
            try:
                evaluate(after, *values)
            except type(expected):
                return
            raise AssertionError(f"no {type(expected).__name__} any more")
        found = evaluate(after, *values)
    for a, b in zip(found, expected, strict=True):
        assert numpy.asarray(a).dtype == numpy.asarray(b).dtype
        numpy.testing.assert_allclose(a, b, rtol=rtol, atol=1e-14)
