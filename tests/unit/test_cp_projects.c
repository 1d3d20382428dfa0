/* links: cp */
#include "tests/unit/cp_requests.h"

#include "flyteidl2/auth/identity.pb-c.h"
#include "flyteidl2/project/project_service.pb-c.h"

#define PROJECT "/flyteidl2.project.ProjectService/"

static void create(struct world *w, const char *id)
{
    Flyteidl2__Project__CreateProjectRequest request =
        FLYTEIDL2__PROJECT__CREATE_PROJECT_REQUEST__INIT;
    Flyteidl2__Project__Project project = FLYTEIDL2__PROJECT__PROJECT__INIT;
    project.id = text_of(id);
    project.name = text_of("a name");
    request.project = &project;
    call_ok(w, PROJECT "CreateProject", &request.base, NULL);
    world_for(w, SY_NS_PER_MS);
}

static Flyteidl2__Project__Project *get(struct world *w, const char *id)
{
    Flyteidl2__Project__GetProjectRequest request = FLYTEIDL2__PROJECT__GET_PROJECT_REQUEST__INIT;
    request.id = text_of(id);
    Flyteidl2__Project__GetProjectResponse *response = call_ok(
        w, PROJECT "GetProject", &request.base,
        &flyteidl2__project__get_project_response__descriptor);
    return response->project;
}

static const char *list(struct world *w, uint32_t limit, const char *filters)
{
    static char text[1024];
    Flyteidl2__Project__ListProjectsRequest request =
        FLYTEIDL2__PROJECT__LIST_PROJECTS_REQUEST__INIT;
    Flyteidl2__Common__Sort sort = FLYTEIDL2__COMMON__SORT__INIT;
    sort.key = text_of("created_at");
    sort.direction = FLYTEIDL2__COMMON__SORT__DIRECTION__ASCENDING;
    request.sort_by = &sort;
    request.limit = limit;
    request.filters = text_of(filters);
    text[0] = '\0';
    for (;;) {
        Flyteidl2__Project__ListProjectsResponse *page = call_ok(
            w, PROJECT "ListProjects", &request.base,
            &flyteidl2__project__list_projects_response__descriptor);
        for (size_t i = 0; i < page->projects->n_projects; i++) {
            size_t len = strlen(text);
            snprintf(text + len, sizeof(text) - len, "%s ", page->projects->projects[i]->id);
            ck_assert_uint_eq(page->projects->projects[i]->n_domains, 3);
        }
        if (page->projects->token[0] == '\0')
            return text;
        request.token = page->projects->token;
    }
}

START_TEST(projects_are_created_changed_and_listed)
{
    struct world w;
    world_init_for(&w, _i);
    ck_assert_str_eq(list(&w, 0, ""), "default ");
    ck_assert_str_eq(get(&w, "default")->id, "default");
    create(&w, "zoo");
    create(&w, "ant");
    create(&w, "bee");
    for (uint32_t limit = 1; limit < 5; limit++)
        ck_assert_str_eq(list(&w, limit, "eq(state, 0)"), "zoo ant bee default ");
    Flyteidl2__Project__UpdateProjectRequest update =
        FLYTEIDL2__PROJECT__UPDATE_PROJECT_REQUEST__INIT;
    Flyteidl2__Project__Project *ant = get(&w, "ant");
    ck_assert_str_eq(ant->name, "a name");
    ant->state = FLYTEIDL2__PROJECT__PROJECT_STATE__PROJECT_STATE_ARCHIVED;
    ant->description = text_of("small");
    update.project = ant;
    call_ok(&w, PROJECT "UpdateProject", &update.base, NULL);
    ck_assert_str_eq(get(&w, "ant")->description, "small");
    ck_assert_str_eq(list(&w, 2, "eq(state, 0)"), "zoo bee default ");
    ck_assert_str_eq(list(&w, 2, "eq(state, 1)"), "ant ");
    update.project = get(&w, "default");
    update.project->name = text_of("mine");
    call_ok(&w, PROJECT "UpdateProject", &update.base, NULL);
    ck_assert_str_eq(get(&w, "default")->name, "mine");
    ck_assert_str_eq(list(&w, 2, "eq(state, 0)"), "zoo bee default ");
    cp_shard_free(w.shard);
    world_start_shard(&w);
    ck_assert_str_eq(list(&w, 2, ""), "zoo ant bee default ");
    world_deinit(&w);
}
END_TEST

START_TEST(projects_that_are_refused)
{
    struct world w;
    world_init_for(&w, _i);
    Flyteidl2__Project__CreateProjectRequest request =
        FLYTEIDL2__PROJECT__CREATE_PROJECT_REQUEST__INIT;
    Flyteidl2__Project__Project project = FLYTEIDL2__PROJECT__PROJECT__INIT;
    call_fails(&w, PROJECT "CreateProject", &request.base, SY_CODE_INVALID_ARGUMENT, "project");
    request.project = &project;
    call_fails(&w, PROJECT "CreateProject", &request.base, SY_CODE_INVALID_ARGUMENT, "project id");
    project.id = text_of("default");
    call_fails(&w, PROJECT "CreateProject", &request.base, SY_CODE_ALREADY_EXISTS, "default");
    create(&w, "mine");
    project.id = text_of("mine");
    call_fails(&w, PROJECT "CreateProject", &request.base, SY_CODE_ALREADY_EXISTS, "mine");
    project.id = text_of("yours");
    call_fails(&w, PROJECT "UpdateProject", &request.base, SY_CODE_NOT_FOUND, "yours");
    Flyteidl2__Project__GetProjectRequest none = FLYTEIDL2__PROJECT__GET_PROJECT_REQUEST__INIT;
    none.id = text_of("yours");
    call_fails(&w, PROJECT "GetProject", &none.base, SY_CODE_NOT_FOUND, "yours");
    Flyteidl2__Project__ListProjectsRequest bad = FLYTEIDL2__PROJECT__LIST_PROJECTS_REQUEST__INIT;
    bad.filters = text_of("like(name, x)");
    call_fails(&w, PROJECT "ListProjects", &bad.base, SY_CODE_INVALID_ARGUMENT, "filters");
    world_deinit(&w);
}
END_TEST

START_TEST(everybody_is_anonymous)
{
    struct world w;
    world_init_for(&w, _i);
    Flyteidl2__Auth__UserInfoRequest request = FLYTEIDL2__AUTH__USER_INFO_REQUEST__INIT;
    const Flyteidl2__Auth__UserInfoResponse *user = call_ok(
        &w, "/flyteidl2.auth.IdentityService/UserInfo", &request.base,
        &flyteidl2__auth__user_info_response__descriptor);
    ck_assert_str_eq(user->subject, "anonymous");
    call_fails(&w, "/flyteidl2.auth.AuthMetadataService/GetOAuth2Metadata", &request.base,
               SY_CODE_UNIMPLEMENTED, "insecure");
    world_deinit(&w);
}
END_TEST

int main(void)
{
    const TTest *const each[] = {projects_are_created_changed_and_listed, projects_that_are_refused,
                                 everybody_is_anonymous, NULL};
    const TTest *const once[] = {NULL};
    return world_tests("cp_projects", each, once);
}
