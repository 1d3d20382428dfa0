/* links: dp */
/*
 * The hash of inputs, against what Flyte's SDK 2.12.1 computes
 * (flyte._internal.runtime.convert.generate_inputs_hash_from_proto) for the same serialized Inputs.
 */
#include "base/mem.h"
#include "dataplane/inputs_hash.h"
#include "dataplane/msgpack.h"
#include "proto/run_paths.h"
#include "tests/lib/test.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name, *hex, *hash;
} vectors[] = {
    {"an integer", "0a0b0a017812060a040a020801", "mwz8D2D27AaNIuSl3c0hyVeHhgDGpyQZdtnWBWKxGAc="},
    {"default values, text, a double",
     "0a0b0a017812060a040a0208000a110a0179120c0a0a0a081a0668c3a96c6c6f0a120a017a120d0a"
     "0b0a0911000000000000f83f",
     "xC0fkAXXef942SGk1wNMUhUh2cZEPzqqop7JSxZA/s4="},
    {"MessagePack: unsorted, every width",
     "0a89030a01641283030a80031afd020af10288a16201a16182a17a93010282a17901a178fba16bcb"
     "400a000000000000a163c0a164c3a165c4020001a166cf0000010000000000a167d3fffffffe0000"
     "0000a168da012c787878787878787878787878787878787878787878787878787878787878787878"
     "78787878787878787878787878787878787878787878787878787878787878787878787878787878"
     "78787878787878787878787878787878787878787878787878787878787878787878787878787878"
     "78787878787878787878787878787878787878787878787878787878787878787878787878787878"
     "78787878787878787878787878787878787878787878787878787878787878787878787878787878"
     "78787878787878787878787878787878787878787878787878787878787878787878787878787878"
     "78787878787878787878787878787878787878787878787878787878787878787878787878787878"
     "78787878787878787878787878787878787878787878787878787812076d73677061636b",
     "YSsx70jnjYwsZ7sxHVNB50rGnOmJ8heTZpY+vtLp+Bk="},
    {"MessagePack: keys of several kinds",
     "0a1f0a0164121a0a181a160a0b8403010102ffa171a1730012076d73677061636b",
     "30IofaBKCwVwDToR8Wf+49zYenPS3tf/izo7gFwnTbM="},
    {"a list with a member's own hash",
     "0a240a016c121f121d0a060a040a0208030a0a0a040a020804220248480a070a050a031a0161",
     "T3FjFO5k7z1Z0IRiV+hbH4ypmzS7AFsedxx6/um3wdE="},
    {"a map",
     "0a430a016d123e1a3c0a140a05616c706861120b0a090a071a05616c7068610a120a047a65746112"
     "0a0a080a061a047a6574610a100a036d696412090a070a051a036d6964",
     "PHWyZ+f6F7PrM5Wk+NL3bfjznrOEt9JhQiloCA1RZ64="},
    {"a Struct, and metadata",
     "0a7e0a017312790a653a630a080a016d12031a01740a460a016112412a3f0a340a0171122f322d0a"
     "0911000000000000f03f0a031a01780a1b2a190a070a0162120208000a0e0a017512091100000000"
     "0000f03f0a070a0163120220010a0f0a027a7a120911000000000000f03f2a070a026b311201772a"
     "070a026b32120176",
     "b+AgzHXIOMxLt4x01sh+UTGLCcJGduvyRBN290TGVTE="},
    {"a union with its type",
     "0a4e0a017512490a474a450a160a141a120a0782a16201a1610212076d73677061636b122b080132"
     "200a0e0a017812091100000000000000400a0e0a0179120911000000000000f03f5a050a03696e74",
     "xkQ+aGPRHoala/rqqxjp+s6BeWy6mW0Tb5pomQmAqKc="},
    {"an own hash", "0a130a0168120e0a040a02080122066d79686173680a0b0a016912060a040a020802",
     "436iol8Oww1TwcWlvcJTQ80hwn4JOmpTfP5g8gnW1x0="},
    {"empty literals", "0a050a016512000a090a016e12040a022a00",
     "aqh2F++GFXh/CNrTy5QgZ3XWRO0KA7kOBy1HjYr0MMg="},
    {"a blob", "0a1c0a016212170a1512130a070a050a036373761a0873333a2f2f782f79",
     "nHPjB0OQVYd305GB0mvmu591vxzHsAmVeV50Nt08tHI="},
    {"MessagePack that is none", "0a190a016412140a121a100a05c16a756e6b12076d73677061636b",
     "R4C8Ae0vAjpA0GR4LvB6Pys/wsNusrHfYz0XezVbIyY="},
    {"MessagePack: time, extension, long lists",
     "0ab5010a016412af010aac011aa9010a9d0184a174d7ff0000001800000005a175c70cff00000001"
     "0000000800000000a178c70305616263a17692dc0028000102030405060708090a0b0c0d0e0f1011"
     "12131415161718191a1b1c1d1e1f2021222324252627de0014a13000a13101a13202a13303a13404"
     "a13505a13606a13707a13808a13909a231300aa231310ba231320ca231330da231340ea231350fa2"
     "313610a2313711a2313812a231391312076d73677061636b",
     "56ePSHugwrf5AKavgaaMrh6zd3wNeMJIkkEfdjs8q40="},
    {"no inputs", "", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="},
};

static struct sy_buf from_hex(const char *hex)
{
    struct sy_buf bytes = {0};
    for (; *hex; hex += 2) {
        char digits[3] = {hex[0], hex[1], 0};
        uint8_t byte = (uint8_t)strtoul(digits, NULL, 16);
        sy_buf_append(&bytes, &byte, 1);
    }
    return bytes;
}

static int hash(struct sy_span inputs, const char *ignored, char ret[64])
{
    char *list[] = {(char *)(uintptr_t)ignored};
    struct sy_buf text = {0};
    int r = dp_inputs_hash(inputs, list, ignored ? 1 : 0, &text);
    ck_assert_uint_lt(text.len, 64);
    sy_buf_append(&text, "", 1);
    memcpy(ret, text.data, text.len);
    sy_buf_deinit(&text);
    return r;
}

START_TEST(as_the_sdk_has_it)
{
    for (size_t i = 0; i < SY_COUNT_OF(vectors); i++) {
        struct sy_buf bytes = from_hex(vectors[i].hex);
        char text[64];
        ck_assert_int_eq(hash(sy_buf_span(&bytes), NULL, text), 0);
        ck_assert_msg(strcmp(text, vectors[i].hash) == 0, "%s: %s", vectors[i].name, text);
        sy_buf_deinit(&bytes);
    }
}
END_TEST

/* The second of x = 0, y, z is left out; of the first alone, x = 1, nothing stays. */
START_TEST(ignored_inputs_do_not_count)
{
    struct sy_buf bytes = from_hex(vectors[1].hex);
    char all[64], some[64], other[64];
    ck_assert_int_eq(hash(sy_buf_span(&bytes), NULL, all), 0);
    ck_assert_int_eq(hash(sy_buf_span(&bytes), "y", some), 0);
    ck_assert_str_ne(all, some);
    ck_assert_int_eq(hash(sy_buf_span(&bytes), "w", other), 0);
    ck_assert_str_eq(all, other);
    sy_buf_deinit(&bytes);
    bytes = from_hex(vectors[0].hex);
    ck_assert_int_eq(hash(sy_buf_span(&bytes), "x", some), 0);
    ck_assert_str_eq(some, PB_NO_INPUTS_HASH);
    sy_buf_deinit(&bytes);
}
END_TEST

START_TEST(cut_inputs_are_refused)
{
    for (size_t i = 0; i < SY_COUNT_OF(vectors); i++) {
        struct sy_buf bytes = from_hex(vectors[i].hex);
        for (size_t len = 1; len < bytes.len; len++) {
            char text[64];
            uint8_t *copy = sy_memdup(bytes.data, len); /* so that a sanitizer sees its end */
            (void)hash((struct sy_span){copy, len}, NULL, text);
            free(copy);
        }
        char text[64];
        if (bytes.len > 0)
            ck_assert_int_eq(hash((struct sy_span){bytes.data, bytes.len - 1}, NULL, text),
                             -EBADMSG);
        sy_buf_deinit(&bytes);
    }
}
END_TEST

/* Lists in lists, 200 deep. */
START_TEST(deep_inputs_are_refused)
{
    struct sy_buf literal = {0}, inputs = {0};
    char text[64];
    for (int i = 0; i < 200; i++) {
        struct sy_buf list = {0}, outer = {0};
        uint8_t tag = 0x0a;
        sy_buf_append(&list, &tag, 1);
        uint8_t len[2] = {(uint8_t)(literal.len | 0x80), (uint8_t)(literal.len >> 7)};
        sy_buf_append(&list, len, 2);
        sy_buf_append(&list, literal.data, literal.len);
        tag = 0x12;
        sy_buf_append(&outer, &tag, 1);
        uint8_t outer_len[2] = {(uint8_t)(list.len | 0x80), (uint8_t)(list.len >> 7)};
        sy_buf_append(&outer, outer_len, 2);
        sy_buf_append(&outer, list.data, list.len);
        sy_buf_deinit(&list);
        sy_buf_deinit(&literal);
        literal = outer;
    }
    uint8_t head[] = {0x12, (uint8_t)(literal.len | 0x80), (uint8_t)(literal.len >> 7)};
    size_t named_len = sizeof(head) + literal.len;
    uint8_t named[] = {0x0a, (uint8_t)(named_len | 0x80), (uint8_t)(named_len >> 7)};
    sy_buf_append(&inputs, named, sizeof(named));
    sy_buf_append(&inputs, head, sizeof(head));
    sy_buf_append(&inputs, literal.data, literal.len);
    ck_assert_int_eq(hash(sy_buf_span(&inputs), NULL, text), -EBADMSG);
    sy_buf_deinit(&inputs);
    sy_buf_deinit(&literal);
}
END_TEST

START_TEST(values_that_are_none)
{
    static const char *const texts[] = {"",   "c1",     "a2ff61", "a1ff", "8190c0", "0101",
                                        "91", "81a161", "d9",     "ca00", "c7",     "d6ff3b9aca00"};
    for (size_t i = 0; i < SY_COUNT_OF(texts); i++) {
        struct sy_buf bytes = from_hex(texts[i]), out = {0};
        int r = dp_msgpack_canonical(sy_buf_span(&bytes), &out);
        ck_assert_msg(r == (i == SY_COUNT_OF(texts) - 1 ? 0 : -EBADMSG), "%s", texts[i]);
        sy_buf_deinit(&bytes);
        sy_buf_deinit(&out);
    }
}
END_TEST

int main(void)
{
    const TTest *tests[] = {as_the_sdk_has_it,      ignored_inputs_do_not_count,
                            cut_inputs_are_refused, deep_inputs_are_refused,
                            values_that_are_none,   NULL};
    return sy_test_run("inputs hash", tests);
}
