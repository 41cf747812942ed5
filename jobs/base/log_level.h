/* How much a line of the log matters. For all that hands lines to a log which it does not know. */
#pragma once

enum log_level { LOG_ERROR, LOG_WARN, LOG_NOTE, LOG_TRACE };
