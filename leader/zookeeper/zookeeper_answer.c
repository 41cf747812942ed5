/* See zookeeper_answer.h. */
#include "leader/zookeeper/zookeeper_answer.h"

#include <stdio.h>

static const struct zookeeper_answer answers[] = {
#define X(code, name, class, result, text) {code, #name, ZOOKEEPER_##class, COORD_##result, text},
    ZOOKEEPER_ANSWERS(X)
#undef X
};

const struct zookeeper_answer *zookeeper_answer_find(int code)
{
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++)
        if (answers[i].code == code)
            return &answers[i];
    return NULL;
}

enum zookeeper_class zookeeper_answer_class(int code)
{
    const struct zookeeper_answer *a = zookeeper_answer_find(code);

    return a ? a->class : ZOOKEEPER_REFUSED;
}

enum coord_result zookeeper_answer_result(int code)
{
    const struct zookeeper_answer *a = zookeeper_answer_find(code);

    return a ? a->result : COORD_FAILED;
}

const char *zookeeper_answer_text(int code, char ret[ZOOKEEPER_ANSWER_TEXT])
{
    const struct zookeeper_answer *a = zookeeper_answer_find(code);

    if (code == 0)
        ret[0] = '\0';
    else
        snprintf(ret, ZOOKEEPER_ANSWER_TEXT, "%s (%d)",
                 a ? a->text : "it refused with a code that has no name here", code);
    return ret;
}
