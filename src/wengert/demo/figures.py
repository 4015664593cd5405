"""The figures of the report, as PNG files, made with matplotlib's objects so that no window system is touched."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from .digits import Case, History, Result
from .influenza import DAYS, ILL, IN_BED, POPULATION, START, Fit

INK, MUTED, GRID = "#1f2933", "#6b7785", "#e3e7eb"
BLUE, ORANGE, GREEN = "#2563a8", "#d9622b", "#3f8f5f"
PAPER = LinearSegmentedColormap.from_list("paper", ["#ffffff", INK])
BLUES = LinearSegmentedColormap.from_list("blues", ["#ffffff", BLUE])
SIGNED = LinearSegmentedColormap.from_list("signed", [BLUE, "#ffffff", ORANGE])

STYLE = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
}


def save(figure: Figure, path: Path) -> None:
    # Without the metadata the file says which matplotlib wrote it, and the same run would give other bytes elsewhere.
    figure.savefig(path, dpi=144, metadata={"Software": None})


def draw_digits(result: Result, folder: Path) -> None:
    """learning.png, confusion.png and mistakes.png."""
    with rc_context(STYLE):
        save(learning(result.history), folder / "learning.png")
        save(confusion(result.confusion), folder / "confusion.png")
        save(mistakes(result.cases), folder / "mistakes.png")


def draw_influenza(fitted: Fit, textbook: Fit, folder: Path) -> None:
    """epidemic.png, transmission.png and descent.png."""
    with rc_context(STYLE):
        save(epidemic(fitted, textbook), folder / "epidemic.png")
        save(transmission(fitted, textbook), folder / "transmission.png")
        save(descent(fitted, textbook), folder / "descent.png")


def learning(history: History) -> Figure:
    """Loss and validation accuracy against the epoch."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    epochs = range(1, len(history.train_loss) + 1)
    left.plot(epochs, history.train_loss, color=BLUE, label="training (images moved about)")
    left.plot(epochs, history.validation_loss, color=ORANGE, label="validation")
    left.set(title="Loss", xlabel="epoch", ylabel="cross-entropy", yscale="log")
    left.legend()
    right.plot(epochs, [100 * value for value in history.validation_accuracy], color=ORANGE)
    right.set(title="Validation accuracy", xlabel="epoch", ylabel="%", ylim=(min(90.0, *_percent(history)), 100.4))
    return figure


def _percent(history: History) -> list[float]:
    # The first epochs may be far below; the interesting part is near the top.
    return [100 * value for value in history.validation_accuracy[len(history.validation_accuracy) // 4 :]]


def confusion(counts: np.ndarray) -> Figure:
    """Test images of each digit (row) that were taken for each digit (column)."""
    figure = Figure(figsize=(4.6, 4.4), layout="constrained")
    axes = figure.subplots()
    axes.imshow(counts, cmap=BLUES)
    for (i, j), count in np.ndenumerate(counts):
        if count:
            dark = count > counts.max() / 2
            colour = "#ffffff" if dark else INK if i == j else ORANGE
            axes.text(
                j, i, count, ha="center", va="center", fontsize=9, color=colour, weight="bold" if i != j else None
            )
    axes.set(title="Test images", xlabel="taken for", ylabel="digit", xticks=range(10), yticks=range(10))
    axes.grid(False)
    axes.tick_params(length=0)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    return figure


def mistakes(cases: list[Case]) -> Figure:
    """Each hard test image beside the pixels that decided."""
    across = min(4, len(cases))
    down = -(-len(cases) // across)
    cell, gap, heading = 1.05, 0.07, 0.3
    width, height = across * (2 * cell + 4 * gap), down * (cell + heading + 2 * gap)
    figure = Figure(figsize=(width, height))
    for number, case in enumerate(cases):
        row, column = divmod(number, across)
        left = column * (2 * cell + 4 * gap) + gap
        bottom = height - (row + 1) * (cell + heading + 2 * gap) + gap
        reach = np.abs(case.saliency).max() or 1.0
        panels = [(left, case.pixels, PAPER, 0, 1), (left + cell + gap, case.saliency, SIGNED, -reach, reach)]
        for x, values, colours, low, high in panels:
            axes = figure.add_axes((x / width, bottom / height, cell / width, cell / height))
            axes.imshow(values, cmap=colours, vmin=low, vmax=high)
            _frame(axes)
        verdict = f"{case.label} taken for {case.predicted}" if case.wrong else f"{case.label}, rightly"
        figure.text(
            (left + cell + gap / 2) / width,
            (bottom + cell + gap) / height,
            f"{verdict} ({100 * case.probability:.0f} %)",
            ha="center",
            fontsize=9.5,
            weight="bold" if case.wrong else "normal",
            color=ORANGE if case.wrong else MUTED,
        )
    return figure


def _frame(axes: Axes) -> None:
    axes.set(xticks=[], yticks=[])
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set(visible=True, color=GRID)


def epidemic(fitted: Fit, textbook: Fit) -> Figure:
    """The counts, the fitted curve and the textbook model's."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(
        textbook.fine_days, textbook.fine_in_bed, color=MUTED, ls="--", label=label("constant β, one stage", textbook)
    )
    axes.plot(fitted.fine_days, fitted.fine_in_bed, color=BLUE, label=label("time-varying β, three stages", fitted))
    axes.plot(range(DAYS), IN_BED, "o", color=INK, ms=6, label=f"counted: {ILL} ill in all")
    axes.set(title=f"Boys confined to bed, of {POPULATION}", ylabel="boys", ylim=(0, 1.3 * IN_BED.max()))
    axes.legend(loc="upper right")
    _dates(axes)
    return figure


def label(what: str, fit: Fit) -> str:
    return f"{what}: RMSE {fit.rmse:.1f}, {fit.ill:.0f} ill in all"


def transmission(fitted: Fit, textbook: Fit) -> Figure:
    """beta and the reproduction number from day to day."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    days = range(DAYS)
    left.fill_between(days, fitted.low, fitted.high, color=BLUE, alpha=0.15, lw=0, label="95 % range")
    left.plot(days, fitted.beta, color=BLUE, marker="o", ms=4, label="time-varying")
    left.plot(days, textbook.beta, color=MUTED, ls="--", label="constant, one stage")
    left.set(title="Transmission β", ylabel="per day", ylim=(0, 1.15 * max(fitted.high[:5].max(), textbook.beta.max())))
    left.legend()
    right.axhline(1, color=INK, lw=0.8)
    right.plot(days, fitted.reproduction, color=BLUE, marker="o", ms=4)
    right.plot(days, textbook.reproduction, color=MUTED, ls="--")
    right.annotate(
        "below 1 the outbreak shrinks", (DAYS - 1, 1), (0, 5), textcoords="offset points", ha="right", fontsize=9
    )
    right.set(title="Reproduction number β/γ · S/N", ylabel="boys infected by one boy", ylim=(0, None))
    for axes in (left, right):
        _dates(axes, every=3)
    return figure


def descent(fitted: Fit, textbook: Fit) -> Figure:
    """The objective against the iteration of the optimiser."""
    figure = Figure(figsize=(9, 3), layout="constrained")
    axes = figure.subplots()
    axes.plot(range(1, len(fitted.history) + 1), fitted.history, color=BLUE, label="time-varying β, three stages")
    axes.plot(
        range(1, len(textbook.history) + 1), textbook.history, color=MUTED, ls="--", label="constant β, one stage"
    )
    axes.set(title="Loss of the fit", xlabel="iteration of L-BFGS-B", ylabel="half the sum of squares", yscale="log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:.0f}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.legend()
    return figure


def _dates(axes: Axes, every: int = 1) -> None:
    ticks = range(0, DAYS, every)
    axes.set_xticks(ticks, list(day_labels(ticks)))
    axes.set_xlim(-0.4, DAYS - 0.6)


def day_labels(days: Iterable[int]) -> Iterable[str]:
    """Dates such as 22 Jan for days of the outbreak, each month named once."""
    month = None
    for day in days:
        date = START + datetime.timedelta(day)
        yield f"{date.day}\n{date:%b}" if date.month != month else str(date.day)
        month = date.month
