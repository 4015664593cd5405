"""One table for compiled workloads: each library's version built, called once (which compiles), checked, and raced."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy

from .harness import Effort, Report, Run, Target, figures, milli, race, ratio

Maker = Callable[[], Run | None]
OURS = "wengert"


class Bar(NamedTuple):
    """At most `limit` times a rival's least time; a rival that is not installed has no say. "first" is of compiling."""

    rival: str
    limit: float
    what: str = "run"


def contest(
    title: str,
    about: str,
    makers: Mapping[str, Maker],
    effort: Effort,
    bars: Sequence[Bar] = (),
    rtol: float = 1e-6,
    atol: float = 1e-8,
    per: tuple[str, float] | None = None,
) -> Report:
    """The report of one workload.

    makers : by library a function that returns a call to time (None: not installed); the first one is ours. A call
        returns arrays, or nested tuples and lists of them, that must agree with ours to `rtol` and `atol`.
    per : a unit of work and how many of it a call does, for a column of its own.
    """
    runs: dict[str, Run] = {}
    first: dict[str, float] = {}
    wanted: list[Any] = []
    for name, make in makers.items():
        run = make()
        if run is None:
            continue
        start = time.perf_counter()
        found = flat(run())
        first[name] = time.perf_counter() - start
        wanted = wanted or found
        if len(found) != len(wanted):
            raise AssertionError(f"{title}: {name} returns {len(found)} arrays, {OURS} {len(wanted)}")
        for a, b in zip(found, wanted, strict=True):
            scale = float(numpy.max(numpy.abs(b), initial=0.0))
            numpy.testing.assert_allclose(a, b, rtol=rtol, atol=atol + rtol * scale, err_msg=f"{title}: {name}")
        runs[name] = run
    times = race(runs, effort)
    columns = ["library", "first call s", "least ms", "median ms", "times wengert"]
    if per is not None:
        columns.insert(3, f"µs a {per[0]}")
    report = Report(title, about, columns)
    for name, timing in times.items():
        cells = [name, figures(first[name]), milli(timing.least), milli(timing.median),
                 ratio(timing.least, times[OURS].least)]  # fmt: skip
        if per is not None:
            cells.insert(3, figures(timing.least / per[1] * 1e6))
        report.add(*cells)
    for bar in bars:
        if bar.rival in times:
            of = first if bar.what == "first" else {name: timing.least for name, timing in times.items()}
            text = f"{'first call' if bar.what == 'first' else 'time'} at most {bar.limit:g} times that of {bar.rival}"
            report.targets.append(Target(text, of[OURS] / of[bar.rival], bar.limit, "times"))
    return report


def flat(tree: Any) -> list[Any]:
    """The arrays in tuples, lists and dictionaries, as NumPy arrays."""
    if isinstance(tree, dict):
        return [x for key in sorted(tree) for x in flat(tree[key])]
    if isinstance(tree, (tuple, list)):
        return [x for item in tree for x in flat(item)]
    if hasattr(tree, "detach"):
        tree = tree.detach().numpy()
    return [numpy.asarray(tree)]
