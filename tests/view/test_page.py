"""The page in a real browser: laid out, searched, folded, without errors."""

from __future__ import annotations

import pytest
from tests.view import graphs
from tests.view.browser import CHROMIUM, Browser

from wengert.view.html import to_html
from wengert.view.model import folded, picture

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium to open the page in")]

SHOWN = 'document.querySelectorAll("#scene .box").length'
OVERLAPS = """(() => {
  const closed = ([id]) => !(fold.holds(id) && fold.open.has(id));
  const boxes = [...state.rectangles].filter(closed).map(([, place]) => place);
  return boxes.some((a, i) => boxes.slice(i + 1).some((b) =>
    a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height));
})()"""
TEXT_INSIDE = """[...document.querySelectorAll("#scene .box.leaf")].every((box) => {
  const frame = box.querySelector("rect.front").getBoundingClientRect();
  return [...box.querySelectorAll("text")].every((text) => {
    const place = text.getBoundingClientRect();
    return place.left >= frame.left - 1 && place.right <= frame.right + 1 && place.bottom <= frame.bottom + 1;
  });
})"""


@pytest.fixture(scope="module", name="browser")
def start_browser():
    with Browser() as browser:
        yield browser


def open_page(browser, graph, folder):
    path = folder / "page.html"
    path.write_text(to_html(graph), "utf-8")
    browser.problems.clear()
    browser.open(path)
    browser.ready()
    assert browser.run("document.body.dataset.state") == "ready"


@pytest.mark.parametrize("make", [graphs.ten, graphs.loop, graphs.layers])
def test_everything_is_laid_out(browser, tmp_path, make):
    graph = make()
    open_page(browser, graph, tmp_path)
    view = folded(picture(graph))
    assert browser.run(SHOWN) == len(view.boxes)
    assert browser.run('document.querySelectorAll("#scene .edge").length') == len(view.edges)
    assert not browser.run(OVERLAPS)
    assert browser.run(TEXT_INSIDE)
    colours = browser.run(
        '["forward", "gradient"].map((role) => document.querySelector(`#scene .edge.${role}`))'
        ".map((edge) => edge && getComputedStyle(edge).stroke)"
    )
    assert colours == ["rgb(37, 99, 168)", "rgb(194, 65, 12)" if picture(graph).has_gradient else None]
    assert browser.problems == []


def test_click_unfolds_and_folds_a_nested_graph(browser, tmp_path):
    open_page(browser, graphs.loop(), tmp_path)
    before = browser.run(SHOWN)

    def click(selector):
        x, y = browser.run(
            f"(() => {{ const r = document.querySelector('{selector}').getBoundingClientRect();"
            " return [r.left + r.width / 2, r.top + 8]; })()"
        )
        browser.click(x, y)
        browser.ready()

    click("#scene .box.operation.folded")
    assert browser.run(SHOWN) == before + 7
    assert not browser.run(OVERLAPS)
    click("#scene .box.operation.folded")
    assert browser.run('[...document.querySelectorAll("#scene .opened text.title")].map((t) => t.textContent)') == [
        "▾ scan", "▾ cond",
    ]  # fmt: skip
    click("#scene .box.opened > .handle")
    assert browser.run(SHOWN) == before
    assert browser.problems == []


def test_search_finds_unfolds_and_shows_details(browser, tmp_path):
    open_page(browser, graphs.loop(), tmp_path)
    browser.run('by("search").focus()')
    browser.type("exp")
    browser.until("state.found.length === 1")
    assert browser.run('document.querySelector("#scene .hit text.title").textContent') == "▸ scan"
    browser.key("Enter")
    browser.until("state.selected !== null")
    assert browser.run('document.querySelector("#scene .hit text.title").textContent') == "exp"
    assert browser.run('document.querySelector("#panel h2").textContent') == "exp"
    x, y, width, height = browser.run(
        "(() => { const r = document.querySelector('#scene .selected').getBoundingClientRect(),"
        " s = stage.getBoundingClientRect(); return [r.left - s.left, r.top - s.top, s.width, s.height]; })()"
    )
    assert 0 < x < width and 0 < y < height
    browser.key("Escape")
    assert browser.run("state.found.length") == 0
    assert browser.problems == []


def test_wheel_zooms_and_drag_moves(browser, tmp_path):
    open_page(browser, graphs.ten(), tmp_path)
    scale, left = browser.run("[view.scale, view.x]")
    browser.call("Input.dispatchMouseEvent", type="mouseWheel", x=300, y=300, deltaX=0, deltaY=-200)
    browser.until(f"view.scale > {scale}")
    before = browser.run("view.x")
    for kind, x in (("mousePressed", 100), ("mouseMoved", 180), ("mouseReleased", 180)):
        browser.call("Input.dispatchMouseEvent", type=kind, x=x, y=400, button="left", buttons=1)
    assert browser.run("view.x") == pytest.approx(before + 80)
    browser.run("view.fit(...state.size, true)")
    assert browser.run("[view.scale, view.x]") == [scale, left]
    assert browser.problems == []


def test_five_thousand_operations(browser, tmp_path):
    open_page(browser, graphs.simulation(500), tmp_path)
    assert 5 < browser.run(SHOWN) <= 70
    browser.run('by("search").value = "change"; search()')
    assert browser.run("state.found.length") == 1501
    browser.run("next(1)")
    browser.until("state.selected !== null")
    assert browser.run("fold.face(state.found[0]) === state.found[0]")
    for mode in ("line", "order"):
        browser.run(f'by("mode").value = "{mode}"; by("mode").dispatchEvent(new Event("change"))')
        browser.ready()
        assert 5 < browser.run(SHOWN) <= 80
        assert not browser.run(OVERLAPS)
    for mode in ("order", "none"):
        browser.run(f'by("mode").value = "{mode}"; by("mode").dispatchEvent(new Event("change"))')
        browser.run('by("unfold-all").click()')
        browser.ready(240)
        assert browser.run("document.body.dataset.state") == "ready"
        assert browser.run('document.querySelectorAll("#scene .box.leaf").length') == 5007
        assert not browser.run(OVERLAPS)
    assert browser.problems == []


def test_a_layout_can_be_stopped(browser, tmp_path):
    open_page(browser, graphs.simulation(500), tmp_path)
    browser.run('by("mode").value = "none"; by("mode").dispatchEvent(new Event("change")); by("cancel").click()')
    assert browser.run("document.body.dataset.state") == "stopped"
    browser.run('by("mode").value = "function"; by("mode").dispatchEvent(new Event("change"))')
    browser.ready()
    assert browser.run("document.body.dataset.state") == "ready"
    assert browser.problems == []
