/* Counts, what is said of them, and whether they are as unmet.txt says; see coverage.h. */
#include "tests/sim/coverage.h"

#include "base/error.h"
#include "base/sm.h"

#include <stdio.h>
#include <string.h>

#define LINE_MAX_BYTES 512

static uint32_t world; /* the one at hand; the simulator has one thread */

void sim_coverage_world(void)
{
    world++;
}

void sim_coverage_meet(struct sim_grid *grid, unsigned row, unsigned column)
{
    SY_ASSERT(row < grid->rows && column < grid->columns);
    struct sim_cell *cell = &grid->cells[row][column];
    cell->worlds += cell->last != world;
    cell->last = world;
}

static const char *row_name(const struct sim_grid *grid, unsigned row)
{
    if (!grid->table)
        return grid->states[row];
    return row == 0 ? "(new)" : grid->table->states[row - 1].name;
}

static const char *column_name(const struct sim_grid *grid, unsigned column)
{
    return grid->table ? grid->table->states[column].name : grid->events[column];
}

/* Moves that the table forbids abort. */
static bool is_pair(const struct sim_grid *grid, unsigned row, unsigned column)
{
    if (!grid->table)
        return true;
    const struct sm_state *states = grid->table->states;
    return row == 0 ? states[column].initial : states[row - 1].next & SM_BIT(column);
}

void sim_coverage_print(void)
{
    unsigned count, pairs = 0, met = 0;
    const struct sim_grid *grids = sim_grids(&count);
    for (unsigned i = 0; i < count; i++) {
        const struct sim_grid *grid = &grids[i];
        for (unsigned row = 0; row < grid->rows; row++) {
            for (unsigned column = 0; column < grid->columns; column++) {
                if (!is_pair(grid, row, column))
                    continue;
                uint32_t worlds = grid->cells[row][column].worlds;
                printf("%6u  %s: %s x %s\n", worlds, grid->name, row_name(grid, row),
                       column_name(grid, column));
                pairs++;
                met += worlds > 0;
            }
        }
    }
    printf("coverage: %u of %u pairs of state and event met in %u worlds\n", met, pairs, world);
}

/* ---- unmet.txt: "GRID: STATE, STATE x EVENT, EVENT*", each of the states with each of the events;
 * "*" ends a name that stands for all that begin so, "~ " begins what may be met or not. A line
 * that is indented says why. ---- */

enum word { DEMANDED, NEVER, SELDOM }; /* what the file says of a pair */

static bool names(const char *list, const char *name)
{
    while (*list) {
        size_t len = strcspn(list, ",");
        bool all = len > 0 && list[len - 1] == '*';
        if (all ? strncmp(list, name, len - 1) == 0
                : strlen(name) == len && memcmp(list, name, len) == 0)
            return true;
        list += len;
        list += strspn(list, ", ");
    }
    return false;
}

struct claim {
    char line[LINE_MAX_BYTES];
    const char *grid, *states, *events;
    enum word word;
};

/* False: the line is none. */
static bool read_claim(struct claim *claim)
{
    char *line = claim->line;
    line[strcspn(line, "\n")] = '\0';
    char *colon = strstr(line, ": ");
    char *by = colon ? strstr(colon, " x ") : NULL;
    if (line[0] == '#' || line[0] == ' ' || !by)
        return false;
    *colon = *by = '\0';
    claim->word = line[0] == '~' ? SELDOM : NEVER;
    claim->grid = claim->word == SELDOM ? line + 2 : line;
    claim->states = colon + 2;
    claim->events = by + 3;
    return true;
}

/* Marks what it names. */
static bool mark(const struct claim *claim, struct sim_grid *grids, unsigned count,
                 enum word words[][SIM_GRID_ROWS_MAX][SIM_GRID_COLUMNS_MAX])
{
    unsigned found = 0;
    for (unsigned i = 0; i < count; i++) {
        const struct sim_grid *grid = &grids[i];
        for (unsigned row = 0; row < grid->rows && names(claim->grid, grid->name); row++) {
            for (unsigned column = 0; column < grid->columns; column++) {
                if (!is_pair(grid, row, column) || !names(claim->states, row_name(grid, row)) ||
                    !names(claim->events, column_name(grid, column)))
                    continue;
                words[i][row][column] = claim->word;
                found++;
            }
        }
    }
    if (found == 0)
        fprintf(stderr, "sim: there is no pair '%s: %s x %s'\n", claim->grid, claim->states,
                claim->events);
    return found > 0;
}

bool sim_coverage_is(const char *path)
{
    static enum word words[SIM_GRIDS_MAX][SIM_GRID_ROWS_MAX][SIM_GRID_COLUMNS_MAX];
    unsigned count, wrong = 0;
    struct sim_grid *grids = sim_grids(&count);
    FILE *file = fopen(path, "r");
    if (!file) {
        fprintf(stderr, "sim: cannot read %s\n", path);
        return false;
    }
    for (struct claim claim; fgets(claim.line, sizeof(claim.line), file);)
        wrong += read_claim(&claim) && !mark(&claim, grids, count, words);
    fclose(file);
    for (unsigned i = 0; i < count; i++) {
        const struct sim_grid *grid = &grids[i];
        for (unsigned row = 0; row < grid->rows; row++) {
            for (unsigned column = 0; column < grid->columns; column++) {
                bool met = grid->cells[row][column].worlds > 0;
                enum word word = words[i][row][column];
                if (!is_pair(grid, row, column) || word == SELDOM || met == (word == DEMANDED))
                    continue;
                fprintf(stderr, "sim: %s: %s x %s was %s\n", grid->name, row_name(grid, row),
                        column_name(grid, column),
                        met ? "met, and the file says that it cannot be" : "not met");
                wrong++;
            }
        }
    }
    return wrong == 0;
}
