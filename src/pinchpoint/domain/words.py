"""The words for people: causes, bounds, states, stages and levels of proof. Data only, so that all layers may use it.

A headline fits on a line of the screen beside its level of proof, starts with its capitals, and holds without figures;
figures stand below it. `verdict.py` takes the sentence of a verdict from here, reporters the rest.
"""

from __future__ import annotations

# What is said first: the sentence of a verdict whose cause is known.
CAUSE_HEADLINE: dict[str, str] = {
    "C101": "ARITHMETIC SPEED limits this model, not memory.",
    "C102": "PREPROCESSING is the largest part of each request.",
    "C103": "POSTPROCESSING is the largest part of each request.",
    "C104": "ENCODING AND DECODING DATA is the largest part of each request.",
    "C105": "RUNTIME OVERHEAD takes the time, not the model's own work.",
    "C106": "TOO MANY THREADS compete for too few CPUs.",
    "C107": "TOO FEW THREADS: one CPU works while others are idle.",
    "C108": "THE CPU QUOTA stops this program during its requests.",
    "C109": "OTHER PROGRAMS take the CPU during the requests.",
    "C110": "IDLE THREADS SPIN: CPUs stay busy after the answer is there.",
    "C111": "VALUES NEAR ZERO (denormal floats) slow the arithmetic down.",
    "C112": "THE MODEL'S GRAPH IS NOT OPTIMISED: avoidable work is done.",
    "C113": "NO BATCHING: each request pays for what a batch shares.",
    "C114": "ONE OPERATOR IS SLOW: it takes far longer than its work needs.",
    "C116": "INT8 IS SLOWER here than float32 would be.",
    "C117": "THE CLOCK WAS LOWERED: the processor itself became slower.",
    "C118": "THE MODEL IS OPENED ANEW in each request.",
    "M101": "MEMORY SPEED limits this model, not arithmetic.",
    "M102": "MEMORY SPEED limits this model: results are moved, not computed.",
    "M103": "MEMORY IS FULL: pages are read back from disk in requests.",
    "M104": "MEMORY ALLOCATION takes the time: buffers are made anew.",
    "M105": "MEMORY GROWS with every request and is not given back.",
    "M106": "COPIES OF LARGE INPUTS take the time: bytes are only moved.",
    "M107": "RANDOM MEMORY ACCESS limits this model: look-ups wait.",
    "I101": "DISK READS hold up each request.",
    "I102": "READING FROM DISK makes the start slow.",
    "I103": "ROUND TRIPS: packets on their way take the time, not the server.",
    "I104": "BYTES ON THEIR WAY take the time: the network passes no more.",
    "I105": "A CALL TO ANOTHER SERVICE is awaited in each request.",
    "I106": "WRITES TO DISK (logs or syncs) hold up each request.",
    "W101": "PYTHON'S INTERPRETER LOCK (GIL) lets one thread work at a time.",
    "W102": "TOO FEW WORKERS: requests wait for one while CPUs are idle.",
    "W103": "THE BATCHING WINDOW is waited for, though nobody else comes.",
    "W104": "A LOCK is waited for in each request.",
    "W105": "THE EVENT LOOP IS BLOCKED: one computes, the others wait.",
    "W106": "REQUESTS LIE UNEVENLY: one worker is full, another is idle.",
    "W107": "SMALL REQUESTS WAIT BEHIND LARGE ONES.",
    "W108": "NEW SHAPES are compiled or planned for while requests wait.",
    "W109": "GARBAGE COLLECTION stops some requests.",
    "W110": "A TIMER is waited for: a sleep, a poll or a retry.",
    "V101": "THE CLIENT WAS THE LIMIT: these figures are its own.",
    "V102": "NOT STEADY: latency drifted while it was measured.",
    "V103": "INSTRUMENTS CONTRADICT each other: no figure can be trusted.",
    "V104": "TOO FEW REQUESTS were measured for an answer.",
    "V105": "REQUESTS FAILED, so the others may not be typical.",
}

QUOTA_HEADLINE = "The CPUs that its quota grants are used up."

# What stops throughput from growing, by the resource that is full.
CAPACITY_HEADLINE: dict[str, str] = {
    "cpu": "The CPUs are full.",
    "gil": "Python's interpreter lock (GIL) is held all the time: more threads only wait.",
    "lock": "The {name} is held all the time: requests wait in line for it.",
    "loop": "The event loop is busy all the time: while one request computes, no other goes on.",
    "pool": "All workers of the {name} are busy: requests wait for one.",
    "semaphore": "The {name} lets no more in: requests wait for a place.",
    "disk": "The {name} is busy all the time: requests wait for it.",
    "memory": "Memory is read as fast as this machine can.",
}

# What a resource is called, by the first word of its name.
RESOURCE_WORDS: dict[str, str] = {
    "cpu": "CPUs",
    "gil": "Python's interpreter lock",
    "lock": "a lock of its own code",
    "loop": "event loop",
    "pool": "workers",
    "process": "process",
}

# Where what serves alike is not used alike.
UNEVEN_HEADLINE = "{name} is busy all the time while {other} is idle {idle:.0%} of it: requests lie unevenly."

# What makes slow requests slower than typical ones.
TAIL_HEADLINE: dict[str, str] = {
    "C108": "slow requests are stopped by the CPU quota.",
    "C109": "slow requests wait for a CPU that others have.",
    "I101": "slow requests read from disk.",
    "I103": "slow requests are longer on their way.",
    "I104": "slow requests wait for bytes on their way.",
    "I105": "slow requests wait for another service.",
    "I106": "slow requests wait for writes to disk.",
    "M103": "slow requests fetch memory pages back.",
    "M104": "slow requests get new memory.",
    "W104": "slow requests wait for a lock.",
    "W107": "they wait behind larger ones.",
    "W108": "slow requests are the first of their shape.",
    "W109": "the garbage collector runs in slow requests.",
    "W110": "slow requests wait for a timer.",
}

RECURRING_HEADLINE = (
    "every {every} one takes {ratio:.2g} x as long as others: the garbage collector, or a job of the program's own."
)

# What most of a start is, by its part; {detail} is what the part is about.
STARTUP_WORDS: dict[str, str] = {
    "reading": "reading {detail} from disk",
    "optimising": "optimising the model's graph",
    "session": "opening the model",
    "own code": "your own module's code{detail}",
    "libraries": "importing libraries{detail}",
    "interpreter": "starting the interpreter",
    "first request": "what the first request takes longer than a typical one",
}

# What slow requests do longer, where that is no cause by itself.
TAIL_STATE_WORDS: dict[str, str] = {"cpu": "compute longer", "memory": "move more data", "wait": "wait longer"}

# A noun for lists such as "Ruled out: ...".
CAUSE_NOUN: dict[str, str] = {
    "C101": "arithmetic speed",
    "C102": "preprocessing",
    "C103": "postprocessing",
    "C104": "encoding and decoding",
    "C105": "runtime overhead",
    "C106": "too many threads",
    "C107": "too few threads",
    "C108": "CPU quota",
    "C109": "other programs",
    "C110": "idle threads that spin",
    "C111": "denormal floats",
    "C112": "an unoptimised graph",
    "C113": "requests served one by one",
    "C114": "a slow operator",
    "C116": "int8",
    "C117": "a lowered clock",
    "C118": "opening the model anew",
    "M101": "reading weights",
    "M102": "moving intermediate results",
    "M103": "full memory",
    "M104": "memory allocation",
    "M105": "memory that grows",
    "M106": "copies of large inputs",
    "M107": "random memory access",
    "I101": "disk reads",
    "I102": "reading files at the start",
    "I103": "network round trips",
    "I104": "network bandwidth",
    "I105": "calls to other services",
    "I106": "writes to disk",
    "W101": "the interpreter lock (GIL)",
    "W102": "too few workers",
    "W103": "a batching window",
    "W104": "a lock",
    "W105": "a blocked event loop",
    "W106": "requests that lie unevenly",
    "W107": "large requests ahead of small ones",
    "W108": "shapes seen for the first time",
    "W109": "garbage collection",
    "W110": "a timer",
    "V101": "a busy client",
    "V102": "drift",
    "V103": "a contradiction",
    "V104": "too few requests",
    "V105": "failed requests",
}

# Why, in one or two sentences that hold whenever the cause does.
CAUSE_WHY: dict[str, str] = {
    "C101": "The operators do the work they must, near the speed this machine has for it. Fewer bytes alone would gain "
    "almost nothing.",
    "C102": "Turning the input into what the model takes costs more than the model itself or any other part.",
    "C103": "Turning the model's output into the answer costs more than the model itself or any other part.",
    "C104": "Codecs such as JSON, base64 or protobuf cost more than what is done with the data.",
    "C105": "The operators' own work is a small part of a run; the rest is the cost of starting and connecting them.",
    "C106": "Threads that are ready to run wait for each other's CPU. Fewer are faster where those that have it "
    "spin until the others are done.",
    "C107": "The work runs on one CPU although it could be split and others are free.",
    "C108": "The container's CPU limit is used up early in each period, and everything waits for the next one.",
    "C109": "The program is ready to run and has few threads, but the CPUs are given to others.",
    "C110": "Threads of a pool look for work again and again after each answer, and use CPUs that others could have.",
    "C111": "Floats below 1e-38 leave the processor's fast path; taken for zero, they are as fast as any other.",
    "C112": "The runtime could fold or fuse operators and has not been allowed to.",
    "C113": "Weights are read and operators started for each request anew, while others wait that could share it.",
    "C114": "Its bytes and arithmetic need far less time here: its kernel is slow, or it converts its data.",
    "C116": "The processor or the runtime gains less from small integers than converting to and from them costs.",
    "C117": "The same few instructions took longer late in the run than early: heat, a power limit or a saving profile.",
    "C118": "A model is read, optimised and planned before it runs: once is enough, and each request does it again.",
    "M101": "Every request reads all weights from memory. More arithmetic speed alone would gain almost nothing.",
    "M102": "Operators that compute little pass large results through memory. Fusing them saves the trips.",
    "M103": "The working set does not fit, so pages must be fetched again while a request waits.",
    "M104": "Memory is asked for and given back in each request, and the system clears every page of it.",
    "M105": "Each request leaves memory behind, and sooner or later there is none left.",
    "M106": "Arrays and buffers go from one place in memory to another, and nothing is computed with them on the way.",
    "M107": "Single entries of a large table are fetched from all over memory, and each one waits for the last.",
    "I101": "Data is read from disk while the request waits for it.",
    "I102": "The model's files come from disk before the first request can be answered.",
    "I103": "A packet takes its time there and back whatever is in it, and a new connection or a second small packet takes more.",
    "I104": "The network passes so many bytes a second, and messages of this size occupy it that long.",
    "I105": "The request stands still until another process or server has answered.",
    "I106": "The request stands still until the disk has taken what was written.",
    "W101": "One thread at a time runs Python code; the others wait, and CPUs are idle.",
    "W102": "All workers are taken, by requests that compute or that wait, while CPUs are idle: these could serve more.",
    "W105": "One coroutine computes in the event loop; nothing else that the loop has accepted is served meanwhile.",
    "W106": "Requests wait in line at one worker while another of the same kind has nothing to do.",
    "W107": "One line serves large and small requests in turn: behind a large one the small wait for all of it.",
    "W103": "A batcher holds each request back for others to share a run with, and with few in flight nobody comes.",
    "W104": "The thread of the request stands still while another holds what it needs.",
    "W108": "Whatever compiles or plans by shape does it again for each that is new, and the request waits for it.",
    "W109": "The interpreter visits all its objects now and then, and every thread waits for it.",
    "W110": "The request sleeps for a fixed time that no work needs.",
    "V101": "What sends the requests uses a CPU too, and answers lie until it comes to them.",
    "V102": "Requests early and late in the run differ, so one figure for both would mislead.",
    "V103": "Two instruments that measure the same thing tell different things, so one of them is wrong.",
    "V104": "The intervals are too wide to tell the causes apart.",
    "V105": "A request that fails takes another path, and often a shorter one.",
}

# What to do, where no change could be forecast.
CAUSE_ADVICE: dict[str, str] = {
    "C101": "use int8 or bf16, a smaller model, more cores, or an accelerator",
    "C102": "vectorise it, use a faster codec, cache it, or move it off the request",
    "C103": "vectorise it, or make it part of the model",
    "C104": "use a binary protocol, a faster codec, or a smaller payload",
    "C105": "fuse operators, turn graph optimisation on, compile, or answer several requests at once",
    "C106": "set the runtime's and BLAS's threads to the CPUs there are",
    "C107": "allow the runtime more threads, or split the work",
    "C108": "set the threads to what the quota allows, or raise the quota",
    "C109": "give the program CPUs of its own, or move it elsewhere",
    "C110": "turn the session's spinning off (session.intra_op.allow_spinning=0), or shorten it",
    "C111": "take denormals for zero (session.set_denormal_as_zero=1), or set tiny weights to zero",
    "C112": "turn graph optimisation on, or store the model optimised",
    "C113": "let the server batch requests that wait (dynamic batching), or send several items a request",
    "C114": "replace the operator, change its layout or data type, or try another runtime",
    "C116": "use the float32 model, another quantisation format, or int8 for the large products alone",
    "C117": "cool the machine or choose a performance profile, and compare only runs at one clock",
    "C118": "open the model when the program starts, or in the first request, and keep it",
    "M101": "use int8 or fp16 weights, answer several requests at once, or take a smaller model",
    "M102": "fuse the operators, change the layout, or work in place",
    "M103": "raise the memory limit, take a smaller model, or run fewer workers",
    "M104": "allocate buffers once and use them again (IO binding, an arena, another allocator)",
    "M105": "bound the caches, drop what was answered, or limit the runtime's arena",
    "M106": "pass views on instead of copies, write once into the buffer that is read, or send smaller inputs",
    "M107": "sort the indices, keep hot rows in cache, or shrink the table",
    "I101": "cache or prefetch the data, map it into memory, or keep it on a local disk",
    "I102": "keep the files in the page cache or a process ready, use a faster disk, or store a smaller model",
    "I103": "keep connections open, write each answer at once (TCP_NODELAY), or move client and server closer",
    "I104": "compress, send fewer bytes or a binary format, or use a faster link",
    "I105": "cache or batch the calls, make them while computing, or move the service closer",
    "I106": "log from another thread, log less, or drop the sync",
    "W101": "use processes, native code for the Python part, or a free-threaded build",
    "W102": "allow more workers or more requests in flight, or await instead of blocking a worker",
    "W105": "move the computing to a thread or a process (asyncio.to_thread, an executor)",
    "W106": "let all workers take from one line, or send each request to the one with the fewest outstanding",
    "W107": "give large requests a line of their own, or bound their size",
    "W103": "shorten the batching window, or fit it to the rate at which requests arrive",
    "W104": "hold the lock for less, or split what it guards",
    "W108": "pad inputs to a few sizes and warm each up, or export the model with dynamic shapes",
    "W109": "call gc.freeze() once everything is loaded, or collect between requests",
    "W110": "wait for an event instead of a time, or tune the interval",
    "V101": "send less, or from another machine",
    "V102": "let the machine be quiet and run again with a larger --budget",
    "V103": "run again, or on another machine; if it stays, report it with the run folder",
    "V104": "run again with a larger --budget",
    "V105": "make the requests succeed first (--input sets what is sent)",
}

BOUND_WORDS: dict[str, str] = {
    "cpu": "the processor",
    "gpu": "the GPU",
    "memory": "memory",
    "io": "disk or network",
    "wait": "waiting for something else than hardware",
    "none": "nothing",
    "unknown": "not known",
    "measurement": "the measurement itself",
}

# The sentence of a verdict without a cause.
BOUND_HEADLINE: dict[str, str] = {
    "cpu": "THE PROCESSOR takes most of the time; the cause is not known.",
    "gpu": "THE GPU takes most of the time; the cause is not known.",
    "memory": "MEMORY takes most of the time; the cause is not known.",
    "io": "DISK OR NETWORK takes most of the time; the cause is not known.",
    "wait": "WAITING takes most of the time; what for is not known.",
    "none": "NOTHING needs fixing: the objective is met.",
    "unknown": "INCONCLUSIVE: this run does not single out one cause.",
}

# What a ledger cell is called after its stage; "" where the name of the stage says it.
STATE_WORDS: dict[str, str] = {
    "cpu": "computing",
    "memory": "moving data",
    "gpu": "on the GPU",
    "disk": "reading from disk",
    "network": "waiting for the network",
    "starved": "waiting for a CPU",
    "wait": "waiting",
    "unexplained": "unexplained",
}

# What the memory of a model's operators is used for, by the cause that was found.
MEMORY_WORDS: dict[str, str] = {"M101": "reading weights", "M102": "moving results", "M107": "looking up rows"}

# What a thread was blocked on (domain.run.SITES), and sites of the ledger's own.
SITE_WORDS: dict[str, str] = {
    "told": "unseen",
    "futex": "waiting for threads",
    "gil": "waiting for the interpreter",
    "timer": "waiting for a timer",
    "network": "waiting for the network",
    "ipc": "waiting for a process",
    "disk": "reading from disk",
    "sync": "writing to disk",
    "fault": "fetching memory pages",
    "pool": "on other threads",
    "new memory": "getting new memory",
    "copy": "copying",
    "connect": "making a connection",
    "distance": "there and back",
    "transfer": "bytes on their way",
    "stall": "small packets that wait",
    "inside": "unseen",
    "programs": "programs that it starts",
    "opening": "opening the model",
}

# Rows of a session that are no operators of its graph.
OPERATOR_WORDS: dict[str, str] = {"dispatch": "starting operators", "run": "starting a run"}

# Stages whose name in the ledger is not what a user calls them.
STAGE_WORDS: dict[str, str] = {"queue": "waiting in line", "framework": "request handling"}

PROOF_WORDS: dict[str, str] = {
    "hypothesis": "HYPOTHESIS",
    "supported": "SUPPORTED",
    "verified": "VERIFIED",
}

# On what an expected figure rests (Change.kind).
BASIS_WORDS: dict[str, str] = {"estimate": "forecast", "bound": "bound"}

# What a ceiling is a ceiling of (Ceiling.name).
CEILING_WORDS: dict[str, str] = {
    "flops_per_s": "arithmetic",
    "read_bytes_per_s": "reading memory",
    "triad_bytes_per_s": "reading and writing memory",
    "disk_read_bytes_per_s": "reading from disk",
    "dispatch_s": "cost of starting an operator",
    "dispatch_further_s": "the same of one beyond 600",
    "run_s": "cost of starting a run",
    "event_s": "cost of an event of the runtime's profiler",
    "far_row_s": "fetching a row of a large table",
    "near_row_s": "fetching a row of a small table",
    "fault_s": "cost of a new page of memory",
    "huge_fault_s": "cost of a new huge page of memory",
}

# What a signal measures, where its name does not say it to a reader. Shares are of the latency.
SIGNAL_WORDS: dict[str, str] = {
    "model.weights_share": "reading weights",
    "model.activations_share": "moving results",
    "model.lookup_share": "looking up rows",
    "model.dispatch_share": "starting operators",
    "threads.starved_cores": "CPUs that its threads wait for",
    "idle.spinning_pools": "pools that spin while idle",
    "measurement.noise_share": "noise",
    "capacity.batchable_share": "what a batch would pay once",
    "model.excess_share": "the slowest kind of operator, beyond what it needs",
    "model.excess_ratio": "its time over what it needs",
    "model.removable_share": "operators that optimisation removes",
    "model.optimization_off": "optimisation is off",
    "model.arithmetic_efficiency": "arithmetic over the best this machine does",
    "model.bandwidth_efficiency": "memory speed over the best this machine does",
    "model.memory_share": "the model's memory",
    "model.cpu_share": "the model's arithmetic",
    "model.share": "the model",
    "preprocess.cpu_share": "preprocessing",
    "postprocess.cpu_share": "postprocessing",
    "codec.cpu_share": "encoding and decoding",
    "opening.cpu_share": "opening the model",
    "framework.cpu_share": "request handling",
    "request.starved_share": "waiting for a CPU",
    "request.throttled_share": "stopped by the quota",
    "request.read_share": "reading from disk",
    "request.sync_share": "writing to disk",
    "request.network_share": "waiting for the network",
    "request.lock_share": "waiting for threads",
    "request.own_lock_share": "waiting for a lock of its own code",
    "request.timer_share": "waiting for a timer",
    "request.interpreter_share": "waiting for the interpreter",
    "request.together_share": "ending with a neighbour, sent three quarters of a latency apart",
    "request.ipc_share": "waiting for a process",
    "scaling.thread_gain": "gain from more threads",
    "cpu.idle_share": "idle CPUs",
    "cpu.foreign_share": "CPUs used by others",
    "cpu.steal_share": "CPUs taken by the host",
    "cgroup.throttled_periods_share": "periods stopped by the quota",
    "memory.fault_share": "getting new memory",
    "memory.pressure_share": "waiting for memory",
    "copies.share": "copying",
    "capacity.gil_utilization": "the interpreter lock held",
    "capacity.lock_utilization": "the busiest lock held",
    "capacity.loop_utilization": "the event loop busy",
    "capacity.pool_utilization": "the busiest pool's workers taken",
    "capacity.busiest_share": "the busiest of several workers",
    "capacity.idlest_share": "the idlest of several workers",
    "capacity.idle_share": "CPUs idle under load",
    "capacity.scaling": "throughput over that of one in flight",
    "request.new_shape_share": "first of its shape",
    "tail.new_shape_share": "first of its shape, in slow requests",
    "tail.ratio": "slow over typical requests",
    "tail.company_ratio": "slow over typical ones of small requests in company",
    "tail.behind_share": "large ones being served in what slow small ones take longer",
    "tail.collection_share": "garbage collection in what slow requests take longer",
    "tail.recurring_share": "slow requests that come back at one distance",
    "startup.seconds": "a start",
    "startup.reading_s": "reading from disk at the start",
    "startup.reading_share": "reading from disk in the start",
    "startup.read_bytes": "read from disk at the start",
    "startup.optimising_s": "optimising the graph at the start",
    "startup.optimising_share": "optimising the graph in the start",
    "startup.session_share": "opening the model in the start",
    "startup.own_code_share": "your own module's code in the start",
    "startup.libraries_share": "importing libraries in the start",
    "memory.growth_bytes": "memory kept a request",
    "memory.growth_persistence": "growth late over growth early",
    "memory.hours_to_limit": "time until memory is full",
    "model.denormal_share": "time on denormal floats",
    "model.quantised_share": "operators in int8",
    "model.float_gain": "int8 over float32",
    "cpu.slowdown_share": "slower at the end",
    "idle.cpu_share": "CPU time after the answer",
    "measurement.drift_share": "drift",
    "measurement.disturbed_share": "waiting for others' work",
    "measurement.clock_disagreement": "the process's own clock against /proc",
    "measurement.group_disagreement": "the process's CPU time against its control group's",
    "measurement.count_disagreement": "requests counted against requests recorded",
    "measurement.thread_disagreement": "a thread's CPU time against its process's",
    "measurement.server_count_disagreement": "requests that the server counted against those sent",
    "measurement.server_time_disagreement": "seconds that the server counted against those that requests took",
    "measurement.error_share": "failed requests",
    "client.used_share": "what the client used",
    "request.queue_share": "waiting in the server's queue",
    "request.round_trips_share": "round trips",
    "request.transfer_share": "bytes on their way",
}

# What a server counts of itself.
COUNTED_WORDS: dict[str, str] = {
    "request": "in the server",
    "queue": "queued",
    "input": "taking inputs",
    "preprocess": "preprocessing",
    "compute": "computing",
    "output": "giving outputs",
    "postprocess": "postprocessing",
    "prefill": "prefill",
    "decode": "decode",
}
