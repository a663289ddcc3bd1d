"""The pool of threads as LLVM IR."""

from __future__ import annotations

import signal
import time
from string import Template

from graphcnn_native.runtime.processors import MOST_THREADS
from graphcnn_native.target import Target

# How long a worker that has run out of work looks for more before it sleeps: the parts of a training step
# follow each other within microseconds, while waking a sleeping thread takes tens of them.
SPIN_NANOSECONDS = 100_000
# With more threads than processors, a worker that looks for work takes the processor from one that has some.
SPIN_NANOSECONDS_WHEN_CROWDED = 2_000


def pool_module(target: Target) -> str:
    """Return the pool as LLVM IR."""
    # Blocking a fault would keep Python's faulthandler from telling where it happened.
    faults = (signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL)
    pool = _POOL.substitute(
        most_workers=MOST_THREADS - 1,
        most_threads=MOST_THREADS,
        most_items=2**48 - 1,
        long_spin=SPIN_NANOSECONDS,
        short_spin=SPIN_NANOSECONDS_WHEN_CROWDED,
        clock=time.CLOCK_MONOTONIC,
        set_mask=int(signal.SIG_SETMASK),
        allow_faults="\n".join(f"  call i32 @sigdelset(ptr %all, i32 {int(fault)})" for fault in faults),
    )
    if target.triple.startswith("x86_64"):
        return pool + _X86
    return pool + (_AARCH64 if target.triple.startswith(("aarch64", "arm64")) else _OTHER_PROCESSOR)


# A job is open while a worker may claim an item of it. One word says so: how many items are left in the lower
# 48 bits, and above them the number of workers that may take part. To claim an item is to exchange that word
# for one with an item less. Only then does a worker read the job, which cannot end or change before the
# claimed item is done; a worker that comes late, at whatever point the system had stopped it, finds nothing
# to claim, or claims from the job there is now. So nobody waits for a worker that has not claimed anything.
#
# A worker goes to sleep in two steps: it says so, then looks for work once more. A caller opens the job, then
# looks for sleepers. All four are sequentially consistent, so that at least one of the two sees the other.
#
# Beside the job there may be a spare one. A worker claims an item of it, in the same way, where it has looked
# for a job in vain for a microsecond or so. Nobody is woken for it; who ends it runs what is left.
#
# What different threads write lies two cache lines apart, since processors fetch lines in pairs.
_POOL = Template(
    """\
; open, function, context, items, threads
%Job = type { i64, ptr, ptr, i64, i64, [88 x i8] }
%Count = type { i64, [120 x i8] }
; workers, wanted, processors, growing
%Size = type { i64, i64, i64, i64, [96 x i8] }
; number, asleep, mutex, condition
%Worker = type { i64, i64, [112 x i8], [64 x i8], [64 x i8] }
; job, pending, busy, sleepers, size, workers, spare job, its pending
%Pool = type { %Job, %Count, %Count, %Count, %Size, [$most_workers x %Worker], %Job, %Count }

@pool = internal global %Pool zeroinitializer, align 128

define void @parallel_for(ptr %pool, ptr %function, ptr %context, i64 %items, i64 %threads) {
entry:
  %workers.at = getelementptr %Pool, ptr %pool, i64 0, i32 4, i32 0
  %wanted.at = getelementptr %Pool, ptr %pool, i64 0, i32 4, i32 1
  %busy.at = getelementptr %Pool, ptr %pool, i64 0, i32 2, i32 0
  %pending.at = getelementptr %Pool, ptr %pool, i64 0, i32 1, i32 0
  %useful = call i64 @llvm.smin.i64(i64 %items, i64 %threads)
  %divisible = icmp sgt i64 %useful, 1
  %countable = icmp ule i64 %items, $most_items
  %shareable = and i1 %divisible, %countable
  br i1 %shareable, label %check, label %alone

check: ; after a fork, the threads are still to be started
  %before = load atomic i64, ptr %workers.at monotonic, align 8
  %wanted = load atomic i64, ptr %wanted.at monotonic, align 8
  %short = icmp slt i64 %before, %wanted
  br i1 %short, label %start, label %share

start:
  call void @start_wanted(ptr %pool)
  br label %share

share:
  %workers = load atomic i64, ptr %workers.at acquire, align 8
  %present = add i64 %workers, 1
  %team = call i64 @llvm.smin.i64(i64 %useful, i64 %present)
  %company = icmp sgt i64 %team, 1
  br i1 %company, label %acquire, label %alone

acquire:
  %lock = cmpxchg ptr %busy.at, i64 0, i64 1 acquire monotonic, align 8
  %locked = extractvalue { i64, i1 } %lock, 1
  br i1 %locked, label %open, label %alone

open:
  %open.at = getelementptr %Pool, ptr %pool, i64 0, i32 0, i32 0
  %function.at = getelementptr %Pool, ptr %pool, i64 0, i32 0, i32 1
  %context.at = getelementptr %Pool, ptr %pool, i64 0, i32 0, i32 2
  %items.at = getelementptr %Pool, ptr %pool, i64 0, i32 0, i32 3
  %threads.at = getelementptr %Pool, ptr %pool, i64 0, i32 0, i32 4
  store ptr %function, ptr %function.at, align 8
  store ptr %context, ptr %context.at, align 8
  store i64 %items, ptr %items.at, align 8
  store atomic i64 %threads, ptr %threads.at monotonic, align 8
  store atomic i64 %items, ptr %pending.at monotonic, align 8
  %team.bits = shl i64 %team, 48
  %word = or i64 %team.bits, %items
  store atomic i64 %word, ptr %open.at seq_cst, align 8
  call void @wake(ptr %pool, i64 %team)
  call void @run_items(ptr %pool, i64 0)
  br label %wait

wait: ; for items that others have claimed and not done
  %spins = phi i64 [ 0, %open ], [ %spun, %spin ], [ %spun, %yield ]
  %pending = load atomic i64, ptr %pending.at acquire, align 8
  %finished = icmp eq i64 %pending, 0
  br i1 %finished, label %release, label %spin

spin:
  call void @pause()
  %spun = add i64 %spins, 1
  %long = icmp ugt i64 %spun, 200
  br i1 %long, label %yield, label %wait

yield: ; perhaps to the very thread that is waited for
  %yielded = call i32 @sched_yield()
  br label %wait

release:
  store atomic i64 0, ptr %busy.at release, align 8
  ret void

alone:
  %none = icmp slt i64 %items, 1
  br i1 %none, label %return, label %each

each:
  %item = phi i64 [ 0, %alone ], [ %next, %each ]
  call void %function(ptr %context, i64 0, i64 %item)
  %next = add i64 %item, 1
  %last = icmp sge i64 %next, %items
  br i1 %last, label %return, label %each

return:
  ret void
}

define internal i1 @is_open(i64 %word, i64 %worker) alwaysinline {
  %team = lshr i64 %word, 48
  %left = and i64 %word, $most_items
  %takes.part = icmp ult i64 %worker, %team
  %some = icmp ne i64 %left, 0
  %open = and i1 %takes.part, %some
  ret i1 %open
}

define internal void @run_items(ptr %pool, i64 %worker) {
entry:
  %open.at = getelementptr %Pool, ptr %pool, i64 0, i32 0, i32 0
  %function.at = getelementptr %Pool, ptr %pool, i64 0, i32 0, i32 1
  %context.at = getelementptr %Pool, ptr %pool, i64 0, i32 0, i32 2
  %items.at = getelementptr %Pool, ptr %pool, i64 0, i32 0, i32 3
  %pending.at = getelementptr %Pool, ptr %pool, i64 0, i32 1, i32 0
  %first = load atomic i64, ptr %open.at acquire, align 8
  br label %look

look:
  %word = phi i64 [ %first, %entry ], [ %now, %claim ], [ %after, %run ]
  %done = phi i64 [ 0, %entry ], [ %done, %claim ], [ %more, %run ]
  %open = call i1 @is_open(i64 %word, i64 %worker)
  br i1 %open, label %claim, label %leave

claim:
  %less = sub i64 %word, 1
  %exchange = cmpxchg weak ptr %open.at, i64 %word, i64 %less acq_rel acquire, align 8
  %now = extractvalue { i64, i1 } %exchange, 0
  %claimed = extractvalue { i64, i1 } %exchange, 1
  br i1 %claimed, label %run, label %look

run:
  %function = load ptr, ptr %function.at, align 8
  %context = load ptr, ptr %context.at, align 8
  %items = load i64, ptr %items.at, align 8
  %left = and i64 %word, $most_items
  %item = sub i64 %items, %left
  call void %function(ptr %context, i64 %worker, i64 %item)
  %more = add i64 %done, 1
  %after = load atomic i64, ptr %open.at acquire, align 8
  br label %look

leave: ; the job does not end before its items are reported, so they are all of one job
  %idle = icmp eq i64 %done, 0
  br i1 %idle, label %return, label %report

report:
  %before = atomicrmw sub ptr %pending.at, i64 %done acq_rel, align 8
  br label %return

return:
  ret void
}

define void @begin_spare(ptr %pool, ptr %function, ptr %context, i64 %items, i64 %threads) {
  %open.at = getelementptr %Pool, ptr %pool, i64 0, i32 6, i32 0
  %function.at = getelementptr %Pool, ptr %pool, i64 0, i32 6, i32 1
  %context.at = getelementptr %Pool, ptr %pool, i64 0, i32 6, i32 2
  %items.at = getelementptr %Pool, ptr %pool, i64 0, i32 6, i32 3
  %pending.at = getelementptr %Pool, ptr %pool, i64 0, i32 7, i32 0
  store ptr %function, ptr %function.at, align 8
  store ptr %context, ptr %context.at, align 8
  store i64 %items, ptr %items.at, align 8
  store atomic i64 %items, ptr %pending.at monotonic, align 8
  %team = call i64 @llvm.smin.i64(i64 %threads, i64 $most_threads)
  %team.bits = shl i64 %team, 48
  %word = or i64 %team.bits, %items
  store atomic i64 %word, ptr %open.at release, align 8
  ret void
}

define void @end_spare(ptr %pool) {
entry:
  %pending.at = getelementptr %Pool, ptr %pool, i64 0, i32 7, i32 0
  br label %each

each:
  %more = call i1 @run_spare_item(ptr %pool, i64 0)
  br i1 %more, label %each, label %wait

wait: ; for an item that another has claimed and not done
  %spins = phi i64 [ 0, %each ], [ %spun, %spin ], [ %spun, %yield ]
  %pending = load atomic i64, ptr %pending.at acquire, align 8
  %finished = icmp eq i64 %pending, 0
  br i1 %finished, label %return, label %spin

spin:
  call void @pause()
  %spun = add i64 %spins, 1
  %long = icmp ugt i64 %spun, 200
  br i1 %long, label %yield, label %wait

yield:
  %yielded = call i32 @sched_yield()
  br label %wait

return:
  ret void
}

; Run an item of the spare job; return whether there was one.
define internal i1 @run_spare_item(ptr %pool, i64 %worker) {
entry:
  %open.at = getelementptr %Pool, ptr %pool, i64 0, i32 6, i32 0
  %function.at = getelementptr %Pool, ptr %pool, i64 0, i32 6, i32 1
  %context.at = getelementptr %Pool, ptr %pool, i64 0, i32 6, i32 2
  %items.at = getelementptr %Pool, ptr %pool, i64 0, i32 6, i32 3
  %pending.at = getelementptr %Pool, ptr %pool, i64 0, i32 7, i32 0
  %first = load atomic i64, ptr %open.at acquire, align 8
  br label %look

look:
  %word = phi i64 [ %first, %entry ], [ %now, %claim ]
  %open = call i1 @is_open(i64 %word, i64 %worker)
  br i1 %open, label %claim, label %none

claim:
  %less = sub i64 %word, 1
  %exchange = cmpxchg weak ptr %open.at, i64 %word, i64 %less acq_rel acquire, align 8
  %now = extractvalue { i64, i1 } %exchange, 0
  %claimed = extractvalue { i64, i1 } %exchange, 1
  br i1 %claimed, label %run, label %look

run:
  %function = load ptr, ptr %function.at, align 8
  %context = load ptr, ptr %context.at, align 8
  %items = load i64, ptr %items.at, align 8
  %left = and i64 %word, $most_items
  %item = sub i64 %items, %left
  call void %function(ptr %context, i64 %worker, i64 %item)
  %before = atomicrmw sub ptr %pending.at, i64 1 acq_rel, align 8
  ret i1 true

none:
  ret i1 false
}

define internal void @wake(ptr %pool, i64 %team) {
entry:
  %sleepers.at = getelementptr %Pool, ptr %pool, i64 0, i32 3, i32 0
  %sleepers = load atomic i64, ptr %sleepers.at seq_cst, align 8
  %awake = icmp eq i64 %sleepers, 0
  br i1 %awake, label %return, label %each

each:
  %number = phi i64 [ 1, %entry ], [ %next, %following ]
  %slot = sub i64 %number, 1
  %asleep.at = getelementptr %Pool, ptr %pool, i64 0, i32 5, i64 %slot, i32 1
  %mutex = getelementptr %Pool, ptr %pool, i64 0, i32 5, i64 %slot, i32 3
  %condition = getelementptr %Pool, ptr %pool, i64 0, i32 5, i64 %slot, i32 4
  %asleep = load atomic i64, ptr %asleep.at seq_cst, align 8
  %sleeps = icmp ne i64 %asleep, 0
  br i1 %sleeps, label %try, label %following

try: ; it holds its mutex for an instant before it sleeps, but if stopped there, it is not worth waiting for
  %tries = phi i64 [ 0, %each ], [ %tried, %again ]
  %busy = call i32 @pthread_mutex_trylock(ptr %mutex)
  %locked = icmp eq i32 %busy, 0
  br i1 %locked, label %look, label %again

again:
  call void @pause()
  %tried = add i64 %tries, 1
  %vain = icmp ugt i64 %tried, 50
  br i1 %vain, label %following, label %try

look:
  %still = load atomic i64, ptr %asleep.at monotonic, align 8
  %wakes = icmp ne i64 %still, 0
  br i1 %wakes, label %rouse, label %unlock

rouse:
  store atomic i64 0, ptr %asleep.at monotonic, align 8
  %before = atomicrmw sub ptr %sleepers.at, i64 1 monotonic, align 8
  %signalled = call i32 @pthread_cond_signal(ptr %condition)
  br label %unlock

unlock:
  %unlocked = call i32 @pthread_mutex_unlock(ptr %mutex)
  br label %following

following:
  %next = add i64 %number, 1
  %last = icmp uge i64 %next, %team
  br i1 %last, label %return, label %each

return:
  ret void
}

define internal ptr @work(ptr %worker) {
entry:
  %mode = call i64 @flush_denormals()
  %number = load i64, ptr %worker, align 8
  br label %forever

forever:
  call void @run_items(ptr @pool, i64 %number)
  call void @await_work(ptr @pool, ptr %worker, i64 %number)
  br label %forever
}

define internal void @await_work(ptr %pool, ptr %worker, i64 %number) {
entry:
  %open.at = getelementptr %Pool, ptr %pool, i64 0, i32 0, i32 0
  %sleepers.at = getelementptr %Pool, ptr %pool, i64 0, i32 3, i32 0
  %threads.at = getelementptr %Pool, ptr %pool, i64 0, i32 0, i32 4
  %processors.at = getelementptr %Pool, ptr %pool, i64 0, i32 4, i32 2
  %asleep.at = getelementptr %Worker, ptr %worker, i64 0, i32 1
  %mutex = getelementptr %Worker, ptr %worker, i64 0, i32 3
  %condition = getelementptr %Worker, ptr %worker, i64 0, i32 4
  %threads = load atomic i64, ptr %threads.at monotonic, align 8
  %processors = load atomic i64, ptr %processors.at monotonic, align 8
  %crowded = icmp sgt i64 %threads, %processors
  %patience = select i1 %crowded, i64 $short_spin, i64 $long_spin
  %start = call i64 @nanoseconds()
  br label %spin

spin:
  %spins = phi i64 [ 0, %entry ], [ %spun, %spinning ], [ 32, %help ], [ 0, %look.at.clock ], [ 0, %yield ]
  %word = load atomic i64, ptr %open.at acquire, align 8
  %open = call i1 @is_open(i64 %word, i64 %number)
  br i1 %open, label %return, label %spinning

spinning:
  call void @pause()
  %spun = add i64 %spins, 1
  %enough = icmp ugt i64 %spun, 32
  br i1 %enough, label %help, label %spin

help:
  %helped = call i1 @run_spare_item(ptr %pool, i64 %number)
  br i1 %helped, label %spin, label %look.at.clock

look.at.clock:
  %now = call i64 @nanoseconds()
  %spent = sub i64 %now, %start
  %soon = icmp slt i64 %spent, 5000
  br i1 %soon, label %spin, label %yield

yield: ; on a loaded machine perhaps to the very thread that is to open the next job
  %yielded = call i32 @sched_yield()
  %tired = icmp sgt i64 %spent, %patience
  br i1 %tired, label %lie.down, label %spin

lie.down:
  %locked = call i32 @pthread_mutex_lock(ptr %mutex)
  store atomic i64 1, ptr %asleep.at seq_cst, align 8
  %before = atomicrmw add ptr %sleepers.at, i64 1 seq_cst, align 8
  %late.word = load atomic i64, ptr %open.at seq_cst, align 8
  %late = call i1 @is_open(i64 %late.word, i64 %number)
  br i1 %late, label %get.up, label %sleep

get.up:
  store atomic i64 0, ptr %asleep.at monotonic, align 8
  %then = atomicrmw sub ptr %sleepers.at, i64 1 monotonic, align 8
  br label %unlock

sleep:
  %slept = call i32 @pthread_cond_wait(ptr %condition, ptr %mutex)
  %asleep = load atomic i64, ptr %asleep.at monotonic, align 8
  %spurious = icmp ne i64 %asleep, 0
  br i1 %spurious, label %sleep, label %unlock

unlock:
  %unlocked = call i32 @pthread_mutex_unlock(ptr %mutex)
  br label %return

return:
  ret void
}

define void @grow(i64 %workers, i64 %processors) {
  %wanted.at = getelementptr %Pool, ptr @pool, i64 0, i32 4, i32 1
  %processors.at = getelementptr %Pool, ptr @pool, i64 0, i32 4, i32 2
  store atomic i64 %processors, ptr %processors.at monotonic, align 8
  %before = atomicrmw max ptr %wanted.at, i64 %workers monotonic, align 8
  call void @start_wanted(ptr @pool)
  ret void
}

define internal void @start_wanted(ptr %pool) noinline cold {
entry:
  %workers.at = getelementptr %Pool, ptr %pool, i64 0, i32 4, i32 0
  %wanted.at = getelementptr %Pool, ptr %pool, i64 0, i32 4, i32 1
  %growing.at = getelementptr %Pool, ptr %pool, i64 0, i32 4, i32 3
  br label %acquire

acquire:
  %lock = cmpxchg ptr %growing.at, i64 0, i64 1 acquire monotonic, align 8
  %locked = extractvalue { i64, i1 } %lock, 1
  br i1 %locked, label %compare, label %yield

yield:
  %yielded = call i32 @sched_yield()
  br label %acquire

compare:
  %workers = load atomic i64, ptr %workers.at monotonic, align 8
  %wanted = load atomic i64, ptr %wanted.at monotonic, align 8
  %enough = icmp sge i64 %workers, %wanted
  br i1 %enough, label %release, label %start

start:
  %more = add i64 %workers, 1
  %worker = getelementptr %Pool, ptr %pool, i64 0, i32 5, i64 %workers
  %started = call i1 @start_thread(ptr %worker, i64 %more)
  br i1 %started, label %count, label %give.up

count:
  store atomic i64 %more, ptr %workers.at release, align 8
  br label %compare

give.up: ; every job would try again otherwise
  store atomic i64 %workers, ptr %wanted.at monotonic, align 8
  br label %release

release:
  store atomic i64 0, ptr %growing.at release, align 8
  ret void
}

; Signals are for the threads of Python: a new thread blocks those that its creator blocks.
define internal i1 @start_thread(ptr %worker, i64 %number) {
entry:
  %thread = alloca i64, align 8
  %all = alloca [128 x i8], align 8
  %before = alloca [128 x i8], align 8
  %asleep.at = getelementptr %Worker, ptr %worker, i64 0, i32 1
  %mutex = getelementptr %Worker, ptr %worker, i64 0, i32 3
  %condition = getelementptr %Worker, ptr %worker, i64 0, i32 4
  store i64 %number, ptr %worker, align 8
  store atomic i64 0, ptr %asleep.at monotonic, align 8
  call i32 @pthread_mutex_init(ptr %mutex, ptr null)
  call i32 @pthread_cond_init(ptr %condition, ptr null)
  call i32 @sigfillset(ptr %all)
$allow_faults
  call i32 @pthread_sigmask(i32 $set_mask, ptr %all, ptr %before)
  %failure = call i32 @pthread_create(ptr %thread, ptr null, ptr @work, ptr %worker)
  call i32 @pthread_sigmask(i32 $set_mask, ptr %before, ptr null)
  %started = icmp eq i32 %failure, 0
  br i1 %started, label %detach, label %return

detach:
  %handle = load i64, ptr %thread, align 8
  call i32 @pthread_detach(i64 %handle)
  br label %return

return:
  ret i1 %started
}

define void @forget_threads() {
  %open.at = getelementptr %Pool, ptr @pool, i64 0, i32 0, i32 0
  %busy.at = getelementptr %Pool, ptr @pool, i64 0, i32 2, i32 0
  %sleepers.at = getelementptr %Pool, ptr @pool, i64 0, i32 3, i32 0
  %workers.at = getelementptr %Pool, ptr @pool, i64 0, i32 4, i32 0
  %growing.at = getelementptr %Pool, ptr @pool, i64 0, i32 4, i32 3
  %spare.at = getelementptr %Pool, ptr @pool, i64 0, i32 6, i32 0
  %spare.pending.at = getelementptr %Pool, ptr @pool, i64 0, i32 7, i32 0
  store atomic i64 0, ptr %open.at monotonic, align 8
  store atomic i64 0, ptr %spare.at monotonic, align 8
  store atomic i64 0, ptr %spare.pending.at monotonic, align 8
  store atomic i64 0, ptr %busy.at monotonic, align 8
  store atomic i64 0, ptr %sleepers.at monotonic, align 8
  store atomic i64 0, ptr %workers.at monotonic, align 8
  store atomic i64 0, ptr %growing.at monotonic, align 8
  ret void
}

define i64 @workers() {
  %workers.at = getelementptr %Pool, ptr @pool, i64 0, i32 4, i32 0
  %workers = load atomic i64, ptr %workers.at monotonic, align 8
  ret i64 %workers
}

define i64 @pool_address() {
  %address = ptrtoint ptr @pool to i64
  ret i64 %address
}

define internal i64 @nanoseconds() {
  %time = alloca { i64, i64 }, align 8
  %failure = call i32 @clock_gettime(i32 $clock, ptr %time)
  %nanoseconds.at = getelementptr { i64, i64 }, ptr %time, i64 0, i32 1
  %seconds = load i64, ptr %time, align 8
  %nanoseconds = load i64, ptr %nanoseconds.at, align 8
  %whole = mul i64 %seconds, 1000000000
  %sum = add i64 %whole, %nanoseconds
  ret i64 %sum
}

declare i64 @llvm.smin.i64(i64, i64)
declare i32 @clock_gettime(i32, ptr)
declare i32 @sched_yield()
declare i32 @sigfillset(ptr)
declare i32 @sigdelset(ptr, i32)
declare i32 @pthread_sigmask(i32, ptr, ptr)
declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_detach(i64)
declare i32 @pthread_mutex_init(ptr, ptr)
declare i32 @pthread_mutex_lock(ptr)
declare i32 @pthread_mutex_trylock(ptr)
declare i32 @pthread_mutex_unlock(ptr)
declare i32 @pthread_cond_init(ptr, ptr)
declare i32 @pthread_cond_wait(ptr, ptr)
declare i32 @pthread_cond_signal(ptr)
"""
)

# MXCSR: flush to zero is bit 15, denormals are zero bit 6 (Intel 64 manual, volume 1, section 10.2.3).
_X86 = """
declare void @llvm.x86.sse2.pause()
declare void @llvm.x86.sse.stmxcsr(ptr)
declare void @llvm.x86.sse.ldmxcsr(ptr)

define internal void @pause() alwaysinline {
  call void @llvm.x86.sse2.pause()
  ret void
}

define i64 @flush_denormals() noinline {
  %place = alloca i32, align 4
  call void @llvm.x86.sse.stmxcsr(ptr %place)
  %before = load i32, ptr %place, align 4
  %flushing = or i32 %before, 32832
  store i32 %flushing, ptr %place, align 4
  call void @llvm.x86.sse.ldmxcsr(ptr %place)
  %mode = zext i32 %before to i64
  ret i64 %mode
}

define void @restore_mode(i64 %mode) noinline {
  %place = alloca i32, align 4
  %narrow = trunc i64 %mode to i32
  store i32 %narrow, ptr %place, align 4
  call void @llvm.x86.sse.ldmxcsr(ptr %place)
  ret void
}
"""

# FPCR: flush to zero, of operands and results, is bit 24 (Arm Architecture Reference Manual, section C5.2.8).
_AARCH64 = """
declare void @llvm.aarch64.hint(i32)
declare i64 @llvm.aarch64.get.fpcr()
declare void @llvm.aarch64.set.fpcr(i64)

define internal void @pause() alwaysinline {
  call void @llvm.aarch64.hint(i32 1)
  ret void
}

define i64 @flush_denormals() noinline {
  %mode = call i64 @llvm.aarch64.get.fpcr()
  %flushing = or i64 %mode, 16777216
  call void @llvm.aarch64.set.fpcr(i64 %flushing)
  ret i64 %mode
}

define void @restore_mode(i64 %mode) noinline {
  call void @llvm.aarch64.set.fpcr(i64 %mode)
  ret void
}
"""

_OTHER_PROCESSOR = """
define internal void @pause() alwaysinline {
  ret void
}

define i64 @flush_denormals() {
  ret i64 0
}

define void @restore_mode(i64 %mode) {
  ret void
}
"""
