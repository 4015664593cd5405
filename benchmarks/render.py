"""Reports for people: rich tables in the terminal, Markdown in `RESULTS.md`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .harness import Report, Target, figures


def show(reports: Sequence[Report], console: Console | None = None) -> None:
    """Print reports as tables, each followed by its targets."""
    console = console or Console()
    for report in reports:
        table = Table(title=report.title, caption=report.about, caption_justify="left", title_justify="left")
        for k, column in enumerate(report.columns):
            table.add_column(column, justify="left" if is_text(report, k) else "right")
        for row in report.rows:
            table.add_row(*map(Text, row))
        console.print(table)
        for target in report.targets:
            console.print(Text(verdict(target), style="green" if target.met else "bold red"))
        console.print()


def verdict(target: Target) -> str:
    state = "met" if target.met else "MISSED"
    return f"{state}: {target.text}; measured {figures(target.measured)} {target.unit}".rstrip()


def is_text(report: Report, column: int) -> bool:
    """Whether a column holds names rather than figures."""
    return not all(row[column][:1].isdigit() or row[column][:1] in "-" for row in report.rows)


def markdown(reports: Sequence[Report], machine: Mapping[str, str], command: str) -> str:
    """The whole page."""
    lines = [
        "# Benchmark results",
        "",
        f"Written by `{command}`, run in the root of the repository; that command repeats them.",
        "",
        *(f"- {name}: {text}" for name, text in machine.items()),
        "",
        "All competitors of a table were measured in one run, in turn, repeat by repeat; `least` and `median` are over",
        "the repeats, ratios are of least times. A library that is missing here was not installed.",
        "",
    ]
    for report in reports:
        lines += [f"## {report.title}", "", report.about, ""]
        lines.append("| " + " | ".join(map(escape, report.columns)) + " |")
        sides = [" :-- " if is_text(report, k) else " --: " for k in range(len(report.columns))]
        lines.append("|" + "|".join(sides) + "|")
        lines += ["| " + " | ".join(map(escape, row)) + " |" for row in report.rows]
        lines.append("")
        lines += [f"- {verdict(target)}" for target in report.targets]
        lines += [""] if report.targets else []
    return "\n".join(lines).rstrip() + "\n"


def escape(cell: str) -> str:
    return cell.replace("|", "\\|").replace("*", "\\*")
