"""What is kept of a compiled program, in memory and on disk."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class Constant(NamedTuple):
    """An array that a program reads: a copy of its own, and the array of the graph that it was copied from."""

    array: Any
    source: Any

    @classmethod
    def of(cls, value: Any) -> Constant:
        return cls(np.array(value, order="C"), value)


class Outside(NamedTuple):
    """A C function of the user's. Where it is holds for this process only, so its programs are not kept on disk."""

    address: int
    owner: Any

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Outside) and self.address == other.address

    def __hash__(self) -> int:
        return hash(self.address)


class Compiled(NamedTuple):
    """A program before it is loaded.

    code : the object file. table : what it finds outside, `Constant`s, `Outside`s and routines by name.
    memory : bytes of the arena. callbacks : operations that NumPy computes. long : whether it runs for long.
    text : digest of the LLVM text that it was made from.
    """

    code: bytes
    table: tuple[Any, ...] = ()
    memory: int = 0
    callbacks: tuple[str, ...] = ()
    long: bool = False
    text: str = ""
