"""Reads one file of each class of attacks, and prints what became of it.

`python attack_worker.py MEGABYTES`: within so much address space, all of the process's.
"""

import resource
import sys
import tempfile
import time
from pathlib import Path

from attacks import ATTACKS
from parsers import PARSERS


def main(megabytes: int) -> None:
    for parser in PARSERS.values():
        with tempfile.TemporaryDirectory() as name:
            parser.prepare(Path(name))
            parser.read(Path(name), parser.seeds()[0])  # imports
    made = {title: (attack.parser, attack.make()) for title, attack in ATTACKS.items()}
    resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20))
    for title, (kind, content) in made.items():
        parser = PARSERS[kind]
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            parser.prepare(folder)
            begin = time.process_time()
            try:
                parser.read(folder, content)
                became = "read"
            except parser.errors as error:
                became = f"refused: {error}"
            except BaseException as error:
                became = f"{type(error).__name__}: {error}"
            taken = time.process_time() - begin
        print(f"{title}\t{taken:.2f}\t{' '.join(became.split())}")


if __name__ == "__main__":
    main(int(sys.argv[1]))
