#include "base/arena.h"

#include "base/error.h"
#include "base/mem.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALIGNMENT 16
#define FIRST_BLOCK_BYTES ((size_t)4096)
#define BLOCK_BYTES_MAX ((size_t)256 * 1024)

struct sy_arena_block {
    struct sy_arena_block *next;
    size_t used, size;
    alignas(ALIGNMENT) uint8_t data[];
};

void sy_arena_init(struct sy_arena *arena, size_t max_bytes)
{
    *arena = (struct sy_arena){.max_bytes = max_bytes};
}

static void free_blocks(struct sy_arena_block *block)
{
    while (block) {
        struct sy_arena_block *next = block->next;
        free(block);
        block = next;
    }
}

void sy_arena_deinit(struct sy_arena *arena)
{
    free_blocks(arena->first);
    *arena = (struct sy_arena){0};
}

void sy_arena_reset(struct sy_arena *arena)
{
    struct sy_arena_block *first = arena->first;
    arena->used_bytes = 0;
    arena->current = first;
    if (!first)
        return;
    free_blocks(first->next);
    first->next = NULL;
    first->used = 0;
    /* One huge request must not be paid for by all that follow on this connection. */
    if (first->size > BLOCK_BYTES_MAX) {
        free(first);
        arena->first = arena->current = NULL;
    }
}

/* A block is left behind only when its free tail is smaller than the request that comes, so all
 * blocks together hold at most twice what was handed out, plus the last block. */
static struct sy_arena_block *add_block(struct sy_arena *arena, size_t size)
{
    struct sy_arena_block *last = arena->current;
    size_t block_size = last ? last->size * 2 : FIRST_BLOCK_BYTES - sizeof(struct sy_arena_block);
    if (block_size > BLOCK_BYTES_MAX)
        block_size = BLOCK_BYTES_MAX;
    if (block_size < size)
        block_size = size;
    struct sy_arena_block *block = sy_malloc(sizeof(*block) + block_size);
    *block = (struct sy_arena_block){.size = block_size};
    if (last)
        last->next = block;
    else
        arena->first = block;
    arena->current = block;
    return block;
}

void *sy_arena_alloc(struct sy_arena *arena, size_t size)
{
    SY_ASSERT(arena->used_bytes <= arena->max_bytes);
    if (size > arena->max_bytes)
        return NULL;
    size_t rounded = size == 0 ? ALIGNMENT : (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (rounded < size || rounded > arena->max_bytes - arena->used_bytes)
        return NULL;
    struct sy_arena_block *block = arena->current;
    if (!block || rounded > block->size - block->used)
        block = add_block(arena, rounded);
    void *ptr = block->data + block->used;
    block->used += rounded;
    arena->used_bytes += rounded;
    SY_ASSERT(block->used <= block->size);
    SY_ASSERT((uintptr_t)ptr % ALIGNMENT == 0);
    return ptr;
}

char *sy_arena_strdup(struct sy_arena *arena, const char *s)
{
    SY_ASSERT(s);
    size_t size = strlen(s) + 1;
    char *copy = sy_arena_alloc(arena, size);
    if (copy)
        memcpy(copy, s, size);
    return copy;
}

char *sy_arena_printf(struct sy_arena *arena, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    SY_ASSERT(len >= 0);
    char *text = sy_arena_alloc(arena, (size_t)len + 1);
    if (!text)
        return NULL;
    va_start(args, format);
    int written = vsnprintf(text, (size_t)len + 1, format, args);
    va_end(args);
    SY_ASSERT(written == len);
    return text;
}
