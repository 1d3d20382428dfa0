/*
 * Which nodes have attempts that are not given up for silence: "NODES-FILE.waited", a name a line,
 * written before such an attempt is sent to a node that is not in it. An operator that is started
 * anew reads it, and does not say of what it lacks that it is nowhere until those nodes are back.
 * Names that it has in vain are taken out with the next beat: that need not be soon.
 *
 * It is one of the files that operators of a cluster hand on (shared.h). What was written after
 * another one may have taken it over is not sent: that one would not know. Nor is what cannot be
 * written.
 */
#include "base/file.h"
#include "base/mem.h"
#include "dataplane/events.h"
#include "dataplane/operator_impl.h"

#include <stdlib.h>
#include <string.h>

#define FILE_BYTES_MAX ((size_t)64 << 20)

static bool has_line(const struct sy_buf *text, const char *name)
{
    size_t len = strlen(name);
    for (size_t at = 0; at + len < text->len; at++) {
        size_t end = at;
        while (text->data[end] != '\n')
            end++;
        if (end - at == len && memcmp(text->data + at, name, len) == 0)
            return true;
        at = end;
    }
    return false;
}

static void put_name(void *ctx, const char *node)
{
    if (strcmp(node, DP_OWN_NODE) != 0) /* whose tasks end with us */
        sy_buf_printf(ctx, "%s\n", node);
}

/* Agents of nodes that were not in the file are parted with, before anything is sent to them. */
static void keep_back(struct dp_operator *op, const struct sy_buf *text, const char *why)
{
    for (struct dp_agent *agent = op->agents; agent; agent = agent->next) {
        if (has_line(text, agent->node) && !has_line(&op->waited, agent->node))
            dp_link_close(&agent->link, SY_CODE_UNAVAILABLE, "%s", why);
    }
}

static void save(struct dp_operator *op)
{
    struct sy_buf text = {0};
    sch_operator_each_waited(op->core, put_name, &text);
    bool same = text.len == op->waited.len &&
                (text.len == 0 || memcmp(text.data, op->waited.data, text.len) == 0);
    int r = same ? 0 : sy_file_write_atomic(op->waited_path, text.data, text.len);
    op->waited_due = op->waited_stale = false;
    if (r < 0)
        keep_back(op, &text, "that work waits for this node cannot be written down");
    else if (!same && !dp_gate_is_ours(&op->gate))
        keep_back(op, &text, "another operator may be the active one by now");
    if (r < 0) {
        sy_log(op->log, &dp_events, DP_EV_ORDERS_NOT_KEPT, SY_STR("file", op->waited_path),
               SY_STR("error", strerror(-r)));
        op->waited_stale = true; /* once more */
        sy_buf_deinit(&text);
        return;
    }
    sy_buf_deinit(&op->waited);
    op->waited = text;
}

void dp_waited_changed(struct dp_operator *op, const struct sch_op_effect *effect)
{
    if (!effect->u.waited.begins)
        op->waited_stale = true;
    else if (!has_line(&op->waited, effect->u.waited.node))
        op->waited_due = true;
}

void dp_waited_turn_end(struct dp_operator *op)
{
    if (op->waited_due && op->waited_path)
        save(op);
}

void dp_waited_beat(struct dp_operator *op)
{
    if (op->waited_stale && op->waited_path)
        save(op);
}

int dp_waited_open(struct dp_operator *op, const char *nodes_file, struct sy_error_text *error)
{
    struct sy_buf path = {0};
    sy_buf_printf(&path, "%s.waited", nodes_file);
    op->waited_path = sy_strndup((const char *)path.data, path.len);
    sy_buf_deinit(&path);
    int r = sy_file_read(op->waited_path, FILE_BYTES_MAX, &op->waited);
    if (r == -ENOENT)
        return 0;
    const char *why = r < 0 ? strerror(-r) : "expected names of nodes, one a line";
    if (r == 0 && op->waited.len > 0 && op->waited.data[op->waited.len - 1] != '\n')
        r = -EBADMSG;
    for (size_t at = 0, end; r == 0 && at < op->waited.len; at = end + 1) {
        char text[DP_NAME_MAX], name[DP_NAME_MAX];
        for (end = at; op->waited.data[end] != '\n'; end++)
            ;
        struct sy_span line = {op->waited.data + at, end - at};
        dp_copy_text(text, sizeof(text), line);
        if (line.len >= sizeof(text) || !dp_copy_name(name, sizeof(name), text, false)) {
            r = -EBADMSG;
            break;
        }
        sy_log(op->log, &dp_events, DP_EV_NODE_OWED, SY_STR("node", name));
        dp_step(op, &(struct sch_op_event){.type = SCH_OP_NODE_OWED, .u.node.name = name});
    }
    if (r < 0)
        sy_error_text_set(error, "%s: cannot be read: %s", op->waited_path, why);
    return r;
}
