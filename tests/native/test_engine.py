"""LLVM IR becomes machine code that runs, is kept on disk, and fails with an error rather than a crash."""

import ctypes
import gc
import math
import re
import subprocess
import sys
import threading

import pytest

from graphcnn.errors import BackendError
from graphcnn_native.runtime import engine
from graphcnn_native.runtime.engine import assembly, compile_module, compile_modules
from graphcnn_native.target import host_target, named_target, runs_here

HOST = host_target()
ADD = "define i64 @add(i64 %x, i64 %y) {\n  %sum = add i64 %x, %y\n  ret i64 %sum\n}\n"
FOREIGN = named_target("neon" if runs_here(named_target("baseline")) else "avx2")


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("GRAPHCNN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def add(library, x=40, y=2):
    integer = ctypes.c_int64
    return ctypes.CFUNCTYPE(integer, integer, integer)(library.address("add"))(x, y)


def fresh(code):
    """Run code in an interpreter of its own and return what it printed."""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, (result.returncode, result.stderr)
    assert result.stderr == ""
    return result.stdout


def test_a_function_runs():
    assert add(compile_module(ADD, HOST)) == 42


@pytest.mark.parametrize("name", ["host", "amx", "avx512", "avx2", "baseline", "neon"])
def test_functions_of_the_c_libraries_are_found(name):
    target = named_target(name)
    if not runs_here(target):
        pytest.skip("this machine cannot run it")
    library = compile_module(
        """
        declare float @expf(float)
        declare double @tanh(double)
        declare float @fmaf(float, float, float)
        declare ptr @memset(ptr, i32, i64)
        declare double @llvm.exp.f64(double)
        declare float @llvm.fma.f32(float, float, float)
        declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
        define double @all(double %x, ptr %room, ptr %from, i64 %bytes) {
          %narrow = fptrunc double %x to float
          %a = call float @expf(float %narrow)
          %b = call float @fmaf(float %a, float 2.0, float 1.0)
          %c = call float @llvm.fma.f32(float %b, float %a, float %narrow)
          %d = fpext float %c to double
          %e = call double @tanh(double %x)
          %f = call double @llvm.exp.f64(double %e)
          call void @llvm.memcpy.p0.p0.i64(ptr %room, ptr %from, i64 %bytes, i1 false)
          %last = getelementptr i8, ptr %room, i64 100
          %set = call ptr @memset(ptr %last, i32 7, i64 3)
          %g = fadd double %d, %f
          ret double %g
        }
        """,
        target,
    )
    source, room = bytes(range(200)), ctypes.create_string_buffer(200)
    pointer, double = ctypes.c_void_p, ctypes.c_double
    call = ctypes.CFUNCTYPE(double, double, pointer, pointer, ctypes.c_int64)(library.address("all"))
    x = 0.5
    a = math.exp(x)
    expected = (2 * a + 1) * a + x + math.exp(math.tanh(x))
    assert call(x, ctypes.addressof(room), source, 200) == pytest.approx(expected, rel=1e-6)
    assert room.raw == source[:100] + b"\7\7\7" + source[103:]


def test_constants_and_variables_of_a_module_are_reached():
    numbers = ", ".join(f"double {number}.5" for number in range(100))
    library = compile_module(
        f"""
        @table = private constant [100 x double] [{numbers}], align 64
        @calls = internal global i64 0
        @name = internal constant [3 x ptr] [ptr @first, ptr @calls, ptr @table]
        define internal double @first(i64 %index) {{
          %at = getelementptr [100 x double], ptr @table, i64 0, i64 %index
          %value = load double, ptr %at
          ret double %value
        }}
        define double @look(i64 %index) {{
          %before = load i64, ptr @calls
          %after = add i64 %before, 1
          store volatile i64 %after, ptr @calls
          %function = load volatile ptr, ptr @name
          %value = call double %function(i64 %index)
          %scaled = fmul double %value, 3.25
          %count = sitofp i64 %after to double
          %sum = fadd double %scaled, %count
          ret double %sum
        }}
        """,
        HOST,
    )
    look = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_int64)(library.address("look"))
    assert [look(index) for index in (0, 99, 42)] == [0.5 * 3.25 + 1, 99.5 * 3.25 + 2, 42.5 * 3.25 + 3]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("define void @broken( {", "expected type"),
        ("define i64 @loop() {\n  %x = add i64 %x, 1\n  ret i64 %x\n}", "Only PHI nodes may reference"),
        ("declare void @nowhere()\ndefine void @f() {\n  call void @nowhere()\n  ret void\n}", "nowhere"),
    ],
)
def test_refused_code_is_a_fault_of_the_backend(text, message):
    with pytest.raises(BackendError, match="fault of the backend") as caught:
        compile_module(text, HOST)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 3


def test_a_function_that_is_not_there_is_a_fault_of_the_backend():
    library = compile_module(ADD, HOST)
    for name in ("subtract", "malloc"):
        with pytest.raises(BackendError, match=name):
            library.address(name)


def test_code_of_another_machine_is_refused():
    with pytest.raises(BackendError, match="cannot run"):
        compile_module(ADD, FOREIGN)


def test_code_for_any_target_can_be_read():
    assert "add:" in assembly(ADD, FOREIGN)
    assert "add:" in assembly(ADD, HOST)


def test_modules_call_each_other():
    caller = """
    declare i64 @add(i64, i64)
    define i64 @twice(i64 %x) {
      %y = call i64 @add(i64 %x, i64 %x)
      ret i64 %y
    }
    """
    library = compile_modules([caller, ADD], HOST)
    twice = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(library.address("twice"))
    assert twice(21) == 42


def test_loops_stay_as_the_generator_wrote_them():
    loop = """
    define void @scale(ptr %x, i64 %n) {
    entry:
      br label %loop
    loop:
      %i = phi i64 [ 0, %entry ], [ %next, %loop ]
      %at = getelementptr float, ptr %x, i64 %i
      %value = load float, ptr %at
      %twice = fmul float %value, 3.0
      store float %twice, ptr %at
      %next = add nuw i64 %i, 1
      %last = icmp eq i64 %next, %n
      br i1 %last, label %done, label %loop
    done:
      ret void
    }
    """
    code = assembly(loop, HOST).lower()
    assert len(re.findall(r"v?mulss|fmul\s+s", code)) == 1
    assert not re.findall(r"mulps|fmul\s+v", code)


def test_a_module_is_compiled_once_whatever_it_comes_with(monkeypatch):
    def times(number, comment=""):
        name = f"times{number}"
        return f"define i64 @{name}(i64 %x) {{{comment}\n  %y = mul i64 %x, {number}\n  ret i64 %y\n}}\n"

    def parsed(text, context):
        compiled.append(text)
        return actual(text, context)

    compiled, told, actual = [], [], engine._parsed
    monkeypatch.setattr(engine, "_parsed", parsed)
    compile_modules([ADD, times(3), times(5)], HOST)
    assert sorted(compiled) == sorted([ADD, times(3), times(5)])
    compiled.clear()
    others = [times(7), times(5, "\n  ; %2 multiply of conv2"), ADD]
    library = compile_modules(others, HOST, listener=lambda *numbers: told.append(numbers))
    assert compiled == [times(7)]
    assert told == [(1, 1)]
    assert add(library) == 42
    for number in (5, 7):
        call = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(library.address(f"times{number}"))
        assert call(6) == 6 * number


def test_the_second_time_nothing_is_compiled(monkeypatch):
    compile_module(ADD, HOST)
    monkeypatch.setattr(engine, "_parsed", None)
    assert add(compile_module(ADD, HOST)) == 42
    with pytest.raises(TypeError):
        compile_module(ADD.replace("add i64", "sub i64"), HOST)


def test_without_the_cache_nothing_is_read_or_written(monkeypatch, cache):
    assert add(compile_module(ADD, HOST, cache=False)) == 42
    assert not cache.exists()
    compile_module(ADD, HOST)
    monkeypatch.setattr(engine, "_parsed", None)
    with pytest.raises(TypeError):
        compile_module(ADD, HOST, cache=False)


def test_damaged_machine_code_is_compiled_again(cache):
    compile_module(ADD, HOST)
    (entry,) = cache.iterdir()
    whole = entry.read_bytes()
    for damaged in (b"", whole[:-1], whole[:50], whole[:-100] + bytes(100), b"x" * len(whole)):
        entry.write_bytes(damaged)
        assert add(compile_module(ADD, HOST)) == 42
        assert entry.read_bytes() == whole


def test_machine_code_of_one_process_serves_the_next(cache):
    compile_module(ADD, HOST)
    output = fresh(
        "import ctypes\n"
        "from graphcnn_native.runtime import engine\n"
        "from graphcnn_native.target import host_target\n"
        "engine._parsed = None\n"
        f"library = engine.compile_module({ADD!r}, host_target())\n"
        "integer = ctypes.c_int64\n"
        "print(ctypes.CFUNCTYPE(integer, integer, integer)(library.address('add'))(40, 2))\n"
    )
    assert output == "42\n"


def test_libraries_come_and_go():
    kept = compile_module(ADD, HOST)
    for number in range(50):
        assert add(compile_module(ADD.replace("%y\n", f"{number}\n"), HOST, cache=False), 1) == 1 + number
    gc.collect()
    assert add(kept) == 42


def test_code_that_is_kept_forever_outlives_its_library():
    library = compile_module(ADD, HOST)
    call = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)(library.address("add"))
    library.keep_forever()
    del library
    gc.collect()
    assert call(40, 2) == 42


def test_threads_compile_at_the_same_time():
    sums = {}

    def work(number):
        text = ADD.replace("%y\n", f"{number % 4}\n")
        sums[number] = [add(compile_module(text, HOST), 1) for _ in range(5)]

    workers = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sums == {number: [1 + number % 4] * 5 for number in range(8)}


def test_the_interpreter_exits_while_compiled_code_runs():
    spin = "define void @spin() {\n  br label %again\nagain:\n  br label %again\n}\n"
    output = fresh(
        "import ctypes, threading, time\n"
        "from graphcnn_native.runtime.engine import compile_module\n"
        "from graphcnn_native.target import host_target\n"
        f"library = compile_module({spin!r}, host_target())\n"
        "call = ctypes.CFUNCTYPE(None)(library.address('spin'))\n"
        "threading.Thread(target=call, daemon=True).start()\n"
        "time.sleep(0.05)\n"
        "print('end')\n"
    )
    assert output == "end\n"
