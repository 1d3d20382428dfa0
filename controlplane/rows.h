/*
 * Keys and rows of a partition's store (formats: proto/switchyard/internal/store.proto).
 *
 * Keys are built on the stack; rows of which there are millions are encoded by hand into a buffer
 * of the caller, all others through protobuf-c. Rows that are read come into an arena.
 */
#pragma once

#include "base/arena.h"
#include "controlplane/encode.h"
#include "controlplane/standby.h"
#include "controlplane/store.h"
#include "scheduler/partition.h"

#include "switchyard/internal/store.pb-c.h"

#define CP_ERROR_MESSAGE_MAX 4096 /* bytes of an error message that are stored */

/* ---- keys ---- */

struct cp_key {
    size_t len;
    uint8_t data[3 * SCH_NAME_MAX + 8];
};
static inline struct sy_span cp_key_span(const struct cp_key *key)
{
    return (struct sy_span){key->data, key->len};
}

#define CP_FORMAT 1 /* of all rows, in Meta */

struct cp_key cp_key_meta(void);
struct cp_key cp_key_cluster(const char *name); /* "" : where they begin */
struct cp_key cp_key_run(uint64_t run_id);
struct cp_key cp_key_run_name(const char *project, const char *domain, const char *name);
struct cp_key cp_key_action(uint64_t run_id, const char *name);
struct cp_key cp_key_event(uint64_t run_id, uint64_t sequence);
struct cp_key cp_key_attempt(uint64_t run_id, uint64_t action_id, uint64_t attempt);
/* "" for project and domain: of any. */
struct cp_key cp_key_cache(const char *project, const char *domain, struct sy_span key);
struct cp_key cp_key_child(uint64_t run_id, uint64_t parent_id, uint64_t sequence);

/* The name at the end of an action's key, as a string in *ret. False: not such a key. */
bool cp_key_action_name(struct sy_span key, uint64_t *ret_run_id, char ret_name[SCH_NAME_MAX]);

/* Adds the epochs that a store's first row names, to a log that has its end. */
void cp_row_history(const Switchyard__Internal__Store__Meta *meta, struct cp_log *log);

/* ---- rows, written ---- */

struct cp_action_row {
    uint64_t id;
    const char *parent;
    const uint8_t *spec_digest; /* 16 bytes, or NULL */
    int64_t created_ns;
    int32_t priority;
    struct sy_span input;
    const char *input_uri, *group;
    const struct sch_gang_view *gang; /* NULL: in none */
    struct sy_span flyte;
    const char *queue; /* NULL or "": the run's */
    enum sch_queue_reach queue_reach;
};
void cp_row_put_action(struct sy_buf *buf, const struct cp_action_row *row);

struct cp_error {
    const char *code; /* NULL: no error */
    const char *message;
    bool system;
};

struct cp_outcome_row {
    Switchyard__V1__Phase phase;
    uint32_t number, epoch;
    int64_t started_ns, finished_ns;
    struct sy_span output;
    const char *output_uri;
    struct cp_error error;
    const char *cluster, *node;
    uint64_t memory_peak_bytes;
    bool has_logs;
    uint32_t parent_number;
    uint32_t cache;
    const char *reused_from;
    bool recovered;
    uint32_t error_kind;                            /* internal.ErrorKind */
    int64_t granted_ns, out_ns, held_ns, waited_ns; /* of the attempt, see store.proto */
};
void cp_row_put_outcome(struct sy_buf *buf, const struct cp_outcome_row *row);

void cp_row_put_live(struct sy_buf *buf, const struct sch_action *action);

/* One more event at the end of an EventChunk. */
struct cp_event_row {
    uint64_t sequence;
    const char *action;
    Switchyard__V1__Phase phase;
    int64_t time_ns;
    uint32_t attempt;
    const char *cluster, *node;
    struct cp_error error;
    const char *parent;
    int64_t started_ns;
};
void cp_row_put_event(struct sy_buf *buf, const struct cp_event_row *row);
/* The end of an EventChunk: how many actions the run has had so far. */
void cp_row_put_event_total(struct sy_buf *buf, uint64_t actions_total);
/* One more name at the end of a ChildChunk. */
void cp_row_put_child(struct sy_buf *buf, const char *name);

/* ---- rows, read ---- */

/* Entries of a chunk are counted and skipped without being decoded. -EBADMSG: damaged. */
int cp_chunk_count(struct sy_span chunk, uint64_t *ret_entries,
                   uint64_t *ret_actions_total) SY_MUST_USE;
/* Takes the next entry off the chunk; false at the end. */
bool cp_chunk_next(struct sy_span *chunk, struct sy_span *ret_entry);

/* What an assignment needs of an ActionRow. */
int cp_row_input(struct sy_span row, struct sy_span *ret_input,
                 struct sy_span *ret_uri) SY_MUST_USE;

/* One field of a row, without decoding the rest: empty, or 0, when it is not there. */
struct sy_span cp_row_bytes(struct sy_span row, uint32_t field);
uint64_t cp_row_uint(struct sy_span row, uint32_t field);

/* An OutcomeRow as a field of switchyard.v1.WaitChildrenResponse: ChildOutcome. */
int cp_row_put_child_outcome(struct sy_buf *buf, struct sy_span name,
                             struct sy_span row) SY_MUST_USE;

/* Decodes a row into the arena. NULL: damaged, or the arena is full. */
void *cp_row_unpack(const ProtobufCMessageDescriptor *type, struct sy_arena *arena,
                    struct sy_span row);
#define CP_UNPACK(Type, descriptor, arena, span)                                                   \
    ((Type *)cp_row_unpack(&(descriptor), (arena), (span)))
/* Appends a packed message. */
void cp_row_pack(struct sy_buf *buf, const ProtobufCMessage *message);

/* Reads and decodes one row: 0, CP_STORE_E_NOT_FOUND, -EBADMSG, -EIO. `scratch` holds the bytes. */
int cp_row_get(struct cp_store *store, enum cp_family family, const struct cp_key *key,
               const ProtobufCMessageDescriptor *type, struct sy_arena *arena,
               struct sy_buf *scratch, void *ret_message) SY_MUST_USE;

/* ---- phases ---- */

bool cp_phase_final(Switchyard__V1__Phase phase);
Switchyard__V1__Phase cp_phase_of(enum sch_action_state state, uint32_t number);
