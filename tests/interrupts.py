"""Ctrl-C at any line: runs something again and again, and each time interrupts it one line later."""

import dis
import functools
import signal
import sys
from pathlib import Path

PACKAGES = ("graphcnn", "graphcnn_native", "graphcnn_numpy")
PARTS_OF_PYTHON = ("contextlib.py", "threading.py")


def is_watched(filename):
    """Whether the lines of a file belong to what must stay whole: the packages, and what they stand on."""
    path = Path(filename)
    return path.name in PARTS_OF_PYTHON or any(part in PACKAGES for part in path.parts)


@functools.cache
def exits_of_blocks(code):
    """Return the places in a code where a `with` block that has come to its end calls `__exit__`.

    CPython looks for signals after calls and where it jumps back, so none comes between.
    """
    instructions = list(dis.get_instructions(code))
    found = set()
    for number, first in enumerate(instructions):
        arguments = instructions[number + (first.opname == "SWAP") :][:3]
        if all(each.opname == "LOAD_CONST" and each.argval is None for each in arguments):
            found.add(first.offset)
    return found


class Interrupted:
    """Counts the lines that the main thread runs, and sends the interrupt at one of them.

    at: the line, counted from 0; None counts without interrupting.
    """

    def __init__(self, at=None):
        self.at, self.lines = at, 0

    def __enter__(self):
        self._handler = signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.settrace(self._call)
        return self

    def __exit__(self, *exception):
        sys.settrace(None)
        signal.signal(signal.SIGINT, self._handler)

    def _call(self, frame, event, argument):
        return self._line if is_watched(frame.f_code.co_filename) else None

    def _line(self, frame, event, argument):
        if event == "line" and frame.f_lasti not in exits_of_blocks(frame.f_code):
            if self.lines == self.at:
                self.lines += 1
                sys.settrace(None)
                signal.raise_signal(signal.SIGINT)
            self.lines += 1
        return self._line


def lines_of(act):
    """Return how many lines of the packages `act()` runs."""
    with Interrupted() as counted:
        act()
    return counted.lines


def interrupted_at(line, act):
    """Run `act()` with an interrupt at a line; return whether it ended by that."""
    try:
        with Interrupted(line):
            act()
    except KeyboardInterrupt:
        return True
    return False


def interrupted_again_at(line, act):
    """Run `act(interrupt)`, which calls `interrupt()`, and interrupt at a line of what handles that.

    line: counted from 0 in what the packages run from then on; None counts. Return how many lines there were.
    """
    again = Interrupted(line)

    def interrupt():
        again.__enter__()
        frame = sys._getframe(1)
        while frame is not None:  # those that are under way are not traced by themselves
            if is_watched(frame.f_code.co_filename):
                frame.f_trace = again._line
            frame = frame.f_back
        raise KeyboardInterrupt

    handler = signal.getsignal(signal.SIGINT)
    try:
        act(interrupt)
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(None)
        signal.signal(signal.SIGINT, handler)
    return again.lines
