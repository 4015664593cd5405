import subprocess
import sys

import pytest

import wengert
from wengert import cli
from wengert.demo import run


def test_version(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"wengert {wengert.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "COMMAND"),
        (["fly"], "invalid choice: 'fly'"),
        (["demo", "--seed", "-1"], "-1 is negative"),
        (["demo", "--seed", "one"], "invalid"),
        (["demo", "--only", "weather"], "invalid choice: 'weather'"),
        (["demo", "--out"], "expected one argument"),
    ],
)
def test_wrong_calls_are_told_so(arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_arguments_reach_the_demo(monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr(run, "demo", lambda *given: calls.append(given))
    assert cli.main(["demo", "--out", str(tmp_path), "--quick", "--seed", "5", "--only", "digits"]) == 0
    assert cli.main(["demo"]) == 0
    assert calls[0] == (tmp_path, True, 5, ("digits",))
    assert calls[1][1:] == (False, 0, run.PARTS)


@pytest.mark.parametrize("module", cli.OPTIONAL)
def test_a_missing_extra_is_named_with_the_repair(module, monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, module, None)
    assert cli.main(["demo", "--out", str(tmp_path / "report")]) == 1
    error = capsys.readouterr().err
    assert cli.OPTIONAL[module] in error and "pip install 'wengert[demo]'" in error
    assert not (tmp_path / "report").exists()


def test_a_folder_that_cannot_be_made_is_told(tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert cli.main(["demo", "--quick", "--out", str(tmp_path / "file")]) == 1
    error = capsys.readouterr().err
    assert "cannot write its report" in error and str(tmp_path / "file") in error


def test_the_command_line_alone_imports_nothing_heavy():
    program = (
        "import sys, wengert.cli; print([name for name in ('matplotlib', 'sklearn', 'scipy', 'rich') "
        "if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
