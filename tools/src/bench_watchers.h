/*
 * switchyard-bench-watchers ENDPOINT PROJECT DOMAIN RUN COUNT: a process of the bench `streams`. It
 * opens COUNT streams of WatchActionDetails of the run's root, each on a connection of its own,
 * HTTP/1.1 and Connect. Prints "open" when each has had its first message, and when each has ended
 * after the root's end, one line for each: when that message came (CLOCK_MONOTONIC, ns).
 *
 * Its connections are plain sockets on one loop, so that what is measured is the server.
 */
#pragma once

/* The whole program: its exit status. What went wrong is one sentence on stderr. */
int bench_watchers_program(int argc, char **argv);
