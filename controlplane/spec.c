/* The table of specs: by content, with a list of those that no live action uses. */
#include "controlplane/spec.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>
#include <xxhash.h>

static void digest_of(struct sy_span bytes, uint8_t ret[CP_SPEC_DIGEST_BYTES])
{
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits(bytes.data, bytes.len));
    _Static_assert(sizeof(canonical.digest) == CP_SPEC_DIGEST_BYTES, "16 bytes");
    memcpy(ret, canonical.digest, CP_SPEC_DIGEST_BYTES);
}

void cp_spec_free(struct cp_spec *spec)
{
    sy_buf_deinit(&spec->bytes);
    free(spec);
}

void cp_specs_deinit(struct cp_specs *specs)
{
    struct cp_spec *spec = specs->by_digest, *next;
    HASH_CLEAR(hh, specs->by_digest); /* their own links stay readable */
    for (; spec; spec = next) {
        next = spec->hh.next;
        cp_spec_free(spec);
    }
    *specs = (struct cp_specs){0};
}

struct cp_spec *cp_specs_find(struct cp_specs *specs, const uint8_t digest[CP_SPEC_DIGEST_BYTES])
{
    struct cp_spec *spec;
    HASH_FIND(hh, specs->by_digest, digest, CP_SPEC_DIGEST_BYTES, spec);
    return spec;
}

static uint32_t refs(const struct cp_spec *spec)
{
    return spec->uses[0].base.refs + spec->uses[1].base.refs;
}

void cp_specs_release(struct cp_specs *specs, struct cp_spec *spec)
{
    if (spec->idle || refs(spec) > 0)
        return;
    spec->idle = true;
    DL_APPEND(specs->idle, spec);
    specs->idle_count++;
    specs->idle_bytes += spec->bytes.len;
}

static void leave_idle(struct cp_specs *specs, struct cp_spec *spec)
{
    SY_ASSERT(spec->idle && specs->idle_count > 0);
    SY_ASSERT(specs->idle_bytes >= spec->bytes.len);
    spec->idle = false;
    DL_DELETE(specs->idle, spec);
    specs->idle_count--;
    specs->idle_bytes -= spec->bytes.len;
}

struct cp_spec *cp_specs_pop_excess(struct cp_specs *specs)
{
    struct cp_spec *spec = specs->idle, *next;
    for (; spec; spec = next) {
        next = spec->next;
        if (specs->idle_count <= CP_SPECS_UNUSED_MAX &&
            specs->idle_bytes <= CP_SPECS_UNUSED_BYTES_MAX)
            return NULL;
        if (refs(spec) > 0) { /* used again; it comes back when it is released */
            leave_idle(specs, spec);
        } else if (spec->pins == 0) {
            leave_idle(specs, spec);
            HASH_DEL(specs->by_digest, spec);
            return spec;
        }
    }
    return NULL;
}

int cp_specs_intern(struct cp_specs *specs, struct sy_span bytes, struct cp_spec **ret,
                    struct sy_error_text *error)
{
    uint8_t digest[CP_SPEC_DIGEST_BYTES];
    digest_of(bytes, digest);
    struct cp_spec *spec = cp_specs_find(specs, digest);
    if (spec) {
        /* XXH3 is fast, not collision-proof: somebody may have made this one. */
        if (spec->bytes.len != bytes.len || memcmp(spec->bytes.data, bytes.data, bytes.len) != 0) {
            sy_error_text_set(error,
                              "task_spec: its digest is that of another task; change a byte");
            return -EINVAL;
        }
        *ret = spec;
        return 0;
    }
    struct sch_spec base;
    struct cp_spec_traits traits;
    int r = cp_spec_parse_all(&base, &traits, bytes, error);
    if (r < 0)
        return r;
    spec = sy_new(struct cp_spec);
    memcpy(spec->digest, digest, sizeof(digest));
    spec->traits = traits;
    spec->bytes = sy_buf_copy(bytes.data, bytes.len);
    spec->id = ++specs->last_id;
    for (unsigned i = 0; i < 2; i++)
        spec->uses[i] = (struct cp_spec_use){.base = base, .spec = spec, .has_input = i == 1};
    HASH_ADD(hh, specs->by_digest, digest, CP_SPEC_DIGEST_BYTES, spec);
    cp_specs_release(specs, spec); /* until an action uses it */
    *ret = spec;
    return 0;
}
