import io
import json
import re

import pytest
from rich.console import Console

from wengert.demo import figures, run

GRAPHS = {f"{stem}.{kind}" for stem in ("digits", "epidemic", "epidemic_gradient") for kind in ("svg", "html")}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report") / "made" / "by the demo"
    console = Console(file=io.StringIO(), width=120)
    summary = run.demo(folder, quick=True, seed=3, console=console)
    return folder, summary, console.file.getvalue()


def test_the_folder_holds_figures_graphs_and_numbers(report):
    folder, summary, _ = report
    assert {path.name for path in (folder / "figures").iterdir()} == {
        "learning.png", "confusion.png", "mistakes.png", "epidemic.png", "transmission.png", "descent.png"
    }  # fmt: skip
    assert {path.name for path in (folder / "graphs").iterdir()} == GRAPHS
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in (folder / "figures").iterdir())
    assert json.loads((folder / "summary.json").read_text(encoding="utf-8")) == summary
    assert summary["seed"] == 3 and summary["quick"] is True


def test_the_page_needs_nothing_but_the_folder(report):
    folder, _, _ = report
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert not re.findall(r"""(?:href|src)\s*=\s*["'](?:[a-z]+:)?//""", page)
    assert "@import" not in page and "url(" not in page
    images = re.findall(r'<img src="([^"]*)"', page)
    assert len(images) == 9 and all(image.startswith("data:image/") for image in images)
    links = [link for link in re.findall(r'href="([^"]*)"', page) if not link.startswith(("#", "data:"))]
    assert {*links} == {f"graphs/{name}" for name in GRAPHS} and all((folder / link).is_file() for link in links)
    for anchor in re.findall(r'href="#([^"]*)"', page):
        assert f'id="{anchor}"' in page


def test_the_page_and_the_printed_summary_say_what_was_found(report):
    folder, summary, printed = report
    page = (folder / "index.html").read_text(encoding="utf-8")
    accuracy = f"{100 * summary['digits']['test_accuracy']:.2f} %"
    rmse = f"{summary['influenza']['time-varying']['rmse']:.1f}"
    assert accuracy in page and accuracy in printed
    assert f"{rmse} boys" in page and rmse in printed
    assert "British Medical Journal" in page
    assert summary["digits"]["misread"] == round((1 - summary["digits"]["test_accuracy"]) * 360)
    assert str(folder / "index.html") in printed


def test_a_part_alone_is_deterministic_and_replaces_an_earlier_report(report, tmp_path):
    _, summary, _ = report
    quiet = Console(file=io.StringIO())
    (tmp_path / "index.html").write_text("an earlier page")
    again = run.demo(tmp_path, quick=True, seed=3, parts=["digits"], console=quiet)
    timeless = {key: value for key, value in summary["digits"].items() if key != "training_seconds"}
    assert {key: again["digits"][key] for key in timeless} == timeless
    assert "influenza" not in again
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert 'id="digits"' in page and 'id="influenza"' not in page and "an earlier page" not in page


def test_days_are_labelled_with_each_month_once():
    assert list(figures.day_labels([0, 1, 9, 10, 13])) == ["22\nJan", "23", "31", "1\nFeb", "4"]


@pytest.mark.slow
def test_the_whole_demo(tmp_path):
    summary = run.demo(tmp_path, console=Console(file=io.StringIO()))
    assert summary["digits"]["test_accuracy"] > 0.97
    varying, textbook = summary["influenza"]["time-varying"], summary["influenza"]["textbook"]
    assert varying["rmse"] < 11.5 < 18 < textbook["rmse"]
    assert varying["message"].startswith("CONVERGENCE") and textbook["message"].startswith("CONVERGENCE")
    # The 512 boys that fell ill: the range is that of a Poisson count, three standard deviations each way.
    assert abs(varying["ill"] - 512) < 3 * 512**0.5 < abs(textbook["ill"] - 512)
    assert 2.5 < varying["r0"] < 4.5
    # At the height of the outbreak each boy infects fewer than one other.
    assert varying["beta"][-1] < varying["beta"][3] / 5
