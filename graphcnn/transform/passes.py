"""Passes: functions from a graph to a graph, by name, checked before and after they run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias

from graphcnn.arguments import known_arguments
from graphcnn.errors import GraphError, OptionError, add_fact
from graphcnn.ir import Graph, verify

Transform: TypeAlias = Callable[[Graph], Graph]
Given: TypeAlias = "Mapping[str, Iterable[Pass | Transform]] | Passes | None"
"""Passes as `compile` takes them: for each stage, passes or plain functions, in their order."""

STAGES: Final = ("forward", "gradient", "step")
"""The graphs of a model that passes can go through.

forward: the network, for inference and for training each, before loss and gradient are made of it.
gradient: network, loss and gradients, as they are derived; the step is made of what comes out.
step: the whole training step, simplified; what comes out is compiled as it is.
"""


@known_arguments
@dataclass(frozen=True, slots=True)
class Pass:
    """A function from a graph to another one that computes the same outputs and updates from the same inputs.

    name: what errors call it. run: returns a new graph and leaves the one given as it is.

    A pass is called like a function. It then checks that names, order, types and roles are the same before
    and after, and that both graphs are valid. Raises GraphError, which names the pass and what it broke.
    """

    name: str
    run: Transform

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise OptionError(f"the name of a pass is a string, not {self.name!r:.60}")
        if not callable(self.run):
            raise OptionError(
                f"pass {self.name!r}: run={self.run!r:.60} is not a function",
                mend="gcn.Pass(name, run), with run(graph) -> graph",
            )

    def __call__(self, graph: Graph) -> Graph:
        before, nodes = dict(_signature(verify(graph))), len(graph)
        try:
            result = self.run(graph)
        except Exception as error:
            add_fact(error, f"in pass {self.name!r} on graph {graph.name!r}")
            raise
        if len(graph) != nodes or dict(_signature(graph)) != before:
            raise self._broken(graph, ["it changed the graph that it was given"], "start from graph.copy()")
        if not isinstance(result, Graph):
            raise self._broken(graph, [f"it returned {result!r:.60}, not a graph"], "end with `return graph`")
        try:
            verify(result)
        except GraphError as error:
            raise self._broken(graph, [error.problem, *error.facts], "call gcn.verify inside it") from None
        after = dict(_signature(result))
        if list(before.items()) != list(after.items()):
            mend = "return a graph with the same inputs, outputs and updates, in the same order"
            raise self._broken(graph, _differences(before, after), mend)
        return result

    def _broken(self, graph: Graph, facts: Iterable[str], mend: str) -> GraphError:
        return GraphError(f"pass {self.name!r} broke graph {graph.name!r}", facts=list(facts), mend=mend)


def _signature(graph: Graph) -> Iterator[tuple[str, str]]:
    """Yield what a caller sees of a graph: a title and a description of each input, output and update."""
    for label, value in graph.inputs.items():
        yield f"input {label!r}", f"{graph.role(label)} {value.type}"
    for label, value in graph.outputs.items():
        yield f"output {label!r}", str(value.type)
    for label, value in graph.updates.items():
        yield f"update of {label!r}", str(value.type)


def _differences(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    lines = [f"{title} is gone" for title in before if title not in after]
    lines += [f"{title} is new" for title in after if title not in before]
    lines += [
        f"{title} was {before[title]}, and is {after[title]}"
        for title in before
        if title in after and before[title] != after[title]
    ]
    return lines or ["inputs, outputs or updates are in another order"]


def as_pass(given: object) -> Pass:
    """Return a pass of itself, or of a function from a graph to a graph, which has the function's name."""
    if isinstance(given, Pass):
        return given
    if not callable(given) or isinstance(given, type):
        raise OptionError(
            f"{given!r:.80} is not a pass",
            mend="give a function from a graph to a graph, or gcn.Pass(name, function)",
        )
    named = given.func if isinstance(given, partial) else given
    return Pass(str(getattr(named, "__name__", type(named).__name__)), given)


@dataclass(frozen=True, slots=True)
class Passes:
    """The passes of a model, stage by stage, in the order in which they run."""

    forward: tuple[Pass, ...] = ()
    gradient: tuple[Pass, ...] = ()
    step: tuple[Pass, ...] = ()

    @classmethod
    def of(cls, given: object) -> Passes:
        """Return passes as `compile` takes them (`Given`). Raises OptionError for what is none."""
        if given is None:
            return cls()
        if isinstance(given, Passes):
            return given
        example = 'passes={"forward": [my_pass]}'
        if not isinstance(given, Mapping):
            raise OptionError(f"passes={given!r:.80} is not a dictionary of lists", mend=example)
        unknown = [stage for stage in given if stage not in STAGES]
        if unknown:
            raise OptionError(
                f"there is no stage {', '.join(map(repr, unknown)):.200} for passes",
                facts=[f"stages: {', '.join(STAGES)}"],
                mend=example,
            )
        for stage, passes in given.items():
            if not isinstance(passes, Iterable) or isinstance(passes, str):
                raise OptionError(f"passes[{stage!r}]={passes!r:.80} is not a list", mend=example)
        return cls(**{stage: tuple(map(as_pass, passes)) for stage, passes in given.items()})

    def run(self, stage: str, graph: Graph) -> Graph:
        """Return the graph after the passes of a stage."""
        passes: tuple[Pass, ...] = getattr(self, stage)
        for each in passes:
            graph = each(graph)
        return graph
