/* A suspicion: events, each at its time, and the state that they lead to. */
#include "leader/replicated/suspicion.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define EPOCH 7

enum event {
    END,
    UP,
    BROKEN,  /* n: how late the leader was while the link stood, in ms */
    REFUSED, /* likewise */
    SILENT,  /* likewise */
    SEND,
    ASKED,      /* n: version */
    SLOW,       /* asked as version 5; another write took n ms lately */
    FAILED,     /* this replica's own write */
    ANSWER,     /* n: version */
    OLD_ANSWER, /* of the epoch before; n: version */
    DUE,        /* n: whether it is overdue */
    CONFIRMED,
    NEXT_EPOCH /* the link to the next leader is down */
};

struct step {
    uint64_t at_ms;
    enum event event;
    int n;
};

struct row {
    const char *name;
    struct step steps[16];
    enum suspicion_state state;
};

static const struct row rows[] = {
    {"a link that is down is a question first", {{100, BROKEN, 0}}, SUSPICION_WANTED},
    {"a link that is up again is no question", {{100, BROKEN, 0}, {120, UP, 0}}, SUSPICION_NONE},
    {"the question is under way", {{100, BROKEN, 0}, {100, SEND, 0}}, SUSPICION_ASKING},
    {"an answer in time clears it",
     {{100, BROKEN, 0}, {100, SEND, 0}, {105, ASKED, 5}, {200, ANSWER, 5}},
     SUSPICION_CLEARED},
    {"so does one to a later question of another standby",
     {{100, BROKEN, 0}, {100, SEND, 0}, {105, ASKED, 5}, {200, ANSWER, 6}},
     SUSPICION_CLEARED},
    {"one to an earlier question does not",
     {{100, BROKEN, 0}, {100, SEND, 0}, {105, ASKED, 5}, {200, ANSWER, 4}},
     SUSPICION_ASKED},
    {"nor one of another epoch's leader",
     {{100, BROKEN, 0}, {100, SEND, 0}, {105, ASKED, 5}, {200, OLD_ANSWER, 5}},
     SUSPICION_ASKED},
    {"after a break it has a tenth of a second, and four times what a write takes",
     {{100, BROKEN, 0}, {100, SEND, 0}, {105, ASKED, 5}, {224, DUE, 0}, {225, DUE, 1}},
     SUSPICION_ASKED},
    {"after silence four times as long",
     {{100, SILENT, 0}, {100, SEND, 0}, {105, ASKED, 5}, {524, DUE, 0}, {525, DUE, 1}},
     SUSPICION_ASKED},
    {"and where no link ever stood",
     {{100, REFUSED, 0}, {100, SEND, 0}, {105, ASKED, 5}, {524, DUE, 0}, {525, DUE, 1}},
     SUSPICION_ASKED},
    {"more where ZooKeeper is slow",
     {{100, SILENT, 0}, {100, SEND, 0}, {105, SLOW, 200}, {1304, DUE, 0}, {1305, DUE, 1}},
     SUSPICION_ASKED},
    {"and where the leader is, which may live behind a firewall that rejects",
     {{100, BROKEN, 60}, {100, SEND, 0}, {105, ASKED, 5}, {464, DUE, 0}, {465, DUE, 1}},
     SUSPICION_ASKED},
    {"but not for ever",
     {{100, SILENT, 0}, {100, SEND, 0}, {105, SLOW, 60000}, {4504, DUE, 0}, {4505, DUE, 1}},
     SUSPICION_ASKED},
    {"silence on both ways is the verdict",
     {{100, BROKEN, 0}, {100, SEND, 0}, {105, ASKED, 5}, {375, SEND, 0}, {380, CONFIRMED, 0}},
     SUSPICION_VERDICT},
    {"an answer that is read behind the confirming write clears it",
     {{100, BROKEN, 0},
      {100, SEND, 0},
      {105, ASKED, 5},
      {375, SEND, 0},
      {380, ANSWER, 5},
      {380, CONFIRMED, 0}},
     SUSPICION_CLEARED},
    {"a question that cannot be written is no verdict",
     {{100, BROKEN, 0}, {100, SEND, 0}, {105, FAILED, 0}},
     SUSPICION_NONE},
    {"nor is a connection that is lost while it stands",
     {{100, BROKEN, 0}, {100, SEND, 0}, {105, ASKED, 5}, {300, FAILED, 0}, {9000, CONFIRMED, 0}},
     SUSPICION_NONE},
    {"nor a confirming write that fails",
     {{100, BROKEN, 0},
      {100, SEND, 0},
      {105, ASKED, 5},
      {375, SEND, 0},
      {380, FAILED, 0},
      {380, CONFIRMED, 0}},
     SUSPICION_NONE},
    {"the same suspicion is not raised at once again",
     {{100, BROKEN, 0}, {100, SEND, 0}, {105, ASKED, 5}, {200, ANSWER, 5}, {1199, BROKEN, 0}},
     SUSPICION_CLEARED},
    {"but after a second",
     {{100, BROKEN, 0}, {100, SEND, 0}, {105, ASKED, 5}, {200, ANSWER, 5}, {1200, BROKEN, 0}},
     SUSPICION_WANTED},
    {"then after two",
     {{100, BROKEN, 0},
      {100, SEND, 0},
      {105, ASKED, 5},
      {200, ANSWER, 5},
      {1200, BROKEN, 0},
      {1200, SEND, 0},
      {1205, ASKED, 6},
      {1300, ANSWER, 6},
      {3299, BROKEN, 0}},
     SUSPICION_CLEARED},
    {"and has two seconds to answer that: a path that is cut for good says nothing new",
     {{100, BROKEN, 0},
      {100, SEND, 0},
      {105, ASKED, 5},
      {200, ANSWER, 5},
      {1200, BROKEN, 0},
      {1200, SEND, 0},
      {1205, ASKED, 6},
      {3224, DUE, 0},
      {3225, DUE, 1}},
     SUSPICION_ASKED},
    {"until the link was up",
     {{100, BROKEN, 0},
      {100, SEND, 0},
      {105, ASKED, 5},
      {200, ANSWER, 5},
      {1200, UP, 0},
      {2300, BROKEN, 0},
      {2300, SEND, 0},
      {2305, ASKED, 6},
      {2424, DUE, 0},
      {2425, DUE, 1}},
     SUSPICION_ASKED},
    {"a link that came back may break at once",
     {{100, BROKEN, 0}, {100, SEND, 0}, {105, ASKED, 5}, {200, ANSWER, 5}, {1500, UP, 0}, {1600, BROKEN, 0}},
     SUSPICION_WANTED},
    {"a link that comes back ends the verdict",
     {{100, BROKEN, 0}, {100, SEND, 0}, {105, ASKED, 5}, {375, SEND, 0}, {380, CONFIRMED, 0}, {381, UP, 0}},
     SUSPICION_NONE},
    {"the next leader is suspected without a pause",
     {{100, BROKEN, 0}, {100, SEND, 0}, {105, ASKED, 5}, {200, ANSWER, 5}, {201, NEXT_EPOCH, 0}},
     SUSPICION_WANTED},
    {"an acknowledgement that comes after the link is back asks nothing",
     {{100, BROKEN, 0}, {100, SEND, 0}, {102, UP, 0}, {105, ASKED, 5}, {9000, DUE, 0}},
     SUSPICION_NONE},
};

static void link_is(struct suspicion *s, int64_t epoch, enum replicated_link_state state, int late_ms,
                    uint64_t now_ms)
{
    struct replicated_link link = {.state = state, .why = "Connection refused", .late_ms = (uint64_t)late_ms};

    suspicion_link(s, epoch, &link, now_ms);
}

static void play(struct suspicion *s, const struct step *step)
{
    uint64_t now_ms = step->at_ms;

    switch (step->event) {
    case UP:
    case BROKEN:
    case REFUSED:
    case SILENT:
        link_is(s, EPOCH, REPLICATED_LINK_UP + (step->event - UP), step->n, now_ms);
        break;
    case SEND:
        suspicion_sending(s, now_ms);
        break;
    case ASKED:
        suspicion_asked(s, step->n, 1, now_ms);
        break;
    case SLOW:
        suspicion_asked(s, 5, (uint64_t)step->n, now_ms);
        break;
    case FAILED:
        suspicion_failed(s, now_ms);
        break;
    case ANSWER:
    case OLD_ANSWER:
        suspicion_answered(s, step->event == ANSWER ? EPOCH : EPOCH - 1, step->n, now_ms);
        break;
    case DUE:
        assert_int_equal(suspicion_overdue(s, now_ms), step->n);
        break;
    case CONFIRMED:
        suspicion_confirmed(s, now_ms);
        break;
    case NEXT_EPOCH:
        link_is(s, EPOCH + 1, REPLICATED_LINK_BROKEN, 0, now_ms);
        break;
    case END:
        break;
    }
}

static void test_events_lead_to_states(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct suspicion s = {0};

        for (size_t k = 0; rows[i].steps[k].event != END; k++)
            play(&s, &rows[i].steps[k]);
        if (s.state != rows[i].state)
            fail_msg("%s: state %d", rows[i].name, s.state);
    }
}

static void test_a_verdict_is_of_its_epoch_and_its_time(void **state)
{
    struct suspicion s = {0};

    (void)state;
    for (size_t i = 0; i < 5; i++)
        play(&s,
             &((const struct step[]){
                 {100, BROKEN, 0}, {100, SEND, 0}, {105, ASKED, 5}, {375, SEND, 0}, {380, CONFIRMED, 0}})[i]);
    assert_true(suspicion_verdict(&s, EPOCH, 380));
    assert_string_equal(suspicion_cause(&s), "connection-closed");
    assert_false(suspicion_verdict(&s, EPOCH + 1, 380));
    assert_true(suspicion_verdict(&s, EPOCH, 380 + SUSPICION_VERDICT_MS));
    assert_false(suspicion_verdict(&s, EPOCH, 381 + SUSPICION_VERDICT_MS));
    link_is(&s, EPOCH, REPLICATED_LINK_SILENT, 0, 381 + SUSPICION_VERDICT_MS);
    assert_int_equal(s.state, SUSPICION_WANTED); /* the leader is asked again */
}

/* People are told of a link that stays down, and not of a moment. */
static void test_what_lasts_is_told(void **state)
{
    static const struct step steps[] = {{100, BROKEN, 0}, {100, SEND, 0},    {105, ASKED, 5},
                                        {200, ANSWER, 5}, {1200, BROKEN, 0}, {1200, SEND, 0},
                                        {1205, ASKED, 6}, {1300, ANSWER, 6}};
    struct suspicion s = {0};

    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        play(&s, &steps[i]);
        assert_int_equal(suspicion_lasts(&s), i == 7);
    }
    link_is(&s, EPOCH, REPLICATED_LINK_UP, 0, 1400);
    assert_false(suspicion_lasts(&s));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_events_lead_to_states),
        cmocka_unit_test(test_what_lasts_is_told),
        cmocka_unit_test(test_a_verdict_is_of_its_epoch_and_its_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
