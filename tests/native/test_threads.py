"""The pool of threads runs every item once, whoever calls it, and neither wakes the processor nor hangs."""

import ctypes
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import graphcnn as gcn
from graphcnn.errors import OptionError
from graphcnn.zoo import ZOO
from graphcnn_native import executable
from graphcnn_native.executable import WORTH_SHARING
from graphcnn_native.runtime import processors
from graphcnn_native.runtime.engine import assembly, compile_module
from graphcnn_native.runtime.pool_code import pool_module
from graphcnn_native.runtime.processors import thread_count
from graphcnn_native.runtime.spare import Work
from graphcnn_native.runtime.threads import pool
from graphcnn_native.target import host_target, named_target

# `drive` makes many jobs of all sizes for all numbers of threads and counts what goes wrong. An item counts
# itself, with plain stores, so that what a worker writes must be seen by the caller and by the next job.
CHECKS = """
; errors, threads, counts, running workers, last items, parallel_for, pool
%Checks = type { i64, i64, [64 x i64], [16 x i64], [16 x i64], ptr, ptr }

define internal void @fail(ptr %checks) {
  %errors = atomicrmw add ptr %checks, i64 1 monotonic
  ret void
}

define void @item(ptr %checks, i64 %worker, i64 %item) {
entry:
  %threads.at = getelementptr %Checks, ptr %checks, i64 0, i32 1
  %count.at = getelementptr %Checks, ptr %checks, i64 0, i32 2, i64 %item
  %running.at = getelementptr %Checks, ptr %checks, i64 0, i32 3, i64 %worker
  %last.at = getelementptr %Checks, ptr %checks, i64 0, i32 4, i64 %worker
  %threads = load i64, ptr %threads.at
  %numbered = icmp ult i64 %worker, %threads
  br i1 %numbered, label %enter, label %wrong
enter:
  %others = atomicrmw xchg ptr %running.at, i64 1 monotonic
  %alone = icmp eq i64 %others, 0
  br i1 %alone, label %order, label %wrong
order:
  %last = load i64, ptr %last.at
  %ascending = icmp slt i64 %last, %item
  br i1 %ascending, label %count, label %wrong
count:
  store i64 %item, ptr %last.at
  %before = load i64, ptr %count.at
  %after = add i64 %before, 1
  store i64 %after, ptr %count.at
  %length = and i64 %item, 15
  br label %work
work:
  %done = phi i64 [ 0, %count ], [ %more, %work ]
  %more = add i64 %done, 1
  call void asm sideeffect "", "r"(i64 %more)
  %enough = icmp ugt i64 %more, %length
  br i1 %enough, label %leave, label %work
leave:
  store atomic i64 0, ptr %running.at release, align 8
  ret void
wrong:
  call void @fail(ptr %checks)
  ret void
}

define void @check(ptr %checks, i64 %items) {
entry:
  %pool.at = getelementptr %Checks, ptr %checks, i64 0, i32 6
  %parallel_for.at = getelementptr %Checks, ptr %checks, i64 0, i32 5
  %threads.at = getelementptr %Checks, ptr %checks, i64 0, i32 1
  %counts = getelementptr %Checks, ptr %checks, i64 0, i32 2
  %last = getelementptr %Checks, ptr %checks, i64 0, i32 4
  %pool = load ptr, ptr %pool.at
  %parallel_for = load ptr, ptr %parallel_for.at
  %threads = load i64, ptr %threads.at
  call void @llvm.memset.p0.i64(ptr %counts, i8 0, i64 512, i1 false)
  call void @llvm.memset.p0.i64(ptr %last, i8 -1, i64 128, i1 false)
  call void %parallel_for(ptr %pool, ptr @item, ptr %checks, i64 %items, i64 %threads)
  br label %each
each:
  %item = phi i64 [ 0, %entry ], [ %next, %following ]
  %count.at = getelementptr [64 x i64], ptr %counts, i64 0, i64 %item
  %count = load i64, ptr %count.at
  %is.item = icmp ult i64 %item, %items
  %expected = zext i1 %is.item to i64
  %right = icmp eq i64 %count, %expected
  br i1 %right, label %following, label %wrong
wrong:
  call void @fail(ptr %checks)
  br label %following
following:
  %next = add i64 %item, 1
  %last.one = icmp eq i64 %next, 64
  br i1 %last.one, label %done, label %each
done:
  ret void
}

; The threads of job number i are the i-th four bits of `pattern`, so that teams of all sizes take turns.
define void @drive(ptr %checks, i64 %jobs, i64 %pattern) {
entry:
  %threads.at = getelementptr %Checks, ptr %checks, i64 0, i32 1
  br label %each
each:
  %job = phi i64 [ 0, %entry ], [ %next, %each ]
  %place = and i64 %job, 15
  %shift = mul i64 %place, 4
  %shifted = lshr i64 %pattern, %shift
  %threads = and i64 %shifted, 15
  store i64 %threads, ptr %threads.at
  %mixed = mul i64 %job, 2654435761
  %upper = lshr i64 %mixed, 13
  %items = urem i64 %upper, 40
  call void @check(ptr %checks, i64 %items)
  %next = add i64 %job, 1
  %last = icmp eq i64 %next, %jobs
  br i1 %last, label %done, label %each
done:
  ret void
}

; A job whose every item is itself a job, of the context that its worker has.
define void @nested_item(ptr %contexts, i64 %worker, i64 %item) {
  %checks = getelementptr %Checks, ptr %contexts, i64 %worker
  %items = add i64 %item, 3
  call void @check(ptr %checks, i64 %items)
  ret void
}

; errors, arrived, result of denormal arithmetic of either worker
%Meeting = type { i64, i64, [2 x float] }

; Two items that wait for each other, which takes two threads; but they give up after some seconds.
define void @meet(ptr %meeting, i64 %worker, i64 %item) {
entry:
  %arrived.at = getelementptr %Meeting, ptr %meeting, i64 0, i32 1
  %result.at = getelementptr %Meeting, ptr %meeting, i64 0, i32 2, i64 %worker
  %denormal = load volatile float, ptr @denormal
  %result = fadd float %denormal, %denormal
  store float %result, ptr %result.at
  %before = atomicrmw add ptr %arrived.at, i64 1 acq_rel
  br label %wait
wait:
  %looks = phi i64 [ 0, %entry ], [ %looked, %rest ]
  %arrived = load atomic i64, ptr %arrived.at acquire, align 8
  %both = icmp uge i64 %arrived, 2
  br i1 %both, label %met, label %rest
rest:
  %rested = call i32 @usleep(i32 20)
  %looked = add i64 %looks, 1
  %patient = icmp ult i64 %looked, 100000
  br i1 %patient, label %wait, label %missed
missed:
  call void @fail(ptr %meeting)
  ret void
met:
  ret void
}

define float @twice_denormal() {
  %denormal = load volatile float, ptr @denormal
  %twice = fadd float %denormal, %denormal
  ret float %twice
}

@denormal = internal global float 0x3780000000000000

declare i32 @usleep(i32)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
"""

LARGEST = 8
ALL_SIZES = 0x8432184321834218
FOR_SUBPROCESSES = "import os, signal, sys, threading, time\nfrom tests_of_threads import *\n"


class Checks(ctypes.Structure):
    _fields_ = (
        ("errors", ctypes.c_int64),
        ("threads", ctypes.c_int64),
        ("counts", ctypes.c_int64 * 64),
        ("running", ctypes.c_int64 * 16),
        ("last", ctypes.c_int64 * 16),
        ("parallel_for", ctypes.c_void_p),
        ("pool", ctypes.c_void_p),
    )


class Meeting(ctypes.Structure):
    _fields_ = (
        ("errors", ctypes.c_int64),
        ("arrived", ctypes.c_int64),
        ("results", ctypes.c_float * 2),
    )


class Native:
    """The functions of CHECKS."""

    def __init__(self):
        integer, pointer = ctypes.c_int64, ctypes.c_void_p
        self.library = compile_module(CHECKS, host_target())
        self.drive = ctypes.CFUNCTYPE(None, pointer, integer, integer)(self.library.address("drive"))
        self.check = ctypes.CFUNCTYPE(None, pointer, integer)(self.library.address("check"))
        self.twice_denormal = ctypes.CFUNCTYPE(ctypes.c_float)(self.library.address("twice_denormal"))

    def drive_jobs(self, its_pool, jobs, pattern=ALL_SIZES):
        """Run the jobs and return how many things went wrong."""
        checks = Checks(parallel_for=its_pool.parallel_for, pool=its_pool.address)
        self.drive(ctypes.addressof(checks), jobs, pattern)
        return checks.errors

    def run(self, its_pool, function, context, items, threads):
        integer, pointer = ctypes.c_int64, ctypes.c_void_p
        call = ctypes.CFUNCTYPE(None, pointer, pointer, pointer, integer, integer)(its_pool.parallel_for)
        address = self.library.address(function)
        call(its_pool.address, address, ctypes.addressof(context), items, threads)

    def spare_checks(self, threads):
        """Return what counts the items of work that so many threads may do."""
        checks = Checks(threads=threads)
        checks.last[:] = [-1] * 16
        return checks

    def meet(self, its_pool, threads=2):
        meeting = Meeting()
        self.run(its_pool, "meet", meeting, 2, threads)
        return meeting


def spare_work(native, checks, items):
    context = ctypes.cast(ctypes.byref(checks), ctypes.POINTER(ctypes.c_int64))
    work = Work(native.library.address("item"), context, items, checks.threads, held=checks)
    work.begin()
    return work


def items_once(items):
    return [1] * items + [0] * (64 - items)


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        place = tmp_path_factory.mktemp("threads")
        patch.setenv("GRAPHCNN_CACHE", str(place / "cache"))
        patch.setenv("PYTHONPATH", os.pathsep.join([str(place), *filter(None, sys.path)]))
        (place / "tests_of_threads.py").write_text(
            Path(__file__).read_text(encoding="utf-8"), encoding="utf-8"
        )
        yield place


@pytest.fixture(scope="module")
def native(folder):
    return Native()


def fresh(code):
    """Run code that may use all of this file in an interpreter of its own, and return what it printed."""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FOR_SUBPROCESSES + code]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


@pytest.mark.parametrize("size", [1, 2, 3, 4, 8])
def test_every_item_runs_once_whatever_the_numbers_of_items_and_threads(native, size):
    assert native.drive_jobs(pool(size), 5_000, int(f"{size:x}" * 16, 16)) == 0


def test_teams_of_all_sizes_take_turns(native):
    assert native.drive_jobs(pool(LARGEST), 20_000) == 0


@pytest.mark.parametrize(("items", "workers"), [(0, 8), (-5, 8), (40, 0), (40, -3), (40, 10_000), (1, 8)])
def test_numbers_at_the_edge_are_fine(native, items, workers):
    its_pool = pool(2)
    checks = Checks(parallel_for=its_pool.parallel_for, pool=its_pool.address, threads=10_000)
    checks.last[:] = [-1] * 16
    native.run(its_pool, "item", checks, items, workers)
    assert checks.errors == 0
    assert list(checks.counts) == [1] * max(items, 0) + [0] * (64 - max(items, 0))


@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_every_item_of_spare_work_is_done_once_beside_jobs(native, size):
    its_pool, seen = pool(size), set()
    for turn in range(300):
        checks = native.spare_checks(size)
        spare = spare_work(native, checks, turn % 40)
        errors = native.drive_jobs(its_pool, 1 + turn % 7, int(f"{size:x}" * 16, 16))
        spare.end()
        assert (errors, checks.errors, list(checks.counts)) == (0, 0, items_once(turn % 40))
        seen.update(worker for worker in range(16) if checks.last[worker] >= 0)
    assert seen <= set(range(size))


def test_threads_that_wait_do_spare_work(native):
    its_pool, others = pool(2), 0
    for _ in range(100):
        checks = native.spare_checks(2)
        native.drive_jobs(its_pool, 20, 0x2222222222222222)  # the worker is awake
        spare = spare_work(native, checks, 40)
        end = time.monotonic() + 0.01
        while sum(checks.counts) < 40 and time.monotonic() < end:
            pass
        others += sum(checks.counts)
        spare.end()
        assert list(checks.counts) == items_once(40)
    assert others > 0


def test_work_that_begins_ends_the_one_before(native):
    checks = [native.spare_checks(2) for _ in range(5)]
    begun = [spare_work(native, each, 40) for each in checks]
    assert [list(each.counts) for each in checks[:-1]] == [items_once(40)] * 4
    for spare in reversed(begun):
        spare.end()
    assert [(each.errors, list(each.counts)) for each in checks] == [(0, items_once(40))] * 5


def test_python_threads_take_turns_with_spare_work(native):
    wrong = []

    def act():
        for turn in range(500):
            checks = native.spare_checks(3)
            spare_work(native, checks, turn % 40).end()
            if checks.errors or list(checks.counts) != items_once(turn % 40):
                wrong.append(turn)

    callers = [threading.Thread(target=act) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert wrong == []


def test_a_fork_does_the_work_that_its_parent_had_begun():
    output = fresh(
        """
native, its_pool = Native(), pool(3)
for turn in range(20):
    checks = native.spare_checks(3)
    native.drive_jobs(its_pool, 20)
    spare = spare_work(native, checks, 40)
    child = os.fork()
    if not child:
        done = checks.counts[:]  # what the parent's threads had done, or half done, is done again
        checks.last[:] = [-1] * 16
        spare.end()
        again = spare_work(native, native.spare_checks(3), 40)
        again.end()
        counts = [after - before for after, before in zip(checks.counts, done)]
        os._exit(int(counts != items_once(40) or native.drive_jobs(its_pool, 50) > 0))
    spare.end()
    assert list(checks.counts) == items_once(40)
    assert os.waitpid(child, 0)[1] == 0
print("end")
"""
    )
    assert output == "end\n"


def test_python_threads_share_the_pool(native):
    its_pool = pool(3)
    errors = []
    callers = [
        threading.Thread(target=lambda: errors.append(native.drive_jobs(its_pool, 4_000))) for _ in range(4)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert errors == [0] * 4


def test_a_job_within_a_job_runs_on_its_worker(native):
    its_pool = pool(4)
    contexts = (Checks * 4)()
    for checks in contexts:
        checks.parallel_for, checks.pool, checks.threads = its_pool.parallel_for, its_pool.address, 4
    for _ in range(200):
        native.run(its_pool, "nested_item", contexts, 20, 4)
    assert [checks.errors for checks in contexts] == [0] * 4


def test_two_threads_work_at_once_and_wake_when_they_sleep(native):
    its_pool = pool(2)
    missed = 0
    for turn in range(150):
        missed += native.meet(its_pool).errors > 0
        # Around the time after which a worker falls asleep, so that some jobs come at that very moment.
        threading.Event().wait(turn % 30 * 10e-6)
    # A worker that the system stops within its last step before sleep may miss a job, which is no error.
    assert missed <= 3


def test_the_pool_grows_and_keeps_its_address():
    small = pool(2)
    large = pool(5)
    assert large == small
    assert large.threads >= 5
    assert pool(1).threads >= 5


def test_workers_flush_denormals_and_the_caller_only_when_told(native):
    its_pool = pool(2)
    meeting = native.meet(its_pool)
    assert meeting.errors == 0
    assert meeting.results[0] > 0
    assert meeting.results[1] == 0

    flush = ctypes.CFUNCTYPE(ctypes.c_int64)(its_pool.flush_denormals)
    restore = ctypes.CFUNCTYPE(None, ctypes.c_int64)(its_pool.restore_mode)
    mode = flush()
    flushed = native.twice_denormal()
    within = flush()
    restore(mode)
    assert flushed == 0
    assert within != mode
    assert native.twice_denormal() > 0
    assert flush() == mode
    restore(mode)


def test_a_forked_process_has_a_pool_of_its_own_at_the_same_address():
    output = fresh(
        """
native, its_pool = Native(), pool(4)
assert native.drive_jobs(its_pool, 500) == 0
def generation(depth):
    child = os.fork()
    if child:
        assert os.waitpid(child, 0)[1] == 0
        assert native.drive_jobs(its_pool, 500) == 0
        return
    assert its_pool.threads == 1
    assert native.meet(its_pool).errors == 0  # a job starts the threads
    assert its_pool.threads == 4
    assert native.drive_jobs(its_pool, 500) == 0
    assert pool(5) == its_pool
    assert its_pool.threads == 5
    pool(4)
    if depth:
        generation(depth - 1)
    os._exit(0)
generation(0)
print(native.meet(its_pool).errors)
"""
    )
    assert output == "0\n"


def test_a_fork_while_another_thread_runs_jobs():
    output = fresh(
        """
native, its_pool = Native(), pool(3)
busy = True
def keep_busy():
    while busy:
        assert native.drive_jobs(its_pool, 200) == 0
other = threading.Thread(target=keep_busy)
other.start()
for _ in range(10):
    child = os.fork()
    if not child:
        os._exit(int(native.drive_jobs(its_pool, 300) + native.meet(its_pool).errors > 0))
    assert os.waitpid(child, 0)[1] == 0
busy = False
other.join()
print("end")
"""
    )
    assert output == "end\n"


def test_the_interpreter_exits_while_workers_spin():
    assert fresh("native = Native()\nprint(native.drive_jobs(pool(4), 100))\n") == "0\n"


def test_the_interpreter_exits_while_a_daemon_thread_runs_jobs():
    output = fresh(
        """
native, its_pool = Native(), pool(4)
threading.Thread(target=lambda: native.drive_jobs(its_pool, 10**12), daemon=True).start()
time.sleep(0.05)
print("end")
"""
    )
    assert output == "end\n"


def test_an_idle_pool_uses_no_processor_time_and_the_interpreter_exits_while_it_sleeps():
    output = fresh(
        """
native, its_pool = Native(), pool(4)
native.drive_jobs(its_pool, 1000)
time.sleep(0.05)
before = time.process_time()
time.sleep(0.5)
print(time.process_time() - before)
"""
    )
    assert float(output) < 0.05


def test_signals_go_to_the_main_thread_while_jobs_run():
    output = fresh(
        """
tasks = Path("/proc/self/task")
before = set(tasks.iterdir()) if sys.platform == "linux" else set()
native, its_pool = Native(), pool(2)
caught = []
signal.signal(signal.SIGALRM, lambda number, frame: caught.append(threading.current_thread().name))
signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
while len(caught) < 5:
    assert native.drive_jobs(its_pool, 200) == 0
signal.setitimer(signal.ITIMER_REAL, 0)
print(set(caught), signal.pthread_sigmask(signal.SIG_BLOCK, []))
if sys.platform == "linux":
    assert native.meet(its_pool).errors == 0  # so the worker is past its start, when it blocks all
    (worker,) = set(tasks.iterdir()) - before
    (line,) = [line for line in (worker / "status").read_text().splitlines() if line.startswith("SigBlk")]
    blocked = {number for number in signal.valid_signals() if int(line.split()[1], 16) >> (number - 1) & 1}
    assert {signal.SIGINT, signal.SIGTERM, signal.SIGALRM, signal.SIGCHLD} <= blocked
    assert not {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL} & blocked
"""
    )
    assert output == "{'MainThread'} set()\n"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system does not keep to the limit")
def test_where_the_system_grants_no_more_threads_the_pool_is_smaller():
    output = fresh(
        """
import resource
native, its_pool = Native(), pool(2)
pages = int(Path("/proc/self/statm").read_text().split()[0])
stack = 8 << 20
resource.setrlimit(resource.RLIMIT_STACK, (stack, resource.RLIM_INFINITY))
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 10 * stack,) * 2)
granted = pool(200).threads
assert native.drive_jobs(its_pool, 500) == 0
assert pool(200).threads < 200
print(2 <= granted < 200)
"""
    )
    assert output == "True\n"


def test_the_pool_can_be_generated_for_every_processor():
    for name, words in {"neon": ("yield", "fpcr"), "baseline": ("pause", "ldmxcsr")}.items():
        target = named_target(name)
        code = assembly(pool_module(target), target).lower()
        for word in words:
            assert word in code


def test_the_number_of_threads_is_what_is_asked_for(monkeypatch):
    monkeypatch.setenv("GRAPHCNN_THREADS", "3")
    assert thread_count(5) == 5
    assert thread_count() == 3
    monkeypatch.setenv("GRAPHCNN_THREADS", " 7 ")
    assert thread_count() == 7


def test_without_a_number_there_is_a_thread_for_every_processor(monkeypatch):
    monkeypatch.setenv("GRAPHCNN_THREADS", "")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 4, 9, 11}, raising=False)
    monkeypatch.setattr(processors, "_quota", lambda *places: None)
    assert thread_count() == 4
    for quota, count in ((2.9, 2), (0.3, 1), (4.0, 4), (64.0, 4)):
        monkeypatch.setattr(processors, "_quota", lambda *places, quota=quota: quota)
        assert thread_count() == count
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert thread_count() == 6


@pytest.mark.parametrize(
    ("ranks_here", "launchers", "count"),
    [(3, {0, 1, 2, 3, 4, 5, 6}, 2), (16, {0, 1, 2, 3, 4, 5, 6}, 1), (3, {0, 7}, 7)],
)
def test_ranks_share_the_processors_that_their_launcher_has_not_given_to_each(
    monkeypatch, ranks_here, launchers, count
):
    monkeypatch.setenv("GRAPHCNN_THREADS", "")
    for name, value in (("PMI_RANK", 1), ("PMI_SIZE", 64), ("MPI_LOCALNRANKS", ranks_here)):
        monkeypatch.setenv(name, str(value))
    own = {0, 1, 2, 3, 4, 5, 6}
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: launchers if process else own, raising=False)
    monkeypatch.setattr(processors, "_quota", lambda *places: None)
    assert thread_count() == count


@pytest.mark.parametrize("asked", [0, -1, 513, 2.0, "4", True, False])
def test_a_wrong_number_is_an_error_that_says_where_it_is_from(monkeypatch, asked):
    monkeypatch.setenv("GRAPHCNN_THREADS", "2")
    with pytest.raises(OptionError, match="the argument threads") as caught:
        thread_count(asked)
    assert repr(asked) in str(caught.value)


@pytest.mark.parametrize("value", ["0", "-1", "many", "2.5", "1e3", "9" * 5000, "\u0662"])
def test_a_wrong_variable_is_an_error_that_names_it(monkeypatch, value):
    monkeypatch.setenv("GRAPHCNN_THREADS", value)
    with pytest.raises(OptionError, match="GRAPHCNN_THREADS"):
        thread_count()
    assert thread_count(2) == 2


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({}, None),
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, None),
        ({"a/b/cpu.max": "max 100000\n", "a/cpu.max": "300000 100000\n"}, 3.0),
        ({"a/b/cpu.max": "400000 100000\n", "a/cpu.max": "300000 100000\n", "cpu.max": "800000 100000"}, 3.0),
        ({"a/b/cpu.max": "50000 200000\n"}, 0.25),
        ({"a/c/cpu.max": "50000 100000\n"}, None),
        ({"a/b/cpu.max": "nonsense"}, None),
        ({"a/b/cpu.max": "100 0"}, None),
    ],
)
def test_the_quota_is_the_smallest_of_the_group_and_those_above(tmp_path, files, quota):
    membership = tmp_path / "membership"
    membership.write_text("5:cpu:/old\n0::/a/b\n")
    for name, content in files.items():
        file = tmp_path / "tree" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    assert processors._quota(membership, tmp_path / "tree") == quota
    assert processors._quota(tmp_path / "no such file", tmp_path / "tree") is None


@pytest.mark.parametrize(
    ("name", "batch", "threads"), [("digits", 2, 1), ("digits", 512, 2), ("lenet5", 64, 2)]
)
def test_little_work_is_done_by_one_thread(monkeypatch, name, batch, threads):
    """A step of digits on two samples takes three microseconds."""
    monkeypatch.setattr(executable, "WORTH_SHARING", WORTH_SHARING)
    entry = ZOO[name]
    options = {"input_shape": entry.input_shape, "loss": gcn.CrossEntropy(), "optimizer": gcn.SGD(0.1)}
    step = gcn.compile(entry.make(), **options, threads=2).executable("step")
    assert step._threads_for(batch) == threads
