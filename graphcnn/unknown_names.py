"""Names that a package does not have: what was meant, or what to write instead."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Mapping
from importlib.util import find_spec
from types import MappingProxyType
from typing import Final

from graphcnn.errors import meant

_NONE: Final[Mapping[str, str]] = MappingProxyType({})


def unknown_name(
    package: str, name: str, known: Collection[str], elsewhere: Mapping[str, str] = _NONE
) -> AttributeError | ImportError:
    """Return the error of a name that a package's `__getattr__` was asked for, and does not have.

    known: the names that there are. elsewhere: another framework's name → what to write here.
    Of an AttributeError, `from package import name` makes an ImportError of its own, without the advice. So
    it is an ImportError there, but for the name of a module of the package that is not loaded yet.
    """
    advice = "" if name.startswith("_") else elsewhere.get(name) or meant(name, known)
    if _is_imported() and advice and find_spec(f"{package}.{name}") is None:
        return ImportError(f"cannot import name {name!r} from {package!r}: {_to_import(package, advice)}")
    return AttributeError(f"module {package!r} has no attribute {name!r}{advice and ': ' + advice}")


def _is_imported() -> bool:
    """Whether `from package import name` asks; it is two calls below: `__getattr__`, `unknown_name`."""
    return sys._getframe(3).f_code.co_name == "_handle_fromlist"


def _to_import(package: str, advice: str) -> str:
    """Return advice for what is imported: which names, before how they are used."""
    code, _, note = advice.partition("; ")
    names = dict.fromkeys(re.findall(r"\bgcn\.(\w+)", code))
    if package != "graphcnn" or not names:
        return advice
    used = code.replace("gcn.", "")
    imported = f"from graphcnn import {', '.join(names)}"
    return "; ".join(filter(None, (imported, used if "(" in used else "", note)))
