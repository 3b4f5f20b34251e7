#include <stdarg.h>
#include <stdio.h>
#include <libdevmapper.h>

/* The library says why something failed to a function with variable arguments, which Swift cannot
 * write. This one keeps the first error of a call, for the thread that made it. */
enum { VARVE_DM_REASON_SIZE = 256 };
static inline char *varve_dm_reason(void) {
    static _Thread_local char reason[VARVE_DM_REASON_SIZE];
    return reason;
}

__attribute__((format(printf, 5, 6)))
static inline void varve_dm_keep(int level, const char *file, int line, int code,
                                 const char *format, ...) {
    (void)file;
    (void)line;
    (void)code;
    /* The lowest three bits are the level; errors are 2 and 3. */
    if ((level & 7) > 3 || varve_dm_reason()[0])
        return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(varve_dm_reason(), VARVE_DM_REASON_SIZE, format, arguments);
    va_end(arguments);
}

static inline void varve_dm_begin(void) {
    varve_dm_reason()[0] = 0;
    dm_log_with_errno_init(varve_dm_keep);
}

static inline const char *varve_dm_end(void) { return varve_dm_reason(); }
