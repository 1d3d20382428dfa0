/*
 * Waiting on a real loop until a counter has come as far as a test expects; a test that waits
 * longer has failed.
 */
#pragma once

#include "base/clock.h"
#include "base/loop.h"

#include <check.h>
#include <stdbool.h>

#define PATIENCE_NS (60 * SY_NS_PER_S)

struct wait {
    struct sy_loop *loop;
    const int *value;
    int target;
    bool stopping;
};

static void check_wait(void *arg)
{
    struct wait *wait = arg;
    if (*wait->value < wait->target || wait->stopping)
        return;
    wait->stopping = true;
    sy_loop_stop(wait->loop);
}

static void lose_patience(void *arg)
{
    (void)arg;
    ck_abort_msg("nothing happened for too long");
}

static void wait_on(struct sy_loop *loop, const int *value, int target)
{
    struct wait wait = {loop, value, target, false};
    struct sy_turn_end hook = {.fn = check_wait, .arg = &wait};
    struct sy_timer patience;
    if (*value >= target)
        return;
    sy_timer_init(&patience, lose_patience, NULL);
    sy_timer_start(loop, &patience, sy_clock_system.monotonic_ns(NULL) + PATIENCE_NS);
    sy_loop_add_turn_end(loop, &hook);
    ck_assert_int_eq(sy_loop_run(loop), 0);
    sy_loop_remove_turn_end(loop, &hook);
    sy_timer_stop(loop, &patience);
    ck_assert_int_ge(*value, target);
}
