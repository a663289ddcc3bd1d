"""From a program to code: modules of LLVM IR, and what each kernel became."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphcnn.phases import phase
from graphcnn_native.codegen.emitters import written
from graphcnn_native.codegen.function import Function
from graphcnn_native.codegen.shares import most_parts, share
from graphcnn_native.codegen.step import WrittenKernel, step
from graphcnn_native.lowering.layout import Layout, shared
from graphcnn_native.lowering.program import Domain, Program
from graphcnn_native.target import Target

MODULES = 6
"""So many modules share the kernels, to be compiled at the same time."""


@dataclass(frozen=True)
class Code:
    """Modules of LLVM IR, of which the first has `step(context)`, and the kernels in the program's order."""

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
    functions: list[Function] = []
    kernels: list[WrittenKernel] = []
    for kernel, layout, first in zip(program.kernels, layouts, shared(layouts), strict=True):
        if first == kernel.number:
            writer = written(program, kernel, layout, target)
            functions.append(writer.f)
            name, tile = writer.f.name, writer.tile
            cut = share(writer) if kernel.domain is Domain.WHOLE else None
            parts = most_parts(writer)
        else:
            name, tile, cut = kernels[first].function, kernels[first].tile, kernels[first].share
            parts = kernels[first].most_parts
        kernels.append(WrittenKernel(kernel, name, tile, tuple(layout.places(program, kernel)), cut, parts))
    main = f'target triple = "{target.triple}"\n{step(program, kernels, target)}'
    modules = (main, *(_module(target, part) for part in _parts(functions)))
    return Code(modules, tuple(kernels))


def _module(target: Target, functions: Sequence[Function]) -> str:
    declarations = sorted({line for function in functions for line in function.declarations})
    return "\n".join([f'target triple = "{target.triple}"', *declarations, *map(str, functions)])


def _parts(functions: Sequence[Function]) -> list[list[Function]]:
    """Deal functions out to a few modules of about the same length."""
    parts: list[list[Function]] = [[] for _ in range(min(MODULES, len(functions)))]
    lengths = [0] * len(parts)
    for function in sorted(functions, key=lambda f: (-f.length, f.name)):
        shortest = lengths.index(min(lengths))
        parts[shortest].append(function)
        lengths[shortest] += function.length
    return parts
