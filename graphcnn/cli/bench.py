"""`graphcnn bench`."""

from __future__ import annotations

from pathlib import Path

import click

from graphcnn.cli.networks import (
    Shape,
    backend_option,
    input_shape_option,
    model_named,
    precision_option,
    shard_option,
)
from graphcnn.cli.printing import print_table, say
from graphcnn.errors import OptionError
from graphcnn.inspection.benchmark import benchmark
from graphcnn.inspection.profile import Mode
from graphcnn.training.graphs import Precision


@click.command()
@click.argument("network")
@click.option("--mode", default="train", show_default=True, type=click.Choice(["train", "infer"]))
@click.option("--batch-size", default=64, show_default=True, type=click.IntRange(1))
@click.option("--repeats", default=30, show_default=True, type=click.IntRange(1))
@click.option("--fit", "fits", is_flag=True, help="Time fit on arrays beside a loop of train_step instead.")
@click.option("--compile", "compiles", is_flag=True, help="Time the compilation instead, phase by phase.")
@click.option(
    "--ranks", type=click.IntRange(1), help="Predict steps on up to so many ranks (docs/distributed.md)."
)
@click.option("--latency", default=20.0, show_default=True, type=click.FloatRange(0), help="Of --ranks: µs.")
@click.option(
    "--bandwidth", default=10.0, show_default=True, type=click.FloatRange(0, min_open=True), help="Gbit/s."
)
@shard_option
@backend_option
@precision_option
@click.option(
    "--trace", type=click.Path(dir_okay=False, path_type=Path), help="Write one step as a Chrome trace."
)
@input_shape_option
def bench(
    network: str,
    mode: Mode,
    batch_size: int,
    repeats: int,
    fits: bool,
    compiles: bool,
    ranks: int | None,
    latency: float,
    bandwidth: float,
    shard_optimizer: bool,
    backend: str | None,
    precision: Precision | None,
    trace: Path | None,
    input_shape: Shape | None,
) -> None:
    """Time a training step or the inference of NETWORK on random data, kernel by kernel."""
    if compiles:
        from graphcnn.inspection.compile_times import compile_times

        graph = "step" if mode == "train" else "forward"
        print_table(compile_times(lambda: model_named(network, input_shape, backend, precision), graph))
        return
    if shard_optimizer and ranks is None:
        raise OptionError("--shard-optimizer is for several ranks", mend="--ranks 8")
    model = model_named(network, input_shape, backend, precision, shard_optimizer=shard_optimizer)
    if fits:
        from graphcnn.inspection.fit_overhead import fit_overhead

        say(str(fit_overhead(model, batch=batch_size, rounds=repeats)))
        return
    if ranks is not None:
        from graphcnn.inspection.scaling import Interconnect, scaling

        counts = [2**power for power in range(ranks.bit_length())]
        between = Interconnect(latency * 1e-6, bandwidth * 1e9 / 8)
        print_table(scaling(model, counts, batch=batch_size, interconnect=between, repeats=repeats))
        return
    profile = benchmark(model, mode=mode, batch=batch_size, repeats=repeats)
    print_table(profile)
    if trace is not None:
        profile.write_chrome_trace(trace)
        say(f"trace written to {trace}: open it in https://ui.perfetto.dev or chrome://tracing")
