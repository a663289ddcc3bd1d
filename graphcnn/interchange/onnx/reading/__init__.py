"""`gcn.from_onnx`: a network of the file of another framework, with its weights, ready to be trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike

from graphcnn.arguments import known_arguments
from graphcnn.dsl.network import Network
from graphcnn.dsl.tensor import at_users_line
from graphcnn.errors import FileError, GraphcnnError, InterchangeError
from graphcnn.interchange.onnx.reading.file import ModelFile, read_model
from graphcnn.interchange.onnx.reading.reader import UNFIT, Imported, Reader
from graphcnn.interchange.onnx.reading.signature import signature_of
from graphcnn.ir import users_line


@known_arguments
def from_onnx(
    source: str | PathLike[str] | bytes,
    *,
    shapes: Mapping[str, Sequence[int | None]] | None = None,
    batch: bool | None = None,
    values: Mapping[str, object] | None = None,
    outputs: Sequence[str] | None = None,
) -> Network:
    """Return the network of an ONNX file, or of its bytes; models that are compiled of it have its weights.

    Images [N, C, H, W] of the file are [N, H, W, C] here, as inputs and as outputs. Layers have the names
    that the file gives them. Weights of convolutions and dense layers, norms' scales, and other initializers
    of floats with more than one element are parameters; what the file's Constant nodes hold stays as it is.
    BatchNormalization and Dropout become the layers, which differ in training.

    shapes: of inputs by name, in the file's order of axes and with None for the batch, where the file leaves
    other sizes open. batch: whether the first axis of the inputs is the batch, of any size; by default where
    the file leaves it open, and where all inputs have the same there. False keeps the file's sizes. values:
    arrays by name for inputs that become constants of the network, such as the sizes that one is resized to.
    outputs: names of the file's values, or of the nodes that make them, with which the network ends instead:
    what comes before the last softmax, or features.

    Raises FileError for a file that is damaged, or that would take far more memory than its size,
    InterchangeError, which lists every operator and node in the way, for what graphcnn has no ops for, and
    OptionError for shapes and names that do not fit, and where the package `onnx` is missing.
    """
    return network_of(source, shapes=shapes, batch=batch, values=values, outputs=outputs)


def network_of(
    source: object,
    *,
    shapes: Mapping[str, Sequence[int | None]] | None = None,
    batch: bool | None = None,
    values: Mapping[str, object] | None = None,
    outputs: Sequence[str] | None = None,
) -> Network:
    """Return what `from_onnx` returns, for a file that may have been read before."""
    found = imported(source, shapes=shapes, batch=batch, values=values, outputs=outputs).network
    if found is None:
        raise at_users_line(
            InterchangeError(
                "all outputs of the ONNX model are constants, and no network makes them",
                mend="outputs=[...], values of the file that depend on its inputs",
            )
        )
    return found


def imported(
    source: object,
    *,
    shapes: Mapping[str, Sequence[int | None]] | None = None,
    batch: bool | None = None,
    values: Mapping[str, object] | None = None,
    outputs: Sequence[str] | None = None,
) -> Imported:
    """Return what `from_onnx` returns, and where the file's inputs and outputs are in it."""
    place = users_line()
    try:
        file = source if isinstance(source, ModelFile) else read_model(source)
        try:
            return Reader(file, signature_of(file, shapes, batch, values)).network(outputs)
        except FileError as error:
            raise file.damaged(error) from None
        except GraphcnnError:
            raise
        except UNFIT as error:
            said = f"its parts do not fit together ({type(error).__name__}: {error!s:.200})"
            raise file.damaged(FileError(said)) from None
    except GraphcnnError as error:
        raise error.located(file=place.file, line=place.line) from None
