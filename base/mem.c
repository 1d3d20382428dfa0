#include "base/mem.h"

#include "base/error.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* malloc(0) may return NULL, which would look like exhaustion: ask for a byte instead. */
static void *checked(void *ptr)
{
    if (__builtin_expect(!ptr, 0))
        sy_assert_failed("memory is not exhausted", __FILE__, __LINE__, __func__);
    return ptr;
}

void *sy_malloc(size_t size)
{
    return checked(malloc(size ? size : 1));
}

void *sy_calloc(size_t count, size_t size)
{
    if (count == 0 || size == 0)
        return checked(calloc(1, 1));
    return checked(calloc(count, size));
}

void *sy_realloc(void *ptr, size_t size)
{
    return checked(realloc(ptr, size ? size : 1));
}

char *sy_strdup(const char *s)
{
    SY_ASSERT(s);
    return sy_memdup(s, strlen(s) + 1);
}

char *sy_strndup(const char *s, size_t n)
{
    SY_ASSERT(s || n == 0);
    size_t len = n ? strnlen(s, n) : 0;
    SY_ASSERT(len < SIZE_MAX);
    char *copy = sy_malloc(len + 1);
    if (len)
        memcpy(copy, s, len);
    copy[len] = 0;
    return copy;
}

void *sy_memdup(const void *data, size_t size)
{
    SY_ASSERT(data || size == 0);
    void *copy = sy_malloc(size);
    if (size)
        memcpy(copy, data, size);
    return copy;
}

void sy_freep(void *pointer_to_pointer)
{
    void *ptr;
    memcpy(&ptr, pointer_to_pointer, sizeof(ptr));
    free(ptr);
}
