"""The cache on disk: what comes from it is what would be compiled, and nothing wrong ever comes from it."""

from __future__ import annotations

import os
import random
import stat
import subprocess
import sys
import time

import numpy
import pytest

import wengert as wg
import wengert.numpy as np
from wengert import cli
from wengert.graph.graph import Graph
from wengert.graph.primitive import registry
from wengert.native import cache, digest
from wengert.native.compiled import Compiled, Constant

posix = pytest.mark.skipif(not hasattr(os, "getuid"), reason="files have no owner here")


@pytest.fixture
def place(tmp_path, monkeypatch):
    folder = tmp_path / "programs"
    monkeypatch.setenv("WENGERT_CACHE", str(folder))
    return folder


TABLE = numpy.linspace(0, 1, 200)


def example(x, i):
    return np.sum(np.sin(x) * TABLE[:100]) + x[i], np.cbrt(x), x @ np.reshape(TABLE, (100, 2))


X = numpy.linspace(-1, 1, 100)


def program(fn=example, args=(X, 3)):
    lowered = wg.jit(fn).lower(*args)
    return lowered.program


def test_a_second_function_comes_from_the_cache(place):
    first = program()
    assert not first.cached
    assert len(cache.entries()) == 1
    f = wg.jit(example)
    second = f.lower(X, 3).program
    assert second.cached
    assert second.compiled.code == first.compiled.code
    assert "LLVM" not in second.times
    assert "lowering" not in second.times
    wanted = example(X, 3)
    for found in (f(X, 3), f(X, 3)):
        for a, b in zip(found, wanted, strict=True):
            numpy.testing.assert_allclose(a, b, rtol=1e-13)
    assert second.loops == first.loops
    assert second.llvm == first.llvm


def test_a_second_process_needs_no_compiler(place):
    code = """
import sys, numpy, wengert as wg, wengert.numpy as np
x = numpy.linspace(0, 1, 50)
f = wg.jit(wg.grad(lambda x: np.sum(np.sin(x) ** 2) + x[3]))
print(f(x)[7].hex(), f(x)[9].hex(), 'llvmlite' in sys.modules)
"""
    runs = []
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        found = subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment
        )
        runs.append(found.stdout.split())
    assert runs[0][:2] == runs[1][:2]
    assert runs[0][2] == "True"
    if sys.platform == "linux":
        assert runs[1][2] == "False"


def test_errors_and_callbacks_of_programs_from_the_cache(place, monkeypatch):
    monkeypatch.setattr(registry["cbrt"], "lowering", None)

    def fn(a, i):
        return np.cbrt(a)[i] * 2

    program(fn, (X, 1))
    f = wg.jit(fn)
    found = f.lower(X, 1).program
    assert found.cached
    assert found.callbacks == ["cbrt"]
    for _ in range(2):
        numpy.testing.assert_allclose(f(X, 1), numpy.cbrt(X[1]) * 2)
        with pytest.raises(wg.errors.IndexOutOfBoundsError, match="index 700") as caught:
            f(X, 700)
        assert caught.value.source.text == "return np.cbrt(a)[i] * 2"


def test_lowering_is_the_same_in_every_process():
    """What a cached program's error and callback numbers mean is found by lowering again."""
    code = """
import numpy, wengert as wg, wengert.numpy as np
def f(x, i):
    y = x * 1.0
    y[i] = np.sum(np.linalg.inv(np.outer(x, x) + np.eye(5)), axis=0)[i]
    y = wg.fori_loop(0, 3, lambda k, s: s + y[k] * np.sin(s), y)
    return wg.cond(y[0] > 0, lambda v: v[i] * 2, lambda v: np.cos(v[0]), y)
print(wg.jit(wg.grad(f)).lower(numpy.arange(5.0), 3).program.written.text)
"""
    found = {
        subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2", "3")
    }  # fmt: skip
    assert len(found) == 1


@pytest.mark.parametrize(
    "other",
    [
        lambda x, i: (np.sum(np.cos(x) * TABLE[:100]) + x[i], np.cbrt(x), x @ np.reshape(TABLE, (100, 2))),
        lambda x, i: (np.sum(np.sin(x) * TABLE[1:101]) + x[i], np.cbrt(x), x @ np.reshape(TABLE, (100, 2))),
        lambda x, i: (np.sum(np.sin(x) * TABLE[:100]) - x[i], np.cbrt(x), x @ np.reshape(TABLE, (100, 2))),
        lambda x, i: (np.sum(np.sin(x) * 1.0000001 * TABLE[:100]) + x[i], x, x @ np.reshape(TABLE, (100, 2))),
    ],
)
def test_another_program_is_another_entry(place, other):
    program()
    assert not program(other).cached
    assert len(cache.entries()) == 2


def test_what_the_digest_tells_apart():
    x = numpy.arange(4.0)
    programs = [
        (lambda x: np.sum(x, axis=0), x), (lambda x: np.sum(x, axis=0, keepdims=True), x),
        (lambda x: np.sum(x), numpy.arange(5.0)), (lambda x: np.sum(x), x.astype(numpy.float32)),
        (lambda x: x + 1, x), (lambda x: x + 1.0, x), (lambda x: x - 1, x), (lambda x: x + 2, x),
        (lambda x: x[1:], x), (lambda x: x[:-1], x), (lambda x: (x, x + 1), x), (lambda x: (x + 1, x), x),
        (lambda x: wg.fori_loop(0, 3, lambda k, s: s * 2, x), x),
        (lambda x: wg.fori_loop(0, 4, lambda k, s: s * 2, x), x),
        (lambda x: wg.fori_loop(0, 4, lambda k, s: s * 3, x), x),
        (lambda x: wg.cond(x[0] > 0, np.sin, np.cos, x), x), (lambda x: wg.cond(x[0] > 0, np.cos, np.sin, x), x),
        (lambda x: x * numpy.array([1.0, 2, 3, 4]), x), (lambda x: x * numpy.array([1.0, 2, 3, -4]), x),
        (lambda x: x + x, x), (lambda x: x * 0.0, x), (lambda x: x * -0.0, x), (lambda x: x * 2.0, 3.0),
        (lambda x: x * 2.0, numpy.float64(3.0)),
    ]  # fmt: skip
    found = [digest.digest_of(wg.trace(f, v)) for f, v in programs]
    assert None not in found
    assert len({key for key, _ in found}) == len(programs)
    again = [digest.digest_of(wg.trace(f, v)) for f, v in programs]
    assert [key for key, _ in again] == [key for key, _ in found]


def test_operations_from_elsewhere_are_known_by_their_code(place):
    from wengert.graph.primitive import registry
    from wengert.ops.families import elementwise

    def value(scale, shift=1.0):
        double = elementwise("cache_test_scaled", lambda x: x * scale, scale, doc="a multiple", samples=lambda rng: ())
        try:
            f = wg.jit(lambda x: double(x) + shift)
            assert digest.digest_of(f.lower(X).traced) is None
            return f(X)
        finally:
            registry.pop("cache_test_scaled")

    numpy.testing.assert_array_equal(value(2.0), X * 2 + 1)
    numpy.testing.assert_array_equal(value(3.0), X * 3 + 1)
    for shift in (numpy.sin(X), numpy.cos(X), numpy.sin(X)):  # the same text with other constants
        numpy.testing.assert_array_equal(value(2.0, shift), X * 2 + shift)


def test_large_constants_are_not_written_twice(place):
    big = numpy.random.default_rng(0).normal(size=200_000)
    fn = lambda x: np.sum(big * x)
    first = program(fn, (big,))
    (entry,) = cache.entries()
    assert entry.size < 50_000
    second = wg.jit(fn)
    assert second.lower(big).program.cached
    assert not first.cached
    numpy.testing.assert_allclose(second(big), numpy.sum(big * big))


def test_a_captured_array_is_a_constant():
    captured = numpy.arange(100.0)
    f = wg.jit(lambda x: x + captured)
    f(X)
    captured[:] = 0
    numpy.testing.assert_array_equal(f(X), X + numpy.arange(100.0))


def entry_file():
    (entry,) = cache.entries()
    return entry.path


def damage_truncated(path):
    path.write_bytes(path.read_bytes()[:-5])


def damage_empty(path):
    path.write_bytes(b"")


def damage_other_magic(path):
    path.write_bytes(b"x" + path.read_bytes()[1:])


def damage_one_bit(path):
    content = bytearray(path.read_bytes())
    content[random.Random(0).randrange(100, len(content))] ^= 4
    path.write_bytes(content)


def damage_renamed(path):
    """A sound file under the name of another program."""
    other = cache.pack(Compiled(b"\x7fELF other"), "0" * 64, [])
    path.write_bytes(other)


def damage_group_writable(path):
    path.chmod(0o664)


def damage_others_writable(path):
    path.chmod(0o602)


def damage_link(path):
    target = path.with_name("elsewhere")
    path.rename(target)
    path.symlink_to(target)


def damage_folder(path):
    path.unlink()
    path.mkdir()


def damage_unreadable(path):
    path.chmod(0)


DAMAGES = [value for name, value in sorted(globals().items()) if name.startswith("damage_")]


@posix
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda d: d.__name__)
def test_a_bad_entry_is_ignored_and_rebuilt(place, damage):
    program()
    path = entry_file()
    damage(path)
    if damage is damage_unreadable and os.getuid() == 0:
        pytest.skip("root reads everything")
    f = wg.jit(example)
    again = f.lower(X, 3).program
    assert not again.cached
    numpy.testing.assert_allclose(f(X, 3)[0], example(X, 3)[0])
    if damage is not damage_folder:  # a folder in the way cannot be replaced
        assert program().cached


@posix
def test_an_entry_of_another_user_is_ignored(place, monkeypatch):
    program()
    monkeypatch.setattr(os, "getuid", lambda: 123456)
    assert not program().cached


@posix
def test_a_folder_that_others_may_write_to_is_not_used(place, capsys):
    program()
    place.chmod(0o777)
    assert not program().cached
    assert cli.main(["cache"]) == 1
    assert "chmod go-w" in capsys.readouterr().out
    place.chmod(0o700)
    assert program().cached


@posix
def test_files_are_private(place):
    program()
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert stat.S_IMODE(entry_file().stat().st_mode) == 0o600


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setenv("WENGERT_CACHE", str(tmp_path / "here"))
    assert cache.folder() == tmp_path / "here"
    for off in ("off", "0", " ", ""):
        monkeypatch.setenv("WENGERT_CACHE", off)
        assert cache.folder() is None
    assert not program().cached
    assert not program().cached
    monkeypatch.delenv("WENGERT_CACHE")
    if sys.platform != "win32":
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        assert cache.folder() == tmp_path / "xdg" / "wengert"
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setenv("HOME", str(tmp_path))
        assert cache.folder() == tmp_path / ".cache" / "wengert"


def test_a_folder_that_cannot_be_made(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("WENGERT_CACHE", str(tmp_path / "file" / "programs"))
    f = wg.jit(example)
    numpy.testing.assert_allclose(f(X, 3)[0], example(X, 3)[0])


def test_the_size_is_limited(place, monkeypatch):
    monkeypatch.setenv("WENGERT_CACHE_SIZE", "0.1")
    now = time.time()
    for k in range(12):
        assert cache.store(f"{k:064x}", Compiled(bytes(15_000)))
        path = place / f"{k:064x}.program"
        if path.exists():
            os.utime(path, (now - 1000 + k, now - 1000 + k))
    assert sum(entry.size for entry in cache.entries()) <= 100_000
    kept = {entry.path.stem for entry in cache.entries()}
    assert f"{11:064x}" in kept
    assert f"{0:064x}" not in kept
    assert not cache.store("f" * 64, Compiled(bytes(200_000)))
    monkeypatch.setenv("WENGERT_CACHE_SIZE", "much")
    assert cache.limit() == cache.LIMIT * 1_000_000


def test_use_keeps_an_entry(place, monkeypatch):
    monkeypatch.setenv("WENGERT_CACHE_SIZE", "0.1")
    old = time.time() - 1000
    for k in range(5):
        cache.store(f"{k:064x}", Compiled(bytes(15_000)))
        os.utime(place / f"{k:064x}.program", (old + k, old + k))
    assert cache.load(f"{0:064x}") is not None
    for k in range(5, 8):
        cache.store(f"{k:064x}", Compiled(bytes(15_000)))
    kept = {entry.path.stem for entry in cache.entries()}
    assert f"{0:064x}" in kept
    assert f"{1:064x}" not in kept


def test_what_is_packed_comes_out(place):
    array = numpy.arange(5, dtype=numpy.int16)
    table = (Constant.of(array), "dgemm", Constant(numpy.array([1.5 + 2j]), None), "python")
    program = Compiled(b"code", table, 4096, ("inv",), True, "abc")
    found = cache.unpack(cache.pack(program, "key", [array]), "key", [array])
    assert found._replace(table=()) == program._replace(table=())
    numpy.testing.assert_array_equal(found.table[0].array, array)
    numpy.testing.assert_array_equal(found.table[2].array, [1.5 + 2j])
    assert found.table[2].array.dtype == complex
    assert found.table[1::2] == ("dgemm", "python")
    with pytest.raises(cache.Damaged):
        cache.unpack(cache.pack(program, "key", [array]), "other", [array])
    with pytest.raises(cache.Damaged):
        cache.unpack(cache.pack(program, "key", [array]), "key", [])


def test_processes_do_not_disturb_each_other(place):
    code = """
import numpy, wengert as wg, wengert.numpy as np
x = numpy.linspace(0, 1, 30)
for k in range(4):
    f = wg.jit(lambda x: np.sum(np.sin(x * k) ** 2))
    assert abs(f(x) - numpy.sum(numpy.sin(x * k) ** 2)) < 1e-12
"""
    running = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(4)]
    assert [process.wait() for process in running] == [0] * 4
    assert not [entry for entry in cache.entries() if entry.path.name.startswith(".new-")]
    assert len(cache.entries()) >= 5  # with the native call itself


def test_another_environment_finds_nothing(place, monkeypatch):
    facts = {"processor": "one", "files": "some"}
    for name in facts:
        monkeypatch.setattr(digest, name, lambda *_, name=name: facts[name])
    digest.environment.cache_clear()
    program()
    for name, usual in list(facts.items()):
        facts[name] = "another"
        digest.environment.cache_clear()
        assert not program().cached
        facts[name] = usual
        digest.environment.cache_clear()
        assert program().cached
    monkeypatch.undo()
    digest.environment.cache_clear()


def test_what_cannot_be_told_of_an_installation(tmp_path):
    assert digest.version("no-such-package-anywhere") == ""
    assert digest.version("numpy") == numpy.__version__
    assert digest.files(tmp_path / "archive.zip") == []


def test_processor_elsewhere():
    def fails():
        raise OSError

    assert digest.processor(fails)
    assert digest.processor(lambda: "flags: a b\nbogomips: 3") == digest.processor(lambda: "flags: a b\nbogomips: 4")
    assert digest.processor(lambda: "flags: a b") != digest.processor(lambda: "flags: a")


def test_the_command(place, capsys, monkeypatch):
    assert cli.main(["cache"]) == 0
    assert "programs: 0" in capsys.readouterr().out
    program()
    assert cli.main(["cache", "show"]) == 0
    out = capsys.readouterr().out
    assert str(place) in out
    assert "programs: 1" in out
    assert cli.main(["cache", "clear"]) == 0
    assert "removed 1" in capsys.readouterr().out
    assert not cache.entries()
    assert not program().cached
    monkeypatch.setenv("WENGERT_CACHE", "")
    assert cli.main(["cache"]) == 0
    assert "turned off" in capsys.readouterr().out


def test_unknown_values_have_no_digest():
    graph = wg.trace(lambda x: x * numpy.arange(3.0), X[:3])
    node = graph.nodes[0]
    dropped = node.replace(
        tuple(wg.Const(None, a.type) if isinstance(a, wg.Const) else a for a in node.inputs), node.outputs
    )
    assert digest.digest_of(graph) is not None
    assert digest.digest_of(Graph(graph.inputs, [dropped], graph.outputs)) is None
