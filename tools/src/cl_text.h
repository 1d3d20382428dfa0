/*
 * Text for people: names made safe for a terminal, widths, and amounts in short forms. What comes
 * from a server or a file name never reaches a terminal raw: control characters, bidirectional
 * overrides and malformed UTF-8 become '?'.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* A safe copy, to be freed. NULL gives "". */
char *cl_text_clean(const char *text);
/* Columns on a terminal; `text` is clean. */
unsigned cl_text_width(const char *text);
/* Bytes of the longest prefix that is at most `width` columns wide. */
size_t cl_text_prefix(const char *text, unsigned width);

#define CL_SHORT_TEXT 32
struct cl_short {
    char text[CL_SHORT_TEXT];
};
struct cl_short cl_format_duration(int64_t ns);       /* "850us", "1.24s", "3m12s", "2h05m" */
struct cl_short cl_format_bytes(uint64_t bytes);      /* "512B", "64.0MiB" */
struct cl_short cl_format_count(uint64_t count);      /* "1,234,567" */
struct cl_short cl_format_cpu(uint64_t milli);        /* "2", "0.5" */
struct cl_short cl_format_time(int64_t realtime_ns);  /* local "2026-01-31 12:00:00", "-" for 0 */
struct cl_short cl_format_clock(int64_t realtime_ns); /* local "12:00:00.123" */

/* ---- phases of actions: switchyard.v1.Phase and flyteidl2.common.ActionPhase ---- */
const char *cl_phase_name(int phase); /* "SUCCEEDED" */
bool cl_phase_final(int phase);
/* By name in any case; -1: there is none. */
int cl_phase_parse(const char *name);

/* ---- terminals ---- */
unsigned cl_terminal_width(FILE *file); /* 0: not a terminal, print without a limit */
