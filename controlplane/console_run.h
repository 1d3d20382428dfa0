/* What console_run.c (one run) and console_tree.c (its actions) share. */
#pragma once

#include "controlplane/console_page.h"

#include "flyteidl2/cluster/payload.pb-c.h"
#include "flyteidl2/workflow/run_service.pb-c.h"

#define CP_RUN_ACTIONS_A_PAGE 500
/* How far those behind the page are counted, about, and in steps of how many. */
#define CP_RUN_REST_MAX 5000
#define CP_RUN_REST_STEP 1000
/* Failed actions of a page whose error is fetched. */
#define CP_RUN_FAILURES_MAX 20

struct cp_run_page {
    const char *project, *domain, *run;
    const Flyteidl2__Workflow__GetRunDetailsResponse *root;
    const Flyteidl2__Workflow__ListActionsResponse *list;
    const Flyteidl2__Workflow__GetActionDetailsResponse *chosen; /* NULL: the root is */
    const Flyteidl2__Cluster__SelectClusterResponse *cluster;    /* NULL: not asked, or unknown */
    const Flyteidl2__Workflow__GetActionDetailsResponse *failures[CP_RUN_FAILURES_MAX];
    size_t failure_count;
    const Flyteidl2__Workflow__ListActionsResponse *behind; /* counted last; NULL: none yet */
    size_t rest;                                            /* how many are behind the page, */
    bool uncounted;                                         /* and more */
};

/* The actions as rows, children below their parent, with a bar each on one time line. */
void cp_html_actions(struct sy_buf *html, struct cp_page *page, const struct cp_run_page *run);

/* Why it did not succeed; nothing when it did. */
void cp_html_error(struct sy_buf *html, const Flyteidl2__Workflow__ActionDetails *details);
/* Of a flyteidl2.core.CatalogCacheStatus; "" where there is nothing to say. */
const char *cp_html_cache_word(int status);
