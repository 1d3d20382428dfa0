/* The table itself, and the journal in memory. */
#include "agent/journal_table.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

/* The key has padding: copies are made from zeroed memory so that its bytes compare. */
static struct ag_attempt_key clean(const struct ag_attempt_key *key)
{
    struct ag_attempt_key copy;
    memset(&copy, 0, sizeof(copy));
    copy.action = key->action;
    copy.partition = key->partition;
    copy.number = key->number;
    copy.epoch = key->epoch;
    return copy;
}

static struct ag_journal_entry *entry_find(struct ag_journal_table *table,
                                           const struct ag_attempt_key *key)
{
    struct ag_attempt_key wanted = clean(key);
    return sy_map_entry(sy_map_find(&table->entries, &wanted, sizeof(wanted)),
                        struct ag_journal_entry, link);
}

static struct ag_journal_entry *entry_get(struct ag_journal_table *table,
                                          const struct ag_attempt_key *key)
{
    struct ag_journal_entry *entry = entry_find(table, key);
    if (entry != NULL)
        return entry;
    entry = sy_new(struct ag_journal_entry);
    entry->key = clean(key);
    sy_map_add(&table->entries, &entry->link, &entry->key, sizeof(entry->key));
    table->bytes += AG_JOURNAL_RECORD_BYTES;
    return entry;
}

void ag_journal_table_running(struct ag_journal_table *table, const struct ag_attempt_key *key)
{
    entry_get(table, key);
}

void ag_journal_table_outcome(struct ag_journal_table *table, const struct ag_attempt_key *key,
                              struct sy_span outcome)
{
    struct ag_journal_entry *entry = entry_get(table, key);
    if (entry->ended)
        return;
    entry->ended = true;
    sy_buf_reserve(&entry->outcome, outcome.len);
    sy_buf_append(&entry->outcome, outcome.data, outcome.len);
    table->bytes += outcome.len;
}

void ag_journal_table_forget(struct ag_journal_table *table, const struct ag_attempt_key *key)
{
    struct ag_journal_entry *entry = entry_find(table, key);
    if (entry == NULL)
        return;
    sy_map_remove(&table->entries, &entry->link);
    table->bytes -= AG_JOURNAL_RECORD_BYTES + entry->outcome.len;
    sy_buf_deinit(&entry->outcome);
    free(entry);
}

void ag_journal_table_process(struct ag_journal_table *table, pid_t pid, uint64_t start_time)
{
    struct ag_journal_process *process = sy_map_entry(
        sy_map_find(&table->processes, &pid, sizeof(pid)), struct ag_journal_process, link);
    if (process == NULL && start_time != 0) {
        process = sy_new(struct ag_journal_process);
        process->pid = pid;
        sy_map_add(&table->processes, &process->link, &process->pid, sizeof(process->pid));
        table->bytes += AG_JOURNAL_RECORD_BYTES;
    }
    if (process == NULL)
        return;
    process->start_time = start_time;
    if (start_time == 0) {
        sy_map_remove(&table->processes, &process->link);
        table->bytes -= AG_JOURNAL_RECORD_BYTES;
        free(process);
    }
}

void ag_journal_table_replay(const struct ag_journal_table *table,
                             const struct ag_journal_visitor *visitor)
{
    SY_MAP_EACH(&table->entries, at, next)
    {
        struct ag_journal_entry *entry = sy_map_entry(at, struct ag_journal_entry, link);
        if (entry->ended && visitor->on_outcome != NULL)
            visitor->on_outcome(visitor->ctx, &entry->key, sy_buf_span(&entry->outcome));
        else if (!entry->ended && visitor->on_running != NULL)
            visitor->on_running(visitor->ctx, &entry->key);
    }
    SY_MAP_EACH(&table->processes, at, next)
    {
        const struct ag_journal_process *process = sy_map_entry(at, struct ag_journal_process,
                                                                link);
        if (visitor->on_process != NULL)
            visitor->on_process(visitor->ctx, process->pid, process->start_time);
    }
}

void ag_journal_table_deinit(struct ag_journal_table *table)
{
    SY_MAP_EACH(&table->entries, at, next)
    {
        struct ag_journal_entry *entry = sy_map_entry(at, struct ag_journal_entry, link);
        sy_buf_deinit(&entry->outcome);
        free(entry);
    }
    SY_MAP_EACH(&table->processes, at, next)
    {
        free(sy_map_entry(at, struct ag_journal_process, link));
    }
    sy_map_deinit(&table->entries);
    sy_map_deinit(&table->processes);
    table->bytes = 0;
}

/* ---- the adapter ---- */

struct journal_mem {
    struct ag_journal base;
    struct ag_journal_table table;
};

static void mem_replay(struct ag_journal *base, const struct ag_journal_visitor *visitor)
{
    ag_journal_table_replay(&((struct journal_mem *)base)->table, visitor);
}

static void mem_running(struct ag_journal *base, const struct ag_attempt_key *key)
{
    ag_journal_table_running(&((struct journal_mem *)base)->table, key);
}

static void mem_outcome(struct ag_journal *base, const struct ag_attempt_key *key,
                        struct sy_span outcome)
{
    ag_journal_table_outcome(&((struct journal_mem *)base)->table, key, outcome);
}

static void mem_forget(struct ag_journal *base, const struct ag_attempt_key *key)
{
    ag_journal_table_forget(&((struct journal_mem *)base)->table, key);
}

static void mem_process(struct ag_journal *base, pid_t pid, uint64_t start_time)
{
    ag_journal_table_process(&((struct journal_mem *)base)->table, pid, start_time);
}

static int mem_flush(struct ag_journal *base)
{
    (void)base;
    return 0;
}

static void mem_free(struct ag_journal *base)
{
    struct journal_mem *journal = (struct journal_mem *)base;
    ag_journal_table_deinit(&journal->table);
    free(journal);
}

static const struct ag_journal_ops mem_ops = {
    .replay = mem_replay,
    .running = mem_running,
    .outcome = mem_outcome,
    .forget = mem_forget,
    .process = mem_process,
    .flush = mem_flush,
    .free = mem_free,
};

struct ag_journal *ag_journal_mem_new(void)
{
    struct journal_mem *journal = sy_new(struct journal_mem);
    journal->base.ops = &mem_ops;
    return &journal->base;
}

void ag_journal_free(struct ag_journal *journal)
{
    if (journal != NULL)
        journal->ops->free(journal);
}
