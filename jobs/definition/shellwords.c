#include "jobs/definition/shellwords.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Where one word is being written. A word with its NUL is never longer than its source with the blank behind.
 */
struct splitter {
    const char *at;
    char *out;
    bool quoted; /* something in the word was quoted: it is a word though empty, and no operator */
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool take_single_quoted(struct splitter *s)
{
    const char *end = strchr(s->at, '\'');
    size_t n;

    if (!end)
        return false;
    n = (size_t)(end - s->at);
    memcpy(s->out, s->at, n);
    s->out += n;
    s->at = end + 1;
    return true;
}

static bool take_double_quoted(struct splitter *s)
{
    for (; *s->at && *s->at != '"'; s->at++) {
        if (*s->at == '\\' && s->at[1] && strchr("\"\\$`\n", s->at[1])) {
            s->at++;
            if (*s->at == '\n')
                continue;
        }
        *s->out++ = *s->at;
    }
    if (!*s->at)
        return false;
    s->at++;
    return true;
}

static int take_word(struct splitter *s, const char *line, struct error *error)
{
    s->quoted = false;
    while (*s->at && !is_blank(*s->at)) {
        char c = *s->at++;

        if (c == '\'' || c == '"') {
            s->quoted = true;
            if (c == '\'' ? !take_single_quoted(s) : !take_double_quoted(s))
                return error_set(error, ERR_INVALID, "the quote %c is never closed in: %.200s", c, line);
        } else if (c == '\\') {
            if (!*s->at)
                return error_set(error, ERR_INVALID, "a backslash at the end of: %.200s", line);
            if (*s->at != '\n') {
                s->quoted = true;
                *s->out++ = *s->at;
            }
            s->at++;
        } else {
            *s->out++ = c;
        }
    }
    *s->out++ = '\0';
    return 0;
}

static bool is_operator(const char *word)
{
    static const char *const operators[] = {"|", "||", "&&", "&", ";", ">", ">>", "<", "2>", "2>&1", "|&"};

    for (size_t i = 0; i < sizeof(operators) / sizeof(operators[0]); i++)
        if (strcmp(word, operators[i]) == 0)
            return true;
    return false;
}

int shellwords_split(const char *line, struct shellwords *ret, struct error *error)
{
    struct shellwords words = {0};
    struct splitter s = {.at = line};
    char *text;
    int r = 0;

    words.words = calloc(1, (SHELLWORDS_MAX + 1) * sizeof(char *) + strlen(line) + 1);
    if (!words.words)
        return error_set(error, ERR_NOMEM, "%s", error_text(ERR_NOMEM));
    text = (char *)(words.words + SHELLWORDS_MAX + 1);
    s.out = text;
    while (r == 0) {
        while (is_blank(*s.at))
            s.at++;
        if (!*s.at)
            break;
        text = s.out;
        r = words.count == SHELLWORDS_MAX
                ? error_set(error, ERR_LIMIT, "more than %d words in a command", SHELLWORDS_MAX)
                : take_word(&s, line, error);
        if (r < 0)
            break;
        if (!*text && !s.quoted) { /* nothing but a joined line */
            s.out = text;
            continue;
        }
        words.words[words.count++] = text;
        if (!words.shell_operator && !s.quoted && is_operator(text))
            words.shell_operator = text;
    }
    words.words[words.count] = NULL;
    if (r < 0)
        shellwords_release(&words);
    else
        *ret = words;
    return r;
}

void shellwords_release(struct shellwords *words)
{
    if (!words)
        return;
    free(words->words);
    *words = (struct shellwords){0};
}
