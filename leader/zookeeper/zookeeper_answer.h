/* What ZooKeeper can answer: every result code of the protocol and of its client library, once, with what it means
 * for the one who asked.
 *
 * A code that is not in the table is an answer as well: a newer server refuses for a reason that has no name here.
 * It is told with its number; the connection that brought it is fine. */
#pragma once

#include "leader/coordinator.h"

#include <stdbool.h>

enum zookeeper_class {
    ZOOKEEPER_DONE,
    ZOOKEEPER_REFUSED,     /* not done, and the same again will not be done until a person does something */
    ZOOKEEPER_NOT_APPLIED, /* not done: the tree, or the moment, is another than was thought */
    ZOOKEEPER_UNCERTAIN,   /* done or not */
    ZOOKEEPER_GONE         /* the connection or the session cannot go on */
};

/* clang-format off */
/* code, its name without the Z, class, what the core is told, text for people */
#define ZOOKEEPER_ANSWERS(X)                                                                                   \
    X(0,    OK,                           DONE,        OK,          "")                                        \
    X(-1,   SYSTEMERROR,                  UNCERTAIN,   LOST,        "system error")                            \
    X(-2,   RUNTIMEINCONSISTENCY,         UNCERTAIN,   LOST,        "the answer belongs to no request")        \
    X(-3,   DATAINCONSISTENCY,            UNCERTAIN,   LOST,        "its data are inconsistent")               \
    X(-4,   CONNECTIONLOSS,               GONE,        LOST,        "the connection was lost")                 \
    X(-5,   MARSHALLINGERROR,             UNCERTAIN,   LOST,        "it could not read or write the request")  \
    X(-6,   UNIMPLEMENTED,                REFUSED,     FAILED,      "it does not know this operation")         \
    X(-7,   OPERATIONTIMEOUT,             GONE,        LOST,        "no answer")                               \
    X(-8,   BADARGUMENTS,                 REFUSED,     FAILED,      "it takes the request to be invalid")      \
    X(-9,   INVALIDSTATE,                 GONE,        LOST,        "the session is over")                     \
    X(-12,  UNKNOWNSESSION,               GONE,        LOST,        "it does not know the session")            \
    X(-13,  NEWCONFIGNOQUORUM,            NOT_APPLIED, FAILED,      "too few servers of the new configuration are there") \
    X(-14,  RECONFIGINPROGRESS,           NOT_APPLIED, FAILED,      "it is being reconfigured")             \
    X(-15,  SSLCONNECTIONERROR,           GONE,        LOST,        "the TLS connection failed")               \
    X(-100, APIERROR,                     REFUSED,     FAILED,      "it refused without a reason")             \
    X(-101, NONODE,                       NOT_APPLIED, NO_NODE,     "no node")                                 \
    X(-102, NOAUTH,                       REFUSED,     DENIED,      "not authenticated")                       \
    X(-103, BADVERSION,                   NOT_APPLIED, BAD_VERSION, "another version")                         \
    X(-108, NOCHILDRENFOREPHEMERALS,      REFUSED,     FAILED,      "ephemeral nodes have no children")        \
    X(-110, NODEEXISTS,                   NOT_APPLIED, EXISTS,      "the node exists")                         \
    X(-111, NOTEMPTY,                     NOT_APPLIED, FAILED,      "the node has children")                   \
    X(-112, SESSIONEXPIRED,               GONE,        LOST,        "the session has expired")                 \
    X(-113, INVALIDCALLBACK,              REFUSED,     FAILED,      "invalid callback")                        \
    X(-114, INVALIDACL,                   REFUSED,     FAILED,      "the access list is not valid there")      \
    X(-115, AUTHFAILED,                   GONE,        LOST,        "the password was refused")                \
    X(-116, CLOSING,                      GONE,        LOST,        "closing")                                 \
    X(-117, NOTHING,                      NOT_APPLIED, FAILED,      "nothing to do")                           \
    X(-118, SESSIONMOVED,                 GONE,        LOST,        "the session has moved to another connection") \
    X(-119, NOTREADONLY,                  REFUSED,     FAILED,      "the server is read-only: it does not see a majority") \
    X(-120, EPHEMERALONLOCALSESSION,      REFUSED,     FAILED,      "local sessions have no ephemeral nodes")  \
    X(-121, NOWATCHER,                    NOT_APPLIED, FAILED,      "no such watch")                           \
    X(-122, REQUESTTIMEOUT,               UNCERTAIN,   LOST,        "the request took it too long")            \
    X(-123, RECONFIGDISABLED,             REFUSED,     FAILED,      "reconfiguration is disabled")             \
    X(-124, SESSIONCLOSEDREQUIRESASLAUTH, GONE,        LOST,        "it demands SASL, which cronsched does not have") \
    X(-125, QUOTAEXCEEDED,                REFUSED,     FAILED,      "its quota is exceeded")                   \
    X(-127, THROTTLEDOP,                  NOT_APPLIED, FAILED,      "it is overloaded and refuses requests")
/* clang-format on */

#define ZOOKEEPER_ANSWER_TEXT 128

struct zookeeper_answer {
    int code;
    const char *name;
    enum zookeeper_class class;
    enum coord_result result;
    const char *text;
};

/* NULL: the code has no name here. */
const struct zookeeper_answer *zookeeper_answer_find(int code);
enum zookeeper_class zookeeper_answer_class(int code); /* of one without a name: refused */
enum coord_result zookeeper_answer_result(int code);   /* of one without a name: COORD_FAILED */
/* "its quota is exceeded (-125)". Returns `ret`. */
const char *zookeeper_answer_text(int code, char ret[ZOOKEEPER_ANSWER_TEXT]);
