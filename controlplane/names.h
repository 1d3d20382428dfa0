/*
 * Names of projects, domains, runs and actions: which are allowed, how the server makes one, and
 * which partition a run belongs to.
 *
 * A name is 1 to 63 of [A-Za-z0-9._-]: names are joined by '/' and NUL in keys and messages, and
 * are printed as they are, so neither separators nor control characters may be in them. Not "." and
 * "..": names are parts of paths and URLs, too.
 */
#pragma once

#include "base/error.h"
#include "base/rng.h"

#include <stdint.h>

#define CP_NAME_LENGTH_MAX 63
/* Of a name made here: 'r' and 20 base32 characters; Flyte's clients take 30 at most. */
#define CP_NAME_MADE_SIZE 22
#define CP_REQUEST_ID_LENGTH_MAX 128

/* 0, or -EINVAL with a sentence that begins with `what` ("run_id.name"). NULL counts as empty. */
int cp_name_check(const char *what, const char *name, struct sy_error_text *error) SY_MUST_USE;

/* Free text that is handed back to clients (a reason, a group): at most `max` bytes of UTF-8
 * without control characters. Empty and NULL are fine. -EINVAL with a sentence. */
int cp_text_check(const char *what, const char *text, size_t max,
                  struct sy_error_text *error) SY_MUST_USE;
/* Replaces in place what is not UTF-8 with '?': one byte out of a task's error would otherwise make
 * a whole list unreadable for clients that check (Python's protobuf does). */
void cp_text_clean(char *text);

/* The same request id in the same project and domain gives the same name, so that a client's retry
 * of CreateRun meets the run that its first try made (100 bits of XXH3-128). `salt` 0, 1, ... gives
 * others, when the run must lie in a certain partition. */
void cp_name_from_request(char ret[CP_NAME_MADE_SIZE], const char *project, const char *domain,
                          const char *request_id, uint32_t salt);
void cp_name_random(char ret[CP_NAME_MADE_SIZE], struct sy_rng *rng);

/* XXH3-64 of the run's key: the run lies in the partition that has it (ranges.h). */
uint64_t cp_name_hash(const char *project, const char *domain, const char *run);
