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

void cp_cluster_drain_reason(const Switchyard__V1__Drain *drain, uint64_t stopping,
                             struct sy_error_text *ret)
{
    char at[32];
    if (drain->running + drain->waiting + drain->unknown + stopping == 0) {
        sy_error_text_set(ret, "nothing is left there");
        return;
    }
    sy_error_text_set(ret, "nothing new goes there; %llu still run, %llu wait there",
                      (unsigned long long)drain->running, (unsigned long long)drain->waiting);
    if (drain->deadline_ns != 0) {
        put_time(at, drain->deadline_ns);
        sy_error_text_add(ret, "what runs is stopped at %s", at);
    }
    if (drain->unknown > 0)
        sy_error_text_add(ret, "%u partition%s cannot say yet", drain->unknown,
                          drain->unknown == 1 ? "" : "s");
    else if (drain->running + drain->waiting == 0)
        sy_error_text_add(ret, "its agents have %llu that are not wanted any more",
                          (unsigned long long)stopping);
}
