"""Philox4x32-10 on the lanes of a vector: random numbers that any thread can compute alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphcnn.ir import Value
from graphcnn.ops import RandomNormal
from graphcnn_native.codegen.function import INDEX, Function, Ssa, constant, vector
from graphcnn_native.elements import ITEMS
from graphcnn_native.kernels.normal import normal_quantile

if TYPE_CHECKING:
    from graphcnn_native.kernels.writer import Position, Writer

ROUNDS = 10
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
WORD = 0xFFFFFFFF


def random_number(writer: Writer, value: Value, operands: tuple[Value, ...], position: Position) -> Ssa:
    """Return numbers drawn for the elements at a position, or (result 1) the generator's next state."""
    from graphcnn_native.kernels.writer import Position

    f, state = writer.f, operands[0]
    if value.index == 1:
        numbers = writer.value(state, position)
        first = f.counting(position.indices[-1], position.lanes)
        is_counter = f.compare("eq", first, constant(first.type, 1))
        return f.binary("add", numbers, f.convert("zext", is_counter, INDEX))
    seed, counter = (writer.value(state, Position((which,))) for which in (0, 1))
    element = f.counting(writer.offset(value.type, position.indices), position.lanes)
    word = _first_word(f, element, counter, seed, position.lanes)
    item = ITEMS[value.type.dtype]
    if isinstance(writer.graph.node(value.key).op, RandomNormal):
        return f.convert("fptrunc", normal_quantile(f, word), item)
    upper = f.binary("lshr", word, constant(word.type, 8))
    type = vector(item, position.lanes)
    return f.binary("fmul", f.convert("sitofp", upper, item), constant(type, 2.0**-24))


def _first_word(f: Function, element: Ssa, counter: Ssa, seed: Ssa, lanes: int) -> Ssa:
    mask = constant(vector(INDEX, lanes), WORD)
    half = constant(vector(INDEX, lanes), 32)

    def low(x: Ssa) -> Ssa:
        return f.binary("and", x, mask)

    def high(x: Ssa) -> Ssa:
        return f.binary("lshr", x, half)

    def spread(x: Ssa) -> Ssa:
        return f.splat(x, lanes)

    words = [low(element), high(element), low(spread(counter)), high(spread(counter))]
    keys = [low(spread(seed)), high(spread(seed))]
    for _ in range(ROUNDS):
        left, right = (f.binary("mul", words[2 * n], constant(words[0].type, MULTIPLIERS[n])) for n in (0, 1))
        words = [
            f.binary("xor", f.binary("xor", high(right), words[1]), keys[0]),
            low(right),
            f.binary("xor", f.binary("xor", high(left), words[3]), keys[1]),
            low(left),
        ]
        keys = [
            low(f.binary("add", key, constant(key.type, step)))
            for key, step in zip(keys, KEY_STEPS, strict=True)
        ]
    return words[0]
