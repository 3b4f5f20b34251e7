/* Preloaded into a program (LD_PRELOAD): the call to the system with the number that VARVE_FAULT names
 * fails with the errno that it names ("NUMBER:ERRNO"; 0 only counts). How many calls there were is
 * written to the file in VARVE_FAULT_COUNT when the process ends. Used by tools/soak. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static long counter, chosen;
static int chosen_errno;

__attribute__((constructor)) static void begin(void) {
    const char *text = getenv("VARVE_FAULT");
    if (text) sscanf(text, "%ld:%d", &chosen, &chosen_errno);
}

__attribute__((destructor)) static void end(void) {
    const char *path = getenv("VARVE_FAULT_COUNT");
    FILE *file = path ? fopen(path, "w") : NULL;
    if (file) {
        fprintf(file, "%ld\n", __atomic_load_n(&counter, __ATOMIC_RELAXED));
        fclose(file);
    }
}

/* Whether this call is the one that fails. */
static int fails(void) {
    long number = __atomic_add_fetch(&counter, 1, __ATOMIC_RELAXED);
    if (chosen == 0 || number != chosen) return 0;
    errno = chosen_errno;
    return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define WRAP(type, name, parameters, arguments, failure) \
    type name parameters {                               \
        static __typeof__(&name) real;                   \
        if (!real) real = REAL(name);                    \
        if (fails()) return failure;                     \
        return real arguments;                           \
    }

WRAP(ssize_t, pread, (int d, void *b, size_t n, off_t o), (d, b, n, o), -1)
WRAP(ssize_t, pread64, (int d, void *b, size_t n, off64_t o), (d, b, n, o), -1)
WRAP(ssize_t, pwrite, (int d, const void *b, size_t n, off_t o), (d, b, n, o), -1)
WRAP(ssize_t, pwrite64, (int d, const void *b, size_t n, off64_t o), (d, b, n, o), -1)
WRAP(ssize_t, pwritev, (int d, const struct iovec *v, int n, off_t o), (d, v, n, o), -1)
WRAP(ssize_t, pwritev64, (int d, const struct iovec *v, int n, off64_t o), (d, v, n, o), -1)
WRAP(int, fsync, (int d), (d), -1)
WRAP(int, fdatasync, (int d), (d), -1)
WRAP(int, msync, (void *a, size_t n, int f), (a, n, f), -1)
WRAP(int, ftruncate, (int d, off_t n), (d, n), -1)
WRAP(int, ftruncate64, (int d, off64_t n), (d, n), -1)
WRAP(int, fallocate, (int d, int m, off_t o, off_t n), (d, m, o, n), -1)
WRAP(int, posix_fallocate, (int d, off_t o, off_t n), (d, o, n), chosen_errno)
WRAP(int, link, (const char *a, const char *b), (a, b), -1)
WRAP(int, linkat, (int x, const char *a, int y, const char *b, int f), (x, a, y, b, f), -1)
WRAP(int, unlinkat, (int d, const char *a, int f), (d, a, f), -1)
WRAP(int, unlink, (const char *a), (a), -1)
WRAP(int, mkdirat, (int d, const char *a, mode_t m), (d, a, m), -1)
WRAP(int, mkdir, (const char *a, mode_t m), (a, m), -1)
WRAP(int, rename, (const char *a, const char *b), (a, b), -1)
WRAP(int, renameat, (int x, const char *a, int y, const char *b), (x, a, y, b), -1)
WRAP(int, renameat2, (int x, const char *a, int y, const char *b, unsigned f), (x, a, y, b, f), -1)
WRAP(void *, mmap, (void *a, size_t n, int p, int f, int d, off_t o), (a, n, p, f, d, o), MAP_FAILED)

/* Standard streams are left alone: what is written there is how the program tells of a failure. */
ssize_t write(int d, const void *b, size_t n) {
    static __typeof__(&write) real;
    if (!real) real = REAL(write);
    if (d > 2 && fails()) return -1;
    return real(d, b, n);
}

ssize_t read(int d, void *b, size_t n) {
    static __typeof__(&read) real;
    if (!real) real = REAL(read);
    if (d > 2 && fails()) return -1;
    return real(d, b, n);
}

#define OPEN(name, parameters, arguments)            \
    int name parameters {                            \
        static int (*real)();                        \
        mode_t mode = 0;                             \
        if (flags & (O_CREAT | __O_TMPFILE)) {       \
            va_list list;                            \
            va_start(list, flags);                   \
            mode = va_arg(list, mode_t);             \
            va_end(list);                            \
        }                                            \
        if (!real) *(void **)&real = dlsym(RTLD_NEXT, #name); \
        if (fails()) return -1;                      \
        return real arguments;                       \
    }

OPEN(open, (const char *path, int flags, ...), (path, flags, mode))
OPEN(open64, (const char *path, int flags, ...), (path, flags, mode))
OPEN(openat, (int at, const char *path, int flags, ...), (at, path, flags, mode))
OPEN(openat64, (int at, const char *path, int flags, ...), (at, path, flags, mode))
