"""The native compiler: a graph becomes one LLVM function; the only place that imports llvmlite, and only when used."""
