/* What the tests of the agent share: a loop that is turned until something holds, a scratch
 * directory, the programs beside this one. */
#pragma once

#include "base/loop.h"

#include <check.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Turns the loop until `condition` holds; false after `ms` at least. */
#define RUN_WITHIN(loop, condition, ms)                                                            \
    __extension__({                                                                                \
        bool held_ = false;                                                                        \
        for (int i_ = 0; i_ < (ms)*10 && !held_; i_++) {                                           \
            sy_loop_turn(loop);                                                                    \
            held_ = (condition);                                                                   \
            if (!held_)                                                                            \
                nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);                            \
        }                                                                                          \
        held_;                                                                                     \
    })

/* What surely comes, however busy the machine is. */
#define RUN_UNTIL(loop, condition) RUN_WITHIN(loop, condition, 60000)

/* For what must not come. */
#define RUN_FOR(loop, ms) RUN_WITHIN(loop, false, ms)

/* "<directory of this program>/<name>" */
static inline const char *beside(const char *name)
{
    static char path[4][1024];
    static unsigned next;
    char self[900];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    ck_assert(n > 0);
    self[n] = '\0';
    char *ret = path[next++ % 4];
    snprintf(ret, 1024, "%s/%s", dirname(self), name);
    return ret;
}

/* No such process, or a zombie that its new parent has not reaped. */
static inline bool process_gone(pid_t pid)
{
    char path[64], text[256] = "";
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return true;
    const char *got = fgets(text, sizeof(text), file);
    fclose(file);
    const char *state = got != NULL ? strrchr(text, ')') : NULL;
    return state == NULL || state[2] == 'Z';
}

/* A task library of tests/lib/tasks. */
static inline const char *task_library(const char *name)
{
    static char path[1200];
    snprintf(path, sizeof(path), "%s/%s.so", beside("../lib"), name);
    static char real[4096];
    ck_assert_msg(realpath(path, real) != NULL, "%s is not there", path);
    return real;
}

/* A new directory, for this process only. */
static inline const char *scratch(void)
{
    static char path[64];
    snprintf(path, sizeof(path), "/tmp/switchyard-test-XXXXXX");
    ck_assert(mkdtemp(path) != NULL);
    return path;
}

static inline void remove_scratch(const char *path)
{
    char command[256];
    snprintf(command, sizeof(command), "rm -rf '%s'", path);
    ck_assert(strncmp(path, "/tmp/switchyard-test-", 21) == 0);
    int r = system(command);
    (void)r;
}
