/* One stream of ControlPlane.Operate: operator_shard.c, opened by operator_dial.c. */
#pragma once

#include "dataplane/operator_impl.h"

struct dp_stream *dp_stream_new(struct dp_shard *shard, struct dp_partition *partition);
void dp_stream_free(struct dp_stream *stream);
/* Only when DOWN. */
void dp_stream_open(struct dp_stream *stream);
/* A stream of this shard was lost; it had been UP for so long. */
void dp_dial_again(struct dp_shard *shard, int64_t stream_lived_ns);
