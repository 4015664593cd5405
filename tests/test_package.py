"""The package as it is installed: metadata, what importing it loads, what a wheel holds."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import entry_points, metadata
from pathlib import Path

import pytest

import wengert

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

SLOW_TO_IMPORT = {"scipy", "fast_sugiyama", "llvmlite", "matplotlib", "rich", "sklearn"}


def test_version_is_the_same_everywhere() -> None:
    assert wengert.__version__ == metadata("wengert")["Version"] == PROJECT["project"]["version"]


def test_command_is_installed() -> None:
    (command,) = entry_points(group="console_scripts", name="wengert")
    assert callable(command.load())


def test_import_loads_nothing_slow() -> None:
    """SciPy and the rest are imported when first used, so that `import wengert` costs little."""
    code = "import sys, wengert; print(*{name.partition('.')[0] for name in sys.modules})"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "optree" in output.split()
    assert not SLOW_TO_IMPORT & set(output.split())


def test_tool_versions_agree() -> None:
    """pre-commit runs the linters that the `dev` extra installs."""
    pinned = {item for item in PROJECT["project"]["optional-dependencies"]["dev"] if "==" in item}
    hooks = set(re.findall(r'"([\w-]+==[^"]+)"', (ROOT / ".pre-commit-config.yaml").read_text()))
    assert hooks == pinned


@pytest.mark.slow
def test_wheel_holds_every_file(tmp_path: Path) -> None:
    wheels = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir"]
    subprocess.run([*wheels, tmp_path, ROOT], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    git = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "src"]
    listed = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(listed) > 10
    assert {name.removeprefix("src/") for name in listed} <= held
    assert any(name.endswith("licenses/LICENSE") for name in held)
