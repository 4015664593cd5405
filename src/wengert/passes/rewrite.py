"""Applying rules: walk forward, and where a rule fits, write its replacement instead of the node.

The nodes of a replacement are looked at again, at most `FUEL` times for one node, so that a table in which rules
undo each other still comes to an end, and the cost stays linear in the nodes.
"""

from __future__ import annotations

import ast
import functools
from collections import Counter
from collections.abc import Collection, Sequence
from itertools import chain
from types import CodeType
from typing import Any

import numpy as np

from ..graph.graph import Graph
from ..graph.nodes import Atom, Const, Node, Var
from ..graph.primitive import Primitive, registry
from ..graph.types import ArrayType
from .build import Builder, known
from .constants import computed, worth_keeping
from .rules import Match, Rule, constant_kind, matches, number, operation_fits

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
        self.numbers = frozenset(n for r in rules for n in r.numbers)
        self.starting: dict[int, tuple[list[Rule], Primitive]] = {}
        self.candidates: dict[Any, tuple[list[Rule], list[Any]]] = {}
        # Counts, by C code; those of constants do not matter.
        self.uses: Counter[Any] = Counter(chain.from_iterable([node.inputs for node in graph.nodes]))
        self.uses.update(graph.outputs)

    def visit(self, node: Node) -> None:
        inputs = self.builder.atoms(node.inputs)
        outputs = node.outputs or ()
        if len(outputs) == 1 and self.candidates_for(node.primitive, inputs):
            (old,) = outputs
            atom = self.replaced(node.primitive, inputs, old.type, node, FUEL)
            if atom is not None:
                self.builder.substitute(old, atom)
                if isinstance(atom, Var):
                    self.uses[atom] = self.uses.get(atom, 1) - 1 + self.uses.get(old, 0)
                return
        self.builder.rewire(node, inputs)

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
        """The rules that may fit an operation, remembered by what makes its operands: mostly there are none.

        Operations are remembered by identity, which is quicker than to compare them, and kept, so that no other one
        gets the same identity.
        """
        starting = self.starting.get(id(primitive))
        if starting is None:
            fitting = [r for r in self.rules if operation_fits(r.pattern, primitive, r.facts)]
            starting = self.starting[id(primitive)] = fitting, primitive
        if not starting[0]:
            return starting[0]
        key: list[Any] = [id(primitive)]
        producer = self.builder.producer
        for atom in inputs:
            if atom.__class__ is Const:
                key.append(constant_kind(atom, self.numbers))
            else:
                node = producer.get(atom)
                key.append(None if node is None or node.primitive.multiple else id(node.primitive))
        if len(inputs) == 2:
            key.append(inputs[0] is inputs[1])
        found = self.candidates.get(tuple(key))
        if found is None:
            kinds: list[Any] = []
            for atom in inputs:
                if isinstance(atom, Const):
                    kinds.append(constant_kind(atom, self.numbers))
                else:
                    node = producer.get(atom)
                    kinds.append(None if node is None or node.primitive.multiple else node.primitive)
            same = len(inputs) == 2 and inputs[0] is inputs[1]
            fitting = [r for r in starting[0] if r.may_match(primitive, kinds, same)]
            found = self.candidates[tuple(key)] = fitting, kinds
        return found[0]

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
