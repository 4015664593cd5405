; The call of a compiled function, from Python's vectorcall to the native program and back: one function for all of them,
; driven by records that `entry.py` writes. A record lists what arguments its program takes; the first record that fits
; runs. Where none fits, Python does the call. Layouts of objects are checked by `entry.py` before this is used.

@table = global [33 x ptr] zeroinitializer, align 64   ; objects and functions of Python and NumPy, in `entry.TABLE`'s order

; A record. next, number of positional arguments, of keyword arguments, their names, checks, number of slots,
; of pointers to the program, of inputs, of outputs, descriptions of outputs, how the result is built, program,
; bytes of the arena, arena of the last call, whether to let other threads run, what raises the error of a code.
%record = type { ptr, i64, i64, ptr, ptr, i64, i64, i64, i64, ptr, ptr, ptr, i64, ptr, i64, ptr }

declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)

define internal ptr @of_table(i64 %k) alwaysinline {
  %p = getelementptr ptr, ptr @table, i64 %k
  %v = load ptr, ptr %p
  ret ptr %v
}

define internal i64 @field(ptr %step, i64 %k) alwaysinline {
  %p = getelementptr i64, ptr %step, i64 %k
  %v = load i64, ptr %p
  ret i64 %v
}

define internal ptr @pointer(ptr %step, i64 %k) alwaysinline {
  %p = getelementptr ptr, ptr %step, i64 %k
  %v = load ptr, ptr %p
  ret ptr %v
}

define internal ptr @type_of(ptr %object) alwaysinline {
  %p = getelementptr i8, ptr %object, i64 8
  %v = load ptr, ptr %p
  ret ptr %v
}

define internal i64 @size_of(ptr %object) alwaysinline {
  %p = getelementptr i8, ptr %object, i64 16
  %v = load i64, ptr %p
  ret i64 %v
}

; Whether an array has a dtype, rank and shape, and is contiguous (1) and aligned (0x100).
define internal i1 @fits(ptr %array, ptr %descr, i64 %rank, ptr %shape) alwaysinline {
  %at.descr = getelementptr i8, ptr %array, i64 56
  %own.descr = load ptr, ptr %at.descr
  %same.descr = icmp eq ptr %own.descr, %descr
  %at.rank = getelementptr i8, ptr %array, i64 24
  %own.rank = load i32, ptr %at.rank
  %wide = sext i32 %own.rank to i64
  %same.rank = icmp eq i64 %wide, %rank
  %at.flags = getelementptr i8, ptr %array, i64 64
  %flags = load i32, ptr %at.flags
  %wanted = and i32 %flags, 257
  %dense = icmp eq i32 %wanted, 257
  %a = and i1 %same.descr, %same.rank
  %b = and i1 %a, %dense
  br i1 %b, label %shapes, label %no
shapes:
  %at.dims = getelementptr i8, ptr %array, i64 32
  %dims = load ptr, ptr %at.dims
  br label %head
head:
  %k = phi i64 [ 0, %shapes ], [ %next, %same ]
  %more = icmp slt i64 %k, %rank
  br i1 %more, label %axis, label %yes
axis:
  %one = call i64 @field(ptr %dims, i64 %k)
  %other = call i64 @field(ptr %shape, i64 %k)
  %next = add i64 %k, 1
  %equal = icmp eq i64 %one, %other
  br i1 %equal, label %same, label %no
same:
  br label %head
yes:
  ret i1 true
no:
  ret i1 false
}

; Results that were made before something failed.
define internal void @drop(ptr %objects, i64 %count) noinline {
  %dec = call ptr @of_table(i64 19)
  br label %head
head:
  %k = phi i64 [ 0, %0 ], [ %next, %step ]
  %more = icmp slt i64 %k, %count
  br i1 %more, label %step, label %end
step:
  %o = call ptr @pointer(ptr %objects, i64 %k)
  call void %dec(ptr %o)                               ; Py_DecRef, which takes NULL
  %next = add i64 %k, 1
  br label %head
end:
  ret void
}

; References to all objects that the arguments are made of, added or dropped (entry 18 or 19 of the table).
define internal void @hold(ptr %slots, i64 %count, i64 %which) noinline {
  %change = call ptr @of_table(i64 %which)
  br label %head
head:
  %k = phi i64 [ 0, %0 ], [ %next, %step ]
  %more = icmp slt i64 %k, %count
  br i1 %more, label %step, label %end
step:
  %o = call ptr @pointer(ptr %slots, i64 %k)
  call void %change(ptr %o)
  %next = add i64 %k, 1
  br label %head
end:
  ret void
}

; One record tried: the result, NULL with an exception set, or 1 if the arguments do not fit.
define internal ptr @attempt(ptr %rec, ptr %args, i64 %given) {
  %slots.at = getelementptr %record, ptr %rec, i32 0, i32 5
  %nslots = load i64, ptr %slots.at
  %pointers.at = getelementptr %record, ptr %rec, i32 0, i32 6
  %npointers = load i64, ptr %pointers.at
  %inputs.at = getelementptr %record, ptr %rec, i32 0, i32 7
  %ninputs = load i64, ptr %inputs.at
  %outputs.at = getelementptr %record, ptr %rec, i32 0, i32 8
  %noutputs = load i64, ptr %outputs.at
  %slots = alloca ptr, i64 %nslots, align 8
  %places = alloca ptr, i64 %npointers, align 8
  %numbers = alloca i64, i64 %ninputs, align 8
  %scalars = alloca [16 x i8], i64 %noutputs, align 16
  %objects = alloca ptr, i64 %noutputs, align 8
  %overflow = alloca i32
  %pair = alloca [3 x ptr]
  %bytes = mul i64 %given, 8
  call void @llvm.memcpy.p0.p0.i64(ptr %slots, ptr %args, i64 %bytes, i1 false)
  %checks.at = getelementptr %record, ptr %rec, i32 0, i32 4
  %checks = load ptr, ptr %checks.at
  br label %check

; The checks: steps of six numbers: what, slot, and four more.
check:
  %step = phi ptr [ %checks, %0 ], [ %step.next, %checked ]
  %what = call i64 @field(ptr %step, i64 0)
  %slot = call i64 @field(ptr %step, i64 1)
  %a.pointer = call ptr @pointer(ptr %step, i64 2)
  %a = ptrtoint ptr %a.pointer to i64
  %b = call i64 @field(ptr %step, i64 3)
  %c.pointer = call ptr @pointer(ptr %step, i64 4)
  %c = ptrtoint ptr %c.pointer to i64
  %d = call i64 @field(ptr %step, i64 5)
  %step.next = getelementptr i64, ptr %step, i64 6
  %object = call ptr @pointer(ptr %slots, i64 %slot)
  switch i64 %what, label %mismatch [
    i64 0, label %outputs
    i64 1, label %tuple
    i64 2, label %list
    i64 3, label %dict
    i64 4, label %array
    i64 5, label %number
    i64 6, label %integer
    i64 7, label %boolean
    i64 8, label %same
  ]
checked:
  br label %check
mismatch:
  ret ptr inttoptr (i64 1 to ptr)

tuple:                                                 ; a: length, b: first slot of the items
  %tuple.type = call ptr @of_table(i64 3)
  br label %sequence
list:
  %list.type = call ptr @of_table(i64 4)
  br label %sequence
sequence:
  %sequence.type = phi ptr [ %tuple.type, %tuple ], [ %list.type, %list ]
  %sequence.get = phi i64 [ 13, %tuple ], [ 14, %list ]
  %sequence.own = call ptr @type_of(ptr %object)
  %sequence.fine = icmp eq ptr %sequence.own, %sequence.type
  br i1 %sequence.fine, label %sequence.size, label %mismatch
sequence.size:
  %sequence.length = call i64 @size_of(ptr %object)
  %sequence.equal = icmp eq i64 %sequence.length, %a
  br i1 %sequence.equal, label %sequence.items, label %mismatch
sequence.items:
  %item.get = call ptr @of_table(i64 %sequence.get)
  br label %sequence.head
sequence.head:
  %item = phi i64 [ 0, %sequence.items ], [ %item.next, %sequence.step ]
  %item.more = icmp slt i64 %item, %a
  br i1 %item.more, label %sequence.step, label %checked
sequence.step:
  %item.value = call ptr %item.get(ptr %object, i64 %item)
  %item.place = add i64 %b, %item
  %item.at = getelementptr ptr, ptr %slots, i64 %item.place
  store ptr %item.value, ptr %item.at
  %item.next = add i64 %item, 1
  br label %sequence.head

dict:                                                  ; a: length, b: first slot, c: keys
  %dict.type = call ptr @of_table(i64 5)
  %dict.own = call ptr @type_of(ptr %object)
  %dict.fine = icmp eq ptr %dict.own, %dict.type
  br i1 %dict.fine, label %dict.size, label %mismatch
dict.size:
  %size = call ptr @of_table(i64 12)
  %dict.length = call i64 %size(ptr %object)
  %dict.equal = icmp eq i64 %dict.length, %a
  br i1 %dict.equal, label %dict.items, label %mismatch
dict.items:
  %dict.get = call ptr @of_table(i64 8)
  br label %dict.head
dict.head:
  %key.place = phi i64 [ 0, %dict.items ], [ %key.next, %dict.found ]
  %key.more = icmp slt i64 %key.place, %a
  br i1 %key.more, label %dict.step, label %checked
dict.step:
  %key = call ptr @pointer(ptr %c.pointer, i64 %key.place)
  %dict.value = call ptr %dict.get(ptr %object, ptr %key)
  %dict.missing = icmp eq ptr %dict.value, null
  br i1 %dict.missing, label %dict.without, label %dict.found
dict.without:
  %clear = call ptr @of_table(i64 9)
  call void %clear()
  br label %mismatch
dict.found:
  %dict.place = add i64 %b, %key.place
  %dict.at = getelementptr ptr, ptr %slots, i64 %dict.place
  store ptr %dict.value, ptr %dict.at
  %key.next = add i64 %key.place, 1
  br label %dict.head

array:                                                 ; a: [dtype, rank, shape...], b: input, c: scalar type or NULL
  %array.own = call ptr @type_of(ptr %object)
  %array.type = call ptr @of_table(i64 0)
  %array.is = icmp eq ptr %array.own, %array.type
  br i1 %array.is, label %array.look, label %array.other
array.look:
  %descr = call ptr @pointer(ptr %a.pointer, i64 0)
  %rank = call i64 @field(ptr %a.pointer, i64 1)
  %shape = getelementptr i64, ptr %a.pointer, i64 2
  %array.fits = call i1 @fits(ptr %object, ptr %descr, i64 %rank, ptr %shape)
  br i1 %array.fits, label %array.fine, label %mismatch
array.fine:
  %data = call ptr @pointer(ptr %object, i64 2)
  %data.at = getelementptr ptr, ptr %places, i64 %b
  store ptr %data, ptr %data.at
  br label %checked
array.other:
  %scalar.is = icmp eq ptr %array.own, %c.pointer
  br i1 %scalar.is, label %value, label %mismatch

number:                                                ; b: input, c: type; the number stands in the object
  %number.own = call ptr @type_of(ptr %object)
  %number.fine = icmp eq ptr %number.own, %c.pointer
  br i1 %number.fine, label %value, label %mismatch
value:
  %value.from = getelementptr i8, ptr %object, i64 16
  %value.at = getelementptr ptr, ptr %places, i64 %b
  store ptr %value.from, ptr %value.at
  br label %checked

integer:                                               ; b: input
  %int.own = call ptr @type_of(ptr %object)
  %int.type = call ptr @of_table(i64 6)
  %int.fine = icmp eq ptr %int.own, %int.type
  br i1 %int.fine, label %int.read, label %mismatch
int.read:
  %as.long = call ptr @of_table(i64 10)
  %long = call i64 %as.long(ptr %object, ptr %overflow)
  %over = load i32, ptr %overflow
  %int.small = icmp eq i32 %over, 0
  br i1 %int.small, label %int.put, label %mismatch
int.put:
  br label %keep
boolean:                                               ; b: input
  %bool.own = call ptr @type_of(ptr %object)
  %bool.type = call ptr @of_table(i64 1)
  %bool.fine = icmp eq ptr %bool.own, %bool.type
  br i1 %bool.fine, label %bool.read, label %mismatch
bool.read:
  %true = call ptr @of_table(i64 2)
  %bool.is = icmp eq ptr %object, %true
  %bool.wide = zext i1 %bool.is to i64
  br label %keep
keep:
  %kept = phi i64 [ %long, %int.put ], [ %bool.wide, %bool.read ]
  %kept.at = getelementptr i64, ptr %numbers, i64 %b
  store i64 %kept, ptr %kept.at
  %kept.place = getelementptr ptr, ptr %places, i64 %b
  store ptr %kept.at, ptr %kept.place
  br label %checked

same:                                                  ; a: the object itself (a static argument, None)
  %same.is = icmp eq ptr %object, %a.pointer
  br i1 %same.is, label %checked, label %mismatch

; Outputs: [dtype, rank, shape] for each; those of rank 0 become scalars.
outputs:
  %descriptions.at = getelementptr %record, ptr %rec, i32 0, i32 9
  %descriptions = load ptr, ptr %descriptions.at
  %new = call ptr @of_table(i64 11)
  %array.class = call ptr @of_table(i64 0)
  %inc = call ptr @of_table(i64 18)
  br label %out.head
out.head:
  %out = phi i64 [ 0, %outputs ], [ %out.next, %out.done ]
  %out.more = icmp slt i64 %out, %noutputs
  br i1 %out.more, label %out.step, label %arena
out.step:
  %description = call ptr @pointer(ptr %descriptions, i64 %out)
  %out.descr = call ptr @pointer(ptr %description, i64 0)
  %out.rank = call i64 @field(ptr %description, i64 1)
  %out.at = getelementptr ptr, ptr %objects, i64 %out
  %out.index = add i64 %ninputs, %out
  %out.place = getelementptr ptr, ptr %places, i64 %out.index
  %out.next = add i64 %out, 1
  %out.scalar = icmp eq i64 %out.rank, 0
  br i1 %out.scalar, label %out.register, label %out.new
out.register:
  %room = getelementptr [16 x i8], ptr %scalars, i64 %out
  store ptr null, ptr %out.at
  store ptr %room, ptr %out.place
  br label %out.done
out.new:
  call void %inc(ptr %out.descr)
  %out.nd = trunc i64 %out.rank to i32
  %out.shape = getelementptr i64, ptr %description, i64 2
  %made = call ptr %new(ptr %array.class, ptr %out.descr, i32 %out.nd, ptr %out.shape, ptr null, ptr null, i32 0, ptr null)
  store ptr %made, ptr %out.at
  %out.failed = icmp eq ptr %made, null
  br i1 %out.failed, label %out.error, label %out.made
out.made:
  %made.data = call ptr @pointer(ptr %made, i64 2)
  store ptr %made.data, ptr %out.place
  br label %out.done
out.done:
  br label %out.head
out.error:
  call void @drop(ptr %objects, i64 %out)
  ret ptr null

; Working memory: that of the last call, if no other thread has it.
arena:
  %arena.at = getelementptr %record, ptr %rec, i32 0, i32 13
  %arena.old = load ptr, ptr %arena.at
  store ptr null, ptr %arena.at
  %arena.none = icmp eq ptr %arena.old, null
  br i1 %arena.none, label %arena.new, label %run
arena.new:
  %arena.size.at = getelementptr %record, ptr %rec, i32 0, i32 12
  %arena.size = load i64, ptr %arena.size.at
  %arena.room = add i64 %arena.size, 192
  %malloc = call ptr @of_table(i64 20)
  %arena.made = call ptr %malloc(i64 %arena.room)
  %arena.failed = icmp eq ptr %arena.made, null
  br i1 %arena.failed, label %arena.error, label %run
arena.error:
  call void @drop(ptr %objects, i64 %noutputs)
  %no.memory = call ptr @of_table(i64 22)
  %set = call ptr %no.memory()
  ret ptr null
run:
  %raw = phi ptr [ %arena.old, %arena ], [ %arena.made, %arena.new ]
  %raw.number = ptrtoint ptr %raw to i64
  %past = add i64 %raw.number, 127
  %aligned = and i64 %past, -64
  %start = inttoptr i64 %aligned to ptr
  %details.number = sub i64 %aligned, 64
  %details = inttoptr i64 %details.number to ptr
  %program.at = getelementptr %record, ptr %rec, i32 0, i32 11
  %program = load ptr, ptr %program.at
  %release.at = getelementptr %record, ptr %rec, i32 0, i32 14
  %release = load i64, ptr %release.at
  %holding = icmp eq i64 %release, 0
  br i1 %holding, label %run.holding, label %run.free
run.holding:
  %code.held = call i64 %program(ptr %start, ptr %details, ptr %places)
  br label %ran
run.free:                                              ; another thread may change a list that the arguments are in
  call void @hold(ptr %slots, i64 %nslots, i64 18)
  %save = call ptr @of_table(i64 16)
  %state = call ptr %save()
  %code.free = call i64 %program(ptr %start, ptr %details, ptr %places)
  %restore = call ptr @of_table(i64 17)
  call void %restore(ptr %state)
  call void @hold(ptr %slots, i64 %nslots, i64 19)
  br label %ran
ran:
  %code = phi i64 [ %code.held, %run.holding ], [ %code.free, %run.free ]
  %fine = icmp eq i64 %code, 0
  br i1 %fine, label %keep.arena, label %failed
failed:
  call void @drop(ptr %objects, i64 %noutputs)
  %from.long = call ptr @of_table(i64 15)
  %first = call ptr %from.long(i64 %code)
  %second = call ptr %from.long(i64 %details.number)
  %one.at = getelementptr [3 x ptr], ptr %pair, i64 0, i64 1
  %two.at = getelementptr [3 x ptr], ptr %pair, i64 0, i64 2
  store ptr %first, ptr %one.at
  store ptr %second, ptr %two.at
  %vectorcall = call ptr @of_table(i64 7)
  %raiser.at = getelementptr %record, ptr %rec, i32 0, i32 15
  %raiser = load ptr, ptr %raiser.at
  %raised = call ptr %vectorcall(ptr %raiser, ptr %one.at, i64 2, ptr null)
  call void @drop(ptr %one.at, i64 2)
  %not.implemented = call ptr @of_table(i64 32)
  %passed.on = icmp eq ptr %raised, %not.implemented   ; what was met is not in this program: like another type
  br i1 %passed.on, label %pass.on, label %keep.arena
pass.on:
  store ptr %raised, ptr %one.at
  call void @drop(ptr %one.at, i64 1)
  br label %keep.arena
keep.arena:
  %result.failed = phi ptr [ null, %ran ], [ %raised, %failed ], [ inttoptr (i64 1 to ptr), %pass.on ]
  %now = load ptr, ptr %arena.at
  %empty = icmp eq ptr %now, null
  br i1 %empty, label %arena.keep, label %arena.free
arena.keep:
  store ptr %raw, ptr %arena.at
  br label %kept.arena
arena.free:
  %free = call ptr @of_table(i64 21)
  call void %free(ptr %raw)
  br label %kept.arena
kept.arena:
  br i1 %fine, label %scalars.start, label %leave
leave:
  ret ptr %result.failed

scalars.start:
  %scalar = call ptr @of_table(i64 23)
  br label %scalar.head
scalar.head:
  %s = phi i64 [ 0, %scalars.start ], [ %s.next, %scalar.done ]
  %s.more = icmp slt i64 %s, %noutputs
  br i1 %s.more, label %scalar.step, label %build.start
scalar.step:
  %s.next = add i64 %s, 1
  %s.at = getelementptr ptr, ptr %objects, i64 %s
  %s.object = load ptr, ptr %s.at
  %s.missing = icmp eq ptr %s.object, null
  br i1 %s.missing, label %scalar.new, label %scalar.done
scalar.new:
  %s.description = call ptr @pointer(ptr %descriptions, i64 %s)
  %s.descr = call ptr @pointer(ptr %s.description, i64 0)
  %s.room = getelementptr [16 x i8], ptr %scalars, i64 %s
  %s.made = call ptr %scalar(ptr %s.room, ptr %s.descr, ptr null)
  store ptr %s.made, ptr %s.at
  %s.failed = icmp eq ptr %s.made, null
  br i1 %s.failed, label %scalar.error, label %scalar.done
scalar.done:
  br label %scalar.head
scalar.error:
  call void @drop(ptr %objects, i64 %noutputs)
  ret ptr null

; The result: NULL for a single output, otherwise steps of two, (length, kind), with the dictionary's keys behind: first
; every container's items, then the container, which takes the place of its items on the stack.
build.start:
  %build.at = getelementptr %record, ptr %rec, i32 0, i32 10
  %build = load ptr, ptr %build.at
  %single = icmp eq ptr %build, null
  br i1 %single, label %build.single, label %build.many
build.single:
  %only = load ptr, ptr %objects
  ret ptr %only
build.many:
  %depth = call i64 @field(ptr %build, i64 0)
  %stack = alloca ptr, i64 %depth, align 8
  %build.first = getelementptr i64, ptr %build, i64 1
  br label %build.head
build.head:
  %at = phi ptr [ %build.first, %build.many ], [ %at.leaf, %build.leaf ], [ %at.leaf, %build.none ], [ %at.leaf, %sequence.pushed ], [ %at.dict, %dict.pushed ]
  %top = phi i64 [ 0, %build.many ], [ %top.leaf, %build.leaf ], [ %top.none, %build.none ], [ %top.sequence, %sequence.pushed ], [ %top.dict, %dict.pushed ]
  %kind = call i64 @field(ptr %at, i64 0)
  %count = call i64 @field(ptr %at, i64 1)
  %at.leaf = getelementptr i64, ptr %at, i64 2
  %base = sub i64 %top, %count
  %base.at = getelementptr ptr, ptr %stack, i64 %base
  switch i64 %kind, label %build.end [
    i64 1, label %build.leaf
    i64 2, label %build.tuple
    i64 3, label %build.list
    i64 4, label %build.dict
    i64 5, label %build.none
  ]
build.leaf:                                            ; count: which output
  %leaf = call ptr @pointer(ptr %objects, i64 %count)
  %leaf.at = getelementptr ptr, ptr %stack, i64 %top
  store ptr %leaf, ptr %leaf.at
  %top.leaf = add i64 %top, 1
  br label %build.head
build.none:
  %none = call ptr @of_table(i64 28)
  call void %inc(ptr %none)
  %none.at = getelementptr ptr, ptr %stack, i64 %top
  store ptr %none, ptr %none.at
  %top.none = add i64 %top, 1
  br label %build.head
build.tuple:
  %tuple.new = call ptr @of_table(i64 24)
  %tuple.made = call ptr %tuple.new(i64 %count)
  %tuple.put = call ptr @of_table(i64 29)
  br label %sequence.fill
build.list:
  %list.new = call ptr @of_table(i64 25)
  %list.made = call ptr %list.new(i64 %count)
  %list.put = call ptr @of_table(i64 30)
  br label %sequence.fill
sequence.fill:
  %made.sequence = phi ptr [ %tuple.made, %build.tuple ], [ %list.made, %build.list ]
  %put = phi ptr [ %tuple.put, %build.tuple ], [ %list.put, %build.list ]
  %sequence.failed = icmp eq ptr %made.sequence, null
  br i1 %sequence.failed, label %build.error, label %fill.head
fill.head:
  %f = phi i64 [ 0, %sequence.fill ], [ %f.next, %fill.step ]
  %f.more = icmp slt i64 %f, %count
  br i1 %f.more, label %fill.step, label %sequence.pushed
fill.step:
  %f.value = call ptr @pointer(ptr %base.at, i64 %f)
  %f.rc = call i32 %put(ptr %made.sequence, i64 %f, ptr %f.value)   ; takes the reference over
  %f.next = add i64 %f, 1
  br label %fill.head
sequence.pushed:
  store ptr %made.sequence, ptr %base.at
  %top.sequence = add i64 %base, 1
  br label %build.head
build.dict:
  %dict.new = call ptr @of_table(i64 26)
  %dict.made = call ptr %dict.new()
  %dict.put = call ptr @of_table(i64 27)
  %dict.dec = call ptr @of_table(i64 19)
  %at.dict = getelementptr i64, ptr %at.leaf, i64 %count
  %dict.failed = icmp eq ptr %dict.made, null
  br i1 %dict.failed, label %build.error, label %dict.fill
dict.fill:
  %g = phi i64 [ 0, %build.dict ], [ %g.next, %dict.fill.step ]
  %g.more = icmp slt i64 %g, %count
  br i1 %g.more, label %dict.fill.step, label %dict.pushed
dict.fill.step:
  %g.key = call ptr @pointer(ptr %at.leaf, i64 %g)
  %g.value = call ptr @pointer(ptr %base.at, i64 %g)
  %g.rc = call i32 %dict.put(ptr %dict.made, ptr %g.key, ptr %g.value)
  call void %dict.dec(ptr %g.value)
  %g.next = add i64 %g, 1
  br label %dict.fill
dict.pushed:
  store ptr %dict.made, ptr %base.at
  %top.dict = add i64 %base, 1
  br label %build.head
build.end:
  %result = load ptr, ptr %stack
  ret ptr %result
build.error:                                           ; out of memory for a few words: what was made is lost
  ret ptr null
}

; The vectorcall of a compiled function, whose records hang on the object; by Python where none fits.
define ptr @run(ptr %self, ptr %args, i64 %flagged, ptr %kwnames) {
  %n = and i64 %flagged, 9223372036854775807
  %unusual.at = call ptr @of_table(i64 31)
  %unusual = load i64, ptr %unusual.at
  %usual = icmp eq i64 %unusual, 0
  %plain = icmp eq ptr %kwnames, null
  br i1 %plain, label %counted, label %count
count:
  %named = call i64 @size_of(ptr %kwnames)
  br label %counted
counted:
  %nk = phi i64 [ 0, %0 ], [ %named, %count ]
  %total = add i64 %n, %nk
  %records.at = getelementptr ptr, ptr %self, i64 3
  %first = load ptr, ptr %records.at
  br i1 %usual, label %head, label %slow
head:
  %rec = phi ptr [ %first, %counted ], [ %after, %next ]
  %none = icmp eq ptr %rec, null
  br i1 %none, label %slow, label %look
look:
  %positional.at = getelementptr %record, ptr %rec, i32 0, i32 1
  %positional = load i64, ptr %positional.at
  %keywords.at = getelementptr %record, ptr %rec, i32 0, i32 2
  %keywords = load i64, ptr %keywords.at
  %same.n = icmp eq i64 %positional, %n
  %same.k = icmp eq i64 %keywords, %nk
  %same = and i1 %same.n, %same.k
  br i1 %same, label %names, label %next
names:
  %names.at = getelementptr %record, ptr %rec, i32 0, i32 3
  %names.own = load ptr, ptr %names.at
  %get = call ptr @of_table(i64 13)
  br label %name.head
name.head:
  %k = phi i64 [ 0, %names ], [ %k.next, %name.step ]
  %k.more = icmp slt i64 %k, %nk
  br i1 %k.more, label %name.step, label %try
name.step:
  %name = call ptr %get(ptr %kwnames, i64 %k)
  %wanted = call ptr @pointer(ptr %names.own, i64 %k)
  %k.next = add i64 %k, 1
  %name.same = icmp eq ptr %name, %wanted
  br i1 %name.same, label %name.head, label %next
try:
  %result = call ptr @attempt(ptr %rec, ptr %args, i64 %total)
  %missed = icmp eq ptr %result, inttoptr (i64 1 to ptr)
  br i1 %missed, label %next, label %done
done:
  ret ptr %result
next:
  %next.at = getelementptr %record, ptr %rec, i32 0, i32 0
  %after = load ptr, ptr %next.at
  br label %head
slow:
  %room = add i64 %total, 1
  %copy = alloca ptr, i64 %room, align 8
  store ptr %self, ptr %copy
  %rest = getelementptr ptr, ptr %copy, i64 1
  %bytes = mul i64 %total, 8
  call void @llvm.memcpy.p0.p0.i64(ptr %rest, ptr %args, i64 %bytes, i1 false)
  %vectorcall = call ptr @of_table(i64 7)
  %python = getelementptr ptr, ptr %self, i64 4
  %by = load ptr, ptr %python
  %more = add i64 %n, 1
  %found = call ptr %vectorcall(ptr %by, ptr %copy, i64 %more, ptr %kwnames)
  ret ptr %found
}
