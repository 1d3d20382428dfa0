/* What a task's definition asks for, in our spelling: see resources.h. */
#include "base/mem.h"
#include "scheduler/labels.h"
#include "scheduler/resources.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static bool skip(const char **text, const char *word)
{
    size_t length = strlen(word);
    for (size_t i = 0; i < length; i++) {
        if (tolower((unsigned char)(*text)[i]) != word[i])
            return false;
    }
    *text += length;
    return true;
}

/* "80GB" is "80G" in Flyte's names. */
static void shorten_size(char *model)
{
    size_t length = strlen(model);
    if (length >= 3 && strcmp(model + length - 2, "GB") == 0 &&
        isdigit((unsigned char)model[length - 3]))
        model[length - 1] = '\0';
}

int sch_gpu_model_set(char ret[SCH_GPU_MODEL_MAX], const char *model, struct sy_error_text *error)
{
    const char *at = model;
    char text[SCH_GPU_MODEL_MAX] = "";
    size_t length = 0;
    at += strspn(at, " ");
    while (skip(&at, "nvidia") || skip(&at, "tesla") || (at != model && skip(&at, "-")) ||
           (at != model && skip(&at, " ")))
        ;
    for (; *at && length < sizeof(text); at++) {
        bool joint = *at == ' ' || *at == '-' || *at == '_';
        if (!joint && !isalnum((unsigned char)*at) && *at != '.')
            break;
        text[length++] = joint ? '_' : (char)toupper((unsigned char)*at);
    }
    if (*at || length == sizeof(text)) {
        sy_error_text_set(error,
                          "gpu device '%.80s': expected a model such as H100, at most %d letters, "
                          "digits, blanks and -_.",
                          model, SCH_GPU_MODEL_MAX - 1);
        return -EINVAL;
    }
    shorten_size(text);
    memcpy(ret, text, SCH_GPU_MODEL_MAX); /* zero-padded */
    return 0;
}

int sch_request_set_gpus(struct sch_resources *request, uint64_t gpu_milli,
                         struct sy_error_text *error)
{
    if (gpu_milli > SCH_GPU_MILLI && gpu_milli % SCH_GPU_MILLI != 0) {
        sy_error_text_set(
            error, "gpu %" PRIu64 "m: expected whole GPUs, or a part of one (below 1)", gpu_milli);
        return -EINVAL;
    }
    if (gpu_milli / SCH_GPU_MILLI > SCH_GPUS_MAX) {
        sy_error_text_set(error, "gpu %" PRIu64 "m: more than can ever be given (%u)", gpu_milli,
                          SCH_GPUS_MAX);
        return -EINVAL;
    }
    request->gpus = (uint32_t)(gpu_milli / SCH_GPU_MILLI);
    request->gpu_milli = (uint32_t)(gpu_milli % SCH_GPU_MILLI);
    return 0;
}

/* "T4 shared": what Flyte's SDK asks of nodes whose GPUs are given in parts. */
static int set_shared(struct sch_resources *request, struct sy_error_text *error)
{
    static const char shared[] = "_SHARED";
    size_t length = strlen(request->gpu_model), tail = sizeof(shared) - 1;
    if (length <= tail || strcmp(request->gpu_model + length - tail, shared) != 0)
        return 0;
    memset(request->gpu_model + length - tail, 0, tail);
    if (request->gpu_milli > 0)
        return 0;
    uint64_t milli = (uint64_t)request->gpus * SCH_GPU_SHARED_MILLI;
    return sch_request_set_gpus(request, milli, error);
}

int sch_request_set_device(struct sch_resources *request, const char *device, const char *partition,
                           struct sy_error_text *error)
{
    if (request->gpus == 0 && request->gpu_milli == 0)
        request->gpus = 1;
    int r = sch_gpu_model_set(request->gpu_model, device, error);
    if (r == 0)
        r = set_shared(request, error);
    if (r < 0 || !partition[0])
        return r;
    size_t length = strlen(partition);
    if (length >= SCH_GPU_PARTITION_MAX || request->gpu_milli > 0) {
        sy_error_text_set(error,
                          "gpu partition_size '%.40s': expected a profile such as 1g.5gb, at most "
                          "%d characters, of whole numbers of slices",
                          partition, SCH_GPU_PARTITION_MAX - 1);
        return -EINVAL;
    }
    memcpy(request->gpu_partition, partition, length + 1);
    return 0;
}

static int set_share(struct sch_resources *request, const char *value, struct sy_error_text *error)
{
    char *end;
    double share = isdigit((unsigned char)value[0]) ? strtod(value, &end) : -1.0;
    if (!(share > 0.0005 && share < 0.9995) || *end) {
        sy_error_text_set(error,
                          "SWITCHYARD_GPU_SHARE '%.40s': expected a part of one GPU: 0.001 "
                          "to 0.999",
                          value);
        return -EINVAL;
    }
    if (request->gpu_partition[0] || request->gpus > 1) {
        sy_error_text_set(error, "SWITCHYARD_GPU_SHARE '%.40s': it goes with one GPU, not with %s",
                          value, request->gpus > 1 ? "several" : "a partition");
        return -EINVAL;
    }
    request->gpus = 0;
    request->gpu_milli = (uint32_t)(share * SCH_GPU_MILLI + 0.5);
    return 0;
}

int sch_on_partition_parse(const char *value, enum sch_on_partition *ret,
                           struct sy_error_text *error)
{
    static const char *const names[] = {[SCH_ON_PARTITION_REPLACE] = "replace",
                                        [SCH_ON_PARTITION_WAIT] = "wait",
                                        [SCH_ON_PARTITION_STOP] = "stop-on-agent"};
    for (size_t i = 0; i < SY_COUNT_OF(names); i++) {
        if (strcmp(value, names[i]) == 0) {
            *ret = (enum sch_on_partition)i;
            return 0;
        }
    }
    sy_error_text_set(
        error, "SWITCHYARD_ON_PARTITION '%.40s': expected replace, wait or stop-on-agent", value);
    return -EINVAL;
}

int sch_request_set_variable(struct sch_resources *request, const char *key, const char *value,
                             struct sy_error_text *error)
{
    int r = 0;
    if (strcmp(key, "SWITCHYARD_NODE_LABELS") == 0)
        r = sch_labels_parse(request->labels, sizeof(request->labels), value, error);
    else if (strcmp(key, "SWITCHYARD_TOLERATIONS") == 0)
        r = sch_labels_parse(request->tolerations, sizeof(request->tolerations), value, error);
    else if (strcmp(key, "SWITCHYARD_GPU_SHARE") == 0)
        r = set_share(request, value, error);
    return r < 0 ? -EINVAL : 0;
}
