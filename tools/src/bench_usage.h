/*
 * What processes used, from /proc: CPU time (user and system, reaped children included), bytes that
 * went to the block layer (write_bytes of /proc/PID/io), resident memory (VmRSS) and its peak
 * (VmHWM). A name stands for a process and all below it, up to the next named one: workers count
 * for their agent.
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define BENCH_PROCESSES_MAX 16

struct bench_sample {
    uint64_t cpu_us, written_bytes, rss_peak_bytes, rss_bytes;
};

struct bench_usage {
    struct bench_process {
        char name[32];
        pid_t pid;
        struct bench_sample begin, end;
    } processes[BENCH_PROCESSES_MAX];
    size_t count;
    bool no_io; /* /proc/PID/io could not be read: written_bytes means nothing */
};

/* "client=self,shard=123,agent=456". Without "self" the client is added. -EINVAL with a sentence.
 */
int bench_usage_parse(struct bench_usage *usage, const char *text,
                      struct sy_error_text *error) SY_MUST_USE;
void bench_usage_begin(struct bench_usage *usage);
void bench_usage_end(struct bench_usage *usage);
/* Between begin and end; never negative. `written` is of all processes. */
uint64_t bench_usage_cpu_us(const struct bench_usage *usage, size_t process);
uint64_t bench_usage_written(const struct bench_usage *usage);
uint64_t bench_usage_rss_peak(const struct bench_usage *usage);
/* How much the resident memory of one grew between begin and end; never negative. */
uint64_t bench_usage_rss_growth(const struct bench_usage *usage, size_t process);
/* SIZE_MAX: there is none of that name. */
size_t bench_usage_find(const struct bench_usage *usage, const char *name);
/* Bytes on disk below a folder. */
uint64_t bench_folder_bytes(const char *path);
