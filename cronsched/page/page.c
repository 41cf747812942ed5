/* The frame around every page: header, navigation, footer. See page.h. */
#include "cronsched/page/page.h"

#include "cronsched/page/assets.h"
#include "jobs/base/text.h"
#include "jobs/time/instant.h"

#include <string.h>

static const struct {
    const char *nav, *path, *text;
} menu[] = {
    {"now", "/ui/", "Now"},
    {"jobs", "/ui/jobs", "Jobs"},
    {"runs", "/ui/runs", "Runs"},
    {"tonight", "/ui/tonight", "Tonight"},
    {"explain", "/ui/explain", "Explain"},
    {"audit", "/ui/audit", "Audit"},
    {"cluster", "/ui/cluster", "Cluster"},
};

static void asset_link(struct html *w, const char *name, const char *attribute)
{
    html_link(w, attribute, "/ui/a/%s/%s", assets_hash(name), name);
}

static void head(struct html *w, const char *title, const struct page_view *view)
{
    html_open(w, "head");
    html_leaf(w, "meta");
    html_attr(w, "charset", "utf-8");
    html_leaf(w, "meta");
    html_attr(w, "name", "viewport");
    html_attr(w, "content", "width=device-width, initial-scale=1");
    html_open(w, "title");
    html_textf(w, "%s · %s", title, view->cluster);
    html_close(w);
    html_leaf(w, "link");
    html_attr(w, "rel", "icon");
    html_attr(w, "type", "image/svg+xml");
    asset_link(w, "icon.svg", "href");
    html_leaf(w, "link");
    html_attr(w, "rel", "stylesheet");
    asset_link(w, "style.css", "href");
    html_open(w, "script");
    html_attr(w, "type", "module");
    asset_link(w, "app.js", "src");
    html_close(w);
    html_close(w);
}

static void navigation(struct html *w, const char *here)
{
    html_open(w, "nav");
    html_attr(w, "aria-label", "Main");
    html_open(w, "ul");
    for (size_t i = 0; i < sizeof(menu) / sizeof(menu[0]); i++) {
        html_open(w, "li");
        html_open(w, "a");
        html_link(w, "href", menu[i].path);
        html_attr(w, "aria-current", here && strcmp(here, menu[i].nav) == 0 ? "page" : NULL);
        html_text(w, menu[i].text);
        html_close(w);
        html_close(w);
    }
    html_close(w);
    html_close(w);
}

static void jump_box(struct html *w)
{
    html_open(w, "form");
    html_attr(w, "role", "search");
    html_attr(w, "class", "jump");
    html_link(w, "action", "/ui/jobs");
    html_leaf(w, "input");
    html_attr(w, "type", "search");
    html_attr(w, "name", "q");
    html_attr(w, "id", "jump");
    html_attr(w, "aria-label", "Find jobs");
    html_attr(w, "placeholder", "Find jobs ( / )");
    html_attr(w, "autocomplete", "off");
    html_attr(w, "maxlength", "1024");
    html_close(w);
}

static void who(struct html *w, const struct page_view *view)
{
    html_open(w, "p");
    html_attr(w, "class", "who");
    if (!view->who) {
        html_anchor(w, "Log in", "/ui/login");
        html_close(w);
        return;
    }
    html_textf(w, "%s (%s)", view->who, view->role);
    html_close(w);
    if (!view->session)
        return;
    html_open(w, "form");
    html_attr(w, "method", "post");
    html_link(w, "action", "/ui/logout");
    page_button(w, "Log out", "quiet");
    html_close(w);
}

static void header(struct html *w, const struct page *page, const struct page_view *view)
{
    html_open(w, "header");
    html_open(w, "p");
    html_attr(w, "class", "brand");
    html_anchor(w, view->cluster, "/ui/");
    html_close(w);
    if (view->who) {
        navigation(w, page->nav);
        jump_box(w);
    }
    who(w, view);
    html_close(w);
}

/* What this replica is, and how far what it shows can be trusted. */
static void standing(struct html *w, const struct page_view *view)
{
    html_open(w, "p");
    html_attr(w, "id", "standing");
    html_attr(w, "role", "status");
    html_attr(w, "class", view->stale ? "standing warn" : "standing");
    if (view->leading)
        html_textf(w, "%s leads", view->replica);
    else if (view->leader)
        html_textf(w, "%s stands by, %s leads", view->replica, view->leader);
    else
        html_textf(w, "%s knows no leader", view->replica);
    if (view->stale)
        html_text(w, "; what it shows may be out of date");
    html_text(w, " · ");
    html_open(w, "span");
    html_attr(w, "id", "live");
    html_text(w, "not live");
    html_close(w);
    html_close(w);
}

static void footer(struct html *w, const struct page_view *view)
{
    const char *now_theme = view->theme ? view->theme : "system";
    char now[TEXT_NUMBER_BUFFER];

    html_open(w, "footer");
    html_open(w, "p");
    html_textf(w, "cronsched %s · batch %llu · made ", view->version, (unsigned long long)view->index);
    page_time(w, view, instant_format(view->now_ms, INSTANT_S, now, sizeof(now)));
    html_text(w, " · ");
    html_anchor(w, "API", "/v1/version");
    html_close(w);
    html_open(w, "form");
    html_attr(w, "method", "post");
    html_attr(w, "class", "theme");
    html_link(w, "action", "/ui/theme");
    page_hidden(w, "next", view->path);
    for (const char *const *theme = (const char *const[]){"system", "light", "dark", NULL}; *theme; theme++) {
        html_open(w, "button");
        html_attr(w, "name", "theme");
        html_attr(w, "value", *theme);
        html_attr(w, "class", "quiet");
        html_attr(w, "aria-pressed", strcmp(now_theme, *theme) == 0 ? "true" : "false");
        html_text(w, *theme);
        html_close(w);
    }
    html_close(w);
    html_close(w);
}

static void whole(struct html *w, const struct page *page, const char *title, const json_t *model,
                  const struct page_view *view)
{
    html_doctype(w);
    html_open(w, "html");
    html_attr(w, "lang", "en");
    html_attr(w, "data-theme", view->theme);
    head(w, title, view);
    html_open(w, "body");
    html_attrf(w, "data-index", "%llu", (unsigned long long)view->index);
    html_attrf(w, "data-now", "%lld", (long long)view->now_ms);
    html_open(w, "a");
    html_attr(w, "class", "skip");
    html_link(w, "href", "#main");
    html_text(w, "Skip to the contents");
    html_close(w);
    header(w, page, view);
    standing(w, view);
    html_open(w, "main");
    html_attr(w, "id", "main");
    page->body(w, model, view);
    html_close(w);
    footer(w, view);
}

char *page_render(const struct page *page, const char *title, const json_t *model,
                  const struct page_view *view)
{
    struct html w;

    html_init(&w);
    if (view->part)
        page->body(&w, model, view);
    else
        whole(&w, page, title, model, view);
    return html_take(&w);
}

bool page_part(struct html *w, const struct page_view *view, const char *name)
{
    if (view->part && strcmp(view->part, name) != 0)
        return false;
    html_open(w, "div");
    html_attrf(w, "id", "part-%s", name);
    html_attr(w, "data-part", name);
    return true;
}

void page_part_end(struct html *w)
{
    html_close(w);
}
