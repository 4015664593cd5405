"""LLVM itself: optimise a module's text and turn it into machine code. Importing this imports llvmlite."""

from __future__ import annotations

import functools
from typing import Any

import llvmlite.binding as llvm

from .mathematics_rescue import definitions

SHORT = 600
"""Lines of the longest function up to which straight-line code is searched for vectors. That doubles LLVM's time, and
what it finds is the products of tiny matrices."""
LOOPS = 24
"""Loops in a module beyond which they are not unrolled. They are vectorised all the same."""
MEDIUM = 2500
LARGE = 8000
"""Lines of the longest function beyond which everything is optimised less, and less still, so that compiling stays
quick."""


@functools.cache
def start() -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()


def processor() -> str:
    """What machine code is made for."""
    return f"{llvm.get_default_triple()} {llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()}"


def machine(level: int = 2) -> Any:
    """A code generator for this processor; an engine owns the one that it is given."""
    start()
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=level,
        reloc="pic", codemodel="small",  # what is near is found relative to the code, which can then be anywhere
    )  # fmt: skip


def optimised(text: str) -> tuple[Any, Any]:
    """The code generator and the module after LLVM's own passes, for a module given as text."""
    lines = max((part.count("\n") for part in text.split("\ndefine ")), default=0)
    level = 1 if lines > LARGE else 2 if lines > MEDIUM else 3
    target = machine(min(level, 2))
    module = llvm.parse_assembly(text)
    options = llvm.create_pipeline_tuning_options(speed_level=level)
    options.loop_vectorization = lines <= LARGE
    options.slp_vectorization = lines <= SHORT
    options.loop_unrolling = text.count(" = phi ") <= LOOPS
    builder = llvm.create_pass_builder(target, options)
    builder.getModulePassManager().run(module, builder)
    late = definitions(text)
    if late:
        module.link_in(llvm.parse_assembly(late))
        passes = llvm.create_new_module_pass_manager()
        passes.add_always_inliner_pass()
        passes.run(module, builder)
    return target, module


def compile(text: str, quickly: bool = False) -> bytes:
    """The object file of a module given as LLVM text; `quickly` without optimisation, for code that needs none."""
    if quickly:
        target, module = machine(0), llvm.parse_assembly(text)
        builder = llvm.create_pass_builder(target, llvm.create_pipeline_tuning_options(speed_level=0))
        builder.getModulePassManager().run(module, builder)
        return target.emit_object(module)  # type: ignore[no-any-return]
    target, module = optimised(text)
    return target.emit_object(module)  # type: ignore[no-any-return]


def assembly(text: str) -> str:
    """The instructions that a module becomes, for people to read."""
    target, module = optimised(text)
    return target.emit_assembly(module)  # type: ignore[no-any-return]


def load(code: bytes) -> tuple[int, int, Any]:
    """Where an object file's function `run` and its table are in memory, and what keeps them there."""
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine())
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return engine.get_function_address("run"), engine.get_global_value_address("table"), engine
