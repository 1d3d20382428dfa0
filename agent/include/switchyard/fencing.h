/*
 * Fencing tokens, for tasks and for what they write to. A header alone, nothing to link.
 *
 * Each attempt of an action has one, in SWITCHYARD_FENCING_TOKEN (in a C task also
 * sy_task_fencing_token()): "EPOCH.ATTEMPT", ten digits each, so that tokens of one action compare
 * as texts, byte by byte, and a later attempt's is greater. Tokens of different actions say nothing
 * about each other.
 *
 * An attempt that was given up may run on for a while: its machine hung, or was cut off. Whoever
 * keeps what attempts write remembers the greatest token that he has seen and refuses smaller ones.
 */
#ifndef SWITCHYARD_FENCING_H
#define SWITCHYARD_FENCING_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define SY_FENCING_TOKEN_SIZE 22 /* with the NUL */

/* Whether `token` has the form of one; NULL has not. */
static inline bool sy_fencing_token_valid(const char *token)
{
    for (int i = 0; token && i < SY_FENCING_TOKEN_SIZE - 1; i++) {
        bool good = i == 10 ? token[i] == '.' : token[i] >= '0' && token[i] <= '9';
        if (!good)
            return false;
    }
    return token && token[SY_FENCING_TOKEN_SIZE - 1] == '\0';
}

/* That of this process; NULL: it is no task's. */
static inline const char *sy_fencing_token_own(void)
{
    const char *token = getenv("SWITCHYARD_FENCING_TOKEN");
    return sy_fencing_token_valid(token) ? token : NULL;
}

/* Below 0: `a` is of an earlier attempt than `b`; 0: of the same; above 0: of a later one. Both are
 * valid. */
static inline int sy_fencing_token_compare(const char *a, const char *b)
{
    return memcmp(a, b, SY_FENCING_TOKEN_SIZE);
}

/* Whether `token` may write, where `kept` is the greatest that has written so far (NULL or "": none
 * has), and is to be kept from now on. False also when it is no token, or `kept` is none. */
static inline bool sy_fencing_token_admits(const char *kept, const char *token)
{
    if (!sy_fencing_token_valid(token))
        return false;
    if (!kept || !*kept)
        return true;
    return sy_fencing_token_valid(kept) && sy_fencing_token_compare(token, kept) >= 0;
}

#endif
