/* switchyard-demo: see demo_driver.h. Its last line says whether all was well. */
#include "tools/src/cl_text.h"
#include "tools/src/demo_driver.h"

#include <inttypes.h>
#include <stdio.h>

static void print_ok(const struct demo_state *state)
{
    const struct demo_report *r = &state->expected;
    int64_t elapsed_ns = state->ended_ns - state->submitted_ns;
    double rate = elapsed_ns > 0 ? (double)r->files * 1e9 / (double)elapsed_ns : 0;
    printf("demo: OK: %s files, %s to %s in %s (%s files/s), checksum %016" PRIx64
           ", every result checked\n",
           cl_format_count(r->files).text, cl_format_bytes(r->bytes).text,
           cl_format_bytes(r->compressed).text, cl_format_duration(elapsed_ns).text,
           cl_format_count((uint64_t)rate).text, r->checksum);
}

int main(int argc, char **argv)
{
    static char program[] = DEMO_PROGRAM;
    argv[0] = program;
    struct demo_state state = {.client = NULL};
    struct cl_error error = {.exit = CL_OK};
    if (demo_options_parse(&state.options, argc, argv) != CL_PARSE_OK)
        return (int)cl_args_exit(DEMO_PROGRAM, &state.options.common);
    enum cl_exit exit_code = demo_run(&state, &error);
    if (exit_code == CL_OK)
        print_ok(&state);
    else
        printf("demo: FAILED: %s\n", error.text.text);
    demo_state_deinit(&state);
    return (int)cl_flush_output(DEMO_PROGRAM, exit_code);
}
