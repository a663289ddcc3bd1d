"""From a path or bytes to a parsed model whose names, versions and sizes are in order."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from graphcnn.errors import FileError, GraphcnnError, OptionError
from graphcnn.interchange.files import as_path, opened
from graphcnn.interchange.onnx.reading.wire import LARGEST, check_wire

OLDEST: Final = 6
"""The first version of the operators that is read, of 2017; that of 1.2, a year later, is 7."""
STANDARD: Final = ("", "ai.onnx")
"""What files call the domain of the standard's own operators."""


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A parsed file. title: what errors call it. folder: where its external data may be."""

    model: Any
    title: str
    folder: Path | None
    opsets: dict[str, int]

    def input_names(self) -> list[str]:
        """Return the names of what the model takes, its weights apart."""
        stored = {tensor.name for tensor in self.model.graph.initializer}
        return [value.name for value in self.model.graph.input if value.name not in stored]

    def damaged(self, error: GraphcnnError) -> FileError:
        """Return the error for a file that is not what it should be, for this reason."""
        return FileError(
            f"{self.title} is not a whole ONNX file",
            facts=[f"reason: {error.problem}", *error.facts],
            mend=error.mend or "write or download the file again, and see what onnx.checker says of it",
        )


def require_onnx() -> Any:
    """Return the module `onnx`. Raises OptionError where it is not installed."""
    try:
        import onnx
    except ImportError:
        raise OptionError("ONNX files need the package onnx", mend="pip install 'graphcnn[onnx]'") from None
    return onnx


def read_model(source: object) -> ModelFile:
    """Return the model of a file or of bytes.

    Raises FileError for what is none, before anything large is made of it; OptionError for no path or bytes.
    """
    onnx = require_onnx()
    if isinstance(source, bytes | bytearray | memoryview):
        title, folder, content = "the ONNX model", None, bytes(source)
    elif isinstance(source, onnx.ModelProto):
        title, folder, content = "the ONNX model", None, b""
    else:
        path = as_path(source)
        title, folder, content = str(path), path.absolute().parent, _content(path)
    file = ModelFile(onnx.ModelProto(), title, folder, {})
    try:
        if isinstance(source, onnx.ModelProto):
            file.model.CopyFrom(source)
        else:
            _parse(file.model, content)
        file.opsets.update(_opsets(file.model, onnx.defs.onnx_opset_version()))
    except FileError as error:
        raise file.damaged(error) from None
    return file


def _content(path: Path) -> bytes:
    with opened(path) as (file, size):
        if size > LARGEST:
            raise FileError(
                f"{path} has {size} bytes, and an ONNX file at most {LARGEST}",
                mend="keep its weights beside it: onnx.save(..., save_as_external_data=True)",
            )
        return file.read(size)


def _parse(model: Any, content: bytes) -> None:
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped] # it comes with onnx

    if not content:
        raise FileError("it is empty")
    check_wire(content, model.DESCRIPTOR)
    try:
        model.ParseFromString(content)
    except (DecodeError, RuntimeError, ValueError) as error:
        raise FileError(f"it is no Protocol Buffer of ONNX: {error!s:.100}") from None


def _opsets(model: Any, newest: int) -> dict[str, int]:
    """Return the version of each domain's operators; "" is the standard's own."""
    if not model.HasField("graph") or not model.graph.node:
        raise FileError("it has no graph with nodes")
    opsets = {each.domain: each.version for each in model.opset_import}
    versions = {opsets[domain] for domain in STANDARD if domain in opsets} or {newest}
    if len(versions) != 1:
        raise FileError("it does not say which version of the operators it uses")
    version = versions.pop()
    if not OLDEST <= version <= newest:
        raise FileError(
            f"its operators are of version {version}; those of {OLDEST} to {newest} are read",
            mend="onnx.version_converter.convert_version(model, 17) brings it to another version"
            if version < OLDEST
            else "install a newer onnx, or write the file with an older opset",
        )
    return {**opsets, "": version}
