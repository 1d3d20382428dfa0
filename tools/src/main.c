/* The command line of Switchyard: see cmd.h and docs/cli.md. */
#include "tools/src/cmd.h"

int main(int argc, char **argv)
{
    return (int)cl_flush_output(CL_PROGRAM, cl_switchyard(argc, argv));
}
