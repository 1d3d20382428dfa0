/* The live content of a journal: what a new agent would be told. Shared by both adapters. */
#pragma once

#include "agent/journal.h"
#include "base/map.h"

struct ag_journal_entry {
    struct ag_attempt_key key;
    bool ended;
    struct sy_buf outcome;
    struct sy_map_link link;
};

struct ag_journal_process {
    pid_t pid;
    uint64_t start_time;
    struct sy_map_link link;
};

struct ag_journal_table {
    struct sy_map entries, processes;
    uint64_t bytes; /* that records of all entries would take in a file */
};

#define AG_JOURNAL_RECORD_BYTES 44 /* of one without an outcome */

void ag_journal_table_running(struct ag_journal_table *table, const struct ag_attempt_key *key);
void ag_journal_table_outcome(struct ag_journal_table *table, const struct ag_attempt_key *key,
                              struct sy_span outcome);
void ag_journal_table_forget(struct ag_journal_table *table, const struct ag_attempt_key *key);
void ag_journal_table_process(struct ag_journal_table *table, pid_t pid, uint64_t start_time);
void ag_journal_table_replay(const struct ag_journal_table *table,
                             const struct ag_journal_visitor *visitor);
void ag_journal_table_deinit(struct ag_journal_table *table);
