/*
 * Explanations for people: what switchyard.v1.ExplainService answers, in sentences and tables. For
 * machines there is cl_json_message().
 */
#pragma once

#include "switchyard/v1/explain_service.pb-c.h"

#include <stdio.h>

/* Lines of at most `width` columns, 0 = without a limit. `now_ns` (realtime) is what times are seen
 * from. */
void cl_explain_print(const Switchyard__V1__ExplainActionResponse *answer, FILE *file,
                      unsigned width, int64_t now_ns);
/* Of a dry run; why it was refused, if it was, is the caller's to say. */
void cl_explain_print_dry(const Switchyard__V1__DryRunResponse *answer, FILE *file, unsigned width,
                          int64_t now_ns);
