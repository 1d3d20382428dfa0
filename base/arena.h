/*
 * A bump arena: one for each request. Nothing in an arena is kept in state; copy it out.
 * It has a hard cap, so that a small message cannot blow up into gigabytes of structs
 * (1 MiB of empty protobuf sub-messages unpack to 104 MiB): when the cap is reached allocation
 * returns NULL, and protobuf-c's unpack then returns NULL as well.
 *
 * Owned by one thread. sy_arena_reset() keeps the first block for the next request.
 */
#pragma once

#include <stddef.h>

struct sy_arena_block;

struct sy_arena {
    struct sy_arena_block *first, *current;
    size_t used_bytes; /* handed out since init or reset */
    size_t max_bytes;
};

void sy_arena_init(struct sy_arena *arena, size_t max_bytes);
void sy_arena_deinit(struct sy_arena *arena);
void sy_arena_reset(struct sy_arena *arena);

/* 16-byte aligned, not zeroed; NULL when the cap is reached. */
void *sy_arena_alloc(struct sy_arena *arena, size_t size);
char *sy_arena_strdup(struct sy_arena *arena, const char *s);
char *sy_arena_printf(struct sy_arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
