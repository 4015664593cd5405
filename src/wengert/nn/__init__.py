"""Building blocks of neural networks."""

from .convolution import avg_pool, conv, conv_transpose, max_pool

__all__ = ["avg_pool", "conv", "conv_transpose", "max_pool"]
