"""Why a compiled function was traced again, and where the time went: `print(f.explain())`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..graph.types import WEAK_SAMPLES, ArrayType
from ..source import Source

STAGES = {
    "trace": "trace", "passes": "passes", "lowering": "lowering", "LLVM": "LLVM",
    "cache": "read from the cache on disk", "loading": "loading",
}  # fmt: skip


class Form(NamedTuple):
    """What decides whether a call needs a program of its own.

    structure : containers of the arguments. names, types : of the leaves. static, settings : values by name.
    """

    structure: Any
    names: tuple[str, ...]
    types: tuple[ArrayType, ...]
    static: Mapping[str, Any]
    settings: Mapping[str, Any]

    def difference(self, old: Form) -> list[str]:
        """What differs from an earlier form, a phrase each."""
        found = []
        for values, others in ((self.static, old.static), (self.settings, old.settings)):
            for name in sorted({*values, *others}):
                if values.get(name) != others.get(name):
                    found.append(f"{name} is {values.get(name)!r}, was {others.get(name)!r}")
        if self.structure != old.structure:
            missing = [name for name in old.names if name not in self.names]
            extra = [name for name in self.names if name not in old.names]
            if extra:
                found.append(f"{', '.join(extra)} came")
            if missing:
                found.append(f"{', '.join(missing)} went")
            if not (extra or missing):
                found.append(f"the containers of the arguments are {self.structure}, were {old.structure}")
        before_types = dict(zip(old.names, old.types, strict=True))
        for name, t in zip(self.names, self.types, strict=True):
            before = before_types.get(name)
            if before is not None and before != t:
                found.append(f"{name} is {described(t)}, was {described(before)}")
        return found


def described(t: ArrayType) -> str:
    """`f64[3]`, or `a Python float`."""
    return f"a Python {type(WEAK_SAMPLES[t.dtype.kind]).__name__}" if t.weak else repr(t)


class Chapter:
    """One tracing: what for, why, from which line, and what it came to."""

    def __init__(self, form: Form, why: str, source: Source | None, lowered: Any) -> None:
        self.form = form
        self.why = why
        self.source = source
        self.lowered = lowered

    @property
    def times(self) -> dict[str, float]:
        """Seconds by stage: trace, passes, lowering, LLVM, cache, loading."""
        return dict(self.lowered.times)

    @property
    def cached(self) -> bool:
        """Whether the machine code came from the disk."""
        return bool(self.lowered.cached)

    def lines(self) -> list[str]:
        form = self.form
        arguments = ", ".join(f"{n}: {described(t)}" for n, t in zip(form.names, form.types, strict=True))
        static = "".join(f", {name}={value!r}" for name, value in form.static.items())
        place = f" at {self.source}" if self.source is not None else ""
        stages = [f"{text} {milliseconds(self.times[name])}" for name, text in STAGES.items() if name in self.times]
        found = [f"({arguments}{static})", f"    because {self.why}{place}"]
        found.append(f"    took {milliseconds(sum(self.times.values()))}: {', '.join(stages)}")
        note = getattr(self.lowered, "note", "")
        return found + ([f"    {note}"] if note else [])


class History:
    """The tracings of a compiled function, in order; `str` is the whole text.

    Attributes
    ----------
    chapters : each has `why`, the argument that differed; `times`, seconds by stage; `cached`; `lowered`.
    siblings : how many functions `jit` has made of the same code: each is traced for itself.
    """

    def __init__(self, name: str, chapters: Sequence[Chapter], siblings: int, place: str) -> None:
        self.name = name
        self.chapters = tuple(chapters)
        self.siblings = siblings
        self.place = place

    def __str__(self) -> str:
        count = len(self.chapters)
        fresh = sum(1 for c in self.chapters if c.lowered.compiled and not c.cached)
        read = sum(1 for c in self.chapters if c.cached)
        lines = [f"{self.name}: traced {times(count)}, compiled {times(fresh)}, read from disk {times(read)}"]
        for k, chapter in enumerate(self.chapters):
            first, *rest = chapter.lines()
            lines += [f"{k + 1}. {first}", *rest]
        if self.siblings > 1:
            lines.append(
                f"jit has made {self.siblings} functions of the code at {self.place}; each is traced for itself: "
                "make one and keep it"
            )
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<History of {self.name}: {len(self.chapters)} tracings>"


def times(count: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count} times")


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms"


def reason(form: Form, earlier: Sequence[Form]) -> str:
    """Why a form is not one of the earlier ones: its difference from the most similar of them."""
    if not earlier:
        return "it was called for the first time"
    differences = [form.difference(old) for old in reversed(earlier)]
    fewest = min(len(phrases) for phrases in differences)
    phrases = next(phrases for phrases in differences if len(phrases) == fewest)
    return "; ".join(phrases) or "it captures values of a transform around it, which change"
