/* What is about to happen, before it does. Model: {"action","jobs":[names],"run","key","next","failed":[{"name","text"}]}. */
#include "cronsched/page/page.h"

#include <string.h>

static const struct {
    const char *action, *title, *text, *button;
} actions[] = {
    {"trigger", "Trigger", "These jobs run once, now:", "Trigger"},
    {"pause", "Pause", "These jobs fire no more until they are resumed; what runs, runs on:", "Pause"},
    {"resume", "Resume", "These jobs fire again from their next fire time on:", "Resume"},
    {"delete", "Delete",
     "These jobs are deleted; what runs, runs to its end, and their history stays:", "Delete"},
    {"kill", "Kill", "This run is ended by force:", "Kill"},
};

static size_t find(const char *action)
{
    size_t i = 0;

    while (i < sizeof(actions) / sizeof(actions[0]) && strcmp(actions[i].action, action) != 0)
        i++;
    return i;
}

static void failures(struct html *w, const json_t *model)
{
    const json_t *failure;
    size_t i;

    html_open(w, "ul");
    html_attr(w, "class", "error");
    json_array_foreach(json_object_get(model, "failed"), i, failure)
    {
        html_open(w, "li");
        html_textf(w, "%s: %s", page_text(failure, "name"), page_text(failure, "text"));
        html_close(w);
    }
    html_close(w);
}

static void names(struct html *w, const json_t *model, bool kill)
{
    const json_t *name;
    size_t i;

    html_open(w, "ul");
    if (kill)
        html_element(w, "li", NULL, page_text(model, "run"));
    json_array_foreach(json_object_get(model, "jobs"), i, name)
    {
        if (!kill)
            html_element(w, "li", NULL, json_string_value(name));
    }
    html_close(w);
}

static void hidden_fields(struct html *w, const json_t *model, bool kill)
{
    const json_t *name;
    size_t i;

    page_hidden(w, "action", page_text(model, "action"));
    page_hidden(w, "key", page_text(model, "key"));
    page_hidden(w, "next", page_text(model, "next"));
    if (kill)
        page_hidden(w, "run", page_text(model, "run"));
    json_array_foreach(json_object_get(model, "jobs"), i, name)
    {
        if (!kill)
            page_hidden(w, "job", json_string_value(name));
    }
}

static void body(struct html *w, const json_t *model, const struct page_view *view)
{
    size_t at = find(page_text(model, "action"));
    bool kill = strcmp(page_text(model, "action"), "kill") == 0;

    if (json_array_size(json_object_get(model, "failed"))) {
        html_element(w, "h1", NULL, "Not all of it happened");
        failures(w, model);
        html_open(w, "p");
        html_anchor(w, "Jobs", "/ui/jobs");
        html_close(w);
        return;
    }
    if (at == sizeof(actions) / sizeof(actions[0]) ||
        (!kill && json_array_size(json_object_get(model, "jobs")) == 0)) {
        html_element(w, "h1", NULL, "Nothing was chosen");
        html_open(w, "p");
        html_anchor(w, "Jobs", "/ui/jobs");
        html_close(w);
        return;
    }
    html_open(w, "h1");
    html_text(w, actions[at].title);
    html_close(w);
    html_element(w, "p", NULL, actions[at].text);
    names(w, model, kill);
    html_open(w, "form");
    html_attr(w, "class", "card");
    html_attr(w, "method", "post");
    html_link(w, "action", "/ui/act");
    hidden_fields(w, model, kill);
    if (strcmp(actions[at].action, "pause") == 0) {
        page_field(w, "Reason", "reason", NULL, "shown to others");
        page_field(w, "Until (RFC 3339, with the zone)", "until", NULL, "2026-12-01T08:00:00+01:00");
    }
    page_button(w, actions[at].button, "primary");
    html_close(w);
}

const struct page page_confirm = {NULL, body};
