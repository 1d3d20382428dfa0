/* switchyard-worker --concurrency N: started by an agent's pool, see worker_page.h for what it
 * inherits. */
#include "agent/worker.h"
#include "base/mem.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* A signal handler has no argument through which it could find the worker. */
static struct ag_worker *dying_worker;

/* Results and log lines that wait leave before the process does. */
static void on_crash(int signal)
{
    if (dying_worker != NULL)
        ag_worker_flush_dying(dying_worker);
    raise(signal); /* SA_RESETHAND: ends the process as it would have */
}

/* A task called exit(). */
static void on_exit_called(void)
{
    if (dying_worker != NULL)
        ag_worker_flush_dying(dying_worker);
}

static void install_handlers(void)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    struct sigaction action = {.sa_handler = on_crash,
                               .sa_flags = (int)(SA_RESETHAND | SA_ONSTACK)};
    for (size_t i = 0; i < SY_COUNT_OF(signals); i++)
        sigaction(signals[i], &action, NULL);
    atexit(on_exit_called);
}

static struct ag_worker_page *map_page(void)
{
    struct stat stat;
    int flags = MAP_SHARED, fd = AG_WORKER_PAGE_FD;
    if (fstat(fd, &stat) < 0 || stat.st_size < AG_WORKER_PAGE_BYTES) {
        flags = MAP_PRIVATE | MAP_ANONYMOUS;
        fd = -1;
    }
    void *page = mmap(NULL, AG_WORKER_PAGE_BYTES, PROT_READ | PROT_WRITE, flags, fd, 0);
    if (page == MAP_FAILED)
        ag_worker_die(NULL, "mmap: %s", strerror(errno));
    if (fd >= 0)
        close(fd);
    struct ag_worker_page *shared = page;
    atomic_store(&shared->magic, AG_WORKER_PAGE_MAGIC);
    return shared;
}

static unsigned parse_concurrency(int argc, char **argv)
{
    if (argc == 1)
        return 1;
    char *end = NULL;
    unsigned long value = argc == 3 ? strtoul(argv[2], &end, 10) : 0;
    if (argc != 3 || strcmp(argv[1], "--concurrency") != 0 || *end != '\0' || value < 1 ||
        value > AG_WORKER_CONCURRENCY_MAX) {
        fprintf(stderr, "usage: switchyard-worker [--concurrency 1..%d]; started by an agent\n",
                AG_WORKER_CONCURRENCY_MAX);
        exit(2);
    }
    return (unsigned)value;
}

int main(int argc, char **argv)
{
    unsigned concurrency = parse_concurrency(argc, argv);
    if (fcntl(AG_WORKER_SOCKET_FD, F_SETFD, FD_CLOEXEC) < 0) {
        fputs("switchyard-worker: fd 3 is no socket: it is started by an agent\n", stderr);
        return 2;
    }
    const char *environment = getenv("SWITCHYARD_ENVIRONMENT");
    struct ag_worker *worker = sy_new(struct ag_worker);
    worker->fd = AG_WORKER_SOCKET_FD;
    worker->pid = getpid();
    worker->environment = environment != NULL ? environment : "";
    worker->concurrency = concurrency;
    worker->page = map_page();
    dying_worker = worker;
    install_handlers();
    int status = ag_worker_run(worker);
    dying_worker = NULL;
    fflush(NULL);
    _exit(status); /* the helper still uses the worker, and libraries' destructors may be slow */
}
