"""What the figures were measured on: processor, versions, BLAS kernels."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

import numpy

from .harness import peer

LIBRARIES = ("wengert", "numpy", "scipy", "llvmlite", "torch", "jax", "autograd", "casadi")


def processor() -> str:
    """The processor's marketing name where the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def blas() -> str:
    """The BLAS libraries that NumPy has loaded, with the kernels they chose for this processor."""
    if (threadpoolctl := peer("threadpoolctl")) is None:
        return "unknown (threadpoolctl is not installed)"
    numpy.ones((2, 2)) @ numpy.ones((2, 2))
    found = [
        f"{info['internal_api']} {info['version']}, {info.get('architecture', 'unknown')} kernels, "
        f"{info['num_threads']} threads"
        for info in threadpoolctl.threadpool_info()
        if info["user_api"] == "blas"
    ]
    return "; ".join(dict.fromkeys(found)) or "none found"


def load() -> str:
    """How busy the machine was when this was asked, before the first workload."""
    if not hasattr(os, "getloadavg"):
        return "unknown"
    return "load average {:.2f} over the last minute, {:.2f} over five".format(*os.getloadavg()[:2])


def describe() -> dict[str, str]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "processor": f"{processor()}, {cores} cores",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "libraries": ", ".join(f"{name} {version(name)}" for name in LIBRARIES),
        "BLAS": blas(),
        "other load": load(),
    }
