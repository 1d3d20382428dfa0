#include "controlplane/cluster_health.h"

#include "base/clock.h"

#include <string.h>
#include <time.h>

static void put_time(char ret[32], int64_t time_ns)
{
    time_t seconds = (time_t)(time_ns / SY_NS_PER_S);
    struct tm parts;
    ret[0] = '\0';
    if (gmtime_r(&seconds, &parts) != NULL)
        (void)strftime(ret, 32, "%Y-%m-%dT%H:%M:%SZ", &parts);
}

static void say_registered(const struct cp_cluster_health *health, struct sy_error_text *ret)
{
    if (health->joined > 0)
        sy_error_text_set(ret, "its operator has joined, and has not been seen since");
    else if (health->token_valid)
        sy_error_text_set(ret, "no operator has joined yet");
    else
        sy_error_text_set(ret, "no operator has joined, and no token of it is valid any more: make "
                               "one with `switchyard cluster token create`");
}

void cp_cluster_reason(const struct cp_cluster_health *health, struct sy_error_text *ret)
{
    char since[32];
    ret->text[0] = '\0';
    put_time(since, health->silent_ns);
    if (strcmp(health->state, "registered") == 0) {
        say_registered(health, ret);
    } else if (strcmp(health->state, "deleting") == 0) {
        sy_error_text_set(ret, "it was deleted, and a partition has not given up its work yet");
    } else if (strcmp(health->state, "lost") == 0) {
        sy_error_text_set(ret,
                          "no word of its operator since %s: what it runs goes elsewhere when its "
                          "lease is over",
                          since);
    } else if (strcmp(health->state, "gone") == 0) {
        sy_error_text_set(ret, "no word of its operator since %s: what it ran was given to others",
                          since);
    } else if (health->connected < health->partitions) {
        sy_error_text_set(ret, "its operator has no stream with %u of %u partitions",
                          health->partitions - health->connected, health->partitions);
    }
    if (strcmp(health->state, "ready") != 0)
        return;
    if (health->nodes == 0)
        sy_error_text_add(ret, "no agent has attached");
    else if (health->nodes_ready < health->nodes)
        sy_error_text_add(ret, "%u of %u nodes are not ready", health->nodes - health->nodes_ready,
                          health->nodes);
}
