/*
 * Which (state, event) pairs of the state tables the worlds of this process have met.
 *
 * Two kinds of grid. Moves: of each const table (base/sm.h), from which state it went to which; the
 * pairs are those that the table allows. Events: of each pure core, in which state its subject was
 * when an event about it came; the pairs are all of them, also those that change nothing. The
 * functions that every move and event goes through are wrapped when the simulator is linked
 * (-Wl,--wrap), so the product knows nothing of it.
 *
 * What no world has met has to be in a file, with the reason why no world can: unmet.txt.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define SIM_GRIDS_MAX 32
#define SIM_GRID_ROWS_MAX 16
#define SIM_GRID_COLUMNS_MAX 32

struct sm_table;
struct sim_grid {
    const char *name;
    const struct sm_table *table; /* moves: rows and columns are its states; row 0: none before */
    const char *const *states, *const *events; /* events */
    unsigned rows, columns;
    struct sim_cell {
        uint32_t worlds, last; /* that met it; the last of them */
    } cells[SIM_GRID_ROWS_MAX][SIM_GRID_COLUMNS_MAX];
};

/* coverage_grids.c: all of them; set up at the first call. */
struct sim_grid *sim_grids(unsigned *ret_count);

/* coverage.c */
void sim_coverage_world(void); /* another one begins */
void sim_coverage_meet(struct sim_grid *grid, unsigned row, unsigned column);
/* A line for each pair: in how many worlds it was met. */
void sim_coverage_print(void);
/* Whether the pairs that were not met are exactly those that the file says; says which are not. */
bool sim_coverage_is(const char *path);
