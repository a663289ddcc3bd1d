"""The processors that code is generated for, and what the generator must know about each."""

from __future__ import annotations

import ctypes
import functools
import sys
from dataclasses import dataclass

import llvmlite.binding as llvm

from graphcnn.errors import OptionError


@dataclass(frozen=True)
class Target:
    """A processor as the code generator sees it.

    triple, cpu, features: as LLVM names them; features such as "+avx2,+fma".
    vector_bytes: the width of its widest vector register.
    registers: how many vector registers it has.
    fused: multiply and add are one instruction, rounded once.
    masks: loads and stores of part of a vector cost about what whole ones do.
    broadcasts: a fused multiply-add takes one factor as a scalar, so that no register holds its copies.
    """

    name: str
    triple: str
    cpu: str
    features: str
    vector_bytes: int
    registers: int
    fused: bool
    masks: bool
    broadcasts: bool

    @property
    def has_tiles(self) -> bool:
        """Whether it multiplies tiles of bfloat16, and rounds vectors to them."""
        return self.has >= _TILE_FEATURES

    @property
    def has(self) -> frozenset[str]:
        """The features that its code may use, as LLVM names them: of the processor, or beside it."""
        added = {flag[1:] for flag in self.features.split(",") if flag.startswith("+")}
        return _LEVELS.get(self.cpu, frozenset()) | added

    def lanes(self, item_size: int) -> int:
        """Return how many elements of `item_size` bytes one vector register holds."""
        return self.vector_bytes // item_size

    def least_lanes(self, item_size: int) -> int:
        """Return how few elements a vector beside whole ones holds: half of 64 bytes, which some processors
        compute with in halves anyway."""
        return self.lanes(item_size) // (2 if self.vector_bytes == 64 else 1)

    def lanes_of_row(self, size: int, item_size: int) -> int:
        """Return how many lanes the vectors of a row of `size` elements have."""
        whole, rest = divmod(size, self.lanes(item_size))
        least = self.least_lanes(item_size)
        last = 0 if not rest else least if rest <= least else self.lanes(item_size)
        return whole * self.lanes(item_size) + last


# What each of the named x86-64 processors has beyond the one before it, by the x86-64 psABI, section 3.1.1.
_SECOND_LEVEL = frozenset({"cx16", "sahf", "popcnt", "sse3", "sse4.1", "sse4.2", "ssse3"})
_THIRD_LEVEL = _SECOND_LEVEL | {"avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe", "xsave"}
_FOURTH_LEVEL = _THIRD_LEVEL | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
_LEVELS: dict[str, frozenset[str]] = {
    "x86-64": frozenset(),
    "x86-64-v3": _THIRD_LEVEL,
    "x86-64-v4": _FOURTH_LEVEL,
}
_AVX512 = frozenset({"avx512f", "avx512vl", "avx512dq", "avx512bw"})

_TILE_FEATURES = frozenset({"amx-tile", "amx-bf16", "avx512bf16"})

# LLVM keeps to half-width vectors on these processors, for code that runs on them only now and then.
_WHOLE_VECTORS = "-prefer-256-bit"

# Of Linux on x86-64: the number of arch_prctl, ARCH_REQ_XCOMP_PERM, and XFEATURE_XTILEDATA.
_ARCH_PRCTL, _ASK_FOR_REGISTERS, _TILES = 158, 0x1023, 18

_NAMES = ("host", "amx", "avx512", "avx2", "baseline", "neon")


def named_target(name: str) -> Target:
    """Return the target called "host", "amx", "avx512", "avx2", "baseline" or "neon".

    Raises OptionError for any other name.
    """
    match name:
        case "host":
            return host_target()
        case "amx":
            flags = f"{','.join(f'+{feature}' for feature in sorted(_TILE_FEATURES))},{_WHOLE_VECTORS}"
            return Target(name, _triple("x86_64"), "x86-64-v4", flags, 64, 32, True, True, True)
        case "avx512":
            return Target(name, _triple("x86_64"), "x86-64-v4", _WHOLE_VECTORS, 64, 32, True, True, True)
        case "avx2":
            return Target(name, _triple("x86_64"), "x86-64-v3", "", 32, 16, True, False, False)
        case "baseline":
            return Target(name, _triple("x86_64"), "x86-64", "", 16, 16, False, False, False)
        case "neon":
            return Target(name, _triple("aarch64"), "generic", "+neon", 16, 32, True, False, True)
    raise OptionError(
        f"the target {name!r} is unknown",
        facts=[f"known: {', '.join(_NAMES)}"],
        mend='Take "host" for this machine; the others generate code for reading or for another machine.',
    )


@functools.cache
def host_target() -> Target:
    """Return this machine: the widest vectors that both processor and operating system have.

    On a processor that is neither x86-64 nor AArch64, vectors of 16 bytes without fused multiply-add, which
    LLVM lowers to whatever there is.
    """
    triple, cpu, features = llvm.get_process_triple(), llvm.get_host_cpu_name(), _host_features()
    if features.get("amx-tile") and not may_use_tiles():
        features = {feature: on and not feature.startswith("amx") for feature, on in features.items()}
    flags = ",".join(f"{'+' if on else '-'}{feature}" for feature, on in sorted(features.items()))
    has = frozenset(feature for feature, on in features.items() if on)
    if _machine() == "aarch64":
        return Target("host", triple, cpu, flags, 16, 32, True, False, True)
    if has >= _AVX512:
        return Target("host", triple, cpu, f"{flags},{_WHOLE_VECTORS}", 64, 32, True, True, True)
    if has >= {"avx2", "fma"}:
        return Target("host", triple, cpu, flags, 32, 16, True, False, False)
    return Target("host", triple, cpu, flags, 16, 16, "fma" in has, False, False)


@functools.cache
def may_use_tiles() -> bool:
    """Ask Linux whether this process may use the registers of AMX, and return what it says.

    Threads have what their process was given, and a fork has what its parent was. It is refused where the
    memory for a handler of signals, as the process or its host has set it up, is too small for them.
    """
    if sys.platform != "linux" or _machine() != "x86_64":
        return False
    return bool(ctypes.CDLL(None).syscall(_ARCH_PRCTL, _ASK_FOR_REGISTERS, _TILES) == 0)


def runs_here(target: Target) -> bool:
    """Return whether this machine can execute code that was generated for the target."""
    if _architecture(target.triple) != _machine():
        return False
    if target.cpu not in (llvm.get_host_cpu_name(), "generic", *_LEVELS):
        return False
    if target.has_tiles and not may_use_tiles():
        return False
    needed = target.has
    if _machine() == "aarch64":
        needed -= {"neon"}  # part of every AArch64 processor, and not always in LLVM's list of the host's
    return all(_host_features().get(feature, False) for feature in needed)


@functools.cache
def _host_features() -> dict[str, bool]:
    return dict(llvm.get_host_cpu_features())


def _machine() -> str:
    return _architecture(llvm.get_process_triple())


def _architecture(triple: str) -> str:
    """Return the processor of a triple; macOS calls AArch64 arm64."""
    architecture = triple.partition("-")[0]
    return {"arm64": "aarch64", "amd64": "x86_64"}.get(architecture, architecture)


def _triple(architecture: str) -> str:
    """Return this machine's triple if its processor is of that architecture, or else Linux on such a one."""
    return llvm.get_process_triple() if _machine() == architecture else f"{architecture}-unknown-linux-gnu"
