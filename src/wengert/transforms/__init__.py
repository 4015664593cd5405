"""Transforms, one a file: trace, forward, reverse, vmap and what is built of them."""
