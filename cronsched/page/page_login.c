/* The login. Model: {"next","error"}, and of a link that somebody asked for "code", "as" and "role". */
#include "cronsched/page/page.h"

static void by_link(struct html *w, const json_t *model)
{
    html_open(w, "p");
    html_text(w, "This link was asked for by ");
    html_element(w, "strong", NULL, page_text(model, "as"));
    html_textf(w, ". Whoever uses it has the role %s, once.", page_text(model, "role"));
    html_close(w);
    page_hidden(w, "code", page_text(model, "code"));
    page_button(w, "Log in", "primary");
}

static void by_token(struct html *w)
{
    html_open(w, "label");
    html_element(w, "span", NULL, "Token");
    html_leaf(w, "input");
    html_attr(w, "type", "password");
    html_attr(w, "name", "token");
    html_attr(w, "autocomplete", "current-password");
    html_attr(w, "maxlength", "512");
    html_flag(w, "required", true);
    html_close(w);
    page_button(w, "Log in", "primary");
    html_open(w, "p");
    html_attr(w, "class", "note");
    html_text(w, "On the server's machine ");
    html_element(w, "code", NULL, "cronsched ui");
    html_text(w, " prints a link that logs in; ");
    html_element(w, "code", NULL, "cronsched token");
    html_text(w, " makes a token.");
    html_close(w);
}

static void body(struct html *w, const json_t *model, const struct page_view *view)
{
    html_element(w, "h1", NULL, "Log in");
    page_error(w, page_text(model, "error"));
    html_open(w, "form");
    html_attr(w, "class", "card");
    html_attr(w, "method", "post");
    html_link(w, "action", "/ui/login");
    page_hidden(w, "next", page_text(model, "next"));
    if (page_text(model, "code")[0])
        by_link(w, model);
    else
        by_token(w);
    html_close(w);
}

const struct page page_login = {NULL, body};
