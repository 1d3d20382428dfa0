/*
 * What an agent must not forget when its process dies: outcomes that nobody has acknowledged, and
 * which attempts were running (a new agent reports those LOST). A port with two adapters: a file,
 * and memory (simulator: survives the agent's restart).
 *
 * Records are gathered during a turn and written at its end, before what depends on them is sent.
 */
#pragma once

#include "base/buf.h"
#include "base/error.h"
#include "base/log.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Identity of an attempt, as in dataplane.proto. */
struct ag_attempt_key {
    uint64_t action;
    uint32_t partition, number, epoch;
};
static inline bool ag_attempt_key_equal(const struct ag_attempt_key *a,
                                        const struct ag_attempt_key *b)
{
    return a->action == b->action && a->partition == b->partition && a->number == b->number &&
           a->epoch == b->epoch;
}

struct ag_journal;

/* What was found, at the start: the spans are borrowed for the callback. Any callback may be NULL.
 */
struct ag_journal_visitor {
    void (*on_running)(void *ctx, const struct ag_attempt_key *key);
    void (*on_outcome)(void *ctx, const struct ag_attempt_key *key, struct sy_span outcome);
    /* A process that ran then; start_time as in /proc/PID/stat (field 22). */
    void (*on_process)(void *ctx, pid_t pid, uint64_t start_time);
    void *ctx;
};

struct ag_journal_ops {
    void (*replay)(struct ag_journal *journal, const struct ag_journal_visitor *visitor);
    void (*running)(struct ag_journal *journal, const struct ag_attempt_key *key);
    /* It has ended; `outcome` is kept until ag_journal_forget(). */
    void (*outcome)(struct ag_journal *journal, const struct ag_attempt_key *key,
                    struct sy_span outcome);
    /* Acknowledged, or was never worth keeping. */
    void (*forget)(struct ag_journal *journal, const struct ag_attempt_key *key);
    void (*process)(struct ag_journal *journal, pid_t pid,
                    uint64_t start_time); /* 0: it has ended */
    /* End of a turn. Negative errno: what was gathered is not safe; it is tried again with the
     * next. */
    int (*flush)(struct ag_journal *journal);
    void (*free)(struct ag_journal *journal);
};
struct ag_journal {
    const struct ag_journal_ops *ops;
};

/* `path` is made when it is missing; a torn tail is cut off, a file with another format version or
 * owner is -EINVAL with a sentence. The file is written anew without what was forgotten when that
 * is most of it. */
int ag_journal_file_new(struct ag_journal **ret_journal, const char *path, struct sy_log *log,
                        struct sy_error_text *error) SY_MUST_USE;
struct ag_journal *ag_journal_mem_new(void);
void ag_journal_free(struct ag_journal *journal);
