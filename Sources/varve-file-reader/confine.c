// What the program gives up before it looks at a byte of the image.
#define _GNU_SOURCE
#include <grp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
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

// All that is left: its socket, memory, and the time. What else it calls for is refused.
static int allow_little(void) {
    static const int calls[] = {
        SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(brk), SCMP_SYS(munmap), SCMP_SYS(mremap),
        SCMP_SYS(madvise), SCMP_SYS(futex), SCMP_SYS(clock_gettime), SCMP_SYS(gettimeofday),
        SCMP_SYS(getrandom), SCMP_SYS(rt_sigreturn), SCMP_SYS(exit), SCMP_SYS(exit_group),
    };
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(1));
    if (filter == NULL) return -1;
    int code = 0;
    for (size_t i = 0; i < sizeof calls / sizeof *calls && code == 0; i++) {
        code = seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0);
    }
    // Memory, but none that can be run.
    static const int memory[] = {SCMP_SYS(mmap), SCMP_SYS(mprotect)};
    for (size_t i = 0; i < 2 && code == 0; i++) {
        code = seccomp_rule_add(
            filter, SCMP_ACT_ALLOW, memory[i], 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    }
    if (code == 0) code = seccomp_load(filter);
    seccomp_release(filter);
    return code;
}

int reader_confine(void) {
    if (limit(RLIMIT_CORE, 0) != 0 || limit(RLIMIT_AS, MEMORY_LIMIT) != 0 ||
        limit(RLIMIT_CPU, PROCESSOR_SECONDS) != 0 || limit(RLIMIT_FSIZE, 0) != 0) {
        return -1;
    }
    if (give_up_root() != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -1;
    return allow_little();
}
