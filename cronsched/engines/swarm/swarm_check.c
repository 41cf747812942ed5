/* What of a job's texts no Swarm can take, as its managers read them: what they would refuse at the start, or, of a constraint, never
 * meet. Pure. */
#include "cronsched/engines/swarm/swarm_core.h"

#include <string.h>

#define NAME_MAX_BYTES 64

static bool is_made_of(const char *text, size_t n, const char *letters)
{
    for (size_t i = 0; i < n; i++)
        if (!strchr(letters, text[i]))
            return false;
    return n > 0;
}

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

static bool is_key(const char *text, size_t n)
{
    static const char *const keys[] = {"node.id",   "node.hostname",    "node.ip",
                                       "node.role", "node.platform.os", "node.platform.arch"};
    static const char *const labels[] = {"node.labels.", "engine.labels."};

    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        if (strlen(keys[i]) == n && strncasecmp(keys[i], text, n) == 0)
            return true;
    for (size_t i = 0; i < sizeof(labels) / sizeof(labels[0]); i++) {
        size_t k = strlen(labels[i]);

        if (n > k && strncasecmp(labels[i], text, k) == 0)
            return is_made_of(text + k, n - k, LETTERS "-_.");
    }
    return false;
}

/* Without the blanks around it. */
static void trim(const char **text, size_t *n)
{
    while (*n > 0 && **text == ' ') {
        (*text)++;
        (*n)--;
    }
    while (*n > 0 && (*text)[*n - 1] == ' ')
        (*n)--;
}

bool swarm_constraint_valid(const char *text)
{
    const char *is = strstr(text, "=="), *is_not = strstr(text, "!="), *op = is ? is : is_not, *value;
    size_t key_size, value_size;

    if (!op)
        return false;
    value = op + 2;
    key_size = (size_t)(op - text);
    value_size = strlen(value);
    trim(&text, &key_size);
    trim(&value, &value_size);
    return is_key(text, key_size) && is_made_of(value, value_size, LETTERS ":-_ .*()?+[]\\^$|/");
}

bool swarm_name_valid(const char *name)
{
    size_t n = strlen(name);

    return n <= NAME_MAX_BYTES && is_made_of(name, n, LETTERS "-_.") && strchr(LETTERS, name[0]) &&
           strchr(LETTERS, name[n - 1]);
}
