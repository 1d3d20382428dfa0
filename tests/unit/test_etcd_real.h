/*
 * The real etcd for tests: one to three members as processes on free ports of 127.0.0.1,
 * with their data in a directory of /tmp that goes with them. Started by main(), before there is a
 * thread.
 */
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { REAL_MEMBERS_MAX = 3 };

struct real {
    bool runs; /* false: it is not installed */
    char directory[64];
    size_t count;
    struct real_member {
        pid_t pid;
        int peer_port;
        char address[64]; /* for clients */
    } members[REAL_MEMBERS_MAX];
};

static inline bool port_is_free(int port)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    bool is_free = bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0;
    close(fd);
    return is_free;
}

/*
 * Members must know each other's before they start, and find theirs again after their death: so
 * below those that the kernel gives away (ip_local_port_range), for each process of tests others.
 */
static inline void choose_ports(struct real *real)
{
    enum { FIRST = 20000, COUNT = 12000 };
    int next = getpid() % (COUNT / REAL_MEMBERS_MAX) * REAL_MEMBERS_MAX;
    for (size_t i = 0; i < real->count; i++) {
        while (!port_is_free(FIRST + next % COUNT))
            next++;
        real->members[i].peer_port = FIRST + next++ % COUNT;
    }
}

static inline _Noreturn void real_exec(const struct real *real, size_t member)
{
    char name[16], data[32], log[32], peer[64], peers[256] = "";
    snprintf(name, sizeof(name), "m%zu", member);
    snprintf(data, sizeof(data), "data%zu", member);
    snprintf(log, sizeof(log), "log%zu", member);
    snprintf(peer, sizeof(peer), "http://127.0.0.1:%d", real->members[member].peer_port);
    for (size_t i = 0, len = 0; i < real->count; i++)
        len += (size_t)snprintf(peers + len, sizeof(peers) - len, "%sm%zu=http://127.0.0.1:%d",
                                i > 0 ? "," : "", i, real->members[i].peer_port);
    int fd = -1;
    if (chdir(real->directory) == 0)
        fd = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || dup2(fd, STDOUT_FILENO) < 0 || dup2(fd, STDERR_FILENO) < 0 ||
        prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
        _exit(126);
    execlp("etcd", "etcd", "--name", name, "--data-dir", data, "--listen-client-urls",
           "http://127.0.0.1:0", "--advertise-client-urls", "http://127.0.0.1:0",
           "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster",
           peers, (char *)NULL);
    _exit(127);
}

static inline void real_fork(struct real *real, size_t member)
{
    pid_t pid = fork();
    if (pid == 0)
        real_exec(real, member);
    real->members[member].pid = pid;
}

/* Where it says that it serves; false: not yet. */
static inline bool real_serves(struct real *real, size_t member)
{
    static char text[1 << 18];
    static const char mark[] = "serving insecure client requests on ";
    char log[96];
    snprintf(log, sizeof(log), "%s/log%zu", real->directory, member);
    FILE *file = fopen(log, "r");
    if (file == NULL)
        return false;
    size_t len = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[len] = '\0';
    const char *at = strstr(text, mark);
    char end[2];
    return at != NULL &&
           sscanf(at + strlen(mark), "%63[0-9.:]%1[,]", real->members[member].address, end) == 2;
}

static inline bool real_wait(struct real *real, size_t member)
{
    for (int i = 0; i < 6000 && waitpid(real->members[member].pid, NULL, WNOHANG) == 0; i++) {
        if (real_serves(real, member))
            return true;
        usleep(10000);
    }
    real->members[member].pid = 0;
    return false;
}

static inline void real_start(struct real *real, size_t count)
{
    *real = (struct real){.count = count};
    snprintf(real->directory, sizeof(real->directory), "/tmp/test_etcd_XXXXXX");
    real->runs = mkdtemp(real->directory) != NULL;
    choose_ports(real);
    for (size_t i = 0; i < count; i++)
        real_fork(real, i);
    for (size_t i = 0; i < count; i++)
        real->runs = real_wait(real, i) && real->runs;
    if (!real->runs)
        printf("SKIPPED: etcd is not installed (tools/install-deps test), or does not start\n");
}

static inline void real_kill(struct real *real, size_t member)
{
    if (real->members[member].pid > 0 && kill(real->members[member].pid, SIGKILL) == 0)
        waitpid(real->members[member].pid, NULL, 0);
    real->members[member].pid = 0;
}

static inline void real_stop(struct real *real)
{
    char command[96];
    for (size_t i = 0; i < real->count; i++)
        real_kill(real, i);
    snprintf(command, sizeof(command), "rm -rf '%s'", real->directory);
    if (system(command) != 0)
        printf("cannot remove %s\n", real->directory);
}
