/* What the page's forms do. Each is a request of the API, made by the caller who sent the form (http_go_on_as): so it may do what he
 * may, goes to the leader as any other, and says what the API says.
 *
 * A form of a page leads to another page, which names all that will be hit; its button sends the same with a key. The key is made
 * when that page is: pressing twice, or sending again after a lost answer, triggers once.
 */
#include "cronsched/api/api_page.h"
#include "jobs/base/percent.h"
#include "jobs/definition/job.h"
#include "jobs/state/record.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define NAMES_MAX 200

struct act {
    struct object object; /* first */
    struct api *api;
    json_t *form;   /* a copy of what was sent */
    json_t *names;  /* jobs, or the run */
    json_t *failed; /* [{"name","text"}] */
    json_t *last;   /* the last answer */
    size_t at;      /* the name that is asked for */
};

/* A field that comes once, or several times, as an array. NULL: more than there may be. */
static json_t *names_of(const json_t *form, const char *field)
{
    json_t *value = json_object_get(form, field);

    if (json_is_array(value))
        return json_array_size(value) <= NAMES_MAX ? json_incref(value) : NULL;
    return json_is_string(value) ? json_pack("[O]", value) : json_array();
}

static const char *field(const json_t *form, const char *name)
{
    const char *text = json_string_value(json_object_get(form, name));

    return text ? text : "";
}

/* ---- the page that asks ---- */

/* It has an address of its own, with the key in it: so "back" shows it again, and its button does nothing twice. More names than
 * fit into an address are answered at once. */
#define ADDRESS_BYTES_MAX 3000

static void add_pair(struct text *address, const char *key, const char *value)
{
    text_addf(address, "%s%s=", strchr(text_str(address), '?') ? "&" : "?", key);
    percent_add(address, value);
}

static char *joined(const json_t *names)
{
    const json_t *name;
    struct text t;
    size_t i;

    text_init(&t, 65536);
    json_array_foreach(names, i, name)
    {
        text_add(&t, i ? "," : "");
        text_add(&t, json_is_string(name) ? json_string_value(name) : "");
    }
    return text_take(&t);
}

static void reply_confirm(struct api *api, struct http_request *request, const json_t *form, json_t *names,
                          const char *key)
{
    api_page_reply(api, request, 200, &page_confirm, "Confirm",
                   json_pack("{s:s,s:o,s:s,s:s,s:s}", "action", field(form, "action"), "jobs", names, "run",
                             field(form, "run"), "key", key, "next", field(form, "next")));
}

/* From what a form of a page sent. */
void api_page_confirm(struct http_request *request, void *arg)
{
    struct api *api = OBJECT(struct api, arg);
    const json_t *form = http_body(request);
    json_t *names = names_of(form, "job");
    char *list = joined(names);
    uint64_t random[2] = {0};
    struct text address;
    char key[64];

    if (!names || !list) {
        json_decref(names);
        free(list);
        api_page_problem(api, request, 413, "These are too many jobs at once.", "Choose 200 at most.");
        return;
    }
    if (getrandom(random, sizeof(random), 0) != sizeof(random))
        random[0] = uv_hrtime();
    snprintf(key, sizeof(key), "page-%016" PRIx64 "%016" PRIx64, random[0], random[1]);
    text_init(&address, ADDRESS_BYTES_MAX);
    text_add(&address, "/ui/confirm");
    add_pair(&address, "action", field(form, "action"));
    add_pair(&address, "jobs", list);
    add_pair(&address, "run", field(form, "run"));
    add_pair(&address, "key", key);
    add_pair(&address, "next", field(form, "next"));
    if (address.failed)
        reply_confirm(api, request, form, json_incref(names), key);
    else
        http_reply_redirect(request, text_str(&address));
    text_release(&address);
    json_decref(names);
    free(list);
}

/* At its own address. */
void api_page_confirm_again(struct http_request *request, void *arg)
{
    static const char *const keys[] = {"action", "run", "next"};
    const char *list = api_query_text(request, "jobs"), *key = api_query_text(request, "key");
    json_t *form = json_object(), *names = json_array();

    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        const char *value = api_query_text(request, keys[i]);

        json_object_set_new(form, keys[i], json_string(value ? value : ""));
    }
    while (list && *list && json_array_size(names) < NAMES_MAX) {
        size_t n = strcspn(list, ",");

        json_array_append_new(names, json_stringn(list, n));
        list += n + (list[n] == ',');
    }
    reply_confirm(OBJECT(struct api, arg), request, form, names, key ? key : "");
    json_decref(form);
}

/* ---- and what its button does ---- */

static void act_free(void *arg)
{
    struct act *a = OBJECT(struct act, arg);

    json_decref(a->form);
    json_decref(a->names);
    json_decref(a->failed);
    json_decref(a->last);
    OBJECT_FREE(struct act, a);
}

/* The method and the words of the API for each action; the name stands between them. */
static const struct {
    const char *action, *method, *before, *after;
} calls[] = {
    {"trigger", "POST", "/v1/jobs/", "/trigger"}, {"pause", "POST", "/v1/jobs/", "/pause"},
    {"resume", "POST", "/v1/jobs/", "/resume"},   {"delete", "DELETE", "/v1/jobs/", ""},
    {"kill", "POST", "/v1/runs/", "/kill"},
};
#define CALLS (sizeof(calls) / sizeof(calls[0]))

static size_t find_call(const char *action)
{
    size_t i = 0;

    while (i < CALLS && strcmp(calls[i].action, action) != 0)
        i++;
    return i;
}

static void put(json_t *body, const char *key, const char *text)
{
    if (text[0])
        json_object_set_new(body, key, json_string(text));
}

static json_t *body_of(const struct act *a, const char *action)
{
    json_t *body = json_object();

    if (strcmp(action, "trigger") == 0)
        put(body, "key", field(a->form, "key"));
    if (strcmp(action, "pause") == 0) {
        put(body, "reason", field(a->form, "reason"));
        put(body, "until", field(a->form, "until"));
    }
    return body;
}

static void finish(struct act *a, struct http_request *request)
{
    const char *run = api_text(a->last, "run"), *next = field(a->form, "next");
    char path[RUN_ID_MAX * 3 + 16] = "/ui/runs/";

    if (json_array_size(a->failed)) {
        api_page_reply(a->api, request, 409, &page_confirm, "Not all of it happened",
                       json_pack("{s:s,s:O}", "action", field(a->form, "action"), "failed", a->failed));
    } else if (strcmp(field(a->form, "action"), "trigger") == 0 && json_array_size(a->names) == 1 && run[0] &&
               percent_append(path, sizeof(path), run) == 0) {
        http_reply_redirect(request, path);
    } else {
        api_page_go_to(request, strcmp(field(a->form, "action"), "delete") == 0 ? "/ui/jobs" : next);
    }
}

static void ask_next(struct act *a, struct http_request *request);

static void on_answer(struct http_request *request, int status, const json_t *answer, void *arg)
{
    struct act *a = OBJECT(struct act, arg);
    const char *name = json_string_value(json_array_get(a->names, a->at++));

    json_decref(a->last);
    a->last = json_deep_copy(answer);
    if (status >= 300)
        json_array_append_new(a->failed, json_pack("{s:s,s:s}", "name", name ? name : "", "text",
                                                   api_text(json_object_get(answer, "error"), "text")));
    /* no leader, or no time: for the others it is the same */
    if (a->at < json_array_size(a->names) && status != 503 && status != 504)
        ask_next(a, request);
    else
        finish(a, request);
}

static void ask_next(struct act *a, struct http_request *request)
{
    const char *action = field(a->form, "action");
    const char *name = json_string_value(json_array_get(a->names, a->at));
    size_t i = find_call(action);
    char target[RUN_ID_MAX * 3 + 64];
    struct http_detour detour = {
        .method = calls[i].method, .target = target, .then = on_answer, .release = act_free, .arg = a};

    snprintf(target, sizeof(target), "%s", calls[i].before);
    if (!name || percent_append(target, sizeof(target) - 16, name) < 0)
        snprintf(target, sizeof(target), "%s-", calls[i].before); /* no name at all: the API says so */
    strncat(target, calls[i].after, sizeof(target) - strlen(target) - 1);
    detour.body = strcmp(calls[i].method, "POST") == 0 ? body_of(a, action) : NULL;
    http_go_on_as(request, &detour);
}

void api_page_act(struct http_request *request, void *arg)
{
    struct api *api = OBJECT(struct api, arg);
    const json_t *form = http_body(request);
    bool kill = strcmp(field(form, "action"), "kill") == 0;
    json_t *names = names_of(form, kill ? "run" : "job");
    struct act *a;

    if (!names || json_array_size(names) == 0 || find_call(field(form, "action")) == CALLS) {
        json_decref(names);
        api_page_problem(api, request, 400, "Nothing was chosen, or too much.", NULL);
        return;
    }
    a = OBJECT_NEW(struct act);
    a->api = api;
    a->form = json_deep_copy(form);
    a->names = json_deep_copy(names);
    a->failed = json_array();
    json_decref(names);
    ask_next(a, request);
}
