"""How long a step would take on many ranks: one is run alone, and the network between them computed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from graphcnn.backend import Executable
from graphcnn.distributed.transport import Message, Pending
from graphcnn.errors import OptionError
from graphcnn.inspection.benchmark import random_batch
from graphcnn.inspection.tables import scaled
from graphcnn.ops.attributes import is_int
from graphcnn.training.model import Model
from graphcnn.visible import visible

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class Interconnect:
    """What is between ranks. latency: seconds that a message takes. bandwidth: bytes/s that a rank sends.

    Raises OptionError for what no network can be.
    """

    latency: float = 20e-6
    bandwidth: float = 1.25e9

    def __post_init__(self) -> None:
        if not (self.latency >= 0 and self.bandwidth > 0):
            raise OptionError(
                f"no network has a latency of {self.latency} s and a bandwidth of {self.bandwidth} bytes/s",
                mend="Interconnect(20e-6, 1.25e9), for 20 microseconds and 10 Gbit/s",
            )


@dataclass(frozen=True)
class Predicted:
    """A step of one rank among so many, in seconds.

    computing: as measured, with its share of the samples. waiting: for messages, when there is nothing else
    to do. waits: how often. sent: bytes that it sends, in so many messages.
    """

    ranks: int
    computing: float
    waiting: float
    waits: int
    messages: int
    sent: int

    @property
    def seconds(self) -> float:
        return self.computing + self.waiting


@dataclass(frozen=True)
class Scaling:
    """Predictions for several numbers of ranks that share batches of one size."""

    title: str
    predicted: tuple[Predicted, ...]

    def __rich__(self) -> Table:
        from rich.table import Table

        names = "ranks", "step, ms", "computing", "waiting", "times as fast", "waits", "messages", "sent"
        table = Table(*names, title=self.title, title_justify="left")
        for column in table.columns:
            column.justify = "right"
        for each in self.predicted:
            table.add_row(
                str(each.ranks),
                *(f"{1000 * part:.3g}" for part in (each.seconds, each.computing, each.waiting)),
                f"{self.predicted[0].seconds / each.seconds:.2f}",
                *(str(number) for number in (each.waits, each.messages)),
                scaled(each.sent) + "B",
            )
        return table


def scaling(
    model: Model,
    ranks: Sequence[int] = (1, 2, 4, 8, 16),
    *,
    batch: int = 64,
    interconnect: Interconnect | None = None,
    repeats: int = 10,
) -> Scaling:
    """Return how long training steps would take on so many ranks, each on a machine like this one.

    For each number, the first rank's part of a step is run here on random data: its messages go nowhere and
    bring nothing. Its time is measured; to that is added the time for which it would have waited, were all
    others as far as it is. ranks: their numbers; the others are compared with the first of them. batch:
    samples of a step, of all ranks together. repeats: measured steps, of which the median is given.

    Raises OptionError where the model was compiled without a loss or optimizer.
    """
    network = interconnect or Interconnect()
    for number in (*ranks, batch, repeats):
        if not is_int(number, 1):
            raise OptionError(
                f"{number!r} is not an integer of at least 1", mend="scaling(model, [1, 2, 4], batch=64)"
            )
    found = tuple(_predicted(model, count, batch, network, repeats) for count in ranks)
    speed = f"{1e6 * network.latency:.3g} µs and {8e-9 * network.bandwidth:.3g} Gbit/s"
    title = f"{model.forward_graph.name}, {batch} samples in all, backend {model.backend.name}, {speed}"
    return Scaling(visible(title), found)


def _predicted(model: Model, ranks: int, batch: int, network: Interconnect, repeats: int) -> Predicted:
    alone = _Alone(ranks, network)
    executable: Executable = model.executable_of_rank("step", alone)
    state, inputs = model.state(), random_batch(model, model.step_graph, batch)
    arguments = {**inputs, **dict.fromkeys(executable.graph.inputs_with_role("setting"), 0.0)}
    seconds = []
    for number in range(repeats + 2):
        alone.begin_step()
        begin = time.perf_counter()
        executable.step(state, **arguments)
        if number >= 2:  # the first ones find memory and caches as no later one does
            seconds.append((time.perf_counter() - begin, alone.waiting))
    computing, waiting = (statistics.median(each) for each in zip(*seconds, strict=True))
    return Predicted(ranks, computing, waiting, alone.waits, alone.messages, alone.sent)


class _Alone:
    """The `Transport` of the first of several ranks, of which the others are not there.

    Its clock is that of the computer, and the time for which it would have waited. A message is on its way as
    soon as those before it have left, and arrives after the latency; what the others send leaves at the same
    time. waiting: seconds since `begin_step`.
    """

    rank = 0

    def __init__(self, size: int, network: Interconnect) -> None:
        self.size, self._network = size, network
        self.begin_step()

    def begin_step(self) -> None:
        self.waiting = self._free = 0.0
        self.waits = self.messages = self.sent = 0

    def begin(self, sends: Sequence[Message], receives: Sequence[Message]) -> Pending:
        moved = [sum(array.nbytes for _, array in each) for each in (sends, receives)]
        self.sent += moved[0]
        self.messages += len(sends)
        if not sends and not receives:
            return _Arrival(self, 0.0)
        self._free = max(self._free, self.now()) + max(moved) / self._network.bandwidth
        return _Arrival(self, self._free + self._network.latency)

    def now(self) -> float:
        return time.perf_counter() + self.waiting

    def wait_until(self, arrival: float) -> None:
        late = arrival - self.now()
        if late > 0:
            self.waiting += late
            self.waits += 1


@dataclass
class _Arrival:
    """A message that would be there at some time."""

    transport: _Alone
    time: float

    def done(self) -> bool:
        return self.transport.now() >= self.time

    def wait(self) -> None:
        self.transport.wait_until(self.time)
