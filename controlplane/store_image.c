/* A store as pieces that another shard can make a copy from: the files of a checkpoint, or what a
 * memory store dumps. */
#include "base/file.h"
#include "base/mem.h"
#include "controlplane/store_impl.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct cp_image {
    struct sy_loop *loop;
    void (*done)(void *ctx, int error);
    void *ctx;
    struct cp_store_source *source; /* NULL: it is a dump */
    struct sy_buf dump;
    size_t at; /* in that */
    char path[PATH_MAX];
    pthread_t thread;
    bool running; /* the thread */
    int result;
    struct sy_error_text error;
    struct sy_timer told; /* of a dump, or of a thread that could not be made */
    DIR *directory;
    int fd;
    char name[NAME_MAX + 1];
};

static void on_ready(void *arg)
{
    struct cp_image *image = arg;
    if (image->running)
        pthread_join(image->thread, NULL);
    image->running = false;
    if (image->result == 0 && image->source != NULL) {
        image->directory = opendir(image->path);
        if (image->directory == NULL) {
            image->result = -errno;
            sy_error_text_set(&image->error, "%s: %s", image->path, strerror(errno));
        }
    }
    image->done(image->ctx, image->result);
}

static void *make_checkpoint(void *arg)
{
    struct cp_image *image = arg;
    pthread_setname_np(pthread_self(), "sy-image");
    image->result = cp_store_checkpoint(image->source, image->path, &image->error);
    sy_loop_post_always(image->loop, on_ready, image);
    return NULL;
}

struct cp_image *cp_image_new(struct cp_store *store, const char *path,
                              void (*done)(void *ctx, int error), void *ctx)
{
    struct cp_image *image = sy_new(struct cp_image);
    *image = (struct cp_image){.loop = store->loop, .done = done, .ctx = ctx, .fd = -1};
    sy_timer_init(&image->told, on_ready, image);
    if (store->ops->dump != NULL) {
        store->ops->dump(store, &image->dump);
        sy_timer_start_in(image->loop, &image->told, 0);
        return image;
    }
    image->source = cp_store_source(store);
    snprintf(image->path, sizeof(image->path), "%s", path);
    sy_remove_tree(path);
    int error = pthread_create(&image->thread, NULL, make_checkpoint, image);
    image->running = error == 0; /* then the rest is the thread's, until it has ended */
    if (!image->running) {
        image->result = -error;
        sy_error_text_set(&image->error, "no thread: %s", strerror(error));
        sy_timer_start_in(image->loop, &image->told, 0);
    }
    return image;
}

const char *cp_image_error(const struct cp_image *image)
{
    return image->error.text;
}

/* Opens the next file; CP_STORE_E_NOT_FOUND: there is none. */
static int open_next(struct cp_image *image)
{
    const struct dirent *entry;
    while ((errno = 0, entry = readdir(image->directory)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(image->name, sizeof(image->name), "%s", entry->d_name);
        image->fd = openat(dirfd(image->directory), image->name, O_RDONLY | O_CLOEXEC);
        return image->fd < 0 ? -errno : 0;
    }
    return errno != 0 ? -errno : CP_STORE_E_NOT_FOUND;
}

static int next_of_dump(struct cp_image *image, size_t bytes_max, struct sy_buf *ret_bytes)
{
    size_t left = image->dump.len - image->at;
    size_t len = left < bytes_max ? left : bytes_max;
    if (len == 0)
        return CP_STORE_E_NOT_FOUND;
    sy_buf_clear(ret_bytes);
    sy_buf_append(ret_bytes, image->dump.data + image->at, len);
    image->at += len;
    return 0;
}

int cp_image_next(struct cp_image *image, size_t bytes_max, const char **ret_name,
                  struct sy_buf *ret_bytes)
{
    SY_ASSERT(!image->running && image->result == 0);
    *ret_name = image->name;
    if (image->source == NULL)
        return next_of_dump(image, bytes_max, ret_bytes);
    if (image->fd < 0) {
        int r = open_next(image);
        if (r != 0)
            return r;
    }
    sy_buf_clear(ret_bytes);
    sy_buf_reserve(ret_bytes, bytes_max);
    ssize_t n;
    do
        n = read(image->fd, ret_bytes->data, bytes_max);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    ret_bytes->len = (size_t)n;
    if ((size_t)n < bytes_max) { /* its end; an empty file is a piece, too */
        close(image->fd);
        image->fd = -1;
    }
    return 0;
}

void cp_image_free(struct cp_image *image)
{
    if (image == NULL)
        return;
    if (image->running) {
        pthread_join(image->thread, NULL);
        sy_loop_forget(image->loop, image);
    }
    sy_timer_stop(image->loop, &image->told);
    if (image->fd >= 0)
        close(image->fd);
    if (image->directory != NULL)
        closedir(image->directory);
    if (image->source != NULL)
        sy_remove_tree(image->path);
    cp_store_source_free(image->source);
    sy_buf_deinit(&image->dump);
    free(image);
}
