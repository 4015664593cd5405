"""Checks for whoever writes operations, rules or models: derivatives against differences, and random programs."""

from .check import GradientError, KinkWarning, check_grads
from .programs import Program, random_program

__all__ = ["GradientError", "KinkWarning", "Program", "check_grads", "random_program"]
