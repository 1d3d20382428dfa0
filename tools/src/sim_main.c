/* switchyard-simulate: see sim_program.h. */
#include "tools/src/sim_program.h"

int main(int argc, char **argv)
{
    return (int)sim_program(argc, argv);
}
