/* switchyard-bench: see bench.h. */
#include "tools/src/bench.h"

int main(int argc, char **argv)
{
    return (int)bench_program(argc, argv);
}
