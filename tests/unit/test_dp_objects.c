/* links: dp */
/* ObjectStore over rpc_mem, with real files in a temporary directory. */
#pragma GCC diagnostic ignored "-Wcast-qual" /* protobuf-c's __INIT macros */

#include "base/mem.h"
#include "dataplane/objects.h"
#include "dataplane/objects_store.h"
#include "switchyard/internal/dataplane.pb-c.h"
#include "tests/lib/test.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define PB(name) Switchyard__Internal__##name
#define PB_INIT(NAME) SWITCHYARD__INTERNAL__##NAME##__INIT
#define MIB ((size_t)1 << 20)
#define LIMIT (8 * MIB)
/* XXH3-128 of nothing and of "hello", as `xxhsum -H128` prints them. */
#define DIGEST_EMPTY "99aa06d3014798d86001c324468d497f"
#define DIGEST_HELLO "b5e9c1ad071b3e7fc779cfaa5e523818"

struct world {
    int64_t now_ns, delay_ns;
    struct sy_loop *loop;
    struct sy_rpc *rpc;
    struct sy_server *server;
    struct sy_channel *channel;
    struct dp_objects *objects;
    struct dp_gate gate;
    char dir[64];
};

static int64_t clock_ns(void *ctx)
{
    return ((struct world *)ctx)->now_ns;
}

static enum sy_fault on_message(void *ctx, const char *from, const char *to, int64_t *ret_delay_ns)
{
    (void)from;
    *ret_delay_ns = strcmp(to, "client") == 0 ? ((struct world *)ctx)->delay_ns : 0;
    return SY_FAULT_DELIVER;
}

static void run_for(struct world *w, int64_t for_ns)
{
    int64_t end_ns = w->now_ns + for_ns;
    while (sy_loop_next_ns(w->loop) <= end_ns) {
        if (sy_loop_next_ns(w->loop) > w->now_ns)
            w->now_ns = sy_loop_next_ns(w->loop);
        sy_loop_turn(w->loop);
    }
    w->now_ns = end_ns;
}

static void open_store(struct world *w)
{
    struct sy_error_text error = {0};
    struct dp_objects_options options = {.dir = w->dir,
                                         .cluster = "c1",
                                         .object_bytes_max = LIMIT,
                                         .gate = &w->gate,
                                         .loop = w->loop};
    ck_assert_msg(dp_objects_new(&w->objects, &options, &error) == 0, "%s", error.text);
    struct sy_server_options server = {.address = "operator"};
    ck_assert_int_eq(sy_server_new(&w->server, w->rpc, &server, &error), 0);
    dp_objects_serve(w->objects, w->server);
    ck_assert_int_eq(sy_server_start(w->server, &error), 0);
}

static void world_init(struct world *w)
{
    *w = (struct world){.now_ns = SY_NS_PER_S};
    snprintf(w->dir, sizeof(w->dir), "/tmp/test_dp_objects.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(w->dir));
    struct sy_clock clock = {clock_ns, clock_ns, w};
    struct sy_loop_options loop = {.clock = &clock, .without_epoll = true};
    ck_assert_int_eq(sy_loop_new(&w->loop, &loop), 0);
    struct sy_rpc_mem_plan plan = {.on_message = on_message, .ctx = w};
    ck_assert_int_eq(sy_rpc_mem_new(&w->rpc, &plan), 0);
    sy_rpc_mem_set_origin(w->rpc, "client");
    w->channel = sy_channel_new(w->rpc, "operator");
    sy_rpc_mem_set_origin(w->rpc, "operator");
}

static void close_store(struct world *w)
{
    dp_objects_free(sy_take(w->objects));
    sy_server_free(sy_take(w->server));
}

static void world_deinit(struct world *w)
{
    char command[128];
    if (w->objects)
        close_store(w);
    run_for(w, SY_NS_PER_S);
    sy_channel_free(w->channel);
    sy_rpc_free(w->rpc);
    sy_loop_free(w->loop);
    snprintf(command, sizeof(command), "rm -rf '%s'", w->dir);
    ck_assert_int_eq(system(command), 0); /* a name of our own making */
}

/* ---- calls ---- */

struct answer {
    enum sy_code code;
    struct sy_error_text text;
    char uri[128];
};

static void on_reply(void *ctx, const struct sy_status *status, struct sy_span response)
{
    struct answer *answer = ctx;
    answer->code = status->code;
    answer->text = status->message;
    if (status->code != SY_CODE_OK)
        return;
    PB(PutObjectResponse) *m = switchyard__internal__put_object_response__unpack(NULL, response.len,
                                                                                 response.data);
    ck_assert_ptr_nonnull(m);
    snprintf(answer->uri, sizeof(answer->uri), "%s", m->uri);
    switchyard__internal__put_object_response__free_unpacked(m, NULL);
}

static enum sy_code put(struct world *w, const char *upload, uint64_t offset, const void *data,
                        size_t len, const char *digest, struct answer *answer)
{
    PB(PutObjectRequest) request = PB_INIT(PUT_OBJECT_REQUEST);
    request.upload = (char *)(uintptr_t)upload;
    request.offset = offset;
    request.data = (ProtobufCBinaryData){len, (uint8_t *)(uintptr_t)data};
    request.last = digest != NULL;
    request.digest = (char *)(uintptr_t)(digest ? digest : "");
    struct sy_buf buf = {0};
    sy_buf_reserve(&buf, protobuf_c_message_get_packed_size(&request.base));
    buf.len = protobuf_c_message_pack(&request.base, buf.data);
    *answer = (struct answer){.code = SY_CODE_UNKNOWN};
    struct sy_call_options options = {.method = "/switchyard.internal.ObjectStore/PutObject"};
    sy_channel_call(w->channel, w->loop, &options, &buf, on_reply, answer);
    run_for(w, 10 * SY_NS_PER_MS);
    ck_assert_int_ne(answer->code, SY_CODE_UNKNOWN);
    return answer->code;
}

struct download {
    struct sy_call *call;
    struct sy_buf data;
    uint64_t size;
    size_t messages;
    enum sy_code code;
    bool closed;
};

static void on_data(void *ctx, struct sy_span span)
{
    struct download *d = ctx;
    PB(GetObjectResponse) *m = switchyard__internal__get_object_response__unpack(NULL, span.len,
                                                                                 span.data);
    ck_assert_ptr_nonnull(m);
    sy_buf_append(&d->data, m->data.data, m->data.len);
    d->size += m->size;
    d->messages++;
    switchyard__internal__get_object_response__free_unpacked(m, NULL);
}

static void on_closed(void *ctx, const struct sy_status *status)
{
    struct download *d = ctx;
    d->closed = true;
    d->code = status->code;
    sy_call_unref(sy_take(d->call));
}

static const struct sy_call_sink download_sink = {.on_message = on_data, .on_closed = on_closed};

static void get_start(struct world *w, struct download *d, const char *uri)
{
    *d = (struct download){.code = SY_CODE_UNKNOWN};
    struct sy_call_options options = {.method = "/switchyard.internal.ObjectStore/GetObject"};
    d->call = sy_channel_open(w->channel, w->loop, &options, &download_sink, d);
    PB(GetObjectRequest) request = PB_INIT(GET_OBJECT_REQUEST);
    request.uri = (char *)(uintptr_t)uri;
    struct sy_buf buf = {0};
    sy_buf_reserve(&buf, protobuf_c_message_get_packed_size(&request.base));
    buf.len = protobuf_c_message_pack(&request.base, buf.data);
    int r = sy_call_send(d->call, &buf);
    ck_assert_int_eq(r, 0);
    sy_call_half_close(d->call);
}

static enum sy_code get(struct world *w, struct download *d, const char *uri)
{
    get_start(w, d, uri);
    run_for(w, SY_NS_PER_S);
    ck_assert(d->closed);
    return d->code;
}

static uint8_t *pattern(size_t len)
{
    uint8_t *bytes = sy_malloc(len + 1);
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(i * 7 + i / 255);
    return bytes;
}

/* The digest that the store itself found: it tells in the sentence of a mismatch. */
static void digest_of(struct world *w, const uint8_t *bytes, size_t len, char ret[33])
{
    struct answer answer;
    size_t at = 0;
    while (len - at > MIB) {
        ck_assert_int_eq(put(w, "probe", at, bytes + at, MIB, NULL, &answer), SY_CODE_OK);
        at += MIB;
    }
    ck_assert_int_eq(
        put(w, "probe", at, bytes + at, len - at, "00000000000000000000000000000000", &answer),
        SY_CODE_INVALID_ARGUMENT);
    const char *have = strstr(answer.text.text, "have ");
    ck_assert_ptr_nonnull(have);
    snprintf(ret, 33, "%s", have + 5);
}

static size_t files_in(const char *dir)
{
    size_t count = 0;
    DIR *d = opendir(dir);
    ck_assert_ptr_nonnull(d);
    const struct dirent *entry;
    while ((entry = readdir(d)) != NULL)
        count += entry->d_name[0] != '.';
    closedir(d);
    return count;
}

static size_t uploads_left(const struct world *w)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/uploads", w->dir);
    return files_in(path);
}

/* ---- tests ---- */

START_TEST(small_objects_come_back)
{
    struct world w;
    struct answer answer;
    struct download d;
    world_init(&w);
    open_store(&w);
    ck_assert_int_eq(put(&w, "u", 0, "hello", 5, DIGEST_HELLO, &answer), SY_CODE_OK);
    ck_assert_str_eq(answer.uri, "sy://c1/" DIGEST_HELLO);
    ck_assert_int_eq(get(&w, &d, answer.uri), SY_CODE_OK);
    ck_assert_uint_eq(d.size, 5);
    ck_assert_mem_eq(d.data.data, "hello", 5);
    sy_buf_deinit(&d.data);
    ck_assert_int_eq(put(&w, "u", 0, "", 0, DIGEST_EMPTY, &answer), SY_CODE_OK);
    ck_assert_int_eq(get(&w, &d, answer.uri), SY_CODE_OK);
    ck_assert_uint_eq(d.size, 0);
    ck_assert_uint_eq(d.data.len, 0);
    char path[128];
    snprintf(path, sizeof(path), "%s/b5/e9c1ad071b3e7fc779cfaa5e523818", w.dir);
    ck_assert_int_eq(access(path, R_OK), 0);
    ck_assert_uint_eq(uploads_left(&w), 0);
    world_deinit(&w);
}
END_TEST

START_TEST(large_objects_go_in_chunks)
{
    struct world w;
    struct answer answer;
    struct download d;
    char digest[33];
    size_t len = 3 * MIB + 12345;
    world_init(&w);
    open_store(&w);
    uint8_t *bytes = pattern(len);
    digest_of(&w, bytes, len, digest);
    for (size_t at = 0; at < len; at += MIB) {
        size_t n = len - at < MIB ? len - at : MIB;
        ck_assert_int_eq(
            put(&w, "up/../1", at, bytes + at, n, at + n == len ? digest : NULL, &answer),
            SY_CODE_OK);
    }
    ck_assert_int_eq(get(&w, &d, answer.uri), SY_CODE_OK);
    ck_assert_uint_eq(d.data.len, len);
    ck_assert_uint_eq(d.size, len);
    ck_assert_mem_eq(d.data.data, bytes, len);
    ck_assert_uint_ge(d.messages, 4);
    sy_buf_deinit(&d.data);
    /* The answer to the last chunk was lost: it comes again. */
    ck_assert_int_eq(put(&w, "up/../1", 3 * MIB, bytes + 3 * MIB, len - 3 * MIB, digest, &answer),
                     SY_CODE_OK);
    ck_assert_uint_gt(strlen(answer.uri), 0);
    free(bytes);
    world_deinit(&w);
}
END_TEST

START_TEST(repeats_and_gaps)
{
    struct world w;
    struct answer answer;
    char digest[33];
    world_init(&w);
    open_store(&w);
    digest_of(&w, (const uint8_t *)"hello, world", 12, digest);
    ck_assert_int_eq(put(&w, "u", 0, "hello", 5, NULL, &answer), SY_CODE_OK);
    ck_assert_int_eq(put(&w, "u", 7, "world", 5, NULL, &answer), SY_CODE_OUT_OF_RANGE);
    ck_assert_ptr_nonnull(strstr(answer.text.text, "5 bytes have come"));
    ck_assert_int_eq(put(&w, "u", 5, ", ", 2, NULL, &answer), SY_CODE_OK);
    ck_assert_int_eq(put(&w, "u", 5, ", ", 2, NULL, &answer), SY_CODE_OK); /* again */
    ck_assert_int_eq(put(&w, "u", 7, "world", 5, digest, &answer), SY_CODE_OK);
    /* From the start again, and shorter. */
    ck_assert_int_eq(put(&w, "v", 0, "something long", 14, NULL, &answer), SY_CODE_OK);
    ck_assert_int_eq(put(&w, "v", 0, "hello", 5, DIGEST_HELLO, &answer), SY_CODE_OK);
    ck_assert_int_eq(put(&w, "w", 5, "x", 1, NULL, &answer), SY_CODE_NOT_FOUND);
    world_deinit(&w);
}
END_TEST

START_TEST(wrong_digest_is_refused)
{
    struct world w;
    struct answer answer;
    struct download d;
    world_init(&w);
    open_store(&w);
    ck_assert_int_eq(put(&w, "u", 0, "hellp", 5, DIGEST_HELLO, &answer), SY_CODE_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(answer.text.text, DIGEST_HELLO));
    ck_assert_uint_eq(uploads_left(&w), 0);
    ck_assert_int_eq(get(&w, &d, "sy://c1/" DIGEST_HELLO), SY_CODE_NOT_FOUND);
    world_deinit(&w);
}
END_TEST

START_TEST(limits_hold)
{
    struct world w;
    struct answer answer;
    world_init(&w);
    open_store(&w);
    uint8_t *bytes = pattern(MIB + 8192);
    ck_assert_int_eq(put(&w, "u", 0, bytes, MIB + 1, NULL, &answer), SY_CODE_INVALID_ARGUMENT);
    ck_assert_int_eq(put(&w, "u", 0, bytes, MIB + 8192, NULL, &answer), SY_CODE_RESOURCE_EXHAUSTED);
    for (size_t at = 0; at < LIMIT; at += MIB)
        ck_assert_int_eq(put(&w, "u", at, bytes, MIB, NULL, &answer), SY_CODE_OK);
    ck_assert_int_eq(put(&w, "u", LIMIT, bytes, 1, NULL, &answer), SY_CODE_RESOURCE_EXHAUSTED);
    ck_assert_uint_eq(uploads_left(&w), 0);
    ck_assert_int_eq(put(&w, "u", UINT64_MAX - 3, bytes, 100, NULL, &answer),
                     SY_CODE_RESOURCE_EXHAUSTED);
    char name[200];
    memset(name, 'n', sizeof(name));
    name[129] = '\0';
    ck_assert_int_eq(put(&w, name, 0, bytes, 1, NULL, &answer), SY_CODE_INVALID_ARGUMENT);
    ck_assert_int_eq(put(&w, "", 0, bytes, 1, NULL, &answer), SY_CODE_INVALID_ARGUMENT);
    for (int i = 0; i < DP_UPLOADS_MAX; i++) {
        snprintf(name, sizeof(name), "upload%d", i);
        ck_assert_int_eq(put(&w, name, 0, bytes, 1, NULL, &answer), SY_CODE_OK);
    }
    ck_assert_int_eq(put(&w, "one more", 0, bytes, 1, NULL, &answer), SY_CODE_RESOURCE_EXHAUSTED);
    run_for(&w, 12 * 60 * SY_NS_PER_S); /* nobody goes on with them */
    ck_assert_uint_eq(uploads_left(&w), 0);
    ck_assert_int_eq(put(&w, "one more", 0, bytes, 1, NULL, &answer), SY_CODE_OK);
    free(bytes);
    world_deinit(&w);
}
END_TEST

START_TEST(no_path_climbs_out)
{
    static const char *const digests[] = {"../../../../../../etc/passwd",
                                          "..",
                                          "",
                                          "B5E9C1AD071B3E7FC779CFAA5E523818",
                                          "b5e9c1ad071b3e7fc779cfaa5e52381",
                                          "b5e9c1ad071b3e7fc779cfaa5e5238188",
                                          "b5/9c1ad071b3e7fc779cfaa5e523818",
                                          "../uploads/0000000000000000000000"};
    struct world w;
    struct answer answer;
    struct download d;
    char uri[128];
    world_init(&w);
    open_store(&w);
    for (size_t i = 0; i < SY_COUNT_OF(digests); i++) {
        ck_assert_int_eq(put(&w, "u", 0, "hello", 5, digests[i], &answer),
                         SY_CODE_INVALID_ARGUMENT);
        snprintf(uri, sizeof(uri), "sy://c1/%s", digests[i]);
        ck_assert_int_eq(get(&w, &d, uri), SY_CODE_INVALID_ARGUMENT);
    }
    ck_assert_int_eq(get(&w, &d, "sy://other/" DIGEST_HELLO), SY_CODE_INVALID_ARGUMENT);
    ck_assert_int_eq(get(&w, &d, "file:///etc/passwd"), SY_CODE_INVALID_ARGUMENT);
    ck_assert_int_eq(put(&w, "../../x", 0, "hello", 5, NULL, &answer),
                     SY_CODE_OK); /* only a name */
    ck_assert_uint_eq(files_in(w.dir), 1);
    world_deinit(&w);
}
END_TEST

START_TEST(duplicates_and_concurrent_uploads)
{
    struct world w;
    struct answer answer;
    char digest[33];
    world_init(&w);
    open_store(&w);
    uint8_t *bytes = pattern(2 * MIB);
    digest_of(&w, bytes, 2 * MIB, digest);
    for (int i = 0; i < 8; i++) {
        char name[16];
        snprintf(name, sizeof(name), "u%d", i);
        ck_assert_int_eq(put(&w, name, 0, bytes, MIB, NULL, &answer), SY_CODE_OK);
    }
    ck_assert_uint_eq(uploads_left(&w), 8);
    for (int i = 7; i >= 0; i--) {
        char name[16];
        snprintf(name, sizeof(name), "u%d", i);
        ck_assert_int_eq(put(&w, name, MIB, bytes + MIB, MIB, digest, &answer), SY_CODE_OK);
    }
    ck_assert_uint_eq(uploads_left(&w), 0);
    ck_assert_uint_eq(files_in(w.dir), 2); /* uploads/ and one object's folder */
    free(bytes);
    world_deinit(&w);
}
END_TEST

START_TEST(leftovers_go_and_objects_stay_over_a_restart)
{
    struct world w;
    struct answer answer;
    struct download d;
    char path[128];
    world_init(&w);
    open_store(&w);
    ck_assert_int_eq(put(&w, "u", 0, "hello", 5, DIGEST_HELLO, &answer), SY_CODE_OK);
    close_store(&w);
    snprintf(path, sizeof(path), "%s/uploads/17", w.dir);
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    ck_assert_int_ge(fd, 0);
    close(fd);
    open_store(&w);
    ck_assert_uint_eq(uploads_left(&w), 0);
    ck_assert_int_eq(get(&w, &d, "sy://c1/" DIGEST_HELLO), SY_CODE_OK);
    sy_buf_deinit(&d.data);
    world_deinit(&w);
}
END_TEST

START_TEST(slow_reader_is_not_run_ahead_of)
{
    struct world w;
    struct answer answer;
    struct download d;
    char digest[33];
    world_init(&w);
    open_store(&w);
    uint8_t *bytes = pattern(4 * MIB);
    digest_of(&w, bytes, 4 * MIB, digest);
    for (size_t i = 0; i < 4; i++)
        ck_assert_int_eq(
            put(&w, "u", i * MIB, bytes + i * MIB, MIB, i == 3 ? digest : NULL, &answer),
            SY_CODE_OK);
    w.delay_ns = 10 * SY_NS_PER_S;
    get_start(&w, &d, answer.uri);
    run_for(&w, SY_NS_PER_S);
    close_store(&w); /* in the middle of it */
    w.delay_ns = 0;
    run_for(&w, 60 * SY_NS_PER_S);
    ck_assert(d.closed);
    ck_assert_int_eq(d.code, SY_CODE_UNAVAILABLE);
    ck_assert_uint_le(d.messages, 2);
    sy_buf_deinit(&d.data);
    free(bytes);
    world_deinit(&w);
}
END_TEST

START_TEST(full_disk_is_told_and_gives_its_room_back)
{
    struct world w;
    struct answer answer;
    world_init(&w);
    if (mount("tmpfs", w.dir, "tmpfs", 0, "size=2m") < 0) {
        world_deinit(&w); /* not permitted here */
        return;
    }
    open_store(&w);
    uint8_t *bytes = pattern(MIB);
    enum sy_code code = SY_CODE_OK;
    for (size_t i = 0; i < 4 && code == SY_CODE_OK; i++)
        code = put(&w, "u", i * MIB, bytes, MIB, NULL, &answer);
    ck_assert_int_eq(code, SY_CODE_RESOURCE_EXHAUSTED);
    ck_assert_ptr_nonnull(strstr(answer.text.text, "No space left"));
    ck_assert_uint_eq(uploads_left(&w), 0);
    ck_assert_int_eq(put(&w, "v", 0, "hello", 5, DIGEST_HELLO, &answer), SY_CODE_OK);
    free(bytes);
    close_store(&w);
    ck_assert_int_eq(umount(w.dir), 0);
    world_deinit(&w);
}
END_TEST

START_TEST(directory_that_cannot_be_used_is_named)
{
    struct world w;
    struct sy_error_text error = {0};
    struct dp_objects *objects = NULL;
    world_init(&w);
    struct dp_objects_options options = {
        .dir = "/proc/nothing/objects", .cluster = "c1", .object_bytes_max = 1, .loop = w.loop};
    ck_assert_int_lt(dp_objects_new(&objects, &options, &error), 0);
    ck_assert_ptr_null(objects);
    ck_assert_ptr_nonnull(strstr(error.text, "/proc/nothing/objects"));
    world_deinit(&w);
}
END_TEST

START_TEST(malformed_requests)
{
    static const struct {
        const char *bytes;
        size_t len;
    } bad[] = {{"\xff", 1}, {"\x08\x01", 2}, {"\x12\x01x", 3}, {"\x1a\x05x", 3}};
    struct world w;
    struct answer answer;
    world_init(&w);
    open_store(&w);
    for (size_t i = 0; i < SY_COUNT_OF(bad); i++) {
        struct sy_buf buf = sy_buf_copy(bad[i].bytes, bad[i].len);
        struct sy_call_options options = {.method = "/switchyard.internal.ObjectStore/PutObject"};
        sy_channel_call(w.channel, w.loop, &options, &buf, on_reply, &answer);
        run_for(&w, 10 * SY_NS_PER_MS);
        ck_assert_int_eq(answer.code, SY_CODE_INVALID_ARGUMENT);
    }
    world_deinit(&w);
}
END_TEST

/* Whoever knows an object's digest may read it. */
START_TEST(uploads_are_for_the_bearer_of_the_token)
{
    static const struct sy_bearer token = {{"authorization", "Bearer of-the-agents"}, 1};
    struct world w;
    struct answer answer;
    world_init(&w);
    open_store(&w);
    ck_assert_int_eq(put(&w, "u1", 0, "hello", 5, DIGEST_HELLO, &answer), SY_CODE_OK);
    sy_bearer_copy(&w.gate.bearer, &token);
    ck_assert_int_eq(put(&w, "u2", 0, "hello", 5, DIGEST_HELLO, &answer), SY_CODE_UNAUTHENTICATED);
    ck_assert_ptr_nonnull(strstr(answer.text.text, "agent_token_file"));
    struct sy_call_options options = {.method = "/switchyard.internal.ObjectStore/PutObject",
                                      .metadata = &token.metadata,
                                      .metadata_count = token.metadata_count};
    sy_channel_call(w.channel, w.loop, &options, &(struct sy_buf){0}, on_reply, &answer);
    run_for(&w, 10 * SY_NS_PER_MS);
    ck_assert_int_eq(answer.code, SY_CODE_INVALID_ARGUMENT); /* the empty request was looked at */
    sy_bearer_deinit(&w.gate.bearer);
    world_deinit(&w);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        small_objects_come_back,
        large_objects_go_in_chunks,
        repeats_and_gaps,
        wrong_digest_is_refused,
        limits_hold,
        no_path_climbs_out,
        duplicates_and_concurrent_uploads,
        leftovers_go_and_objects_stay_over_a_restart,
        slow_reader_is_not_run_ahead_of,
        full_disk_is_told_and_gives_its_room_back,
        directory_that_cannot_be_used_is_named,
        malformed_requests,
        uploads_are_for_the_bearer_of_the_token,
        NULL,
    };
    return sy_test_run("dp_objects", tests);
}
