/* UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing beyond U+10FFFF. */
#pragma once

#include "base/buf.h"

#include <stdbool.h>

/* Bytes of the character at the front, 1 to 4; 0 when there is no whole valid one. */
size_t sy_utf8_next(struct sy_span text);
bool sy_utf8_valid(struct sy_span text);
/* Appends the text with U+FFFD for each byte that is not part of a character. */
void sy_utf8_put_clean(struct sy_buf *buf, struct sy_span text);
