/* switchyard-bench-watchers: see bench_watchers.h. */
#include "tools/src/bench_watchers.h"

int main(int argc, char **argv)
{
    return bench_watchers_program(argc, argv);
}
