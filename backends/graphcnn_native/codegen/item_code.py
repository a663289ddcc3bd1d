"""What threads do in a stage of a step, as LLVM IR, the same for all programs: an item of its work each."""

from __future__ import annotations

from string import Template
from typing import Final

ITEM: Final = Template("""
; The work of one item, with denormals as they are for the caller of the step: the workers flush them.
define internal void @exact_stage(ptr %context, i64 %worker, i64 %item) nounwind {
  %flush.at = getelementptr i64, ptr %context, i64 $flush
  %flush = load ptr, ptr %flush.at
  %restore.at = getelementptr i64, ptr %context, i64 $restore
  %restore = load ptr, ptr %restore.at
  %mode.at = getelementptr i64, ptr %context, i64 $mode
  %callers = load i64, ptr %mode.at
  %mode = call i64 %flush()
  call void %restore(i64 %callers)
  call void @stage(ptr %context, i64 %worker, i64 %item)
  call void %restore(i64 %mode)
  ret void
}

; The work of one item of the stage that runs.
define void @stage(ptr %context, i64 %worker, i64 %item) nounwind {
entry:
  %stage.at = getelementptr i64, ptr %context, i64 $stage
  %stage = load i64, ptr %stage.at
  %samples.at = getelementptr %Stage, ptr @stages, i64 %stage, i32 0
  %samples = load i64, ptr %samples.at
  %whole.at = getelementptr %Stage, ptr @stages, i64 %stage, i32 1
  %whole = load i64, ptr %whole.at
  %end.at = getelementptr %Stage, ptr @stages, i64 %stage, i32 2
  %end = load i64, ptr %end.at
  %block = call ptr @block_of(ptr %context, i64 %worker)
  %shards = call i64 @shards_of(ptr %context, i64 %stage)
  %is.shard = icmp slt i64 %item, %shards
  br i1 %is.shard, label %samples.of.shard, label %piece.of.whole
samples.of.shard:
  call void @shard(ptr %context, i64 %worker, i64 %item, ptr %block, i64 %samples, i64 %whole)
  ret void
piece.of.whole:
  %first.piece = sub nsw i64 %item, %shards
  br label %search
search:
  %place = phi i64 [ %whole, %piece.of.whole ], [ %next, %skip ]
  %piece = phi i64 [ %first.piece, %piece.of.whole ], [ %rest, %skip ]
  %more = icmp slt i64 %place, %end
  br i1 %more, label %look, label %done
look:
  %kernel = getelementptr %Kernel, ptr @kernels, i64 %place
  %pieces.at = getelementptr %Kernel, ptr %kernel, i64 0, i32 5
  %pieces = load i64, ptr %pieces.at
  %is.its = icmp slt i64 %piece, %pieces
  br i1 %is.its, label %work, label %skip
skip:
  %rest = sub nsw i64 %piece, %pieces
  %next = add nsw i64 %place, 1
  br label %search
work:
  %left.out.at = getelementptr i64, ptr %context, i64 $left_out
  %left.out = load ptr, ptr %left.out.at
  %are.any.left = icmp ne ptr %left.out, null
  br i1 %are.any.left, label %ask, label %own
ask:
  %number.at = getelementptr %Kernel, ptr %kernel, i64 0, i32 2
  %number = load i64, ptr %number.at
  %left.here.at = getelementptr i64, ptr %left.out, i64 %number
  %left.here = load i64, ptr %left.here.at
  %is.left = icmp ne i64 %left.here, 0
  br i1 %is.left, label %done, label %own
own: ; before the last part of a batch, only products over samples sum up
  %batch = load i64, ptr %context
  %first.at = getelementptr i64, ptr %context, i64 $first
  %first = load i64, ptr %first.at
  %count.at = getelementptr i64, ptr %context, i64 $count
  %count = load i64, ptr %count.at
  %reached = add nsw i64 %first, %count
  %is.last = icmp sge i64 %reached, %batch
  %unfinished.at = getelementptr %Kernel, ptr %kernel, i64 0, i32 9
  %unfinished = load i64, ptr %unfinished.at
  %sums.up = icmp ne i64 %unfinished, 0
  %is.due = or i1 %is.last, %sums.up
  br i1 %is.due, label %call, label %done
call:
  %chunk.at = getelementptr %Kernel, ptr %kernel, i64 0, i32 6
  %chunk = load i64, ptr %chunk.at
  %extent.at = getelementptr %Kernel, ptr %kernel, i64 0, i32 7
  %extent = load i64, ptr %extent.at
  %for.each.at = getelementptr %Kernel, ptr %kernel, i64 0, i32 8
  %for.each = load i64, ptr %for.each.at
  %is.for.each = icmp ne i64 %for.each, 0
  %samples.extent = mul nsw i64 %extent, %batch
  %all = select i1 %is.for.each, i64 %samples.extent, i64 %extent
  %begin = mul nsw i64 %piece, %chunk
  %behind.piece = add nsw i64 %begin, %chunk
  %least = call i64 @llvm.smin.i64(i64 %behind.piece, i64 %all)
  %is.cut = icmp ne i64 %chunk, 0
  %stop = select i1 %is.cut, i64 %least, i64 %all
  call void @add_up_shards(ptr %kernel, ptr %context, i64 %begin, i64 %stop)
  call void @run(ptr %kernel, i64 %worker, ptr %context, ptr %block, ptr null, i64 %begin, i64 %stop,
                 ptr %block, i64 0, i64 1, i64 0, i64 0)
  br label %done
done:
  ret void
}

; Adds up what all shards have summed, as far as a piece of the whole totals it: it is then in the first one's
; memory.
define internal void @add_up_shards(ptr %kernel, ptr %context, i64 %begin, i64 %end) nounwind {
entry:
  %rows.at = getelementptr i64, ptr %context, i64 $rows
  %rows = load i64, ptr %rows.at
  %bands.at = getelementptr %Kernel, ptr %kernel, i64 0, i32 14
  %bands = load i64, ptr %bands.at
  %has.others = icmp sgt i64 %rows, 1
  %count = select i1 %has.others, i64 %bands, i64 0
  %sums.at = getelementptr i64, ptr %context, i64 $sums
  %sums = load ptr, ptr %sums.at
  %offset.at = getelementptr %Kernel, ptr %kernel, i64 0, i32 13
  %offset = load i64, ptr %offset.at
  %band.at = getelementptr %Kernel, ptr %kernel, i64 0, i32 15
  %band.bytes = load i64, ptr %band.at
  %double.at = getelementptr %Kernel, ptr %kernel, i64 0, i32 16
  %double = load i64, ptr %double.at
  %is.double = icmp ne i64 %double, 0
  %each.at = getelementptr %Kernel, ptr %kernel, i64 0, i32 17
  %each = load i64, ptr %each.at
  %apart = load i64, ptr @sums_bytes
  %places = sub nsw i64 %end, %begin
  %size = mul nsw i64 %places, %each
  %before = mul nsw i64 %begin, %each
  %shift = select i1 %is.double, i64 3, i64 2
  %bytes.before = shl nsw i64 %before, %shift
  %from = add nsw i64 %offset, %bytes.before
  br label %bands.loop
bands.loop:
  %band = phi i64 [ 0, %entry ], [ %next, %added ]
  %more = icmp slt i64 %band, %count
  br i1 %more, label %one, label %done
one:
  %of.band = mul nsw i64 %band, %band.bytes
  %place = add nsw i64 %from, %of.band
  %first = getelementptr i8, ptr %sums, i64 %place
  br i1 %is.double, label %doubles, label %floats
doubles:
  call void @add_up_double(ptr %first, ptr %first, i64 %size, i64 %rows, i64 %apart)
  br label %added
floats:
  call void @add_up_float(ptr %first, ptr %first, i64 %size, i64 %rows, i64 %apart)
  br label %added
added:
  %next = add nsw i64 %band, 1
  br label %bands.loop
done:
  ret void
}

; Adds up a chunk of rows; told are where the total goes, the first row, its numbers, how many rows there are,
; bytes apart, the numbers of a chunk, and whether they are in float64.
define void @add_up_chunk(ptr %rows, i64 %worker, i64 %item) nounwind {
  %total = load ptr, ptr %rows
  %first.at = getelementptr i64, ptr %rows, i64 1
  %first = load ptr, ptr %first.at
  %size.at = getelementptr i64, ptr %rows, i64 2
  %size = load i64, ptr %size.at
  %count.at = getelementptr i64, ptr %rows, i64 3
  %count = load i64, ptr %count.at
  %apart.at = getelementptr i64, ptr %rows, i64 4
  %apart = load i64, ptr %apart.at
  %chunk.at = getelementptr i64, ptr %rows, i64 5
  %chunk = load i64, ptr %chunk.at
  %double.at = getelementptr i64, ptr %rows, i64 6
  %double = load i64, ptr %double.at
  %is.double = icmp ne i64 %double, 0
  %begin = mul nsw i64 %item, %chunk
  %left = sub nsw i64 %size, %begin
  %numbers = call i64 @llvm.smin.i64(i64 %chunk, i64 %left)
  br i1 %is.double, label %doubles, label %floats
doubles:
  %doubles.total = getelementptr double, ptr %total, i64 %begin
  %of.doubles = getelementptr double, ptr %first, i64 %begin
  call void @add_up_double(ptr %doubles.total, ptr %of.doubles, i64 %numbers, i64 %count, i64 %apart)
  ret void
floats:
  %floats.total = getelementptr float, ptr %total, i64 %begin
  %of.floats = getelementptr float, ptr %first, i64 %begin
  call void @add_up_float(ptr %floats.total, ptr %of.floats, i64 %numbers, i64 %count, i64 %apart)
  ret void
}

; Returns the block of a thread.
define internal ptr @block_of(ptr %context, i64 %worker) nounwind {
  %blocks.at = getelementptr i64, ptr %context, i64 $scratch
  %blocks = load ptr, ptr %blocks.at
  %bytes = load i64, ptr @block_bytes
  %behind = mul nsw i64 %worker, %bytes
  %block = getelementptr i8, ptr %blocks, i64 %behind
  ret ptr %block
}

; Returns the partial sums of a shard.
define internal ptr @sums_of(ptr %context, i64 %shard) nounwind {
  %all.at = getelementptr i64, ptr %context, i64 $sums
  %all = load ptr, ptr %all.at
  %bytes = load i64, ptr @sums_bytes
  %before = mul nsw i64 %shard, %bytes
  %sums = getelementptr i8, ptr %all, i64 %before
  ret ptr %sums
}

; Returns the first sample of a shard, and the one behind its last: none, where others' fill the part.
define internal { i64, i64 } @samples_of(ptr %context, i64 %shard) nounwind {
  %start.at = getelementptr i64, ptr %context, i64 $first
  %start = load i64, ptr %start.at
  %count.at = getelementptr i64, ptr %context, i64 $count
  %count = load i64, ptr %count.at
  %size.at = getelementptr i64, ptr %context, i64 $shard_size
  %size = load i64, ptr %size.at
  %first.shard.at = getelementptr i64, ptr %context, i64 $first_shard
  %first.shard = load i64, ptr %first.shard.at
  %number = add nsw i64 %first.shard, %shard
  %before = mul nsw i64 %number, %size
  %begin = add nsw i64 %start, %before
  %behind = add nsw i64 %begin, %size
  %reached = add nsw i64 %start, %count
  %end = call i64 @llvm.smin.i64(i64 %behind, i64 %reached)
  %from = insertvalue { i64, i64 } poison, i64 %begin, 0
  %range = insertvalue { i64, i64 } %from, i64 %end, 1
  ret { i64, i64 } %range
}

; Sets the partial sums of a stage's kernels to zero, before the first part of the batch.
define internal void @clear_sums(ptr %context, ptr %sums, i64 %from, i64 %to) nounwind {
entry:
  %first.at = getelementptr i64, ptr %context, i64 $first
  %first = load i64, ptr %first.at
  %is.first = icmp eq i64 %first, 0
  br i1 %is.first, label %clear, label %done
clear:
  %cleared = phi i64 [ %from, %entry ], [ %next, %clear.one ]
  %more = icmp slt i64 %cleared, %to
  br i1 %more, label %clear.one, label %done
clear.one:
  %offset.at = getelementptr %Kernel, ptr @kernels, i64 %cleared, i32 3
  %offset = load i64, ptr %offset.at
  %bytes.at = getelementptr %Kernel, ptr @kernels, i64 %cleared, i32 4
  %bytes = load i64, ptr %bytes.at
  %its.sums = getelementptr i8, ptr %sums, i64 %offset
  call void @llvm.memset.p0.i64(ptr %its.sums, i8 0, i64 %bytes, i1 false)
  %next = add nsw i64 %cleared, 1
  br label %clear
done:
  ret void
}

; Carries a shard's samples through the kernels of a stage. Partial sums begin at zero.
define internal void @shard(ptr %context, i64 %worker, i64 %item, ptr %block, i64 %from, i64 %to) nounwind {
  %range = call { i64, i64 } @samples_of(ptr %context, i64 %item)
  %begin = extractvalue { i64, i64 } %range, 0
  %end = extractvalue { i64, i64 } %range, 1
  %sums = call ptr @sums_of(ptr %context, i64 %item)
  call void @clear_sums(ptr %context, ptr %sums, i64 %from, i64 %to)
  call void @blocks(ptr %context, i64 %worker, ptr %sums, ptr %block, i64 %from, i64 %to, i64 %begin,
                    i64 %end)
  ret void
}

; Carries samples through some kernels of a stage, block by block, and within a block strip by strip through
; those of each loop over strips.
define internal void @blocks(ptr %context, i64 %worker, ptr %sums, ptr %block, i64 %from, i64 %to, i64 %begin,
                             i64 %end) nounwind {
entry:
  %block.size = load i64, ptr @block_size
  br label %blocks
blocks:
  %sample = phi i64 [ %begin, %entry ], [ %last, %went ]
  %more.samples = icmp slt i64 %sample, %end
  br i1 %more.samples, label %carry, label %done
carry:
  %full = add nsw i64 %sample, %block.size
  %last = call i64 @llvm.smin.i64(i64 %full, i64 %end)
  br label %kernels
kernels:
  %place = phi i64 [ %from, %carry ], [ %behind, %strips ]
  %more = icmp slt i64 %place, %to
  br i1 %more, label %loop, label %went
loop:
  %strip.at = getelementptr %Kernel, ptr @kernels, i64 %place, i32 11
  %strip = load i64, ptr %strip.at
  %left.at = getelementptr %Kernel, ptr @kernels, i64 %place, i32 12
  %left = load i64, ptr %left.at
  %behind = add nsw i64 %place, %left
  br label %strips
strips:
  %first = phi i64 [ %sample, %loop ], [ %stop, %together ]
  %more.strips = icmp slt i64 %first, %last
  br i1 %more.strips, label %one.strip, label %kernels
one.strip:
  %full.strip = add nsw i64 %first, %strip
  %stop = call i64 @llvm.smin.i64(i64 %full.strip, i64 %last)
  br label %together
together:
  %its.place = phi i64 [ %place, %one.strip ], [ %next, %one ]
  %more.kernels = icmp slt i64 %its.place, %behind
  br i1 %more.kernels, label %one, label %strips
one:
  %kernel = getelementptr %Kernel, ptr @kernels, i64 %its.place
  call void @run(ptr %kernel, i64 %worker, ptr %context, ptr %block, ptr %sums, i64 %first, i64 %stop,
                 ptr %block, i64 0, i64 1, i64 %sample, i64 %first)
  %next = add nsw i64 %its.place, 1
  br label %together
went:
  br label %blocks
done:
  ret void
}

; Calls a kernel and, where there is a log of calls (`runtime/call_log.py`), notes when it did.
define internal void @run(ptr %kernel, i64 %worker, ptr %context, ptr %block, ptr %sums, i64 %begin,
                          i64 %end, ptr %own, i64 %part, i64 %parts, i64 %block.begin,
                          i64 %strip.begin) nounwind noinline {
  %function.number = load i64, ptr %kernel
  %function.at = getelementptr ptr, ptr @functions, i64 %function.number
  %function = load ptr, ptr %function.at
  %first.place.at = getelementptr %Kernel, ptr %kernel, i64 0, i32 1
  %first.place = load i64, ptr %first.place.at
  %places = getelementptr i64, ptr @places, i64 %first.place
  %slot = getelementptr i64, ptr %context, i64 $profile
  %log = load ptr, ptr %slot
  %quick = icmp eq ptr %log, null
  br i1 %quick, label %call, label %measured
call:
  call void %function(ptr %context, ptr %block, ptr %sums, i64 %begin, i64 %end, ptr %places,
                      ptr %own, i64 %part, i64 %parts, i64 %block.begin, i64 %strip.begin)
  ret void
measured:
  %before = call i64 @ticks()
  call void %function(ptr %context, ptr %block, ptr %sums, i64 %begin, i64 %end, ptr %places,
                      ptr %own, i64 %part, i64 %parts, i64 %block.begin, i64 %strip.begin)
  %after = call i64 @ticks()
  %room = load i64, ptr %log
  %row = mul i64 %worker, %room
  %row.items = mul i64 %row, 3
  %row.and.counts = add i64 %row.items, %worker
  %place = add i64 %row.and.counts, $header
  %count.at = getelementptr i64, ptr %log, i64 %place
  %count = load i64, ptr %count.at
  %more = add i64 %count, 1
  store i64 %more, ptr %count.at
  %fits = icmp ult i64 %count, %room
  br i1 %fits, label %note, label %done
note:
  %number.in.table = getelementptr %Kernel, ptr %kernel, i64 0, i32 2
  %number = load i64, ptr %number.in.table
  %items = mul i64 %count, 3
  %first = add i64 %items, 1
  %number.at = getelementptr i64, ptr %count.at, i64 %first
  %before.at = getelementptr i64, ptr %number.at, i64 1
  %after.at = getelementptr i64, ptr %number.at, i64 2
  store i64 %number, ptr %number.at
  store i64 %before, ptr %before.at
  store i64 %after, ptr %after.at
  br label %done
done:
  ret void
}

; Notes the present moment by both clocks.
define internal void @mark(ptr %context, i64 %place) nounwind noinline {
  %slot = getelementptr i64, ptr %context, i64 $profile
  %log = load ptr, ptr %slot
  %quick = icmp eq ptr %log, null
  br i1 %quick, label %done, label %note
note:
  %ticks = call i64 @ticks()
  %now = call i64 @now()
  %ticks.at = getelementptr i64, ptr %log, i64 %place
  %now.at = getelementptr i64, ptr %ticks.at, i64 1
  store i64 %ticks, ptr %ticks.at
  store i64 %now, ptr %now.at
  br label %done
done:
  ret void
}

define internal i64 @now() nounwind noinline {
  %time = alloca [2 x i64]
  %failed = call i32 @clock_gettime(i32 $clock, ptr %time)
  %seconds = load i64, ptr %time
  %rest = getelementptr i64, ptr %time, i64 1
  %nanoseconds = load i64, ptr %rest
  %whole = mul i64 %seconds, 1000000000
  %now = add i64 %whole, %nanoseconds
  ret i64 %now
}
""")
TICKS: Final = """
declare i64 @llvm.readcyclecounter()

define internal i64 @ticks() nounwind alwaysinline {
  %ticks = call i64 @llvm.readcyclecounter()
  ret i64 %ticks
}
"""
"""The time stamp counter of x86, which is read in a third of the time of the system's clock."""
OTHER_TICKS: Final = """
define internal i64 @ticks() nounwind {
  %ticks = call i64 @now()
  ret i64 %ticks
}
"""
