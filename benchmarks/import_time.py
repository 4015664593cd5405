"""The time that `import wengert` takes beyond NumPy's own import, each time in a fresh process.

    python benchmarks/import_time.py [--runs 15] [--limit 0.15] [--modules 10]

With `--limit`, exits with 1 if the median is above it (in seconds).
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys

PROGRAM = """
import time, sys
start = time.perf_counter()
import numpy
middle = time.perf_counter()
import wengert
print(middle - start, time.perf_counter() - middle)
"""


def measure() -> tuple[float, float]:
    """Seconds for NumPy, and for wengert after it, in one new process."""
    output = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout
    numpy_time, wengert_time = map(float, output.split())
    return numpy_time, wengert_time


def slowest(count: int) -> list[tuple[float, str]]:
    """The modules that wengert adds to NumPy's with the longest import of their own (children left out), in seconds."""
    command = [sys.executable, "-X", "importtime", "-c", "import numpy; import wengert"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stderr.splitlines()
    rows = [match for line in lines if (match := re.match(r"import time: +(\d+) \| +\d+ \| +(\S+)", line))]
    after = [row[2] for row in rows].index("numpy") + 1  # a module is listed after those that it imports
    return sorted(((int(row[1]) / 1e6, row[2]) for row in rows[after:]), reverse=True)[:count]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=15, help="processes to start (default 15)")
    parser.add_argument("--limit", type=float, help="seconds that the median may take")
    parser.add_argument("--modules", type=int, default=0, help="also print this many of the slowest modules")
    options = parser.parse_args()

    measure()  # once for the byte code and the disk cache
    numpy_times, times = zip(*(measure() for _ in range(options.runs)), strict=True)
    median = statistics.median(times)
    print(f"numpy            {statistics.median(numpy_times) * 1e3:7.1f} ms (median of {options.runs} processes)")
    print(f"wengert beyond   {median * 1e3:7.1f} ms (fastest {min(times) * 1e3:.1f}, slowest {max(times) * 1e3:.1f})")
    for seconds, name in slowest(options.modules):
        print(f"    {seconds * 1e3:7.2f} ms  {name}")
    if options.limit is not None and median > options.limit:
        print(f"above the limit of {options.limit * 1e3:.1f} ms")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
