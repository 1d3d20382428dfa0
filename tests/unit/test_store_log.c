/* links: cp */
/* What both stores promise to copies (controlplane/store.h): positions that are the same in each,
 * a log that can be read, images, and reads that do not see what is held back. */
#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "controlplane/store.h"
#include "tests/lib/test.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MEMORY CP_STORE_MEMORY_MIN

struct site {
    struct sy_loop *loop;
    struct cp_mem_disk *disk; /* NULL: RocksDB */
    char path[64];
    struct cp_store *store;
};

static void site_open(struct site *s)
{
    struct sy_error_text error = {0};
    int r = s->disk ? cp_store_mem_open(&s->store, s->disk, 0, s->loop, NULL, &error)
                    : cp_store_rocksdb_open_logged(&s->store, s->path, 0, MEMORY, s->loop, NULL,
                                                   &error);
    ck_assert_msg(r == 0, "%s", error.text);
}

static void site_init(struct site *s, bool rocksdb)
{
    *s = (struct site){0};
    ck_assert_int_eq(sy_loop_new(&s->loop, NULL), 0);
    snprintf(s->path, sizeof(s->path), "/tmp/switchyard-log-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(s->path));
    if (!rocksdb) {
        s->disk = cp_mem_disk_new();
        cp_mem_disk_keep_log(s->disk, 1000);
    }
}

static void site_deinit(struct site *s)
{
    cp_store_close(s->store);
    cp_mem_disk_free(s->disk);
    sy_loop_free(s->loop);
    sy_remove_tree(s->path);
}

static struct sy_span text(const char *s)
{
    return (struct sy_span){(const uint8_t *)s, strlen(s)};
}

struct waiting {
    struct sy_loop *loop;
    int calls, error;
};

static void on_done(void *ctx, int error)
{
    struct waiting *w = ctx;
    w->calls++;
    w->error = error;
    sy_loop_stop(w->loop);
}

static int commit(struct site *s, struct cp_batch *batch)
{
    struct waiting w = {.loop = s->loop};
    cp_store_commit(s->store, batch, on_done, &w);
    ck_assert_int_eq(w.calls, 0);
    ck_assert_int_eq(sy_loop_run(s->loop), 0);
    ck_assert_int_eq(w.calls, 1);
    return w.error;
}

/* So many records, in several families; some take others away. */
static struct cp_batch *make(struct site *s, unsigned n, unsigned records)
{
    struct cp_batch *batch = cp_batch_new(s->store);
    for (unsigned i = 0; i < records; i++) {
        char key[32], value[32];
        snprintf(key, sizeof(key), "key-%u", (n * 7 + i) % 50);
        snprintf(value, sizeof(value), "value-%u-%u", n, i);
        enum cp_family family = (enum cp_family)((n + i) % CP_FAMILIES);
        if ((n + i) % 5 == 4)
            cp_batch_delete(batch, family, text(key));
        else
            cp_batch_put(batch, family, text(key), text(value));
    }
    return batch;
}

static void put(struct site *s, unsigned n)
{
    unsigned records = 1 + n % 4;
    uint64_t before = cp_store_position(s->store);
    ck_assert_int_eq(commit(s, make(s, n, records)), 0);
    ck_assert_uint_eq(cp_store_position(s->store), before + records);
}

static void same(struct site *a, struct site *b)
{
    ck_assert_uint_eq(cp_store_position(a->store), cp_store_position(b->store));
    for (unsigned f = 0; f < CP_FAMILIES; f++) {
        struct sy_span all = {0};
        struct cp_iter *x = cp_iter_new(a->store, (enum cp_family)f, all, all, false);
        struct cp_iter *y = cp_iter_new(b->store, (enum cp_family)f, all, all, false);
        for (; cp_iter_valid(x) && cp_iter_valid(y); cp_iter_next(x), cp_iter_next(y)) {
            struct sy_span k = cp_iter_key(x), l = cp_iter_key(y);
            ck_assert(k.len == l.len && memcmp(k.data, l.data, k.len) == 0);
            struct sy_span v = cp_iter_value(x), u = cp_iter_value(y);
            ck_assert(v.len == u.len && memcmp(v.data, u.data, v.len) == 0);
        }
        ck_assert(!cp_iter_valid(x) && !cp_iter_valid(y));
        cp_iter_free(x);
        cp_iter_free(y);
    }
}

/* What an image of `from` holds becomes the store of `to`. */
static void carry(struct site *from, struct site *to, size_t piece)
{
    struct waiting w = {.loop = from->loop};
    char path[PATH_MAX], file[2 * PATH_MAX];
    snprintf(path, sizeof(path), "%s.image", from->path);
    snprintf(file, sizeof(file), "%s/e0000000000", to->path);
    ck_assert_int_eq(sy_mkdir_p(file, 0700), 0);
    struct cp_image *image = cp_image_new(from->store, path, on_done, &w);
    ck_assert_int_eq(sy_loop_run(from->loop), 0);
    ck_assert_msg(w.error == 0, "%s", cp_image_error(image));
    struct sy_buf bytes = {0}, all = {0};
    const char *name;
    int r;
    while ((r = cp_image_next(image, piece, &name, &bytes)) == 0) {
        ck_assert_uint_le(bytes.len, piece);
        if (to->disk) {
            sy_buf_append(&all, bytes.data, bytes.len);
            continue;
        }
        snprintf(file, sizeof(file), "%s/e0000000000/%s", to->path, name);
        int fd = open(file, O_WRONLY | O_CREAT | O_APPEND, 0600);
        ck_assert_int_eq(sy_write_all(fd, bytes.data, bytes.len), 0);
        close(fd);
    }
    ck_assert_int_eq(r, CP_STORE_E_NOT_FOUND);
    if (to->disk)
        ck_assert_int_eq(cp_mem_disk_load(to->disk, sy_buf_span(&all)), 0);
    cp_image_free(image);
    ck_assert_int_ne(access(path, F_OK), 0); /* nothing is left of it */
    sy_buf_deinit(&bytes);
    sy_buf_deinit(&all);
    site_open(to);
}

/* What `to` lacks of the log; returns in how many pieces. */
static unsigned feed(struct site *from, struct site *to, uint64_t limit, size_t piece)
{
    uint64_t at = cp_store_position(to->store), upto = 0;
    struct cp_log_reader *reader = cp_log_reader_new(from->store, at);
    ck_assert_ptr_nonnull(reader);
    struct sy_buf data = {0};
    unsigned pieces = 0;
    int r;
    while ((r = cp_log_reader_next(reader, limit, piece, &data, &upto)) == 0) {
        struct cp_batch *batch = cp_batch_read(to->store, sy_buf_span(&data));
        ck_assert_ptr_nonnull(batch);
        ck_assert_uint_eq(cp_batch_count(batch), upto - at);
        ck_assert_int_eq(commit(to, batch), 0);
        at = upto;
        ck_assert_uint_eq(cp_store_position(to->store), at);
        pieces++;
    }
    ck_assert_int_eq(r, CP_STORE_E_NOT_FOUND);
    cp_log_reader_free(reader);
    sy_buf_deinit(&data);
    return pieces;
}

static void run_copy(bool rocksdb)
{
    struct site a, b;
    site_init(&a, rocksdb);
    site_init(&b, rocksdb);
    site_open(&a);
    ck_assert_uint_eq(cp_store_position(a.store), 0);
    for (unsigned n = 0; n < 40; n++)
        put(&a, n);
    carry(&a, &b, 100);
    same(&a, &b);
    for (unsigned n = 40; n < 80; n++)
        put(&a, n);
    ck_assert_uint_gt(feed(&a, &b, UINT64_MAX, 200), 5);
    same(&a, &b);
    /* live: the same batch at both */
    for (unsigned n = 80; n < 90; n++) {
        struct cp_batch *batch = make(&a, n, 3);
        struct sy_span data = cp_batch_data(batch);
        struct sy_buf sent = sy_buf_copy(data.data, data.len);
        ck_assert_int_eq(commit(&a, batch), 0);
        ck_assert_int_eq(commit(&b, cp_batch_read(b.store, sy_buf_span(&sent))), 0);
        sy_buf_deinit(&sent);
    }
    same(&a, &b);
    /* both are opened again, and go on where they were; what was read into memory is in the log */
    cp_store_close(a.store);
    cp_store_close(b.store);
    site_open(&a);
    site_open(&b);
    same(&a, &b);
    uint64_t limit = cp_store_position(a.store);
    put(&a, 90);
    limit = cp_store_position(a.store);
    put(&a, 91);
    ck_assert_uint_eq(feed(&a, &b, limit, 1 << 20), 1);
    ck_assert_uint_eq(cp_store_position(b.store), limit);
    ck_assert_uint_eq(feed(&a, &b, UINT64_MAX, 1 << 20), 1);
    same(&a, &b);
    /* and the copy is fed from, too */
    put(&b, 92);
    feed(&b, &a, UINT64_MAX, 1 << 20);
    same(&a, &b);
    site_deinit(&a);
    site_deinit(&b);
}

START_TEST(a_copy_has_the_same_positions)
{
    run_copy(false);
    run_copy(true);
}
END_TEST

static void run_ends(bool rocksdb)
{
    struct site a;
    site_init(&a, rocksdb);
    site_open(&a);
    for (unsigned n = 0; n < 10; n++)
        put(&a, n);
    uint64_t end = cp_store_position(a.store);
    ck_assert_ptr_null(cp_log_reader_new(a.store, end));
    ck_assert_ptr_null(cp_log_reader_new(a.store, end + 5));
    put(&a, 3); /* of four records */
    struct cp_log_reader *reader = cp_log_reader_new(a.store, end);
    ck_assert_ptr_nonnull(reader);
    cp_log_reader_free(reader);
    ck_assert_ptr_null(cp_log_reader_new(a.store, end + 1)); /* no batch begins there */
    ck_assert_ptr_null(cp_batch_read(a.store, text("")));
    ck_assert_ptr_null(cp_batch_read(a.store, text("nonsense")));
    site_deinit(&a);
}

START_TEST(a_log_is_read_from_where_a_batch_begins)
{
    run_ends(false);
    run_ends(true);
}
END_TEST

START_TEST(a_log_that_was_forgotten_is_not_read)
{
    struct site a;
    site_init(&a, false);
    cp_mem_disk_keep_log(a.disk, 3);
    site_open(&a);
    for (unsigned n = 0; n < 4; n++)
        put(&a, 0);
    ck_assert_ptr_null(cp_log_reader_new(a.store, 0));
    struct cp_log_reader *reader = cp_log_reader_new(a.store, 1);
    ck_assert_ptr_nonnull(reader);
    put(&a, 0);
    struct sy_buf data = {0};
    uint64_t upto;
    ck_assert_int_eq(cp_log_reader_next(reader, 100, 100, &data, &upto), -EIO);
    cp_log_reader_free(reader);
    sy_buf_deinit(&data);
    site_deinit(&a);
}
END_TEST

static size_t count(struct site *s)
{
    size_t n = 0;
    struct cp_iter *iter = cp_iter_new(s->store, CP_FAMILY_RUNS, (struct sy_span){0},
                                       (struct sy_span){0}, false);
    for (; cp_iter_valid(iter); cp_iter_next(iter))
        n++;
    cp_iter_free(iter);
    return n;
}

static void expect(struct site *s, const char *key, const char *value)
{
    struct sy_buf got = {0};
    int r = cp_store_get(s->store, CP_FAMILY_RUNS, text(key), &got);
    ck_assert_int_eq(r, value ? 0 : CP_STORE_E_NOT_FOUND);
    if (value)
        ck_assert(got.len == strlen(value) && memcmp(got.data, value, got.len) == 0);
    sy_buf_deinit(&got);
}

static void change(struct site *s, const char *key, const char *value)
{
    struct cp_batch *batch = cp_batch_new(s->store);
    if (value)
        cp_batch_put(batch, CP_FAMILY_RUNS, text(key), text(value));
    else
        cp_batch_delete(batch, CP_FAMILY_RUNS, text(key));
    ck_assert_int_eq(commit(s, batch), 0);
}

static void run_hold(bool rocksdb)
{
    struct site s;
    site_init(&s, rocksdb);
    site_open(&s);
    change(&s, "a", "1");
    change(&s, "b", "1");
    cp_store_hold(s.store);
    change(&s, "a", "2");
    change(&s, "b", NULL);
    change(&s, "c", "2");
    cp_store_hold(s.store);
    change(&s, "a", "3");
    expect(&s, "a", "1");
    expect(&s, "b", "1");
    expect(&s, "c", NULL);
    ck_assert_uint_eq(count(&s), 2);
    cp_store_show(s.store);
    expect(&s, "a", "3");
    expect(&s, "b", NULL);
    expect(&s, "c", "2");
    ck_assert_uint_eq(count(&s), 2);
    cp_store_show(s.store);
    cp_store_hold(s.store); /* it is closed so */
    site_deinit(&s);
}

START_TEST(what_is_held_back_is_not_read)
{
    run_hold(false);
    run_hold(true);
}
END_TEST

START_TEST(a_damaged_image_is_refused)
{
    struct site s;
    site_init(&s, false);
    ck_assert_int_eq(cp_mem_disk_load(s.disk, text("short")), -EBADMSG);
    ck_assert_int_eq(cp_mem_disk_load(s.disk, text("12345678and-no-record-behind-it")), -EBADMSG);
    site_deinit(&s);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_copy_has_the_same_positions,        a_log_is_read_from_where_a_batch_begins,
        a_log_that_was_forgotten_is_not_read, what_is_held_back_is_not_read,
        a_damaged_image_is_refused,           NULL};
    return sy_test_run("store_log", tests);
}
