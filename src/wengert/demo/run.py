"""What `wengert demo` does: both fits, a printed summary, and a folder with the report."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from . import digits, figures, influenza, report

PARTS = ("digits", "influenza")
QUICK_EPOCHS = 8
QUICK_ITERATIONS = 25
ITERATIONS = 300


def demo(
    folder: Path,
    quick: bool = False,
    seed: int = 0,
    parts: Sequence[str] = PARTS,
    console: Console | None = None,
) -> dict[str, Any]:
    """Run the chosen parts and write the report.

    Parameters
    ----------
    folder : made if it is not there; files of an earlier report in it are replaced.
    quick : a tenth of the training and of the fit, to see that everything works.
    seed : starts the random numbers of the training; the data are split the same way whatever it is.
    parts : some of `PARTS`.
    console : where progress and summary go; standard output by default.

    Returns the numbers of the summary, which also lie in summary.json.

    Raises
    ------
    OSError : the folder cannot be made or written.
    """
    console = Console() if console is None else console
    began = time.perf_counter()
    for part in ("figures", "graphs"):
        (folder / part).mkdir(parents=True, exist_ok=True)

    columns = (
        TextColumn("{task.description:<20}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    result, fits, pictures = None, None, []
    with Progress(*columns, console=console) as progress:
        if "digits" in parts:
            result = train_digits(progress, quick, seed)
            pictures.append(
                report.Picture(
                    "digits",
                    "One training step of the classifier",
                    "The loss on five images, recorded while it was computed, with the values and gradients that were "
                    "found.",
                    result.graph,
                )
            )
        if "influenza" in parts:
            fits = fit_influenza(progress, quick)
            objective, gradient = influenza.graphs(fits[0].model)
            pictures += [
                report.Picture(
                    "epidemic",
                    "The loss of the epidemic model",
                    "Traced from shapes and dtypes alone. The simulation is one node, a scan, whose body is a graph of "
                    "its own.",
                    objective,
                ),
                report.Picture(
                    "epidemic_gradient",
                    "The same with its gradient",
                    "What the optimiser called: the loss and, in the second colour, the way back through the "
                    "simulation.",
                    gradient,
                ),
            ]
        draw(progress, folder, result, fits, pictures)

    seconds = time.perf_counter() - began
    page = report.write(folder, pictures, result, fits, seed, seconds)
    summary = {"seed": seed, "quick": quick, "seconds": seconds}
    if result is not None:
        summary["digits"] = digits_summary(result)
    if fits is not None:
        summary["influenza"] = {"time-varying": fit_summary(fits[0]), "textbook": fit_summary(fits[1])}
    (folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    print_summary(console, result, fits)
    console.print(f"report: {page} ({seconds:.0f} s)", soft_wrap=True)
    return summary


def train_digits(progress: Progress, quick: bool, seed: int) -> digits.Result:
    config = digits.Config()
    if quick:
        config = replace(config, epochs=QUICK_EPOCHS)
    task = progress.add_task("digits: training", total=config.epochs, note="")

    def watch(history: digits.History) -> None:
        note = f"loss {history.train_loss[-1]:.3f}, validation {100 * history.validation_accuracy[-1]:.1f} %"
        progress.update(task, advance=1, note=note)

    return digits.run(config, seed, watch)


def fit_influenza(progress: Progress, quick: bool) -> tuple[influenza.Fit, influenza.Fit]:
    """The fit with time-varying transmission and the textbook one."""
    fits = []
    models = {"influenza: fit": influenza.Model(), "influenza: textbook": influenza.TEXTBOOK}
    for name, model in models.items():
        iterations = QUICK_ITERATIONS if quick else ITERATIONS
        task = progress.add_task(name, total=iterations, note="")

        def watch(history: list[float], task=task) -> None:
            progress.update(task, completed=len(history), note=f"loss {history[-1]:.3f}")

        fits.append(influenza.fit(model, iterations, watch))
        # It mostly converges before the limit.
        progress.update(task, total=len(fits[-1].history))
    return fits[0], fits[1]


def draw(
    progress: Progress,
    folder: Path,
    result: digits.Result | None,
    fits: tuple[influenza.Fit, influenza.Fit] | None,
    pictures: Sequence[report.Picture],
) -> None:
    """The figures and the pictures of the graphs, as files."""
    task = progress.add_task("drawing", total=(result is not None) + (fits is not None) + len(pictures), note="")
    if result is not None:
        figures.draw_digits(result, folder / "figures")
        progress.update(task, advance=1)
    if fits is not None:
        figures.draw_influenza(*fits, folder / "figures")
        progress.update(task, advance=1)
    for picture in pictures:
        picture.graph.to_svg(folder / "graphs" / f"{picture.stem}.svg", colours="light")
        picture.graph.to_html(folder / "graphs" / f"{picture.stem}.html")
        progress.update(task, advance=1)


def digits_summary(result: digits.Result) -> dict[str, Any]:
    return {
        "test_accuracy": result.accuracy,
        "test_loss": result.loss,
        "test_images": result.counts[2],
        "misread": int(result.confusion.sum() - result.confusion.trace()),
        "validation_accuracy": result.history.validation_accuracy[-1],
        "training_loss": result.history.train_loss[-1],
        "epochs": len(result.history.train_loss),
        "steps": result.steps,
        "training_seconds": result.training_seconds,
    }


def fit_summary(fit: influenza.Fit) -> dict[str, Any]:
    return {
        "rmse": fit.rmse,
        "gamma": fit.gamma,
        "r0": fit.r0,
        "first": fit.first,
        "ill": fit.ill,
        "objective": fit.objective,
        "beta": fit.beta.tolist(),
        "beta_low": fit.low.tolist(),
        "beta_high": fit.high.tolist(),
        "in_bed": fit.in_bed.tolist(),
        "iterations": len(fit.history),
        "evaluations": fit.evaluations,
        "message": fit.message,
        "seconds": fit.seconds,
    }


def print_summary(
    console: Console, result: digits.Result | None, fits: tuple[influenza.Fit, influenza.Fit] | None
) -> None:
    if result is not None:
        table = Table(title="Handwritten digits", title_justify="left", show_header=False)
        found = digits_summary(result)
        table.add_row("test accuracy", f"{100 * found['test_accuracy']:.2f} %")
        table.add_row("misread", f"{found['misread']} of {found['test_images']} test images")
        table.add_row("test loss", f"{found['test_loss']:.4f}")
        table.add_row("validation accuracy", f"{100 * found['validation_accuracy']:.2f} %")
        table.add_row("training", f"{found['steps']} steps in {found['training_seconds']:.1f} s")
        console.print(table)
    if fits is not None:
        table = Table(title="Influenza in a boarding school, 1978", title_justify="left")
        for column in ("", "time-varying β", "constant β, one stage"):
            table.add_column(column, justify="left" if not column else "right")
        rows = {
            "RMSE (boys in bed)": lambda fit: f"{fit.rmse:.1f}",
            "ill in all (counted 512)": lambda fit: f"{fit.ill:.0f}",
            "γ per day": lambda fit: f"{fit.gamma:.3f}",
            "R₀ = β/γ on day 0": lambda fit: f"{fit.r0:.2f}",
            "loss": lambda fit: f"{fit.objective:.2f}",
            "time": lambda fit: f"{fit.seconds:.1f} s, {fit.evaluations} gradients",
        }
        for name, show in rows.items():
            table.add_row(name, *(show(fit) for fit in fits))
        console.print(table)
        console.print("β per day: " + " ".join(f"{value:.2f}" for value in fits[0].beta), soft_wrap=True)
