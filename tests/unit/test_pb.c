/* links: sy_proto */
#include "flyteidl2/task/task_definition.pb-c.h"
#include "proto/pb.h"
#include "switchyard/v1/action_service.pb-c.h"
#include "tests/lib/test.h"

#include <string.h>

#define REQUEST (&switchyard__v1__enqueue_actions_request__descriptor)

/* Two actions, whose names and inputs are as long as given: what a string of C cannot hold. */
static struct sy_buf pack(const char *name, const char *parent, const char *input, size_t input_len)
{
    Switchyard__V1__EnqueueActionsRequest msg = SWITCHYARD__V1__ENQUEUE_ACTIONS_REQUEST__INIT;
    Switchyard__V1__NewAction actions[2], *list[] = {&actions[0], &actions[1]};
    for (unsigned i = 0; i < 2; i++) {
        switchyard__v1__new_action__init(&actions[i]);
        actions[i].name = (char *)(uintptr_t)(i == 1 ? name : "first");
        actions[i].input.data = (uint8_t *)(uintptr_t)input;
        actions[i].input.len = input_len;
    }
    msg.parent = (char *)(uintptr_t)parent;
    msg.actions = list;
    msg.n_actions = 2;
    struct sy_buf buf = {0};
    pb_pack(&msg.base, &buf);
    return buf;
}

/* The byte `mark` becomes a NUL. */
static const char *find(struct sy_buf *buf, char mark)
{
    for (size_t i = 0; i < buf->len; i++) {
        if (buf->data[i] == (uint8_t)mark)
            buf->data[i] = '\0';
    }
    struct sy_arena arena;
    sy_arena_init(&arena, 1 << 20);
    ck_assert_ptr_nonnull(pb_unpack(REQUEST, &arena, sy_buf_span(buf)));
    sy_arena_deinit(&arena);
    const char *found = pb_find_nul(REQUEST, sy_buf_span(buf));
    sy_buf_deinit(buf);
    return found;
}

START_TEST(nuls_in_strings_are_found)
{
    struct sy_buf buf = pack("second", "a0", "input", 5);
    ck_assert_ptr_null(find(&buf, '#'));
    buf = pack("sec#ond", "a0", "input", 5);
    ck_assert_str_eq(find(&buf, '#'), "name");
    buf = pack("second#", "a0", "input", 5); /* also at the end */
    ck_assert_str_eq(find(&buf, '#'), "name");
    buf = pack("second", "#", "input", 5);
    ck_assert_str_eq(find(&buf, '#'), "parent");
    ck_assert_ptr_null(pb_find_nul(REQUEST, (struct sy_span){0}));
}
END_TEST

START_TEST(nuls_elsewhere_are_fine)
{
    struct sy_buf buf = pack("second", "a0", "in\0put\0", 7); /* bytes, not a string */
    ck_assert_ptr_null(find(&buf, '#'));
    /* a field that we do not know; a varint and a fixed one that hold zeros */
    const uint8_t unknown[] = {0xfa, 0x3f, 2, 0, 0, 0xf8, 0x3f, 0, 0xf9,
                               0x3f, 0,    0, 0, 0, 0,    0,    0, 0};
    ck_assert_ptr_null(pb_find_nul(REQUEST, (struct sy_span){unknown, sizeof(unknown)}));
    /* what is no message ends the search */
    const uint8_t cut[] = {0xfa, 0x3f, 9, 0, 0};
    ck_assert_ptr_null(pb_find_nul(REQUEST, (struct sy_span){cut, sizeof(cut)}));
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {nuls_in_strings_are_found, nuls_elsewhere_are_fine, NULL};
    return sy_test_run("pb", tests);
}
