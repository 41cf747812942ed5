#include "cronsched/cli/records.h"

#include "jobs/base/alloc.h"

/* The path with what the next page begins behind. False: the server's last row is not one. */
static bool path_after(struct cli_context *cli, const char *path, const json_t *last)
{
    const json_t *index = json_object_get(last, "index"), *seq = json_object_get(last, "seq");
    char after[64];

    text_clear(&cli->path);
    text_add(&cli->path, path);
    cli_query(cli, "limit", "1000");
    if (last) {
        snprintf(after, sizeof(after), "%" JSON_INTEGER_FORMAT ".%" JSON_INTEGER_FORMAT,
                 json_integer_value(index), json_integer_value(seq));
        cli_query(cli, "after", after);
    }
    return !last || (json_is_integer(index) && json_is_integer(seq));
}

static int get_pages(struct cli_context *cli, const char *path, json_t *all)
{
    const json_t *last = NULL;
    size_t count = RECORDS_PAGE;

    while (count == RECORDS_PAGE) {
        json_t *page = NULL;
        int code;

        if (json_array_size(all) >= RECORDS_MAX)
            return cli_fail(ERR_LIMIT, "there are more than %d: ask for less time by --since and --until",
                            RECORDS_MAX);
        if (!path_after(cli, path, last))
            return cli_fail(ERR_CORRUPT, "the server's records have no index");
        code = cli_get(cli, &page);
        if (code != EXIT_FINE)
            return code;
        count = json_array_size(page);
        json_array_extend(all, page);
        json_decref(page);
        last = json_array_get(all, json_array_size(all) - 1);
    }
    return EXIT_FINE;
}

int records_get(struct cli_context *cli, json_t **ret)
{
    char *path = alloc_text(text_str(&cli->path));
    int code;

    *ret = json_array();
    code = get_pages(cli, path, *ret);
    free(path);
    if (code == EXIT_FINE)
        return code;
    json_decref(*ret);
    *ret = NULL;
    return code;
}
