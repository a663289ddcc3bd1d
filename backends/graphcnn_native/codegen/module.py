"""From a program to code: modules of LLVM IR, and what each kernel became."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from graphcnn.phases import phase
from graphcnn_native.codegen.emitters import written
from graphcnn_native.codegen.function import Function
from graphcnn_native.codegen.shares import most_parts, share
from graphcnn_native.codegen.step import WrittenKernel, step, tables
from graphcnn_native.lowering.layout import Layout, shared
from graphcnn_native.lowering.program import Domain, Program
from graphcnn_native.target import Target

SMALL = 160
"""Lines of a function that LLVM compiles in a few milliseconds, a module in one and a half more."""
SHARED = 4
"""So many modules are shared by all small functions."""


@dataclass(frozen=True)
class Code:
    """Modules of LLVM IR, and the kernels in the program's order.

    The first has `step(context)`, the same for all programs, the next its tables, the others the functions
    of kernels. What a module of these holds depends on the functions alone, so that it serves other programs.
    """

    modules: tuple[str, ...]
    kernels: tuple[WrittenKernel, ...]

    def __str__(self) -> str:
        return "\n".join(self.modules)


def generate(program: Program, target: Target) -> Code:
    """Return the code of a program. Kernels that differ in nothing but their places have one function."""
    with phase("generate"):
        return _generated(program, target)


def _generated(program: Program, target: Target) -> Code:
    layouts = [Layout(program, kernel) for kernel in program.kernels]
    functions: dict[str, Function] = {}
    kernels: list[WrittenKernel] = []
    for kernel, layout, first in zip(program.kernels, layouts, shared(layouts), strict=True):
        if first == kernel.number:
            writer = written(program, kernel, layout, target)
            functions.setdefault(writer.f.name, writer.f)
            name, tile = writer.f.name, writer.tile
            cut = share(writer) if kernel.domain is Domain.WHOLE else None
            parts = most_parts(writer)
        else:
            name, tile, cut = kernels[first].function, kernels[first].tile, kernels[first].share
            parts = kernels[first].most_parts
        kernels.append(WrittenKernel(kernel, name, tile, tuple(layout.places(program, kernel)), cut, parts))
    texts = [step(target), tables(program, kernels), *map(_text, _together(functions))]
    return Code(tuple(f'target triple = "{target.triple}"\n{text}' for text in texts), tuple(kernels))


def _together(functions: Mapping[str, Function]) -> list[list[Function]]:
    """Return what makes up each module: one function, or the small ones to whose code the same number falls.

    So a small function that only one of two programs has lets them share most of the other modules.
    """
    modules: dict[Hashable, list[Function]] = {}
    for name in sorted(functions):
        function = functions[name]
        where = name if function.length >= SMALL else int(name[-1], 16) % SHARED
        modules.setdefault(where, []).append(function)
    return list(modules.values())


def _text(functions: Sequence[Function]) -> str:
    declarations = {line for function in functions for line in function.declarations}
    return "\n".join([*sorted(declarations), *map(str, functions)])
