"""wengert: differentiate and compile NumPy-style Python through an explicit computational graph."""

from . import debug, errors, nn, numpy, testing
from .debug import trace_nan, why_zero
from .graph.graph import Graph
from .graph.nodes import Const, Node, Var
from .graph.primitive import Primitive
from .graph.tensor import Tensor
from .graph.types import ArrayType
from .graph.verify import verify
from .native.jit import jit
from .numpy import methods as _methods
from .ops.cut import stop_gradient
from .passes import budget as _budget  # noqa: F401 (it answers `memory=`)
from .passes import explain as _explain
from .passes import optimize
from .passes.accounting import cost as _cost
from .passes.accounting import memory_report as _memory_report
from .settings import settings
from .sparse import sparse_hessian, sparse_jacobian, sparsity
from .transforms.checkpoint import checkpoint
from .transforms.control import associative_scan, cond, fori_loop, map, scan, switch, while_loop
from .transforms.custom import custom_jvp, custom_vjp
from .transforms.custom_class import Function
from .transforms.custom_opaque import callback, opaque
from .transforms.custom_primitive import defprimitive
from .transforms.custom_surrogate import gradient_reversal, straight_through
from .transforms.define_by_run import backward as _backward
from .transforms.define_by_run import constant, variable
from .transforms.define_by_run import graph_of as graph
from .transforms.diagonal import hessian_diagonal
from .transforms.forward import jvp
from .transforms.grad import grad, value_and_grad, vjp
from .transforms.jacobian import hessian, hvp, jacobian
from .transforms.jet import jet
from .transforms.laplacian import laplacian
from .transforms.linearize import linear_transpose, linearize
from .transforms.trace import call as _call
from .transforms.trace import trace
from .transforms.vmap import vmap
from .view import attach as _attach_view

__version__ = "0.1.0.dev0"

_methods.attach(backward=_backward)
_attach_view()
Graph.explain = _explain  # type: ignore[attr-defined]
Graph.cost = _cost  # type: ignore[attr-defined]
Graph.memory_report = _memory_report  # type: ignore[attr-defined]
Graph.__call__ = _call  # type: ignore[method-assign]

__all__ = [
    "ArrayType",
    "Const",
    "Function",
    "Graph",
    "Node",
    "Primitive",
    "Tensor",
    "Var",
    "associative_scan",
    "callback",
    "checkpoint",
    "cond",
    "constant",
    "custom_jvp",
    "custom_vjp",
    "defprimitive",
    "debug",
    "errors",
    "fori_loop",
    "grad",
    "gradient_reversal",
    "graph",
    "hessian",
    "hessian_diagonal",
    "hvp",
    "jacobian",
    "jet",
    "jit",
    "jvp",
    "laplacian",
    "linear_transpose",
    "linearize",
    "map",
    "nn",
    "numpy",
    "opaque",
    "optimize",
    "scan",
    "settings",
    "sparse_hessian",
    "sparse_jacobian",
    "sparsity",
    "stop_gradient",
    "straight_through",
    "switch",
    "testing",
    "trace",
    "trace_nan",
    "value_and_grad",
    "variable",
    "verify",
    "vjp",
    "vmap",
    "while_loop",
    "why_zero",
]
