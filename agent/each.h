/* Walking a uthash table so that compilers and checkers follow it: HASH_ITER hides its loop behind
 * a cast. */
#pragma once

#include "base/hash.h"

/* Each entry, in the order of adding; the one at hand may be removed. */
#define AG_EACH(hh_, head_, entry_, next_)                                                         \
    for ((entry_) = (head_); (entry_) != NULL && ((next_) = (entry_)->hh_.next, 1);                \
         (entry_) = (next_))
