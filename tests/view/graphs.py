"""Graphs made by hand for the tests of pictures: small, with gradients, with nested graphs, large."""

from __future__ import annotations

import random
from pathlib import Path
from types import CodeType
from typing import Any

import numpy as np

from wengert.graph.graph import Graph
from wengert.graph.nodes import Const, Node, Var
from wengert.graph.primitive import Primitive
from wengert.graph.types import ArrayType

ROOT = Path(__file__).parents[2]
"""The folder that `tests` is imported from."""

FLOAT = np.dtype("float64")


class Op(Primitive, abstract=True):
    """An operation with a name of its own and any parameters; outside the registry."""

    def __init__(self, name: str, differentiable: bool = True, inner: Any = (), **arguments: Any) -> None:
        self.name = name  # type: ignore[misc]
        self.differentiable = differentiable
        self.inner = tuple(inner)
        self.named = arguments
        self.key = (name, *arguments.items())

    @property
    def subgraphs(self) -> tuple[tuple[str, Graph], ...]:
        return self.inner

    def arguments(self) -> dict[str, Any]:
        return {**self.named, **dict(self.inner)}


def model(w: float, x: float, b: float) -> float:
    product = w * x
    total = product + b
    activated = abs(total)
    return activated


def energy(a: float, b: float) -> float:
    left = a * b
    right = a - b
    both = left / right
    return both


def step(state: float, time: float) -> float:
    change = state * time
    state = state + change
    return state


def spots(function: Any) -> list[tuple[CodeType, int]]:
    """Code and offset of the first instruction of each line of a function's body."""
    code = function.__code__
    lines: dict[int, int] = {}
    for start, _, line in code.co_lines():
        if line is not None and line > code.co_firstlineno:
            lines[line] = start
    return [(code, offset) for offset in lines.values()]


class Builder:
    """Adds nodes one after another."""

    def __init__(self) -> None:
        self.inputs: list[Var] = []
        self.nodes: list[Node] = []

    def input(self, name: str | None = None, shape: tuple[int, ...] = ()) -> Var:
        self.inputs.append(Var.of(ArrayType(shape, FLOAT), name))
        return self.inputs[-1]

    def op(
        self, primitive: str | Op, *atoms: Any, shape: Any = (), name: str | None = None, at: Any = (None, 0),
        outputs: int = 1, backward: bool = False, dtype: Any = FLOAT,
    ) -> Any:  # fmt: skip
        primitive = Op(primitive) if isinstance(primitive, str) else primitive
        made = tuple(Var.of(ArrayType(shape, np.dtype(dtype)), name, None, index) for index in range(outputs))
        atoms = tuple(atom if isinstance(atom, Var | Const) else Const(atom) for atom in atoms)
        node = Node(primitive, atoms, made, *at, len(self.nodes), backward=backward)
        for var in made:
            var.node = node
        self.nodes.append(node)
        return made[0] if outputs == 1 else made

    def graph(self, *outputs: Any, name: str = "graph", **known: Any) -> Graph:
        atoms = [atom if isinstance(atom, Var) else Const(atom) for atom in outputs]
        return Graph(self.inputs, self.nodes, atoms, name, **known)


def ten() -> Graph:
    """Ten boxes of a dynamic graph with values and gradients; `x` is used twice, `b` takes no part in a gradient."""
    build = Builder()
    w, x, b = build.input("w"), build.input("x"), build.input("b")
    at = spots(model)
    product = build.op("multiply", w, x, at=at[0], name="product")
    total = build.op("add", product, b, at=at[1], name="total")
    square = build.op("power", x, 2.0, at=at[1])
    positive = build.op(Op("greater", differentiable=False), total, 0.0, at=at[2], dtype=bool)
    active = build.op("where", positive, total, 0.0, at=at[2], name="activated")
    loss = build.op("add", active, square, at=at[3], name="loss")
    numbers = {w: 2.0, x: -3.0, b: 1.0, product: -6.0, total: -5.0, square: 9.0, positive: False}
    numbers |= {active: 0.0, loss: 9.0}
    slopes = {w: 0.0, x: -6.0, b: 0.0, loss: 1.0}
    return build.graph(
        loss, name="loss",
        values={var: np.asarray(value) for var, value in numbers.items()},
        gradients={var: np.asarray(value) for var, value in slopes.items()},
    )  # fmt: skip


def loop() -> Graph:
    """A loop and a branch: nested graphs, one inside the other, several results."""
    branch = Builder()
    value = branch.input("value")
    yes = branch.graph(branch.op("sin", value), name="yes")
    other = Builder()
    value = other.input("value")
    no = other.graph(other.op("exp", other.op("negative", value)), name="no")

    body = Builder()
    state, time = body.input("state"), body.input("time")
    picked = body.op(Op("cond", inner=[("true", yes), ("false", no)]), time, state)
    changed = body.op("multiply", picked, time, at=spots(step)[0], name="change")
    inner = body.graph(body.op("add", state, changed, at=spots(step)[1], name="state"), changed, name="body")

    build = Builder()
    first, times = build.input("first"), build.input("times", (50,))
    last, track = build.op(Op("scan", inner=[("body", inner)], length=50), first, times, outputs=2)
    table = Const(np.linspace(0.0, 1.0, 50))
    return build.graph(last, build.op("multiply", track, table, shape=(50,)), name="simulate")


def layers(depth: int = 6) -> Graph:
    """The static graph of a network's gradient, about 16 nodes a layer with its gradient part."""
    build = Builder()
    x, target = build.input("x", (64, 32)), build.input("target", (64, 32))
    weights = [(build.input(f"params[{k}].w", (32, 32)), build.input(f"params[{k}].b", (32,))) for k in range(depth)]
    at, hidden, saved = spots(model), x, []
    for w, b in weights:
        product = build.op("matmul", hidden, w, shape=(64, 32), at=at[0], name="product")
        total = build.op("add", product, build.op(Op("broadcast_to", shape=(64, 32)), b, shape=(64, 32), at=at[1]),
                         shape=(64, 32), at=at[1], name="total")  # fmt: skip
        following = build.op("tanh", total, shape=(64, 32), at=at[2], name="activated")
        saved.append((hidden, w, following))
        hidden = following
    error = build.op("subtract", hidden, target, shape=(64, 32), at=spots(energy)[1], name="right")
    loss = build.op(Op("sum", axes=(0, 1)), build.op("power", error, 2, shape=(64, 32), at=spots(energy)[2]))
    flow = build.op("multiply", error, 2.0, shape=(64, 32), backward=True, at=spots(energy)[2])
    gradients = []
    for before, w, after in reversed(saved):
        slope = build.op("subtract", 1.0, build.op("power", after, 2, shape=(64, 32), backward=True, at=at[2]),
                         shape=(64, 32), backward=True, at=at[2])  # fmt: skip
        flow = build.op("multiply", flow, slope, shape=(64, 32), backward=True, at=at[2])
        gradients.append(build.op(Op("sum", axes=(0,)), flow, shape=(32,), backward=True, at=at[1]))
        turned = build.op("transpose", before, shape=(32, 64), backward=True, at=at[0])
        gradients.append(build.op("matmul", turned, flow, shape=(32, 32), backward=True, at=at[0]))
        flow = build.op("matmul", flow, build.op("transpose", w, shape=(32, 32), backward=True, at=at[0]),
                        shape=(64, 32), backward=True, at=at[0])  # fmt: skip
    return build.graph(loss, *gradients, name="value_and_grad(loss)")


def many(count: int = 5000, seed: int = 0, gradients: bool = True) -> Graph:
    """A long recording: operations of three functions, most reading recent values, some reading far back."""
    draw = random.Random(seed)
    build = Builder()
    values = [build.input(name) for name in ("a", "b", "c", "d")]
    leaves = list(values)
    places = [*spots(model), *spots(energy), *spots(step)]
    for index in range(count):
        one = values[-1 - min(int(draw.expovariate(0.3)), len(values) - 1)]
        other = values[draw.randrange(len(values))] if draw.random() < 0.05 else values[-1]
        at = places[(index // 400 * 3 + index % 3) % len(places)]
        values.append(build.op(draw.choice(["multiply", "add", "subtract", "maximum"]), one, other, at=at))
    known = {var: np.asarray(1.0 + index) for index, var in enumerate(values)}
    slopes = {var: np.asarray(0.5) for var in leaves} if gradients else {}
    return build.graph(values[-1], name="recording", values=known, gradients=slopes)


def simulation(steps: int = 500, seed: int = 0) -> Graph:
    """A loop of 10 operations a step in three functions, recorded: state from the step before, three parameters."""
    draw = random.Random(seed)
    build = Builder()
    rate, decay, force = build.input("rate"), build.input("decay"), build.input("force")
    one, other = build.input("first"), build.input("second")
    start, flow, move = spots(model), spots(energy), spots(step)
    for _ in range(steps):
        product = build.op("multiply", rate, one, at=start[0], name="product")
        total = build.op("add", product, force, at=start[1], name="total")
        bent = build.op("tanh", total, at=start[2], name="activated")
        left = build.op("multiply", bent, other, at=flow[0], name="left")
        right = build.op("subtract", one, other, at=flow[1], name="right")
        both = build.op("divide", left, build.op("add", right, draw.random() + 2, at=flow[2]), at=flow[2], name="both")
        change = build.op("multiply", both, decay, at=move[0], name="change")
        one, other = (
            build.op("add", one, change, at=move[1], name="state"),
            build.op("subtract", other, change, at=move[1], name="state"),
        )
    known = {var: np.asarray(0.25) for node in build.nodes for var in node.outputs or ()}
    slopes = {var: np.asarray(0.5) for var in build.inputs}
    return build.graph(build.op("add", one, other, at=move[1]), name="simulation", values=known, gradients=slopes)
