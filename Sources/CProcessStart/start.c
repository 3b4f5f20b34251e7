#define _GNU_SOURCE
#include "CProcessStart.h"
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

static int argument_count;
static char **arguments;
static char **variables;
static int was_closed[3];

/* Straight to the kernel: nothing is set up yet, in the C library or in what is preloaded. */
static void stop(void) {
    static const char text[] =
        "varve: standard input, output or error is closed, and /dev/null cannot be opened for it\n";
    if (!was_closed[2]) (void)!syscall(SYS_write, 2, text, sizeof text - 1);
    syscall(SYS_exit_group, 1);
}

/* A file that is opened while one of 0, 1 and 2 is closed would become standard input or output: what is
   read as a disk, or is written over. */
static void start(int count, char **values, char **environment) {
    argument_count = count;
    arguments = values;
    variables = environment;
    for (int descriptor = 0; descriptor < 3; descriptor++) {
        if (syscall(SYS_fcntl, descriptor, F_GETFD) >= 0) continue;
        was_closed[descriptor] = 1;
        int direction = descriptor == 0 ? O_WRONLY : O_RDONLY;
        /* The lowest number that is free: this one. */
        if (syscall(SYS_openat, AT_FDCWD, "/dev/null", direction) != descriptor) stop();
    }
}

/* The loader gives these functions what `main` gets, and calls them before anything of any library. */
__attribute__((section(".preinit_array"), used)) static void (*const at_start)(
    int, char **, char **) = start;

int varve_start_argument_count(void) { return argument_count; }

const char *varve_start_argument(int index) {
    return index >= 0 && index < argument_count ? arguments[index] : NULL;
}

const char *varve_start_variable(size_t index) { return variables ? variables[index] : NULL; }

int varve_start_was_open(int descriptor) {
    return descriptor < 0 || descriptor > 2 || !was_closed[descriptor];
}
