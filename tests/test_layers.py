"""The layers of the package, stated as data and checked by reading every import under src/wengert."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "wengert"

LAYERS: tuple[tuple[str, ...], ...] = (
    ("source",),
    ("errors", "settings"),
    ("graph",),
    ("ops",),
    ("numpy", "transforms"),
    ("passes",),
    ("native",),
    ("nn", "optim", "solve", "random", "view", "bridges", "distributed", "testing", "debug", "sparse"),
    ("__init__",),
    ("demo",),
    ("cli",),
    ("__main__",),
)
"""Folders and files of the package, lowest first. A file imports from its own folder and from lower layers.

`__init__` is the public names; what stands above it uses them as a user would, with `import wengert as wg`.
"""

WITHIN_LAYER: dict[tuple[str, str], str] = {}
"""(importer, imported) of one layer, with the reason. One direction only."""

ONLY_IN: dict[str, tuple[tuple[str, ...], str]] = {
    "llvmlite": (("native",), "only `native` generates code"),
    "ctypes": (("native", "ops"), "only `native` calls foreign code; `ops` recognises C functions that users give"),
    "fast_sugiyama": (("view",), "only pictures need a layout"),
    "matplotlib": (("demo",), "only the demonstration draws curves"),
    "sklearn": (("demo",), "only the demonstration needs the data sets"),
    "rich": (("view", "demo", "cli"), "only what writes to a terminal needs it"),
    "scipy": (
        ("ops", "numpy", "transforms", "passes", "native", "solve", "random", "sparse", "demo"),
        "SciPy gives reference values, minimisers, BLAS, sparse matrices",
    ),
}
"""Modules from outside that only some folders may import, with the reason."""

INSIDE_FUNCTIONS: dict[tuple[str, str], str] = {
    ("view/place.py", "fast_sugiyama"): "optional, of the `pictures` extra; only SVG needs it",
    ("view/attach.py", "wengert"): "slow to import; loaded when the first picture is drawn",
    ("native/library.py", "scipy"): "slow to import; loaded with the first product that goes to BLAS",
    ("native/loader.py", "wengert"): "llvmlite is slow to import; loaded with the first program that is compiled",
    ("sparse/derivatives.py", "wengert"): "scipy.sparse is slow to import; loaded with the first pattern",
    ("ops/solve.py", "scipy"): "slow to import; loaded when SciPy is first needed",
    ("ops/special.py", "scipy"): "slow to import; loaded when SciPy is first needed",
    ("passes/mincut.py", "scipy"): "slow to import; loaded with the first cut",
    ("cli.py", "wengert"): "needs optional packages and seconds to import",
}
"""(file, module) imported inside a function, with the reason: an optional or slow dependency at its entry point."""


class Import(NamedTuple):
    """One import statement: who, what, and where it stands."""

    file: str  # path below src/wengert, "graph/nodes.py"
    module: str  # absolute name, "wengert.graph.types" or "numpy"
    line: int
    in_function: bool
    for_types: bool  # under `if TYPE_CHECKING`

    @property
    def importer(self) -> str:
        """The folder or file, as in LAYERS, that imports."""
        return unit(("wengert/" + self.file.removesuffix(".py")).split("/"))

    @property
    def imported(self) -> str | None:
        """The folder or file, as in LAYERS, that is imported; None for modules from outside."""
        parts = self.module.split(".")
        return unit(parts) if parts[0] == "wengert" else None

    def __str__(self) -> str:
        return f"src/wengert/{self.file}:{self.line} imports {self.module}"


def unit(parts: list[str]) -> str:
    return parts[1] if len(parts) > 1 else "__init__"


def exists(module: str) -> bool:
    """Whether a name below `wengert` is a module (and not an attribute of one)."""
    path = ROOT / "src" / Path(*module.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def read_imports(file: str, text: str) -> Iterator[Import]:
    """All imports of a file, relative ones resolved; calls of `import_module` and `__import__` count as well."""
    package = ["wengert", *Path(file).parts[:-1]]

    def modules(node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            # `from . import nodes` imports the module `nodes`; `from .nodes import Node` imports `nodes`.
            names = {f"{base}.{alias.name}" for alias in node.names}
            found = {name for name in names if name.startswith("wengert.") and exists(name)}
            yield from found
            if found != names:
                yield base
        elif isinstance(node, ast.Call) and node.args:
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", None)
            if called in {"import_module", "__import__"}:
                name = node.args[0]
                assert isinstance(name, ast.Constant), f"src/wengert/{file}:{node.lineno} imports a computed name"
                yield name.value

    def walk(node: ast.AST, in_function: bool, for_types: bool) -> Iterator[Import]:
        for module in modules(node):
            yield Import(file, module, getattr(node, "lineno", 0), in_function, for_types)
        in_function |= isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        typing = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for child in ast.iter_child_nodes(node):
            yield from walk(child, in_function, for_types or (typing and child in node.body))

    yield from walk(ast.parse(text), False, False)


FILES = {str(path.relative_to(PACKAGE)): path.read_text() for path in sorted(PACKAGE.rglob("*.py"))}
IMPORTS = [found for file, text in FILES.items() for found in read_imports(file, text)]
HEIGHT = {name: height for height, names in enumerate(LAYERS) for name in names}


def faults(imports: list[Import]) -> list[str]:
    """A sentence for each import that breaks a rule."""
    found = []
    for item in imports:
        importer, imported = item.importer, item.imported
        if imported is None:
            top = item.module.split(".")[0]
            if top in ONLY_IN and importer not in ONLY_IN[top][0]:
                allowed, reason = ONLY_IN[top]
                found.append(f"{item}, which only {', '.join(allowed)} may: {reason}")
        elif importer not in HEIGHT or imported not in HEIGHT:
            found.append(f"{item}, and {imported if importer in HEIGHT else importer} stands in no layer")
        elif HEIGHT[imported] > HEIGHT[importer]:
            found.append(f"{item}, of a higher layer: {importer} lies below {imported}")
        elif HEIGHT[imported] == HEIGHT[importer] and imported != importer and (importer, imported) not in WITHIN_LAYER:
            found.append(f"{item}, of the same layer: {importer} and {imported} do not know each other")
        if item.in_function and (item.file, item.module.split(".")[0]) not in INSIDE_FUNCTIONS:
            found.append(f"{item} inside a function, which is for optional dependencies at their one entry point")
    return found


def test_imports_follow_the_layers() -> None:
    assert not (found := faults(IMPORTS)), "\n" + "\n".join(found)


def test_no_module_imports_itself_in_a_circle() -> None:
    """Within a folder too, imports at module level have an order (those for type checkers only do not count)."""
    names = {}
    for file in FILES:
        name = "wengert." + file.removesuffix(".py").replace("/", ".")
        names[name.removesuffix(".__init__")] = file
    below = {
        file: {
            names[i.module]
            for i in IMPORTS
            if i.file == file and not i.in_function and not i.for_types and i.module in names
        }
        for file in FILES
    }
    while ready := [file for file, needed in below.items() if not needed & below.keys()]:
        for file in ready:
            del below[file]
    assert not below, f"these files import each other in a circle, or import files that do: {sorted(below)}"


@pytest.mark.parametrize("table", ["LAYERS", "WITHIN_LAYER", "INSIDE_FUNCTIONS"])
def test_no_exception_is_stale(table: str) -> None:
    if table == "LAYERS":
        assert {i.importer for i in IMPORTS} <= HEIGHT.keys()
        assert len(HEIGHT) == sum(map(len, LAYERS)), "a name stands in two layers"
    elif table == "WITHIN_LAYER":
        assert WITHIN_LAYER.keys() <= {(i.importer, i.imported) for i in IMPORTS}
        assert not {(b, a) for a, b in WITHIN_LAYER} & WITHIN_LAYER.keys(), "two folders need each other"
    else:
        assert INSIDE_FUNCTIONS.keys() <= {(i.file, i.module.split(".")[0]) for i in IMPORTS if i.in_function}


def test_dependencies_are_those_imported() -> None:
    """The distributions that pyproject.toml asks for are the modules that the package imports, no more and no less."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    asked = [*project["dependencies"], *extras["pictures"], *extras["demo"]]
    distributions = {re.match(r"[\w.-]+", item)[0] for item in asked}
    modules = {{"scikit-learn": "sklearn"}.get(name, name.replace("-", "_")) for name in distributions} - {"wengert"}
    outside = {i.module.split(".")[0] for i in IMPORTS if i.imported is None and not i.for_types}
    assert outside - sys.stdlib_module_names == modules


@pytest.mark.parametrize(
    ("file", "text", "fault"),
    [
        ("graph/nodes.py", "from ..ops import arithmetic", "higher layer"),
        ("graph/nodes.py", "from .. import ops", "higher layer"),
        ("graph/nodes.py", "import wengert.ops", "higher layer"),
        ("graph/nodes.py", "import wengert", "higher layer"),
        ("graph/nodes.py", "if TYPE_CHECKING:\n    from ..ops.families import Unary", "higher layer"),
        ("graph/nodes.py", "import llvmlite.binding", "only native may"),
        ("graph/nodes.py", "def f():\n    import json", "inside a function"),
        ("graph/nodes.py", "def f():\n    import_module('json')", "inside a function"),
        ("nn/dense.py", "from ..optim import adam", "same layer"),
        ("extra/new.py", "from ..graph import nodes", "stands in no layer"),
        ("graph/nodes.py", "from .types import ArrayType", None),
        ("ops/arithmetic.py", "from ..graph.types import ArrayType\nimport math", None),
        ("__init__.py", "from .graph.types import ArrayType", None),
    ],
)
def test_the_check_finds_faults(file: str, text: str, fault: str | None) -> None:
    found = faults(list(read_imports(file, text)))
    assert (found == []) if fault is None else (len(found) == 1 and fault in found[0])
