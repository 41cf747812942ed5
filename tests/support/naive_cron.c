#include "tests/support/naive_cron.h"

#include "jobs/time/civil.h"

/* ---- chance ---- */

uint64_t random_state = 0x9e3779b97f4a7c15u;

uint64_t random_u64(void)
{
    uint64_t z = random_state += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

int random_below(int n)
{
    return (int)(random_u64() % (uint64_t)n);
}

bool random_chance(int percent)
{
    return random_below(100) < percent;
}

/* ---- expressions ---- */

struct naive_field {
    bool *values;
    int min, max;
    const char *names;
    int names_base;
    int likely; /* a value that half of the items begin with; out of range: none */
};

static void naive_put(struct naive_cron *n, const char *text)
{
    strncat(n->text, text, sizeof(n->text) - strlen(n->text) - 1);
}

static void naive_value(struct naive_cron *n, const struct naive_field *f, int value)
{
    char text[8];

    if (f->names && random_chance(30))
        snprintf(text, sizeof(text), "%.3s", f->names + 3 * (value - f->names_base));
    else
        snprintf(text, sizeof(text), "%d", value);
    naive_put(n, text);
}

/* A list of values, ranges and steps. */
static void naive_list(struct naive_cron *n, const struct naive_field *f)
{
    int items = 1 + (random_chance(40) ? random_below(3) : 0);

    for (int i = 0; i < items; i++) {
        int lo = f->min + random_below(f->max - f->min + 1), hi = lo, step = 1;
        char text[16];

        if (f->likely >= f->min && f->likely <= f->max && random_chance(50))
            lo = hi = f->likely;
        if (i > 0)
            naive_put(n, ",");
        naive_value(n, f, lo);
        if (random_chance(40)) {
            hi = lo + random_below(f->max - lo + 1);
            naive_put(n, "-");
            naive_value(n, f, hi);
            if (random_chance(40)) {
                step = 1 + random_below(f->max - f->min + 3);
                snprintf(text, sizeof(text), "/%d", step);
                naive_put(n, text);
            }
        }
        for (int v = lo; v <= hi; v += step)
            f->values[v] = true;
    }
}

/* Returns true when the field is a plain star. */
static bool naive_field(struct naive_cron *n, const struct naive_field *f, int star_percent, bool time)
{
    int step = 1;
    char text[16];

    if (!random_chance(star_percent)) {
        naive_list(n, f);
        return false;
    }
    if (time)
        n->wildcard = true;
    if (random_chance(50))
        step = 1 + random_below(f->max - f->min + 1);
    if (step == 1 && random_chance(80)) {
        naive_put(n, "*");
    } else {
        snprintf(text, sizeof(text), "*/%d", step);
        naive_put(n, text);
    }
    for (int v = f->min; v <= f->max; v += step)
        f->values[v] = true;
    return step == 1;
}

static void naive_dom_special(struct naive_cron *n)
{
    int day = random_chance(50) ? 0 : 1 + random_below(30);
    char text[24];

    switch (random_below(3)) {
    case 0:
        snprintf(text, sizeof(text), day ? "L-%d" : "L", day);
        n->dom_last[day] = true;
        break;
    case 1:
        snprintf(text, sizeof(text), day ? "L-%dW" : "LW", day);
        n->dom_last_weekday[day] = true;
        break;
    default:
        day = 1 + random_below(31);
        snprintf(text, sizeof(text), "%dW", day);
        n->dom_weekday[day] = true;
    }
    naive_put(n, text);
}

static void naive_dow_special(struct naive_cron *n)
{
    int day = random_below(7), nth = 1 + random_below(6);
    char text[24];

    if (nth == 6 && random_chance(50))
        snprintf(text, sizeof(text), "%dL", day);
    else if (nth == 6)
        snprintf(text, sizeof(text), "%d#L", day);
    else
        snprintf(text, sizeof(text), "%d#%d", day, nth);
    n->nth[day][nth] = true;
    naive_put(n, text);
}

void naive_random(struct naive_cron *n, int fields, int64_t local_s)
{
    struct civil near = {-1, -1, -1, -1, -1, -1};
    static const char months[] = "JANFEBMARAPRMAYJUNJULAUGSEPOCTNOVDEC", days[] = "SUNMONTUEWEDTHUFRISAT";
    bool plus;

    if (random_chance(50))
        civil_from_seconds(local_s, &near);
    memset(n, 0, sizeof(*n));
    if (fields > 5) {
        naive_field(n, &(struct naive_field){n->second, 0, 59, NULL, 0, -1}, 30, true);
        naive_put(n, " ");
    } else {
        n->second[0] = true;
    }
    naive_field(n, &(struct naive_field){n->minute, 0, 59, NULL, 0, -1}, 35, true);
    naive_put(n, " ");
    naive_field(n, &(struct naive_field){n->hour, 0, 23, NULL, 0, near.hour}, 35, true);
    naive_put(n, " ");
    if (random_chance(10))
        naive_dom_special(n);
    else
        n->dom_any = naive_field(n, &(struct naive_field){n->dom, 1, 31, NULL, 0, near.day},
                                 near.day > 0 ? 30 : 55, false);
    naive_put(n, " ");
    naive_field(n, &(struct naive_field){n->month, 1, 12, months, 1, near.month}, near.day > 0 ? 30 : 70,
                false);
    naive_put(n, " ");
    plus = random_chance(15);
    if (plus)
        naive_put(n, "+");
    if (random_chance(10))
        naive_dow_special(n);
    else
        n->dow_any = naive_field(n, &(struct naive_field){n->dow, 0, 6, days, 0, -1}, 60, false);
    n->both = plus;
    if (fields > 6) {
        naive_put(n, " ");
        naive_field(n, &(struct naive_field){n->year, 1970, 2199, NULL, 0, near.year}, 50, false);
    } else {
        for (int y = 1970; y < 2200; y++)
            n->year[y] = true;
    }
}

/* ---- matching ---- */

static int naive_nearest_weekday(int64_t first, int day, int length)
{
    int weekday = civil_weekday(first + day - 1);

    if (weekday == 6)
        return day == 1 ? 3 : day - 1;
    if (weekday == 0)
        return day == length ? day - 2 : day + 1;
    return day;
}

static bool naive_dom_matches(const struct naive_cron *n, const struct civil *c)
{
    int length = civil_month_days(c->year, c->month);
    int64_t first = civil_days(c->year, c->month, 1);

    if (n->dom[c->day])
        return true;
    for (int i = 0; i <= 30; i++) {
        if (n->dom_last[i] && c->day == length - i)
            return true;
        if (n->dom_last_weekday[i] && length - i >= 1 &&
            c->day == naive_nearest_weekday(first, length - i, length))
            return true;
    }
    for (int day = 1; day <= length; day++)
        if (n->dom_weekday[day] && c->day == naive_nearest_weekday(first, day, length))
            return true;
    return false;
}

static bool naive_dow_matches(const struct naive_cron *n, const struct civil *c)
{
    int weekday = civil_weekday(civil_days(c->year, c->month, c->day));

    return n->dow[weekday] || n->nth[weekday][(c->day - 1) / 7 + 1] ||
           (n->nth[weekday][6] && c->day + 7 > civil_month_days(c->year, c->month));
}

bool naive_matches(const struct naive_cron *n, int64_t local_s)
{
    struct civil c;
    bool dom, dow;

    if (local_s < 0 || local_s >= CIVIL_LOCAL_END)
        return false;
    civil_from_seconds(local_s, &c);
    if (!n->second[c.second] || !n->minute[c.minute] || !n->hour[c.hour] || !n->month[c.month] ||
        !n->year[c.year])
        return false;
    dom = naive_dom_matches(n, &c);
    dow = naive_dow_matches(n, &c);
    if (n->dom_any || n->dow_any)
        return (n->dom_any || dom) && (n->dow_any || dow);
    return n->both ? dom && dow : dom || dow;
}
