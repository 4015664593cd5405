"""Benchmarks against NumPy, PyTorch, JAX and autograd: `python -m benchmarks [--quick]`.

One file a workload, holding every competitor's version of it; `harness.py` measures, `machine.py` says on
what, `__main__.py` runs the workloads, each in a process of its own, and writes `RESULTS.md`.
"""

import os

# These variables make OpenBLAS use kernels or block sizes of another processor. They are read when NumPy
# loads, so they must go before the first import of NumPy; `machine.py` prints the kernels in use.
for _name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(_name, None)

# Times of compilation are those of a first time, unless a workload says otherwise.
os.environ["WENGERT_CACHE"] = ""
