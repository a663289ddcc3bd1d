"""`python tests/fuzz/harness.py PARSER [libFuzzer's arguments]`: fuzzes one parser, guided by coverage.

Needs atheris. `make fuzz` calls it for all parsers and counts what was tried.
"""

import gc
import sys
from pathlib import Path
from types import FunctionType

import atheris
from parsers import PARSERS
from trying import in_memory, tried

GUIDES = {
    "safetensors": ("graphcnn.interchange",),
    "model": (
        "graphcnn.interchange",
        "graphcnn.training.model_file",
        "graphcnn.training.saving",
        "graphcnn.ir",
    ),
    "graph text": ("graphcnn.ir", "graphcnn.ops"),
    "options": ("graphcnn.cli.config", "tomllib"),
    "CIFAR, pickled": ("graphcnn.data", "pickletools"),
    "NPZ": ("graphcnn.data", "zipfile"),
    "image": ("graphcnn.data.decoding", "PIL"),
    "Keras": ("graphcnn.interchange.keras", "pyfive"),
    "ONNX": ("graphcnn.interchange.onnx.reading",),
}
"""By parser: the modules whose coverage guides it; the fewer, the faster. By default those of data."""


def main() -> None:
    name = sys.argv.pop(1)
    parser = PARSERS[name]
    with in_memory() as folder:
        parser.prepare(Path(folder))
        for content in parser.seeds():
            tried(parser, Path(folder), content)  # imports, caches
        _instrument(GUIDES.get(name, ("graphcnn.data",)))
        atheris.Setup(sys.argv, lambda content: tried(parser, Path(folder), content) and None)
        atheris.Fuzz()


def _instrument(modules: tuple[str, ...]) -> None:
    """Have all functions of these modules tell which way they go. Atheris' own way takes whole packages."""
    for each in gc.get_objects():
        if isinstance(each, FunctionType) and (each.__module__ or "").startswith(modules):
            atheris.instrument_func(each)


if __name__ == "__main__":
    main()
