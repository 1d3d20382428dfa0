/*
 * Where the members of a gang meet: the host of rank 0, and a port of the range that the cluster
 * keeps free for this. The ports of a host are given in turns, so that gangs there differ,
 * whichever of its agents they came through and however often that has attached; the first one is
 * drawn when the operator starts, since gangs of the one before may run. Nobody holds a port until
 * rank 0 listens. With it goes a secret, drawn anew for each attempt of a gang, by which members
 * know each other.
 */
#include "base/mem.h"
#include "dataplane/operator_impl.h"

#include <string.h>
#include <sys/random.h>
#include <xxhash.h>

#define SECRET_BYTES 32

/* "ipv4:10.0.0.7:41234" -> "10.0.0.7", "ipv6:%5B::1%5D:41234" -> "::1"; else as it is. */
static void host_of_peer(char *ret, size_t size, const char *peer)
{
    static const char v4[] = "ipv4:", v6[] = "ipv6:%5B";
    const char *from = peer, *to = peer + strlen(peer);
    if (strncmp(peer, v4, strlen(v4)) == 0) {
        from = peer + strlen(v4);
        to = from + strcspn(from, ":");
    } else if (strncmp(peer, v6, strlen(v6)) == 0) {
        from = peer + strlen(v6);
        to = from + strcspn(from, "%");
    }
    size_t len = (size_t)(to - from) < size ? (size_t)(to - from) : size - 1;
    memcpy(ret, from, len);
    ret[len] = '\0';
}

void dp_gang_set_address(struct dp_agent *agent, const char *told)
{
    if (told[0])
        dp_copy_text(agent->address, sizeof(agent->address),
                     (struct sy_span){(const uint8_t *)told, strlen(told)});
    else
        host_of_peer(agent->address, sizeof(agent->address), sy_call_peer(agent->link.call));
}

static uint32_t next_port(struct dp_operator *op, const char *host)
{
    uint64_t hash = XXH3_64bits(host, strlen(host));
    return op->gang_port + op->gang_turns[hash % DP_GANG_TURNS]++ % op->gang_ports;
}

void dp_gang_init(struct dp_operator *op)
{
    uint32_t first = (uint32_t)sy_rng_below(&op->rng, op->gang_ports);
    for (size_t i = 0; i < DP_GANG_TURNS; i++)
        op->gang_turns[i] = first;
}

/* When the node is not attached nobody can start, and the gang is lost soon. */
static void meet(struct dp_operator *op, const char *node)
{
    struct sy_buf *to = &op->rendezvous;
    struct dp_agent *agent = dp_agent_find(op, node);
    uint8_t secret[SECRET_BYTES];
    ssize_t drawn = getrandom(secret, sizeof(secret), 0); /* whole below 256 bytes */
    SY_ASSERT(drawn == (ssize_t)sizeof(secret));
    sy_buf_clear(to);
    dp_wire_put_text(to, 1, agent ? agent->address : "");
    dp_wire_put_u64(to, 2, agent ? next_port(op, agent->address) : 0);
    dp_wire_put_bytes(to, 3, (struct sy_span){secret, sizeof(secret)});
}

struct sy_span dp_gang_assignment(struct dp_operator *op, const struct sch_op_effect *effect,
                                  struct sy_span record)
{
    SY_ASSERT(effect->u.assign.first_node);
    if (effect->u.assign.rank == 0)
        meet(op, effect->u.assign.first_node);
    sy_buf_clear(&op->scratch);
    sy_buf_append(&op->scratch, record.data, record.len);
    dp_wire_put_record(&op->scratch, 18, sy_buf_span(&op->rendezvous));
    return sy_buf_span(&op->scratch);
}
