#include "include/CShims.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

/* Files that say that the process crashed while something was open: a slot each. The handler only
   reads them. */
enum { slot_count = 16, path_size = 1024 };
static char paths[slot_count][path_size];
static _Atomic int states[slot_count]; /* 0 free, 1 being changed, 2 in use */

/* What damaged bytes in mapped memory lead to, and what a library does that gives up. */
static const int watched[] = {SIGBUS, SIGSEGV, SIGABRT};
enum { watched_count = sizeof watched / sizeof watched[0] };
static struct sigaction earlier[watched_count];
static _Atomic int is_installed;

static void on_crash(int signal_number, siginfo_t *information, void *context) {
    (void)context;
    for (int slot = 0; slot < slot_count; slot++) {
        if (atomic_load(&states[slot]) != 2) continue;
        int descriptor = open(paths[slot], O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (descriptor < 0) continue;
        close(descriptor);
        static const char text[] =
            "varve: crashed while this was open, so the next command rebuilds it: ";
        (void)!write(STDERR_FILENO, text, sizeof text - 1);
        for (const char *next = paths[slot]; *next != 0; next++) {
            /* What a terminal would obey is not shown. */
            unsigned char byte = (unsigned char)*next;
            (void)!write(STDERR_FILENO, byte < 0x20 || byte >= 0x7f ? "?" : next, 1);
        }
        static const char hint[] = " (bus error: its disk is full or failing, or the file was truncated)";
        if (signal_number == SIGBUS) (void)!write(STDERR_FILENO, hint, sizeof hint - 1);
        (void)!write(STDERR_FILENO, "\n", 1);
    }
    if (information->si_code > 0) {
        /* The fault comes again, and whoever handled such before takes it. */
        for (int i = 0; i < watched_count; i++) sigaction(watched[i], &earlier[i], NULL);
    } else {
        signal(signal_number, SIG_DFL);
        raise(signal_number);
    }
}

int varve_mark_crashes(const char *path) {
    if (strlen(path) >= path_size) return -1;
    for (int slot = 0; slot < slot_count; slot++) {
        int state = 0;
        if (!atomic_compare_exchange_strong(&states[slot], &state, 1)) continue;
        strcpy(paths[slot], path);
        atomic_store(&states[slot], 2);
        if (atomic_exchange(&is_installed, 1) == 0) {
            struct sigaction action;
            memset(&action, 0, sizeof action);
            action.sa_sigaction = on_crash;
            action.sa_flags = SA_SIGINFO | SA_ONSTACK;
            for (int i = 0; i < watched_count; i++) sigaction(watched[i], &action, &earlier[i]);
        }
        return slot;
    }
    return -1;
}

void varve_unmark_crashes(int slot) {
    if (slot >= 0 && slot < slot_count) atomic_store(&states[slot], 0);
}
