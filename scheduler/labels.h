/*
 * Labels, taints and tolerations: small sets of "key=value" as one text, "disk=ssd,zone=a", sorted
 * by key and padded with zeros, so that equal sets have equal bytes. A text can be printed, sent
 * and compared as it is, and a request with labels stays a plain struct.
 *
 * Keys and values: letters, digits and "-_./"; 1 to 63 characters a key, at most 63 a value. A
 * value may be empty: "gpu-only" is the key alone.
 */
#pragma once

#include "base/buf.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

#define SCH_LABEL_PART_MAX 64 /* of a key, or a value, with its NUL */

/* Adds "key=value", or gives the key that is there another value. -EINVAL with a sentence: not a
 * key or value as above; -ENOSPC with one: no room for it in `size` bytes. Then `set` is as it
 * was. */
int sch_labels_put(char *set, size_t size, const char *key, const char *value,
                   struct sy_error_text *error) SY_MUST_USE;
/* Adds all of "key=value,key,...", in any order, blanks round the commas allowed. As above. */
int sch_labels_parse(char *set, size_t size, const char *text,
                     struct sy_error_text *error) SY_MUST_USE;
/* Whether `set` is such a text: sorted, no key twice. What comes from a peer is checked with it. */
bool sch_labels_valid(const char *set);
/* Whether all of `wanted` are in `there`. When not, the first that is missing is at *ret_missing
 * (may be NULL), up to a comma. */
bool sch_labels_contain(const char *there, const char *wanted, const char **ret_missing);
/* The next label of a set, which *at is moved beyond, and how long its key is; .data NULL: there is
 * no more. */
struct sy_span sch_labels_next(const char **at, size_t *ret_key_len);
/* The value of a key; .data NULL: it is not there. */
struct sy_span sch_label_value(const char *set, const char *key);
/* As memcmp(). */
int sch_label_values_compare(const struct sy_span *a, const struct sy_span *b);
/* Whether each of `taints` is tolerated: by the same "key=value", by its key alone, or by the
 * toleration "all". *ret_taint as above. */
bool sch_taints_tolerated(const char *taints, const char *tolerations, const char **ret_taint);
