#include "controlplane/shard_impl.h"

#include "base/mem.h"
#include "controlplane/events.h"
#include "controlplane/names.h"
#include "controlplane/registry.h"
#include "proto/pb.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a message may unpack to: structs are larger than their bytes on the wire, and a message of
 * nothing but empty sub-messages grows fiftyfold. */
#define UNPACK_FACTOR 16
#define UNPACK_BYTES_MIN ((size_t)1 << 20)
#define UNPACK_BYTES_MAX ((size_t)64 << 20)
#define SCRATCH_BYTES_MAX ((size_t)256 << 20)
#define SPARE_REQUESTS_MAX 256
#define SPARE_ARENA_BYTES_MAX ((size_t)64 << 10)

/* ---- hand-overs ---- */

static void lane_take(void *arg)
{
    struct cp_lane *lane = arg;
    pthread_mutex_lock(&lane->mutex);
    struct cp_post *post = lane->inbound;
    lane->inbound = NULL;
    lane->inbound_tail = &lane->inbound;
    pthread_mutex_unlock(&lane->mutex);
    while (post != NULL) {
        struct cp_post *next = post->next;
        post->run(post);
        post = next;
    }
}

void cp_lane_post(struct cp_lane *from, struct cp_lane *to, struct cp_post *post)
{
    SY_ASSERT(post->run != NULL);
    post->next = NULL;
    pthread_mutex_lock(&to->mutex);
    bool first = to->inbound == NULL;
    *to->inbound_tail = post;
    to->inbound_tail = &post->next;
    pthread_mutex_unlock(&to->mutex);
    if (!first)
        return;
    if (from->loop != to->loop)
        sy_loop_hand_over(from->loop, to->loop, lane_take, to);
    else
        sy_timer_start_in(to->loop, &to->take_timer, 0);
}

void cp_lane_init(struct cp_lane *lane, struct cp_shard *shard, uint32_t index,
                  struct sy_loop *loop)
{
    *lane = (struct cp_lane){.shard = shard, .index = index, .loop = loop};
    pthread_mutex_init(&lane->mutex, NULL);
    lane->inbound_tail = &lane->inbound;
    sy_arena_init(&lane->scratch, SCRATCH_BYTES_MAX);
    sy_timer_init(&lane->take_timer, lane_take, lane);
}

struct sy_arena *cp_scratch(struct cp_lane *lane)
{
    sy_arena_reset(&lane->scratch);
    return &lane->scratch;
}

/* ---- requests ---- */

static void request_timer(void *arg);
static void request_drop(struct cp_post *post);

static void link_request(struct cp_request *req, struct cp_lane *lane)
{
    req->lane = lane;
    req->prev = NULL;
    req->next = lane->requests;
    if (req->next != NULL)
        req->next->prev = req;
    lane->requests = req;
}

static void unlink_request(struct cp_request *req)
{
    if (req->prev != NULL)
        req->prev->next = req->next;
    else
        req->lane->requests = req->next;
    if (req->next != NULL)
        req->next->prev = req->prev;
    req->prev = req->next = NULL;
}

static struct cp_request *request_new(struct cp_lane *lane, const struct cp_method *method,
                                      struct sy_call *call)
{
    struct cp_request *req = lane->spare;
    if (req != NULL) {
        lane->spare = req->next;
        lane->spare_count--;
    } else {
        req = sy_new(struct cp_request);
        sy_arena_init(&req->arena, UNPACK_BYTES_MIN);
    }
    struct sy_arena arena = req->arena;
    *req = (struct cp_request){.method = method, .call = call, .arena = arena};
    req->post.drop = request_drop;
    sy_timer_init(&req->timer, request_timer, req);
    link_request(req, lane);
    return req;
}

/* The call has been answered or is closed. */
static void request_free(struct cp_request *req)
{
    struct cp_lane *lane = req->lane;
    if (req->release != NULL)
        req->release(req);
    if (sy_timer_running(&req->timer))
        sy_timer_stop(lane->loop, &req->timer);
    if (req->call != NULL)
        sy_call_unref(req->call);
    unlink_request(req);
    if (lane->spare_count >= SPARE_REQUESTS_MAX || req->arena.used_bytes > SPARE_ARENA_BYTES_MAX) {
        sy_arena_deinit(&req->arena);
        free(req);
        return;
    }
    sy_arena_reset(&req->arena);
    req->next = lane->spare;
    lane->spare = req;
    lane->spare_count++;
}

static void request_drop(struct cp_post *post)
{
    struct cp_request *req = sy_container_of(post, struct cp_request, post);
    link_request(req, req->lane);
    request_free(req);
}

void cp_lane_drop(struct cp_lane *lane)
{
    if (sy_timer_running(&lane->take_timer))
        sy_timer_stop(lane->loop, &lane->take_timer);
    sy_loop_forget(lane->loop, lane); /* the loop still turns: see cp_loops_settle() */
    struct cp_post *post = lane->inbound;
    lane->inbound = NULL;
    while (post != NULL) {
        struct cp_post *next = post->next;
        if (post->drop != NULL)
            post->drop(post);
        post = next;
    }
}

void cp_lane_deinit(struct cp_lane *lane)
{
    SY_ASSERT(lane->inbound == NULL);
    struct cp_request *next;
    for (struct cp_request *req = lane->requests; req != NULL; req = next) {
        next = req->next;
        request_free(req);
    }
    SY_ASSERT(lane->requests == NULL);
    while (lane->spare != NULL) {
        struct cp_request *req = lane->spare;
        lane->spare = req->next;
        sy_arena_deinit(&req->arena);
        free(req);
    }
    cp_queue_sync_deinit(lane);
    cp_task_names_deinit(&lane->names);
    sy_arena_deinit(&lane->scratch);
    sy_buf_deinit(&lane->buf);
    pthread_mutex_destroy(&lane->mutex);
}

void *cp_request_alloc(struct cp_request *req, size_t size)
{
    /* Beside what the message took: it may have used up the cap. */
    if (req->arena.max_bytes - req->arena.used_bytes < size + 16)
        req->arena.max_bytes += size + 16;
    void *memory = sy_arena_alloc(&req->arena, size);
    SY_ASSERT(memory != NULL);
    return memset(memory, 0, size);
}

void cp_request_trim(struct cp_request *req)
{
    SY_ASSERT(!req->streaming);
    req->message = NULL;
    req->bytes = (struct sy_span){0};
    req->address = (struct cp_address){0};
    sy_arena_reset(&req->arena);
}

/* ---- answers ---- */

void cp_reply(struct cp_request *req, struct sy_buf *response)
{
    SY_ASSERT(!req->finished);
    req->finished = true;
    if (req->streaming) {
        sy_call_reply(sy_call_ref(req->call), response); /* on_closed follows */
        return;
    }
    sy_call_reply(sy_take(req->call), response);
    request_free(req);
}

void cp_reply_message(struct cp_request *req, const ProtobufCMessage *response)
{
    struct sy_buf buf = {0};
    pb_pack(response, &buf);
    cp_reply(req, &buf);
}

void cp_fail_status(struct cp_request *req, const struct sy_status *status)
{
    SY_ASSERT(status->code != SY_CODE_OK);
    if (req->finished)
        return;
    req->finished = true;
    sy_call_finish(req->call, status);
    if (!req->streaming)
        request_free(req);
}

void cp_fail(struct cp_request *req, enum sy_code code, const char *format, ...)
{
    struct sy_status status = {0};
    va_list args;
    va_start(args, format);
    sy_status_vset(&status, code, format, args);
    va_end(args);
    cp_fail_status(req, &status);
}

void cp_refuse(struct cp_request *req)
{
    SY_ASSERT(!req->finished && !req->streaming);
    req->finished = true;
    cp_ask_refuse(sy_take(req->call), req->lane->index, req->lane->shard->name);
    request_free(req);
}

void cp_status_not_serving(struct sy_status *status, const struct cp_lane *lane)
{
    const char *reason = cp_partition_reason(lane->partition);
    if (reason[0] != '\0')
        sy_status_set(status, SY_CODE_UNAVAILABLE, "%s; try again", reason);
    else /* it was opened again meanwhile */
        sy_status_set(status, SY_CODE_UNAVAILABLE,
                      "partition %u of shard %s stepped down; try again", lane->index,
                      lane->shard->name);
}

void cp_fail_not_serving(struct cp_request *req)
{
    struct sy_status status = {0};
    cp_status_not_serving(&status, req->lane);
    cp_fail_status(req, &status);
}

void cp_fail_read(struct cp_request *req, int r)
{
    const struct cp_address *a = &req->address;
    if (r == CP_PARTITION_E_NOT_SERVING) {
        cp_fail_not_serving(req);
    } else if (r == CP_PARTITION_E_NOT_FOUND && a->action != NULL) {
        cp_fail(req, SY_CODE_NOT_FOUND, "action '%s' of run %s/%s/%s does not exist", a->action,
                a->project, a->domain, a->run);
    } else if (r == CP_PARTITION_E_NOT_FOUND) {
        cp_fail(req, SY_CODE_NOT_FOUND, "run %s/%s/%s does not exist", a->project, a->domain,
                a->run);
    } else {
        sy_log(req->lane->shard->log, &cp_shard_events, CP_SHARD_EV_READ_FAILED,
               SY_U64("partition", req->lane->index), SY_STR("error", strerror(-r)));
        cp_fail(req, SY_CODE_INTERNAL, "reading from the store of partition %u failed: %s",
                req->lane->index, strerror(-r));
    }
}

void cp_done_empty(void *arg, const struct sy_status *status)
{
    struct cp_request *req = arg;
    struct sy_buf empty = {0};
    if (status->code == SY_CODE_OK)
        cp_reply(req, &empty);
    else
        cp_fail_status(req, status);
}

/* ---- addresses ---- */

int cp_address_org(struct cp_request *req, const char *org, struct sy_error_text *error)
{
    req->address.org = org;
    return cp_text_check("org", org, 255, error);
}

int cp_address_run(struct cp_request *req, const Flyteidl2__Common__RunIdentifier *id,
                   struct sy_error_text *error)
{
    if (id == NULL) {
        sy_error_text_set(error, "run_id: missing");
        return -EINVAL;
    }
    if (cp_address_org(req, id->org, error) < 0 ||
        cp_name_check("run_id.project", id->project, error) < 0 ||
        cp_name_check("run_id.domain", id->domain, error) < 0 ||
        cp_name_check("run_id.name", id->name, error) < 0)
        return -EINVAL;
    req->address.project = id->project;
    req->address.domain = id->domain;
    req->address.run = id->name;
    return 0;
}

int cp_address_action(struct cp_request *req, const Flyteidl2__Common__ActionIdentifier *id,
                      struct sy_error_text *error)
{
    if (id == NULL) {
        sy_error_text_set(error, "action_id: missing");
        return -EINVAL;
    }
    if (cp_address_run(req, id->run, error) < 0 ||
        cp_name_check("action_id.name", id->name, error) < 0)
        return -EINVAL;
    req->address.action = id->name;
    return 0;
}

int cp_address_native(struct cp_request *req, const Switchyard__V1__RunId *id,
                      struct sy_error_text *error)
{
    if (id == NULL) {
        sy_error_text_set(error, "run: missing");
        return -EINVAL;
    }
    if (cp_name_check("run.project", id->project, error) < 0 ||
        cp_name_check("run.domain", id->domain, error) < 0 ||
        cp_name_check("run.name", id->name, error) < 0)
        return -EINVAL;
    req->address.project = id->project;
    req->address.domain = id->domain;
    req->address.run = id->name;
    return 0;
}

/* ---- from the call to the owner ---- */

/* It is about what one partition has, and not about the region. */
static bool is_addressed(const struct cp_request *req)
{
    return req->address.task != NULL || req->address.run != NULL || req->method->anywhere;
}

/* True: the partition was given to another shard while the call was on its way to the lane, and is
 * asked for there. */
static bool has_gone(struct cp_request *req)
{
    bool split = req->hashed && cp_shard_find(req->lane->shard, req->hash) != req->lane->index;
    if (split && req->method->kind != SY_METHOD_UNARY) {
        cp_fail(req, SY_CODE_UNAVAILABLE, "partition %u was split just now; try again",
                req->lane->index);
        return true;
    }
    if (req->method->kind != SY_METHOD_UNARY || (!split && !cp_lane_gone(req->lane)))
        return false; /* whoever watches begins anew when he is told so */
    SY_CLEANUP(sy_buf_deinit) struct sy_buf packed = {0};
    if (req->bytes.data == NULL)
        pb_pack(req->message, &packed);
    cp_lane_forward(req->lane, sy_take(req->call), req->hashed ? &req->hash : NULL, &req->address,
                    req->bytes.data != NULL ? req->bytes : sy_buf_span(&packed));
    request_free(req);
    return true;
}

static void serve(struct cp_request *req)
{
    if (sy_call_deadline_ns(req->call) <= sy_loop_now_ns(req->lane->loop)) {
        cp_fail(req, SY_CODE_DEADLINE_EXCEEDED, "the deadline passed before the call was served");
        return;
    }
    if ((is_addressed(req) || req->of_part) && has_gone(req))
        return;
    req->method->serve(req); /* the partition itself says what it can do: reads go on for longer */
}

static void serve_post(struct cp_post *post)
{
    struct cp_request *req = sy_container_of(post, struct cp_request, post);
    link_request(req, req->lane);
    serve(req);
}

static void arrive(void *arg)
{
    struct cp_request *req = arg;
    cp_lane_post(req->lane, req->lane, &req->post);
}

/* Goes on with `run` (or directly with `here`) in another lane. */
static void move(struct cp_request *req, struct cp_lane *to, void (*run)(struct cp_post *),
                 void (*here)(struct cp_request *))
{
    struct cp_lane *from = req->lane;
    if (from == to) {
        here(req);
        return;
    }
    unlink_request(req);
    if (from->loop == to->loop) {
        link_request(req, to);
        here(req);
        return;
    }
    req->lane = to;
    req->post.run = run;
    sy_call_rehome(req->call, to->loop, arrive, req);
}

static bool decode(struct cp_request *req, struct sy_span bytes)
{
    const struct cp_method *method = req->method;
    size_t max = UNPACK_BYTES_MIN + bytes.len * UNPACK_FACTOR;
    if (max > UNPACK_BYTES_MAX)
        max = UNPACK_BYTES_MAX;
    req->arena.max_bytes = req->arena.used_bytes + max;
    req->message = pb_unpack(method->request, &req->arena, bytes);
    if (req->message == NULL) {
        cp_fail(req, SY_CODE_INVALID_ARGUMENT,
                "the request is not a valid %s, or holds more than %zu MiB when it is unpacked",
                method->request->name, max >> 20);
        return false;
    }
    const char *nul = pb_find_nul(method->request, bytes);
    if (nul != NULL) {
        cp_fail(req, SY_CODE_INVALID_ARGUMENT, "%s: a NUL byte is not allowed in a string", nul);
        return false;
    }
    struct sy_error_text error = {0};
    if (method->address != NULL && method->address(req, &error) < 0) {
        cp_fail(req, SY_CODE_INVALID_ARGUMENT, "%s", error.text);
        return false;
    }
    return true;
}

/* True: another shard has the partition, and gets the call as it came. */
static bool forward(struct cp_request *req, const struct cp_lane *lane, struct sy_span bytes)
{
    bool stream = req->method->kind == SY_METHOD_SERVER_STREAM;
    if (!cp_shard_forward(req->lane->shard, req->call, lane->index, req->hashed ? &req->hash : NULL,
                          &req->address, stream, bytes))
        return false;
    req->call = NULL;
    request_free(req);
    return true;
}

void cp_request_forward_to(struct cp_request *req, struct sy_channel *channel)
{
    SY_CLEANUP(sy_buf_deinit) struct sy_buf bytes = {0};
    pb_pack(req->message, &bytes);
    cp_forward_to(req->lane->shard->forwards, sy_take(req->call), channel,
                  req->method->kind == SY_METHOD_SERVER_STREAM, sy_buf_span(&bytes));
    request_free(req);
}

static bool read_digits(const char **at, uint32_t *ret)
{
    size_t digits = strspn(*at, "0123456789");
    if (digits == 0 || digits >= 8)
        return false;
    *ret = (uint32_t)strtoul(*at, NULL, 10);
    *at += digits;
    return true;
}

/* What CP_PART_KEY says; false: it is nonsense, and the request has failed. */
static bool read_part(struct cp_request *req, uint32_t *ret)
{
    const struct cp_shard *shard = req->lane->shard;
    const char *text = sy_call_metadata(req->call, CP_PART_KEY);
    uint32_t all = cp_shard_partitions(shard), of = shard->options.partitions, part = 0;
    *ret = CP_PART_ALL;
    if (text == NULL)
        return true;
    bool sound = read_digits(&text, &part);
    if (sound && *text == '/') {
        text++;
        sound = read_digits(&text, &of) && of <= shard->room;
    }
    sound = sound && *text == '\0' && part < of;
    if (sy_call_metadata(req->call, CP_FORWARDED_KEY) == NULL) {
        cp_fail(req, SY_CODE_INVALID_ARGUMENT,
                "metadata " CP_PART_KEY " is for shards, with " CP_FORWARDED_KEY);
    } else if (!req->method->parts) {
        cp_fail(req, SY_CODE_INVALID_ARGUMENT,
                "metadata " CP_PART_KEY ": %s is not asked of single partitions",
                req->method->path);
    } else if (!sound) {
        cp_fail(req, SY_CODE_INVALID_ARGUMENT,
                "metadata " CP_PART_KEY " '%.32s': expected a partition, 0 to %u",
                sy_call_metadata(req->call, CP_PART_KEY), all - 1);
    } else if (of != all) { /* one of the two does not know of a split yet */
        cp_ask_refuse(sy_take(req->call), part, shard->name);
        request_free(req);
    } else {
        *ret = part;
    }
    return *ret != CP_PART_ALL;
}

/* Where a region was never split it is the number, as older versions say it. */
void cp_part_text(char ret[CP_PART_TEXT_SIZE], const struct cp_shard *shard, uint32_t part)
{
    uint32_t all = cp_shard_partitions(shard);
    int n = all == shard->options.partitions ? snprintf(ret, CP_PART_TEXT_SIZE, "%u", part)
                                             : snprintf(ret, CP_PART_TEXT_SIZE, "%u/%u", part, all);
    SY_ASSERT(n > 0 && n < CP_PART_TEXT_SIZE);
}

bool cp_part_of_call(struct cp_request *req, uint32_t *ret_part)
{
    struct cp_shard *shard = req->lane->shard;
    if (!read_part(req, ret_part))
        return false;
    if (*ret_part == CP_PART_ALL || cp_shard_serves(shard, *ret_part))
        return true;
    cp_ask_refuse(sy_take(req->call), *ret_part, shard->name);
    request_free(req);
    return false;
}

static struct cp_lane *lane_of(struct cp_request *req, uint64_t hash)
{
    struct cp_shard *shard = req->lane->shard;
    req->hashed = true;
    req->hash = hash;
    return &shard->lanes[cp_shard_find(shard, hash)];
}

static struct cp_lane *owner(struct cp_request *req)
{
    struct cp_shard *shard = req->lane->shard;
    const struct cp_address *a = &req->address;
    req->hashed = false;
    if (a->task != NULL)
        return lane_of(req, cp_registry_hash(a->project, a->domain, a->task));
    if (a->run != NULL)
        return lane_of(req, cp_name_hash(a->project, a->domain, a->run));
    return req->method->anywhere ? &shard->lanes[cp_shard_any(shard)] : cp_front(shard);
}

/* A request that the metadata brought here, still to be decoded. */
static void decode_here(struct cp_request *req)
{
    uint64_t named = req->hash;
    if (has_gone(req) || !decode(req, req->bytes))
        return;
    (void)owner(req);
    if (!req->hashed || req->hash != named) {
        cp_fail(req, SY_CODE_INVALID_ARGUMENT,
                "the metadata names another run than the request, which is about %s/%s/%s",
                req->address.project, req->address.domain, req->address.run);
        return;
    }
    serve(req);
}

static void decode_post(struct cp_post *post)
{
    struct cp_request *req = sy_container_of(post, struct cp_request, post);
    link_request(req, req->lane);
    decode_here(req);
}

/* "project/domain/run" into three names; false when it is not that. */
static bool split_run(char *text, const char *ret[3])
{
    for (int i = 0; i < 3; i++) {
        ret[i] = text;
        char *slash = strchr(text, '/');
        if ((slash == NULL) != (i == 2))
            return false;
        if (slash != NULL) {
            *slash = '\0';
            text = slash + 1;
        }
    }
    return true;
}

/* The lane that the metadata names; NULL: none, or nonsense (the message decides then). */
static struct cp_lane *lane_by_metadata(struct cp_request *req)
{
    const char *names[3];
    const char *run = sy_call_metadata(req->call, CP_RUN_KEY);
    char *text = run != NULL ? sy_arena_strdup(&req->arena, run) : NULL;
    if (text == NULL || !split_run(text, names)) {
        names[0] = sy_call_metadata(req->call, "x-actions-project");
        names[1] = sy_call_metadata(req->call, "x-actions-domain");
        names[2] = sy_call_metadata(req->call, "x-actions-run");
    }
    for (int i = 0; i < 3; i++) {
        if (cp_name_check("metadata", names[i], NULL) < 0)
            return NULL;
    }
    return lane_of(req, cp_name_hash(names[0], names[1], names[2]));
}

void cp_method_handle(void *arg, struct sy_call *call, struct sy_span bytes)
{
    const struct cp_binding *binding = arg;
    struct cp_shard *shard = binding->shard;
    const struct cp_method *method = binding->method;
    struct cp_lane *front = cp_front(shard);
    if (method->unimplemented != NULL) {
        sy_call_fail(call, SY_CODE_UNIMPLEMENTED, "%s", method->unimplemented);
        return;
    }
    struct cp_request *req = request_new(front, method, call);
    uint32_t part;
    if (!read_part(req, &part))
        return;
    if (part == CP_PART_ALL && method->routable && cp_shard_partitions(shard) > 1) {
        struct cp_lane *lane = lane_by_metadata(req);
        if (lane != NULL && forward(req, lane, bytes))
            return;
        if (lane != NULL && lane->loop != front->loop) {
            req->arena.max_bytes = req->arena.used_bytes + bytes.len + 16;
            uint8_t *copy = sy_arena_alloc(&req->arena, bytes.len);
            SY_ASSERT(copy != NULL);
            if (bytes.len > 0)
                memcpy(copy, bytes.data, bytes.len);
            req->bytes = (struct sy_span){copy, bytes.len};
            move(req, lane, decode_post, decode_here);
            return;
        }
    }
    if (!decode(req, bytes))
        return;
    if (part != CP_PART_ALL) { /* streams stay on the front */
        req->of_part = method->kind == SY_METHOD_UNARY;
        move(req, req->of_part ? &shard->lanes[part] : front, serve_post, serve);
        return;
    }
    struct cp_lane *lane = owner(req);
    if (!is_addressed(req) || !forward(req, lane, bytes))
        move(req, lane, serve_post, serve);
}

/* ---- streams ---- */

static void pump(struct cp_request *req)
{
    if (!req->finished)
        req->pump(req);
}

static void request_timer(void *arg)
{
    pump(arg);
}

static void stream_writable(void *arg)
{
    pump(arg);
}

static void stream_closed(void *arg, const struct sy_status *status)
{
    (void)status;
    struct cp_request *req = arg;
    req->finished = true;
    request_free(req);
}

void cp_stream_start(struct cp_request *req, void (*pump_fn)(struct cp_request *),
                     void (*release)(struct cp_request *))
{
    static const struct sy_call_sink sink = {.on_writable = stream_writable,
                                             .on_closed = stream_closed};
    SY_ASSERT(!req->streaming && !req->finished);
    req->streaming = true;
    req->pump = pump_fn;
    req->release = release;
    sy_call_set_sink(req->call, &sink, req);
    pump(req);
}

void cp_stream_more(void *req)
{
    pump(req);
}

void cp_stream_again_in(struct cp_request *req, int64_t delay_ns)
{
    sy_timer_start_in(req->lane->loop, &req->timer, delay_ns);
}

void cp_stream_go_on(struct cp_request *req)
{
    if (cp_stream_ready(req)) /* else on_writable follows */
        cp_stream_again_in(req, 0);
}

bool cp_stream_ready(struct cp_request *req)
{
    return !req->finished && sy_call_ready(req->call);
}

void cp_stream_send(struct cp_request *req, struct sy_buf *message)
{
    int r = sy_call_send(req->call, message);
    SY_ASSERT(r == 0); /* pumps start with nothing queued and send far less than the buffer holds */
}

void cp_stream_send_message(struct cp_request *req, const ProtobufCMessage *message)
{
    struct sy_buf buf = {0};
    pb_pack(message, &buf);
    cp_stream_send(req, &buf);
}

void cp_stream_end(struct cp_request *req)
{
    if (req->finished)
        return;
    req->finished = true;
    sy_call_finish(req->call, NULL);
}
