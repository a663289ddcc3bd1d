"""Writing the viewer's page for a model or a graph, and showing it."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from graphcnn.errors import OptionError
from graphcnn.inspection.difference import GraphDifference, difference
from graphcnn.inspection.pages import check_page_path, show_page
from graphcnn.inspection.profile import Profile
from graphcnn.inspection.recording import Recording
from graphcnn.inspection.viewer.document import difference_document, graph_document, model_document
from graphcnn.inspection.viewer.nodes import Json, require_showable
from graphcnn.inspection.viewer.page import page
from graphcnn.ir import Graph
from graphcnn.ops.attributes import is_int

if TYPE_CHECKING:
    from graphcnn.training.model import Model

OTHER_DISPLAYS = (
    "a picture: from pathlib import Path; from graphcnn.inspection.svg import graph_svg; "
    'Path("network.svg").write_text(graph_svg(model.forward_graph), "utf-8")',
    "text: graphcnn show SCRIPT --as text|dot|mermaid|latex|svg --output FILE",
)


def show_model(
    model: Model,
    path: str | PathLike[str] | None = None,
    *,
    profile: Profile | None = None,
    recording: Recording | None = None,
    batch_size: int = 1,
    kernels: bool = True,
    ranks: int | None = None,
    title: str = "",
    open: bool = True,
) -> Path:
    """Write the page of a model and return its path; see `Model.show`."""
    check_page_path(path, OTHER_DISPLAYS)
    _check_batch_size(batch_size)
    shown = model.forward_graph if model.loss is None else model.gradient_graph
    if profile is not None and (not isinstance(profile, Profile) or profile.mode != "train"):
        raise OptionError(
            "profile is no profile of a training step",
            facts=[f"it is {profile!r:.80}" if not isinstance(profile, Profile) else "it is of an inference"],
            mend="measure with targets: model.show(profile=model.profile(x, y))",
        )
    if recording is not None and not isinstance(recording, Recording):
        raise OptionError(f"recording is {recording!r:.80}", mend="model.show(recording=model.inspect(x, y))")
    if recording is not None and recording.graph != shown:
        raise OptionError(
            "the recording is of another graph than the one that is shown",
            mend="record with targets: model.show(recording=model.inspect(x, y))",
        )
    if ranks is not None and not is_int(ranks, 1):
        raise OptionError(f"ranks={ranks!r:.60} is not an integer of at least 1", mend="ranks=4")
    trains = model.loss is not None and model.optimizer is not None
    built = model.executable("step").report().kernels if kernels and trains and profile is None else ()
    document = model_document(
        model,
        batch=batch_size,
        profile=profile,
        kernels=built,
        values=None if recording is None else recording.values,
        ranks=ranks,
    )
    return _written(document | ({"title": title} if title else {}), path, open)


def show_graph(
    graph: Graph,
    path: str | PathLike[str] | None = None,
    *,
    against: Graph | None = None,
    batch_size: int = 1,
    open: bool = True,
) -> Path:
    """Write the page of one graph, or of two beside each other, and return its path; see `Graph.show`."""
    check_page_path(path, OTHER_DISPLAYS)
    _check_batch_size(batch_size)
    if against is None:
        return _written(graph_document(graph, batch=batch_size), path, open)
    require_showable(graph)
    require_showable(against)
    return show_difference(graph, against, difference(graph, against), path, batch_size=batch_size, open=open)


def show_difference(
    before: Graph,
    after: Graph,
    difference: GraphDifference,
    path: str | PathLike[str] | None = None,
    *,
    batch_size: int = 1,
    open: bool = True,
) -> Path:
    """Write a page with two graphs side by side, what differs in colour, and return its path.

    difference: how their nodes match. path, batch_size, open: as in `Graph.show`.
    """
    check_page_path(path, OTHER_DISPLAYS)
    _check_batch_size(batch_size)
    return _written(difference_document(before, after, difference, batch=batch_size), path, open)


def _check_batch_size(batch_size: object) -> None:
    if not is_int(batch_size, 1):
        raise OptionError(f"batch_size={batch_size!r} is not an integer of at least 1", mend="batch_size=64")


def _written(document: Json, path: str | PathLike[str] | None, open: bool) -> Path:
    return show_page(page(document), document["title"], path, open)
