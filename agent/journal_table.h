/* The live content of a journal: what a new agent would be told. Shared by both adapters. */
#pragma once

#include "agent/each.h"
#include "agent/journal.h"

struct ag_journal_entry {
    struct ag_attempt_key key;
    bool ended;
    struct sy_buf outcome;
    UT_hash_handle hh;
};

struct ag_journal_process {
    pid_t pid;
    uint64_t start_time;
    UT_hash_handle hh;
};

struct ag_journal_table {
    struct ag_journal_entry *entries; /* in order of adding */
    struct ag_journal_process *processes;
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
