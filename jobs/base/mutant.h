/* Deliberate faults: each takes one thing away that the protocol needs, at the very place where the shipped
 * code has it. They prove that the simulator or the test would notice (tests/sim/sim_test.py). Compiled in only with
 * CRONSCHED_FAULTS, and switched on only by --mutant of those programs; in a release build MUTANT is false.
 */
#pragma once

#include <stdbool.h>

#define MUTANTS(X)                                                                                           \
    X(RELEASE_OLD_ID, "release-old-id", "what another epoch has prepared is released")                       \
    X(RESEND_START, "resend-start", "a start whose answer was lost is sent again")                           \
    X(EFFECT_BEFORE_ACK, "effect-before-ack", "engines are asked before the record is durable")              \
    X(DISCARD_BEFORE_ACK, "discard-before-ack", "what is revoked is removed before that is durable")         \
    X(SWEEP_COMMITTED, "sweep-committed", "the sweep removes what is committed")                             \
    X(SAME_NAME, "same-name", "two reservations of an attempt have one name")                                \
    X(SILENCE_IS_PROOF, "silence-is-proof", "a fence without an answer proves that nothing ran")             \
    X(ENGINE_NOT_COMPARED, "engine-not-compared", "another engine is believed about what it never had")      \
    X(UNWATCHED, "unwatched", "what an earlier leader started is not watched")                               \
    X(OVERLAP_ON_STARTED, "overlap-on-started", "overlap is judged by what is known to run alone")           \
    X(KILL_RETRIES, "kill-retries", "what was killed is retried")                                            \
    X(ARMED_IS_BUSY, "armed-is-busy", "what was armed in an outage and never ran keeps its job busy")        \
    X(CLOCK_UNCONFIRMED, "clock-unconfirmed",                                                                \
      "a jump of the wall clock is followed, and nothing confirms it")                                       \
    X(CATCH_UP_AGAIN, "catch-up-again", "a new leader catches up from before the cursor")                    \
    X(EDIT_UNACCOUNTED, "edit-unaccounted", "an edit accounts for nothing before it")                        \
    X(PAUSE_KEEPS_ARMED, "pause-keeps-armed", "an edit or a pause leaves what is armed")                     \
    X(SAME_MANUAL_ID, "same-manual-id", "manual runs of one millisecond share an id")                        \
    X(FORGET_KEYS, "forget-keys", "snapshots leave trigger keys out")                                        \
    X(SHORT_SNAPSHOT, "short-snapshot", "snapshots leave the newest run of a job out")                       \
    X(LATE_IMAGE, "late-image", "what changes while a snapshot is made is not kept for it")                  \
    X(STRAY_IGNORED, "stray-ignored", "a job is free while somebody else runs an object of it")              \
    X(LOST_TIME_FIRED, "lost-time-fired", "fire times of a lost part of the journal are fired")              \
    X(LOST_GOES_ON, "lost-goes-on", "a run whose journal was lost goes on")                                  \
    X(ACCEPTED_IS_STARTED, "accepted-is-started", "what an engine has accepted counts as started")           \
    X(HIDDEN_STATE, "hidden-state", "the fold depends on what no record says")

/* of leader/, found by `elections` */
#define LEADER_MUTANTS(X)                                                                                    \
    X(NO_EPOCH_CHECK, "no-epoch-check", "a leader's writes do not check the epoch")                          \
    X(VERSION_ALONE, "version-alone", "a leader's writes check the epoch's version, and not its name")       \
    X(TAIL_UNREAD, "tail-unread", "a winner leads before it has read the tail")                              \
    X(LOST_IS_DONE, "lost-is-done", "an append whose answer was lost counts as done")                        \
    X(ACK_WHEN_SENT, "ack-when-sent", "an append is acknowledged when it is sent")                           \
    X(TRIM_ALL, "trim-all", "the log is truncated beyond the snapshot")                                      \
    X(KEEP_SPECULATION, "keep-speculation", "a deposed leader keeps what was not acknowledged")              \
    X(SWEEP_CHUNKS, "sweep-chunks", "chunks that the snapshot names are removed")                            \
    X(MARK_FORGOTTEN, "mark-forgotten", "what was known is forgotten at the end of leadership")              \
    X(HASH_IGNORED, "hash-ignored", "a batch in the place of another that was known is believed")            \
    X(REFUSAL_IS_DEATH, "refusal-is-death", "a leader that one replica cannot reach is deposed unasked")     \
    X(MEMBERS_UNASKED, "members-unasked", "a winner leads without asking the others whether they lead")      \
    X(ORPHAN_KEPT, "orphan-kept", "a leader node that belongs to no epoch is never replaced")

/* of leader/embedded, found by the unit test `journal_lost` */
#define EMBEDDED_MUTANTS(X)                                                                                  \
    X(APPEND_WITHOUT_EPOCH, "append-without-epoch", "an append does not compare the file's epoch and end")   \
    X(CLAIM_WITHOUT_EPOCH, "claim-without-epoch", "a claim does not compare the file's epoch")               \
    X(REPLACED_UNSEEN, "replaced-unseen", "files that were moved or replaced are written on")                \
    X(TOKEN_UNREAD, "token-unread", "the token of a newer server is not read")                               \
    X(EMPTY_IS_NEW, "empty-is-new", "an empty file is taken for a new journal, whatever was acknowledged")

#ifdef CRONSCHED_FAULTS
enum mutant {
    MUTANT_NONE,
#define X(id, name, text) MUTANT_##id,
    MUTANTS(X) LEADER_MUTANTS(X) EMBEDDED_MUTANTS(X)
#undef X
};
extern enum mutant mutant_on;
#define MUTANT(id) (mutant_on == MUTANT_##id)
#else
#define MUTANT(id) false
#endif
