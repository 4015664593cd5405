"""The first call of a compiled function in a fresh process: compiled there, and read from the disk.

What is counted is the time from making the function to its first result, after the library was imported: tracing,
optimising, generating machine code or reading it, and running it. Where programs are compiled, each library has
compiled something else before; where wengert reads from the disk it has not, since it then needs no compiler. JAX's
persistent cache is told to keep everything.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from .harness import Effort, Report, Target, main, milli, peer

WENGERT = """
import os, sys, time, numpy
import wengert as wg, wengert.numpy as np
{program}
if not os.environ["WENGERT_CACHE"]:
    wg.jit(lambda x: x + 1)(1.0)
start = time.perf_counter()
wg.jit(wg.value_and_grad(f))(*arguments)
print(time.perf_counter() - start)
"""

JAX = """
import os, sys, time, numpy
os.environ["JAX_PLATFORMS"] = "cpu"
import jax, jax.numpy as np
jax.config.update("jax_enable_x64", True)
if os.environ.get("KEEP"):
    jax.config.update("jax_compilation_cache_dir", os.environ["KEEP"])
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
{program}
jax.jit(lambda x: x + 1)(1.0).block_until_ready()
start = time.perf_counter()
jax.block_until_ready(jax.jit(jax.value_and_grad(f))(*arguments))
print(time.perf_counter() - start)
"""

PROGRAMS = {
    "Rosenbrock function, 10 variables": """
f = lambda x: np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)
arguments = (numpy.linspace(-1.2, 1.3, 10),)
""",
    "network 784-256-128-10, softmax cross-entropy": """
def f(p, x, y):
    for w, b in p[:-1]:
        x = np.maximum(x @ w + b, 0)
    z = x @ p[-1][0] + p[-1][1]
    z = z - np.max(z, axis=1, keepdims=True)
    return np.mean(np.log(np.sum(np.exp(z), axis=1)) - np.sum(z * y, axis=1))
rng = numpy.random.default_rng(0)
sizes = (784, 256, 128, 10)
p = [(rng.normal(size=(a, b)) * a**-0.5, numpy.zeros(b)) for a, b in zip(sizes, sizes[1:])]
arguments = (p, rng.normal(size=(64, 784)), numpy.eye(10)[rng.integers(0, 10, 64)])
""",
    "unrolled loop of 100 turns": """
def f(x):
    y = x
    for _ in range(100):
        y = np.sin(y) * 0.5 + x * y - np.tanh(y * y) * 0.1
    return np.sum(y)
arguments = (numpy.linspace(0, 1, 10),)
""",
}


def first_call(program: str, environment: dict[str, str]) -> float:
    """Seconds in one new process."""
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={**os.environ, **environment}
    )
    return float(run.stdout)


def measure(effort: Effort) -> list[Report]:
    report = Report(
        "First call in a fresh process",
        "Milliseconds from making the function to its first result, value and gradient, imports not counted; medians "
        f"of {effort.pick(3, 9)} processes.",
        ("program", "wengert, compiling", "wengert, from disk", "JAX, compiling", "JAX, from disk"),
    )
    for name, text in PROGRAMS.items():
        found: list[float] = []
        for template, variable in ((WENGERT, "WENGERT_CACHE"), (JAX, "KEEP")):
            if template is JAX and peer("jax") is None:
                continue
            program = template.format(program=text)
            with tempfile.TemporaryDirectory() as folder:
                place = {variable: str(Path(folder, "programs"))}
                for kept in ({variable: ""}, place):
                    first_call(program, kept)
                    samples = [first_call(program, kept) for _ in range(effort.pick(3, 9))]
                    found.append(statistics.median(samples))
        report.add(name, *[milli(seconds) for seconds in found], *["not installed"] * (4 - len(found)))
        report.targets.append(Target(f"{name}: from disk in at most 20 ms", found[1] * 1e3, 20.0, "ms"))
        if len(found) == 4:
            share = found[0] / found[2]
            report.targets.append(Target(f"{name}: compiling in half of JAX's time", share, 0.5, "of it"))
    return [report]


if __name__ == "__main__":
    main(measure, __doc__)
