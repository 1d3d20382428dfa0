/*
 * A network for tests: a namespace for each host, and this program between them, which hands on
 * their packets, or not. It needs no more of the kernel than TUN devices; delay and loss of the
 * kernel's own (netem) are missing from many.
 *
 *     wire DIR HOST=ADDRESS...      HOST "." is the namespace that it was started in
 *
 * DIR/HOST becomes a name of the host's namespace (nsenter --net=DIR/HOST). Addresses are
 * 10.77.0.1 to 10.77.0.254. Then it says "ready", and reads orders, one a line, of links in one
 * direction; each is answered "ok", or "error: ...":
 *
 *     FROM TO LOSS DELAY JITTER     hosts, or "*"; per mille lost (1000: a cut), microseconds
 *
 * Packets of a link keep their order. It ends with its input. One thread; all of it owned by main.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <time.h>
#include <unistd.h>

#define HOSTS_MAX 64
#define MTU 9000
#define LINE_MAX_BYTES 256
#define HEADER_MIN 20
#define LATE_MAX 65536 /* packets under way; more are lost, as in a full queue */

struct link {
    unsigned loss; /* per mille */
    int64_t delay_ns, jitter_ns, last_ns;
};

struct host {
    char name[64];
    int fd;
};

struct packet {
    int64_t due_ns;
    uint64_t sequence;
    unsigned to;
    size_t size;
    uint8_t data[];
};

struct wire {
    struct host hosts[HOSTS_MAX + 1];
    unsigned count;
    uint8_t by_address[256]; /* index + 1 */
    struct link links[HOSTS_MAX][HOSTS_MAX];
    struct packet *late[LATE_MAX]; /* a heap by (due_ns, sequence) */
    unsigned late_count;
    uint64_t sequence, random;
    char line[LINE_MAX_BYTES];
    size_t line_size;
};

__attribute__((noreturn)) static void die(const char *what)
{
    fprintf(stderr, "wire: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* xorshift64* */
static uint64_t draw(struct wire *w, uint64_t below)
{
    w->random ^= w->random >> 12;
    w->random ^= w->random << 25;
    w->random ^= w->random >> 27;
    return below == 0 ? 0 : (w->random * 2685821657736338717ull >> 11) % below;
}

/* ---- packets that are late ---- */

static bool before(const struct packet *a, const struct packet *b)
{
    return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->sequence < b->sequence;
}

static void push_late(struct wire *w, struct packet *p)
{
    unsigned at = w->late_count++;
    for (; at > 0 && before(p, w->late[(at - 1) / 2]); at = (at - 1) / 2)
        w->late[at] = w->late[(at - 1) / 2];
    w->late[at] = p;
}

static struct packet *pop_late(struct wire *w)
{
    struct packet *first = w->late[0], *last = w->late[--w->late_count];
    unsigned at = 0;
    for (;;) {
        unsigned child = 2 * at + 1;
        if (child + 1 < w->late_count && before(w->late[child + 1], w->late[child]))
            child++;
        if (child >= w->late_count || !before(w->late[child], last))
            break;
        w->late[at] = w->late[child];
        at = child;
    }
    w->late[at] = last;
    return first;
}

/* What a host does not take is lost, as on a real link. */
static void deliver(struct wire *w, unsigned to, const uint8_t *data, size_t size)
{
    ssize_t n = write(w->hosts[to].fd, data, size);
    (void)n;
}

static void deliver_due(struct wire *w)
{
    while (w->late_count > 0 && w->late[0]->due_ns <= now_ns()) {
        struct packet *p = pop_late(w);
        deliver(w, p->to, p->data, p->size);
        free(p);
    }
}

static void hand_on(struct wire *w, unsigned from, const uint8_t *data, size_t size)
{
    if (size < HEADER_MIN || data[0] >> 4 != 4 || w->by_address[data[19]] == 0)
        return;
    unsigned to = w->by_address[data[19]] - 1u;
    struct link *link = &w->links[from][to];
    if (link->loss > 0 && draw(w, 1000) < link->loss)
        return;
    int64_t now = now_ns();
    if (link->delay_ns == 0 && link->last_ns <= now) {
        deliver(w, to, data, size);
        return;
    }
    struct packet *p = w->late_count < LATE_MAX ? malloc(sizeof(*p) + size) : NULL;
    if (!p)
        return;
    int64_t due = now + link->delay_ns + (int64_t)draw(w, (uint64_t)link->jitter_ns);
    link->last_ns = due > link->last_ns ? due : link->last_ns;
    *p = (struct packet){
        .due_ns = link->last_ns, .sequence = w->sequence++, .to = to, .size = size};
    memcpy(p->data, data, size);
    push_late(w, p);
}

static void receive(struct wire *w, unsigned from)
{
    uint8_t data[MTU];
    for (int i = 0; i < 64; i++) { /* then others have a turn */
        ssize_t n = read(w->hosts[from].fd, data, sizeof(data));
        if (n <= 0)
            return;
        hand_on(w, from, data, (size_t)n);
    }
}

/* ---- orders ---- */

static bool is(const struct wire *w, unsigned host, const char *name)
{
    return strcmp(name, "*") == 0 || strcmp(name, w->hosts[host].name) == 0;
}

static void order(struct wire *w, const char *line)
{
    char from[64], to[64];
    unsigned loss, delay_us, jitter_us, found = 0;
    if (sscanf(line, "%63s %63s %u %u %u", from, to, &loss, &delay_us, &jitter_us) != 5 ||
        loss > 1000) {
        printf("error: '%s': expected FROM TO LOSS DELAY JITTER\n", line);
        return;
    }
    for (unsigned i = 0; i < w->count; i++) {
        for (unsigned j = 0; j < w->count; j++) {
            if (!is(w, i, from) || !is(w, j, to))
                continue;
            struct link *link = &w->links[i][j];
            link->loss = loss;
            link->delay_ns = (int64_t)delay_us * 1000;
            link->jitter_ns = (int64_t)jitter_us * 1000;
            found++;
        }
    }
    printf(found > 0 ? "ok\n" : "error: there are no such hosts\n");
}

/* False: no more will come. */
static bool read_orders(struct wire *w)
{
    ssize_t n = read(STDIN_FILENO, w->line + w->line_size, sizeof(w->line) - 1 - w->line_size);
    if (n <= 0)
        return false;
    w->line_size += (size_t)n;
    w->line[w->line_size] = '\0';
    char *end;
    while ((end = strchr(w->line, '\n')) != NULL) {
        *end = '\0';
        order(w, w->line);
        w->line_size -= (size_t)(end + 1 - w->line);
        memmove(w->line, end + 1, w->line_size + 1);
    }
    fflush(stdout);
    return w->line_size < sizeof(w->line) - 1;
}

/* ---- hosts ---- */

static void set_up(int socket, const char *device)
{
    struct ifreq r = {0};
    snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", device);
    r.ifr_flags = IFF_UP | IFF_RUNNING;
    if (ioctl(socket, SIOCSIFFLAGS, &r) < 0)
        die(device);
}

static void set_address(int socket, unsigned long what, const char *address)
{
    struct ifreq r = {.ifr_name = "wire0"};
    struct sockaddr_in in = {.sin_family = AF_INET};
    if (inet_pton(AF_INET, address, &in.sin_addr) != 1) {
        errno = EINVAL;
        die(address);
    }
    memcpy(&r.ifr_addr, &in, sizeof(in));
    if (ioctl(socket, what, &r) < 0)
        die(address);
}

/* In the namespace that this thread is in. */
static int open_device(const char *address)
{
    struct ifreq r = {.ifr_name = "wire0", .ifr_flags = IFF_TUN | IFF_NO_PI};
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || ioctl(fd, TUNSETIFF, &r) < 0)
        die("/dev/net/tun");
    int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (s < 0)
        die("socket");
    set_address(s, SIOCSIFADDR, address);
    set_address(s, SIOCSIFNETMASK, "255.255.255.0");
    struct ifreq mtu = {.ifr_name = "wire0", .ifr_mtu = MTU};
    if (ioctl(s, SIOCSIFMTU, &mtu) < 0)
        die("MTU");
    set_up(s, "wire0");
    set_up(s, "lo");
    close(s);
    return fd;
}

/* Binds the namespace of this thread to DIR/HOST. */
static void name_namespace(const char *directory, const char *host)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", directory, host);
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
    if (fd < 0 || mount("/proc/self/ns/net", path, NULL, MS_BIND, NULL) < 0)
        die(path);
    close(fd);
}

static void add_host(struct wire *w, const char *directory, int home, const char *argument)
{
    struct host *host = &w->hosts[w->count];
    char address[32];
    unsigned last;
    if (w->count == HOSTS_MAX || sscanf(argument, "%63[^=]=%31s", host->name, address) != 2 ||
        sscanf(address, "10.77.0.%u", &last) != 1 || last < 1 || last > 254) {
        errno = EINVAL;
        die(argument);
    }
    bool own = strcmp(host->name, ".") == 0;
    if (!own && unshare(CLONE_NEWNET) < 0)
        die("a network namespace");
    host->fd = open_device(address);
    if (!own)
        name_namespace(directory, host->name);
    if (setns(home, CLONE_NEWNET) < 0)
        die("back to the first namespace");
    w->by_address[last] = (uint8_t)++w->count;
}

static void run(struct wire *w)
{
    struct pollfd fds[HOSTS_MAX + 1];
    for (;;) {
        for (unsigned i = 0; i < w->count; i++)
            fds[i] = (struct pollfd){.fd = w->hosts[i].fd, .events = POLLIN};
        fds[w->count] = (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
        struct timespec wait = {0};
        int64_t left = w->late_count > 0 ? w->late[0]->due_ns - now_ns() : 0;
        if (left > 0)
            wait = (struct timespec){left / 1000000000, left % 1000000000};
        if (ppoll(fds, w->count + 1, w->late_count > 0 ? &wait : NULL, NULL) < 0 && errno != EINTR)
            die("poll");
        deliver_due(w);
        for (unsigned i = 0; i < w->count; i++) {
            if (fds[i].revents)
                receive(w, i);
        }
        if (fds[w->count].revents && !read_orders(w))
            return;
    }
}

int main(int argc, char **argv)
{
    struct wire *w = calloc(1, sizeof(*w));
    int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (!w || home < 0 || argc < 3)
        die("usage: wire DIR HOST=ADDRESS...");
    w->random = 88172645463325252ull;
    for (int i = 2; i < argc; i++)
        add_host(w, argv[1], home, argv[i]);
    puts("ready");
    fflush(stdout);
    run(w);
    return 0;
}
