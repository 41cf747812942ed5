/* A suspicion: this replica's own link to the leader is down. That alone proves nothing: a port can be wrong, a firewall
 * can reject, one path can be cut. So the leader is asked by a second way, through ZooKeeper, and must answer there by a
 * write of its own. Only a leader that is silent on both ways is taken for dead.
 *
 * NONE -> WANTED (a link is down) -> ASKING (the question is being written) -> ASKED (it stands) -> CLEARED (the leader
 * answered), or after the deadline -> CONFIRMING (another write of this replica, and a read behind it) -> VERDICT.
 * Whatever goes wrong with this replica's own writes leads back to NONE. The link reports again as long as it is down,
 * so nothing is lost by that. A suspicion that was cleared is not raised again before a pause, which doubles, and then the
 * leader has more time to answer: a path that is cut for good must not depose it in the one moment in which it is slow.
 *
 * Pure: the events come in with the time, the state says what is to be done. ask.c makes the requests.
 */
#pragma once

#include "leader/replicated/replicated.h"

#define SUSPICION_WHY_SIZE 128
/* The time that the leader has for its answer, from the question's acknowledgement on. */
#define SUSPICION_ANSWER_MS        400
#define SUSPICION_ANSWER_BROKEN_MS 100 /* after a link that stood broke and its port refused: two signs */
#define SUSPICION_ANSWER_AGAIN_MS                                                                            \
    2000 /* once it has answered while the link is down: the link says nothing new */
#define SUSPICION_SLOWNESS_FACTOR 4 /* and so much more for each measured millisecond of slowness */
#define SUSPICION_SLOWNESS_MAX_MS 1000
#define SUSPICION_PAUSE_MS        1000 /* after an answer; doubles */
#define SUSPICION_PAUSE_MAX_MS    10000
#define SUSPICION_VERDICT_MS      2000 /* a verdict that was not used so long is void */

enum suspicion_state {
    SUSPICION_NONE,
    SUSPICION_WANTED,
    SUSPICION_ASKING,
    SUSPICION_ASKED,
    SUSPICION_CONFIRMING,
    SUSPICION_CLEARED,
    SUSPICION_VERDICT
};

struct suspicion {
    enum suspicion_state state;
    int64_t epoch; /* whose leader is meant */
    enum replicated_link_state link;
    char why[SUSPICION_WHY_SIZE];
    bool answered;    /* since the link was up last */
    uint64_t late_ms; /* measured on the link while it stood */
    int32_t ask;      /* version of the question */
    uint64_t sent_ms, deadline_ms, verdict_ms;
    uint64_t again_ms, pause_ms; /* no question before again_ms */
};

/* The link is as `link` says; all times are boot time. */
void suspicion_link(struct suspicion *s, int64_t epoch, const struct replicated_link *link, uint64_t now_ms);
/* The question, or the confirming write, is sent now. */
void suspicion_sending(struct suspicion *s, uint64_t now_ms);
/* The question stands as this version of its node. write_ms: how long another write of this replica took lately. The leader
 * gets more time by the slowness of both, ZooKeeper's and its own. */
void suspicion_asked(struct suspicion *s, int32_t version, uint64_t write_ms, uint64_t now_ms);
/* This replica's own write or read failed, or the connection is gone: nothing follows from it. */
void suspicion_failed(struct suspicion *s, uint64_t now_ms);
/* The leader of this epoch has answered questions up to this version. True: that clears the suspicion. */
bool suspicion_answered(struct suspicion *s, int64_t epoch, int32_t version, uint64_t now_ms);
/* It was cleared more than once, and the link was down all the while: worth a word to people. */
bool suspicion_lasts(const struct suspicion *s);
/* The deadline has passed: the confirming write is to be sent. */
bool suspicion_overdue(const struct suspicion *s, uint64_t now_ms);
/* The confirming write succeeded, and what was read behind it has no answer. */
void suspicion_confirmed(struct suspicion *s, uint64_t now_ms);
/* The leader of this epoch may be deposed, now. */
bool suspicion_verdict(const struct suspicion *s, int64_t epoch, uint64_t now_ms);
/* The cause for the journal: "connection-closed", "connection-refused", "silent". */
const char *suspicion_cause(const struct suspicion *s);
