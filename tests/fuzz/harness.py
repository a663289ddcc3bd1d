"""`python tests/fuzz/harness.py PARSER [libFuzzer's arguments]`: fuzzes one parser, guided by coverage.

Needs atheris. `make fuzz` calls it for all parsers and counts what was tried.
"""

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["graphcnn", "json", "pickletools", "zipfile", "numpy.lib"]):
    from parsers import PARSERS, tried


def main() -> None:
    parser = PARSERS[sys.argv.pop(1)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parser.prepare(folder)
        for content in parser.seeds():
            tried(parser, folder, content)  # imports, caches
        atheris.Setup(sys.argv, lambda content: tried(parser, folder, content) and None)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
