#define _GNU_SOURCE
#include "include/CShims.h"
#include <linux/ioprio.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

int varve_open(const char *path, int flags, unsigned mode) {
    int fd;
    do {
        fd = open(path, flags | O_CLOEXEC, mode);
    } while (fd < 0 && errno == EINTR);
    return fd;
}

int varve_rename_exclusive_between(int from_directory, const char *from, int to_directory, const char *to) {
    enum { NO_REPLACE = 1 };
    if (syscall(SYS_renameat2, from_directory, from, to_directory, to, NO_REPLACE) == 0) return 0;
    if (errno != EINVAL && errno != ENOSYS) return -1;
    struct stat status;
    if (fstatat(to_directory, to, &status, AT_SYMLINK_NOFOLLOW) == 0) {
        errno = EEXIST;
        return -1;
    }
    return errno == ENOENT ? renameat(from_directory, from, to_directory, to) : -1;
}

int varve_set_mode_at(int directory, const char *name, unsigned mode) {
    // fchmodat2 of Linux 6.6, which this system's headers may not know.
    enum { SET_MODE = 452 };
    if (syscall(SET_MODE, directory, name, mode, AT_SYMLINK_NOFOLLOW) == 0) return 0;
    if (errno != ENOSYS && errno != EPERM) return -1;
    // The library does it by way of /proc.
    return fchmodat(directory, name, mode, AT_SYMLINK_NOFOLLOW);
}

int varve_set_direct(int fd, int enabled) {
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0) return -1;
    return fcntl(fd, F_SETFL, enabled ? flags | O_DIRECT : flags & ~O_DIRECT);
}

int varve_block_device_size(int fd, uint64_t *bytes) {
    return ioctl(fd, BLKGETSIZE64, bytes);
}

int varve_block_device_sector_size(int fd, uint32_t *bytes) {
    int size = 0;
    if (ioctl(fd, BLKSSZGET, &size) < 0) return -1;
    *bytes = (uint32_t)size;
    return 0;
}

static int range_ioctl(int fd, unsigned long request, uint64_t offset, uint64_t length) {
    uint64_t range[2] = {offset, length};
    return ioctl(fd, request, range);
}

int varve_block_device_zero_out(int fd, uint64_t offset, uint64_t length) {
    return range_ioctl(fd, BLKZEROOUT, offset, length);
}

int varve_block_device_flush_buffers(int fd) { return ioctl(fd, BLKFLSBUF, 0); }

int varve_punch_hole(int fd, uint64_t offset, uint64_t length) {
    return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)length);
}

ssize_t varve_read_cached(int fd, void *buffer, size_t length, uint64_t offset) {
    struct iovec vector = {buffer, length};
    return preadv2(fd, &vector, 1, (off_t)offset, RWF_NOWAIT);
}

int varve_lock_try(int fd, int exclusive) {
    struct flock lock;
    memset(&lock, 0, sizeof lock);
    lock.l_type = exclusive ? F_WRLCK : F_RDLCK;
    lock.l_whence = SEEK_SET;
    return fcntl(fd, F_OFD_SETLK, &lock);
}

int varve_lock_is_held(int fd) {
    struct flock lock;
    memset(&lock, 0, sizeof lock);
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    if (fcntl(fd, F_OFD_GETLK, &lock) < 0) return -1;
    return lock.l_type != F_UNLCK;
}

int varve_write_lock_is_held(int fd) {
    struct flock lock;
    memset(&lock, 0, sizeof lock);
    // What would stand in the way of a reader's lock: other readers' locks do not.
    lock.l_type = F_RDLCK;
    lock.l_whence = SEEK_SET;
    if (fcntl(fd, F_OFD_GETLK, &lock) < 0) return -1;
    return lock.l_type != F_UNLCK;
}

int varve_open_direct(const char *path) { return varve_open(path, O_RDONLY | O_DIRECT, 0); }

int varve_direct_flag(void) { return O_DIRECT; }

int varve_allocate(int fd, uint64_t bytes) { return fallocate(fd, 0, 0, (off_t)bytes); }

int varve_io_priority(void) { return (int)syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0); }

int varve_set_io_priority(int priority) {
    return (int)syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, priority);
}

int varve_set_idle_io(void) {
    // This process, by its number; the class in the bits from 13 on.
    return (int)syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_PRIO_VALUE(IOPRIO_CLASS_IDLE, 0));
}

static int attach(int flags, struct loop_config *config, int is_kept_from_others, int *number);

int varve_loop_attach(int file, int *number) {
    struct loop_config config = {.fd = (unsigned)file};
    config.info.lo_flags = LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO;
    return attach(O_RDWR, &config, 0, number);
}

int varve_loop_attach_part(int file, uint64_t offset, uint64_t byte_count, int *number) {
    struct loop_config config = {.fd = (unsigned)file};
    config.info.lo_flags = LO_FLAGS_AUTOCLEAR | LO_FLAGS_READ_ONLY;
    config.info.lo_offset = offset;
    config.info.lo_sizelimit = byte_count;
    return attach(O_RDONLY, &config, 1, number);
}

/* Another program may take the free device first: a few tries are enough. One that is kept from others
 * is locked before it has anything to show: udev does not look at what is locked. */
static int attach(int flags, struct loop_config *config, int is_kept_from_others, int *number) {
    int control = varve_open("/dev/loop-control", O_RDWR, 0);
    if (control < 0) return -1;
    int device = -1;
    for (int attempt = 0; attempt < 16 && device < 0; attempt++) {
        char name[32];
        *number = ioctl(control, LOOP_CTL_GET_FREE);
        if (*number < 0) break;
        snprintf(name, sizeof name, "/dev/loop%d", *number);
        device = varve_open(name, flags, 0);
        if (device < 0) break;
        if ((!is_kept_from_others || flock(device, LOCK_EX | LOCK_NB) == 0) &&
            ioctl(device, LOOP_CONFIGURE, config) == 0)
            break;
        int reason = errno;
        close(device);
        device = -1;
        errno = reason;
        if (reason != EBUSY && reason != EWOULDBLOCK) break;
        usleep(10000);
    }
    int reason = errno;
    close(control);
    errno = reason;
    return device;
}

int varve_loop_status(int device, struct varve_loop_status *status) {
    struct loop_info64 info;
    if (ioctl(device, LOOP_GET_STATUS64, &info) < 0) return -1;
    status->device = info.lo_device;
    status->inode = info.lo_inode;
    status->represented_device = info.lo_rdevice;
    status->offset = info.lo_offset;
    status->byte_limit = info.lo_sizelimit;
    return 0;
}

int varve_mount_read_only(
    const char *device, const char *directory, const char *type, const char *options) {
    return mount(device, directory, type, MS_RDONLY | MS_NODEV | MS_NOSUID, options);
}

int varve_unmount(const char *directory, int is_lazy) {
    return umount2(directory, UMOUNT_NOFOLLOW | (is_lazy ? MNT_DETACH : 0));
}


int varve_trim_file_system(int fd, uint64_t *bytes) {
    struct fstrim_range range = {0, UINT64_MAX, 0};
    if (ioctl(fd, FITRIM, &range) < 0) return -1;
    *bytes = range.len;
    return 0;
}

uint32_t varve_device_major(uint64_t device) { return major(device); }
uint32_t varve_device_minor(uint64_t device) { return minor(device); }
uint64_t varve_device_make(uint32_t major, uint32_t minor) { return makedev(major, minor); }

size_t varve_format_local_time(int64_t seconds, char *buffer, size_t size) {
    time_t time = (time_t)seconds;
    struct tm fields;
    if (!localtime_r(&time, &fields)) return 0;
    return strftime(buffer, size, "%Y-%m-%d %H:%M:%S", &fields);
}

int64_t varve_utc_offset(int64_t seconds) {
    time_t time = (time_t)seconds;
    struct tm fields;
    return localtime_r(&time, &fields) ? fields.tm_gmtoff : 0;
}

int64_t varve_seconds_of(int year, int month, int day, int hour, int minute, int second,
                         int is_utc) {
    struct tm fields;
    memset(&fields, 0, sizeof fields);
    fields.tm_year = year - 1900;
    fields.tm_mon = month - 1;
    fields.tm_mday = day;
    fields.tm_hour = hour;
    fields.tm_min = minute;
    fields.tm_sec = second;
    fields.tm_isdst = is_utc ? 0 : -1;
    return is_utc ? timegm(&fields) : mktime(&fields);
}

static volatile sig_atomic_t interrupted;
static _Atomic int64_t first_interrupt;

/* A signal later than a second after the first one ends the process at once. One that follows at once is the
   same request: who sends it to a process and to its group sends it twice. */
static void on_interrupt(int signal_number) {
    int cause = errno;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t time = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
    int64_t first = 0;
    if (!atomic_compare_exchange_strong(&first_interrupt, &first, time) &&
        time - first > 1000000000) {
        signal(signal_number, SIG_DFL);
        raise(signal_number);
    }
    interrupted = 1;
    errno = cause;
}

void varve_set_interrupt_handler(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_interrupt;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    /* A parent may have started us with these blocked. */
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGHUP);
    sigprocmask(SIG_UNBLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    /* A file that may not grow is an error of the call, which says which file. */
    signal(SIGXFSZ, SIG_IGN);
}

int varve_interrupt_requested(void) { return interrupted != 0; }
void varve_request_interrupt(void) { interrupted = 1; }

int varve_connect_socket(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    strcpy(address.sun_path, path);
    int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0) return -1;
    if (connect(descriptor, (struct sockaddr *)&address, sizeof address) == 0) return descriptor;
    int cause = errno;
    close(descriptor);
    errno = cause;
    return -1;
}

int varve_open_pipe(int ends[2]) { return pipe2(ends, O_CLOEXEC); }

int varve_spawn_close_from(void *actions, int first) {
    return posix_spawn_file_actions_addclosefrom_np(actions, first);
}

int varve_open_socket_pair(int ends[2]) {
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends);
}

ssize_t varve_send(int fd, const void *bytes, size_t byte_count) {
    return send(fd, bytes, byte_count, MSG_NOSIGNAL);
}

int varve_sync_file_system(int fd) { return syncfs(fd); }

int varve_set_attribute(int fd, const char *name, const void *value, size_t byte_count) {
    return fsetxattr(fd, name, value, byte_count, 0);
}
