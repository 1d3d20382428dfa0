#include "tools/src/cl_text.h"

#include "base/clock.h"
#include "base/mem.h"

#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

/* Decodes one character; 0 = malformed. */
static size_t decode(const unsigned char *s, uint32_t *ret)
{
    static const struct {
        unsigned char low, high, mask;
        uint32_t least;
    } forms[] = {{0xc2, 0xdf, 0x1f, 0x80}, {0xe0, 0xef, 0x0f, 0x800}, {0xf0, 0xf4, 0x07, 0x10000}};
    if (s[0] < 0x80) {
        *ret = s[0];
        return 1;
    }
    for (size_t form = 0; form < SY_COUNT_OF(forms); form++) {
        if (s[0] < forms[form].low || s[0] > forms[form].high)
            continue;
        uint32_t c = s[0] & forms[form].mask;
        for (size_t i = 1; i <= form + 1; i++) {
            if ((s[i] & 0xc0) != 0x80)
                return 0;
            c = (c << 6) | (s[i] & 0x3f);
        }
        if (c < forms[form].least || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
            return 0;
        *ret = c;
        return form + 2;
    }
    return 0;
}

static bool within(uint32_t c, uint32_t low, uint32_t high)
{
    return c >= low && c <= high;
}

static bool harmful(uint32_t c)
{
    return c < 0x20 || within(c, 0x7f, 0x9f) || within(c, 0x2028, 0x202e) ||
           within(c, 0x2066, 0x2069) || c == 0x200e || c == 0x200f;
}

/* As terminals do for the characters that people use; not the whole of UAX 11. */
static unsigned columns(uint32_t c)
{
    if (within(c, 0x300, 0x36f) || within(c, 0x200b, 0x200d) || within(c, 0xfe00, 0xfe0f))
        return 0;
    if (within(c, 0x1100, 0x115f) || within(c, 0x2e80, 0x303e) || within(c, 0x3041, 0xa4cf) ||
        within(c, 0xac00, 0xd7a3) || within(c, 0xf900, 0xfaff) || within(c, 0xfe30, 0xfe6f) ||
        within(c, 0xff00, 0xff60) || within(c, 0xffe0, 0xffe6) || within(c, 0x1f300, 0x1f64f) ||
        within(c, 0x1f900, 0x1f9ff) || within(c, 0x20000, 0x3fffd))
        return 2;
    return 1;
}

char *cl_text_clean(const char *text)
{
    if (!text)
        text = "";
    char *copy = sy_malloc(strlen(text) + 1), *to = copy;
    for (const unsigned char *s = (const unsigned char *)text; *s;) {
        uint32_t c = 0;
        size_t n = decode(s, &c);
        if (n == 0 || harmful(c)) {
            *to++ = '?';
            s += n ? n : 1;
        } else {
            memcpy(to, s, n);
            to += n;
            s += n;
        }
    }
    *to = '\0';
    return copy;
}

unsigned cl_text_width(const char *text)
{
    unsigned width = 0;
    for (const unsigned char *s = (const unsigned char *)text; *s;) {
        uint32_t c = 0;
        size_t n = decode(s, &c);
        width += n ? columns(c) : 1;
        s += n ? n : 1;
    }
    return width;
}

size_t cl_text_prefix(const char *text, unsigned width)
{
    const unsigned char *start = (const unsigned char *)text, *s = start;
    unsigned used = 0;
    while (*s) {
        uint32_t c = 0;
        size_t n = decode(s, &c);
        unsigned w = n ? columns(c) : 1;
        if (used + w > width)
            break;
        used += w;
        s += n ? n : 1;
    }
    return (size_t)(s - start);
}

/* ---- amounts ---- */

struct cl_short cl_format_duration(int64_t ns)
{
    struct cl_short s;
    double v = (double)ns;
    if (ns < 0)
        snprintf(s.text, sizeof(s.text), "-");
    else if (ns < SY_NS_PER_US)
        snprintf(s.text, sizeof(s.text), "%dns", (int)ns);
    else if (ns < SY_NS_PER_MS)
        snprintf(s.text, sizeof(s.text), "%.0fus", v / 1e3);
    else if (ns < SY_NS_PER_S)
        snprintf(s.text, sizeof(s.text), "%.*fms", ns < 100 * SY_NS_PER_MS ? 1 : 0, v / 1e6);
    else if (ns < 60 * SY_NS_PER_S)
        snprintf(s.text, sizeof(s.text), "%.2fs", v / 1e9);
    else if (ns < 3600 * SY_NS_PER_S)
        snprintf(s.text, sizeof(s.text), "%dm%02ds", (int)(ns / (60 * SY_NS_PER_S)),
                 (int)(ns / SY_NS_PER_S % 60));
    else
        snprintf(s.text, sizeof(s.text), "%lldh%02dm", (long long)(ns / (3600 * SY_NS_PER_S)),
                 (int)(ns / (60 * SY_NS_PER_S) % 60));
    return s;
}

struct cl_short cl_format_bytes(uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    struct cl_short s;
    double v = (double)bytes;
    size_t unit = 0;
    while (v >= 1024 && unit + 1 < SY_COUNT_OF(units)) {
        v /= 1024;
        unit++;
    }
    snprintf(s.text, sizeof(s.text), "%.*f%s", unit > 0 && v < 100 ? 1 : 0, v, units[unit]);
    return s;
}

struct cl_short cl_format_count(uint64_t count)
{
    char digits[24];
    int n = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)count);
    struct cl_short s;
    size_t to = 0;
    for (int i = 0; i < n; i++) {
        if (i > 0 && (n - i) % 3 == 0)
            s.text[to++] = ',';
        s.text[to++] = digits[i];
    }
    s.text[to] = '\0';
    return s;
}

struct cl_short cl_format_cpu(uint64_t milli)
{
    struct cl_short s;
    snprintf(s.text, sizeof(s.text), "%g", (double)milli / 1000);
    return s;
}

struct cl_short cl_format_time(int64_t realtime_ns)
{
    struct cl_short s = {"-"};
    time_t seconds = realtime_ns / SY_NS_PER_S;
    struct tm tm;
    if (realtime_ns > 0 && localtime_r(&seconds, &tm))
        strftime(s.text, sizeof(s.text), "%Y-%m-%d %H:%M:%S", &tm);
    return s;
}

struct cl_short cl_format_clock(int64_t realtime_ns)
{
    struct cl_short s = {"-"};
    time_t seconds = realtime_ns / SY_NS_PER_S;
    struct tm tm;
    if (realtime_ns <= 0 || !localtime_r(&seconds, &tm))
        return s;
    size_t n = strftime(s.text, sizeof(s.text), "%H:%M:%S", &tm);
    snprintf(s.text + n, sizeof(s.text) - n, ".%03d", (int)(realtime_ns / SY_NS_PER_MS % 1000));
    return s;
}

/* ---- phases ---- */

static const char *const phases[] = {"UNSPECIFIED", "QUEUED",    "WAITING",  "INITIALIZING",
                                     "RUNNING",     "SUCCEEDED", "FAILED",   "ABORTED",
                                     "TIMED_OUT",   "PAUSED",    "RECOVERED"};

const char *cl_phase_name(int phase)
{
    return phase >= 0 && (size_t)phase < SY_COUNT_OF(phases) ? phases[phase] : "UNKNOWN";
}

bool cl_phase_final(int phase)
{
    return (phase >= 5 && phase <= 8) || phase == 10;
}

int cl_phase_parse(const char *name)
{
    for (size_t i = 1; i < SY_COUNT_OF(phases); i++) {
        if (strcasecmp(name, phases[i]) == 0)
            return (int)i;
    }
    return -1;
}

unsigned cl_terminal_width(FILE *file)
{
    struct winsize size = {0};
    int fd = fileno(file);
    if (!isatty(fd))
        return 0;
    if (ioctl(fd, TIOCGWINSZ, &size) < 0 || size.ws_col == 0)
        return 80;
    return size.ws_col;
}
