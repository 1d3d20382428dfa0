#include "base/error.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int sy_error_trace(int code, const char *file, int line, const char *function)
{
    int saved = errno;
    if (getenv("SWITCHYARD_TRACE")) {
        const char *name = strerrorname_np(-code);
        fprintf(stderr, "trace %s:%d %s(): %d %s\n", file, line, function, code, name ? name : "?");
    }
    errno = saved;
    return code;
}

_Noreturn void sy_assert_failed(const char *expr, const char *file, int line, const char *fn)
{
    fprintf(stderr, "assertion failed: %s at %s:%d in %s()\n", expr, file, line, fn);
    abort();
}

static size_t utf8_expected(unsigned char first)
{
    if (first >= 0xc2 && first <= 0xdf)
        return 2;
    if (first >= 0xe0 && first <= 0xef)
        return 3;
    if (first >= 0xf0 && first <= 0xf4)
        return 4;
    return 0;
}

/* Length of the well-formed character at `s` (Unicode 15, table 3-7), 0 when there is none. Reads
 * no further than the first byte that does not fit, so a NUL ends it. */
static size_t utf8_length(const unsigned char *s)
{
    if (s[0] < 0x80)
        return 1;
    size_t n = utf8_expected(s[0]);
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    }
    bool overlong = (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xf0 && s[1] < 0x90);
    bool surrogate = s[0] == 0xed && s[1] > 0x9f;
    bool too_large = s[0] == 0xf4 && s[1] > 0x8f;
    return overlong || surrogate || too_large ? 0 : n;
}

/* Error texts travel in protobuf strings and JSON, and are printed on terminals: only well-formed
 * UTF-8 without control characters may leave here. */
static void clean(char *text)
{
    unsigned char *s = (unsigned char *)text;
    while (*s) {
        size_t n = utf8_length(s);
        if (n == 0 || *s < 0x20 || *s == 0x7f) {
            *s = '?';
            n = 1;
        }
        s += n;
    }
}

/* Cuts at a character's start and says so. */
static void mark_cut(char *text, size_t size)
{
    static const char mark[] = "...";
    size_t at = size - sizeof(mark);
    while (at > 0 && ((unsigned char)text[at] & 0xc0) == 0x80)
        at--;
    memcpy(text + at, mark, sizeof(mark));
}

/* Formats to the side first: an argument may be the very text that is replaced. */
SY_PRINTF(3, 0)
static void format_at(struct sy_error_text *et, size_t at, const char *format, va_list args)
{
    char text[SY_ERROR_TEXT_MAX];
    SY_ASSERT(at < sizeof(et->text));
    size_t room = sizeof(et->text) - at;
    if (room <= sizeof("..."))
        return;
    int needed = vsnprintf(text, room, format, args);
    if (needed < 0)
        return;
    if ((size_t)needed >= room)
        mark_cut(text, room);
    clean(text);
    memcpy(et->text + at, text, strlen(text) + 1);
    SY_ASSERT(memchr(et->text, 0, sizeof(et->text)));
}

void sy_error_text_vset(struct sy_error_text *et, const char *format, va_list args)
{
    if (et)
        format_at(et, 0, format, args);
}

void sy_error_text_set(struct sy_error_text *et, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    sy_error_text_vset(et, format, args);
    va_end(args);
}

void sy_error_text_add(struct sy_error_text *et, const char *format, ...)
{
    if (!et)
        return;
    va_list args;
    va_start(args, format);
    size_t at = strnlen(et->text, sizeof(et->text) - 1);
    if (at > 0 && at + sizeof("; ...") < sizeof(et->text)) {
        memcpy(et->text + at, "; ", 3);
        at += 2;
    }
    format_at(et, at, format, args);
    va_end(args);
}
