// What the program gives up before it looks at a byte of the image.
#define _GNU_SOURCE
#include <grp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <seccomp.h>

#include "reader.h"

enum { NOBODY = 65534 };

// Memory for itself and for what an image makes it need; and time, should nobody be there to end it.
static const rlim_t MEMORY_LIMIT = (rlim_t)1536 << 20;
static const rlim_t PROCESSOR_SECONDS = 3600;

static int limit(int what, rlim_t value) {
    struct rlimit limits = {value, value};
    return setrlimit(what, &limits);
}

// Who asked as root gets a reader that is nobody.
static int give_up_root(void) {
    if (geteuid() != 0) return 0;
    if (setgroups(0, NULL) != 0 || setresgid(NOBODY, NOBODY, NOBODY) != 0) return -1;
    return setresuid(NOBODY, NOBODY, NOBODY);
}

// Whoever started it may have left it more than its socket and the standard ones.
static void close_others(void) {
    if (syscall(SYS_close_range, STDERR_FILENO + 1, ~0U, 0) == 0) return;
    // A kernel that does not know the call.
    long limit = sysconf(_SC_OPEN_MAX);
    if (limit < 0 || limit > 1 << 20) limit = 1 << 20;
    for (int descriptor = STDERR_FILENO + 1; descriptor < limit; descriptor++) close(descriptor);
}

// A call with arguments, of which each is compared in its low half: they are integers of 32 bits.
static int allow(
    scmp_filter_ctx filter, int call, unsigned count, const struct scmp_arg_cmp *arguments) {
    return seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, call, count, arguments);
}

static struct scmp_arg_cmp argument(unsigned number, uint32_t mask, uint32_t value) {
    return SCMP_CMP64(number, SCMP_CMP_MASKED_EQ, mask, value);
}

// Memory of its own, that no file stands behind, and none that can be run.
static int allow_memory(scmp_filter_ctx filter) {
    enum { KIND = 0xf | MAP_ANONYMOUS };
    const struct scmp_arg_cmp map[] = {
        argument(2, PROT_EXEC, 0), argument(3, KIND, MAP_PRIVATE | MAP_ANONYMOUS),
        argument(4, ~0U, ~0U)};
    const struct scmp_arg_cmp protect[] = {argument(2, PROT_EXEC, 0)};
    int code = allow(filter, SCMP_SYS(mmap), 3, map);
    return code == 0 ? allow(filter, SCMP_SYS(mprotect), 1, protect) : code;
}

// All that is left: its socket, memory, and the time. What else it calls for is refused.
static int allow_little(void) {
    static const int calls[] = {
        SCMP_SYS(brk), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise),
        SCMP_SYS(futex), SCMP_SYS(clock_gettime), SCMP_SYS(gettimeofday), SCMP_SYS(getrandom),
        SCMP_SYS(rt_sigreturn), SCMP_SYS(exit), SCMP_SYS(exit_group),
    };
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(1));
    if (filter == NULL) return -1;
    int code = 0;
    for (size_t i = 0; i < sizeof calls / sizeof *calls && code == 0; i++) {
        code = seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0);
    }
    const struct scmp_arg_cmp socket[] = {argument(0, ~0U, READER_SOCKET)};
    if (code == 0) code = allow(filter, SCMP_SYS(read), 1, socket);
    if (code == 0) code = allow(filter, SCMP_SYS(write), 1, socket);
    if (code == 0) code = allow_memory(filter);
    if (code == 0) code = seccomp_load(filter);
    seccomp_release(filter);
    return code;
}

int reader_confine(void) {
    if (limit(RLIMIT_CORE, 0) != 0 || limit(RLIMIT_AS, MEMORY_LIMIT) != 0 ||
        limit(RLIMIT_CPU, PROCESSOR_SECONDS) != 0 || limit(RLIMIT_FSIZE, 0) != 0) {
        return -1;
    }
    close_others();
    if (give_up_root() != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -1;
    return allow_little();
}
