/* Feeds files to a fuzz target, for compilers without libFuzzer. */
#include "base/file.h"

#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        struct sy_buf bytes = {0};
        if (sy_file_read(argv[i], 1 << 20, &bytes) < 0) {
            fprintf(stderr, "cannot read %s\n", argv[i]);
            return 1;
        }
        LLVMFuzzerTestOneInput(bytes.data, bytes.len);
        sy_buf_deinit(&bytes);
    }
    printf("%d passed, 0 failed\n", argc - 1);
    return argc > 1 ? 0 : 1;
}
