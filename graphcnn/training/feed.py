"""What users hand over, as batches by name of what the graphs of a model take: inputs, targets, weights."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from graphcnn.arrays import Array
from graphcnn.data import mapping
from graphcnn.data.batches import Batches, Gather, converted, gather, permutation
from graphcnn.data.dataset import Dataset
from graphcnn.data.fingerprint import Fingerprint, fingerprint
from graphcnn.data.prefetching import AHEAD, prefetched
from graphcnn.errors import DataError, OptionError, meant
from graphcnn.inputs import as_input
from graphcnn.ir import BATCH, TensorType, format_shape
from graphcnn.sample_keys import SAMPLE_KEY, identities, in_epoch
from graphcnn.training.feeding import Form, fitting_inputs, require_finite
from graphcnn.training.objective import SAMPLE_WEIGHT, Head, Objective
from graphcnn.training.own_rows import OwnRows
from graphcnn.training.targets import TargetForm, as_targets

Batch = dict[str, Array]
Drawn = Generator[Batch, None, None]
"""Batches as they are drawn. Who stops before the last closes it, so that no thread draws more."""

BatchesOf = Iterable[tuple[Any, ...]]


@dataclass(frozen=True)
class Source:
    """Where the batches of an epoch come from.

    epoch: yields those of an epoch from one of its batches on; both are counted from 0. steps: how many there
    are in an epoch, where that is known. close: to be called after the last epoch.
    is_repeatable: whether the same batches come when an epoch is asked for again. inputs: the arrays of
    inputs as they were given, where all samples are at hand. fingerprints: of all arrays by name, where they
    are. names: of what is in each batch, as far as that is known.
    """

    epoch: Callable[[int, int], Drawn]
    steps: int | None = None
    close: Callable[[], None] = lambda: None
    is_repeatable: bool = False
    inputs: tuple[Array, ...] = ()
    fingerprints: Callable[[], dict[str, Fingerprint]] = dict
    names: tuple[str, ...] = ()


class Feed:
    """Turns what users pass to fit, evaluate and predict into batches.

    inputs: the types of the network's inputs by name. objective: what is trained, if anything is. gather:
    what takes the rows of batches out of arrays, and converts them.
    only_input, only_target: the names of the input and of that for targets, "" where there are several.
    form: what an array for the only input is like.
    """

    def __init__(self, inputs: Mapping[str, TensorType], objective: Objective | None, gather: Gather) -> None:
        self.inputs: Final = inputs
        self._targets: dict[str, Head] = {} if objective is None else objective.targets
        self._with_rows: Final = next((name for name, type in inputs.items() if type.has_batch), "")
        self._gather: Final = gather
        targets = {label: head.target_type for label, head in self._targets.items()}
        self._dtypes: Final = {name: np.dtype(type.dtype) for name, type in {**inputs, **targets}.items()}
        self.only_input: Final = next(iter(inputs)) if len(inputs) == 1 else ""
        self.form: Final = Form(inputs[self.only_input]) if self.only_input else None
        head = next(iter(self._targets.values())) if len(self._targets) == 1 else None
        self.only_target: Final = head.target if head else ""
        self._target_form: Final = TargetForm(head) if head else None

    def takes(self, x: object, y: object) -> bool:
        """Whether a batch can go to the backend as it is."""
        form, target = self.form, self._target_form
        if form is None or target is None or not form.fits(x) or not target.fits(y) or len(x) != len(y):
            return False
        return target.holds(y)

    def samples(self, batch: Mapping[str, Array]) -> int:
        """Return how many samples a batch holds."""
        return len(batch[self._with_rows])

    def batch(
        self, x: object, y: object = None, sample_weight: object = None, class_weight: object = None
    ) -> Batch:
        """Return a batch by name, with targets and weights where there are any.

        Raises DataError for arrays that do not fit, and OptionError for weights of what is not there.
        """
        return self.whole(self._fitting(x, y, sample_weight, class_weight))

    def whole(self, given: Mapping[str, Array]) -> Batch:
        """Return arrays that fit, and stay as they are, as one batch, which is converted."""
        return {
            name: converted(array, self._dtype(name, array), self._gather) for name, array in given.items()
        }

    def _fitting(self, x: object, y: object, sample_weight: object, class_weight: object) -> Batch:
        """Return what `batch` does, before it is converted."""
        batch: Batch = fitting_inputs(self.inputs, x)
        if y is None:
            return batch
        samples = self.samples(batch)
        batch.update(self._as_targets(y, samples))
        weights = self._weights(batch, samples, sample_weight, class_weight)
        return batch if weights is None else {**batch, SAMPLE_WEIGHT: weights}

    def arrays(
        self,
        x: object,
        y: object,
        *,
        size: int,
        seed: int | None = None,
        sample_weight: object = None,
        class_weight: object = None,
        prefetch: int = AHEAD,
        most: int | None = None,
        key_seed: int | None = None,
        own: OwnRows | None = None,
    ) -> Source:
        """Return arrays, which are checked at once, or an iterable of batches, as a source.

        x, y: arrays with a row per sample; or x alone, an iterable of (x, y) or (x, y, sample_weight).
        prefetch: how many batches of an iterable are drawn before they are needed. most: how many in all.
        key_seed: of the keys of samples; None for graphs that take none. own: which rows of arrays are read,
        by default all; given batches have all rows anyway.
        """
        if y is not None:
            whole = self._fitting(x, y, sample_weight, class_weight)
            self._require_all_finite(whole, own)
            return self.in_batches(self._with_keys(whole, key_seed), size, seed, own=own)
        if isinstance(x, np.ndarray | str | bytes | Mapping) or not isinstance(x, Iterable):
            raise DataError("labels are missing", mend=_mend_of_missing_labels(x))
        if isinstance(x, tuple | list) and len(x) in (2, 3) and _is_arrays(x):
            raise DataError(
                f"images and labels are given as one {type(x).__name__}, which would be batches",
                mend=f"as arguments of their own: images, labels{', sample_weight=weights' * (len(x) == 3)}",
            )
        if isinstance(class_weight, str):
            raise OptionError(
                f"class_weight={class_weight!r:.60} is for arrays, of which all labels are at hand",
                mend="class_weight={0: 1.0, 1: 5.0}, by label",
            )
        if sample_weight is not None:
            raise OptionError(
                "sample_weight is for arrays; batches bring their own", mend="yield x, y, sample_weight"
            )
        ahead = 0 if isinstance(x, list | tuple) else prefetch  # there is nothing to be made ahead

        def epoch(number: int, begin: int) -> Drawn:
            with closing(prefetched(x, ahead, most)) as drawn:
                yield from self._of_batches(drawn, number, begin, class_weight, key_seed)

        return Source(epoch, names=() if class_weight is None else (SAMPLE_WEIGHT,))

    def split(
        self,
        x: object,
        y: object,
        share: float,
        *,
        size: int,
        seed: int | None,
        drawn_by: int,
        sample_weight: object = None,
        class_weight: object = None,
        key_seed: int | None = None,
        own: tuple[OwnRows | None, OwnRows | None] = (None, None),
    ) -> tuple[Source, Source]:
        """Return arrays as two sources: what to train on, and the share of the samples to evaluate.

        drawn_by: the seed that chooses them. Weights of classes are for training alone, and so are the keys
        of samples, of the seed key_seed. own: as in `arrays`, of each of the two.
        Raises OptionError for an iterable of batches, and where one of the two would be empty.
        """
        if y is None:
            raise OptionError(
                "validation_split is for arrays, of which samples can be chosen",
                mend="validation_data=batches, others than those to train on",
            )
        whole = self._fitting(x, y, sample_weight, class_weight)
        tested = whole if class_weight is None else self._fitting(x, y, sample_weight, None)
        self._require_all_finite(whole, own[0])
        whole = self._with_keys(whole, key_seed)
        samples = self.samples(whole)
        held = round(share * samples)
        if not 0 < held < samples:
            raise OptionError(
                f"validation_split={share!r} of {samples:,} samples leaves no sample to "
                f"{'train on' if held else 'evaluate'}",
                mend="validation_data=(images, labels), or another share",
            )
        order = permutation(samples, drawn_by)
        train = self.in_batches(whole, size, seed, np.sort(order[held:]), own[0])
        return train, self.in_batches(tested, size, None, np.sort(order[:held]), own[1])

    def _of_batches(
        self, batches: Iterable[object], epoch: int, begin: int, class_weight: object, key_seed: int | None
    ) -> Iterator[Batch]:
        """Yield given batches from one on; a sample's index is its place among those of the epoch."""
        samples = 0
        for number, given in enumerate(batches):
            if number < begin and key_seed is None:
                continue
            batch = self._given(given, class_weight)
            if key_seed is not None:
                indices = np.arange(samples, samples + self.samples(batch))
                batch[SAMPLE_KEY] = in_epoch(identities(key_seed, indices), epoch)
                samples += len(indices)
            if number >= begin:
                yield batch

    def _with_keys(self, whole: Batch, key_seed: int | None) -> Batch:
        """Return all samples with their keys of epoch 0, where graphs take keys."""
        if key_seed is None:
            return whole
        return {**whole, SAMPLE_KEY: identities(key_seed, np.arange(self.samples(whole)))}

    def in_batches(
        self,
        whole: Batch,
        size: int,
        seed: int | None = None,
        rows: NDArray[np.int64] | None = None,
        own: OwnRows | None = None,
    ) -> Source:
        """Return arrays that fit, and stay as they are, as batches of so many rows, which are converted.

        seed: shuffles; None keeps their order. rows: the samples that are taken, by default all. own: as in
        `arrays`. Inputs that have no rows are shared by all batches.
        """
        names = [name for name in whole if name not in self.inputs or self.inputs[name].has_batch]
        shared = {
            name: converted(array, self._dtype(name, array))
            for name, array in whole.items()
            if name not in names
        }
        has_keys = SAMPLE_KEY in names and SAMPLE_KEY not in self.inputs
        reads_files = any(
            whole[name].nbytes > mapping.LARGE and mapping.is_mapped(whole[name]) for name in names
        )
        batches = Batches(
            *(whole[name] for name in names),
            size=size,
            seed=seed,
            rows=rows,
            dtypes=[self._dtype(name, whole[name]) for name in names],
            gather=gather if reads_files else self._gather,  # beside a step, it leaves the threads to that
            needed=None if own is None else [own.needed(name, whole[name], whole.keys()) for name in names],
        )

        def epoch(number: int, begin: int) -> Drawn:
            drawn = batches.epoch(number, begin)
            for arrays in prefetched(drawn) if reads_files else drawn:
                batch = dict(zip(names, arrays, strict=True))
                if shared:
                    batch.update(shared)
                if has_keys:
                    batch[SAMPLE_KEY] = in_epoch(batch[SAMPLE_KEY], number)
                yield batch

        inputs = tuple(whole[name] for name in names if name in self.inputs)
        return Source(
            epoch,
            len(batches),
            is_repeatable=True,
            inputs=inputs,
            fingerprints=lambda: {name: fingerprint(array) for name, array in whole.items()},
            names=tuple(whole),
        )

    def _dtype(self, name: str, array: Array) -> np.dtype[Any]:
        """Return the element type in which batches have an array; weights have theirs already."""
        return self._dtypes.get(name, array.dtype)

    def _require_all_finite(self, whole: Batch, own: OwnRows | None) -> None:
        for name, array in whole.items():
            is_target = name.partition(".")[0] == "target"
            title, first = "targets" if is_target else f"inputs {name!r}", 0
            if own is not None and array.ndim > 1:
                rows = own.share(len(array))
                array, first = array[rows], rows.start
            require_finite(title, array, self._dtypes.get(name), first)

    def validation(self, data: object, size: int, own: OwnRows | None = None) -> Source:
        """Return what is evaluated after each epoch: arrays (x, y), with weights or without, or batches.

        Of a Dataset it is the test part. own: as in `arrays`.
        """
        if isinstance(data, Dataset):
            return self.arrays(*parts_to_test(data, None), size=size, own=own)
        is_batches = isinstance(data, Iterable) and not isinstance(data, np.ndarray | str | bytes | Mapping)
        if not is_batches:
            raise DataError(
                f"they are {type(data).__name__}, not a pair of images and labels",
                mend="validation_data=(images[n:], labels[n:]), and train on images[:n], labels[:n]",
            )
        if isinstance(data, tuple) and len(data) not in (2, 3) and _is_arrays(data):
            raise DataError(
                f"they are a tuple of {len(data)}, not a pair of images and labels",
                mend="validation_data=(images, labels), or (images, labels, sample_weight)",
            )
        if isinstance(data, tuple | list) and len(data) in (2, 3):
            x, y, *weights = data
            if isinstance(data, tuple) or isinstance(x, np.ndarray | Mapping):
                weight = weights[0] if weights else None
                return self.arrays(x, y, size=size, sample_weight=weight, own=own)
        return self.arrays(data, None, size=size)

    def _given(self, given: object, class_weight: object) -> Batch:
        if not isinstance(given, tuple | list) or len(given) not in (2, 3):
            raise DataError(
                "a batch is not a pair (images, labels)",
                facts=[f"it is {_described(given)}"],
                mend="yield images, labels; or images, labels, sample_weight",
            )
        x, y, *weights = given
        if y is None:
            raise DataError("labels are missing in a batch", mend="yield images, labels")
        batch = self.batch(x, y, weights[0] if weights else None, class_weight)
        for name in self.inputs:
            require_finite(f"inputs {name!r}", batch[name])
        return batch

    def _as_targets(self, y: object, samples: int) -> Batch:
        given = self._by_target(y)
        found: Batch = {}
        for label, head in self._targets.items():
            try:
                found[label] = as_targets(head, given[label], samples)
            except DataError as error:
                if len(self._targets) > 1:
                    error.facts += (f"they are for the output {head.output!r}",)
                raise
        return found

    def _by_target(self, y: object) -> dict[str, object]:
        """Return the targets by the input that holds them: one array, or several by output or in order."""
        names = {head.output: label for label, head in self._targets.items()}
        if isinstance(y, Mapping):
            if y.keys() != names.keys():
                wrong = next((name for name in y if name not in names), "")
                raise DataError(
                    f"targets are given for {', '.join(map(str, y)) or 'no output'}, not {', '.join(names)}",
                    mend=meant(
                        wrong,
                        [name for name in names if name not in y],
                        f"give a dictionary {{{', '.join(f'{name!r}: array' for name in names)}}}",
                    ),
                )
            return {names[name]: array for name, array in y.items()}
        if len(names) == 1:
            return {next(iter(self._targets)): y}
        if isinstance(y, tuple | list) and len(y) == len(names):
            return dict(zip(self._targets, y, strict=True))
        raise DataError(
            f"the network is trained on {len(names)} outputs: {', '.join(names)}",
            mend=f"give a dictionary {{{', '.join(f'{name!r}: array' for name in names)}}}",
        )

    def _weights(
        self, batch: Batch, samples: int, sample_weight: object, class_weight: object
    ) -> Array | None:
        """Return what each sample's loss is multiplied by, or None for 1."""
        head = next(iter(self._targets.values()))
        type = head.type.with_shape((BATCH,))
        if isinstance(class_weight, str):
            class_weight = self._balanced(head, class_weight, batch)
        weights: Array | None = None
        if sample_weight is not None:
            weights = _of_samples(sample_weight, samples, type)
        if class_weight is not None:
            of_class = self._of_class(head, class_weight, type)
            labels = batch[next(iter(self._targets))]
            labels = np.where((labels >= 0) & (labels < len(of_class)), labels, 0)  # one that is ignored
            weights = of_class[labels] if weights is None else weights * of_class[labels]
        if weights is not None and not (np.isfinite(weights).all() and (weights >= 0).all()):
            raise DataError(
                "weights of samples are finite numbers of at least 0",
                facts=[f"they are {weights.min():g} to {weights.max():g}"],
                mend="give a sample that does not count the weight 0",
            )
        return weights

    def _balanced(self, head: Head, class_weight: str, batch: Batch) -> dict[int, float]:
        """Return weights with which classes that occur count alike, and all samples together as before."""
        if class_weight != "balanced":
            raise OptionError(
                f"class_weight={class_weight!r:.60} is neither 'balanced' nor a dictionary",
                mend='class_weight="balanced", or class_weight={0: 1.0, 1: 5.0}',
            )
        self._of_class(head, {}, head.type)
        labels = batch[next(iter(self._targets))]
        found, counts = np.unique(labels[(labels >= 0) & (labels < head.classes)], return_counts=True)
        each = counts.sum() / (len(counts) * counts)
        return dict(zip(found.tolist(), each.tolist(), strict=True))

    def _of_class(self, head: Head, class_weight: object, type: TensorType) -> Array:
        """Return the weight of each class; those that are not named weigh 1."""
        if len(self._targets) > 1 or not head.has_labels:
            raise OptionError(
                "class_weight needs one output that is trained on labels",
                mend="sample_weight=: a number for each sample",
            )
        if head.target_type.rank > 1:
            raise OptionError(
                "class_weight is for samples that have one label each, not for pixels",
                mend="loss=gcn.CrossEntropy(class_weights=[...])",
            )
        classes = head.type.static(1)
        given = class_weight if isinstance(class_weight, Mapping) else _numbered(class_weight, classes)
        weights = np.ones(classes, type.dtype)
        for label, weight in given.items():
            if not isinstance(weight, int | float | np.number) or isinstance(weight, bool):
                raise OptionError(
                    f"class_weight[{label!r:.60}]={weight!r:.60} is not a number",
                    mend="class_weight={0: 1.0, 1: 5.0}",
                )
            if not isinstance(label, int | np.integer) or not 0 <= label < classes:
                raise OptionError(
                    f"class_weight names the class {label!r:.60}",
                    facts=[f"classes are 0 to {classes - 1}"],
                    mend="class_weight={0: 1.0, 1: 5.0}",
                )
            weights[label] = weight
        return weights


def parts_to_train(x: object, y: object) -> tuple[object, object]:
    """Return images and labels to train on, which of a Dataset are its training part."""
    if not isinstance(x, Dataset):
        return x, y
    _require_no_labels(y)
    return x.images, x.labels


def parts_to_test(x: object, y: object) -> tuple[object, object]:
    """Return images and labels to evaluate, which of a Dataset are its test part."""
    if not isinstance(x, Dataset):
        return x, y
    _require_no_labels(y)
    if not len(x.test_images):
        raise DataError(
            "the dataset has no images to test on",
            mend="dataset.split(0.9) keeps a tenth of the images to test on; "
            "or name the images: dataset.images, dataset.labels",
        )
    return x.test_images, x.test_labels


def _mend_of_missing_labels(x: object) -> str:
    if isinstance(x, str):
        return f"load them: gcn.data.load({x!r:.80}, size=64) is a Dataset"
    return "pass images and labels, or an iterable of batches"


def _require_no_labels(y: object) -> None:
    if y is not None:
        raise DataError(
            "labels are given beside a Dataset, which has its own", mend="leave them out: model.fit(dataset)"
        )


@contextmanager
def of_validation() -> Iterator[None]:
    """Let errors within say that it is the validation data that do not fit."""
    try:
        yield
    except (DataError, OptionError) as error:
        error.problem = f"validation_data: {error.problem}"
        raise


def _is_arrays(given: Sequence[object]) -> bool:
    return all(isinstance(each, np.ndarray) for each in given)


def _described(given: object) -> str:
    """Return what a batch is that is no pair."""
    if isinstance(given, np.ndarray):
        return f"an ndarray of the shape {format_shape(given.shape)}"
    return f"a {type(given).__name__} of {len(given)}" if isinstance(given, Sized) else type(given).__name__


def _of_samples(sample_weight: object, samples: int, type: TensorType) -> Array:
    """Return weights [n] as an array."""
    if isinstance(sample_weight, Mapping):
        raise DataError(
            "sample_weight is a dictionary, but a sample has one weight, whatever outputs there are",
            mend="give an array, a number for each sample; loss_weights of gcn.compile weigh outputs",
        )
    given = np.asarray(sample_weight)
    if given.dtype.kind in "biuf":
        given = given.astype(type.dtype)
    if given.ndim == 1 and len(given) != samples:
        raise DataError(
            f"there are {samples} samples, but {len(given)} weights",
            mend="give each sample a weight, in the same order",
        )
    if given.ndim > 1:
        raise DataError(
            f"sample_weight has the shape {format_shape(given.shape)}, but [N] is needed",
            facts=[
                "it weighs whole samples; gcn.CrossEntropy(class_weights=[...], ignore=255) weighs pixels"
            ],
            mend=f"give each sample one number: sample_weight.mean(axis={tuple(range(1, given.ndim))})",
        )
    return as_input("input 'sample_weight'", type, given, called="sample_weight")


def _numbered(class_weight: object, classes: int) -> dict[int, float]:
    if not isinstance(class_weight, list | tuple | np.ndarray) or len(class_weight) != classes:
        raise OptionError(
            f"class_weight={class_weight!r:.60} is no dictionary, nor a number for each of {classes} classes",
            mend="class_weight={0: 1.0, 1: 5.0}; classes that it leaves out weigh 1",
        )
    return dict(enumerate(class_weight))
