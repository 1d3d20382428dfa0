/*
 * Error handling for all of Switchyard.
 *
 * Functions that can fail return int and are SY_MUST_USE:
 *   0          done
 *   negative   a fatal errno; the caller forwards it unchanged through sy_trace()
 *   positive   a documented outcome of that one function (CP_STORE_E_*, ...); its direct
 *              caller handles it and never forwards it
 *
 * What parses input from a user also fills a struct sy_error_text: one bounded sentence that
 * names the field, its value, and what would be right.
 */
#pragma once

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>

#define SY_MUST_USE __attribute__((warn_unused_result))
#define SY_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define SY_CLEANUP(fn) __attribute__((cleanup(fn)))

/* Moves a pointer out of a variable with a cleanup attribute. */
#define sy_take(ptr)                                                                               \
    __extension__({                                                                                \
        __auto_type _taken = (ptr);                                                                \
        (ptr) = NULL;                                                                              \
        _taken;                                                                                    \
    })

/* Forwards a fatal error; with SWITCHYARD_TRACE set in the environment it prints where. */
int sy_error_trace(int code, const char *file, int line, const char *function);
#define sy_trace(code)                                                                             \
    __extension__({                                                                                \
        int _traced = (code);                                                                      \
        _traced < 0 ? sy_error_trace(_traced, __FILE__, __LINE__, __func__) : _traced;             \
    })

/* A check of our own correctness; stays on in production, has no side effects. Prints the
 * expression and the place to stderr and aborts. */
#define SY_ASSERT(expr)                                                                            \
    do {                                                                                           \
        if (__builtin_expect(!(expr), 0))                                                          \
            sy_assert_failed(#expr, __FILE__, __LINE__, __func__);                                 \
    } while (0)
_Noreturn void sy_assert_failed(const char *expr, const char *file, int line, const char *fn);

#define SY_ERROR_TEXT_MAX 512

/* A sentence for the person who caused the error. Always terminated; cut when too long. */
struct sy_error_text {
    char text[SY_ERROR_TEXT_MAX];
};

/* Replaces the text. `et` may be NULL, then nothing happens. Control characters that arrive in
 * arguments are shown as '?'. */
void sy_error_text_set(struct sy_error_text *et, const char *format, ...) SY_PRINTF(2, 3);
void sy_error_text_vset(struct sy_error_text *et, const char *format, va_list args) SY_PRINTF(2, 0);

/* Appends a further sentence after "; ". For checks that report every problem at once. */
void sy_error_text_add(struct sy_error_text *et, const char *format, ...) SY_PRINTF(2, 3);
