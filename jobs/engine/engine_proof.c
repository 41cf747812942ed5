#include "jobs/engine/engine_proof.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

void engine_proof_put(json_t *all, const char *engine, const struct engine_proof *p)
{
    json_object_set_new(all, engine,
                        json_pack("{s:s,s:s,s:I,s:b,s:i,s:O}", "type", p->type, "version", p->version,
                                  "at_ms", (json_int_t)p->at_ms, "passed", p->passed, "trials", p->trials,
                                  "cases", p->cases));
}

static const char *text_of(const json_t *o, const char *key)
{
    const char *text = json_string_value(json_object_get(o, key));

    return text ? text : "";
}

static const char *failed_case(const json_t *proof)
{
    const json_t *each;
    size_t i;

    json_array_foreach(json_object_get(proof, "cases"), i, each)
    {
        if (json_is_false(json_object_get(each, "passed")))
            return text_of(each, "case");
    }
    return "";
}

bool engine_proof_text(const json_t *all, const char *engine, const char *type, const char *version,
                       char *ret, size_t size)
{
    const json_t *proof = json_object_get(all, engine);
    time_t at = (time_t)(json_integer_value(json_object_get(proof, "at_ms")) / 1000);
    int trials = (int)json_integer_value(json_object_get(proof, "trials"));
    const char *was = text_of(proof, "version"), *other;
    struct tm day = {0};
    char date[16];

    gmtime_r(&at, &day);
    strftime(date, sizeof(date), "%Y-%m-%d", &day);
    if (!proof || strcmp(text_of(proof, "type"), type) != 0) {
        snprintf(ret, size, "unproved here: cronsched drill engine %s", engine);
        return true;
    }
    if (!json_is_true(json_object_get(proof, "passed"))) {
        snprintf(ret, size, "it failed its drill on %s with %.64s: %.64s", date, was, failed_case(proof));
        return false;
    }
    other = strcmp(was, version) == 0 ? "" : ", not with this version";
    snprintf(ret, size, "proved on %s with %.64s (%d trial%s)%s", date, was, trials, trials == 1 ? "" : "s",
             other);
    return true;
}
