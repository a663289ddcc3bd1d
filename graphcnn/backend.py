"""What a backend is, how it is found, and what every backend may rely on.

A backend is an object in the entry-point group `graphcnn.backends`, such as

    [project.entry-points."graphcnn.backends"]
    mine = "my_package:backend"

Entry points are listed without importing them; a backend is loaded when it is first asked for.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import itertools
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, Protocol, TypeAlias

import numpy as np

from graphcnn import ops
from graphcnn.arguments import known_arguments
from graphcnn.arrays import Array, overlapping
from graphcnn.calls import described, misfit
from graphcnn.data.batches import Gather, gather
from graphcnn.errors import BackendError, DataError, OptionError
from graphcnn.inputs import as_input as as_input
from graphcnn.interrupts import interrupts_put_off
from graphcnn.ir import BATCH, Graph, Op, batch_inputs, users_line
from graphcnn.origin import is_internal

GROUP = "graphcnn.backends"
DEFAULT = "native"
REFERENCE = "numpy"


@dataclass(frozen=True, slots=True)
class KernelReport:
    """One kernel of an executable: what it is called, which nodes it covers, and its work at one batch size.

    performed: FLOPs that it takes, where these are not those of the ops as they are defined. streamed: those
    of the bytes that are not in a cache already, as is what another kernel has just stored for the same
    samples. None where the backend cannot tell. is_bfloat16: whether its products are of such numbers.
    seconds: its time in the measured call, summed over the threads; None where it was not measured, or did
    not run, as what it makes of parameters was there. details: how it was built, in words: where it runs, its
    tile, its buffers. live: bytes that must be in memory while it runs, beside the caller's arrays, for the
    whole batch on all threads; None where that is unknown.
    """

    name: str
    nodes: tuple[int, ...]
    flops: int
    bytes: int
    seconds: float | None = None
    details: str = ""
    live: int | None = None
    performed: int | None = None
    streamed: int | None = None
    is_bfloat16: bool = False


KERNEL_CALLS: Final = np.dtype([("kernel", "i4"), ("thread", "i4"), ("begin", "f8"), ("end", "f8")])
"""How a `Timeline` notes each call of a kernel: its number in the report, the thread, begin and end."""


@dataclass(frozen=True, slots=True, eq=False)
class Timeline:
    """What happened when in one measured call of an executable.

    began: when the backend began to compute, by `time.perf_counter`. seconds: how long it computed: what is
    before and after is Python, which looks at arrays and makes room for outputs. calls: all calls of kernels
    in the order of each thread, of the type KERNEL_CALLS; begin and end are in seconds since `began`.
    """

    began: float
    seconds: float
    calls: Array


@dataclass(frozen=True, slots=True)
class Memory:
    """The memory that an executable needs for one call, beside the caller's arrays, in bytes.

    peak: predicted: the most that must be alive at the same time. parts: what was allocated, by name; empty
    where the backend leaves that to others.
    """

    peak: int
    parts: Mapping[str, int] = field(default_factory=dict)

    @property
    def allocated(self) -> int:
        """The bytes of all parts."""
        return sum(self.parts.values())


@dataclass(frozen=True, slots=True)
class Report:
    """What a backend built for one graph, at the batch size of its latest call (1 before the first).

    peak: FLOP/s that these threads can do at most on this machine, and bandwidth: bytes/s that they can load
    and store, as measured; None where that is unknown. peak_of_bfloat16: FLOP/s of products of such numbers,
    where some kernel takes any.
    timeline: of the latest call, if that was measured and the backend can tell. memory: None where the
    backend cannot tell.
    """

    backend: str
    batch: int
    kernels: tuple[KernelReport, ...]
    threads: int = 1
    peak: float | None = None
    timeline: Timeline | None = field(default=None, compare=False)
    memory: Memory | None = None
    bandwidth: float | None = None
    peak_of_bfloat16: float | None = None


_VERSIONS = itertools.count()


class State(dict[str, Array]):
    """The arrays of a model's parameters and states by name.

    version: another number whenever what the arrays hold has changed, so that a backend can keep what it has
    made of them. Whoever writes into the arrays calls `changed` before and afterwards.
    """

    version: int

    def __init__(self, *arrays: Mapping[str, Array]) -> None:
        super().__init__(*arrays)
        self.changed()

    def changed(self) -> None:
        self.version = next(_VERSIONS)


class Executable(Protocol):
    """A graph that can be run.

    One that was compiled for several ranks may have a method `own_samples(samples)`: see `own_samples`.
    """

    @property
    def graph(self) -> Graph:
        """The graph that was compiled."""

    def __call__(self, /, **inputs: object) -> dict[str, Array]:
        """Return the outputs by name, and the new value of each updated state under the state's name.

        Every input of the graph is given by name. Inputs are not modified.
        Raises DataError for missing, unknown or unfitting inputs.
        """

    def step(self, state: dict[str, Array], /, **inputs: object) -> dict[str, Array]:
        """Like calling with the arrays of `state` as further inputs; the updates overwrite these arrays.

        Entries of `state` that the graph does not have are left alone, so that one state serves many graphs.
        Returns the outputs by name. Raises DataError as a call does, and for arrays that cannot be
        overwritten; the state is then as it was. Of a `State`, its version tells whether the arrays hold what
        they held.
        """

    def profile(self, on: bool) -> None:
        """Measure how long each kernel takes from the next call on, or stop that."""

    def report(self) -> Report:
        """Return what was built; under `profile` with the times of the latest call."""


class Backend(Protocol):
    """A way to run graphs: `gcn.compile(backend=...)` takes its installed name, or such an object itself.

    A backend may have a method `gathering(**options)` as well, for batches to be made faster than NumPy does.
    One that can be used on several ranks has the option `ranks`, a `Transport`, and takes graphs that
    `distribute` has made: batches have all samples on every rank, which computes those that are its own. What
    other ranks compute alone, as `graphcnn.transform.computing_ranks` says, it leaves out; the
    states that are `kept_elsewhere` are in nothing that it is given.
    """

    @property
    def name(self) -> str:
        """What errors and reports call it."""

    @property
    def ops(self) -> Set[type[Op]]:
        """The operations that the backend can compile."""

    def compile(self, graph: Graph) -> Executable:
        """Return an executable of the graph. Raises BackendError where it lacks an operation.

        A backend may take further options by keyword, such as `threads`.
        """


@known_arguments
def backends() -> dict[str, EntryPoint]:
    """Return the installed backends by name, without importing them.

    Raises BackendError where two packages offer a backend of one name.
    """
    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=GROUP):
        twin = found.get(entry.name)
        if twin is not None and twin.value != entry.value:
            raise BackendError(
                f"two installed packages offer a backend {entry.name!r}",
                facts=[f"{twin.value} and {entry.value}"],
                mend="uninstall one of them: pip uninstall <package>",
            )
        found[entry.name] = entry
    return found


def load_backend(name: str) -> Backend:
    """Return the backend of this name. Raises BackendError where it is unknown or cannot be imported."""
    known = backends()
    if name not in known:
        raise BackendError(
            f"there is no backend {name!r}",
            facts=[f"installed: {', '.join(sorted(known)) or 'none'}"],
            mend="check the spelling, or install the package that provides it",
        )
    module, _, attribute = known[name].value.partition(":")
    try:
        backend: Backend = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, OSError) as error:
        raise BackendError(
            f"backend {name!r} cannot be loaded: {error}",
            facts=[f"its entry point is {known[name].value}"],
            mend=_install_hint(known[name], error),
        ) from error
    return backend


@functools.cache
def reference() -> Backend:
    """Return the reference backend. Raises BackendError where it is not installed."""
    return load_backend(REFERENCE)


def _install_hint(entry: EntryPoint, error: Exception) -> str:
    """Return the command that installs what is missing, or else the package of the backend anew."""
    missing = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if missing and missing != entry.value.partition(":")[0].partition(".")[0]:
        return f"pip install {missing}"
    package = entry.dist.name if entry.dist is not None else entry.name
    return f"pip install --force-reinstall {package}"


def as_backend(given: object) -> Backend:
    """Return a backend for its installed name, or the object itself.

    Raises BackendError for an unknown name, OptionError for an object that is no backend.
    """
    if isinstance(given, str):
        return load_backend(given)
    if isinstance(given, type):
        raise OptionError(
            f"backend is the class {given.__name__}, not an object", mend=f"backend={given.__name__}()"
        )
    name, ops = getattr(given, "name", None), getattr(given, "ops", None)
    lacking = [
        what
        for what, holds in (
            ('name, such as "mine"', isinstance(name, str) and bool(name)),
            ("ops, the set of the classes of ops that it compiles", isinstance(ops, Set)),
            ("compile(graph), a method", callable(getattr(given, "compile", None))),
        )
        if not holds
    ]
    if lacking:
        raise OptionError(
            f"backend={given!r:.60} is neither the name of a backend nor one itself",
            facts=[f"it lacks {what}" for what in lacking],
            mend='backend="native", or an object as gcn.Backend says',
        )
    backend: Backend = given  # type: ignore[assignment]
    return backend


def gathering(backend: Backend, options: Mapping[str, object] | None = None) -> Gather:
    """Return what gathers the rows of batches: what the backend's `gathering(**options)` returns, or NumPy.

    options: those that `compile` is given. `graphcnn.data.batches.gather` says what it does; what a backend
    returns does the same, with the same bits, and may work ahead: see `graphcnn.data.batches.Gather`.
    """
    own = getattr(backend, "gathering", None)
    if own is None:
        return gather
    made: Gather = own(**(options or {}))
    return made


def own_samples(executable: Executable, samples: int) -> Sequence[range]:
    """Return which samples of a batch of so many an executable reads on this rank; by default all.

    An executable that was compiled for several ranks says so by a method of that name. It holds for inputs
    with a row per sample but those of one number each, and those that `whole_inputs` of its graph names.
    """
    found = getattr(executable, "own_samples", None)
    if found is None:
        return [range(samples)]
    own: Sequence[range] = found(samples)
    return own


def processor_of(backend: Backend) -> str:
    """Return for which processors a backend's code is made, as far as its bits depend on that; "" for all.

    A backend may have an attribute `processor`, which says so.
    """
    return str(getattr(backend, "processor", ""))


def check_kernel(op: object, /, *arguments: str, **kernel: object) -> None:
    """Raise OptionError, at the user's line, unless this is a registered op, and a kernel that can be called.

    arguments: what the kernel is called with, if that is known. kernel: by the name of the argument that it
    was given as.
    """
    problem, mend = "", ""
    ((argument, given),) = kernel.items()
    if not isinstance(op, type) or not issubclass(op, Op) or not hasattr(op, "name"):
        problem, mend = f"{op!r:.60} is not a class of ops", "register(Swish, ...), where class Swish(gcn.Op)"
    elif not callable(given):
        problem, mend = f"{argument}={given!r:.60} is not a function", f"{argument}=function"
    elif wrong := misfit(given, *arguments) if arguments else "":
        problem = f"{argument}={described(given)} of {op.name} {wrong}"
        mend = f"def {op.name}({', '.join(arguments)}): ..."
    elif not is_internal(op.__module__) and ops.OPS.get(op.name) is not op:
        problem = f"{op.__name__} is not registered: graphs that are parsed or loaded would not know it"
        mend = f"put @gcn.register_op above class {op.__name__}"
    if problem:
        place = users_line()
        raise OptionError(problem, mend=mend).located(file=place.file, line=place.line)


def check_options(backend: Backend, options: Mapping[str, object]) -> None:
    """Raise OptionError unless `backend.compile` takes these options.

    A backend may have a method `check_options`, which takes the same and looks at the values.
    """
    known = inspect.signature(backend.compile).parameters
    for option in options:
        if option not in known:
            raise OptionError(
                f"backend {backend.name!r} has no option {option!r}",
                facts=[f"its options: {', '.join([*known][1:]) or 'none'}"],
                mend=f"leave {option} out, or take another backend",
            )
    check = getattr(backend, "check_options", None)
    if check is not None:
        check(**options)


def require_ops(backend: Backend, graph: Graph) -> None:
    """Raise BackendError unless the backend has every op of the graph; name the line and who has it."""
    known = backend.ops
    node = next((node for _, node in graph.items() if type(node.op) not in known), None)
    if node is None:
        return
    others = [name for name in backends() if name != backend.name and _has_op(name, type(node.op))]
    error = BackendError(
        f"backend {backend.name!r} has no kernel for {node.op.name}",
        facts=[f"backends that have it: {', '.join(others) or 'none that is installed'}"],
        mend=f"backend={others[0]!r}"
        if others
        else f"graphcnn_numpy.register({type(node.op).__name__}, kernel), which serves numpy and native",
    )
    raise error.located(layer=node.origin.layer, file=node.origin.file, line=node.origin.line)


def _has_op(name: str, op: type[Op]) -> bool:
    try:
        return op in load_backend(name).ops
    except BackendError:
        return False


@known_arguments
def evaluate(graph: Graph, /, **inputs: object) -> dict[str, Array]:
    """Return the outputs of a graph for these inputs, computed by the reference backend.

    Raises DataError for inputs that do not fit.
    """
    return reference().compile(graph)(**inputs)


Observer: TypeAlias = Callable[[int, Sequence[Array], Sequence[Array]], bool]
"""`observer(key, operands, results)` is called for each node; with True it has seen enough."""


class Observable(Protocol):
    """What the executables of the reference backend can do beside."""

    def observe(self, observer: Observer, /, **inputs: object) -> None:
        """Compute every node in order and show it to the observer, as long as it wants to see more."""


def observe(graph: Graph, observer: Observer, /, **inputs: object) -> None:
    """Let the reference backend compute a graph node by node, and the observer look at each.

    The arrays are those that are computed with: the observer must not change them, and may keep them.
    Raises DataError for inputs that do not fit.
    """
    executable: Any = reference().compile(graph)
    observable: Observable = executable
    observable.observe(observer, **inputs)


def step_by_calling(executable: Executable, state: dict[str, Array], /, **inputs: object) -> dict[str, Array]:
    """Do `Executable.step` by means of a call: for backends that have no faster way of their own.

    One of several ranks may have an attribute `elsewhere`: the states that others keep.
    """
    graph = executable.graph
    elsewhere: Set[str] = getattr(executable, "elsewhere", frozenset())
    results = executable(**with_state(graph, state, inputs, elsewhere))
    with interrupts_put_off():  # a state of before the step or of after it, nothing between
        for label in graph.updates.keys() - elsewhere:
            np.copyto(state[label], results.pop(label))
    return results


def bind_inputs(
    graph: Graph, given: Mapping[str, object], elsewhere: Set[str] = frozenset()
) -> tuple[dict[str, Array], int]:
    """Return the given inputs as arrays of the graph's types, and the batch size (1 where there is none).

    elsewhere: the states that other ranks keep, of which nothing is given.

    Floating-point arrays are converted to the input's precision and integers to its width; nothing else
    is. Raises DataError for a missing or unknown name, a wrong shape or element type, and for inputs that
    disagree on the batch size.
    """
    wanted = {label: value for label, value in graph.inputs.items() if label not in elsewhere}
    missing = [f"{label}: {value.type}" for label, value in wanted.items() if label not in given]
    unknown = [label for label in given if label not in wanted]
    if missing or unknown:
        raise DataError(
            f"the inputs of graph {graph.name!r} are not complete"
            if missing
            else f"unknown inputs {unknown}",
            facts=[*(f"missing {each}" for each in missing), *(f"unknown {label!r}" for label in unknown)],
        )
    arrays = {
        label: as_input(f"input {label!r}", value.type, given[label]) for label, value in wanted.items()
    }
    sizes = {
        label: arrays[label].shape[graph.inputs[label].type.shape.index(BATCH)]
        for label in batch_inputs(graph)
    }
    if len(set(sizes.values())) > 1:
        raise DataError(
            "the inputs disagree on the batch size",
            facts=[f"{label}: {size}" for label, size in sizes.items()],
            mend="give every input one row per sample",
        )
    return arrays, next(iter(sizes.values()), 1)


def with_state(
    graph: Graph,
    state: Mapping[str, object],
    inputs: Mapping[str, object],
    elsewhere: Set[str] = frozenset(),
) -> dict[str, object]:
    """Return the inputs of one step: those of `state` that the graph has, and the others.

    Entries of `state` that the graph does not know are left out, so that one state serves many graphs; and
    those that other ranks keep, `elsewhere`.
    Raises DataError for a name given twice, and unless every state that the graph updates is a writeable
    array of its type in `state`, with memory of its own.
    """
    twice = sorted(state.keys() & inputs.keys())
    if twice:
        raise DataError(f"{', '.join(map(repr, twice))} is given both in the state and as an input")
    updated = [label for label in graph.updates if label not in elsewhere]
    for label in updated:
        array = state.get(label)
        type = graph.inputs[label].type
        if not isinstance(array, np.ndarray) or array.dtype != type.dtype or not array.flags.writeable:
            found = f"{array.dtype} array" if isinstance(array, np.ndarray) else f"{array!r:.40}"
            raise DataError(
                f"the state {label!r} is overwritten by the step",
                facts=[f"needed: a writeable array {type}", f"found: {found}"],
            )
    held: dict[str, Any] = {label: state[label] for label in updated}
    twins = overlapping(held)
    if twins is not None:
        raise DataError(
            f"the states {twins[0]!r} and {twins[1]!r} share memory, but each is overwritten by the step",
            mend=f"give each an array of its own: state[{twins[1]!r}] = state[{twins[1]!r}].copy()",
        )
    known = graph.inputs.keys() - elsewhere
    return {label: array for label, array in state.items() if label in known} | dict(inputs)
