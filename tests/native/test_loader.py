"""Our own loader of object files against LLVM's."""

from __future__ import annotations

import ctypes
import gc
import platform
import sys

import pytest

from wengert.native import engine, loader

known_system = pytest.mark.skipif(
    not (sys.platform == "linux" and platform.machine() == "x86_64"), reason="LLVM's loader is used on this system"
)

PROGRAM = """
@table = global [3 x ptr] zeroinitializer
@squares = internal constant [4 x double] [double 0.0, double 1.0, double 4.0, double 9.0]
@count = internal global i64 40
@names = internal constant [2 x ptr] [ptr @one, ptr @two]
declare double @cbrt(double)
declare double @pow(double, double)
define internal double @one(double %x) noinline {
  %y = call double @cbrt(double %x)
  ret double %y
}
define internal double @two(double %x) noinline {
  %y = call double @pow(double %x, double 3.5)
  ret double %y
}
define double @run(i64 %k, double %x) {
  switch i64 %k, label %table [ i64 0, label %a i64 1, label %b i64 2, label %c i64 3, label %d i64 4, label %e ]
a:
  %name = load ptr, ptr @names
  %va = call double %name(double %x)
  ret double %va
b:
  %vb = call double @two(double %x)
  ret double %vb
c:
  %at = getelementptr [4 x double], ptr @squares, i64 0, i64 3
  %vc = load volatile double, ptr %at
  ret double %vc
d:
  %before = load i64, ptr @count
  %after = add i64 %before, 1
  store i64 %after, ptr @count
  %vd = sitofp i64 %after to double
  ret double %vd
e:
  ret double 0x400921FB54442D18
table:
  %place = getelementptr ptr, ptr @table, i64 2
  %p = load ptr, ptr %place
  %vt = load double, ptr %p
  ret double %vt
}
"""


def results(address, table):
    number = ctypes.c_double(6.5)
    (ctypes.c_void_p * 3).from_address(table)[2] = ctypes.addressof(number)
    run = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_int64, ctypes.c_double)(address)
    return [run(k, 8.0) for k in (0, 1, 2, 3, 3, 4, 9)]


@known_system
def test_agrees_with_llvm():
    code = engine.compile(PROGRAM)
    image = loader.Image(code)
    address, table, keeper = engine.load(code)
    assert results(image.symbols["run"], image.symbols["table"]) == results(address, table)
    assert results(image.symbols["run"], image.symbols["table"])[-1] == 6.5
    assert keeper is not None


@known_system
def test_every_program_has_its_own_memory():
    code = engine.compile(PROGRAM)
    first, second = loader.Image(code), loader.Image(code)
    assert results(first.symbols["run"], first.symbols["table"])[3:5] == [41.0, 42.0]
    assert results(second.symbols["run"], second.symbols["table"])[3:5] == [41.0, 42.0]


@known_system
def test_memory_is_given_back():
    code = engine.compile(PROGRAM)

    def mapped():
        gc.collect()
        with open("/proc/self/maps") as maps:
            return sum(1 for _ in maps)

    images = [loader.Image(code) for _ in range(3)]
    before = mapped()
    images += [loader.Image(code) for _ in range(50)]
    del images[3:]
    assert mapped() < before + 20


@pytest.mark.parametrize("change", ["empty", "other", "cut", "unknown function"])
def test_what_it_does_not_know(change):
    code = engine.compile(PROGRAM)
    if change == "empty":
        code = b""
    elif change == "other":
        code = b"\xcf\xfa\xed\xfe" + code[4:]
    elif change == "cut":
        code = code[: len(code) // 2]
    else:
        code = code.replace(b"cbrt\0", b"cbrx\0")
    with pytest.raises(loader.Unloadable):
        loader.Image(code)


def test_llvm_loads_what_this_cannot(monkeypatch):
    monkeypatch.setattr(loader.sys, "platform", "other")
    code = loader.Code(engine.compile(PROGRAM))
    assert results(code.address, code.table)[2] == 9.0
