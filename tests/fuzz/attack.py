"""What a class of attacks is."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Attack:
    """parser: which it is for. known: a CVE, a CWE or a report. said: a part of the refusal."""

    parser: str
    known: str
    make: Callable[[], bytes]
    said: str
