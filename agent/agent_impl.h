/*
 * What the files of the agent share. Nobody else includes this header.
 *
 *     agent.c         set-up, turns, stop
 *     agent_stream.c  the stream to the operator: dialling, hello, packing
 *     agent_receive.c what the operator says
 *     agent_admit.c   waiting attempts, and which of them run
 *     agent_proof.c   attempts that run only while there is proof that they are heard of
 *     agent_report.c  what the executor says: starts, results, outcomes
 *     agent_relay.c   calls of tasks, reading of logs
 *     attempt.c       the life of an attempt, and the tables that find it
 */
#pragma once

#include "agent/agent.h"
#include "agent/events.h"
#include "agent/journal.h"
#include "agent/logs.h"
#include "agent/objects.h"
#include "agent/operators.h"
#include "agent/room.h"
#include "agent/spec.h"
#include "base/arena.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/sm.h"
#include "scheduler/share.h"

#include <protobuf-c/protobuf-c.h>

#define AG_ATTEMPTS_MAX 65536   /* held unfinished; beyond: returned */
#define AG_CALLS_EACH_MAX 16    /* of one attempt, unanswered */
#define AG_ATTEMPT_KEY_BYTES 20 /* of struct ag_attempt_key, without its padding */

/* A task's definition, as sent on this stream or an earlier one. */
struct ag_spec_entry {
    struct {
        uint32_t partition, epoch, id;
    } key;
    struct sy_map_link link;
    uint32_t refs; /* the table's, and one for each attempt */
    bool valid;
    struct ag_spec spec;
    struct ag_class *class;
    struct sy_error_text error; /* why it is not valid */
};

struct ag_attempt_list {
    struct ag_attempt *first, *last;
};

/* Attempts with the same request. */
struct ag_class {
    struct ag_class *next;
    struct sch_resources request;
    uint32_t uses;  /* bits of room.h */
    uint32_t users; /* specs and attempts that name it */
    struct ag_attempt_list waiting;
    uint32_t charged;   /* run, or are started, with room of their own */
    uint32_t pipelined; /* are handed over behind those */
    bool blocked;       /* in this pass */
};

/*
 *   FETCHING --> WAITING --> RUNNING --> UPLOADING --> DONE (outcome kept until acknowledged) -->
 * gone | |          | ^         |                       ^
 *      | |          v |         |                       |
 *      | +------> PROVING (that it is heard of; of some only) as WAITING
 *      +------------+-----------+-----------------------+   cancelled, refused, ended
 *      |            |
 *      +------------+--> RETURNED (told to the operator) --> gone
 */
enum ag_attempt_state {
    AG_ATTEMPT_FETCHING,
    AG_ATTEMPT_PROVING,
    AG_ATTEMPT_WAITING,
    AG_ATTEMPT_RUNNING,
    AG_ATTEMPT_UPLOADING,
    AG_ATTEMPT_DONE,
    AG_ATTEMPT_RETURNED,
    AG_ATTEMPT_STATES,
};
extern const struct sm_table ag_attempt_table;

struct ag_attempt {
    struct ag_agent *agent;
    struct ag_attempt_key key;
    uint64_t id; /* the executor's name for it; 0: of an earlier agent */
    struct sy_map_link by_key, by_id;
    struct sm sm;
    bool pipelined, started, journaled, telling_start;
    bool cancel_asked;      /* by the operator */
    bool suspect;           /* as in the assignment */
    bool waits;             /* likewise */
    bool stop_asked;        /* by us: see agent_proof.c */
    struct ag_proof *proof; /* that it needs; NULL: none, or it is done */
    uint32_t calls;
    uint32_t class_number, queue; /* as in the assignment */
    struct sch_share_path place;  /* likewise */
    uint32_t attempt;             /* as people count: names its log */
    struct ag_spec_entry *spec;
    struct ag_class *class; /* of what it asks for: its spec, or more memory than that */
    struct ag_attempt *next, *previous;             /* waiting; or outcomes to send, or sent */
    struct ag_attempt *start_next, *start_previous; /* starts to be reported */
    int64_t arrived_ns, timeout_ns, started_ns, tell_start_ns;
    uint16_t *devices;
    struct ag_log *log;
    struct ag_object_transfer *transfer; /* of input or output, under way */
    char *input_path;                    /* pinned in the object cache */
    struct sy_span input;                /* of a Flyte action: the URI of its inputs.pb */
    struct ag_gang *gang;                /* NULL: in none; its texts lie behind it */
    bool of_flyte;
    struct sy_buf flyte; /* FlyteContext, packed */
    const char *run, *name;
    struct ag_result result; /* while UPLOADING: its texts are owned */
    struct sy_buf outcome;   /* packed; DONE */
    bool outcome_queued;     /* in the list to send, not in that of the sent */
    char text[];             /* run, name, input */
};

struct ag_call {
    uint64_t number; /* ours, towards the operator */
    uint64_t attempt_id, worker_call;
    struct sy_map_link link;
};

struct ag_epoch {
    uint32_t partition, epoch;
    struct sy_map_link link;
};

enum ag_link_state { AG_LINK_DOWN, AG_LINK_GREETING, AG_LINK_UP };

struct ag_agent {
    struct ag_agent_ports ports;
    char *node, *boot_id, *address;
    struct sy_bearer bearer; /* borrowed */
    char session[17];
    size_t inline_bytes_max;
    int64_t started_report_delay_ns;
    struct ag_room room;
    const char *const *const *slice_names; /* by profile, of room.devices */
    struct sy_rng rng;
    struct sy_arena arena;
    struct sy_turn_end turn_end;

    struct sy_map by_key, by_id; /* ag_attempt; by_id: unfinished ones */
    uint64_t next_id;
    uint32_t unfinished; /* FETCHING to UPLOADING */
    struct ag_class *classes;
    struct sy_map specs, epochs;
    bool admit_due;
    struct sy_timer admit_timer; /* the end of a phase of one that waits */

    struct ag_attempt_list to_send, sent; /* DONE */
    struct ag_attempt_list starts;        /* reported when they still run later */
    struct sy_timer start_timer;
    struct sy_map proofs; /* ag_proof */
    struct sy_timer proof_timer;
    struct sy_map calls;
    uint64_t next_call; /* over all streams, from a random one on: late replies match nothing */

    /* the stream */
    struct ag_operators *operators;
    struct sy_call *call;
    enum ag_link_state link;
    bool link_leaves;           /* lost in the next turn */
    struct sy_timer link_timer; /* dial again; or heartbeat and silence */
    int64_t backoff_ns, heartbeat_ns, lease_ns, heard_ns, sent_ns;
    int64_t parted_ns; /* when the stream was lost that was up last; before: our start */
    struct sy_buf out_started, out_returned, out_calls, out_chunks, out_probes; /* encoded fields */
    struct sy_buf unsent; /* a message that the transport did not take */

    /* stopping */
    bool stopping, stopped, cancelled_rest;
    struct sy_timer stop_timer;
    int64_t stop_cancel_ns, stop_end_ns;
    sy_fn stop_done;
    void *stop_ctx;
};

/* ---- attempt.c ---- */

void ag_list_append(struct ag_attempt_list *list, struct ag_attempt *attempt);
void ag_list_remove(struct ag_attempt_list *list, struct ag_attempt *attempt);
struct ag_attempt *ag_attempt_find(struct ag_agent *agent, const struct ag_attempt_key *key);
struct ag_attempt *ag_attempt_find_id(struct ag_agent *agent, uint64_t id);
/* In the tables, in `state`; `run` and `name` may be "". */
struct ag_attempt *ag_attempt_new(struct ag_agent *agent, const struct ag_attempt_key *key,
                                  enum ag_attempt_state state, const char *run, const char *name,
                                  struct sy_span input);
void ag_attempt_move(struct ag_agent *agent, struct ag_attempt *attempt,
                     enum ag_attempt_state state);
/* What it needed to run; its outcome stays. */
void ag_attempt_release(struct ag_agent *agent, struct ag_attempt *attempt);
void ag_attempt_free(struct ag_agent *agent, struct ag_attempt *attempt);
/* The attempt asks for what its spec says; for `memory_bytes` in place of the spec's when it is not
 * 0. False: this node can never hold it; *ret_why says so. */
bool ag_attempt_ask(struct ag_agent *agent, struct ag_attempt *a, uint64_t memory_bytes,
                    struct sy_error_text *ret_why);
struct ag_spec_entry *ag_spec_find(struct ag_agent *agent, uint32_t partition, uint32_t epoch,
                                   uint32_t id);
void ag_spec_add(struct ag_agent *agent, uint32_t partition, uint32_t epoch, uint32_t id,
                 struct sy_span bytes);
void ag_spec_drop(struct ag_agent *agent, struct ag_spec_entry *entry);
void ag_spec_unref(struct ag_spec_entry *entry);

/* ---- agent_admit.c ---- */

void ag_admit_enqueue(struct ag_agent *agent, struct ag_attempt *attempt);
void ag_admit_withdraw(struct ag_agent *agent, struct ag_attempt *attempt);
void ag_admit_timer(void *agent);
/* Starts what fits. */
void ag_admit(struct ag_agent *agent);
/* A result: its room goes to a pipelined one of the class, or is free. */
void ag_admit_ended(struct ag_agent *agent, struct ag_attempt *attempt);

/* ---- agent_proof.c ---- */

typedef struct Switchyard__Internal__AttemptProbe ag_pb_probe;
void ag_proofs_init(struct ag_agent *agent);
/* After its attempts. */
void ag_proofs_deinit(struct ag_agent *agent);
/* It runs only with proof: one is asked for. */
void ag_proof_need(struct ag_agent *agent, struct ag_attempt *attempt);
/* Not any more. */
void ag_proof_release(struct ag_attempt *attempt);
/* Before each move. */
void ag_proof_moves(const struct ag_attempt *attempt, enum ag_attempt_state to);
/* It has all it needs but proof, and maybe that: WAITING or PROVING. */
void ag_proof_admit(struct ag_agent *agent, struct ag_attempt *attempt);
/* Asks for those of attempts that are here and that were not asked for so long. */
void ag_proofs_ask(struct ag_agent *agent, int64_t older_than_ns);
void ag_proof_came(struct ag_agent *agent, const ag_pb_probe *msg);
/* Stops what has none: when it is time, and in each turn before anything starts, as we may have
 * stood still. */
void ag_proofs_look(struct ag_agent *agent);

/* ---- agent_report.c ---- */

extern const struct ag_executor_events ag_report_events;
/* The outcome, from now on kept until it is acknowledged. */
void ag_report_outcome(struct ag_agent *agent, struct ag_attempt *attempt,
                       const struct ag_result *result, const char *output_uri);
void ag_report_simple(struct ag_agent *agent, struct ag_attempt *attempt, enum ag_result_kind kind,
                      const char *code, const char *message);
void ag_report_start_timer(void *agent);
void ag_report_no_start(struct ag_agent *agent, struct ag_attempt *attempt);
/* Appends an Outcome of an attempt that an earlier agent ran, alone or not. */
void ag_report_left_over(struct ag_agent *agent, const struct ag_attempt_key *key, bool alone);
void ag_report_kept(struct ag_agent *agent, const struct ag_attempt_key *key,
                    struct sy_span outcome);

/* ---- agent_stream.c ---- */

typedef struct Switchyard__Internal__NodeWelcome ag_pb_welcome;
/* `targets`: NULL-terminated. */
void ag_stream_init(struct ag_agent *agent, const char *const *targets);
void ag_stream_welcome(struct ag_agent *agent, const ag_pb_welcome *welcome);
void ag_stream_close(struct ag_agent *agent);
void ag_stream_deinit(struct ag_agent *agent);
/* Packs and sends what waits, as far as the transport takes it. */
void ag_stream_send(struct ag_agent *agent);
bool ag_stream_idle(const struct ag_agent *agent);
/* Appends a field of AgentMessage. */
void ag_put_message(struct sy_buf *buf, unsigned field, const ProtobufCMessage *message);
void ag_put_bytes(struct sy_buf *buf, unsigned field, struct sy_span bytes);
void ag_stream_return(struct ag_agent *agent, const struct ag_attempt_key *key, const char *reason);

/* ---- agent.c ---- */

/* Gives back all that has not started. */
void ag_agent_return_waiting(struct ag_agent *agent, const char *reason);

/* ---- agent_receive.c ---- */

void ag_receive(struct ag_agent *agent, struct sy_span message);

/* ---- agent_relay.c ---- */

void ag_relay_call(void *agent, uint64_t id, uint64_t call, const char *method,
                   struct sy_span body);
/* A reply to a call that was answered before, or to one of another agent, is dropped. */
void ag_relay_reply(struct ag_agent *agent, const struct ag_attempt_key *key, uint64_t number,
                    uint32_t code, const char *message, struct sy_span body);
/* The stream is lost: every call is answered UNAVAILABLE, nobody waits for logs. */
void ag_relay_lost(struct ag_agent *agent);
void ag_relay_forget(struct ag_agent *agent, struct ag_attempt *attempt);
void ag_relay_log_read(struct ag_agent *agent, const struct ag_log_read *read);
void ag_relay_log(void *agent, uint64_t id, uint32_t stream, struct sy_span data);
void ag_relay_chunk(void *agent, const struct ag_log_chunk *chunk);
