/* The bytes of a log on their way to stdout. A stamped one has, before each line, its stamp and a blank, which are
 * remembered, and printed if asked for; so after a cut the log can be asked for again from the last stamp on, and what
 * was printed with that stamp is passed over. Main thread.
 */
#pragma once

#include "jobs/base/object.h"
#include "jobs/base/printable.h"

#define LOG_STAMP_BYTES 30 /* "2026-11-22T03:00:00.123456789Z" */

struct log_printer {
    struct object object;
    bool raw;                      /* the bytes as they are */
    bool stamped, timestamps;      /* stamps come; and are printed */
    struct printable_stream clean; /* what a terminal must not get is held back here */

    char stamp[LOG_STAMP_BYTES + 1]; /* of the line under way; "": none yet; "-": not known */
    int64_t same, skip;              /* bytes printed with it; of these: still to come again */
    char prefix[LOG_STAMP_BYTES + 1];
    size_t prefix_len;
    bool in_line;  /* the stamp of the line under way has come */
    bool at_begin; /* nothing was printed, or a newline last */
    bool printed;  /* something, since the log was asked for */
    bool failed;   /* stdout is gone */
};

struct log_printer log_printer_of(bool raw, bool stamped, bool timestamps);
/* For client_stream. arg: the printer. */
bool log_printer_take(void *arg, const char *bytes, size_t n);
/* The log is asked for again, from the last stamp on. */
void log_printer_again(struct log_printer *printer);
/* Ends a last line without its newline, if asked to. */
void log_printer_end(struct log_printer *printer, bool end_line);
