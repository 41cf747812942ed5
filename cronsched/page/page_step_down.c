/* That another replica is to lead. Model: {"error"}. */
#include "cronsched/page/page.h"

static void body(struct html *w, const json_t *model, const struct page_view *view)
{
    html_element(w, "h1", NULL, "Step down");
    page_error(w, page_text(model, "error"));
    html_open(w, "p");
    html_textf(w, "%s hands over to another replica, within milliseconds; what runs goes on.",
               view->leader ? view->leader : "The leader");
    html_close(w);
    html_open(w, "form");
    html_attr(w, "class", "card");
    html_attr(w, "method", "post");
    html_link(w, "action", "/ui/step-down");
    page_button(w, "Step down", "danger");
    html_close(w);
}

const struct page page_step_down = {"cluster", body};
