"""Questions to a program that misbehaves: where a NaN comes from, why a gradient is zero, how it flows."""

from ..ops.show import show as print
from .finite import NonFinite, nans, trace_nan
from .flow import Flow, gradient_flow
from .zero import Reason, why_zero

__all__ = ["Flow", "NonFinite", "Reason", "gradient_flow", "nans", "print", "trace_nan", "why_zero"]
