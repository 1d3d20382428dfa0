#include "agent/loop_uring.h"

#include "base/mem.h"

#include <liburing.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define OP_MAGIC 0x61676f70u
#define ENTRIES 256u
#define COMPLETIONS 4096u

struct ag_io {
    struct sy_loop *loop;
    bool plain;
    struct io_uring ring;
    struct sy_io wake; /* the eventfd */
    struct sy_turn_end turn_end;
    struct sy_timer submit_timer; /* for what is begun in a turn after our turn_end has run */
    unsigned in_flight, unsubmitted;
    struct ag_io_op *done, **done_tail; /* plain: completed, to be called */
    struct sy_timer done_timer;
};

static void complete(struct ag_io *io, struct ag_io_op *op, int result)
{
    SY_ASSERT(op->magic == OP_MAGIC);
    SY_ASSERT(io->in_flight > 0);
    io->in_flight--;
    if (op->fn == NULL)
        free(op);
    else
        op->fn(op, result);
}

/* ---- io_uring ---- */

static void drain_completions(struct ag_io *io)
{
    struct io_uring_cqe *cqe;
    while (io_uring_peek_cqe(&io->ring, &cqe) == 0) {
        struct ag_io_op *op = io_uring_cqe_get_data(cqe);
        int result = cqe->res;
        io_uring_cqe_seen(&io->ring, cqe);
        if (op != NULL) /* NULL: a cancel's own completion */
            complete(io, op, result);
    }
}

static void on_wake(void *arg, uint32_t events)
{
    struct ag_io *io = arg;
    (void)events;
    eventfd_t value;
    ssize_t n = read(io->wake.fd, &value, sizeof(value));
    (void)n;
    drain_completions(io);
}

static void submit(void *arg)
{
    struct ag_io *io = arg;
    if (io->unsubmitted == 0)
        return;
    int r = io_uring_submit(&io->ring);
    if (r >= 0)
        io->unsubmitted = io_uring_sq_ready(&io->ring);
    if (io->unsubmitted == 0)
        sy_timer_stop(io->loop, &io->submit_timer);
    else /* -EBUSY, -EAGAIN: when completions have been taken */
        sy_timer_start_in(io->loop, &io->submit_timer, SY_NS_PER_MS);
}

static struct io_uring_sqe *next_sqe(struct ag_io *io)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&io->ring);
    while (sqe == NULL) { /* full: the kernel takes them all */
        int r = io_uring_submit(&io->ring);
        SY_ASSERT(r >= 0 || r == -EAGAIN || r == -EBUSY || r == -EINTR);
        sqe = io_uring_get_sqe(&io->ring);
    }
    if (io->unsubmitted++ == 0)
        sy_timer_start_in(io->loop, &io->submit_timer, 0);
    return sqe;
}

static int open_ring(struct ag_io *io)
{
    struct io_uring_params params = {.flags = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
                                     .cq_entries = COMPLETIONS};
    int r = io_uring_queue_init_params(ENTRIES, &io->ring, &params);
    if (r < 0)
        return r;
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    r = fd < 0 ? -errno : io_uring_register_eventfd(&io->ring, fd);
    io->wake = (struct sy_io){.fd = fd, .events = EPOLLIN, .fn = on_wake, .arg = io};
    if (r == 0)
        r = sy_io_add(io->loop, &io->wake);
    if (r < 0) {
        if (fd >= 0)
            close(fd);
        io_uring_queue_exit(&io->ring);
    }
    return r;
}

/* ---- plain ---- */

static void run_done(void *arg)
{
    struct ag_io *io = arg;
    struct ag_io_op *op = io->done;
    io->done = NULL;
    io->done_tail = &io->done;
    while (op != NULL) {
        struct ag_io_op *next = op->next;
        complete(io, op, op->result);
        op = next;
    }
}

static void plain_done(struct ag_io *io, struct ag_io_op *op, int result)
{
    op->result = result;
    op->next = NULL;
    *io->done_tail = op;
    io->done_tail = &op->next;
    if (!sy_timer_running(&io->done_timer))
        sy_timer_start_in(io->loop, &io->done_timer, 0);
}

static void on_ready(void *arg, uint32_t events)
{
    struct ag_io_op *op = arg;
    (void)events;
    ssize_t n = read(op->fd, op->data, op->size);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    int result = n < 0 ? -errno : (int)n;
    sy_io_remove(op->io->loop, &op->ready);
    op->watching = false;
    complete(op->io, op, result);
}

static void plain_read(struct ag_io *io, struct ag_io_op *op)
{
    op->ready = (struct sy_io){.fd = op->fd, .events = EPOLLIN, .fn = on_ready, .arg = op};
    int r = sy_io_add(io->loop, &op->ready);
    op->watching = r == 0;
    if (r < 0)
        plain_done(io, op, r);
}

static void plain_write(struct ag_io *io, struct ag_io_op *op)
{
    ssize_t n;
    do
        n = pwrite(op->fd, op->data, op->size, op->offset);
    while (n < 0 && errno == EINTR);
    plain_done(io, op, n < 0 ? -errno : (int)n);
}

/* ---- interface ---- */

struct ag_io *ag_io_new(struct sy_loop *loop, bool allow_uring)
{
    struct ag_io *io = sy_new(struct ag_io);
    io->loop = loop;
    io->done_tail = &io->done;
    sy_timer_init(&io->done_timer, run_done, io);
    sy_timer_init(&io->submit_timer, submit, io);
    io->turn_end = (struct sy_turn_end){.fn = submit, .arg = io};
    io->plain = !allow_uring || open_ring(io) < 0;
    if (!io->plain)
        sy_loop_add_turn_end(loop, &io->turn_end);
    return io;
}

bool ag_io_is_plain(const struct ag_io *io)
{
    return io->plain;
}

unsigned ag_io_in_flight(const struct ag_io *io)
{
    return io->in_flight;
}

struct ag_io_op *ag_io_op_new(size_t size, ag_io_fn fn, void *owner)
{
    SY_ASSERT(size >= sizeof(struct ag_io_op));
    struct ag_io_op *op = sy_malloc(size);
    *op = (struct ag_io_op){.magic = OP_MAGIC, .fn = fn, .owner = owner};
    return op;
}

static void begin(struct ag_io *io, struct ag_io_op *op, int fd, void *data, uint32_t size)
{
    SY_ASSERT(op->magic == OP_MAGIC);
    SY_ASSERT(op->fn != NULL && size > 0);
    op->io = io;
    op->fd = fd;
    op->data = data;
    op->size = size;
    op->watching = false;
    io->in_flight++;
}

void ag_io_read(struct ag_io *io, struct ag_io_op *op, int fd, void *data, uint32_t size)
{
    begin(io, op, fd, data, size);
    op->write = false;
    if (io->plain) {
        plain_read(io, op);
        return;
    }
    struct io_uring_sqe *sqe = next_sqe(io);
    io_uring_prep_read(sqe, fd, data, size, (uint64_t)-1);
    io_uring_sqe_set_data(sqe, op);
}

void ag_io_write(struct ag_io *io, struct ag_io_op *op, int fd, void *data, uint32_t size,
                 int64_t offset)
{
    begin(io, op, fd, data, size);
    op->write = true;
    op->offset = offset;
    if (io->plain) {
        plain_write(io, op);
        return;
    }
    struct io_uring_sqe *sqe = next_sqe(io);
    io_uring_prep_write(sqe, fd, data, size, (uint64_t)offset);
    io_uring_sqe_set_data(sqe, op);
}

void ag_io_abandon(struct ag_io *io, struct ag_io_op *op)
{
    SY_ASSERT(op->magic == OP_MAGIC);
    op->fn = NULL;
    if (op->watching) {
        sy_io_remove(io->loop, &op->ready);
        complete(io, op, -ECANCELED);
    } else if (!io->plain && !op->write) {
        struct io_uring_sqe *sqe = next_sqe(io);
        io_uring_prep_cancel(sqe, op, 0);
        io_uring_sqe_set_data(sqe, NULL);
        submit(io); /* the owner closes the descriptor next */
    }
}

void ag_io_free(struct ag_io *io)
{
    if (io == NULL)
        return;
    if (io->plain) {
        sy_timer_stop(io->loop, &io->done_timer);
        run_done(io);
    } else {
        sy_loop_remove_turn_end(io->loop, &io->turn_end);
        sy_timer_stop(io->loop, &io->submit_timer);
        while (io->in_flight > 0) {
            int r = io_uring_submit_and_wait(&io->ring, 1);
            SY_ASSERT(r >= 0 || r == -EINTR || r == -EAGAIN || r == -EBUSY);
            drain_completions(io);
        }
        sy_io_remove(io->loop, &io->wake);
        close(io->wake.fd);
        io_uring_queue_exit(&io->ring);
    }
    SY_ASSERT(io->in_flight == 0);
    free(io);
}
