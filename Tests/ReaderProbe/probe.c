// Gives up what varve-file-reader gives up, and tries what must not work any more then. It is given a
// file that can be written as descriptor 0, where the reader has its socket, and as another one. It
// ends with 0, or the number of the first thing that is not as it must be.
#include "confine.c"

#include <fcntl.h>
#include <stdint.h>

static const size_t BYTES = 4096;

static void *map(int protection, int flags, int descriptor) {
    return mmap(NULL, BYTES, protection, flags, descriptor, 0);
}

static int is_refused(void *memory) { return memory == MAP_FAILED; }

int main(void) {
    enum { READ_WRITE = PROT_READ | PROT_WRITE, OTHER = 77 };
    int check = 10;
    if (write(READER_SOCKET, "a", 1) != 1 || dup2(READER_SOCKET, OTHER) != OTHER) return check;
    void *before = map(READ_WRITE, MAP_SHARED, READER_SOCKET);
    if (is_refused(before) || munmap(before, BYTES) != 0) return check;
    check++;
    // 11: it can be confined at all.
    if (reader_confine() != 0) return check;
    check++;
    // 12: what it needs.
    void *own = map(READ_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    if (is_refused(own)) return check;
    ((volatile char *)own)[0] = 1;
    if (mprotect(own, BYTES, PROT_READ) != 0) return check;
    check++;
    // 13: the socket can be written; the file behind it here, not, by its limit.
    char byte;
    if (read(READER_SOCKET, &byte, 1) != 0 && read(READER_SOCKET, &byte, 1) != 1) return check;
    check++;
    // 14 to 18: memory that others share, or that a file stands behind.
    if (!is_refused(map(READ_WRITE, MAP_SHARED, READER_SOCKET))) return check;
    check++;
    if (!is_refused(map(READ_WRITE, MAP_SHARED_VALIDATE, READER_SOCKET))) return check;
    check++;
    if (!is_refused(map(PROT_READ, MAP_PRIVATE, READER_SOCKET))) return check;
    check++;
    if (!is_refused(map(READ_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1))) return check;
    check++;
    if (!is_refused(map(READ_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, READER_SOCKET))) return check;
    check++;
    // 19, 20: memory that can be run.
    if (!is_refused(map(READ_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1))) return check;
    check++;
    if (mprotect(own, BYTES, PROT_READ | PROT_EXEC) == 0) return check;
    check++;
    // 21, 22: other descriptors, those that it was left and the standard ones.
    if (write(OTHER, "b", 1) >= 0 || read(OTHER, &byte, 1) >= 0) return check;
    check++;
    if (write(STDOUT_FILENO, "b", 1) >= 0 || read(STDERR_FILENO, &byte, 1) >= 0) return check;
    check++;
    // 23 to 25: new ones.
    if (open("/", O_RDONLY) >= 0) return check;
    check++;
    if (dup(READER_SOCKET) >= 0) return check;
    check++;
    if (fcntl(READER_SOCKET, F_DUPFD, 100) >= 0) return check;
    return 0;
}
