"""The still picture: well-formed, complete, and without text on text."""

from __future__ import annotations

import re
import subprocess
import sys
from xml.etree import ElementTree

import pytest
from tests.view import graphs

from wengert.view import place, svg
from wengert.view.model import folded, picture
from wengert.view.text import columns

pytest.importorskip("fast_sugiyama", reason="the extra `pictures` is not installed")
SVG = "{http://www.w3.org/2000/svg}"


def rectangles(view):
    sizes = {box.id: svg.size(box) for box in view.boxes}
    layout = place.place(sizes, view.edges)
    return {
        box: (x - sizes[box][0] / 2, y - sizes[box][1] / 2, x + sizes[box][0] / 2, y + sizes[box][1] / 2)
        for box, (x, y) in layout.centre.items()
    }, layout


@pytest.mark.parametrize("make", [graphs.ten, graphs.loop, graphs.layers, lambda: graphs.simulation(8)])
def test_every_box_and_edge_is_drawn_and_no_box_covers_another(make):
    graph = make()
    view = folded(picture(graph))
    root = ElementTree.fromstring(svg.to_svg(graph, group="none"))
    drawn = [item.get("id") for item in root.iter(f"{SVG}g") if (item.get("id") or "").startswith("box-")]
    assert sorted(drawn) == sorted(f"box-{box.id}" for box in view.boxes)
    ends = [item.get("data-ends") for item in root.iter(f"{SVG}path") if item.get("data-ends")]
    assert sorted(ends) == sorted(f"{edge.tail} {edge.head}" for edge in view.edges)
    places, _ = rectangles(view)
    boxes = list(places.values())
    for index, (left, top, right, bottom) in enumerate(boxes):
        for other in boxes[index + 1 :]:
            assert right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top


def test_no_text_overlaps_another_at_ten_boxes():
    root = ElementTree.fromstring(svg.to_svg(graphs.ten()))
    extents = []
    for item, dx, dy in texts(root, 0.0, 0.0):
        width = columns(item.text) * (9.3 if item.get("class") == "heading" else 7.3)
        x, y = float(item.get("x")) + dx, float(item.get("y")) + dy
        left = x if item.get("class") in {"heading", "muted"} else x - width / 2
        extents.append((left, y - 9, left + width, y + 3, item.text))
    assert len(extents) > 35
    for index, one in enumerate(extents):
        for other in extents[index + 1 :]:
            assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1], (one, other)


def texts(item, dx, dy):
    moved = re.fullmatch(r"translate\(([-\d.]+) ([-\d.]+)\)", item.get("transform", ""))
    if moved:
        dx, dy = dx + float(moved[1]), dy + float(moved[2])
    if item.tag == f"{SVG}text":
        yield item, dx, dy
    for child in item:
        yield from texts(child, dx, dy)


def test_edges_run_downward_and_pass_no_box():
    view = folded(picture(graphs.layers()))
    places, layout = rectangles(view)
    for edge in view.edges:
        assert layout.row[edge.tail] < layout.row[edge.head]
    for (tail, head), points in layout.ways.items():
        for x, row in points:
            top, bottom = layout.rows[row]
            for box, (left, above, right, below) in places.items():
                inside = left < x < right and above < bottom and below > top
                assert not inside, (tail, head, box)


def test_two_colours_and_a_legend():
    text = svg.to_svg(graphs.ten(), colours="light")
    assert ".edge.forward{stroke:#2563a8}" in text and ".edge.gradient{stroke:#c2410c}" in text
    assert "prefers-color-scheme" not in text
    assert "prefers-color-scheme:dark" in svg.to_svg(graphs.ten())
    root = ElementTree.fromstring(text)
    legend = next(item for item in root.iter(f"{SVG}g") if item.get("class") == "legend")
    assert [item.text for item in legend.iter(f"{SVG}text")] == ["input", "operation", "output", "value", "gradient"]


def test_folded_box_names_how_much_it_holds():
    text = svg.to_svg(graphs.loop())
    assert "body: 6 operations" in text and "6 of the operations are inside folded boxes" in text


def test_awkward_names_stay_text():
    build = graphs.Builder()
    x = build.input("<b>&\"'\x00\u2028数据")
    graph = build.graph(build.op("sin", x), name="]]><script>&")
    root = ElementTree.fromstring(svg.to_svg(graph))
    assert any("数据" in (item.text or "") for item in root.iter(f"{SVG}text"))


def test_empty_and_edgeless_graphs():
    build = graphs.Builder()
    assert ElementTree.fromstring(svg.to_svg(build.graph())) is not None
    for _ in range(9):
        build.input()
    root = ElementTree.fromstring(svg.to_svg(build.graph(1.5)))
    assert sum(item.get("id") is not None for item in root.iter(f"{SVG}g")) == 10


def test_large_graph_is_folded_to_a_readable_size():
    root = ElementTree.fromstring(svg.to_svg(graphs.simulation(500)))
    assert float(root.get("width")) < 3000 and float(root.get("height")) < 3000


def test_same_graph_same_text_in_another_process():
    program = "from tests.view import graphs; from wengert.view import svg; print(svg.to_svg(graphs.layers()), end='')"
    other = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=graphs.ROOT, timeout=60
    )
    assert other.stdout == svg.to_svg(graphs.layers())


def test_unknown_colours():
    with pytest.raises(ValueError, match="no colours named 'pink'"):
        svg.to_svg(graphs.ten(), colours="pink")


def test_missing_extra_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "fast_sugiyama", None)
    with pytest.raises(place.MissingExtraError, match=r"pip install \"wengert\[pictures\]\""):
        svg.to_svg(graphs.ten())
