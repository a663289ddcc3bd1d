"""A plugin of pytest for emulated processes: the process that emulates them generates their machine code."""

import json
import os
from dataclasses import asdict
from multiprocessing.connection import Client

from graphcnn_native.runtime import engine

_object_code = engine._object_code


def _object_code_of_host(text, target, known=frozenset()):
    with Client(os.environ["COMPILER"]) as connection:
        connection.send_bytes(json.dumps([text, asdict(target), sorted(known)]).encode())
        code = connection.recv_bytes()
    return code or _object_code(text, target, known)  # which says what is wrong with it


engine._object_code = _object_code_of_host
