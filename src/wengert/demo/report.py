"""The report: one page that holds the figures, the tables and the pictures of the graphs, and loads nothing else."""

from __future__ import annotations

import base64
import html
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import wengert as wg

from .digits import Result
from .figures import day_labels
from .influenza import DAYS, ILL, IN_BED, POPULATION, Fit

STYLE = Path(__file__).with_name("report.css").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Picture:
    """A graph of the report. `stem` names its files: graphs/<stem>.svg and graphs/<stem>.html."""

    stem: str
    title: str
    caption: str
    graph: wg.Graph


def write(
    folder: Path,
    pictures: Sequence[Picture],
    result: Result | None = None,
    fits: tuple[Fit, Fit] | None = None,
    seed: int = 0,
    seconds: float = 0.0,
) -> Path:
    """index.html in the folder, from the figures and pictures that lie there already."""
    sections, links = [], []
    if result is not None:
        sections.append(digits_section(folder, result))
        links.append('<a href="#digits">Digits</a>')
    if fits is not None:
        sections.append(influenza_section(folder, *fits))
        links.append('<a href="#influenza">Influenza</a>')
    if pictures:
        sections.append(graphs_section(folder, pictures))
        links.append('<a href="#graphs">Graphs</a>')
    versions = f"Python {platform.python_version()}, NumPy {np.__version__}"
    page = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>wengert demo</title>
<link rel="icon" href="data:,">
<style>{STYLE}</style>
</head>
<body>
<header><div>
<h1>Gradients at work</h1>
<p>Two fits to real data by <b>wengert</b>, written as ordinary NumPy code: a classifier of handwritten digits,
trained on graphs recorded while it runs, and an influenza outbreak, fitted through its simulation.</p>
<nav>{"".join(links)}</nav>
</div></header>
<main>
{"".join(sections)}
<footer>Written by <code>wengert demo</code> in {seconds:.0f} s with seed {seed}; {versions}, {platform.machine()}.
The page needs nothing from the network.</footer>
</main>
</body>
</html>
"""
    path = folder / "index.html"
    path.write_text(page, encoding="utf-8")
    return path


def card(value: str, meaning: str) -> str:
    return f'<div class="card"><b>{html.escape(value)}</b><span>{html.escape(meaning)}</span></div>'


def embedded(path: Path) -> str:
    """A file as a data URI."""
    kind = {".png": "image/png", ".svg": "image/svg+xml"}[path.suffix]
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"


def figure(path: Path, alt: str, caption: str, width: int | None = None) -> str:
    size = f' style="width:{width}px"' if width else ""
    return (
        f'<figure><img src="{embedded(path)}" alt="{html.escape(alt)}"{size}>'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    def line(cells: Iterable[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    body = "".join(line(row, "td") for row in rows)
    return f"<table><thead>{line(head, 'th')}</thead><tbody>{body}</tbody></table>"


def digits_section(folder: Path, result: Result) -> str:
    train, validation, test = result.counts
    images = train + validation + test
    wrong = int(result.confusion.sum() - np.trace(result.confusion))
    layers = " – ".join(str(size) for size in result.config.sizes)
    cards = [
        card(f"{100 * result.accuracy:.2f} %", "of the test images are read rightly"),
        card(f"{wrong} of {test}", "test images are misread"),
        card(f"{result.loss:.3f}", "cross-entropy on the test images"),
        card(f"{result.training_seconds:.1f} s", f"for {result.steps} training steps"),
    ]
    learning = figure(
        folder / "figures" / "learning.png",
        "Loss and validation accuracy against the epoch",
        "The training images are moved by up to a pixel at random, so they are harder than those of the validation.",
    )
    confusion = figure(
        folder / "figures" / "confusion.png",
        "Confusion matrix of the test images",
        "Rows: the digit that was written. Columns: the digit that it was taken for.",
    )
    mistakes = figure(
        folder / "figures" / "mistakes.png",
        "Misread test images with saliency maps",
        "Left of each pair: the image. Right: the gradient of the predicted digit's score in its pixels.",
    )
    return f"""
<section id="digits">
<h2>Handwritten digits</h2>
<p>The {images:,} images of 8 × 8 pixels that scikit-learn ships (the test part of “Optical Recognition of Handwritten
Digits”, E. Alpaydin and C. Kaynak, UCI Machine Learning Repository, 1998), with layers of {layers} values. Each step
records the loss on {result.config.batch} images as a graph and goes backward through it. {train:,} images train,
{validation} validate; the settings were chosen on images other than the test images. The {test} test images were
looked at once, after the training.</p>
<div class="cards">{"".join(cards)}</div>
{learning}
<div class="pair">
{confusion}
<div>
<h3>Which pixels decided</h3>
<p>Beside each image stands the gradient of the score of the predicted digit in the pixels. Ink on an
<b style="color:var(--orange)">orange</b> pixel speaks for the predicted digit, ink on a
<b style="color:var(--blue)">blue</b> one against it.</p>
<p>Shown are the misread test images, then those read rightly with the least certainty. The percentage is the
probability that the classifier gives to its own answer.</p>
</div>
</div>
{mistakes}
</section>"""


def influenza_section(folder: Path, fitted: Fit, textbook: Fit) -> str:
    model = fitted.model
    cards = [
        card(f"{fitted.rmse:.1f} boys", f"RMSE of the curve ({textbook.rmse:.1f} with constant β and one stage)"),
        card(f"{fitted.r0:.1f}", "R₀ = β/γ on the first day"),
        card(f"{1 / fitted.gamma:.1f} days", f"of illness on average (γ = {fitted.gamma:.3f} a day)"),
        card(f"{fitted.ill:.0f} boys", f"ill in all; counted were {ILL}"),
        card(f"{fitted.seconds:.1f} s", f"for {fitted.evaluations} values and gradients"),
    ]
    epidemic = figure(
        folder / "figures" / "epidemic.png",
        "Boys in bed: counts and fitted curves",
        "With constant transmission the model infects nearly the whole school, and its tail is too long.",
    )
    transmission = figure(
        folder / "figures" / "transmission.png",
        "Transmission and reproduction number against the day",
        "Transmission falls while the outbreak is at its height: boys in bed meet few others. The range comes from "
        "the Jacobian of the residuals (Laplace's approximation).",
    )
    descent = figure(
        folder / "figures" / "descent.png",
        "Loss of the fit against the iteration",
        "Half the sum of squared differences of square roots of the counts, plus the random walk's share.",
    )
    head = ["day", "in bed, counted", "fitted", "constant β", "β per day", "95 % range of β", "β/γ · S/N"]
    rows = [
        [
            date.replace("\n", " "),
            f"{IN_BED[day]:.0f}",
            f"{fitted.in_bed[day]:.1f}",
            f"{textbook.in_bed[day]:.1f}",
            f"{fitted.beta[day]:.2f}",
            f"{fitted.low[day]:.2f} to {fitted.high[day]:.2f}",
            f"{fitted.reproduction[day]:.2f}",
        ]
        for day, date in enumerate(day_labels(range(DAYS)))
    ]
    return f"""
<section id="influenza">
<h2>Influenza in a boarding school, 1978</h2>
<p>A boarding school for {POPULATION} boys in the north of England counted the boys confined to bed each day from
22 January to 4 February 1978; {ILL} fell ill in all (“Influenza in a boarding school”, British Medical Journal
1978;1:587, 4 March 1978; numbers read from its chart by G. de Vries et al., “A Course in Mathematical Biology”, SIAM
2006, and held by the R package <code>outbreaks</code>).</p>
<p>The model is SIR: a boy who is ill infects β others a day while all are susceptible, and recovers at the rate γ
through {model.stages} stages. β may change from day to day along a random walk. The simulation, {model.steps}
Runge–Kutta steps a day in a <code>scan</code>, is differentiated as a whole, and L-BFGS-B follows the gradient in
{model.size} unknowns. The textbook model, constant β and one stage, stands beside it.</p>
<div class="cards">{"".join(cards)}</div>
{epidemic}
{transmission}
{descent}
<details><summary>Day by day</summary>{table(head, rows)}</details>
</section>"""


def graphs_section(folder: Path, pictures: Sequence[Picture]) -> str:
    blocks = []
    for picture in pictures:
        nodes = sum(1 for _ in picture.graph.all_nodes())
        text, title = html.escape(str(picture.graph)), html.escape(picture.title)
        svg = embedded(folder / "graphs" / f"{picture.stem}.svg")
        blocks.append(f"""
<h3>{title}</h3>
<p>{html.escape(picture.caption)} {nodes:,} operations.
<a href="graphs/{picture.stem}.html">Open it to search, fold, pan and zoom</a>, or
<a href="graphs/{picture.stem}.svg">at full size</a>.</p>
<a class="graph" href="graphs/{picture.stem}.svg"><img src="{svg}" alt="{title}"></a>
<details><summary>As text</summary><pre>{text}</pre></details>""")
    return f"""
<section id="graphs">
<h2>The graphs</h2>
<p>Edges of the computation and of its gradient are drawn in two colours; each operation names the line of source
that made it.</p>{"".join(blocks)}
</section>"""
