"""From LLVM IR text to machine code in memory."""

from __future__ import annotations

import ctypes
import functools
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import llvmlite.binding as llvm

from graphcnn.errors import BackendError
from graphcnn.interrupts import interrupts_put_off, uninterrupted
from graphcnn.phases import Listener, count
from graphcnn_native.runtime import cache as object_cache
from graphcnn_native.runtime.forks import COMPILING
from graphcnn_native.runtime.processors import thread_count
from graphcnn_native.runtime.side_by_side import side_by_side
from graphcnn_native.target import Target, host_target, runs_here

_COMMENTS = re.compile(r"\n *;.*")
_DEFINITION = re.compile(r"\ndefine [^@]*@([\w.]+)\(")
_CODE_GENERATION = {"opt": 2, "reloc": "default", "codemodel": "jitdefault", "jit": True}
"""The code model of a JIT compiler is the large one: memory is allocated wherever there is some, while code
of the small model would have to lie within 2 GiB of its constants."""
_OPTIONS = f"no passes, {_CODE_GENERATION}"
"""All that decides what machine code a text becomes, apart from text, target and versions."""


class Library:
    """Machine code in memory; it stays there as long as the object lives.

    keys: under which the cache knows its modules.
    """

    def __init__(self, engine: Any, keys: tuple[str, ...]) -> None:
        self._engine = engine
        self.keys: Final = keys

    def address(self, name: str) -> int:
        """Return the address of the function. Raises BackendError if there is none of that name."""
        address = int(self._engine.get_function_address(name))
        if not address:
            raise _fault(f"the compiled code has no function {name!r}")
        return address

    def __del__(self, is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        # Closing takes llvmlite's lock, which an interrupt must not leave taken.
        if not is_finalizing():
            with interrupts_put_off():
                self._engine = None

    def keep_forever(self) -> None:
        """Keep the machine code until the process ends, for threads that never return from it.

        Addresses can be asked for before, not after.
        """
        self._engine.detach()


def compile_module(text: str, target: Target, *, cache: bool = True) -> Library:
    """Return the machine code of one module of LLVM IR, as `compile_modules` does."""
    return compile_modules([text], target, cache=cache)


def compile_modules(
    texts: Sequence[str], target: Target, *, cache: bool = True, listener: Listener | None = None
) -> Library:
    """Return the machine code of modules of LLVM IR that call each other, for a target that runs here.

    They are compiled at the same time, on several threads. With `cache`, machine code on disk that a text
    became before, in whatever company, is loaded rather than made again, and what is made is kept. listener:
    is told how many functions are compiled of those that have to be. Raises BackendError if this machine
    cannot run the target's code, LLVM refuses a text, or a function that it calls is not to be found.
    """
    if not runs_here(target):
        raise BackendError(
            f"this machine cannot run code for the target {target.name!r}",
            facts=[f"the code is for {target.triple}, {target.cpu}; this is {host_target().cpu}"],
            mend='Take the target "host" to run it; any target can be compiled for reading.',
        )
    keys = [object_cache.key(_COMMENTS.sub("", text), target, _OPTIONS) for text in texts]
    by_key = dict(zip(keys, texts, strict=True))
    defined = {key: _DEFINITION.findall("\n" + text) for key, text in by_key.items()}
    known = frozenset(name for names in defined.values() for name in names)

    def compiled() -> Library:
        with COMPILING:
            codes = object_cache.load_all(by_key) if cache else {}
            missing = sorted(by_key.keys() - codes.keys(), key=lambda key: (-len(by_key[key]), key))
            threads = min(thread_count(), len(missing))
            machines = [_target_machine(target) for _ in range(threads)]  # one thread alone may set LLVM up
            finished: list[str] = []
            total = sum(len(defined[key]) for key in missing)

            def made(key: str) -> bytes:
                machine = machines.pop()
                try:
                    code = _object_code(by_key[key], machine, known)
                finally:
                    machines.append(machine)
                if cache:
                    object_cache.store(key, code)
                if listener is not None:
                    finished.extend(defined[key])
                    listener(len(finished), total)
                return code

            codes |= zip(missing, side_by_side(made, missing, threads), strict=True)
            _count(made=len(missing), kept=len(codes) - len(missing))
            return Library(_engine([codes[key] for key in by_key], target), tuple(by_key))

    return uninterrupted(compiled)


def load_modules(keys: Sequence[str], target: Target) -> Library | None:
    """Return machine code that the cache holds, linked, or None if it lacks any of these modules."""

    def loaded() -> Library | None:
        codes = object_cache.load_all(keys)
        if codes.keys() != set(keys) or not runs_here(target):
            return None
        _count(made=0, kept=len(codes))
        with COMPILING:
            return Library(_engine([codes[key] for key in keys], target), tuple(keys))

    return uninterrupted(loaded)


def _count(*, made: int, kept: int) -> None:
    count("modules compiled", made)
    count("modules from the cache", kept)


def assembly(text: str, target: Target) -> str:
    """Return the module's assembly, for any target. Raises BackendError if LLVM refuses the text."""

    def emitted() -> str:
        with COMPILING:
            machine = _target_machine(target)
            with _loaded(text, machine) as module:
                return str(machine.emit_assembly(module))

    return uninterrupted(emitted)


def _object_code(text: str, machine: Any, known: frozenset[str]) -> bytes:
    with _loaded(text, machine) as module:
        missing = sorted(function.name for function in module.functions if _is_missing(function, known))
        if missing:
            raise _fault(f"the generated code calls {', '.join(missing)}, which this process does not have")
        return _emit_object(module, machine)


def _emit_object(module: Any, machine: Any) -> bytes:
    """Return the object code of a module, while other threads generate theirs.

    llvmlite lets one thread into LLVM at a time. The code generator needs no such lock for modules in
    contexts of their own with target machines of their own; so it is called past llvmlite's wrapper.
    """
    with llvm.ffi.OutputString() as error:
        buffer = _code_generator()(machine, module, 1, error)
        if not buffer:
            raise RuntimeError(str(error))
    try:
        start, size = llvm.ffi.lib.LLVMPY_GetBufferStart(buffer), llvm.ffi.lib.LLVMPY_GetBufferSize(buffer)
        return ctypes.string_at(start, size)
    finally:
        llvm.ffi.lib.LLVMPY_DisposeMemoryBuffer(buffer)


@functools.cache
def _code_generator() -> Any:
    wrapped = llvm.ffi.lib.LLVMPY_TargetMachineEmitToMemory
    library = ctypes.CDLL(llvm.ffi.lib._name, handle=llvm.ffi.lib._handle)
    function = library.LLVMPY_TargetMachineEmitToMemory
    function.argtypes, function.restype = wrapped.argtypes, wrapped.restype
    return function


def _is_missing(function: Any, known: frozenset[str]) -> bool:
    """Return whether the function is in none of the modules nor in this process: linking would abort."""
    if not function.is_declaration or function.name.startswith("llvm.") or function.name in known:
        return False
    return not hasattr(ctypes.CDLL(None), function.name) and llvm.address_of_symbol(function.name) is None


@contextmanager
def _loaded(text: str, machine: Any) -> Iterator[Any]:
    """Give the module, in a context of its own, which frees its memory, as it is for that target machine.

    The generator writes explicit vectors, unrolls and shares by itself, so LLVM's passes would cost far more
    time than they gain.
    """
    with llvm.create_context() as context, _parsed(text, context) as module:
        module.triple = machine.triple
        module.data_layout = str(machine.target_data)
        yield module


def _parsed(text: str, context: Any) -> Any:
    try:
        module = llvm.parse_assembly(text, context)
    except RuntimeError as error:
        raise _fault("LLVM cannot read the generated code", _first_line(error)) from error
    try:
        module.verify()
    except RuntimeError as error:
        module.close()
        raise _fault("LLVM refuses the generated code", _first_line(error)) from error
    return module


def _engine(codes: Sequence[bytes], target: Target) -> Any:
    """Return an engine that holds the object code, linked.

    It is loaded the same way whether it was just made or comes from the disk, and the module that the engine
    must have is an empty one, so that what is on disk needs no LLVM IR.
    """
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _target_machine(target))
    for code in codes:
        engine.add_object_file(llvm.object_file.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return engine


def _target_machine(target: Target) -> Any:
    if target.triple != host_target().triple:
        _initialize_all()
    _initialize_host()
    return llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu, features=target.features, **_CODE_GENERATION
    )


@functools.cache
def _initialize_host() -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    if not hasattr(ctypes.CDLL(None), "expf"):  # a Python that is not linked with the mathematical library
        llvm.load_library_permanently("libm.so.6")


@functools.cache
def _initialize_all() -> None:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()


def _first_line(error: Exception) -> str:
    """Return the line in which LLVM says what is wrong; llvmlite sets a heading before it."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[1] if len(lines) > 1 and lines[0].endswith("parsing error") else "".join(lines[:1])


def _fault(problem: str, message: str = "") -> BackendError:
    return BackendError(
        problem,
        facts=[message] if message else [],
        mend="This is a fault of the backend, not of your network; please report it with the network.",
    )
