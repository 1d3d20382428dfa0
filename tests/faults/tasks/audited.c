/*
 * Tasks that tell the auditor what they did. Each action has a file of its own, DIR/RUN.ACTION, to
 * which each of its attempts appends lines, "KIND TOKEN ATTEMPT MS" and for some a word more, each
 * of them on the disk before the attempt goes on:
 *
 *     start                   the attempt began
 *     asked NAME              this child was acknowledged
 *     wrote, refused          its effect: a write that is guarded by the fencing token
 *     end, fail, cancelled    what it returns
 *     at NODE, beat           where it runs; that it still does (not synced)
 *
 * The effect is the token in DIR/RUN.ACTION.effect; the line about it is written while the file is
 * locked, so that the order of the lines is that of the effects.
 */
#include <switchyard/task.h>

#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#define PATH_SIZE 600

int audited(struct sy_task *task);
int audited_parent(struct sy_task *task);
int audited_alone(struct sy_task *task);

struct record {
    const struct sy_task *task;
    char directory[400];
    char path[PATH_SIZE];
    unsigned ms, count; /* the rest of the input */
};

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static bool append(const struct record *r, const char *kind, const char *more, bool sync)
{
    char line[200];
    int n = snprintf(line, sizeof(line), "%s %s %u %" PRId64 "%s%s\n", kind,
                     sy_task_fencing_token(r->task), sy_task_attempt(r->task), now_ms(),
                     *more ? " " : "", more);
    int fd = open(r->path, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0644);
    bool good = fd >= 0 && write(fd, line, (size_t)n) == n && (!sync || fsync(fd) == 0);
    if (fd >= 0)
        close(fd);
    return good;
}

static bool note(const struct record *r, const char *kind, const char *more)
{
    return append(r, kind, more, true);
}

static bool begin(struct record *r, struct sy_task *task)
{
    size_t size;
    const char *input = sy_task_input(task, &size), *run = strrchr(sy_task_run(task), '/');
    char text[500];
    snprintf(text, sizeof(text), "%.*s", (int)size, input);
    r->task = task;
    if (!run || sscanf(text, "%399s %u %u", r->directory, &r->ms, &r->count) != 3)
        return false;
    snprintf(r->path, sizeof(r->path), "%s/%s.%s", r->directory, run + 1, sy_task_name(task));
    return note(r, "start", "");
}

/* An older token never overwrites a newer one. */
static bool take_effect(const struct record *r)
{
    char path[PATH_SIZE + 8], before[64] = "";
    const char *token = sy_task_fencing_token(r->task);
    snprintf(path, sizeof(path), "%s.effect", r->path);
    int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0644);
    bool good = fd >= 0 && flock(fd, LOCK_EX) == 0 && pread(fd, before, sizeof(before) - 1, 0) >= 0;
    if (good && strcmp(before, token) > 0)
        good = note(r, "refused", "");
    else if (good)
        good = pwrite(fd, token, strlen(token), 0) == (ssize_t)strlen(token) && fsync(fd) == 0 &&
               note(r, "wrote", "");
    if (fd >= 0)
        close(fd);
    return good;
}

/* False: cancelled meanwhile. */
static bool nap(struct sy_task *task, unsigned ms)
{
    struct timespec ten = {0, 10000000};
    for (; ms >= 10 && !sy_task_cancelled(task); ms -= 10)
        nanosleep(&ten, NULL);
    return !sy_task_cancelled(task);
}

static int broken(struct sy_task *task)
{
    return sy_task_fail(task, true, "NoRecord", "the record could not be written");
}

static int finish(const struct record *r, struct sy_task *task)
{
    if (!take_effect(r) || !note(r, "end", ""))
        return broken(task);
    const char *token = sy_task_fencing_token(task);
    return sy_task_output(task, token, strlen(token));
}

/* Input: "DIR MS FAILS". Takes MS; its first FAILS attempts fail. Output: its fencing token. */
int audited(struct sy_task *task)
{
    struct record r = {0};
    if (!begin(&r, task))
        return broken(task);
    if (!nap(task, r.ms)) {
        note(&r, "cancelled", "");
        return sy_task_fail(task, false, "Cancelled", "cancelled");
    }
    if (sy_task_attempt(task) <= r.count) {
        note(&r, "fail", "");
        return sy_task_fail(task, false, "AsAsked", "attempt %u fails", sy_task_attempt(task));
    }
    return finish(&r, task);
}

/* Input: "DIR MS COUNT". COUNT children that take MS. Output as above. */
int audited_parent(struct sy_task *task)
{
    struct record r = {0};
    if (!begin(&r, task))
        return broken(task);
    struct sy_child_spec spec = {.function = "audited", .cpu_milli = 10, .memory_bytes = 16 << 20};
    struct sy_children *children = sy_children_new(task, &spec);
    char name[32], input[sizeof(r.directory) + 16];
    int length = snprintf(input, sizeof(input), "%s %u 0", r.directory, r.ms);
    for (unsigned i = 0; i < r.count; i++) {
        snprintf(name, sizeof(name), "c%u", i);
        sy_children_add(children, name, input, (size_t)length);
    }
    int result = sy_children_enqueue(children);
    for (unsigned i = 0; result == 0 && i < r.count; i++) {
        snprintf(name, sizeof(name), "c%u", i);
        if (!note(&r, "asked", name))
            return broken(task);
    }
    struct sy_child child;
    unsigned good = 0;
    while (result == 0 && (result = sy_task_next_child(task, &child)) == 1) {
        good += child.phase == SY_CHILD_SUCCEEDED;
        result = 0;
    }
    if (result < 0) {
        note(&r, sy_task_cancelled(task) ? "cancelled" : "fail", "");
        return result;
    }
    if (good != r.count)
        return sy_task_fail(task, true, "Children", "%u of %u succeeded", good, r.count);
    return finish(&r, task);
}

/*
 * Input: "DIR MS 0". Says each MS that it runs, until DIR/RUN.ACTION.go is there, and does not stop
 * when it is asked to. Output as above.
 */
int audited_alone(struct sy_task *task)
{
    struct record r = {0};
    const char *node = getenv("SWITCHYARD_NODE");
    if (!begin(&r, task) || !note(&r, "at", node ? node : "?"))
        return broken(task);
    char go[PATH_SIZE + 8];
    snprintf(go, sizeof(go), "%s.go", r.path);
    struct timespec pause = {r.ms / 1000, r.ms % 1000 * 1000000L};
    while (access(go, F_OK) != 0) {
        if (!append(&r, "beat", "", false))
            return broken(task);
        nanosleep(&pause, NULL);
    }
    return finish(&r, task);
}
