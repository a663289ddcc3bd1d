"""Runs tests in an emulated AArch64 process, whose native backend generates NEON code, and executes it.

    python tests/neon/run.py [arguments of pytest]

`make test-neon` sets up what it needs under build/neon: an AArch64 Python (`system`), the packages for it
(`packages`); QEMU executes them. Nine tenths of an emulated test's time would go into LLVM, so this process
generates the code: it is sent LLVM IR (`compiles_on_host.py`), and answers with an object for AArch64. The
same version of LLVM would make the same of it there; processes that tests start do so themselves.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from multiprocessing.connection import Connection, Listener
from pathlib import Path

from graphcnn_native.runtime import engine
from graphcnn_native.target import Target

PROJECT = Path(__file__).parents[2]
SETUP = PROJECT / "build" / "neon"
NOT_EMULATED = {
    "native/test_threads.py::test_where_the_system_grants_no_more_threads_the_pool_is_smaller": (
        "QEMU grants a process as much memory as it asks for, whatever its limit"
    ),
    "native/test_calls.py::test_executables_give_their_memory_back": (
        "QEMU keeps megabytes of its own for code that is gone"
    ),
}
SETTING_UP = threading.Lock()
INTERPRETER = """\
#!/bin/sh
exec nice -n 19 qemu-aarch64-static -cpu cortex-a72 -L '{system}' -0 "$0" '{system}/usr/bin/python3' "$@"
"""
"""Its own path is what the emulated process takes for its interpreter's, so that it can start others. The
processor has NEON and no SVE, with which OpenBLAS gives the reference NaN in QEMU 7.2."""


def main() -> int:
    left_out = [f"--deselect=tests/{name}" for name in NOT_EMULATED]
    with tempfile.TemporaryDirectory() as folder, Listener(f"{folder}/compiler", backlog=64) as listener:
        threading.Thread(target=serve, args=[listener], daemon=True).start()
        interpreter = Path(folder, "python")
        interpreter.write_text(INTERPRETER.format(system=SETUP / "system"))
        interpreter.chmod(0o755)
        own = (PROJECT, PROJECT / "backends", Path(__file__).parent)
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, (*own, SETUP / "packages"))),
            "PYTEST_PLUGINS": "compiles_on_host",
            "COMPILER": str(listener.address),
        }
        command = [str(interpreter), "-m", "pytest", *left_out, *sys.argv[1:]]
        return subprocess.run(command, cwd=PROJECT, env=environment, check=False).returncode


def serve(listener: Listener) -> None:
    while True:
        threading.Thread(target=answer, args=[listener.accept()], daemon=True).start()


def answer(connection: Connection) -> None:
    """Answer with the object code of a module, or with nothing where there is a fault in it."""
    with connection:
        text, target, known = json.loads(connection.recv_bytes())
        try:
            with SETTING_UP:
                machine = engine._target_machine(Target(**target))
            code = engine._object_code(text, machine, frozenset(known))
        except Exception:
            code = b""
        connection.send_bytes(code)


if __name__ == "__main__":
    sys.exit(main())
