"""`python tests/fuzz/fuzz.py --seconds 60 [PARSER ...]`: fuzzes parsers in turn, and keeps the ledger.

The seeds are made by graphcnn itself. What libFuzzer finds of new coverage, and each input that is at fault,
stays in build/fuzz. `ledger.json` beside this file counts the inputs tried, and says what was found.
"""

import argparse
import json
import re
import subprocess
import sys
import time
from pathlib import Path

from parsers import PARSERS

HERE = Path(__file__).parent
LEDGER = HERE / "ledger.json"
WORK = HERE.parents[1] / "build" / "fuzz"


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=int, default=60, help="for each parser")
    arguments.add_argument("--runs", type=int, default=-1, help="inputs for each parser, at most")
    arguments.add_argument("parsers", nargs="*", default=list(PARSERS), metavar="PARSER")
    given = arguments.parse_args()
    faults = 0
    for name in given.parsers:
        faults += fuzzed(name, given.seconds, given.runs)
    return 1 if faults else 0


def fuzzed(name: str, seconds: int, runs: int) -> int:
    """Fuzz a parser, add to the ledger, and return the number of faults, at which it ends: 0 or 1."""
    folder = WORK / re.sub(r"\W+", "-", name)
    corpus, words = folder / "corpus", folder / "words"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(PARSERS[name].seeds()):
        (corpus / f"seed{number}").write_bytes(content)
    escaped = ("".join(f"\\x{byte:02x}" for byte in word) for word in PARSERS[name].words)
    words.write_text("".join(f'"{word}"\n' for word in escaped))
    begin = time.monotonic()
    command = [sys.executable, str(HERE / "harness.py"), name, str(corpus)]
    command += [f"-dict={words}"] if PARSERS[name].words else []
    command += [f"-max_total_time={seconds}", f"-runs={runs}", "-max_len=65536", "-timeout=300"]
    command += ["-close_fd_mask=2"]  # what decoders of images say
    command += ["-print_final_stats=1", f"-artifact_prefix={folder}/", "-rss_limit_mb=4096"]
    with (folder / "log").open("wb") as log:
        done = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT)
    log_text = (folder / "log").read_text(errors="replace")
    counts = re.findall(r"stat::number_of_executed_units:\s+(\d+)|^#(\d+)", log_text, re.MULTILINE)
    inputs = max((int(one or other) for one, other in counts), default=0)
    fault = re.search(r"FaultError: (.*)", log_text) or re.search(r"ERROR: (libFuzzer.*)", log_text)
    ledger = json.loads(LEDGER.read_text()) if LEDGER.exists() else {}
    entry = ledger.setdefault(name, {"inputs": 0, "seconds": 0, "found": []})
    entry["inputs"] += inputs
    entry["seconds"] += round(time.monotonic() - begin)
    LEDGER.write_text(json.dumps(ledger, indent=2) + "\n")
    failed = done.returncode != 0
    said = fault[1] if fault else f"exit status {done.returncode}, see {folder}/log"
    print(f"{name}: {inputs:,} inputs, {said if failed else 'no fault'}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
