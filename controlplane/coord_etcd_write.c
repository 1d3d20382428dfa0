/* A write is one transaction. What has happened is told when the copy shows it, so that who wrote
 * reads what was written. A question that found no answer is not asked again: it may have happened,
 * and only who asked can tell from the copy. */
#include "controlplane/coord_etcd.h"

#include "base/mem.h"
#include "proto/pb.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct etcd_write {
    struct etcd_write *next, **prev;
    struct etcd *etcd;
    struct etcd_line line;
    struct sy_timer end; /* it has taken too long, or is to be told in a turn of its own */
    int64_t revision;    /* of the store when it had happened; 0: it has not, as far as we know */
    enum cp_coord_result failure; /* when it has not */
    cp_coord_done_fn done;
    void *ctx;
};

static void write_free(struct etcd_write *write)
{
    sy_timer_stop(write->etcd->base.loop, &write->end);
    etcd_line_close(&write->line);
    *write->prev = write->next;
    if (write->next != NULL)
        write->next->prev = write->prev;
    free(write);
}

static void finish(struct etcd_write *write)
{
    bool shown = write->revision > 0 && write->revision <= write->etcd->base.revision;
    enum cp_coord_result result = shown ? CP_COORD_DONE : write->failure;
    cp_coord_done_fn done = write->done;
    void *ctx = write->ctx;
    write_free(write);
    done(ctx, result);
}

static void fail(struct etcd_write *write, enum cp_coord_result failure)
{
    write->failure = failure;
    finish(write);
}

static void on_end(void *arg)
{
    finish(arg);
}

void etcd_writes_look(struct etcd *etcd)
{
    for (struct etcd_write *write = etcd->writes; write != NULL; write = write->next) {
        if (write->revision > 0 && write->revision <= etcd->base.revision)
            sy_timer_start_in(etcd->base.loop, &write->end, 0);
    }
}

void etcd_writes_free(struct etcd *etcd)
{
    struct etcd_write *next;
    for (struct etcd_write *write = etcd->writes; write != NULL; write = next) {
        next = write->next;
        write_free(write);
    }
}

/* ---- the transaction ---- */

struct parts {
    Etcdserverpb__Compare compare[CP_COORD_OPS_MAX], *compares[CP_COORD_OPS_MAX];
    Etcdserverpb__PutRequest put[CP_COORD_OPS_MAX];
    Etcdserverpb__DeleteRangeRequest delete[CP_COORD_OPS_MAX];
    Etcdserverpb__RequestOp op[CP_COORD_OPS_MAX], *ops[CP_COORD_OPS_MAX];
    char keys[CP_COORD_OPS_MAX][2 * CP_COORD_KEY_MAX];
    size_t compare_count, op_count;
};

static void add_compare(struct parts *parts, ProtobufCBinaryData key, int64_t revision)
{
    Etcdserverpb__Compare *compare = &parts->compare[parts->compare_count];
    etcdserverpb__compare__init(compare);
    compare->result = ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL;
    compare->target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD;
    compare->key = key;
    compare->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION;
    compare->mod_revision = revision;
    parts->compares[parts->compare_count++] = compare;
}

static void add_put(struct parts *parts, ProtobufCBinaryData key, struct sy_span value,
                    int64_t lease)
{
    Etcdserverpb__PutRequest *put = &parts->put[parts->op_count];
    Etcdserverpb__RequestOp *op = &parts->op[parts->op_count];
    etcdserverpb__put_request__init(put);
    put->key = key;
    put->value = (ProtobufCBinaryData){value.len, (uint8_t *)(uintptr_t)value.data};
    put->lease = lease;
    etcdserverpb__request_op__init(op);
    op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    op->request_put = put;
    parts->ops[parts->op_count++] = op;
}

static void add_delete(struct parts *parts, ProtobufCBinaryData key)
{
    Etcdserverpb__DeleteRangeRequest *delete = &parts->delete[parts->op_count];
    Etcdserverpb__RequestOp *op = &parts->op[parts->op_count];
    etcdserverpb__delete_range_request__init(delete);
    delete->key = key;
    etcdserverpb__request_op__init(op);
    op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
    op->request_delete_range = delete;
    parts->ops[parts->op_count++] = op;
}

static void send(struct etcd_write *write, const struct cp_coord_op *ops, size_t count)
{
    struct etcd *etcd = write->etcd;
    struct parts *parts SY_AUTOFREE = sy_new(struct parts);
    for (size_t i = 0; i < count; i++) {
        const struct cp_coord_op *op = &ops[i];
        int len = snprintf(parts->keys[i], sizeof(parts->keys[i]), "%s%s", etcd->prefix, op->key);
        ProtobufCBinaryData key = {(size_t)len, (uint8_t *)parts->keys[i]};
        if (op->if_revision != CP_COORD_ANY)
            add_compare(parts, key, op->if_revision);
        if (op->kind == CP_COORD_DELETE)
            add_delete(parts, key);
        else if (op->kind != CP_COORD_CHECK)
            add_put(parts, key, op->value, op->kind == CP_COORD_PUT_BOUND ? etcd->base.session : 0);
    }
    Etcdserverpb__TxnRequest request = ETCDSERVERPB__TXN_REQUEST__INIT;
    request.n_compare = parts->compare_count;
    request.compare = parts->compares;
    request.n_success = parts->op_count;
    request.success = parts->ops;
    etcd_line_open(&write->line, "/etcdserverpb.KV/Txn", &request.base, etcd->timeout_ns, false);
}

/* ---- its answer ---- */

static void on_message(void *ctx, struct sy_span bytes)
{
    struct etcd_write *write = ctx;
    struct etcd *etcd = write->etcd;
    const Etcdserverpb__TxnResponse *response = etcd_unpack(
        etcd, &etcdserverpb__txn_response__descriptor, bytes);
    if (response == NULL || response->header == NULL) {
        fail(write, CP_COORD_UNKNOWN);
    } else if (!response->succeeded) {
        fail(write, CP_COORD_CONFLICT);
    } else {
        write->revision = response->header->revision;
        etcd_line_close(&write->line);
        etcd_writes_look(etcd);
    }
}

static void on_closed(void *ctx, const struct sy_status *status)
{
    struct etcd_write *write = ctx;
    bool no_lease = status->code == SY_CODE_NOT_FOUND; /* "requested lease not found" */
    if (no_lease)
        etcd_session_over(write->etcd);
    fail(write, no_lease ? CP_COORD_CONFLICT : CP_COORD_UNKNOWN);
}

void etcd_write(struct cp_coord *coord, const struct cp_coord_op *ops, size_t count,
                cp_coord_done_fn done, void *ctx)
{
    static const struct sy_call_sink sink = {.on_message = on_message, .on_closed = on_closed};
    struct etcd *etcd = (struct etcd *)coord;
    struct etcd_write *write = sy_new(struct etcd_write);
    write->etcd = etcd;
    write->done = done;
    write->ctx = ctx;
    write->line = (struct etcd_line){
        .etcd = etcd, .sink = &sink, .owner = write, .member = etcd->copy.member};
    write->next = etcd->writes;
    write->prev = &etcd->writes;
    if (write->next != NULL)
        write->next->prev = &write->next;
    etcd->writes = write;
    sy_timer_init(&write->end, on_end, write);
    bool bound = false;
    for (size_t i = 0; i < count; i++)
        bound |= ops[i].kind == CP_COORD_PUT_BOUND;
    if (bound && coord->session == 0) {
        write->failure = CP_COORD_CONFLICT;
        sy_timer_start_in(coord->loop, &write->end, 0);
        return;
    }
    write->failure = CP_COORD_UNKNOWN;
    sy_timer_start_in(coord->loop, &write->end, 2 * etcd->timeout_ns);
    send(write, ops, count);
}
