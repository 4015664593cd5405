"""Random programs, compiled and evaluated, until time is up: python scripts/fuzz.py [--seconds 60] [--first 0]

Prints every program that disagrees with its number, so that `--first N --count 1` shows it again, with its source.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
import traceback
from concurrent.futures import ProcessPoolExecutor

from wengert.testing import random_program
from wengert.testing.differential import check_compiled

BLOCK = 20


def run(first: int, count: int, lines: int) -> list[tuple[int, str]]:
    """The numbers of the programs that fail, each with what it says."""
    failed = []
    for seed in range(first, first + count):
        try:
            check_compiled(random_program(seed, lines))
        except Exception:
            failed.append((seed, traceback.format_exc(limit=-2)))
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--first", type=int, default=0, help="number of the first program")
    parser.add_argument("--count", type=int, help="how many programs, instead of for how long")
    parser.add_argument("--lines", type=int, default=8, help="length of a program")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    options = parser.parse_args()
    end = time.monotonic() + options.seconds
    bad = tried = 0
    with ProcessPoolExecutor(options.jobs) as pool:
        starts = itertools.count(options.first, BLOCK)
        left = options.count
        while (left is None and time.monotonic() < end) or (left is not None and left > 0):
            blocks = []
            for _ in range(2 * options.jobs):
                size = BLOCK if left is None else min(BLOCK, left)
                if not size:
                    break
                blocks.append((next(starts), size))
                left = None if left is None else left - size
            for failed, (_, size) in zip(
                pool.map(run, *zip(*[(*block, options.lines) for block in blocks], strict=True)), blocks, strict=True
            ):
                tried += size
                for seed, text in failed:
                    bad += 1
                    print(f"program {seed}\n{text}")
                    if options.count == 1:
                        print(random_program(seed, options.lines).source)
            print(f"{tried} programs, {bad} failed", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
