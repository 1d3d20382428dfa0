/* links: sy_blob */
/*
 * What every blob store promises (base/blob.h). The file adapter always; S3 when SY_TEST_S3 names
 * an endpoint with a bucket "contract" (tests/integration/s3_server.py starts one and runs this).
 */
#include "base/blob.h"
#include "base/file.h"
#include "base/mem.h"
#include "tests/lib/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct world {
    struct sy_loop *loop;
    struct sy_blobs *blobs;
    char dir[64], root[128];
    /* of the last callback */
    int calls, r;
    struct sy_buf got;
    uint64_t size;
    char why[SY_ERROR_TEXT_MAX];
};

static const char *s3_endpoint(void)
{
    return getenv("SY_TEST_S3");
}

static struct sy_blob_options options_of(struct world *w, bool s3)
{
    snprintf(w->root, sizeof(w->root), s3 ? "s3://contract%s" : "%s/store", w->dir);
    return (struct sy_blob_options){.root = w->root,
                                    .endpoint = s3 ? s3_endpoint() : NULL,
                                    .access_key = "key",
                                    .secret_key = "secret",
                                    .path_style = true};
}

static void open_world(struct world *w, bool s3)
{
    struct sy_error_text error = {0};
    *w = (struct world){0};
    snprintf(w->dir, sizeof(w->dir), "/tmp/sy-blob-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(w->dir));
    ck_assert_int_eq(sy_loop_new(&w->loop, NULL), 0);
    struct sy_blob_options options = options_of(w, s3);
    ck_assert_msg(sy_blobs_new(&w->blobs, w->loop, &options, &error) == 0, "%s", error.text);
}

static void close_world(struct world *w)
{
    char command[128];
    sy_blobs_free(w->blobs);
    sy_loop_free(w->loop);
    sy_buf_deinit(&w->got);
    snprintf(command, sizeof(command), "rm -rf %s", w->dir);
    ck_assert_int_eq(system(command), 0);
}

static void note(struct world *w, int r, const struct sy_error_text *error)
{
    w->calls++;
    w->r = r;
    ck_assert_int_eq(r < 0, error != NULL);
    snprintf(w->why, sizeof(w->why), "%s", error ? error->text : "");
    ck_assert(r == 0 || w->why[0]);
    sy_loop_stop(w->loop);
}

static void on_done(void *ctx, int r, const struct sy_error_text *error)
{
    note(ctx, r, error);
}

static void on_got(void *ctx, int r, struct sy_span bytes, const struct sy_error_text *error)
{
    struct world *w = ctx;
    sy_buf_clear(&w->got);
    sy_buf_append(&w->got, bytes.data, bytes.len);
    note(w, r, error);
}

static void on_stat(void *ctx, int r, uint64_t size, const struct sy_error_text *error)
{
    struct world *w = ctx;
    w->size = size;
    note(w, r, error);
}

/* Never inside the call, once, in a later turn. */
static int result(struct world *w)
{
    ck_assert_int_eq(w->calls, 0);
    ck_assert_int_eq(sy_loop_run(w->loop), 0);
    ck_assert_int_eq(w->calls, 1);
    w->calls = 0;
    return w->r;
}

static const char *uri(const struct world *w, const char *key)
{
    static char text[2048];
    snprintf(text, sizeof(text), "%s/%s", w->root, key);
    return text;
}

static int put(struct world *w, const char *name, const char *text)
{
    struct sy_buf bytes = sy_buf_copy(text, strlen(text));
    sy_blob_put(w->blobs, name, &bytes, on_done, w);
    ck_assert_ptr_null(bytes.data);
    return result(w);
}

static int get(struct world *w, const char *name, size_t bytes_max)
{
    sy_blob_get(w->blobs, name, bytes_max, on_got, w);
    return result(w);
}

static bool got(const struct world *w, const char *text)
{
    return w->got.len == strlen(text) && memcmp(w->got.data, text, w->got.len) == 0;
}

static void whole_blobs(struct world *w)
{
    ck_assert_int_eq(put(w, uri(w, "a/b c/d+e=f&g.pb"), "first"), 0);
    ck_assert_int_eq(get(w, uri(w, "a/b c/d+e=f&g.pb"), 5), 0);
    ck_assert(got(w, "first"));
    ck_assert_int_eq(put(w, uri(w, "a/b c/d+e=f&g.pb"), "the second"), 0);
    ck_assert_int_eq(get(w, uri(w, "a/b c/d+e=f&g.pb"), 1000), 0);
    ck_assert(got(w, "the second"));
    ck_assert_int_eq(put(w, uri(w, "empty"), ""), 0);
    ck_assert_int_eq(get(w, uri(w, "empty"), 0), 0);
    ck_assert_uint_eq(w->got.len, 0);
    sy_blob_stat(w->blobs, uri(w, "a/b c/d+e=f&g.pb"), on_stat, w);
    ck_assert_int_eq(result(w), 0);
    ck_assert_uint_eq(w->size, 10);
}

static void what_is_not_there(struct world *w)
{
    ck_assert_int_eq(get(w, uri(w, "nothing/here"), 10), -ENOENT);
    sy_blob_stat(w->blobs, uri(w, "nothing/here"), on_stat, w);
    ck_assert_int_eq(result(w), -ENOENT);
    ck_assert_int_eq(put(w, uri(w, "dir/file"), "x"), 0);
    ck_assert_int_eq(get(w, uri(w, "dir"), 10), -ENOENT); /* a directory is no blob */
    ck_assert_int_eq(get(w, uri(w, "dir/file/below"), 10), -ENOENT);
}

static void larger_than_asked_for(struct world *w)
{
    char path[128];
    ck_assert_int_eq(put(w, uri(w, "large"), "0123456789"), 0);
    ck_assert_int_eq(get(w, uri(w, "large"), 9), -EFBIG);
    ck_assert_uint_eq(w->got.len, 0);
    snprintf(path, sizeof(path), "%s/copy", w->dir);
    sy_blob_get_file(w->blobs, uri(w, "large"), path, 9, on_done, w);
    ck_assert_int_eq(result(w), -EFBIG);
    ck_assert_int_ne(access(path, F_OK), 0);
}

static void bad_names(struct world *w)
{
    char outside[256];
    static const char *const keys[] = {"../up", "a/../../up", "a//b", "",     "/",
                                       "a/",    "./a",        "a/.",  "a\nb", ".."};
    for (size_t i = 0; i < SY_COUNT_OF(keys); i++) {
        ck_assert_int_eq(put(w, uri(w, keys[i]), "x"), -EINVAL);
        ck_assert_int_eq(get(w, uri(w, keys[i]), 10), -EINVAL);
        ck_assert(!sy_blobs_owns(w->blobs, uri(w, keys[i])));
    }
    snprintf(outside, sizeof(outside), "%sx/key", w->root);
    ck_assert_int_eq(put(w, outside, "x"), -EINVAL);
    ck_assert_int_eq(put(w, "/etc/passwd", "x"), -EINVAL);
    ck_assert_int_eq(put(w, "", "x"), -EINVAL);
    ck_assert(sy_blobs_owns(w->blobs, uri(w, "...")));
    ck_assert_str_eq(sy_blobs_key(w->blobs, uri(w, "a/b")), "a/b");
}

static void files_in_and_out(struct world *w)
{
    char from[128], to[128];
    struct sy_buf back = {0};
    size_t len = (3u << 20) + 17; /* more than one piece */
    uint8_t *bytes = sy_malloc(len);
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(i * 131 + (i >> 13));
    snprintf(from, sizeof(from), "%s/from", w->dir);
    snprintf(to, sizeof(to), "%s/to", w->dir);
    ck_assert_int_eq(sy_file_write_atomic(from, bytes, len), 0);
    sy_blob_put_file(w->blobs, uri(w, "some/file.bin"), from, on_done, w);
    ck_assert_int_eq(result(w), 0);
    ck_assert_int_ne(access(from, F_OK), 0);
    sy_blob_get_file(w->blobs, uri(w, "some/file.bin"), to, len, on_done, w);
    ck_assert_int_eq(result(w), 0);
    ck_assert_int_eq(sy_file_read(to, len, &back), 0);
    ck_assert_uint_eq(back.len, len);
    ck_assert_int_eq(memcmp(back.data, bytes, len), 0);
    ck_assert_int_eq(get(w, uri(w, "some/file.bin"), len), 0);
    ck_assert_uint_eq(w->got.len, len);
    ck_assert_int_eq(memcmp(w->got.data, bytes, len), 0);
    sy_blob_put_file(w->blobs, uri(w, "other"), "/nonexistent/file", on_done, w);
    ck_assert_int_eq(result(w), -ENOENT);
    sy_buf_deinit(&back);
    free(bytes);
}

static void many_at_once(struct world *w)
{
    enum { COUNT = 100 };
    for (int i = 0; i < COUNT; i++) {
        char key[32];
        snprintf(key, sizeof(key), "many/%d", i);
        struct sy_buf bytes = sy_buf_copy(key, strlen(key));
        sy_blob_put(w->blobs, uri(w, key), &bytes, on_done, w);
    }
    ck_assert_int_eq(w->calls, 0);
    while (w->calls < COUNT) {
        ck_assert_int_eq(sy_loop_run(w->loop), 0);
        ck_assert_int_eq(w->r, 0);
    }
    w->calls = 0;
    ck_assert_int_eq(get(w, uri(w, "many/77"), 100), 0);
    ck_assert(got(w, "many/77"));
}

static void a_store_that_goes_away(struct world *w)
{
    struct sy_error_text error = {0};
    struct sy_buf bytes = sy_buf_copy("x", 1);
    sy_blob_put(w->blobs, uri(w, "late"), &bytes, on_done, w);
    sy_blob_get(w->blobs, uri(w, "late"), 10, on_got, w);
    sy_blobs_free(w->blobs);
    sy_loop_turn(w->loop);
    ck_assert_int_eq(w->calls, 0);
    struct sy_blob_options options = options_of(w, strncmp(w->root, "s3:", 3) == 0);
    ck_assert_msg(sy_blobs_new(&w->blobs, w->loop, &options, &error) == 0, "%s", error.text);
}

static void (*const contract[])(struct world *w) = {
    whole_blobs,      what_is_not_there, larger_than_asked_for,  bad_names,
    files_in_and_out, many_at_once,      a_store_that_goes_away,
};

static void keep_the_contract(bool s3)
{
    for (size_t i = 0; i < SY_COUNT_OF(contract); i++) {
        struct world w;
        open_world(&w, s3);
        contract[i](&w);
        close_world(&w);
    }
}

START_TEST(files_keep_the_contract)
{
    keep_the_contract(false);
}
END_TEST

START_TEST(s3_keeps_the_contract)
{
    if (!s3_endpoint()) {
        printf("SKIPPED: S3: no SY_TEST_S3; tests/integration/s3_server.py sets it\n");
        return;
    }
    keep_the_contract(true);
}
END_TEST

START_TEST(roots_that_are_none)
{
    static const char *const roots[] = {"",        "relative/dir", "s3://",   "gs://bucket", "/",
                                        "/a/../b", "/a//b",        "s3:///x", "file:///x"};
    struct sy_loop *loop;
    ck_assert_int_eq(sy_loop_new(&loop, NULL), 0);
    for (size_t i = 0; i < SY_COUNT_OF(roots); i++) {
        struct sy_blobs *blobs;
        struct sy_error_text error = {0};
        struct sy_blob_options options = {.root = roots[i]};
        ck_assert_msg(sy_blobs_new(&blobs, loop, &options, &error) == -EINVAL, "%s", roots[i]);
        ck_assert(error.text[0]);
    }
    sy_loop_free(loop);
}
END_TEST

/* Half an object is never seen: a writer that died leaves its piece in .tmp only. */
START_TEST(files_leave_nothing_behind)
{
    struct world w;
    struct stat st;
    open_world(&w, false);
    ck_assert_int_eq(put(&w, uri(&w, "a"), "x"), 0);
    ck_assert_int_eq(stat(uri(&w, "a"), &st), 0);
    ck_assert_int_eq(stat(uri(&w, ".tmp"), &st), 0);
    ck_assert_int_eq(rmdir(uri(&w, ".tmp")), 0); /* empty */
    ck_assert_int_eq(put(&w, uri(&w, "b"), "x"), -ENOENT);
    ck_assert_int_ne(stat(uri(&w, "b"), &st), 0);
    ck_assert_int_eq(mkdir(uri(&w, ".tmp"), 0700), 0);
    ck_assert_int_eq(put(&w, uri(&w, "a/below"), "x"), -EIO); /* a is no directory */
    ck_assert_int_eq(rmdir(uri(&w, ".tmp")), 0);
    close_world(&w);
}
END_TEST

int main(void)
{
    const TTest *tests[] = {files_keep_the_contract, s3_keeps_the_contract, roots_that_are_none,
                            files_leave_nothing_behind, NULL};
    return sy_test_run("blob contract", tests);
}
