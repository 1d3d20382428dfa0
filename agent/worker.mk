# switchyard-worker alone, on a machine with a C compiler, protoc-c and libprotobuf-c but without the
# rest of Switchyard's libraries (a GPU node, an image):
#
#     make -f agent/worker.mk            in the repository's root; gives build/worker/switchyard-worker
CC ?= cc
CFLAGS ?= -O2 -g1
OUT ?= build/worker
protos := switchyard/internal/worker switchyard/v1/common switchyard/v1/action_service
sources := $(wildcard agent/worker*.c) base/arena.c base/buf.c base/error.c base/mem.c \
           $(protos:%=$(OUT)/%.pb-c.c)

$(OUT)/switchyard-worker: $(sources) agent/worker.h agent/worker_page.h agent/worker.exports
	$(CC) -std=gnu17 -D_GNU_SOURCE $(CFLAGS) -I. -I$(OUT) -o $@ $(sources) \
	    -Wl,--dynamic-list=agent/worker.exports -lprotobuf-c -ldl -pthread

$(OUT)/%.pb-c.c: proto/%.proto
	@mkdir -p $(OUT)
	protoc-c -Iproto --c_out=$(OUT) $<

# One run of protoc-c makes source and header; the headers must exist before anything is compiled.
$(OUT)/switchyard-worker: $(protos:%=$(OUT)/%.pb-c.c)
