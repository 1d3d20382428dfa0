/*
 * What the shard's own files share: lanes, requests, streams, and the tables of methods. Nobody
 * outside shard.c, request.c, gather.c and api_*.c includes this header.
 *
 * A lane is what the shard keeps on one partition's loop. Lane 0, or a lane without a partition, is
 * also the front: all handlers start there. A request is decoded once, finds its partition by
 * (project, domain, run), and goes on in that partition's lane: directly when both lie on one loop,
 * else by a hand-over. So with one shard and one partition nothing ever hops.
 *
 *     call --> handler (front) --> decode, address --> [hand-over] --> serve (owner lane) --> reply
 *
 * Ownership. A request owns its call reference, its arena, and whatever release() frees. It lies in
 * exactly one place: the list of one lane, or the hand-overs of one lane. cp_shard_free() walks
 * both, so that a crash in the simulator leaks nothing.
 *
 * Lifetime. A unary request is gone after cp_reply() or cp_fail(). A stream, or a long poll, lives
 * until its call has closed; after cp_stream_end() its pump is not called any more.
 */
#pragma once

#include "base/arena.h"
#include "base/rng.h"
#include "base/rpc.h"
#include "controlplane/filter.h"
#include "controlplane/flyte.h"
#include "controlplane/forward.h"
#include "controlplane/partition.h"
#include "controlplane/rows.h"
#include "controlplane/shard.h"
#include "controlplane/task_names.h"

#include "flyteidl2/common/identifier.pb-c.h"
#include "switchyard/v1/common.pb-c.h"

#include <pthread.h>
#include <stdbool.h>

/* What one stream message, and all messages of one pump, hold at most (about). */
#define CP_STREAM_BYTES_MAX ((size_t)256 * 1024)
/* What a stream may hold that its peer has not taken; far above what a pump sends at once. */
#define CP_SEND_BUFFER_MAX ((size_t)1024 * 1024)
/* Rows are read in chunks of this many, so that a page of large inputs never lies in memory. */
#define CP_CHUNK_ROWS 32
#define CP_TEXT_MAX 4096

struct cp_lane;
struct cp_request;

/* ---- hand-overs ---- */

/* Embedded in what goes to another lane: run() is called there. drop() is called instead, if it is
 * not NULL, when the shard is freed before. */
struct cp_post {
    struct cp_post *next;
    void (*run)(struct cp_post *post);
    void (*drop)(struct cp_post *post);
};
/* From `from`'s loop to `to`'s, in order. Runs in a later turn, also when both have the same loop.
 */
void cp_lane_post(struct cp_lane *from, struct cp_lane *to, struct cp_post *post);

struct cp_lane {
    struct cp_shard *shard;
    struct sy_loop *loop;
    struct cp_partition *partition;
    struct sy_rng rng; /* the partition's */
    uint32_t index;
    struct cp_request *requests; /* in progress here */
    struct cp_request *spare;    /* with warm arenas */
    uint32_t spare_count;
    struct sy_arena scratch; /* for one turn: rows that are read and mapped */
    struct sy_buf buf;       /* for one turn: serialized parts */
    struct cp_task_names_cache names;
    struct sy_timer take_timer; /* hand-overs from the same loop */
    struct cp_serving {         /* tells the front when the partition begins or ceases to serve */
        struct sy_timer timer;
        struct cp_post post; /* there and back */
        bool now, told;
        bool heard; /* by the front */
    } serving;
    struct cp_owned { /* in a region of several shards: shard_region.c */
        struct cp_post open, give, lose, opened, closed, stalled, fork, forked;
        uint32_t epoch;              /* the front's: under which it is to be opened */
        struct cp_partition_lot lot; /* with `open` */
        bool wanted, answered;  /* the front's: it is to be open; `opened` has come since then */
        bool has;               /* the front's: it is open, or is to be, and has not been lost */
        _Atomic uint32_t looks; /* the lane's: so often it has looked; it turns */
        uint32_t looks_seen, unheard; /* the front's: at its last look; looks of its own without */
        int64_t stand_ns_max;         /* the front's: it may stand still so long */
        bool stands;                  /* the front's: that it stands longer was said */
        uint32_t seen;                /* with `closed`: the greatest epoch of its store */
        bool held, told, giving;      /* the lane's: by this shard; so much was told; it is to go */
        bool taking;                  /* the lane's: what follows it here is closed first */
        bool stalling;                /* the lane's: `stalled` is under way, there and back */
        /* The lane's: why it could not be split when it was to go; "": it could. */
        struct sy_error_text no_split;
        struct cp_forked_copies made;         /* with `forked` */
        struct sy_error_text why, trouble;    /* with `opened`: it could not be; the front's copy */
        _Atomic(struct sy_channel *) channel; /* to who has it; NULL: nobody that is known */
        struct sy_channel *carrier;           /* the front's: the same, for what it passes on */
    } owned;
    struct cp_forwards *forwards;  /* of calls that came when it had just been given */
    struct cp_copying *copying;    /* standby_impl.h; NULL: not with local storage */
    struct cp_queue_sync *sync;    /* tells and hears the queues of the other partitions */
    _Atomic size_t arriving_bytes; /* of what other shards tell it: api_peers.c */

    pthread_mutex_t mutex;
    struct cp_post *inbound, **inbound_tail;
};

void cp_lane_init(struct cp_lane *lane, struct cp_shard *shard, uint32_t index,
                  struct sy_loop *loop);
/* Before any lane's cp_lane_deinit(): forgets the hand-overs, which may belong to other lanes'
 * requests. */
void cp_lane_drop(struct cp_lane *lane);
/* Before its partition is freed: requests hold watches. */
void cp_lane_deinit(struct cp_lane *lane);

struct cp_binding {
    struct cp_shard *shard;
    const struct cp_method *method;
};

struct cp_shard {
    struct cp_shard_options options;
    char *name, *region, *listen, *endpoint;
    struct sy_log *log;
    struct sy_server *server;
    struct cp_console *console; /* NULL: none */
    struct cp_backups *backups; /* NULL: no place for them */
    struct pb_health *health;
    struct cp_binding *bindings;
    size_t binding_count;
    struct cp_ranges_now ranges; /* of the region's partitions */
    struct cp_lane *lanes;       /* one for each partition that may be, then perhaps the front's */
    uint32_t room;               /* partitions that may be, after splits */
    struct cp_lane *front;       /* the first, or a lane of its own, which has no partition */
    uint32_t lane_count;
    struct sy_rng rng; /* front only */

    struct cp_runs_watch *runs_watches;     /* front only */
    struct cp_groups_watch *groups_watches; /* front only */
    struct cp_described *followers;         /* front only */
    struct cp_follow *followed;             /* front only: parts of those watches */
    struct sy_rpc *rpc;
    struct sy_timer lanes_look;              /* whether they turn */
    struct cp_region *in_region;             /* NULL: all partitions are ours */
    struct cp_cluster_rolls *rolls;          /* front only */
    struct cp_cluster_write *cluster_writes; /* front only: in flight */
    struct cp_forwards *forwards;
    struct cp_peer *peers;                  /* front only: shards of the map, and this one */
    int64_t peers_revision;                 /* of that map */
    struct cp_region_watch *region_watches; /* front only */
    struct cp_map_told {                    /* front only: what WatchRegionMap tells */
        struct sy_buf message;
        uint64_t version; /* 0: none yet */
        bool stale;       /* it may be another by now */
    } map_told;
    const struct sy_channel *self;     /* among these; to what is ours */
    struct cp_token_peer *token_peers; /* front only */
    bool announced, stopping, drained, freeing;
    sy_fn on_serving;
    void *serving_ctx;
    void (*on_misfit)(void *ctx, const char *why);
    void *misfit_ctx;
    uint32_t lanes_running; /* while stopping */
    int64_t grace_ns;       /* while stopping */
    struct sy_timer linger; /* the same */
    struct cp_stop *stops;  /* one for each lane, while stopping */
    sy_fn on_stopped;
    void *stopped_ctx;
};

static inline struct cp_lane *cp_front(struct cp_shard *shard)
{
    return shard->front;
}

/* ---- methods ---- */

struct cp_method {
    const char *path;
    const ProtobufCMessageDescriptor *request;
    /* Fills req->address from req->message and checks its names: 0, or -EINVAL with a sentence.
     * NULL, or address.run left NULL: served on the front lane. */
    int (*address)(struct cp_request *req, struct sy_error_text *error);
    void (*serve)(struct cp_request *req);
    /* Instead of the three above: answers UNIMPLEMENTED with this sentence. */
    const char *unimplemented;
    enum sy_method_kind kind;
    /* The metadata may name the run, so that the message is decoded by its owner. */
    bool routable;
    /* Without an address: any partition can answer it, so one that is served here does. */
    bool anywhere;
    /* Over all partitions, or about another than its own: other shards may ask for one's part. */
    bool parts;
};

/* One table for each service file; each ends with a path of NULL. */
extern const struct cp_method cp_control_methods[];
extern const struct cp_method cp_run_methods[];
extern const struct cp_method cp_list_methods[];
extern const struct cp_method cp_watch_methods[];
extern const struct cp_method cp_actions_methods[];
extern const struct cp_method cp_cluster_methods[];
extern const struct cp_method cp_clusters_methods[];
extern const struct cp_method cp_leads_methods[];
extern const struct cp_method cp_native_methods[];
extern const struct cp_method cp_signal_methods[];
extern const struct cp_method cp_region_methods[];
extern const struct cp_method cp_region_map_methods[];
extern const struct cp_method cp_shards_methods[];
extern const struct cp_method cp_task_methods[];
extern const struct cp_method cp_trigger_methods[];
extern const struct cp_method cp_project_methods[];
extern const struct cp_method cp_queue_methods[];
extern const struct cp_method cp_explain_methods[];
extern const struct cp_method cp_backup_methods[];

/* In shard_region.c: which partitions are ours, and calls for the others. */
void cp_shard_region_init(struct cp_shard *shard, struct sy_loop *loop,
                          const struct cp_region_options *options);
void cp_shard_region_deinit(struct cp_shard *shard);
void cp_shard_region_look(struct cp_lane *lane); /* now and then */

/* In standby_front.c: the lane's copies, with local storage. Without, the others do nothing. */
void cp_copying_new(struct cp_lane *lane, struct cp_copies *port,
                    const struct cp_store_opener *opener);
void cp_copying_free(struct cp_lane *lane); /* after its partition */
const struct cp_replication *cp_copying_replication(const struct cp_lane *lane); /* or NULL */
void cp_copying_tell(struct cp_lane *lane); /* on the front: its record may be another */
void cp_copying_serve(struct cp_shard *shard, struct sy_loop *loop);
/* In standby_follower.c: follows no more, and closes its store. True: it is closed; else `done`
 * runs when it is, if it is not NULL. */
bool cp_copying_yield(struct cp_lane *lane, sy_fn done, void *ctx);
/* In standby_fork.c: its partition was closed, as it was under that epoch, and is to be split.
 * `done` runs once, perhaps at once: what it is split into begins with these copies; or not, for
 * that reason, else "". Nothing where copies are not of its own: false. */
bool cp_copying_fork(struct cp_lane *lane, uint32_t epoch,
                     void (*done)(struct cp_lane *lane, const struct cp_forked_copies *made,
                                  const char *why));
/* On the front: what the records say of a partition that is in them. */
struct cp_partition_lot cp_shard_lot(const struct cp_shard *shard, uint32_t partition);
/* A cp_route_fn, with the shard: who has the partition, we among them. On any thread. */
struct sy_channel *cp_shard_route(void *shard, uint32_t partition);
/* On the front: to another shard. Lives until that one has left the region, and everything that
 * found it here in the same turn of its loop has run. */
struct sy_channel *cp_shard_channel(struct cp_shard *shard, const char *endpoint);
/* It is this shard's, as far as is known. On any thread. */
bool cp_shard_has(const struct cp_shard *shard, uint32_t partition);
/* On the front: the partition serves here, as far as is known. */
bool cp_shard_serves(const struct cp_shard *shard, uint32_t partition);
/* On the front: one that serves here; else one that another shard has; else any. */
uint32_t cp_shard_any(const struct cp_shard *shard);

/* In shard.c: the lane looks at its partition in the next turn. */
void cp_shard_look_soon(struct cp_lane *lane);
void cp_shard_changed(void *shard);

/* In cluster_rolls.c: what is left of them when the shard is freed. */
void cp_cluster_writes_free(struct cp_shard *shard);

/* In describe.c: what it tells may be another. */
void cp_describe_changed(struct cp_shard *shard);
void cp_describe_end(struct cp_shard *shard); /* nothing more will be */

/* In queue_sync.c. What one partition is at home in, all know. When one begins to serve it tells
 * the others what it is at home in, and hears the same of them; later each change is copied. */
void cp_queue_sync_init(struct cp_lane *lane);
/* Begins when the partition has been opened since the last time, and goes on where it must. Call it
 * now and then. */
void cp_queue_sync_look(struct cp_lane *lane);
void cp_queue_sync_deinit(struct cp_lane *lane);
/* In the queue's home, when a change of it is durable: copies it to all others, then calls `done`
 * in the same lane. Fails the request when one of them has not taken it for CP_ASK_WAIT_NS; it is
 * told all the same once it can be. */
void cp_queue_sync_change(struct cp_request *req, const struct sch_queue_key *key, sy_fn done,
                          void *ctx);

/* In api_region_map.c: a request on the front that waits for what happens in the region: its pump
 * runs then, too. It is what the request's state begins with; zeroed. */
struct cp_region_watch {
    struct cp_region_watch *next, **prev; /* in shard->region_watches */
    struct cp_request *req;
};
void cp_region_watch_start(struct cp_request *req, struct cp_region_watch *watch,
                           void (*pump)(struct cp_request *req),
                           void (*release)(struct cp_request *req));
void cp_region_watch_end(struct cp_region_watch *watch); /* in release() */
void cp_region_watches_look(struct cp_shard *shard);

/* In queue_tokens.c: what its partition says of limits goes to the others. */
void cp_queue_tokens_init(struct cp_lane *lane);
void cp_tokens_free(struct cp_shard *shard);
/* On the front: whoever is behind that channel has left the region. */
void cp_tokens_forget(struct cp_shard *shard, const struct sy_channel *channel);
#define CP_TAKE_TOKENS "/switchyard.internal.Partitions/TakeTokens"
void cp_tokens_arrive(void *shard, struct sy_call *call, struct sy_span bytes);

/* In api_peers.c: adds switchyard.internal.Partitions to the server, its handlers on the front. */
void cp_peers_serve(struct cp_shard *shard, struct sy_loop *loop);

/* In api_watch_runs.c: WatchRuns, and what is left of it when the shard is freed. */
void cp_runs_watch_serve(struct cp_request *req);
void cp_runs_watches_free(struct cp_shard *shard);
void cp_runs_watches_look(struct cp_shard *shard); /* a partition was split */
void cp_groups_watches_look(struct cp_shard *shard);
/* In api_watch_groups.c: the same for WatchGroups. */
void cp_groups_watch_serve(struct cp_request *req);
void cp_groups_watches_free(struct cp_shard *shard);

/* In api_tasks.c. */
int cp_task_name_check(const char *org, const char *project, const char *domain, const char *name,
                       struct sy_error_text *error) SY_MUST_USE;
int cp_task_id_check(const Flyteidl2__Task__TaskIdentifier *id,
                     struct sy_error_text *error) SY_MUST_USE;

/* In api_resolve.c: a CreateRun that names a deployed task or a trigger. True: the request waits,
 * and again() runs when its message holds the spec; or it has failed. */
bool cp_task_resolve(struct cp_request *req, void (*again)(struct cp_request *req));

void cp_method_handle(void *binding, struct sy_call *call, struct sy_span bytes);

/* ---- requests ---- */

/* What a request is about; borrowed from its message. */
struct cp_address {
    const char *org; /* echoed, never stored; "" = none */
    const char *project, *domain, *run;
    const char *action; /* NULL when it is about the run */
    const char *task;   /* not NULL: about this task of the registry, or its triggers; or "": about
                           a queue of the project and domain */
};

struct cp_request {
    struct cp_request *prev, *next; /* in lane->requests */
    struct cp_lane *lane;
    const struct cp_method *method;
    struct sy_call *call;
    struct sy_arena arena;
    const void *message;  /* decoded, in the arena */
    struct sy_span bytes; /* not decoded yet: a copy in the arena */
    struct cp_address address;
    struct cp_post post;

    /* streams and long polls */
    void (*pump)(struct cp_request *req);
    void (*release)(struct cp_request *req);
    void *state;
    struct sy_timer timer;
    bool streaming, finished;
    bool hashed; /* it is about what has this hash */
    uint64_t hash;
    bool of_part; /* another shard asks for what this lane's partition has to say: see gather */
};

/* In shard_region.c. True: the call is for another shard, or for a time when we shall serve, and
 * was taken. `hash`: of what it is about, which may lie in another partition by then; NULL: it is
 * about the partition. */
bool cp_shard_forward(struct cp_shard *shard, struct sy_call *call, uint32_t partition,
                      const uint64_t *hash, const struct cp_address *about, bool stream,
                      struct sy_span request);
/* Of a stream over all partitions: the one that another shard asks for, or CP_PART_ALL. False: the
 * partition is not here, and who asks was told. (What is unary is in its lane: of_part.) */
#define CP_PART_ALL UINT32_MAX
bool cp_part_of_call(struct cp_request *req, uint32_t *ret_part);
/* CP_PART_KEY for a part, of as many as there are: "3", "3/7". */
#define CP_PART_TEXT_SIZE 24
void cp_part_text(char ret[CP_PART_TEXT_SIZE], const struct cp_shard *shard, uint32_t part);

/* In a lane: the partition has gone, or was split, while a call was on its way from the front, or
 * is going. Then cp_lane_forward() takes a unary call for where it is. */
bool cp_lane_gone(const struct cp_lane *lane);
void cp_lane_forward(struct cp_lane *lane, struct sy_call *call, const uint64_t *hash,
                     const struct cp_address *about, struct sy_span request);

/* On the front: the request is for the shard behind that channel, which answers it. */
void cp_request_forward_to(struct cp_request *req, struct sy_channel *channel);

/* The end of a request. cp_reply() takes the bytes; cp_reply_message() packs them. */
void cp_reply(struct cp_request *req, struct sy_buf *response);
void cp_reply_message(struct cp_request *req, const ProtobufCMessage *response);
void cp_fail(struct cp_request *req, enum sy_code code, const char *format, ...) SY_PRINTF(3, 4);
void cp_fail_status(struct cp_request *req, const struct sy_status *status);
/* The answer to another shard: this one does not have the lane's partition. */
void cp_refuse(struct cp_request *req);
/* UNAVAILABLE, with the reason of the lane's partition. */
void cp_status_not_serving(struct sy_status *status, const struct cp_lane *lane);
void cp_fail_not_serving(struct cp_request *req);
/* From a read of the partition: NOT_SERVING, NOT_FOUND (what: "run", "action"), or an errno. */
void cp_fail_read(struct cp_request *req, int r);

/* A cp_done_fn: answers with an empty message, which is every such response's wire form. */
void cp_done_empty(void *req, const struct sy_status *status);

/* Zeroed memory of the request's own; NULL never (small and fixed). */
void *cp_request_alloc(struct cp_request *req, size_t size);
/* The request's message is not needed any more; only for unary requests, gives large memory back.
 */
void cp_request_trim(struct cp_request *req);

/* Starts a turn's scratch memory anew. */
struct sy_arena *cp_scratch(struct cp_lane *lane);

/* ---- addresses ---- */

int cp_address_run(struct cp_request *req, const Flyteidl2__Common__RunIdentifier *id,
                   struct sy_error_text *error) SY_MUST_USE;
int cp_address_action(struct cp_request *req, const Flyteidl2__Common__ActionIdentifier *id,
                      struct sy_error_text *error) SY_MUST_USE;
int cp_address_native(struct cp_request *req, const Switchyard__V1__RunId *id,
                      struct sy_error_text *error) SY_MUST_USE;
int cp_address_org(struct cp_request *req, const char *org,
                   struct sy_error_text *error) SY_MUST_USE;

/* ---- reads, for the run and action of req->address; false: the request has failed ---- */

bool cp_view_run(struct cp_request *req, struct sy_arena *arena, struct cp_run_view *ret);
bool cp_view_action(struct cp_request *req, struct sy_arena *arena, uint64_t run_id,
                    const char *name, struct cp_action_view *ret);
/* The maker of Flyte's messages for req->address, in the lane's scratch memory (not reset here). */
struct cp_flyte cp_request_flyte(struct cp_request *req);
/* Of the view's TaskSpec; `spec` is left empty for a record. The names live until the next call. */
int cp_view_spec(struct cp_lane *lane, const struct cp_action_view *view, struct sy_buf *spec,
                 const struct cp_task_names **ret_names) SY_MUST_USE;
/* As above when only the names are wanted: reads the spec only when the cache lacks them. */
int cp_view_names(struct cp_lane *lane, const struct cp_action_view *view,
                  const struct cp_task_names **ret_names) SY_MUST_USE;

/* A run, one of its actions, and the action's spec: what "details" are made of. Rows lie in the
 * lane's scratch memory, the spec in `spec`. */
struct cp_details {
    struct cp_run_view run;
    struct cp_action_view action;
    const struct cp_task_names *names;
    struct sy_buf spec;
};
/* `name` is "a0" or an action's; false: the request has failed. */
bool cp_details_read(struct cp_request *req, const char *name, struct cp_details *ret);
/* Adds the serialized message to `buf`. */
void cp_details_pack_action(struct cp_request *req, const struct cp_details *details,
                            struct sy_buf *buf); /* Get/WatchActionDetailsResponse */
void cp_details_pack_run(struct cp_request *req, const struct cp_details *details,
                         struct sy_buf *buf); /* Get/WatchRunDetailsResponse */

/* In api_list.c: an action as filters see it. */
void cp_list_subject(struct cp_filter_subject *ret, const struct cp_action_view *view,
                     const struct cp_task_names *names);
#define CP_LIST_ACTION_FIELDS                                                                      \
    (CP_FILTER_BIT(PHASE) | CP_FILTER_BIT(NAME) | CP_FILTER_BIT(TASK_NAME) |                       \
     CP_FILTER_BIT(TASK_VERSION) | CP_FILTER_BIT(PARENT_NAME) | CP_FILTER_BIT(ACTION_TYPE) |       \
     CP_FILTER_BIT(CREATED_AT) | CP_FILTER_BIT(UPDATED_AT))
Flyteidl2__Common__EnrichedIdentity *cp_anonymous(struct sy_arena *arena);

/* ---- streams ---- */

/*
 * From now on pump(req) is called: now, when nothing waits to be sent any more, when
 * cp_stream_more(req) was called (it is a watch's on_more), and when the request's timer fires. It
 * sends only while cp_stream_ready(). release(req) runs once, before the request is freed.
 */
void cp_stream_start(struct cp_request *req, void (*pump)(struct cp_request *req),
                     void (*release)(struct cp_request *req));
void cp_stream_more(void *req);
void cp_stream_again_in(struct cp_request *req, int64_t delay_ns);
/* For a pump that may have more: it is called again when what it sent has gone, or in the next
 * turn. */
void cp_stream_go_on(struct cp_request *req);
bool cp_stream_ready(struct cp_request *req);
void cp_stream_send(struct cp_request *req, struct sy_buf *message);
void cp_stream_send_message(struct cp_request *req, const ProtobufCMessage *message);
/* Ends a stream with OK; cp_fail() ends it with an error. */
void cp_stream_end(struct cp_request *req);

/* ---- asking every partition ---- */

/*
 * A question to every partition, wherever it is. One that is here is asked in its lane; for one
 * that another shard has, the very call that came goes there, with CP_PART_KEY. There the service
 * does as ever, up to cp_gather_all(): what that lane's partition says is then packed and sent
 * back instead of finish(). So what a service does before it asks must read only, and so must
 * collect(). A partition that moves is followed, as ask.h says; one that goes away while it is
 * asked is asked again elsewhere.
 */
typedef struct Switchyard__Internal__PartReply cp_part_reply;

struct cp_gather_part {
    struct cp_post post;
    struct cp_gather *gather;
    struct cp_lane *lane;
    struct sy_arena arena; /* for the result; read by finish() in the request's lane */
    struct sy_buf buf;
    void *result;
    struct sy_status status; /* not OK: finish() is not called, the request fails with it */
    bool returning;
    struct cp_ask *ask; /* of the shard that has it */
};

struct cp_gather_kind {
    /* In the part's lane: fills result, with what lies in arena and buf, or status. Called again in
     * a later turn as long as it returns false. */
    bool (*collect)(struct cp_gather_part *part);
    /* The result for another shard; what it needs beside lies in the request's memory. */
    void (*pack)(const struct cp_gather_part *part, cp_part_reply *reply);
    /* In the part's lane, instead of collect(): from an answer that lies in the part's arena.
     * -EBADMSG: it is nonsense. */
    int (*unpack)(struct cp_gather_part *part, const cp_part_reply *reply);
    /* Not NULL: what to do with a part whose partition nobody has, or whose shard does not answer
     * within CP_GATHER_ABSENT_NS: fills the result; the status says why, and is then forgotten. */
    void (*absent)(struct cp_gather_part *part);
    /* In the request's lane, when all have: answers, or asks the next thing. */
    void (*finish)(struct cp_gather *gather);
};
#define CP_GATHER_ABSENT_NS (2 * SY_NS_PER_S)

/* Owned by its request. */
struct cp_gather {
    struct cp_request *req;
    struct cp_gather_kind kind;
    void *query;         /* read-only for collect() and unpack() */
    char *authorization; /* of the call; NULL: none */
    int64_t deadline_ns;
    const struct cp_ranges *ranges; /* NULL: it is about one partition */
    uint32_t waiting, count;
    struct cp_gather_part parts[];
};
/* Of a method with `parts`; parts[i] is of partition i. */
void cp_gather_all(struct cp_request *req, void *query, const struct cp_gather_kind *kind);
/* The same of one partition: parts[0]. */
void cp_gather_one(struct cp_request *req, void *query, const struct cp_gather_kind *kind,
                   uint32_t partition);
