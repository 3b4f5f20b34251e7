// What the kernel gave this process, kept before any other code of it ran.
#ifndef CPROCESSSTART_H
#define CPROCESSSTART_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

// The `argc` and `argv` of `main`.
int varve_start_argument_count(void);
const char *varve_start_argument(int index);

// The variables of the environment, such as "HOME=/root", up to NULL.
const char *varve_start_variable(size_t index);

// Whether descriptor 0, 1 or 2 was open then. One that was not stands on /dev/null since, the wrong
// way round: to read from standard input fails, and to write to the others does.
int varve_start_was_open(int descriptor);

#ifdef __cplusplus
}
#endif
#endif
