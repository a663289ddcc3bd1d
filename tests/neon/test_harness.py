"""The way by which emulated processes get their machine code, without an emulator."""

import importlib.util
import threading
from multiprocessing.connection import Listener
from pathlib import Path

from graphcnn_native.runtime import engine
from graphcnn_native.target import named_target

TEXT = "define double @twice(double %x) {\n  %y = fadd double %x, %x\n  ret double %y\n}\n"


def part(name):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_code_that_the_host_sends_is_that_of_the_target(monkeypatch, tmp_path):
    target = named_target("neon")
    code = engine._object_code(TEXT, engine._target_machine(target), frozenset())
    with monkeypatch.context() as patched:
        for name in ("_object_code", "_target_machine"):
            patched.setattr(
                engine, name, getattr(engine, name)
            )  # so that what the plugin puts there goes again
        plugin = part("compiles_on_host")
        emulated, machine = engine._object_code, engine._target_machine(target)
    monkeypatch.setattr(plugin, "_object_code", None)  # which it calls where nothing is sent
    host = part("run")
    with Listener(str(tmp_path / "compiler")) as listener:
        monkeypatch.setenv("COMPILER", str(listener.address))
        threading.Thread(target=lambda: host.answer(listener.accept())).start()
        assert emulated(TEXT, machine, frozenset()) == code
