/*
 * Allocation that cannot fail: small, fixed-size requests abort when memory is out, since all
 * state that matters is durable. Sizes that a user controls are checked against a configured
 * maximum before they come here.
 */
#pragma once

#include <stddef.h>

/* Never NULL, also for size 0. */
void *sy_malloc(size_t size) __attribute__((malloc, returns_nonnull));
void *sy_calloc(size_t count, size_t size) __attribute__((malloc, returns_nonnull));
void *sy_realloc(void *ptr, size_t size) __attribute__((returns_nonnull));
char *sy_strdup(const char *s) __attribute__((malloc, returns_nonnull));
/* At most n bytes of s, and a NUL. */
char *sy_strndup(const char *s, size_t n) __attribute__((malloc, returns_nonnull));
void *sy_memdup(const void *data, size_t size) __attribute__((malloc, returns_nonnull));

/* sy_new(struct foo) is zeroed. */
#define sy_new(type) ((type *)sy_calloc(1, sizeof(type)))

/* For __attribute__((cleanup)): frees what a `T *` variable points to. */
void sy_freep(void *pointer_to_pointer);
#define SY_AUTOFREE __attribute__((cleanup(sy_freep)))

#define sy_container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))
#define SY_COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
