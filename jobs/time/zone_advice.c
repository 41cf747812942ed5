#include "jobs/time/zone_advice.h"

#include "jobs/base/scan.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define PLACE "one such as Europe/Paris"

/* What an abbreviation may mean, the likeliest first. */
static const struct {
    const char *name, *zones;
} abbreviations[] = {
    {"ACDT", "Australia/Adelaide"},
    {"ACST", "Australia/Adelaide, or Australia/Darwin"},
    {"ADT", "America/Halifax"},
    {"AEDT", "Australia/Sydney"},
    {"AEST", "Australia/Sydney, or Australia/Brisbane"},
    {"AKDT", "America/Anchorage"},
    {"AKST", "America/Anchorage"},
    {"AST", "America/Halifax, or America/Puerto_Rico or Asia/Riyadh"},
    {"AWST", "Australia/Perth"},
    {"BRT", "America/Sao_Paulo"},
    {"BST", "Europe/London"},
    {"CAT", "Africa/Maputo"},
    {"CDT", "America/Chicago, or America/Havana"},
    {"CEST", "Europe/Paris, or Europe/Berlin"},
    {"CST", "America/Chicago, or Asia/Shanghai"},
    {"EAT", "Africa/Nairobi"},
    {"EDT", "America/New_York"},
    {"EEST", "Europe/Helsinki, or Europe/Athens"},
    {"GST", "Asia/Dubai"},
    {"HKT", "Asia/Hong_Kong"},
    {"IDT", "Asia/Jerusalem"},
    {"IST", "Asia/Kolkata, or Europe/Dublin or Asia/Jerusalem"},
    {"JST", "Asia/Tokyo"},
    {"KST", "Asia/Seoul"},
    {"MDT", "America/Denver"},
    {"MESZ", "Europe/Berlin"},
    {"MEZ", "Europe/Berlin"},
    {"MSK", "Europe/Moscow"},
    {"NDT", "America/St_Johns"},
    {"NST", "America/St_Johns"},
    {"NZDT", "Pacific/Auckland"},
    {"NZST", "Pacific/Auckland"},
    {"PDT", "America/Los_Angeles"},
    {"PHT", "Asia/Manila"},
    {"PKT", "Asia/Karachi"},
    {"PST", "America/Los_Angeles, or Asia/Manila"},
    {"SAST", "Africa/Johannesburg"},
    {"SGT", "Asia/Singapore"},
    {"WAT", "Africa/Lagos"},
    {"WEST", "Europe/Lisbon"},
    {"WIB", "Asia/Jakarta"},
};

static const char *abbreviation(const char *name, char buffer[ZONE_ADVICE_MAX])
{
    size_t upper = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");

    for (size_t i = 0; i < sizeof(abbreviations) / sizeof(abbreviations[0]); i++)
        if (strcasecmp(name, abbreviations[i].name) == 0) {
            snprintf(buffer, ZONE_ADVICE_MAX, "; an abbreviation is not a zone: write %s",
                     abbreviations[i].zones);
            return buffer;
        }
    if (name[upper] || upper < 2 || upper > 5)
        return NULL;
    snprintf(buffer, ZONE_ADVICE_MAX, "; an abbreviation is not a zone: write " PLACE);
    return buffer;
}

/* Reads "+2", "-05", "+5:30", "+0530" whole; minutes east of UTC. */
static bool read_offset(const char *text, int *ret_minutes)
{
    int sign = *text == '-' ? -1 : 1, hours = 0, minutes = 0;
    size_t digits;

    if (*text != '+' && *text != '-')
        return false;
    digits = strspn(++text, "0123456789");
    if (digits == 0 || digits > 4 || digits == 3)
        return false;
    for (size_t i = 0; i < digits; i++)
        hours = hours * 10 + (text[i] - '0');
    if (digits == 4) {
        minutes = hours % 100;
        hours /= 100;
    }
    text += digits;
    if (digits <= 2 && *text == ':' && scan_is_digit(text[1]) && scan_is_digit(text[2])) {
        minutes = (text[1] - '0') * 10 + (text[2] - '0');
        text += 3;
    }
    *ret_minutes = sign * (hours * 60 + minutes);
    return *text == '\0' && hours <= 14 && minutes < 60;
}

static const char *offset(const char *name, char buffer[ZONE_ADVICE_MAX])
{
    static const char *const prefixes[] = {"GMT", "UTC", "UT", "Z", ""};
    int minutes;

    for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
        size_t n = strlen(prefixes[i]);

        if (strncasecmp(name, prefixes[i], n) != 0 || !read_offset(name + n, &minutes))
            continue;
        if (minutes % 60 || minutes < -12 * 60)
            snprintf(buffer, ZONE_ADVICE_MAX, "; an offset is not a zone: write " PLACE);
        else
            snprintf(buffer, ZONE_ADVICE_MAX,
                     "; an offset is not a zone: write " PLACE ", or Etc/GMT%+d, whose sign is "
                     "the other way round",
                     -minutes / 60);
        return buffer;
    }
    return NULL;
}

/* "CET-1CEST", "EST5" */
static const char *posix(const char *name, char buffer[ZONE_ADVICE_MAX])
{
    size_t letters = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"), sign = strspn(name + letters, "+-");

    if (letters < 3 || sign > 1 || !scan_is_digit(name[letters + sign]))
        return NULL;
    snprintf(buffer, ZONE_ADVICE_MAX, "; this is a text for TZ and no name: write " PLACE);
    return buffer;
}

const char *zone_advice(const char *name, char buffer[ZONE_ADVICE_MAX])
{
    const char *advice = abbreviation(name, buffer);

    if (!advice)
        advice = offset(name, buffer);
    return advice ? advice : posix(name, buffer);
}
