"""Philox4x32-10 on the lanes of a vector: random numbers that any thread can compute alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphcnn.ir import Value
from graphcnn.ops import RandomNormal
from graphcnn_native.codegen.function import INDEX, Function, Ssa, constant, lanes_of, vector
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
    word = first_word(f, element, counter, seed)
    item = ITEMS[value.type.dtype]
    is_normal = isinstance(writer.graph.node(value.key).op, RandomNormal)
    return normal(f, word, item) if is_normal else uniform(f, word, item)


def normal(f: Function, word: Ssa, item: str) -> Ssa:
    """Return the normal number of a word of 32 bits."""
    return f.convert("fptrunc", normal_quantile(f, word), item)


def uniform(f: Function, word: Ssa, item: str) -> Ssa:
    """Return the uniform number of a word of 32 bits, made of its upper 24."""
    upper = f.convert("sitofp", f.binary("lshr", word, constant(word.type, 8)), item)
    return f.binary("fmul", upper, constant(upper.type, 2.0**-24))


def first_word(f: Function, element: Ssa, counter: Ssa, seed: Ssa) -> Ssa:
    """Return word 0 of the blocks of elements, held in 64 bits.

    element: its lanes are those of the result; counter and seed have as many, or are scalars.
    """
    lanes = lanes_of(element.type)
    mask = constant(vector(INDEX, lanes), WORD)
    half = constant(vector(INDEX, lanes), 32)

    def low(x: Ssa) -> Ssa:
        return f.binary("and", x, mask)

    def high(x: Ssa) -> Ssa:
        return f.binary("lshr", x, half)

    def spread(x: Ssa) -> Ssa:
        return f.splat(x, lanes) if lanes_of(x.type) == 1 else x

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
