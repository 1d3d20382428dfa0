#include "controlplane/disk_probe.h"

#include "base/file.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#define EVERY_NS (5 * SY_NS_PER_S)
#define SLOW_NS SY_NS_PER_S

struct probe {
    struct cp_disk_probe port;
    struct sy_loop *loop;
    struct sy_timer timer;
    char path[PATH_MAX];
    int64_t every_ns, slow_ns;
    int (*sync)(int fd);
    bool watched, looking; /* looking: the thread is there */
    pthread_t thread;
    int64_t since_ns; /* the look began */
    int result;       /* the thread's, until it has ended */
};

/* ---- the thread ---- */

static int write_synced(const struct probe *probe)
{
    int fd = open(probe->path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
    if (fd < 0)
        return -errno;
    int r = write(fd, "probe\n", 6) == 6 && probe->sync(fd) == 0 ? 0 : -EIO;
    close(fd);
    return unlink(probe->path) == 0 || r < 0 ? r : -errno;
}

static void on_looked(void *arg);

static void *look_at_disk(void *arg)
{
    struct probe *probe = arg;
    pthread_setname_np(pthread_self(), "sy-disk-probe");
    probe->result = write_synced(probe);
    sy_loop_post_always(probe->loop, on_looked, probe);
    return NULL;
}

/* ---- the loop ---- */

static void tell_slow(struct probe *probe)
{
    if (probe->watched && probe->port.on_slow != NULL)
        probe->port.on_slow(probe->port.ctx);
}

static bool took_long(const struct probe *probe)
{
    return sy_loop_now_ns(probe->loop) - probe->since_ns > probe->slow_ns;
}

static void on_looked(void *arg)
{
    struct probe *probe = arg;
    SY_ASSERT(probe->looking);
    pthread_join(probe->thread, NULL);
    probe->looking = false;
    if (probe->result < 0 || took_long(probe))
        tell_slow(probe);
}

static void look(void *arg)
{
    struct probe *probe = arg;
    if (!probe->watched)
        return;
    sy_timer_start_in(probe->loop, &probe->timer, probe->every_ns);
    if (probe->looking) {
        if (took_long(probe))
            tell_slow(probe);
        return;
    }
    probe->since_ns = sy_loop_now_ns(probe->loop);
    probe->looking = pthread_create(&probe->thread, NULL, look_at_disk, probe) == 0;
    if (!probe->looking)
        tell_slow(probe); /* it is not known to be well */
}

static void watch(struct cp_disk_probe *port, bool on)
{
    struct probe *probe = sy_container_of(port, struct probe, port);
    if (on && !probe->watched)
        sy_timer_start_in(probe->loop, &probe->timer, 0);
    else if (!on)
        sy_timer_stop(probe->loop, &probe->timer);
    probe->watched = on;
}

struct cp_disk_probe *cp_disk_probe_new(struct sy_loop *loop, const char *directory,
                                        const char *shard,
                                        const struct cp_disk_probe_options *options)
{
    static const struct cp_disk_probe_ops ops = {watch};
    struct cp_disk_probe_options own = {0};
    struct probe *probe = sy_new(struct probe);
    if (options != NULL)
        own = *options;
    probe->port.ops = &ops;
    probe->loop = loop;
    probe->every_ns = own.every_ns > 0 ? own.every_ns : EVERY_NS;
    probe->slow_ns = own.slow_ns > 0 ? own.slow_ns : SLOW_NS;
    probe->sync = own.sync != NULL ? own.sync : fsync;
    sy_path_print(probe->path, "%s/.probe-%s", directory, shard);
    sy_timer_init(&probe->timer, look, probe);
    return &probe->port;
}

void cp_disk_probe_free(struct cp_disk_probe *port)
{
    if (port == NULL)
        return;
    struct probe *probe = sy_container_of(port, struct probe, port);
    sy_timer_stop(probe->loop, &probe->timer);
    if (probe->looking)
        pthread_join(probe->thread, NULL);
    sy_loop_forget(probe->loop, probe);
    free(probe);
}
