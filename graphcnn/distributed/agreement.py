"""Whether all ranks are about to compute the same: told before the first step, not by weights that differ."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from graphcnn.distributed.collectives import broadcast, gather
from graphcnn.distributed.transport import Transport
from graphcnn.distributed.tree import meetings
from graphcnn.errors import RankError

LONGEST: Final = 60
"""Characters of a value that an error shows."""
LISTED: Final = 8
"""So many of the things that differ an error lists."""


@dataclass(frozen=True)
class Stated:
    """Something that must be the same on all ranks. value: as text. mend: what makes it so."""

    value: str
    mend: str


def require_agreement(transport: Transport, stated: Mapping[str, Stated]) -> None:
    """Return when all ranks have called this with the same values by name.

    Raises RankError, on every rank, that names what differs, the values and the ranks that have them.
    """
    if transport.size == 1:
        return
    values = json.dumps({name: each.value for name, each in stated.items()}).encode()
    digests = gather(transport, hashlib.sha256(values).digest())
    if not broadcast(transport, b"differ" if len(set(digests)) > 1 else b""):
        return
    by_rank = [json.loads(each) for each in gather(transport, values)]
    found = _difference(by_rank, stated) if transport.rank == 0 else {}
    raise RankError(**json.loads(broadcast(transport, json.dumps(found).encode())))


def _difference(by_rank: Sequence[Mapping[str, str]], stated: Mapping[str, Stated]) -> dict[str, object]:
    """Return the problem, facts and mend of an error about what ranks have stated, in their order."""
    names = dict.fromkeys(name for each in by_rank for name in each)
    columns = {name: [each.get(name, "not there") for each in by_rank] for name in names}
    unequal = {name: column for name, column in columns.items() if len(set(column)) > 1}
    facts = [f"{name}: {_shown(column)}" for name, column in itertools.islice(unequal.items(), LISTED)]
    more = len(unequal) - len(facts)
    mends = dict.fromkeys(stated[name].mend for name in unequal if name in stated)
    return {
        "problem": f"the {len(by_rank)} ranks would not compute the same: they differ in "
        f"{_listed(list(unequal))}",
        "facts": [*facts, *([f"and {more} more"] if more else [])],
        "mend": "; ".join(mends) or "start the same program with the same arguments on every rank",
    }


def _listed(names: Sequence[str]) -> str:
    shown = list(names[:3])
    if len(names) > len(shown):
        return f"{', '.join(shown)} and {len(names) - len(shown)} more"
    return " and ".join(filter(None, [", ".join(shown[:-1]), shown[-1]]))


def _shown(column: Sequence[str]) -> str:
    """Return which ranks have which value; of long texts, as those of graphs, the first line that differs."""
    lines = [value.splitlines() or [""] for value in column]
    place = next(
        (n for n, row in enumerate(itertools.zip_longest(*lines, fillvalue="")) if len(set(row)) > 1), 0
    )
    ranks: dict[str, list[int]] = {}
    for rank, rows in enumerate(lines):
        ranks.setdefault(rows[place] if place < len(rows) else "", []).append(rank)
    common = next((n for n, signs in enumerate(zip(*ranks, strict=False)) if len(set(signs)) > 1), 0)
    begin = max(0, common - LONGEST // 2) if max(map(len, ranks)) > LONGEST else 0
    where = f"line {place + 1} is " if any(len(rows) > 1 for rows in lines) else ""
    return where + ", ".join(f"{_cut(value, begin)} on {ranks_text(each)}" for value, each in ranks.items())


def _cut(value: str, begin: int) -> str:
    """Return a part of a value that is short enough to be shown, from `begin` on."""
    end = begin + LONGEST
    return f"{'...' * (begin > 0)}{value[begin:end]}{'...' * (end < len(value))}" or "empty"


def greatest(transport: Transport, number: int) -> int:
    """Return the greatest of the numbers that all ranks call this with; nobody returns before all have."""
    found = np.array([number], np.int64)
    for meeting in meetings(transport.rank, transport.size, transport.size):
        other = np.empty_like(found)
        sends = [(reader, found) for reader in meeting.readers]
        transport.begin(sends, [(meeting.partner, other)]).wait()
        found = np.maximum(found, other)
    return int(found[0])


def ranks_text(ranks: Sequence[int]) -> str:
    """Return `rank 3`, or `ranks 0, 2 to 5`."""
    runs = list(_runs(ranks))
    shown = [str(first) if first == last else f"{first} to {last}" for first, last in runs]
    return f"rank{'s' * (len(ranks) > 1)} {', '.join(shown)}"


def _runs(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield the first and the last of three or more numbers that follow each other; others by themselves."""
    for _, run in itertools.groupby(enumerate(numbers), lambda item: item[1] - item[0]):
        found = [number for _, number in run]
        yield from [(found[0], found[-1])] if len(found) > 2 else ((number, number) for number in found)
