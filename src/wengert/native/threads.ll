; A pool of threads for loops whose steps are independent: fork and join over chunks of a fixed size.
; Whoever is free takes the next chunk. A second caller at the same time runs its loop alone.
; The state is `@table`, in words, which `threads.py` clears after a fork:
;   0 taken, 1 number of the job, 2 whether it may be joined, 3 workers in it, 4 next step, 5 function, 6 its context,
;   7 steps, 8 steps of a chunk, 9 workers that may still join, 10 workers started, 16 mutex, 32 condition variable
; Programs that call the matrix library keep it to one thread meanwhile: 11 programs at it, 12 threads that it had before,
;   13 and 14 its functions that tell and set them (null: it has none).

@table = global [48 x i64] zeroinitializer, align 64

declare i32 @pthread_mutex_lock(ptr)
declare i32 @pthread_mutex_unlock(ptr)
declare i32 @pthread_cond_wait(ptr, ptr)
declare i32 @pthread_cond_broadcast(ptr)
declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_detach(i64)
declare i32 @sched_yield()

define internal ptr @word(i64 %k) alwaysinline {
  %p = getelementptr i64, ptr @table, i64 %k
  ret ptr %p
}

; Chunks until none is left.
define internal void @work() noinline {
  %at.next = call ptr @word(i64 4)
  %at.fn = call ptr @word(i64 5)
  %at.ctx = call ptr @word(i64 6)
  %at.count = call ptr @word(i64 7)
  %at.chunk = call ptr @word(i64 8)
  %fn = load ptr, ptr %at.fn
  %ctx = load ptr, ptr %at.ctx
  %count = load i64, ptr %at.count
  %chunk = load i64, ptr %at.chunk
  br label %head
head:
  %i = atomicrmw add ptr %at.next, i64 %chunk seq_cst
  %left = icmp slt i64 %i, %count
  br i1 %left, label %body, label %end
body:
  %far = add i64 %i, %chunk
  %over = icmp sgt i64 %far, %count
  %to = select i1 %over, i64 %count, i64 %far
  call void %fn(ptr %ctx, i64 %i, i64 %to)
  br label %head
end:
  ret void
}

define internal ptr @worker(ptr %nothing) noinline {
  %at.job = call ptr @word(i64 1)
  %at.open = call ptr @word(i64 2)
  %at.inside = call ptr @word(i64 3)
  %at.slots = call ptr @word(i64 9)
  %mutex = call ptr @word(i64 16)
  %wake = call ptr @word(i64 32)
  br label %again
again:
  %seen = phi i64 [ 0, %0 ], [ %job, %joined ], [ %job, %late ]
  %a = call i32 @pthread_mutex_lock(ptr %mutex)
  br label %wait
wait:
  %job = load atomic i64, ptr %at.job seq_cst, align 8
  %same = icmp eq i64 %job, %seen
  br i1 %same, label %sleep, label %awake
sleep:
  %b = call i32 @pthread_cond_wait(ptr %wake, ptr %mutex)
  br label %wait
awake:
  %open = load i64, ptr %at.open
  %slots = load i64, ptr %at.slots
  %is.open = icmp ne i64 %open, 0
  %is.room = icmp sgt i64 %slots, 0
  %joins = and i1 %is.open, %is.room
  br i1 %joins, label %join, label %late
join:
  %fewer = sub i64 %slots, 1
  store i64 %fewer, ptr %at.slots
  %c = atomicrmw add ptr %at.inside, i64 1 seq_cst
  %d = call i32 @pthread_mutex_unlock(ptr %mutex)
  call void @work()
  %e = atomicrmw sub ptr %at.inside, i64 1 seq_cst
  br label %joined
joined:
  br label %again
late:
  %f = call i32 @pthread_mutex_unlock(ptr %mutex)
  br label %again
}

define internal void @enter() noinline {
  %at.users = call ptr @word(i64 11)
  %at.before = call ptr @word(i64 12)
  %at.get = call ptr @word(i64 13)
  %at.set = call ptr @word(i64 14)
  %set = load ptr, ptr %at.set
  %none = icmp eq ptr %set, null
  br i1 %none, label %end, label %count
count:
  %users = atomicrmw add ptr %at.users, i64 1 seq_cst
  %first = icmp eq i64 %users, 0
  br i1 %first, label %ask, label %end
ask:
  %get = load ptr, ptr %at.get
  %n = call i32 %get()
  %many = icmp sgt i32 %n, 1
  br i1 %many, label %one, label %end
one:
  %wide = sext i32 %n to i64
  store i64 %wide, ptr %at.before
  call void %set(i32 1)
  br label %end
end:
  ret void
}

define internal void @leave() noinline {
  %at.users = call ptr @word(i64 11)
  %at.before = call ptr @word(i64 12)
  %at.set = call ptr @word(i64 14)
  %set = load ptr, ptr %at.set
  %none = icmp eq ptr %set, null
  br i1 %none, label %end, label %count
count:
  %users = atomicrmw sub ptr %at.users, i64 1 seq_cst
  %last = icmp eq i64 %users, 1
  br i1 %last, label %back, label %end
back:
  %before = load i64, ptr %at.before
  %many = icmp sgt i64 %before, 1
  br i1 %many, label %give, label %end
give:
  %n = trunc i64 %before to i32
  call void %set(i32 %n)
  br label %end
end:
  ret void
}

; run(function, context, steps, steps of a chunk, threads): function(context, from, to) over all steps.
; Without a function: a program that calls the matrix library begins (steps 1) or ends (0).
define i64 @run(ptr %fn, ptr %ctx, i64 %count, i64 %chunk, i64 %threads) noinline {
entry:
  %at.taken = call ptr @word(i64 0)
  %at.job = call ptr @word(i64 1)
  %at.open = call ptr @word(i64 2)
  %at.inside = call ptr @word(i64 3)
  %at.next = call ptr @word(i64 4)
  %at.fn = call ptr @word(i64 5)
  %at.ctx = call ptr @word(i64 6)
  %at.count = call ptr @word(i64 7)
  %at.chunk = call ptr @word(i64 8)
  %at.slots = call ptr @word(i64 9)
  %at.started = call ptr @word(i64 10)
  %mutex = call ptr @word(i64 16)
  %wake = call ptr @word(i64 32)
  %thread = alloca i64
  %no.job = icmp eq ptr %fn, null
  br i1 %no.job, label %library, label %job.given
library:
  %begins = icmp ne i64 %count, 0
  br i1 %begins, label %entering, label %leaving
entering:
  call void @enter()
  ret i64 0
leaving:
  call void @leave()
  ret i64 0
job.given:
  %several = icmp sgt i64 %threads, 1
  %enough = icmp sgt i64 %count, %chunk
  %worth = and i1 %several, %enough
  br i1 %worth, label %take, label %alone
take:
  %taken = cmpxchg ptr %at.taken, i64 0, i64 1 seq_cst seq_cst
  %mine = extractvalue { i64, i1 } %taken, 1
  br i1 %mine, label %hire, label %alone
alone:
  br label %alone.head
alone.head:
  %i = phi i64 [ 0, %alone ], [ %far, %alone.body ]
  %left = icmp slt i64 %i, %count
  br i1 %left, label %alone.body, label %alone.end
alone.body:
  %far = add i64 %i, %chunk
  %over = icmp sgt i64 %far, %count
  %to = select i1 %over, i64 %count, i64 %far
  call void %fn(ptr %ctx, i64 %i, i64 %to)
  br label %alone.head
alone.end:
  ret i64 0
hire:
  %wanted = sub i64 %threads, 1
  br label %hire.head
hire.head:
  %started = load i64, ptr %at.started
  %fewer = icmp slt i64 %started, %wanted
  br i1 %fewer, label %hire.one, label %begin
hire.one:
  %rc = call i32 @pthread_create(ptr %thread, ptr null, ptr @worker, ptr null)
  %fine = icmp eq i32 %rc, 0
  br i1 %fine, label %hired, label %begin
hired:
  %id = load i64, ptr %thread
  %a = call i32 @pthread_detach(i64 %id)
  %more = add i64 %started, 1
  store i64 %more, ptr %at.started
  br label %hire.head
begin:
  %b = call i32 @pthread_mutex_lock(ptr %mutex)
  store ptr %fn, ptr %at.fn
  store ptr %ctx, ptr %at.ctx
  store i64 %count, ptr %at.count
  store i64 %chunk, ptr %at.chunk
  store atomic i64 0, ptr %at.next seq_cst, align 8
  store i64 %wanted, ptr %at.slots
  store i64 1, ptr %at.open
  %job = load i64, ptr %at.job
  %new = add i64 %job, 1
  store atomic i64 %new, ptr %at.job seq_cst, align 8
  %c = call i32 @pthread_cond_broadcast(ptr %wake)
  %d = call i32 @pthread_mutex_unlock(ptr %mutex)
  call void @work()
  %e = call i32 @pthread_mutex_lock(ptr %mutex)
  store i64 0, ptr %at.open
  %f = call i32 @pthread_mutex_unlock(ptr %mutex)
  br label %join
join:
  %spins = phi i64 [ 0, %begin ], [ %turn, %yielded ], [ %turn, %spun ]
  %inside = load atomic i64, ptr %at.inside seq_cst, align 8
  %empty = icmp eq i64 %inside, 0
  br i1 %empty, label %done, label %wait
wait:
  %turn = add i64 %spins, 1
  %low = and i64 %turn, 255
  %rest = icmp eq i64 %low, 0
  br i1 %rest, label %yielded, label %spun
yielded:
  %g = call i32 @sched_yield()
  br label %join
spun:
  br label %join
done:
  store atomic i64 0, ptr %at.taken seq_cst, align 8
  ret i64 0
}
