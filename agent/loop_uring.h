/*
 * Reads and writes that do not hold up the loop: io_uring, with its completions signalled through
 * an eventfd, or plain non-blocking calls where io_uring is not permitted (containers' seccomp
 * profiles, kernel settings).
 *
 * Operations are gathered and submitted at the end of the turn; completions run in a later turn.
 *
 * An operation is the first member of one malloc'ed block that also holds its buffer: the kernel
 * may use that memory until the completion, so an owner that goes away abandons the block instead
 * of freeing it.
 */
#pragma once

#include "base/error.h"
#include "base/loop.h"

#include <stdbool.h>
#include <stdint.h>

struct ag_io;
struct ag_io_op;

/* `result` as of read(2) or write(2), -errno on failure. The block is the owner's again. */
typedef void (*ag_io_fn)(struct ag_io_op *op, int result);

struct ag_io_op {
    uint32_t magic;
    ag_io_fn fn; /* NULL: abandoned */
    void *owner;
    struct ag_io_op *next; /* plain: completed; uring: not submitted */
    int fd;
    int result;
    bool write, watching;
    void *data;
    uint32_t size;
    int64_t offset;
    struct ag_io *io;
    struct sy_io ready; /* plain reads */
};

/* `allow_uring` false: plain calls (tests). Always succeeds; ag_io_is_plain() tells which. */
struct ag_io *ag_io_new(struct sy_loop *loop, bool allow_uring);
/* Abandoned operations are waited for. No other may be in flight. */
void ag_io_free(struct ag_io *io);
bool ag_io_is_plain(const struct ag_io *io);
/* Operations that have not been completed. */
unsigned ag_io_in_flight(const struct ag_io *io);

/* A block of `extra` bytes beyond the operation, zeroed. */
struct ag_io_op *ag_io_op_new(size_t size, ag_io_fn fn, void *owner);
/* One read of a pipe, as soon as something is there. `fd` must be non-blocking. */
void ag_io_read(struct ag_io *io, struct ag_io_op *op, int fd, void *data, uint32_t size);
void ag_io_write(struct ag_io *io, struct ag_io_op *op, int fd, void *data, uint32_t size,
                 int64_t offset);
/* No callback any more; the block is freed when the operation is through. A read is cancelled. */
void ag_io_abandon(struct ag_io *io, struct ag_io_op *op);
