"""The page as text, `show`, and the methods on graphs; what a browser makes of it is in test_page.py."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import webbrowser

import pytest
from tests.view import graphs

import wengert.view
from wengert.graph.graph import Graph
from wengert.view import html
from wengert.view.drawing import to_dot, to_svg
from wengert.view.html import to_html
from wengert.view.show import show


def data_of(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])


def test_page_holds_everything_and_asks_no_network():
    page = to_html(graphs.ten())
    ours = page.replace((html.VENDOR / "elk-worker.min.js").read_text("utf-8"), "")
    assert not re.search(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=", ours)
    assert "@import" not in page.split("</style>")[0]
    data = data_of(page)
    assert len(data["boxes"]) == 10
    assert len(data["modes"]["none"]["parents"]) == 10


def test_text_of_the_user_cannot_leave_its_place():
    build = graphs.Builder()
    name = "</script><script>alert(1)</script>@@data@@\u2028"
    page = to_html(build.graph(build.op("sin", build.input(name)), name="</title><b>@@style@@"))
    assert "alert(1)</script>" not in page and "</title><b>" not in page
    assert data_of(page)["boxes"][0]["title"] == name


def test_a_name_that_utf8_cannot_write(tmp_path):
    build = graphs.Builder()
    page = show(build.graph(build.input("\udce4")), tmp_path / "page.html").read_text("utf-8")
    assert data_of(page)["boxes"][0]["title"] == "?"


def test_values_that_json_does_not_know():
    graph = graphs.ten()
    graph = graph.replace(values={var: float("nan") for var in graph.inputs}, gradients={})
    assert data_of(to_html(graph))["boxes"][0]["rows"][2] == ["value", "= nan"]


def test_vendored_files_are_the_ones_named():
    text = (html.VENDOR / "README.md").read_text("utf-8")
    for name in ("elk-api.js", "elk-worker.min.js"):
        digest = hashlib.sha256((html.VENDOR / name).read_bytes()).hexdigest()
        assert digest in text
    assert "Eclipse Public License - v 2.0" in (html.VENDOR / "LICENSE-elkjs.md").read_text("utf-8")


@pytest.fixture(name="opened")
def catch_browser(monkeypatch):
    found = []
    monkeypatch.setattr(webbrowser, "open", lambda url: found.append(url) or True)
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    return found


def test_show_writes_a_page_without_a_screen(opened):
    path = show(graphs.ten())
    try:
        assert path.suffix == ".html" and path.read_text("utf-8") == to_html(graphs.ten())
        assert opened == []
    finally:
        path.unlink()


def test_show_opens_the_browser(opened, monkeypatch, tmp_path):
    monkeypatch.setenv("DISPLAY", ":0")
    path = show(graphs.ten(), tmp_path / "a page.html")
    assert opened == [(tmp_path / "a page.html").as_uri()] and path == tmp_path / "a page.html"


def test_show_survives_a_browser_that_fails(opened, monkeypatch, tmp_path):
    def fail(url):
        raise webbrowser.Error("no browser")

    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(webbrowser, "open", fail)
    assert show(graphs.ten(), tmp_path / "page.html").exists()


def test_methods_of_graphs(monkeypatch):
    wengert.view.attach()
    graph = graphs.ten()
    assert graph.to_html() == to_html(graph)
    assert graph.to_dot() == to_dot(graph)
    assert graph.to_svg() == graph._repr_svg_() == to_svg(graph)
    monkeypatch.setitem(sys.modules, "fast_sugiyama", None)
    assert graph._repr_svg_() is None
    assert all(getattr(Graph, name).__doc__ for name in ("show", "to_html", "to_svg", "to_dot"))


def test_attaching_loads_nothing():
    program = "import sys, wengert; print(*sorted(name for name in sys.modules if name.startswith('wengert.view')))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["wengert.view", "wengert.view.attach"]


def test_pictures_go_to_files_that_are_named(tmp_path):
    graph = graphs.ten()
    for draw, name in ((to_html, "a.html"), (to_svg, "a.svg"), (to_dot, "a.dot")):
        assert draw(graph, tmp_path / name) == (tmp_path / name).read_text("utf-8") == draw(graph)
    for draw in (to_html, to_svg):
        with pytest.raises(ValueError, match="no way of grouping named"):
            draw(graph, group="a.html")
