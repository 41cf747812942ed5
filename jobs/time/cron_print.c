/* Canonical text. A set of values is covered by as few items as a simple greedy choice finds: from the lowest
 * value on, the arithmetic series that covers most. The choice depends on the set alone, so that equal
 * expressions print alike. */
#include "jobs/time/cron.h"

#include "jobs/base/line.h"
#include "jobs/time/civil.h"

#include <assert.h>
#include <string.h>

struct list {
    struct line *line;
    bool any; /* something is in it: a comma comes first */
};

static const char *separator(struct list *list)
{
    const char *s = list->any ? "," : "";

    list->any = true;
    return s;
}

struct values { /* up to 230 of them */
    uint64_t w[4];
    int base, min, max;
};

static bool has(const struct values *v, int value)
{
    unsigned bit = (unsigned)(value - v->base);

    return value <= v->max && (v->w[bit / 64] >> bit % 64 & 1);
}

static void drop(struct values *v, int value)
{
    unsigned bit = (unsigned)(value - v->base);

    v->w[bit / 64] &= ~(UINT64_C(1) << bit % 64);
}

static int lowest(const struct values *v)
{
    for (int i = 0; i < 4; i++)
        if (v->w[i])
            return v->base + 64 * i + __builtin_ctzll(v->w[i]);
    return -1;
}

/* The series from `first` within `all` that covers most of `rest`: its step, its last value. A step needs
 * three. */
static int best_series(const struct values *all, const struct values *rest, int first, int *ret_last)
{
    int best_step = 1, best_covers = 0;

    *ret_last = first;
    for (int step = 1; first + step <= all->max; step++) {
        int covers = 0, last = first, value = first;

        for (; has(all, value); value += step)
            if (has(rest, value)) {
                covers++;
                last = value; /* no use in going on to what is covered already */
            }
        if (covers > best_covers && (step == 1 || covers > 2)) {
            best_covers = covers;
            best_step = step;
            *ret_last = last;
        }
    }
    return best_step;
}

static void print_values(struct list *list, const struct values *all, struct values rest)
{
    for (int first; (first = lowest(&rest)) >= 0;) {
        int last, step = best_series(all, &rest, first, &last);

        if (last == first)
            line_add(list->line, "%s%d", separator(list), first);
        else if (step == 1)
            line_add(list->line, "%s%d-%d", separator(list), first, last);
        else
            line_add(list->line, "%s%d-%d/%d", separator(list), first, last, step);
        for (int value = first; value <= last; value += step)
            drop(&rest, value);
    }
}

/* The leading item of a wildcard field: a star with the least step that adds nothing, and what it leaves. */
static void print_star(struct list *list, const struct values *all, struct values *rest)
{
    int step, value;

    for (step = 1;; step++) {
        for (value = all->min; has(all, value); value += step)
            ;
        if (value > all->max)
            break;
    }
    line_add(list->line, step == 1 ? "*" : "*/%d", step);
    list->any = true;
    for (value = all->min; value <= all->max; value += step)
        drop(rest, value);
}

static void print_spread(struct list *list, const struct cron *c, enum cron_field id, struct values *rest)
{
    line_add(list->line, "%c/%d", c->spread_random >> id & 1 ? '~' : 'H', c->spread_step[id]);
    list->any = true;
    for (int value = c->spread_first[id]; value <= rest->max; value += c->spread_step[id])
        drop(rest, value);
}

static void print_time(struct line *line, const struct cron *c, enum cron_field id, uint64_t bits, int max)
{
    struct values all = {.w = {bits}, .max = max}, rest = all;
    struct list list = {.line = line};

    if (c->flags & CRON_STAR(id))
        print_star(&list, &all, &rest);
    else if (c->flags & CRON_SPREAD(id))
        print_spread(&list, c, id, &rest);
    print_values(&list, &all, rest);
    line_add(line, " ");
}

static void print_last(struct list *list, int n, const char *weekday)
{
    if (n)
        line_add(list->line, "%sL-%d%s", separator(list), n, weekday);
    else
        line_add(list->line, "%sL%s", separator(list), weekday);
}

static void print_dom(struct line *line, const struct cron *c)
{
    struct values days = {.w = {c->dom}, .min = 1, .max = 31};
    struct list list = {.line = line};
    uint32_t rest;

    if (c->flags & CRON_DOM_ANY) {
        line_add(line, "* ");
        return;
    }
    print_values(&list, &days, days);
    for (rest = c->dom_weekday; rest; rest &= rest - 1)
        line_add(line, "%s%dW", separator(&list), __builtin_ctz(rest));
    for (int n = 0; n <= 30; n++) {
        if (c->dom_last >> n & 1)
            print_last(&list, n, "");
        if (c->dom_last_weekday >> n & 1)
            print_last(&list, n, "W");
    }
    line_add(line, " ");
}

static void print_month(struct line *line, const struct cron *c)
{
    struct values months = {.w = {c->month}, .min = 1, .max = 12};
    struct list list = {.line = line};

    if (c->month == 0x1ffe)
        line_add(line, "*");
    else
        print_values(&list, &months, months);
    line_add(line, " ");
}

static void print_dow(struct line *line, const struct cron *c)
{
    struct values days = {.w = {c->dow}, .min = 0, .max = 6};
    struct list list = {.line = line};

    if (c->flags & CRON_DOW_ANY) {
        line_add(line, "*");
        return;
    }
    if (c->flags & CRON_DAYS_AND)
        line_add(line, "+");
    print_values(&list, &days, days);
    for (int day = 0; day < 7; day++)
        for (int n = 1; n <= 6; n++)
            if (c->nth[day] >> n & 1)
                line_add(line, n == 6 ? "%s%dL" : "%s%d#%d", separator(&list), day, n);
}

static void print_year(struct line *line, const struct cron *c)
{
    struct values years = {.base = CIVIL_YEAR_MIN, .min = CIVIL_YEAR_MIN, .max = CIVIL_YEAR_MAX};
    struct list list = {.line = line};

    memcpy(years.w, c->year, sizeof(years.w));
    line_add(line, " ");
    print_values(&list, &years, years);
}

const char *cron_print(const struct cron *c, char *buffer, size_t size)
{
    bool seconds = c->second != 1 || c->flags & (CRON_STAR(CRON_SECOND) | CRON_SPREAD(CRON_SECOND));
    bool years = !(c->flags & CRON_YEAR_ANY);
    struct line line;

    assert(size >= CRON_TEXT_MAX);
    line_init(&line, buffer, size);
    if (seconds || years)
        print_time(&line, c, CRON_SECOND, c->second, 59);
    print_time(&line, c, CRON_MINUTE, c->minute, 59);
    print_time(&line, c, CRON_HOUR, c->hour, 23);
    print_dom(&line, c);
    print_month(&line, c);
    print_dow(&line, c);
    if (years)
        print_year(&line, c);
    return buffer;
}
