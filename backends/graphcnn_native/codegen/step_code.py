"""The code of every step, as LLVM IR, the same for all programs: how it goes through the stages.

`step.py` writes the tables for it; what threads do in a stage is in `item_code.py`.
"""

from __future__ import annotations

from string import Template
from typing import Final

ROWS: Final = """
; function, first place, number, partial sums: offset and bytes, pieces, chunk, extent,
; whether that is for every sample, whether its sums may stay unfinished, most parts, strip,
; kernels from here to the end of its loop over strips; what it totals: where it is in the memory of a shard,
; bands, bytes of a band, whether in float64, and elements of each place that the kernel is cut at
%Kernel = type { i64, i64, i64, i64, i64, i64, i64, i64, i64, i64, i64, i64, i64, i64, i64, i64, i64, i64 }
; first kernel of samples, first of the whole, behind the last, pieces, whether kernels are cut
%Stage = type { i64, i64, i64, i64, i64 }
"""
STEP: Final = Template("""
@functions = external constant ptr
@kernels = external constant %Kernel
@stages = external constant %Stage
@places = external constant i64

; How many stages there are, and which one is divided or -1; samples that go through a stage together; bytes
; of a thread's block, and of a shard's partial sums; whether products over samples sum up after each part of
; the batch, and whether denormals are flushed to zero.
@stage_count = external constant i64
@divided = external constant i64
@block_size = external constant i64
@block_bytes = external constant i64
@sums_bytes = external constant i64
@sums_up_products = external constant i1
@flushes = external constant i1

declare i64 @unfit_labels(ptr)
declare i32 @clock_gettime(i32, ptr)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1 immarg)

; Goes through the stages; where anything is of float32, with denormals flushed to zero. Where labels name no
; class, nothing is done. Returns how many do, or -1 where an exchange with other ranks has failed.
define i64 @step(ptr %context) nounwind {
entry:
  %unfit = call i64 @unfit_labels(ptr %context)
  %fits = icmp eq i64 %unfit, 0
  br i1 %fits, label %begin, label %refuse
refuse:
  ret i64 %unfit
begin:
  call void @mark(ptr %context, i64 $began)
  %flush.at = getelementptr i64, ptr %context, i64 $flush
  %flush = load ptr, ptr %flush.at
  %mode = call i64 %flush()
  %mode.at = getelementptr i64, ptr %context, i64 $mode
  store i64 %mode, ptr %mode.at
  %restore.at = getelementptr i64, ptr %context, i64 $restore
  %restore = load ptr, ptr %restore.at
  %skipped.at = getelementptr i64, ptr %context, i64 $skipped
  %skipped = load i64, ptr %skipped.at
  %flushes = load i1, ptr @flushes
  br i1 %flushes, label %begun, label %keep
keep:
  call void %restore(i64 %mode)
  br label %begun
begun:
  %stage.count = load i64, ptr @stage_count
  %divided = load i64, ptr @divided
  br label %stages
stages:
  %stage = phi i64 [ %skipped, %begun ], [ %next, %went ]
  %more = icmp slt i64 %stage, %stage.count
  br i1 %more, label %go, label %end
go:
  %is.divided = icmp eq i64 %stage, %divided
  br i1 %is.divided, label %in.parts, label %at.once
in.parts:
  %parts.stop = call i1 @run_in_parts(ptr %context, i64 %stage)
  br label %went
at.once:
  %stage.stops = call i1 @run_stage(ptr %context, i64 %stage)
  br label %went
went:
  %stops = phi i1 [ %parts.stop, %in.parts ], [ %stage.stops, %at.once ]
  %next = add nsw i64 %stage, 1
  br i1 %stops, label %end, label %stages
end:
  %answer = phi i64 [ 0, %stages ], [ -1, %went ]
  call void %restore(i64 %mode)
  call void @mark(ptr %context, i64 $ended)
  ret i64 %answer
}

; Goes through a stage in the parts of the batch that the arena has room for. After each part but the last,
; which the next stage comes after anyway, products over samples sum up. Returns whether the step is to end.
define internal i1 @run_in_parts(ptr %context, i64 %stage) nounwind {
entry:
  %batch = load i64, ptr %context
  %capacity.at = getelementptr i64, ptr %context, i64 $capacity
  %capacity = load i64, ptr %capacity.at
  %first.at = getelementptr i64, ptr %context, i64 $first
  %count.at = getelementptr i64, ptr %context, i64 $count
  %following = add nsw i64 %stage, 1
  br label %parts
parts:
  %first = phi i64 [ 0, %entry ], [ %then, %next ]
  %more = icmp slt i64 %first, %batch
  br i1 %more, label %part, label %end
part:
  %left = sub nsw i64 %batch, %first
  %count = call i64 @llvm.smin.i64(i64 %capacity, i64 %left)
  store i64 %first, ptr %first.at
  store i64 %count, ptr %count.at
  %part.stops = call i1 @run_stage(ptr %context, i64 %stage)
  br i1 %part.stops, label %stop, label %went
went:
  %then = add nsw i64 %first, %count
  %is.early = icmp slt i64 %then, %batch
  %sums.up.products = load i1, ptr @sums_up_products
  %sums.up = and i1 %is.early, %sums.up.products
  br i1 %sums.up, label %sum.up, label %next
sum.up:
  %sums.stop = call i1 @run_stage(ptr %context, i64 %following)
  br i1 %sums.stop, label %stop, label %next
next:
  br label %parts
end:
  ret i1 false
stop:
  ret i1 true
}

; Runs a stage, and exchanges what ranks have to tell one another; returns whether the step is to end.
define internal i1 @run_stage(ptr %context, i64 %stage) nounwind {
  %untold = call i64 @run_items(ptr %context, i64 %stage)
  %has.failed = icmp slt i64 %untold, 0
  br i1 %has.failed, label %stop, label %tell
tell:
  %end.at = getelementptr %Stage, ptr @stages, i64 %stage, i32 2
  %end = load i64, ptr %end.at
  %stops = call i1 @tell(ptr %context, i64 %untold, i64 %end)
  ret i1 %stops
stop:
  ret i1 true
}

; Exchanges what is due behind the turns of some kernels; returns whether the step is to end.
define internal i1 @tell(ptr %context, i64 %from, i64 %to) nounwind {
entry:
  %exchange.at = getelementptr i64, ptr %context, i64 $exchange
  br label %turns
turns:
  %first = phi i64 [ %from, %entry ], [ %next, %meet ]
  %turn = call i64 @next_due(ptr %context, i64 %first, i64 %to)
  %is.due = icmp slt i64 %turn, %to
  br i1 %is.due, label %meet, label %done
meet:
  %exchange = load ptr, ptr %exchange.at
  %is.well = call i64 %exchange(i64 %turn)
  %next = add nsw i64 %turn, 1
  %goes.on = icmp ne i64 %is.well, 0
  br i1 %goes.on, label %turns, label %stop
stop:
  ret i1 true
done:
  ret i1 false
}

; Returns the first of some turns behind which an exchange is due, or the one behind them all.
define internal i64 @next_due(ptr %context, i64 %from, i64 %to) nounwind {
entry:
  %exchanges.at = getelementptr i64, ptr %context, i64 $exchanges
  %exchanges = load i64, ptr %exchanges.at
  %reach = call i64 @llvm.smin.i64(i64 %to, i64 %exchanges)
  %due.at = getelementptr i64, ptr %context, i64 $due
  %due = load ptr, ptr %due.at
  br label %turns
turns:
  %turn = phi i64 [ %from, %entry ], [ %next, %later ]
  %more = icmp slt i64 %turn, %reach
  br i1 %more, label %look, label %none
look:
  %due.here.at = getelementptr i64, ptr %due, i64 %turn
  %due.here = load i64, ptr %due.here.at
  %is.due = icmp ne i64 %due.here, 0
  br i1 %is.due, label %found, label %later
later:
  %next = add nsw i64 %turn, 1
  br label %turns
found:
  ret i64 %turn
none:
  ret i64 %to
}

; Runs a stage on all threads: item 0, 1, ... are shards of the samples, and then pieces of the whole. Returns
; the turn from which on ranks have not told each other anything yet, or -1 where that has failed.
define internal i64 @run_items(ptr %context, i64 %stage) nounwind {
  %stage.at = getelementptr i64, ptr %context, i64 $stage
  store i64 %stage, ptr %stage.at
  %shards = call i64 @shards_of(ptr %context, i64 %stage)
  %pieces.at = getelementptr %Stage, ptr @stages, i64 %stage, i32 3
  %pieces = load i64, ptr %pieces.at
  %items = add nsw i64 %shards, %pieces
  %pool.at = getelementptr i64, ptr %context, i64 $pool
  %pool = load ptr, ptr %pool.at
  %threads.at = getelementptr i64, ptr %context, i64 $threads
  %threads = load i64, ptr %threads.at
  %parallel.for.at = getelementptr i64, ptr %context, i64 $parallel_for
  %parallel.for = load ptr, ptr %parallel.for.at
  %cut.at = getelementptr %Stage, ptr @stages, i64 %stage, i32 4
  %cut = load i64, ptr %cut.at
  %can.cut = icmp ne i64 %cut, 0
  %size.at = getelementptr i64, ptr %context, i64 $shard_size
  %size = load i64, ptr %size.at
  %block.size = load i64, ptr @block_size
  %is.small = icmp sle i64 %size, %block.size
  %are.few = icmp slt i64 %shards, %threads
  %are.any = icmp ne i64 %shards, 0
  %some = and i1 %are.few, %are.any
  %may = and i1 %is.small, %some
  %flushes = load i1, ptr @flushes
  %can = and i1 %may, %flushes
  %is.cut = and i1 %can, %can.cut
  br i1 %is.cut, label %kernel.by.kernel, label %shard.by.shard
kernel.by.kernel:
  %untold.by.kernels = call i64 @run_kernels(ptr %context, i64 %stage, i64 %shards, i64 %pieces, i64 %threads)
  ret i64 %untold.by.kernels
shard.by.shard:
  %samples.at = getelementptr %Stage, ptr @stages, i64 %stage, i32 0
  %samples = load i64, ptr %samples.at
  %whole.at = getelementptr %Stage, ptr @stages, i64 %stage, i32 1
  %whole = load i64, ptr %whole.at
  %last.kernel = sub nsw i64 %whole, 1
  %due = call i64 @next_due(ptr %context, i64 %samples, i64 %last.kernel)
  %is.due = icmp slt i64 %due, %last.kernel
  %may.tell = and i1 %are.any, %is.due
  %tells = and i1 %may.tell, %flushes
  br i1 %tells, label %telling, label %at.once
telling:
  %untold = call i64 @run_telling(ptr %context, i64 %stage, i64 %shards, i64 %pieces, i64 %threads)
  ret i64 %untold
at.once:
  %item = select i1 %flushes, ptr @stage, ptr @exact_stage
  call void %parallel.for(ptr %pool, ptr %item, ptr %context, i64 %items, i64 %threads)
  ret i64 %samples
}

; Runs a stage within which ranks have something to tell each other. The last shard of each thread goes
; through the kernels in segments with its last block: behind each, all shards have summed up what it sums.
define internal i64 @run_telling(ptr %context, i64 %stage, i64 %shards, i64 %pieces, i64 %threads) nounwind {
entry:
  %pool.at = getelementptr i64, ptr %context, i64 $pool
  %pool = load ptr, ptr %pool.at
  %parallel.for.at = getelementptr i64, ptr %context, i64 $parallel_for
  %parallel.for = load ptr, ptr %parallel.for.at
  %kernel.slot = getelementptr i64, ptr %context, i64 $kernel
  %until.slot = getelementptr i64, ptr %context, i64 $until
  %samples.at = getelementptr %Stage, ptr @stages, i64 %stage, i32 0
  %samples = load i64, ptr %samples.at
  %whole.at = getelementptr %Stage, ptr @stages, i64 %stage, i32 1
  %whole = load i64, ptr %whole.at
  %last.kernel = sub nsw i64 %whole, 1
  %last.shards = call i64 @llvm.smin.i64(i64 %shards, i64 %threads)
  %other.shards = sub nsw i64 %shards, %last.shards
  %are.others = icmp sgt i64 %other.shards, 0
  br i1 %are.others, label %others, label %segments
others:
  call void %parallel.for(ptr %pool, ptr @stage, ptr %context, i64 %other.shards, i64 %threads)
  br label %segments
segments:
  %from = phi i64 [ %samples, %entry ], [ %samples, %others ], [ %until, %told ]
  %due = call i64 @next_due(ptr %context, i64 %from, i64 %last.kernel)
  %until = add nsw i64 %due, 1
  store i64 %from, ptr %kernel.slot
  store i64 %until, ptr %until.slot
  call void %parallel.for(ptr %pool, ptr @segment, ptr %context, i64 %last.shards, i64 %threads)
  %is.last = icmp sge i64 %until, %whole
  br i1 %is.last, label %rest, label %tell
tell:
  %stops = call i1 @tell(ptr %context, i64 %from, i64 %until)
  br i1 %stops, label %stop, label %told
told:
  br label %segments
rest:
  %has.pieces = icmp sgt i64 %pieces, 0
  br i1 %has.pieces, label %whole.pieces, label %done
whole.pieces:
  call void %parallel.for(ptr %pool, ptr @piece, ptr %context, i64 %pieces, i64 %threads)
  br label %done
done:
  ret i64 %from
stop:
  ret i64 -1
}

; A segment of one of the last shards, and before the first one all its blocks but the last. What its samples
; keep in a block is in that of the item's number, whichever thread comes by.
define void @segment(ptr %context, i64 %worker, i64 %item) nounwind {
entry:
  %stage.at = getelementptr i64, ptr %context, i64 $stage
  %stage = load i64, ptr %stage.at
  %samples.at = getelementptr %Stage, ptr @stages, i64 %stage, i32 0
  %samples = load i64, ptr %samples.at
  %whole.at = getelementptr %Stage, ptr @stages, i64 %stage, i32 1
  %whole = load i64, ptr %whole.at
  %kernel.slot = getelementptr i64, ptr %context, i64 $kernel
  %from = load i64, ptr %kernel.slot
  %until.slot = getelementptr i64, ptr %context, i64 $until
  %until = load i64, ptr %until.slot
  %threads.at = getelementptr i64, ptr %context, i64 $threads
  %threads = load i64, ptr %threads.at
  %shards = call i64 @shards_of(ptr %context, i64 %stage)
  %last.shards = call i64 @llvm.smin.i64(i64 %shards, i64 %threads)
  %other.shards = sub nsw i64 %shards, %last.shards
  %shard = add nsw i64 %other.shards, %item
  %block = call ptr @block_of(ptr %context, i64 %item)
  %sums = call ptr @sums_of(ptr %context, i64 %shard)
  %range = call { i64, i64 } @samples_of(ptr %context, i64 %shard)
  %begin = extractvalue { i64, i64 } %range, 0
  %end = extractvalue { i64, i64 } %range, 1
  %block.size = load i64, ptr @block_size
  %count = sub nsw i64 %end, %begin
  %but.one = sub nsw i64 %count, 1
  %before.last = call i64 @llvm.smax.i64(i64 %but.one, i64 0)
  %blocks = sdiv i64 %before.last, %block.size
  %before = mul nsw i64 %blocks, %block.size
  %last.block = add nsw i64 %begin, %before
  %is.first = icmp eq i64 %from, %samples
  br i1 %is.first, label %other.blocks, label %last
other.blocks:
  call void @clear_sums(ptr %context, ptr %sums, i64 %samples, i64 %whole)
  call void @blocks(ptr %context, i64 %worker, ptr %sums, ptr %block, i64 %samples, i64 %whole, i64 %begin,
                    i64 %last.block)
  br label %last
last:
  call void @blocks(ptr %context, i64 %worker, ptr %sums, ptr %block, i64 %from, i64 %until, i64 %last.block,
                    i64 %end)
  ret void
}

; Runs a stage whose shards are fewer than the threads: its kernels of samples one after the other, each in
; parts on all threads, and then its pieces of the whole. Ranks exchange what is due behind each kernel.
define internal i64 @run_kernels(ptr %context, i64 %stage, i64 %shards, i64 %pieces, i64 %threads) nounwind {
entry:
  %pool.at = getelementptr i64, ptr %context, i64 $pool
  %pool = load ptr, ptr %pool.at
  %parallel.for.at = getelementptr i64, ptr %context, i64 $parallel_for
  %parallel.for = load ptr, ptr %parallel.for.at
  %kernel.slot = getelementptr i64, ptr %context, i64 $kernel
  %parts.slot = getelementptr i64, ptr %context, i64 $parts
  %samples.at = getelementptr %Stage, ptr @stages, i64 %stage, i32 0
  %samples = load i64, ptr %samples.at
  %whole.at = getelementptr %Stage, ptr @stages, i64 %stage, i32 1
  %whole = load i64, ptr %whole.at
  %each = udiv i64 %threads, %shards
  br label %shards.to.clear
shards.to.clear:
  %shard = phi i64 [ 0, %entry ], [ %next.shard, %clear.shard ]
  %unclear = icmp slt i64 %shard, %shards
  br i1 %unclear, label %clear.shard, label %kernels
clear.shard:
  %sums = call ptr @sums_of(ptr %context, i64 %shard)
  call void @clear_sums(ptr %context, ptr %sums, i64 %samples, i64 %whole)
  %next.shard = add nsw i64 %shard, 1
  br label %shards.to.clear
kernels:
  %place = phi i64 [ %samples, %shards.to.clear ], [ %next, %one ]
  %more = icmp slt i64 %place, %whole
  br i1 %more, label %one, label %rest
one:
  %most.at = getelementptr %Kernel, ptr @kernels, i64 %place, i32 10
  %most = load i64, ptr %most.at
  %parts = call i64 @llvm.smin.i64(i64 %most, i64 %each)
  store i64 %place, ptr %kernel.slot
  store i64 %parts, ptr %parts.slot
  %items = mul nsw i64 %shards, %parts
  call void %parallel.for(ptr %pool, ptr @part, ptr %context, i64 %items, i64 %threads)
  %next = add nsw i64 %place, 1
  %stops = call i1 @tell(ptr %context, i64 %place, i64 %next)
  br i1 %stops, label %stop, label %kernels
rest:
  %has.pieces = icmp sgt i64 %pieces, 0
  br i1 %has.pieces, label %whole.pieces, label %done
whole.pieces:
  call void %parallel.for(ptr %pool, ptr @piece, ptr %context, i64 %pieces, i64 %threads)
  br label %done
done:
  ret i64 %whole
stop:
  ret i64 -1
}

; A part of the kernel that threads share. What its samples keep in a block is in that of the shard's number.
define void @part(ptr %context, i64 %worker, i64 %item) nounwind {
entry:
  %kernel.slot = getelementptr i64, ptr %context, i64 $kernel
  %place = load i64, ptr %kernel.slot
  %kernel = getelementptr %Kernel, ptr @kernels, i64 %place
  %parts.slot = getelementptr i64, ptr %context, i64 $parts
  %parts = load i64, ptr %parts.slot
  %shard = udiv i64 %item, %parts
  %before = mul nsw i64 %shard, %parts
  %part = sub nsw i64 %item, %before
  %range = call { i64, i64 } @samples_of(ptr %context, i64 %shard)
  %begin = extractvalue { i64, i64 } %range, 0
  %end = extractvalue { i64, i64 } %range, 1
  %block = call ptr @block_of(ptr %context, i64 %shard)
  %own = call ptr @block_of(ptr %context, i64 %worker)
  %sums = call ptr @sums_of(ptr %context, i64 %shard)
  %sums.at = getelementptr %Kernel, ptr %kernel, i64 0, i32 4
  %sums.bytes = load i64, ptr %sums.at
  %adds.up = icmp ne i64 %sums.bytes, 0
  %strip.at = getelementptr %Kernel, ptr %kernel, i64 0, i32 11
  %of.strip = load i64, ptr %strip.at
  %all = sub nsw i64 %end, %begin
  %strip = select i1 %adds.up, i64 %of.strip, i64 %all
  br label %strips
strips: ; sums come out as they do where a shard goes through its kernels strip by strip
  %from = phi i64 [ %begin, %entry ], [ %to, %work ]
  %more = icmp slt i64 %from, %end
  br i1 %more, label %work, label %done
work:
  %full = add nsw i64 %from, %strip
  %to = call i64 @llvm.smin.i64(i64 %full, i64 %end)
  call void @run(ptr %kernel, i64 %worker, ptr %context, ptr %block, ptr %sums, i64 %from, i64 %to,
                 ptr %own, i64 %part, i64 %parts, i64 %begin, i64 %begin)
  br label %strips
done:
  ret void
}

; A piece of the whole, counted without the shards.
define void @piece(ptr %context, i64 %worker, i64 %item) nounwind {
  %stage.at = getelementptr i64, ptr %context, i64 $stage
  %stage = load i64, ptr %stage.at
  %shards = call i64 @shards_of(ptr %context, i64 %stage)
  %behind = add nsw i64 %shards, %item
  call void @stage(ptr %context, i64 %worker, i64 %behind)
  ret void
}

; Returns how many shards of samples a stage has.
define internal i64 @shards_of(ptr %context, i64 %stage) nounwind {
  %samples.at = getelementptr %Stage, ptr @stages, i64 %stage, i32 0
  %samples = load i64, ptr %samples.at
  %whole.at = getelementptr %Stage, ptr @stages, i64 %stage, i32 1
  %whole = load i64, ptr %whole.at
  %has.samples = icmp slt i64 %samples, %whole
  %shards.at = getelementptr i64, ptr %context, i64 $shards
  %shards = load i64, ptr %shards.at
  %found = select i1 %has.samples, i64 %shards, i64 0
  ret i64 %found
}
""")
