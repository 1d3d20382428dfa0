/*
 * What a test makes a process believe (LD_PRELOAD): a wall clock that was stepped, a disk that
 * takes long to sync. The file $SWITCHYARD_TEST_SHIM has two numbers of 8 bytes, which may change
 * at any time: nanoseconds to add to the wall clock, milliseconds that each sync takes longer.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct shim {
    int64_t wall_ns, sync_ms;
};
static const struct shim nothing;
static const volatile struct shim *shim = &nothing;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("SWITCHYARD_TEST_SHIM");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *page = mmap(NULL, sizeof(struct shim), PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (page != MAP_FAILED)
        shim = page;
}

static void wait_for_disk(void)
{
    int64_t ms = shim->sync_ms;
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    if (ms > 0)
        nanosleep(&t, NULL);
}

int fsync(int fd)
{
    wait_for_disk();
    return (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    wait_for_disk();
    return (int)syscall(SYS_fdatasync, fd);
}

int clock_gettime(clockid_t clock, struct timespec *ret)
{
    int r = (int)syscall(SYS_clock_gettime, clock, ret);
    if (r == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t ns = (int64_t)ret->tv_sec * 1000000000 + ret->tv_nsec + shim->wall_ns;
        *ret = (struct timespec){ns / 1000000000, ns % 1000000000};
    }
    return r;
}

int gettimeofday(struct timeval *restrict ret, void *restrict unused)
{
    struct timespec t;
    (void)unused;
    int r = clock_gettime(CLOCK_REALTIME, &t);
    if (r == 0)
        *ret = (struct timeval){t.tv_sec, t.tv_nsec / 1000};
    return r;
}

time_t time(time_t *ret)
{
    struct timespec t = {0};
    clock_gettime(CLOCK_REALTIME, &t);
    if (ret)
        *ret = t.tv_sec;
    return t.tv_sec;
}
