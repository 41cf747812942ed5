/* Whether this replica is a part of its cluster, in words, and what a person may do about it. Pure: a view of the
 * journal in, text or JSON out.
 */
#pragma once

#include "leader/replicated/replicated.h"

#define MEMBERSHIP_TEXT_SIZE 512

/* Why this replica neither follows nor leads, and which command helps; NULL: nothing stands against it (it is a
 * member, or has not read ZooKeeper yet). Returns `text`. */
const char *membership_trouble(const struct replicated_view *view, char text[MEMBERSHIP_TEXT_SIZE]);

/* It refuses for good: until a person has done something, asking again is of no use. */
bool membership_refuses(const struct replicated_view *view);

/* What to do about it; NULL: nothing. Returns `text`. */
const char *membership_advice(const struct replicated_view *view, char text[MEMBERSHIP_TEXT_SIZE]);
