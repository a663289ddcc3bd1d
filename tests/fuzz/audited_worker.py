"""Reads valid and changed files of every kind, and prints what Python reports of it that runs code.

`python audited_worker.py COUNT` tries so many changed files for each parser. A line for each event.
"""

import os
import sys
import tempfile
from pathlib import Path

from mutated import mutated
from parsers import PARSERS

RUNS_CODE = ("exec", "compile", "import", "pickle.find_class", "marshal.", "ctypes.", "code.", "cpython.run")
RUNS_CODE += ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.startfile", "subprocess.")
RUNS_CODE += ("socket.", "urllib.", "ftplib.", "http.", "webbrowser.", "pty.", "shutil.unpack_archive")

PICKLES = (
    b"cos\nsystem\n(S'true'\ntR.",
    b"cbuiltins\neval\n(S'1'\ntR.",
    b"cbuiltins\nexec\n(S'1'\ntR.",
    b"\x80\x04\x8c\x0asubprocess\x8c\x05Popen\x93\x8c\x04true\x85R.",
    b"\x80\x04\x8c\x14numpy.testing._utils\x8c\x09runstring\x93)R.",
    b"(S'true'\nios\nsystem\n.",
)


def main(count: int) -> None:
    events: list[str] = []
    is_open = False

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if is_open and event.startswith(RUNS_CODE):
            events.append(f"{event} {arguments!r:.100}")

    sys.addaudithook(hook)
    with tempfile.TemporaryDirectory() as name:
        for parser in PARSERS.values():
            folder = Path(name) / parser.name
            folder.mkdir()
            parser.prepare(folder)
            seeds = parser.seeds()
            inputs = [*seeds, *mutated(seeds, parser.words, count, f"audit {parser.name}"), *PICKLES]
            for number, content in enumerate(inputs):
                # of what comes first, modules of graphcnn's own are imported
                is_open = number >= len(seeds) + count // 2
                try:
                    parser.read(folder, content)
                except parser.errors as error:
                    str(error)
                finally:
                    is_open = False
            print(f"{parser.name}: {len(inputs)} inputs")
    is_open = True
    os.system("true")  # so that silence means something
    is_open = False
    print(*dict.fromkeys(events), sep="\n")


if __name__ == "__main__":
    main(int(sys.argv[1]))
