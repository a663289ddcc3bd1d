"""Inputs made of valid ones by chance: the same ones for the same seed, on every machine."""

import random
from collections.abc import Iterator, Sequence

NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)


def mutated(seeds: Sequence[bytes], words: Sequence[bytes], count: int, seed: str) -> Iterator[bytes]:
    """Yield so many inputs, each of a valid one by one to four changes.

    words: what is put in by some of them.
    """
    draw = random.Random(seed)
    for _ in range(count):
        content = bytearray(draw.choice(seeds))
        for _ in range(draw.choice((1, 1, 1, 2, 3, 4))):
            _change(draw, content, draw.choice(seeds), words)
        yield bytes(content)


def _change(draw: random.Random, content: bytearray, other: bytes, words: Sequence[bytes]) -> None:
    # the first bytes are headers mostly: half of the changes are there
    end = len(content)
    place = draw.randrange((end if draw.random() < 0.5 else min(end, 200)) + 1)
    kind = draw.randrange(8)
    if kind == 0 and place < end:
        content[place] ^= 1 << draw.randrange(8)
    elif kind == 1:
        content[place : place + 1] = bytes([draw.randrange(256)])
    elif kind == 2:
        del content[place : place + draw.choice((1, 2, 4, 16, 1000))]
    elif kind == 3:
        content[place:place] = bytes(draw.randrange(256) for _ in range(draw.randrange(1, 9)))
    elif kind == 4:
        size = draw.choice((1, 2, 4, 8))
        number = draw.choice(NUMBERS) % 256**size
        content[place : place + size] = number.to_bytes(size, draw.choice(("little", "big")))
    elif kind == 5:
        begin = draw.randrange(len(other) + 1)
        content[place : place + draw.choice((0, 8, 64))] = other[begin : begin + draw.randrange(1, 65)]
    elif kind == 6 and words:
        word = draw.choice(words)
        content[place : place + draw.choice((0, len(word)))] = word * draw.choice((1, 1, 1, 1, 500))
    else:
        digits = str(draw.choice(NUMBERS)).encode()
        at = next((at for at in range(place, len(content)) if content[at : at + 1].isdigit()), place)
        content[at : at + 1] = digits
