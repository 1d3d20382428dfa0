/*
 * What every unit test shares: a suite made from a list of test functions, run without fork (gRPC
 * does not survive a fork) and with one closing line.
 */
#pragma once

#include <check.h>

/* Runs the tests named in a NULL-terminated list; returns main()'s exit code. */
int sy_test_run(const char *name, const TTest *const *tests);
