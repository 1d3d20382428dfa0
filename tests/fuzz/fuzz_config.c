/* Any text is either a configuration or refused with a sentence. */
#include "base/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct item {
    char *name;
    int64_t count;
};
struct fuzzed {
    char *name;
    int64_t number, wait_ns, bytes, word;
    bool flag;
    struct sy_config_map map;
    struct sy_config_list items, words;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const words[] = {"red", "green", NULL};
    static const struct sy_config_key item_keys[] = {
        SY_CONFIG_STRING("name", struct item, name, NULL, "a name"),
        SY_CONFIG_INT("count", struct item, count, 1, 0, 10, "how many"),
    };
    static const struct sy_config_key keys[] = {
        SY_CONFIG_STRING("name", struct fuzzed, name, "x", "a name"),
        SY_CONFIG_INT("number", struct fuzzed, number, 1, -5, 5, "a number"),
        SY_CONFIG_DURATION("wait", struct fuzzed, wait_ns, "1s", "1ms", "1h", "a time"),
        SY_CONFIG_SIZE("bytes", struct fuzzed, bytes, "1KiB", "0", "1GiB", "a size"),
        SY_CONFIG_ENUM("word", struct fuzzed, word, "red", words, "a word"),
        SY_CONFIG_BOOL("flag", struct fuzzed, flag, "false", "yes or no"),
        SY_CONFIG_MAP("map", struct fuzzed, map, "", "pairs"),
        SY_CONFIG_LIST("items", struct fuzzed, items, "", struct item, item_keys, "things"),
        SY_CONFIG_STRINGS("words", struct fuzzed, words, "", "words"),
    };
    struct fuzzed config;
    struct sy_error_text error = {0};
    int r = sy_config_parse(&config, sizeof(config), keys, sizeof(keys) / sizeof(*keys), "fuzz",
                            (const char *)data, size, &error);
    if (r < 0) {
        SY_ASSERT(error.text[0] != '\0');
        return 0;
    }
    SY_ASSERT(config.name != NULL && config.number >= -5 && config.number <= 5);
    sy_config_free(&config, keys, sizeof(keys) / sizeof(*keys));
    return 0;
}
