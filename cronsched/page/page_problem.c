/* What went wrong, for people. Model: {"status","text","advice"}. */
#include "cronsched/page/page.h"

static void body(struct html *w, const json_t *model, const struct page_view *view)
{
    html_open(w, "h1");
    switch (page_int(model, "status", 500)) {
    case 401:
        html_text(w, "Log in");
        break;
    case 403:
        html_text(w, "Not allowed");
        break;
    case 404:
        html_text(w, "Not found");
        break;
    default:
        html_text(w, "That did not work");
    }
    html_close(w);
    html_element(w, "p", "error", page_text(model, "text"));
    if (page_text(model, "advice")[0])
        html_element(w, "p", NULL, page_text(model, "advice"));
    html_open(w, "p");
    if (view->who)
        html_anchor(w, "All jobs", "/ui/jobs");
    else
        html_anchor(w, "Log in", "/ui/login");
    html_close(w);
}

const struct page page_problem = {NULL, body};
