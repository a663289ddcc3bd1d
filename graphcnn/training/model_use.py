"""What a model is used for once it is trained: predictions, and how good they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Any, TypedDict, Unpack, overload

import numpy as np

from graphcnn.arguments import known_methods, translated_arguments
from graphcnn.arrays import Array
from graphcnn.backend import Backend, gathering
from graphcnn.data.dataset import Dataset, check_resize
from graphcnn.displays import display
from graphcnn.errors import DataError, OptionError
from graphcnn.training.class_names import checked_classes
from graphcnn.training.classified import Classified, classified
from graphcnn.training.feed import Feed, Source, parts_to_test
from graphcnn.training.feeding import check_batch_size, fitting_inputs
from graphcnn.training.graphs import Graphs, given_output
from graphcnn.training.model_graphs import OF_EVERY_BATCH
from graphcnn.training.model_state import ModelState
from graphcnn.training.named import Named
from graphcnn.training.objective import OUTPUT, variant
from graphcnn.training.other_arguments import FIT
from graphcnn.training.own_rows import OwnRows
from graphcnn.training.ranks import Ranks
from graphcnn.training.totals import Totals
from graphcnn.training.views import View, Views, WeightedViews, averaged, weighted_views
from graphcnn.visible import visible

Classes = Sequence[str] | Mapping[str, Sequence[str]] | None
"""The names of classes; of several outputs by output."""

Watch = Callable[[Mapping[str, Array], Mapping[str, Array]], object]
"""What looks at batches and the network's outputs for them."""


class Options(TypedDict, total=False):
    """Of every evaluation."""

    batch_size: int
    sample_weight: object
    views: Views | Sequence[View] | None


class OptionsOfReport(Options, total=False):
    """Of one that returns a report."""

    classes: Classes


@known_methods(besides=OF_EVERY_BATCH)
class ModelUse(ModelState):
    """A model that takes arrays, and batches of them."""

    def __init__(
        self,
        graphs: Graphs,
        state: dict[str, Array],
        backend: Backend,
        options: Mapping[str, object],
        frozen_by_layers: Callable[[], frozenset[str]],
        ranks: Ranks,
    ) -> None:
        super().__init__(graphs, state, backend, options, frozen_by_layers, ranks)
        self._statistics = {} if graphs.objective is None else graphs.objective.statistics
        self._feed = Feed(
            {label: value.type for label, value in graphs.inference.inputs_with_role("data").items()},
            graphs.objective,
            gathering(backend, self._options),
        )
        self._classes: tuple[str, ...] = ()
        self._resize = "crop"

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes that the network tells apart; () where nobody has said them.

        `fit` takes them from a Dataset, and the model's file holds them. Raises OptionError where they are
        set to other than as many names as there are outputs.
        """
        return self._classes

    @classes.setter
    def classes(self, names: Sequence[str]) -> None:
        self._classes = checked_classes(names, [type.shape for type in self._outputs.values()])

    @property
    def resize(self) -> str:
        """How images get the size that the network takes, "crop" or "stretch": see `load_image_folder`.

        `fit` takes it from a Dataset, the model's file holds it, and `classify` does so. Raises OptionError
        where it is set to anything else.
        """
        return self._resize

    @resize.setter
    def resize(self, resize: str) -> None:
        check_resize(resize)
        self._resize = resize

    @translated_arguments(FIT)
    def predict(
        self, x: object, *, batch_size: int = 256, views: Views | Sequence[View] | None = None
    ) -> Any:
        """Return the network's outputs, a row per sample, for example logits [n, 10].

        Of a network with several outputs, a dictionary of arrays by name.
        x: the inputs, [n, ...]; of no samples, [0, ...] or an empty list, there are no outputs, [0, 10].
        views: return the mean of the outputs of several views of each image: `gcn.Views()` sees it mirrored,
        too. Functions of your own, from images as the network takes them to such images, count alike.
        Raises DataError for arrays that do not fit.
        """
        executable, size = self.executable("forward"), check_batch_size(batch_size)
        weighted = self._weighted_views(views)
        types, form = self._feed.inputs, self._feed.form
        if weighted is None and form is not None and form.fits(x) and len(x) <= size:
            return self._predicted(executable.step(self._state, **{self._feed.only_input: x}))
        inputs = fitting_inputs(types, x, least=0)
        if not self.samples(inputs):
            none = {k: np.zeros((0, *v.concrete(1)[1:]), v.dtype) for k, v in self._outputs.items()}
            return self._predicted(none)
        if self.samples(inputs) <= size:
            return self._predicted(self._outputs_for(self._feed.whole(inputs), weighted))
        batches = self._feed.in_batches(inputs, size).epoch(0, 0)
        parts = [self._outputs_for(batch, weighted) for batch in batches]
        return self._predicted(
            {name: np.concatenate([part[name] for part in parts]) for name in self._outputs}
        )

    def _weighted_views(self, views: Views | Sequence[View] | None) -> WeightedViews | None:
        return None if views is None else weighted_views(views, self._feed.inputs, self._outputs)

    def _outputs_for(self, inputs: Mapping[str, Array], views: WeightedViews | None) -> dict[str, Array]:
        """Return the outputs for the inputs of a batch, or their mean over views of its images."""
        forward = self.executable("forward")
        if views is None:
            return forward.step(self._state, **inputs)
        (images,) = inputs.values()
        return averaged(lambda seen: forward.step(self._state, **self._feed.batch(seen)), images, views)

    def _predicted(self, outputs: dict[str, Array]) -> Any:
        return outputs[OUTPUT] if OUTPUT in outputs else Named(outputs, "model.predict(x)")

    def __call__(self, x: object) -> Any:
        """Return `predict(x)`."""
        return self.predict(x)

    def classify(
        self, images: object, *, resize: str | None = None, views: Views | Sequence[View] | None = None
    ) -> Classified:
        """Return what images are taken for: `print(model.classify("photo.jpg"))` shows it in words.

        images: the path of an image, or of a folder, of which it is the images at any depth, or several of
        both; they become what the network takes, grey or RGB. Or arrays as in `predict`. resize: "crop" or
        "stretch", as in `load_image_folder`; by default as the images were that the model was trained on.
        views: as in `predict`.
        Files that cannot be loaded are left out with a warning. Raises FileError where none can,
        OptionError for a network that does not tell classes apart.
        """
        return classified(self, images, resize=self.resize if resize is None else resize, views=views)

    def numba_function(self) -> Any:
        """Return the network as a function that your own `@numba.njit` code can call: `outputs = f(inputs)`.

        It takes the network's input, [n, ...], and returns its output, in contiguous arrays of the model's
        precision, for any n; several threads can call it at once. It computes with the parameters as they are
        at the time of the call, so do not train meanwhile. Model and code stay in memory from now on, for
        they may have become part of other code.

        Raises OptionError where the backend generates no code, or the network has several inputs.
        """
        executable = self.executable("forward")
        if not hasattr(executable, "numba_function"):
            raise OptionError(
                f"backend {self.backend.name!r} generates no code that Numba could call",
                mend='gcn.compile(network, backend="native")',
            )
        if len(self._feed.inputs) > 1 or len(self._outputs) > 1:
            raise OptionError(
                "a function for Numba takes one array and returns one, but this network has several",
                facts=[f"inputs: {', '.join(self._feed.inputs)}", f"outputs: {', '.join(self._outputs)}"],
                mend="join them before the network, and take them apart in it; concatenate its outputs",
            )
        return executable.numba_function(self._state)

    @overload
    def evaluate(self, x: object, y: object = None, **options: Unpack[Options]) -> dict[str, float]: ...

    @overload
    def evaluate(
        self, x: object, y: object = None, *, report: bool, **options: Unpack[OptionsOfReport]
    ) -> Any: ...

    @translated_arguments(FIT)
    def evaluate(
        self,
        x: object,
        y: object = None,
        *,
        batch_size: int = 256,
        sample_weight: object = None,
        views: Views | Sequence[View] | None = None,
        report: bool = False,
        classes: Classes = None,
    ) -> Any:
        """Return loss and metrics over a whole dataset, for example {"loss": 0.05, "accuracy": 0.98}.

        With report=True return a report instead, which prints itself: scores of each class, and which are
        taken for which, or errors of numbers, with the samples that are most wrong. Of several outputs it is
        a dictionary of reports.

        x, y: as in `fit`: arrays with a row per sample, or x alone, an iterable of batches or a Dataset, of
        which it is the test part. sample_weight: as in `fit`. views: as in `predict`; loss and metrics are
        those of the mean. classes: their names, for the report; by default a Dataset's, or the model's. Of
        several outputs a dictionary of them by output.
        Raises DataError for data that does not fit.
        """
        self.graph("evaluation")
        size, weighted = check_batch_size(batch_size), self._weighted_views(views)
        names, files = (x.classes, x.test_files) if isinstance(x, Dataset) else (self.classes, ())
        if classes is None:
            classes = {head.output: names for head in self.heads if head.type.shape[1:][-1:] == (len(names),)}
        x, y = parts_to_test(x, y)
        own = None if report or weighted is not None else self._own_rows("evaluation")
        source = self._feed.arrays(x, y, size=size, sample_weight=sample_weight, own=own)
        if report:
            return display("evaluation_report")(self, source, classes, weighted, files)
        return Named(self.evaluate_batches(source, weighted), "model.evaluate(x, y)")

    def _own_rows(self, name: str) -> OwnRows | None:
        """Return which rows of batches this rank needs for one of the graphs; None is all."""
        return self._ranks.own_rows(lambda names: self.executable(variant(name, names)))

    def evaluate_batches(
        self,
        source: Source,
        views: WeightedViews | None = None,
        watch: Watch | None = None,
        between: Callable[[], object] = lambda: None,
    ) -> dict[str, float]:
        """Return loss and metrics over batches that are checked as far as they can be beforehand.

        watch: is told of each batch and the network's outputs for it. between: is called after each.
        """
        totals = self.totals()
        with closing(source.epoch(0, 0)) as drawn:
            for batch in self._ranks.alike(drawn, source, "to evaluate"):
                totals.add(self._evaluated(batch, views, watch), self.samples(batch))
                between()
        if not totals.samples:
            raise DataError(
                "the dataset is empty: there is nothing to evaluate",
                mend="pass a list, or another iterable that begins anew; a generator ends after one pass",
            )
        return totals.result()

    def _evaluated(
        self, batch: Mapping[str, Array], views: WeightedViews | None, watch: Watch | None
    ) -> dict[str, Array]:
        """Return loss and metrics of a batch."""
        if views is None and watch is None:
            self._agree()
            return self.executable(variant("evaluation", batch)).step(self._state, **batch)
        outputs = self._outputs_for({name: batch[name] for name in self._feed.inputs}, views)
        if watch is not None:
            watch(batch, outputs)
        return self._scores(outputs, batch)

    def _scores(self, outputs: Mapping[str, Array], batch: Mapping[str, Array]) -> dict[str, Array]:
        """Return loss and metrics of the outputs for a batch."""
        scores = self.executable(variant("scores", batch))
        given = {given_output(name): array for name, array in outputs.items()}
        targets = {name: array for name, array in batch.items() if name not in self._feed.inputs}
        return scores.step({}, **given, **targets)

    def totals(self) -> Totals:
        """Return sums of losses and metrics over batches, as this model's losses add up, still empty."""
        summed = set() if self._graphs.objective is None else self._graphs.objective.summed
        return Totals(summed, self._statistics)

    def samples(self, batch: Mapping[str, Array]) -> int:
        """Return how many samples a batch holds."""
        return self._feed.samples(batch)

    def __repr__(self) -> str:
        inputs = ", ".join(f"{name}: {type}" for name, type in self._feed.inputs.items())
        outputs = ", ".join(
            str(type) if name == OUTPUT else f"{name}: {type}" for name, type in self._outputs.items()
        )
        precision = "" if self.precision == "float32" else f", products of {self.precision}"
        own, whole = self._shards.bytes
        of_optimizer = f", {own:,} of the {whole:,} bytes of the optimizer's state" if whole else ""
        return visible(
            f"<Model {self.forward_graph.name}: {inputs} -> {outputs}, "
            f"{self.parameters.count:,} parameters, backend {self.backend.name}{precision}{of_optimizer}>"
        )
