"""Laws of the drawing model: everything in the graph is in the picture once, and a fold hides only what it holds."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from tests.view import graphs

from wengert.graph.nodes import Var
from wengert.view import groups
from wengert.view.model import GRADIENT, ancestors, folded, picture

GRAPHS = {
    "ten": graphs.ten, "loop": graphs.loop, "layers": graphs.layers,
    "many": lambda: graphs.many(1500), "simulation": lambda: graphs.simulation(120),
    "empty": lambda: graphs.Builder().graph(),
}  # fmt: skip


@pytest.fixture(params=GRAPHS, name="graph")
def make_graph(request):
    return GRAPHS[request.param]()


def test_every_node_and_input_is_one_box(graph):
    boxes = picture(graph).boxes
    kinds = Counter(box.kind for box in boxes)
    inner = [g for node in graph.all_nodes() for _, g in node.subgraphs]
    assert kinds["operation"] == sum(1 for _ in graph.all_nodes())
    assert kinds["input"] == sum(len(g.inputs) for g in [graph, *inner])
    assert kinds["output"] == sum(len(g.outputs) for g in [graph, *inner])
    assert [box.id for box in boxes] == list(range(len(boxes)))


def test_every_use_of_a_value_is_one_edge(graph):
    forward = [edge for edge in picture(graph).edges if not edge.beside]
    inner = [g for node in graph.all_nodes() for _, g in node.subgraphs]
    uses = 0
    for g in [graph, *inner]:
        uses += sum(isinstance(out, Var) for out in g.outputs)
        uses += sum(isinstance(a, Var) or a.type.shape != () for node in g.nodes for a in node.inputs)
    assert len(forward) == uses


def test_edges_join_boxes_of_the_same_graph(graph):
    whole = picture(graph)
    for edge in whole.edges:
        assert whole.boxes[edge.tail].parent == whole.boxes[edge.head].parent


def test_a_shared_value_is_one_box_with_several_edges():
    whole = picture(graphs.ten())
    x = next(box for box in whole.boxes if box.title == "x")
    assert x.ports[0].uses == 2
    assert sum(edge.tail == x.id and not edge.beside for edge in whole.edges) == 2
    assert ("type", "f64[] · used 2×") in x.rows()


def test_a_shared_constant_array_is_one_box():
    build = graphs.Builder()
    x, table = build.input("x", (50,)), np.linspace(0, 1, 50)
    first = build.op("multiply", x, table, shape=(50,))
    whole = picture(build.graph(build.op("add", first, table, shape=(50,))))
    assert sum(box.kind == "constant" for box in whole.boxes) == 1


def test_values_gradients_names_and_lines_are_shown():
    whole = picture(graphs.ten())
    rows = {box.title: dict(box.rows()) for box in whole.boxes}
    assert rows["x"] == {"title": "x", "type": "f64[] · used 2×", "value": "= -3", "gradient": "grad -6"}
    assert rows["power(·, 2)"]["value"] == "= 9"
    assert rows["multiply"]["type"] == "product: f64[]"
    assert rows["multiply"]["place"].startswith("graphs.py:")


def test_gradient_edges_of_a_dynamic_graph_run_beside_forward_edges():
    whole = picture(graphs.ten())
    forward = {(edge.tail, edge.head, edge.slot) for edge in whole.edges if not edge.beside}
    beside = {(edge.head, edge.tail, edge.slot) for edge in whole.edges if edge.beside}
    assert beside < forward
    titles = {(whole.boxes[tail].title, whole.boxes[head].title) for tail, head, _ in forward - beside}
    # Nothing comes back through a comparison.
    assert titles == {("add", "greater(·, 0)"), ("greater(·, 0)", "where(·, ·, 0)")}
    assert all(edge.role == GRADIENT for edge in whole.edges if edge.beside)


def test_gradient_labels():
    whole = picture(graphs.ten())
    labels = {whole.boxes[edge.head].title: edge.label for edge in whole.edges if edge.beside}
    assert labels["w"] == "0" and labels["x"] == "part of -6" and labels["multiply"] == "f64[]"


def test_without_gradients_there_are_no_gradient_edges():
    assert not picture(graphs.ten().replace(gradients={})).has_gradient


def test_gradient_part_of_a_static_graph():
    whole = picture(graphs.layers())
    for edge in whole.edges:
        touches = whole.boxes[edge.tail].backward or whole.boxes[edge.head].backward
        assert (edge.role == GRADIENT) == touches
        assert not edge.beside


def test_nested_graphs_are_folded_and_counted():
    whole = picture(graphs.loop())
    view = folded(whole)
    scan = next(box for box in view.boxes if box.title == "scan")
    assert dict(scan.rows())["contents"] == "body: 6 operations"
    assert {box.title for box in view.boxes} == {
        "first", "times", "scan", "constant", "multiply", "output 0", "output 1",
    }  # fmt: skip
    assert not any(box.title == "cond" for box in folded(whole).boxes)
    opened = folded(whole, [scan.id])
    cond = next(box for box in opened.boxes if box.title == "cond")
    assert cond.count == 3 and cond.contents == "2 graphs: 3 operations"
    assert {box.title for box in folded(whole, [scan.id, cond.id]).boxes} >= {"true", "false"}


@pytest.mark.parametrize("mode", groups.MODES)
def test_grouping_keeps_boxes_and_edges(graph, mode):
    whole = picture(graph)
    divided = groups.grouped(whole, mode)
    assert divided.edges == whole.edges
    own = divided.boxes[: len(whole.boxes)]
    assert [(box.kind, box.title, box.rows()) for box in own] == [(b.kind, b.title, b.rows()) for b in whole.boxes]
    made = divided.boxes[len(whole.boxes) :]
    assert {box.kind for box in made} <= groups.GROUPS
    children = divided.children()
    for box in made:
        assert len(children[box.id]) > 1
        assert len({whole.boxes[b].parent for b in leaves(children, box.id) if b < len(whole.boxes)}) == 1
    if mode != "none":
        for members in children.values():
            assert len(members) <= groups.CROWD + 2


def leaves(children, box):
    found, stack = [], [box]
    while stack:
        this = stack.pop()
        inside = children.get(this, ())
        stack += [child for child in inside if child in children]
        found += [child for child in inside if child not in children]
    return found


@pytest.mark.parametrize("mode", groups.MODES)
def test_folding_hides_no_edge_between_boxes_in_view(graph, mode):
    divided = groups.grouped(picture(graph), mode)
    for unfolded in (frozenset(), groups.opened(divided), frozenset(box.id for box in divided.boxes)):
        view = folded(divided, unfolded)
        shown = {box.id for box in view.boxes}
        face = {}
        for box in divided.boxes:
            closed = [above for above in ancestors(divided, box.id) if above not in unfolded]
            face[box.id] = closed[-1] if closed else box.id
        assert shown == set(face.values())
        drawn = Counter()
        for edge in view.edges:
            drawn[edge.tail, edge.head, edge.role, edge.beside] += edge.count
        wanted = Counter(
            (face[edge.tail], face[edge.head], edge.role, edge.beside)
            for edge in divided.edges
            if face[edge.tail] != face[edge.head]
        )
        assert drawn == wanted


def test_first_view_of_a_large_graph_is_small():
    for graph in (graphs.many(5000), graphs.simulation(500)):
        whole = picture(graph)
        mode = groups.choose(whole)
        assert mode == "function"
        divided = groups.grouped(whole, mode)
        view = folded(divided, groups.opened(divided))
        assert len(view.boxes) <= groups.FIRST_VIEW + 5
        assert {"model", "energy", "step"} <= {box.title for box in view.boxes}


def test_grouping_by_function_keeps_the_gradient_part_apart():
    divided = groups.grouped(picture(graphs.layers()), "function")
    assert {(box.title, box.backward) for box in divided.boxes if box.kind == "group"} == {
        ("model", False), ("energy", False), ("gradient of model", True),
    }  # fmt: skip


def test_unknown_grouping():
    with pytest.raises(ValueError, match="no way of grouping named 'colour'; there are none, function, line, order"):
        groups.grouped(picture(graphs.ten()), "colour")
