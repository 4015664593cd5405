"""C references: a source compiled by `gcc -O3 -march=native -ffast-math`, where gcc exists."""

from __future__ import annotations

import ctypes
import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy

FLAGS = ("-O3", "-march=native", "-ffast-math", "-shared", "-fPIC")


@functools.cache
def compiled(source: str) -> Any:
    """The library of a C source; None without gcc."""
    gcc = shutil.which("gcc")
    if gcc is None:
        return None
    folder = Path(tempfile.mkdtemp(prefix="c_reference"))
    path = folder / "reference.c"
    path.write_text(source)
    subprocess.run([gcc, *FLAGS, str(path), "-o", str(folder / "reference.so"), "-lm"], check=True)
    library = ctypes.CDLL(str(folder / "reference.so"))
    shutil.rmtree(folder)
    return library


def pointer(array: Any) -> Any:
    """The elements of a float64 array as an argument."""
    assert array.dtype == numpy.float64 and array.flags.c_contiguous
    return array.ctypes.data_as(ctypes.POINTER(ctypes.c_double))


def one_processor() -> None:
    """Keep to one processor, and so all peers whose threads start later."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
