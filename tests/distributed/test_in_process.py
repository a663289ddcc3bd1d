"""Ranks that are threads: messages arrive in order, and whatever goes wrong ends all of them."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from graphcnn.distributed.collectives import (
    all_gather,
    all_reduce,
    barrier,
    broadcast,
    broadcast_arrays,
    gather,
    row_begins,
    tree_sum,
)
from graphcnn.distributed.in_process import run_ranks
from graphcnn.distributed.rounds import LARGE, rounds
from graphcnn.distributed.tree import shards_of
from graphcnn.errors import OptionError, RankError

RANKS = [1, 2, 3, 4, 5, 8, 16]


@pytest.fixture(autouse=True)
def no_thread_is_left_behind():
    before = threading.active_count()
    yield
    assert threading.active_count() == before


def received(transport, source, shape=(), dtype="int64"):
    array = np.empty(shape, dtype)
    transport.begin([], [(source, array)]).wait()
    return array.tolist()


@pytest.mark.parametrize("ranks", RANKS)
def test_each_rank_has_its_number(ranks):
    assert run_ranks(ranks, lambda t: (t.rank, t.size)) == [(rank, ranks) for rank in range(ranks)]


def test_messages_arrive_in_the_order_in_which_they_were_begun():
    def exchange(transport):
        other = 1 - transport.rank
        places = [np.zeros(3, np.float32), np.zeros((2, 2), np.int64)]
        waits = [transport.begin([], [(other, place)]) for place in places]
        transport.begin([(other, np.full(3, 1 + transport.rank, np.float32))], [])
        transport.begin([(other, np.full((2, 2), 10 + transport.rank))], [])
        for wait in reversed(waits):
            wait.wait()
        assert all(wait.done() for wait in waits)
        return [place.reshape(-1)[0] for place in places]

    assert run_ranks(2, exchange) == [[2, 11], [1, 10]]


def test_an_array_that_was_sent_may_change_afterwards():
    def exchange(transport):
        if transport.rank == 1:
            return received(transport, 0, (2,))
        sent = np.array([1, 2])
        transport.begin([(1, sent)], []).wait()
        sent[:] = 0
        return None

    assert run_ranks(2, exchange)[1] == [1, 2]


def test_a_message_is_done_when_it_has_come():
    def exchange(transport):
        if transport.rank == 0:
            received(transport, 1)
            return transport.begin([(1, np.array(7))], []).done()
        place = np.array(0)
        pending = transport.begin([], [(0, place)])
        before = pending.done()
        transport.begin([(0, np.array(1))], [])
        while not pending.done():
            time.sleep(0.001)
        return before, int(place)

    assert run_ranks(2, exchange) == [True, (False, 7)]


@pytest.mark.parametrize("size", [1, 5, LARGE // 4 - 1, LARGE // 4 + 3])
@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize("shards", [1, 3, 7, 16])
def test_sums_have_the_same_bits_on_any_number_of_ranks(ranks, shards, size):
    parts = np.random.default_rng(0).normal(size=(shards, size)).astype(np.float32) ** 3

    def summed(transport):
        owned = shards_of(transport.rank, transport.size, shards)
        own = tree_sum(lambda shard: parts[shard], owned, shards)
        return all_reduce(transport, own, np.empty(size, np.float32), shards).tobytes()

    assert set(run_ranks(ranks, summed)) == set(run_ranks(1, summed))


@pytest.mark.parametrize("ranks", [4, 8, 16, 64, 1024])
def test_a_large_sum_is_sent_twice_at_most(ranks):
    found = [rounds(rank, ranks, ranks, LARGE) for rank in range(ranks)]
    sent = {sum(len(each.readers) * len(each.sent) for each in of_rank) for of_rank in found}
    assert max(sent) <= 2 * LARGE
    assert ranks > 64 or sent == {2 * (ranks - 1) * LARGE // ranks}
    for of_rank in zip(*found, strict=True):
        for rank, each in enumerate(of_rank):
            assert of_rank[each.partner].sent == each.received
            assert of_rank[each.partner].readers == (rank,)


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize("shards", [1, 5, 16])
@pytest.mark.parametrize("size", [8, LARGE])
def test_all_ranks_have_as_many_rounds(ranks, shards, size):
    assert len({len(rounds(rank, ranks, shards, size)) for rank in range(ranks)}) == 1


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize("samples", [1, 6, 33])
def test_all_ranks_get_all_rows(ranks, samples):
    whole = np.random.default_rng(0).normal(size=(samples, 2, 3))
    shards = min(16, samples)
    bounds = [shard * samples // shards for shard in range(shards + 1)]

    def gathered(transport):
        begins = row_begins(transport.size, bounds)
        own = slice(begins[transport.rank], begins[transport.rank + 1])
        rows = np.full_like(whole, np.nan)
        rows[own] = whole[own]
        all_gather(transport, rows, begins)
        return rows.tobytes()

    assert set(run_ranks(ranks, gathered)) == {whole.tobytes()}


@pytest.mark.parametrize("ranks", RANKS)
def test_bytes_go_from_one_to_all_and_from_all_to_one(ranks):
    def exchange(transport):
        last = ranks - 1
        said = broadcast(transport, b"weights" if transport.rank == last else None, root=last)
        assert broadcast(transport, b"" if transport.rank == 0 else None) == b""
        barrier(transport)
        return said, gather(transport, bytes(transport.rank), root=last)

    wanted = [bytes(rank) for rank in range(ranks)]
    assert run_ranks(ranks, exchange) == [*[(b"weights", [])] * (ranks - 1), (b"weights", wanted)]


@pytest.mark.parametrize("ranks", RANKS)
def test_arrays_go_from_their_ranks_to_all(ranks):
    sizes = [1, 7, LARGE // 4 - 1, LARGE // 4, LARGE + 5]
    wanted = [np.random.default_rng(size).random(size, np.float32) for size in (*sizes, *sizes)]
    roots = [number * 3 % ranks for number in range(len(wanted))]
    sent = dict.fromkeys(range(ranks), 0)

    def told(transport):
        class Counting:
            rank, size = transport.rank, transport.size

            def begin(self, sends, receives):
                sent[transport.rank] += sum(part.nbytes for _, part in sends)
                return transport.begin(sends, receives)

        arrays = [
            array.copy() if root == transport.rank else np.full_like(array, np.nan)
            for root, array in zip(roots, wanted, strict=True)
        ]
        for messages in broadcast_arrays(Counting(), list(zip(roots, arrays, strict=True))):
            messages.wait()
        return [array.tobytes() for array in arrays]

    assert run_ranks(ranks, told) == [[array.tobytes() for array in wanted]] * ranks
    small = sum(array.nbytes for array in wanted if array.nbytes < LARGE)
    assert max(sent.values()) <= sum(array.nbytes for array in wanted) + (ranks - 2) * small


class FullError(OSError):
    """What a rank fails with."""


@pytest.mark.parametrize("ranks", [2, 3, 16])
def test_all_ranks_end_when_one_has_failed(ranks):
    ended = []

    def wait_or_fail(transport):
        if transport.rank == 1:
            raise FullError("no space left\nfor a checkpoint")
        try:
            received(transport, 1)
        except RankError as error:
            ended.append((transport.rank, str(error), type(error.__cause__)))
            raise

    with pytest.raises(RankError) as caught:
        run_ranks(ranks, wait_or_fail)
    message = "rank 1 has failed, and all ranks end: FullError: no space left\n  for a checkpoint"
    assert str(caught.value) == message
    assert isinstance(caught.value.__cause__, FullError)
    assert sorted(ended) == [(rank, message, FullError) for rank in range(ranks) if rank != 1]


@pytest.mark.parametrize("asked", ["sends", "is asked"])
def test_a_rank_that_does_not_wait_learns_of_it_at_its_next_message(asked):
    def run(transport):
        if transport.rank == 0:
            raise FullError("no space left")
        pending = transport.begin([], [(0, np.zeros(1))])
        while True:
            if asked == "sends":
                transport.begin([(0, np.zeros(1))], [])
            else:
                pending.done()

    with pytest.raises(RankError, match="rank 0 has failed"):
        run_ranks(2, run)


def test_a_rank_that_waits_for_one_that_has_ended():
    with pytest.raises(RankError, match="rank 0 waits for a message of rank 2, which has ended"):
        run_ranks(3, lambda transport: received(transport, 2) if transport.rank == 0 else None)


def test_ranks_that_all_wait():
    with pytest.raises(RankError) as caught:
        run_ranks(3, lambda transport: received(transport, (transport.rank + 1) % 3))
    assert caught.value.facts == (
        "rank 0 waits for rank 1",
        "rank 1 waits for rank 2",
        "rank 2 waits for rank 0",
    )


def test_messages_of_another_size_than_what_is_waited_for():
    def exchange(transport):
        if transport.rank == 0:
            transport.begin([(1, np.zeros(3))], [])
        else:
            received(transport, 0, (2,))

    with pytest.raises(RankError, match="rank 0 has sent 24 bytes, and rank 1 waits for 16"):
        run_ranks(2, exchange)


@pytest.mark.parametrize("other", [-1, 1, 2])
def test_a_message_to_no_other_rank(other):
    with pytest.raises(RankError, match=f"rank 1 of 2 has no messages with rank {other}"):
        run_ranks(2, lambda t: t.begin([(other, np.zeros(1))], []) if t.rank == 1 else None)


@pytest.mark.parametrize("count", [0, -1, True, 2.0, "mpi"])
def test_what_is_no_number_of_ranks(count):
    with pytest.raises(OptionError, match="is not a number of ranks"):
        run_ranks(count, lambda transport: None)
