/*
 * Task libraries: opened once, looked at again with each frame that arrives.
 *
 * A library is known by (path, device, inode, modification time, size). The first one under a path
 * is opened by that path, so that debuggers and $ORIGIN work. When the file has changed since,
 * dlopen() would give the old one again (it compares names first), so the new content is copied
 * into a memfd and opened from there. The old one stays open: tasks may be running in it. Building
 * over a library in place (same inode, as `cp` does) changes code under running tasks; linkers and
 * `install` make a new inode.
 */
#include "agent/worker.h"
#include "base/mem.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#define LIBRARIES_MAX 256
#define FUNCTIONS_MAX 1024

struct function {
    struct function *next;
    sy_task_fn fn;
    char name[];
};

struct ag_worker_library {
    struct ag_worker_library *next; /* newest first, so that the newest of a path is found */
    void *handle;
    struct function *functions;
    unsigned function_count;
    uint64_t checked; /* the frame at which the file was last looked at */
    struct stat stat;
    char path[];
};

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static int copy_to_memfd(const char *path, char *ret_name, size_t size)
{
    int from = open(path, O_RDONLY | O_CLOEXEC);
    if (from < 0)
        return -1;
    int to = memfd_create("switchyard-library", MFD_CLOEXEC);
    ssize_t n = to < 0 ? -1 : 1;
    while (n > 0)
        n = sendfile(to, from, NULL, (size_t)1 << 30);
    close(from);
    if (n == 0)
        snprintf(ret_name, size, "/proc/self/fd/%d", to);
    else if (to >= 0)
        close(to);
    return n == 0 ? to : -1;
}

static struct ag_worker_library *find_loaded(struct ag_worker *worker, const char *path)
{
    for (struct ag_worker_library *l = worker->libraries; l != NULL; l = l->next) {
        if (strcmp(l->path, path) == 0)
            return l;
    }
    return NULL;
}

static struct ag_worker_library *load(struct ag_worker *worker, const char *path,
                                      const struct stat *stat, bool copy, char *ret_error,
                                      size_t error_size)
{
    if (worker->library_count >= LIBRARIES_MAX) {
        snprintf(ret_error, error_size, "this worker has loaded %d libraries already",
                 LIBRARIES_MAX);
        return NULL;
    }
    char name[64];
    int fd = copy ? copy_to_memfd(path, name, sizeof(name)) : -1;
    if (copy && fd < 0) {
        snprintf(ret_error, error_size, "%s: cannot be copied: %s", path, strerror(errno));
        return NULL;
    }
    /* The descriptor of a copy stays open: its number is the name that dlopen() remembers. */
    void *handle = dlopen(copy ? name : path, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL) {
        snprintf(ret_error, error_size, "%s: %s", path, dlerror());
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    size_t length = strlen(path) + 1;
    struct ag_worker_library *library = sy_calloc(1, sizeof(*library) + length);
    memcpy(library->path, path, length);
    library->handle = handle;
    library->stat = *stat;
    library->next = worker->libraries;
    worker->libraries = library;
    worker->library_count++;
    return library;
}

static struct ag_worker_library *open_library(struct ag_worker *worker, const char *path,
                                              char *ret_error, size_t error_size)
{
    struct ag_worker_library *library = find_loaded(worker, path);
    uint64_t frames = atomic_load_explicit(&worker->frames,
                                           memory_order_relaxed); /* stale: one more stat() */
    if (library != NULL && library->checked == frames)
        return library;
    struct stat now;
    if (path[0] != '/' || stat(path, &now) < 0) {
        snprintf(ret_error, error_size, "library '%s': %s", path,
                 path[0] != '/' ? "expected an absolute path" : strerror(errno));
        return NULL;
    }
    if (library == NULL || !same_file(&library->stat, &now))
        library = load(worker, path, &now, library != NULL, ret_error, error_size);
    if (library != NULL)
        library->checked = frames;
    return library;
}

static sy_task_fn find_function(struct ag_worker_library *library, const char *name,
                                char *ret_error, size_t error_size)
{
    for (struct function *f = library->functions; f != NULL; f = f->next) {
        if (strcmp(f->name, name) == 0)
            return f->fn;
    }
    void *symbol = dlsym(library->handle, name);
    if (symbol == NULL || library->function_count >= FUNCTIONS_MAX) {
        snprintf(ret_error, error_size, "%s has no function '%s'", library->path, name);
        return NULL;
    }
    size_t length = strlen(name) + 1;
    struct function *f = sy_malloc(sizeof(*f) + length);
    memcpy(f->name, name, length);
    memcpy(&f->fn, &symbol, sizeof(symbol)); /* POSIX allows it, ISO C has no cast for it */
    f->next = library->functions;
    library->functions = f;
    library->function_count++;
    return f->fn;
}

sy_task_fn ag_worker_library_find(struct ag_worker *worker, const char *path, const char *function,
                                  char *ret_error, size_t error_size)
{
    sy_task_fn fn = NULL;
    pthread_mutex_lock(&worker->library_mutex);
    struct ag_worker_library *library = open_library(worker, path, ret_error, error_size);
    if (library != NULL)
        fn = find_function(library, function, ret_error, error_size);
    pthread_mutex_unlock(&worker->library_mutex);
    return fn;
}
