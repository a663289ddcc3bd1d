"""The order in which sums are added up is the same for every number of ranks."""

from __future__ import annotations

import pytest

from graphcnn.distributed.tree import leaf_count, meetings, shards_of


def in_words(shards: int, begin: int = 0, end: int | None = None, owned: range | None = None) -> str:
    """Return how the shards below a node of the tree are added up, of those that are owned."""
    end = leaf_count(shards) if end is None else end
    if end - begin == 1:
        return str(begin) if begin in (range(shards) if owned is None else owned) else ""
    middle = (begin + end) // 2
    parts = [in_words(shards, begin, middle, owned), in_words(shards, middle, end, owned)]
    return f"({parts[0]}+{parts[1]})" if all(parts) else "".join(parts)


@pytest.mark.parametrize("shards", range(1, 17))
@pytest.mark.parametrize("ranks", [1, 2, 3, 4, 5, 7, 8, 16, 19])
def test_any_number_of_ranks_adds_up_as_one_does(shards: int, ranks: int) -> None:
    sums = [in_words(shards, owned=shards_of(rank, ranks, shards)) for rank in range(ranks)]
    assert [shard for rank in range(ranks) for shard in shards_of(rank, ranks, shards)] == list(range(shards))
    pending = [meetings(rank, ranks, shards) for rank in range(ranks)]
    messages: dict[tuple[int, int], list[str]] = {}
    has_sent = [False] * ranks
    for _ in range(4 * ranks):
        for rank in range(ranks):
            if not pending[rank]:
                continue
            meeting = pending[rank][0]
            if not has_sent[rank]:
                assert meeting.sends == bool(sums[rank])
                for reader in meeting.readers:
                    messages.setdefault((rank, reader), []).append(sums[rank])
                has_sent[rank] = True
            arrived = messages.get((meeting.partner, rank))
            if arrived:
                other, own = arrived.pop(0), sums[rank]
                assert meeting.receives == bool(other)
                if meeting.adds:
                    sums[rank] = f"({own}+{other})" if meeting.is_left else f"({other}+{own})"
                else:
                    sums[rank] = own or other
                pending[rank].pop(0)
                has_sent[rank] = False
    assert not any(pending)
    assert set(sums) == {in_words(shards)}


def test_powers_of_two_share_evenly() -> None:
    assert [len(shards_of(rank, 4, 16)) for rank in range(4)] == [4, 4, 4, 4]
    assert [len(shards_of(rank, 3, 16)) for rank in range(3)] == [4, 4, 8]
