#define _GNU_SOURCE
#include "include/CShims.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

int varve_open_path(const char *path) { return varve_open(path, O_PATH, 0); }

int varve_open_at(int directory, const char *name, int flags, unsigned mode) {
    int fd;
    do {
        fd = openat(directory, name, flags | O_CLOEXEC, mode);
    } while (fd < 0 && errno == EINTR);
    return fd;
}

/* One component, which is no symbolic link. The kernel says ENOTDIR of a link where it wants a directory. */
static int open_component(int directory, const char *name, int flags) {
    int fd = varve_open_at(directory, name, flags | O_NOFOLLOW, 0);
    if (fd >= 0 || errno != ENOTDIR) return fd;
    struct stat status;
    errno = fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(status.st_mode)
                ? ELOOP
                : ENOTDIR;
    return -1;
}

/* What openat2 does, without it: every directory of the path is opened on its own. */
static int open_by_components(int root, const char *path, int flags) {
    char name[NAME_MAX + 1];
    int directory = root;
    for (;;) {
        size_t length = strcspn(path, "/");
        if (length == 0 || length > NAME_MAX) {
            errno = length == 0 ? ENOENT : ENAMETOOLONG;
            break;
        }
        memcpy(name, path, length);
        name[length] = 0;
        if (strcmp(name, "..") == 0) {
            errno = EXDEV;
            break;
        }
        int is_last = path[length] == 0;
        int next = open_component(directory, name, is_last ? flags : O_PATH | O_DIRECTORY);
        int reason = errno;
        if (directory != root) close(directory);
        errno = reason;
        if (next < 0 || is_last) return next;
        directory = next;
        path += length + 1;
    }
    int reason = errno;
    if (directory != root) close(directory);
    errno = reason;
    return -1;
}

int varve_open_beneath(int root, const char *path, int flags, int walks) {
    if (walks) return open_by_components(root, path, flags);
    struct open_how how = {
        .flags = (unsigned)(flags | O_CLOEXEC),
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };
    /* EAGAIN: something was moved elsewhere meanwhile. */
    for (int attempt = 0; attempt < 64; attempt++) {
        long fd = syscall(SYS_openat2, root, path, &how, sizeof how);
        if (fd >= 0) return (int)fd;
        if (errno == EINTR || errno == EAGAIN) continue;
        break;
    }
    /* Older kernels have no such call (ENOSYS), and filters of containers refuse it (EPERM). */
    if (errno == ENOSYS || errno == EPERM || errno == EAGAIN)
        return open_by_components(root, path, flags);
    return -1;
}

int varve_open_unnamed_at(int directory, unsigned mode) {
    return varve_open_at(directory, ".", O_TMPFILE | O_RDWR, mode);
}

int varve_can_link_unnamed(void) { return geteuid() == 0 || access("/proc/self/fd", X_OK) == 0; }

int varve_link_unnamed_at(int fd, int directory, const char *name) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (linkat(AT_FDCWD, path, directory, name, AT_SYMLINK_FOLLOW) == 0) return 0;
    /* Where there is no /proc; root may do it this way. */
    if (errno != ENOENT && errno != ENOTDIR) return -1;
    return linkat(fd, "", directory, name, AT_EMPTY_PATH);
}

int varve_rename_exclusive_at(int directory, const char *from, const char *to) {
    return (int)syscall(SYS_renameat2, directory, from, directory, to, 1 /* RENAME_NOREPLACE */);
}
