"""A plugin of pytest for emulated processes: the process that emulates them generates their machine code."""

import json
import os
from dataclasses import asdict
from multiprocessing.connection import Client

from graphcnn_native.runtime import engine

_object_code, _target_machine = engine._object_code, engine._target_machine


def _target_machine_with_target(target):
    machine = _target_machine(target)
    machine.target_of_graphcnn = target
    return machine


def _object_code_of_host(text, machine, known):
    with Client(os.environ["COMPILER"]) as connection:
        connection.send_bytes(json.dumps([text, asdict(machine.target_of_graphcnn), sorted(known)]).encode())
        code = connection.recv_bytes()
    return code or _object_code(text, machine, known)  # which says what is wrong with it


engine._object_code, engine._target_machine = _object_code_of_host, _target_machine_with_target
