"""What Numba makes of a user's function, reduced to what kernels need: straight code, or a function to call.

Numba's function reports exceptions by its status. One that returns the number itself is wrapped around it,
all is inlined, and what remains is read step by step, so that kernels can write it for vectors.
"""

from __future__ import annotations

import functools
import hashlib
import re
from dataclasses import dataclass
from typing import Any

import llvmlite.binding as llvm

from graphcnn.errors import FunctionError
from graphcnn.ir import DType
from graphcnn.scalar import ScalarFunction
from graphcnn.scalar_compiler import llvm_ir
from graphcnn_native.codegen.function import Ssa
from graphcnn_native.elements import ITEMS

BINARY = frozenset({"fadd", "fsub", "fmul", "fdiv", "frem"}) | {"add", "sub", "mul", "and", "or", "xor"} | {
    "shl", "lshr", "ashr"}  # fmt: skip
UNARY = frozenset({"fneg", "freeze"})
CASTS = frozenset(
    {"fpext", "fptrunc", "sitofp", "uitofp", "fptosi", "fptoui", "sext", "zext", "trunc", "bitcast"}
)
COMPARISONS = frozenset({"fcmp", "icmp"})
OTHERS = frozenset({"select", "phi", "call"})
STRAIGHT = BINARY | UNARY | CASTS | COMPARISONS | OTHERS
"""Instructions that can be done for all lanes at once, where a branch does not choose them too: they neither
trap nor touch memory. Integer division is not among them, for it traps."""

FLOATS = frozenset({"float", "double"})
NUMBERS = FLOATS | {"i1", "i8", "i16", "i32", "i64"}
INTRINSIC = re.compile(r"llvm\.([a-z0-9.]+)\.[fi]\d+")
RAISED = "graphcnn_raised"
SCALAR = "graphcnn_scalar"


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction on numbers. Operands are literals, or names of arguments and of earlier results.

    detail: of a comparison its predicate, of a call the function, of a `phi` its block. sources: for each
    operand of a `phi`, the block that it comes from.
    """

    result: Ssa
    opcode: str
    operands: tuple[Ssa, ...]
    detail: str = ""
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Edge:
    """The way from one block to another. It is taken where the condition holds, or if negated does not."""

    source: str
    target: str
    condition: Ssa | None = None
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Straight:
    """A function without loops: its steps in an order in which all can be done, and the value it returns."""

    steps: tuple[Step, ...]
    edges: tuple[Edge, ...]
    result: Ssa


@dataclass(frozen=True, slots=True)
class ScalarCode:
    """A user's function for one type of number.

    definition: of the LLVM function `name`, `T (T, T, ...)`. calls: result, name and parameters of what it
    calls. straight: the same without calling it, where it is simple enough.
    """

    name: str
    arguments: tuple[Ssa, ...]
    definition: str
    calls: tuple[tuple[str, str, tuple[str, ...]], ...]
    straight: Straight | None


@functools.cache
def scalar_code(function: ScalarFunction, dtype: DType) -> ScalarCode:
    """Return the code of a function for one type.

    Raises FunctionError where Numba cannot compile it, or it does more than compute a number.
    """
    text, name = llvm_ir(function, dtype)
    with llvm.create_context() as context, llvm.parse_assembly(text, context) as module:
        _wrap(module, context, name, ITEMS[dtype], len(function.arguments))
        _optimize(module)
        scalar = module.get_function(SCALAR)
        _require_pure(module, function)
        _rename(scalar)
        arguments = tuple(_operand(argument) for argument in scalar.arguments)
        name, definition = _definition(module)
        calls = tuple(_declared(each) for each in module.functions if each.is_declaration)
        return ScalarCode(name, arguments, definition, calls, _straight(scalar))


def _wrap(module: Any, context: Any, name: str, item: str, arguments: int) -> None:
    """Add the function that returns the number itself, and make all others its own."""
    parameters = ", ".join(f"{item} %x{number}" for number in range(arguments))
    wrapper = llvm.parse_assembly(
        f"""
declare void @{RAISED}()
declare i32 @{name}(ptr, ptr, {", ".join([item] * arguments)})

define {item} @{SCALAR}({parameters}) {{
  %place = alloca {item}
  %exception = alloca ptr
  %status = call i32 @{name}(ptr %place, ptr %exception, {parameters})
  %fine = icmp eq i32 %status, 0
  br i1 %fine, label %done, label %raised
raised:
  call void @{RAISED}()
  unreachable
done:
  %number = load {item}, ptr %place
  ret {item} %number
}}
""",
        context,
    )
    wrapper.triple, wrapper.data_layout = module.triple, module.data_layout
    module.link_in(wrapper)
    for function in module.functions:
        if not function.is_declaration and function.name != SCALAR:
            function.linkage = llvm.Linkage.internal
            if b"noinline" not in list(function.attributes):
                function.add_function_attribute("alwaysinline")
    for variable in module.global_variables:
        if not variable.is_declaration:
            variable.linkage = llvm.Linkage.internal


def _optimize(module: Any) -> None:
    machine = llvm.Target.from_triple(module.triple).create_target_machine()
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization = options.slp_vectorization = False
    passes = llvm.create_pass_builder(machine, options)
    passes.getModulePassManager().run(module, passes)


def _require_pure(module: Any, function: ScalarFunction) -> None:
    """Raise FunctionError unless all that the function calls takes and gives numbers."""
    called = {each.name: str(each.global_value_type) for each in module.functions if each.is_declaration}
    effects = [name for name, type in called.items() if type.startswith(("void", "ptr"))]
    effects = [name for name in effects if not name.startswith("llvm.")]
    if not effects:
        return
    if any(name.startswith("NRT_") for name in effects):
        problem = "it makes a list, an array or another object, which takes memory"
    elif effects != [RAISED]:
        problem = "it prints, or does something else than compute a number"
    else:
        problem = "it can raise an exception, and there is nobody to raise it to"
    raise FunctionError(
        problem,
        mend='return a number in every case, NaN if need be; backend="numpy" runs it as it is',
    ).located(layer=function.name, file=function.file, line=function.line)


def _rename(scalar: Any) -> None:
    """Number blocks and values: Numba's names differ from process to process."""
    for number, argument in enumerate(scalar.arguments):
        argument.name = f"x{number}"
    count = 0
    for block in scalar.blocks:
        block.name = f"b{count}"
        count += 1
        for step in block.instructions:
            if str(step.type) != "void":
                step.name = f"v{count}"
                count += 1


def _definition(module: Any) -> tuple[str, str]:
    """Return the name and the text of the function, with all that it needs, under names of its own."""
    others = ("declare ", "attributes ", "source_filename ", "target ", "!", ";")
    lines = [line for line in str(module).splitlines() if line and not line.startswith(others)]
    text = re.sub(r", ![\w.]+ !\d+", "", "\n".join(lines))
    text = re.sub(r" #\d+", "", text)
    text = re.sub(r" *; preds = .*", "", text)
    text = re.sub(rf"^define (?=.*@{SCALAR}\()", "define internal ", text, flags=re.MULTILINE)
    own = re.findall(r'^@([\w.$-]+|"[^"]*") =|^define [^@]*@([\w.$-]+|"[^"]*")\(', text, re.MULTILINE)
    names = dict.fromkeys(variable or defined for variable, defined in own)
    for number, name in enumerate(name for name in names if name != SCALAR):
        text = re.sub(rf"@{re.escape(name)}(?![\w.$-])", f"@{SCALAR}.{number}", text)
    unique = f"user_{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    return unique, text.replace(f"@{SCALAR}", f"@{unique}") + "\n"


def _declared(function: Any) -> tuple[str, str, tuple[str, ...]]:
    result, _, parameters = str(function.global_value_type).partition(" (")
    return result, function.name, tuple(filter(None, parameters.rstrip(")").split(", ")))


# Straight code


def _straight(scalar: Any) -> Straight | None:
    """Return a function as straight code, or None if it has loops or does what lanes cannot do together."""
    blocks = {block.name: list(block.instructions) for block in scalar.blocks}
    edges = [edge for name, steps in blocks.items() for edge in _edges(name, steps[-1])]
    order = _in_order(list(blocks), edges)
    returned = [steps[-1] for steps in blocks.values() if steps[-1].opcode == "ret"]
    ends = {steps[-1].opcode for steps in blocks.values()}
    has_twins = len({(edge.source, edge.target) for edge in edges}) < len(edges)
    if order is None or has_twins or len(returned) != 1 or not ends <= {"ret", "br"}:
        return None
    steps = [_step(name, step) for name in order for step in blocks[name][:-1]]
    known = [step for step in steps if step is not None]
    if len(known) < len(steps):
        return None
    return Straight(tuple(known), tuple(edges), _operand(next(returned[0].operands)))


def _edges(source: str, branch: Any) -> list[Edge]:
    if branch.opcode != "br":
        return []
    targets = re.findall(r"label %(\w+)", str(branch))
    if len(targets) == 1:
        return [Edge(source, targets[0])]
    condition = _operand(next(branch.operands))
    return [Edge(source, targets[0], condition), Edge(source, targets[1], condition, negated=True)]


def _in_order(names: list[str], edges: list[Edge]) -> list[str] | None:
    """Return the blocks so that each comes after all that lead to it; None where there is a loop."""
    order: list[str] = []
    while len(order) < len(names):
        waiting = {edge.target for edge in edges if edge.source not in order}
        ready = [name for name in names if name not in order and name not in waiting]
        if not ready:
            return None
        order.append(ready[0])
    return order


def _step(block: str, instruction: Any) -> Step | None:
    """Return an instruction as a step, or None if it is none that lanes can do together."""
    text, opcode = str(instruction), instruction.opcode
    operands = tuple(_operand(operand) for operand in instruction.operands)
    result = Ssa(str(instruction.type), f"%{instruction.name}")
    detail, sources = "", ()
    if opcode in COMPARISONS:
        words = text.partition(f" {opcode} ")[2].split()
        detail = words[words.index(operands[0].type) - 1]
    elif opcode == "phi":
        detail, sources = block, tuple(each.name for each in instruction.incoming_blocks)
    elif opcode == "call":
        detail, operands = [*instruction.operands][-1].name, operands[:-1]
    fits = {result.type, *(operand.type for operand in operands)} <= NUMBERS
    if opcode not in STRAIGHT or not fits or (opcode == "call" and not _is_by_lane(detail, result, operands)):
        return None
    return Step(result, opcode, operands, detail, sources)


def _is_by_lane(name: str, result: Ssa, operands: tuple[Ssa, ...]) -> bool:
    """Whether a called function has a vector form, or takes and gives floating-point numbers alone."""
    types = {result.type, *(operand.type for operand in operands)}
    if name.startswith("llvm."):
        return INTRINSIC.fullmatch(name) is not None and len(types) == 1
    return types <= FLOATS


def _operand(value: Any) -> Ssa:
    if value.is_function:
        return Ssa("ptr", f"@{value.name}")
    if value.is_constant:
        return Ssa(*str(value).split(" ", 1))
    return Ssa(str(value.type), f"%{value.name}")
