"""The command `wengert`."""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import wengert

from .native import cache

PARTS = ("digits", "influenza")
OPTIONAL = {
    "matplotlib": "matplotlib",
    "sklearn": "scikit-learn",
    "threadpoolctl": "threadpoolctl",
    "fast_sugiyama": "fast-sugiyama",
}
"""What the demonstration needs beyond the package's own requirements: modules and the names they are installed by."""


def whole_number(text: str) -> int:
    """A number that may seed random numbers: 0, 1, 2, ...

    >>> whole_number("7")
    7
    """
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{number} is negative")
    return number


def parser() -> argparse.ArgumentParser:
    """The arguments of the command and of its subcommands."""
    main_parser = argparse.ArgumentParser(prog="wengert", description="Differentiate NumPy-style Python.")
    main_parser.add_argument("--version", action="version", version=f"wengert {wengert.__version__}")
    commands = main_parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    demo = commands.add_parser(
        "demo",
        help="fit two models to real data and write a report",
        description="Train a classifier of handwritten digits and fit an influenza outbreak of 1978, both by gradient; "
        "print a summary and write a report with figures and graphs. Takes under a minute.",
    )
    demo.add_argument(
        "--out", type=Path, default=Path("wengert-demo"), metavar="FOLDER", help="report folder (default: %(default)s)"
    )
    demo.add_argument("--quick", action="store_true", help="a tenth of the work, to see that everything runs")
    demo.add_argument(
        "--seed", type=whole_number, default=0, metavar="N", help="seed of the training (default: %(default)s)"
    )
    demo.add_argument("--only", choices=PARTS, help="run this part alone")

    kept = commands.add_parser(
        "cache",
        help="show or clear the compiled programs kept on disk",
        description="Show where compiled programs are kept, how many there are and how much room they take. "
        "WENGERT_CACHE names another folder (off: none), WENGERT_CACHE_SIZE the limit in megabytes.",
    )
    kept.add_argument("action", nargs="?", choices=("show", "clear"), default="show", help="default: %(default)s")
    return main_parser


def show_cache(action: str) -> int:
    """The subcommand `cache`."""
    place = cache.folder()
    if place is None:
        print("the cache is turned off by WENGERT_CACHE")
        return 0
    if action == "clear":
        count, size = cache.clear()
        print(f"{place}: removed {count} programs, {size / 1e6:.1f} MB")
        return 0
    found = cache.entries()
    total = sum(entry.size for entry in found)
    print(f"folder:   {place}")
    print(f"programs: {len(found)}")
    print(f"size:     {total / 1e6:.1f} MB of at most {cache.limit() / 1e6:.0f} MB")
    if found:
        first, last = (time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.used)) for entry in (found[0], found[-1]))
        print(f"used:     between {first} and {last}")
    if place.exists() and not cache.trusted(place.stat()):
        print(f"not used: {place} is another user's, or others may write to it (chmod go-w)")
        return 1
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit status is 0 if all went well, 1 if it could not, 2 if it was called wrongly."""
    chosen = parser().parse_args(arguments)
    if chosen.command == "cache":
        return show_cache(chosen.action)
    missing = [package for module, package in OPTIONAL.items() if importlib.util.find_spec(module) is None]
    if missing:
        print(
            f"wengert demo needs {', '.join(missing)}, not installed here: pip install 'wengert[demo]'",
            file=sys.stderr,
        )
        return 1
    # Here and not at the top: the demonstration needs optional packages, and takes seconds to import.
    from .demo.run import demo

    try:
        demo(chosen.out, chosen.quick, chosen.seed, PARTS if chosen.only is None else (chosen.only,))
    except OSError as error:
        print(f"wengert demo cannot write its report: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
