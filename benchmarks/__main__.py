"""Run every workload, each in a process of its own, print the tables and write `RESULTS.md`."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from . import machine, render
from .harness import Report

HERE = Path(__file__).parent
WORKLOADS = (
    "chain",
    "rosenbrock",
    "numpy_calls",
    "large_arrays",
    "long_jvp",
    "million_operations",
    "mathematics",
    "bandwidth",
    "normalisation",
    "lennard_jones",
    "sir",
    "mixture",
    "lorenz",
    "robertson",
    "mlp",
    "lstm",
    "transformer",
    "cnn",
    "newton",
    "derivatives",
    "sparse_hessian",
    "brusselator",
    "bundle_adjustment",
    "physics",
    "checkpointing",
    "calls",
    "rosenbrock_compiled",
    "first_compile",
    "unrolled",
    "cache_start",
    "startup",
)


def run(workload: str, quick: bool) -> list[Report] | None:
    """Measure in a new process, so that one workload's imports, memory and caches do not bear on another's.

    None if the workload fails, whose error then stands in the terminal.
    """
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder, "reports.json")
        command = [sys.executable, "-m", f"benchmarks.{workload}", "--json", str(result)] + ["--quick"] * quick
        if subprocess.run(command, cwd=HERE.parent).returncode:
            return None
        return [Report.from_dict(data) for data in json.loads(result.read_text())]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("workloads", nargs="*", metavar="workload", help=f"of {', '.join(WORKLOADS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="a minute or two, with fewer repeats and smaller problems")
    parser.add_argument("--output", type=Path, help="where to write the page (default: RESULTS.md for a full run)")
    options = parser.parse_args()
    if unknown := set(options.workloads) - set(WORKLOADS):
        parser.error(f"no workload {sorted(unknown)}; there are {', '.join(WORKLOADS)}")
    console = Console()
    facts = machine.describe()
    for name, text in facts.items():
        console.print(f"[bold]{name}[/bold]: {text}", highlight=False)
    console.print()
    reports: list[Report] = []
    failed: list[str] = []
    for workload in options.workloads or WORKLOADS:
        with console.status(f"measuring {workload}"):
            found = run(workload, options.quick)
        if found is None:
            failed.append(workload)
            continue
        render.show(found, console)
        reports += found
    whole = not options.quick and not options.workloads
    output = options.output or (HERE / "RESULTS.md" if whole else None)
    if failed:
        console.print(f"[bold red]failed: {', '.join(failed)}[/bold red]; no page is written")
    elif output is not None:
        command = " ".join(["python -m benchmarks", *options.workloads, *["--quick"] * options.quick])
        output.write_text(render.markdown(reports, facts, command))
        console.print(f"written to {output}")
    missed = [target for report in reports for target in report.targets if not target.met]
    return 1 if failed or missed else 0


if __name__ == "__main__":
    sys.exit(main())
