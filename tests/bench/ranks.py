"""Compares what is predicted for steps of several ranks with what they take on this machine.

    python tests/bench/ranks.py NETWORK BATCH [LATENCY BANDWIDTH]

One, two, four and eight ranks of one thread each, started by mpiexec. LATENCY, in microseconds, and
BANDWIDTH, in Gbit/s, are those of a network that is put between; without, they meet in memory. Ranks beyond
the processors of the machine take turns, which is predicted as well: computing takes that many times longer.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from importlib import metadata

from graphcnn.cli.networks import model_named
from graphcnn.distributed.transport import Message, Pending, Transport
from graphcnn.inspection.benchmark import random_batch
from graphcnn.inspection.scaling import Interconnect, scaling

IN_MEMORY = Interconnect(10e-6, 2e9)
REPEATS = 7


class Slowed:
    """A transport with a network in between: messages leave one by one, and arrive after the latency."""

    def __init__(self, transport: Transport, network: Interconnect) -> None:
        self.rank, self.size = transport.rank, transport.size
        self._transport, self._network, self._free = transport, network, 0.0

    def begin(self, sends: list[Message], receives: list[Message]) -> Pending:
        pending = self._transport.begin(sends, receives)
        moved = max(sum(array.nbytes for _, array in each) for each in (sends, receives))
        if not sends and not receives:
            return pending
        self._free = max(self._free, time.perf_counter()) + moved / self._network.bandwidth
        return _Later(pending, self._free + self._network.latency)


class _Later:
    def __init__(self, pending: Pending, arrival: float) -> None:
        self._pending, self._arrival = pending, arrival

    def done(self) -> bool:
        return self._pending.done() and time.perf_counter() >= self._arrival

    def wait(self) -> None:
        self._pending.wait()
        time.sleep(max(0.0, self._arrival - time.perf_counter()))


def run_rank(name: str, batch: int, network: Interconnect | None) -> None:
    """Be a rank: print the median of its steps' seconds."""
    from graphcnn.distributed.collectives import barrier
    from graphcnn.distributed.mpi import mpi_transport

    transport: Transport = mpi_transport()
    if network is not None:
        transport = Slowed(transport, network)
    model = model_named(name)
    executable = model.executable_of_rank("step", transport)
    arguments = random_batch(model, model.step_graph, batch)
    arguments |= dict.fromkeys(executable.graph.inputs_with_role("setting"), 0.0)
    state, seconds = model.state(), []
    for _ in range(REPEATS + 2):
        barrier(transport)
        begin = time.perf_counter()
        executable.step(state, **arguments)
        seconds.append(time.perf_counter() - begin)
    if transport.rank == 0:
        print(statistics.median(seconds[2:]))


def main(name: str, batch: int, network: Interconnect | None) -> None:
    model = model_named(name)
    between = network or IN_MEMORY
    predicted = scaling(model, [1, 2, 4, 8], batch=batch, interconnect=between, repeats=REPEATS).predicted
    mpiexec = next(file for file in metadata.files("mpich") or () if file.name == "mpiexec")
    print("ranks  predicted, ms  measured, ms")
    for each in predicted:
        command = [str(mpiexec.locate()), "-n", str(each.ranks), sys.executable, *sys.argv]
        measured = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        turns = max(1.0, each.ranks / (os.cpu_count() or 1))
        expected = each.computing * turns + each.waiting
        print(f"{each.ranks:5}  {1000 * expected:13.2f}  {1000 * measured:12.2f}", flush=True)


if __name__ == "__main__":
    os.environ["GRAPHCNN_THREADS"] = "1"
    given = Interconnect(float(sys.argv[3]) * 1e-6, float(sys.argv[4]) * 1e9 / 8) if sys.argv[4:] else None
    run = run_rank if "PMI_RANK" in os.environ else main
    run(sys.argv[1], int(sys.argv[2]), given)
