"""Containers (tuples, lists, dictionaries, named tuples, registered classes) through optree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import optree

from ..errors import TreeMismatchError
from ..source import Source

Structure = optree.PyTreeSpec


def flatten(tree: Any) -> tuple[list[Any], Structure]:
    """Leaves and structure. `None` is a leaf-less container, as in JAX and PyTorch."""
    leaves, structure = optree.tree_flatten(tree)
    return leaves, structure


def unflatten(structure: Structure, leaves: Any) -> Any:
    return optree.tree_unflatten(structure, leaves)


def is_leaf(tree: Any) -> bool:
    """Whether a value is no container (None is one, without leaves)."""
    return optree.tree_is_leaf(tree)


def children(tree: Any) -> tuple[type, list[Any], list[Any]]:
    """The class of a container, the values directly inside, and their keys, in the order of `flatten`.

    >>> children({"b": [1, 2], "a": 3})
    (<class 'dict'>, [3, [1, 2]], ['a', 'b'])
    """
    inside, _, keys, _ = optree.tree_flatten_one_level(tree)
    return type(tree), list(inside), list(keys)


def sealed(tree: Any, kind: type, wrap: Callable[[Any], Any]) -> Any:
    """The same containers, with every instance of a container class wrapped into one leaf."""

    def inside(node: Any) -> bool:
        return isinstance(node, kind)

    return optree.tree_map(lambda leaf: wrap(leaf) if inside(leaf) else leaf, tree, is_leaf=inside)


def tree_map(fn: Callable[..., Any], tree: Any, *rest: Any) -> Any:
    """Apply `fn` to corresponding leaves of trees of the same structure.

    >>> tree_map(lambda a, b: a + b, {"w": 1, "b": [2]}, {"w": 10, "b": [20]})
    {'w': 11, 'b': [22]}
    """
    leaves, structure = flatten(tree)
    others = [flatten_as(structure, other, "tree_map") for other in rest]
    return unflatten(structure, [fn(*items) for items in zip(leaves, *others, strict=True)])


def paths(structure: Structure, root: str = "") -> list[str]:
    """A readable name for every leaf: `['w']`, `[0].bias`.

    >>> paths(flatten({"w": 1, "b": [2, 3]})[1], "p")
    ["p['b'][0]", "p['b'][1]", "p['w']"]
    """
    return [root + accessor.codify("") for accessor in structure.accessors()]


def flatten_as(structure: Structure, tree: Any, what: str, root: str = "", source: Source | None = None) -> list[Any]:
    """The leaves of `tree`, which must have `structure`; otherwise an error that names the first leaf that differs."""
    leaves, found = flatten(tree)
    if found == structure:
        return leaves
    wanted_paths, found_paths = paths(structure, root), paths(found, root)
    missing = [path for path in wanted_paths if path not in found_paths]
    extra = [path for path in found_paths if path not in wanted_paths]
    if missing or extra:
        detail = "; ".join(
            text
            for text in (
                f"missing leaf {missing[0] or 'at the root'}" if missing else "",
                f"unexpected leaf {extra[0] or 'at the root'}" if extra else "",
            )
            if text
        )
    else:
        detail = "the same leaves in different containers"
    raise TreeMismatchError(
        f"{what}: containers differ: {detail}\n  expected: {structure}\n  found:    {found}",
        "give it the same nesting of tuples, lists and dictionaries",
        source,
    )


def subtrees(structure: Structure, tree: Any) -> list[Any] | None:
    """What stands in `tree` in place of the leaves of a structure; None stands for all the leaves below it.

    None if the containers do not fit.

    >>> subtrees(flatten({"w": 1, "b": [2, 3]})[1], {"w": 10, "b": None})
    [None, None, 10]
    """
    if structure.is_leaf():
        return [tree]
    if tree is None:
        return [None] * structure.num_leaves
    if optree.tree_is_leaf(tree):
        return None
    inside, _, keys, _ = optree.tree_flatten_one_level(tree)
    if type(tree) is not structure.type or list(keys) != structure.entries():
        return None
    parts = [subtrees(child, part) for child, part in zip(structure.children(), inside, strict=True)]
    return None if any(part is None for part in parts) else [leaf for part in parts for leaf in part or ()]
