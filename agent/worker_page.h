/*
 * What a warm worker inherits, and the page it shares with its agent. Read by the agent (pool.c)
 * and by the worker; a worker in another language follows the same rules.
 *
 *   fd 1, 2  the write ends of two pipes: stdout and stderr of the tasks
 *   fd 3     the socket to the agent: frames of proto/switchyard/internal/worker.proto
 *   fd 4     a page of shared memory: which attempts run right now (optional: may be left zero)
 *   fd 5, 6  the read ends of those pipes. The worker reads them, because only it can tell which
 * task wrote; the agent keeps the read ends too, and takes what is left when a worker dies.
 *
 * The page makes a crash exact: after a worker's death the agent sees which attempts were running,
 * so that only those are LOST and the others, which were only waiting, run elsewhere. It also
 * shows, without a message, that an attempt has been running for long. It is advice: the agent
 * believes it only about attempts that it gave to this worker.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#define AG_WORKER_SOCKET_FD 3
#define AG_WORKER_PAGE_FD 4
#define AG_WORKER_STDOUT_FD 5
#define AG_WORKER_STDERR_FD 6

#define AG_WORKER_PROTOCOL 1
#define AG_WORKER_CONCURRENCY_MAX 200
#define AG_WORKER_PAGE_BYTES 4096
/* The largest frame that either side accepts. */
#define AG_WORKER_FRAME_BYTES_MAX ((uint32_t)64 << 20)

/* One for each thread of the worker. started_ns is written before id. */
struct ag_worker_slot {
    _Atomic uint64_t id;        /* 0 = idle */
    _Atomic int64_t started_ns; /* realtime */
};

#define AG_WORKER_PAGE_MAGIC 0x53595057u

struct ag_worker_page {
    _Atomic uint32_t magic; /* set by a worker that uses the page */
    struct ag_worker_slot slots[AG_WORKER_CONCURRENCY_MAX];
};
_Static_assert(sizeof(struct ag_worker_page) <= AG_WORKER_PAGE_BYTES, "one page");
