/* What a replica reads: batches, one on each line, or after a first byte 's' the text of a snapshot. What
 * can be read is written again to the same text; it folds, or is refused with a reason; and a state that
 * came of it goes through its own text and back unchanged.
 */
#include "jobs/history/history.h"
#include "jobs/state/state.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

static void check_state(const struct state *s)
{
    size_t size, again_size;
    char *text = state_encode(s, &size), *again;
    struct state other;
    struct error e = {0};

    if (s->level == 0) { /* no journal begins without an epoch */
        free(text);
        return;
    }
    state_init(&other);
    CHECK(state_decode(&other, text, size, &e) == 0);
    again = state_encode(&other, &again_size);
    CHECK(size == again_size && memcmp(text, again, size) == 0);
    free(again);
    free(text);
    state_release(&other);
}

static void try_snapshot(const char *text, size_t size)
{
    struct state s;
    struct error e = {0};

    state_init(&s);
    if (state_decode(&s, text, size, &e) == 0)
        check_state(&s);
    else
        CHECK(e.code < 0 && e.text[0]);
    state_release(&s);
}

/* As if it followed what came before: only then is there anything to fold. False: the state is of no use any
 * more. */
static bool try_batch(struct state *s, const char *text, size_t size)
{
    struct history_write *write = NULL;
    struct batch *b = NULL, *again = NULL;
    struct error e = {0};
    size_t encoded_size, again_size;
    char *encoded, *again_text;
    int rc;

    if (batch_decode(&b, text, size, &e) < 0) {
        CHECK(e.code < 0 && e.text[0] && !b);
        return true;
    }
    b->index = s->index + 1;
    memcpy(b->prev, s->hash, sizeof(b->prev));
    encoded = batch_encode(b, &encoded_size);
    batch_free(b);
    CHECK(batch_decode(&again, encoded, encoded_size, &e) == 0);
    again_text = batch_encode(again, &again_size);
    CHECK(encoded_size == again_size && memcmp(encoded, again_text, encoded_size) == 0);
    rc = state_apply(s, again, encoded, encoded_size, &write, &e);
    CHECK(rc == 0 || (e.code < 0 && e.text[0]));
    if (rc == 0)
        history_write_free(write);
    free(again_text);
    free(encoded);
    batch_free(again);
    return rc == 0;
}

static void try_batches(const char *text, size_t size)
{
    struct state s;
    const char *end = text + size;
    bool fine = true;

    state_init(&s);
    while (fine && text < end) {
        const char *line = memchr(text, '\n', (size_t)(end - text));

        line = line ? line : end;
        fine = try_batch(&s, text, (size_t)(line - text));
        text = line < end ? line + 1 : end;
    }
    if (fine)
        check_state(&s);
    state_release(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;

    if (size > 0 && text[0] == 's')
        try_snapshot(text + 1, size - 1);
    else
        try_batches(text, size);
    return 0;
}
