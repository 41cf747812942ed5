#include "cronsched/cli/log_printer.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define PIECE_BYTES 4096

struct log_printer log_printer_of(bool raw, bool stamped, bool timestamps)
{
    return (struct log_printer){.object = OBJECT_MARK(struct log_printer),
                                .raw = raw,
                                .stamped = stamped,
                                .timestamps = timestamps,
                                .at_begin = true};
}

void log_printer_again(struct log_printer *p)
{
    p->skip = p->same;
    p->prefix_len = 0;
    p->in_line = p->printed = false;
}

/* Whoever wrote the log must not write commands to this terminal. */
static void print(struct log_printer *p, const char *bytes, size_t n)
{
    char clean[PIECE_BYTES + PRINTABLE_HELD_MAX];

    if (n == 0)
        return;
    p->printed = true;
    p->at_begin = bytes[n - 1] == '\n';
    if (p->raw) {
        p->failed = p->failed || fwrite(bytes, 1, n, stdout) < n;
        return;
    }
    while (n > 0) {
        size_t piece = n < PIECE_BYTES ? n : PIECE_BYTES;
        size_t size = printable_stream(&p->clean, bytes, piece, clean);

        p->failed = p->failed || fwrite(clean, 1, size, stdout) < size;
        bytes += piece;
        n -= piece;
    }
}

static bool is_stamp(const char prefix[LOG_STAMP_BYTES + 1])
{
    return isdigit((unsigned char)prefix[0]) && prefix[4] == '-' && prefix[10] == 'T' &&
           prefix[LOG_STAMP_BYTES - 1] == 'Z' && prefix[LOG_STAMP_BYTES] == ' ';
}

static void begin_line(struct log_printer *p, const char *stamp)
{
    if (strcmp(p->stamp, stamp) != 0) {
        snprintf(p->stamp, sizeof(p->stamp), "%s", stamp);
        p->same = p->skip = 0;
    }
    p->in_line = true;
    if (p->timestamps && p->skip == 0) {
        print(p, stamp, strlen(stamp));
        print(p, " ", 1);
    }
    p->prefix_len = 0;
}

static void take_text(struct log_printer *p, const char *bytes, size_t n)
{
    size_t skip = (uint64_t)p->skip < n ? (size_t)p->skip : n;

    p->skip -= (int64_t)skip;
    p->same += (int64_t)(n - skip);
    print(p, bytes + skip, n - skip);
    p->in_line = bytes[n - 1] != '\n';
}

/* One byte of what stands before a line. */
static void take_prefix(struct log_printer *p, char byte)
{
    char all[LOG_STAMP_BYTES + 1];

    p->prefix[p->prefix_len++] = byte;
    if (p->prefix_len == 2 && memcmp(p->prefix, "- ", 2) == 0) {
        begin_line(p, "-");
    } else if (p->prefix_len == sizeof(p->prefix) || byte == '\n') {
        size_t n = p->prefix_len;

        memcpy(all, p->prefix, n);
        if (n == sizeof(all) && is_stamp(all)) {
            all[LOG_STAMP_BYTES] = '\0';
            begin_line(p, all);
        } else { /* a server that gives no stamps */
            begin_line(p, "-");
            take_text(p, all, n);
        }
    }
}

bool log_printer_take(void *arg, const char *bytes, size_t n)
{
    struct log_printer *p = OBJECT(struct log_printer, arg);

    while (n > 0) {
        const char *newline = memchr(bytes, '\n', n);
        size_t line = newline ? (size_t)(newline - bytes) + 1 : n;

        if (!p->stamped) {
            print(p, bytes, n);
            break;
        }
        if (p->in_line) {
            take_text(p, bytes, line);
        } else {
            take_prefix(p, *bytes);
            line = 1;
        }
        bytes += line;
        n -= line;
    }
    p->failed = p->failed || fflush(stdout) != 0;
    return !p->failed;
}

void log_printer_end(struct log_printer *p, bool end_line)
{
    if (p->prefix_len > 0) /* a last line that is no longer than a stamp, and has none */
        print(p, p->prefix, p->prefix_len);
    p->prefix_len = 0;
    if (end_line && !p->at_begin)
        print(p, "\n", 1);
}
