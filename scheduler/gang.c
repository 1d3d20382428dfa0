#include "scheduler/gang.h"

#include <inttypes.h>
#include <string.h>

_Static_assert(sizeof(struct sch_gang_shape) == 2 * sizeof(uint32_t) + SCH_GANG_KEY_MAX,
               "no padding");

int sch_gang_shape_init(struct sch_gang_shape *ret, uint64_t size, uint32_t topology,
                        const char *key, uint32_t on_loss, struct sy_error_text *error)
{
    SY_ASSERT(ret && key);
    size_t key_len = strlen(key);
    if (size < SCH_GANG_SIZE_MIN || size > SCH_GANG_SIZE_MAX) {
        sy_error_text_set(error, "gang: %" PRIu64 " members, expected %u to %u", size,
                          SCH_GANG_SIZE_MIN, SCH_GANG_SIZE_MAX);
        return -EINVAL;
    }
    if (topology > SCH_TOPOLOGY_REQUIRE) {
        sy_error_text_set(error, "gang.topology: %" PRIu32 " is not known", topology);
        return -EINVAL;
    }
    if (on_loss > SCH_ON_LOSS_FAIL_ALL) {
        sy_error_text_set(error, "gang.on_loss: %" PRIu32 " is not known", on_loss);
        return -EINVAL;
    }
    if ((topology == SCH_TOPOLOGY_NONE) != (key_len == 0)) {
        sy_error_text_set(error,
                          key_len == 0
                              ? "gang.topology_key: empty; expected a node label such as rack"
                              : "gang.topology_key: '%.64s' without a topology",
                          key);
        return -EINVAL;
    }
    if (key_len >= SCH_GANG_KEY_MAX) {
        sy_error_text_set(error, "gang.topology_key: longer than %d characters",
                          SCH_GANG_KEY_MAX - 1);
        return -EINVAL;
    }
    *ret = (struct sch_gang_shape){.size = (uint32_t)size, .topology = topology};
    memcpy(ret->key, key, key_len);
    return 0;
}
