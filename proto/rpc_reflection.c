#include "proto/rpc_reflection.h"

#include "base/arena.h"
#include "base/mem.h"
#include "google/protobuf/descriptor.pb-c.h"
#include "grpc/reflection/v1/reflection.pb-c.h"
#include "proto/pb.h"

#include <stdlib.h>
#include <string.h>

#define ARENA_BYTES_MAX ((size_t)16 << 20)
#define REQUEST_BYTES_MAX 4096

extern const unsigned char sy_proto_descriptors[];
extern const size_t sy_proto_descriptors_len;

typedef Google__Protobuf__FileDescriptorProto file_descriptor;
typedef Google__Protobuf__DescriptorProto message_descriptor;
typedef Google__Protobuf__FileDescriptorSet descriptor_set;
typedef Grpc__Reflection__V1__ServerReflectionRequest reflection_request;
typedef Grpc__Reflection__V1__ServerReflectionResponse reflection_response;

struct reflection {
    struct sy_server *server;
    struct sy_call *call;
    struct sy_arena arena; /* of one request */
};

/* ---- finding ---- */

/* Whether the dotted `symbol` begins with `name`; *ret_rest is what follows the dot ("" at the
 * end). */
static bool eat(const char *symbol, const char *name, const char **ret_rest)
{
    size_t length = strlen(name);
    if (strncmp(symbol, name, length) != 0 || (symbol[length] != '.' && symbol[length] != '\0'))
        return false;
    *ret_rest = symbol + length + (symbol[length] == '.');
    return true;
}

/* `rest` walks down the nested messages: no recursion, the depth comes from the caller's text. */
static bool message_has(const message_descriptor *message, const char *rest)
{
    while (rest[0] != '\0') {
        const message_descriptor *below = NULL;
        const char *next = rest;
        for (size_t i = 0; i < message->n_nested_type && below == NULL; i++)
            if (eat(rest, message->nested_type[i]->name, &next))
                below = message->nested_type[i];
        if (below == NULL) {
            for (size_t i = 0; i < message->n_enum_type; i++)
                if (strcmp(message->enum_type[i]->name, rest) == 0)
                    return true;
            return false;
        }
        message = below;
        rest = next;
    }
    return true;
}

static bool service_has(const Google__Protobuf__ServiceDescriptorProto *service, const char *rest)
{
    for (size_t i = 0; i < service->n_method; i++)
        if (strcmp(service->method[i]->name, rest) == 0)
            return true;
    return rest[0] == '\0';
}

static bool file_has(const file_descriptor *file, const char *symbol)
{
    const char *rest = symbol, *below;
    if (file->package != NULL && !eat(symbol, file->package, &rest)) /* proto2: may be absent */
        return false;
    for (size_t i = 0; i < file->n_service; i++)
        if (eat(rest, file->service[i]->name, &below) && service_has(file->service[i], below))
            return true;
    for (size_t i = 0; i < file->n_message_type; i++)
        if (eat(rest, file->message_type[i]->name, &below) &&
            message_has(file->message_type[i], below))
            return true;
    for (size_t i = 0; i < file->n_enum_type; i++)
        if (strcmp(file->enum_type[i]->name, rest) == 0)
            return true;
    return false;
}

static file_descriptor *file_named(const descriptor_set *set, const char *name)
{
    for (size_t i = 0; i < set->n_file; i++)
        if (strcmp(set->file[i]->name, name) == 0)
            return set->file[i];
    return NULL;
}

/* ---- answering ---- */

static void set_error(reflection_response *response, struct sy_arena *arena, enum sy_code code,
                      const char *text)
{
    Grpc__Reflection__V1__ErrorResponse *error = sy_arena_alloc(arena, sizeof(*error));
    SY_ASSERT(error != NULL);
    grpc__reflection__v1__error_response__init(error);
    error->error_code = (int32_t)code;
    error->error_message = (char *)(uintptr_t)text;
    response->message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ERROR_RESPONSE;
    response->error_response = error;
}

/* The file and, after it, everything it imports, each once. */
static void set_file(reflection_response *response, struct sy_arena *arena,
                     const descriptor_set *set, file_descriptor *first)
{
    if (first == NULL) {
        set_error(response, arena, SY_CODE_NOT_FOUND, "no such file or symbol");
        return;
    }
    Grpc__Reflection__V1__FileDescriptorResponse *files = sy_arena_alloc(arena, sizeof(*files));
    file_descriptor **found = sy_arena_alloc(arena, set->n_file * sizeof(file_descriptor *));
    ProtobufCBinaryData *bytes = sy_arena_alloc(arena, set->n_file * sizeof(*bytes));
    SY_ASSERT(files != NULL && found != NULL && bytes != NULL);
    size_t count = 0;
    found[count++] = first;
    for (size_t done = 0; done < count; done++) {
        for (size_t i = 0; i < found[done]->n_dependency; i++) {
            file_descriptor *import = file_named(set, found[done]->dependency[i]);
            bool known = import == NULL;
            for (size_t k = 0; k < count && !known; k++)
                known = found[k] == import;
            if (!known)
                found[count++] = import;
        }
    }
    for (size_t i = 0; i < count; i++) {
        bytes[i].len = protobuf_c_message_get_packed_size(&found[i]->base);
        bytes[i].data = sy_arena_alloc(arena, bytes[i].len + 1);
        SY_ASSERT(bytes[i].data != NULL);
        protobuf_c_message_pack(&found[i]->base, bytes[i].data);
    }
    grpc__reflection__v1__file_descriptor_response__init(files);
    files->n_file_descriptor_proto = count;
    files->file_descriptor_proto = bytes;
    response->message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_FILE_DESCRIPTOR_RESPONSE;
    response->file_descriptor_response = files;
}

/* The services of the methods that the server has; methods of one service stand together. */
static void set_services(reflection_response *response, struct sy_arena *arena,
                         const struct sy_server *server)
{
    size_t methods = 0, count = 0;
    while (sy_server_method(server, methods) != NULL)
        methods++;
    Grpc__Reflection__V1__ListServiceResponse *list = sy_arena_alloc(arena, sizeof(*list));
    Grpc__Reflection__V1__ServiceResponse **services = sy_arena_alloc(
        arena, methods * sizeof(Grpc__Reflection__V1__ServiceResponse *));
    SY_ASSERT(list != NULL && services != NULL);
    for (size_t i = 0; i < methods; i++) {
        const char *path = sy_server_method(server, i);
        int length = (int)(strrchr(path, '/') - path - 1);
        char *name = sy_arena_printf(arena, "%.*s", length, path + 1);
        if (count > 0 && strcmp(services[count - 1]->name, name) == 0)
            continue;
        Grpc__Reflection__V1__ServiceResponse *service = sy_arena_alloc(arena, sizeof(*service));
        SY_ASSERT(service != NULL);
        grpc__reflection__v1__service_response__init(service);
        service->name = name;
        services[count++] = service;
    }
    grpc__reflection__v1__list_service_response__init(list);
    list->n_service = count;
    list->service = services;
    response->message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_LIST_SERVICES_RESPONSE;
    response->list_services_response = list;
}

static void answer(struct reflection *r, reflection_request *request, reflection_response *response)
{
    struct sy_span bytes = {sy_proto_descriptors, sy_proto_descriptors_len};
    descriptor_set *set = pb_unpack(&google__protobuf__file_descriptor_set__descriptor, &r->arena,
                                    bytes);
    SY_ASSERT(set != NULL);
    file_descriptor *file = NULL;
    switch (request->message_request_case) {
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_LIST_SERVICES:
        set_services(response, &r->arena, r->server);
        break;
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_BY_FILENAME:
        set_file(response, &r->arena, set, file_named(set, request->file_by_filename));
        break;
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_SYMBOL:
        for (size_t i = 0; i < set->n_file && file == NULL; i++)
            if (file_has(set->file[i], request->file_containing_symbol))
                file = set->file[i];
        set_file(response, &r->arena, set, file);
        break;
    default:
        set_error(response, &r->arena, SY_CODE_NOT_FOUND, "there are no extensions here");
    }
}

static void on_message(void *ctx, struct sy_span message)
{
    struct reflection *r = ctx;
    sy_arena_reset(&r->arena);
    reflection_request *request = pb_unpack(
        &grpc__reflection__v1__server_reflection_request__descriptor, &r->arena, message);
    if (request == NULL) {
        struct sy_status status = {0};
        sy_status_set(&status, SY_CODE_INVALID_ARGUMENT, "not a ServerReflectionRequest");
        sy_call_finish(r->call, &status);
        sy_status_deinit(&status);
        return;
    }
    reflection_response response;
    grpc__reflection__v1__server_reflection_response__init(&response);
    response.valid_host = request->host;
    response.original_request = request;
    answer(r, request, &response);
    struct sy_buf bytes = {0};
    pb_pack(&response.base, &bytes);
    if (sy_call_send(r->call, &bytes) == SY_RPC_E_FULL) { /* asks and does not read: enough */
        struct sy_status status = {0};
        sy_status_set(&status, SY_CODE_RESOURCE_EXHAUSTED, "read the answers before asking more");
        sy_call_finish(r->call, &status);
        sy_status_deinit(&status);
        sy_buf_deinit(&bytes);
    }
}

static void on_half_closed(void *ctx)
{
    struct reflection *r = ctx;
    sy_call_finish(r->call, NULL);
}

static void on_closed(void *ctx, const struct sy_status *status)
{
    (void)status;
    struct reflection *r = ctx;
    sy_call_unref(r->call);
    sy_arena_deinit(&r->arena);
    free(r);
}

static void on_call(void *ctx, struct sy_call *call, struct sy_span request)
{
    static const struct sy_call_sink sink = {
        .on_message = on_message, .on_half_closed = on_half_closed, .on_closed = on_closed};
    (void)request;
    struct reflection *r = sy_new(struct reflection);
    r->server = ctx;
    r->call = call;
    sy_arena_init(&r->arena, ARENA_BYTES_MAX);
    sy_call_set_sink(call, &sink, r);
}

void pb_reflection_add(struct sy_server *server, struct sy_loop *loop)
{
    static const char *const paths[] = {
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    };
    for (size_t i = 0; i < SY_COUNT_OF(paths); i++) {
        const struct sy_method method = {.path = paths[i],
                                         .kind = SY_METHOD_BIDI,
                                         .handler = on_call,
                                         .ctx = server,
                                         .loop = loop,
                                         .request_bytes_max = REQUEST_BYTES_MAX};
        sy_server_add(server, &method);
    }
}
