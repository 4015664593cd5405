"""Sparse Jacobians and Hessians: patterns from the graph, colourings, compiled compressed evaluation."""

from .derivatives import SparseDerivative, sparse_hessian, sparse_jacobian, sparsity

__all__ = ["SparseDerivative", "sparse_hessian", "sparse_jacobian", "sparsity"]
