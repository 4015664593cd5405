"""Applying rules: walk forward, and where a rule fits, write its replacement instead of the node.

The nodes of a replacement are looked at again, at most `FUEL` times for one node, so that a table in which rules
undo each other still comes to an end, and the cost stays linear in the nodes.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Collection, Sequence
from types import CodeType
from typing import Any

import numpy as np

from ..graph.graph import Graph
from ..graph.nodes import Atom, Const, Node, Var
from ..graph.primitive import Primitive, registry
from ..graph.types import ArrayType
from .build import Builder, known
from .constants import computed, worth_keeping
from .rules import CONSTANT, Match, Rule, matches, number

FUEL = 8
"""How often the outcome of a rule is rewritten again."""


def rewrite(graph: Graph, rules: Sequence[Rule], allow: Collection[str] = ()) -> Graph:
    """One level of the graph with every rule applied that changes nothing but what `allow` names."""
    allowed = [r for r in rules if r.changes <= set(allow)]
    rewriter = Rewriter(graph, allowed)
    for node in graph.nodes:
        rewriter.visit(node)
    return rewriter.builder.finish()


@functools.cache
def code(expression: ast.expr) -> CodeType:
    """A parameter of a replacement, compiled."""
    return compile(ast.Expression(expression), "<rule>", "eval")


class Rewriter:
    """A builder that tries rules on every node."""

    def __init__(self, graph: Graph, rules: Sequence[Rule]) -> None:
        self.builder = Builder(graph)
        self.rules = rules
        self.candidates: dict[Any, list[Rule]] = {}
        self.uses: dict[Var, int] = {}
        for atom in (*(a for node in graph.nodes for a in node.inputs), *graph.outputs):
            if isinstance(atom, Var):
                self.uses[atom] = self.uses.get(atom, 0) + 1

    def visit(self, node: Node) -> None:
        inputs = self.builder.atoms(node.inputs)
        if len(node.outputs or ()) == 1:
            (old,) = node.outputs or ()
            atom = self.replaced(node.primitive, inputs, old.type, node, FUEL)
            if atom is not None:
                self.builder.substitute(old, atom)
                if isinstance(atom, Var):
                    self.uses[atom] = self.uses.get(atom, 1) - 1 + self.uses.get(old, 0)
                return
        self.builder.keep(node)
        for old, new in zip(node.outputs or (), self.builder.nodes[-1].outputs or (), strict=True):
            self.uses[new] = self.uses.get(old, 0)

    def replaced(
        self, primitive: Primitive, inputs: Sequence[Atom], out: ArrayType, like: Node, fuel: int
    ) -> Atom | None:
        """What the first rule that fits makes of an operation; None if none fits."""
        for rule in self.candidates_for(primitive, inputs) if fuel else ():
            for match in matches(rule, primitive, inputs, out, self.builder.producer):
                if all(condition(match, self.uses) for condition in rule.when):
                    mark = len(self.builder.nodes)
                    made = self.build(rule, rule.replacement, match, like, fuel - 1)
                    fitted = self.builder.fit(made, out, like)
                    if fitted is not None:
                        return fitted
                    for node in self.builder.nodes[mark:]:
                        for var in node.outputs or ():
                            del self.builder.producer[var]
                    del self.builder.nodes[mark:]
        return None

    def candidates_for(self, primitive: Primitive, inputs: Sequence[Atom]) -> list[Rule]:
        """The rules that may fit an operation, remembered by what makes its operands: mostly there are none."""
        kinds: list[Any] = []
        for atom in inputs:
            if isinstance(atom, Const):
                kinds.append(CONSTANT if known(atom) else None)
            else:
                node = self.builder.producer.get(atom)
                kinds.append(None if node is None or node.primitive.multiple else node.primitive)
        same = len(inputs) == 2 and inputs[0] is inputs[1]
        key = (primitive, *kinds, same)
        found = self.candidates.get(key)
        if found is None:
            found = self.candidates[key] = [r for r in self.rules if r.may_match(primitive, kinds, same)]
        return found

    def build(self, rule: Rule, pattern: Any, match: Match, like: Node, fuel: int) -> Atom:
        """The atom that a replacement stands for, writing its nodes."""
        if isinstance(pattern, ast.Name):
            return match.atoms[pattern.id]
        if not isinstance(pattern, ast.Call):
            return Const(number(pattern))
        name = pattern.func.id  # type: ignore[attr-defined]
        primitive: Any = match.operations.get(name) or registry[name]
        if isinstance(primitive, type):
            scope = {**rule.helpers, **match.params, "out": match.out, **{k: v.type for k, v in match.atoms.items()}}
            named = {str(k.arg): eval(code(k.value), scope) for k in pattern.keywords}
            made: Any = primitive
            primitive = made.of(**named)
        inputs = [self.build(rule, part, match, like, fuel) for part in pattern.args]
        if all(known(atom) for atom in inputs):
            constant = self.constant(primitive, inputs, match.out)  # type: ignore[arg-type]
            if constant is not None:
                return constant
        out = primitive.type(*[atom.type for atom in inputs])
        again = self.replaced(primitive, inputs, out, like, fuel)
        if again is not None:
            return again
        return self.builder.emit(primitive, inputs, like)[0]

    def constant(self, primitive: Primitive, inputs: Sequence[Const], out: ArrayType) -> Const | None:
        """An operation on constants, computed in the dtype of the value that is replaced."""
        cast = [Const(np.asarray(c.value).astype(out.dtype)[()]) for c in inputs]
        types = [primitive.type(*[c.type for c in cast])]
        if not worth_keeping(primitive, cast, types):
            return None
        found = computed(primitive, cast, types)
        return None if found is None else found[0]
