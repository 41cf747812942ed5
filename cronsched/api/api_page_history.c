/* The pages of what happened: the explanation of one fire time, and the audit with the records of what people did. */
#include "cronsched/api/api_page.h"
#include "jobs/base/percent.h"
#include "jobs/time/instant.h"

#include <string.h>

#define RECORDS_LIMIT    "200"
#define DAY_MS           INT64_C(86400000)
#define TARGET_BYTES_MAX (4 * HTTP_TARGET_BYTES_MAX) /* each byte of a value may become three */

/* "&key=value" of the page's own query, or what stands for it; nothing: neither is there. */
static void add_key(struct text *target, struct http_request *request, const char *key, const char *otherwise)
{
    const char *value = api_query_text(request, key);

    value = value ? value : otherwise;
    if (!value)
        return;
    text_addf(target, "%c%s=", strchr(text_str(target), '?') ? '&' : '?', key);
    percent_add(target, value);
}

/* What the form was filled with. */
static void keep_key(json_t *model, struct http_request *request, const char *key, const char *otherwise)
{
    const char *value = api_query_text(request, key);

    value = value ? value : otherwise;
    json_object_set_new(model, key, json_string(value ? value : ""));
}

void api_page_explain(struct http_request *request, void *arg)
{
    struct api *api = OBJECT(struct api, arg);
    struct text target;
    json_t *model = json_object();

    text_init(&target, TARGET_BYTES_MAX);
    text_add(&target, "/v1/explain");
    add_key(&target, request, "job", NULL);
    add_key(&target, request, "time", NULL);
    keep_key(model, request, "job", NULL);
    keep_key(model, request, "time", NULL);
    api_page_ask(api, request, &page_explain, "Explain", model,
                 &(struct api_page_question){"explain", text_str(&target)},
                 target.len > strlen("/v1/explain"));
    text_release(&target);
}

/* An audit may take its time, so it is made when somebody asks for one; the records are always there. */
void api_page_audit(struct http_request *request, void *arg)
{
    static const char *const keys[] = {"since", "until", "job"};
    struct api *api = OBJECT(struct api, arg);
    const char *since = api_query_text(request, "since");
    struct text audit, records;
    char yesterday[TEXT_NUMBER_BUFFER];
    json_t *model = json_object();
    struct api_page_question questions[2];

    instant_format(api->context.wall_ms(api->context.arg) - DAY_MS, INSTANT_S, yesterday, sizeof(yesterday));
    text_init(&audit, TARGET_BYTES_MAX);
    text_init(&records, TARGET_BYTES_MAX);
    text_add(&audit, "/v1/audit");
    text_add(&records, "/v1/records?limit=" RECORDS_LIMIT);
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        add_key(&audit, request, keys[i], NULL);
        add_key(&records, request, keys[i], i == 0 ? yesterday : NULL);
        keep_key(model, request, keys[i], i == 0 ? yesterday : NULL);
    }
    add_key(&records, request, "kinds", NULL);
    add_key(&records, request, "after", NULL);
    keep_key(model, request, "kinds", NULL);
    questions[0] = (struct api_page_question){"records", text_str(&records)};
    questions[1] = (struct api_page_question){"audit", text_str(&audit)};
    api_page_ask(api, request, &page_audit, "Audit", model, questions, since ? 2 : 1);
    text_release(&audit);
    text_release(&records);
}
