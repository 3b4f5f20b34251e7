/* Calls that Swift cannot import: variadic functions, ioctl macros, and io_uring, whose header
 * redefines feature macros that Swift's C library module depends on. */
#ifndef VARVE_CSHIMS_H
#define VARVE_CSHIMS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* --- io_uring, kept opaque ---------------------------------------------------------------- */

struct varve_ring;

/* Each returns 0 or a negative errno. */
int varve_ring_create(unsigned entries, struct varve_ring **ring);
void varve_ring_destroy(struct varve_ring *ring);
int varve_ring_register(struct varve_ring *ring, void *base, size_t buffer_bytes, unsigned count);
/* buffer_index is that of a registered buffer, or -1. Queues and submits one transfer. */
int varve_ring_read(struct varve_ring *ring, int fd, void *buffer, unsigned length,
                    uint64_t offset, int buffer_index, uint64_t tag);
int varve_ring_write(struct varve_ring *ring, int fd, const void *buffer, unsigned length,
                     uint64_t offset, int buffer_index, uint64_t tag);
/* For tests: the next calls of each kind, and results of transfers, fail with a negative errno. */
void varve_ring_inject(struct varve_ring *ring, int submits, int waits, int transfers, int error);
/* Waits for one completion: its tag, and the bytes transferred or a negative errno. */
int varve_ring_wait(struct varve_ring *ring, uint64_t *tag, int32_t *result);

/* --- files and devices -------------------------------------------------------------------- */

/* Each returns -1 and sets errno on failure. */
int varve_open(const char *path, int flags, unsigned mode);
/* Holds what is there without opening it (O_PATH); follows symbolic links. */
int varve_open_path(const char *path);
int varve_open_at(int directory, const char *name, int flags, unsigned mode);
/* Opens what is below a directory, and goes through no symbolic link: ELOOP for one. With walks set, or where
 * openat2 cannot be used, component by component. */
int varve_open_beneath(int root, const char *path, int flags, int walks);
int varve_open_unnamed_at(int directory, unsigned mode);
/* Whether a file without a name can be given one. */
int varve_can_link_unnamed(void);
int varve_link_unnamed_at(int fd, int directory, const char *name);
int varve_rename_exclusive_at(int directory, const char *from, const char *to);
/* Renames from one open directory to another, never over what is there. Where the file system cannot do that
   at once, it is looked first. */
int varve_rename_exclusive_between(int from_directory, const char *from, int to_directory, const char *to);
/* Sets the mode of what a directory has under a name, and never of what a link there leads to; ENOTSUP where
   the system has no way to do that. */
int varve_set_mode_at(int directory, const char *name, unsigned mode);
/* Values of lseek that the header shows only to GNU sources. */
static const int VARVE_SEEK_DATA = 3;
static const int VARVE_SEEK_HOLE = 4;
int varve_set_direct(int fd, int enabled);
int varve_block_device_size(int fd, uint64_t *bytes);
int varve_block_device_sector_size(int fd, uint32_t *bytes);
int varve_block_device_zero_out(int fd, uint64_t offset, uint64_t length);
int varve_block_device_flush_buffers(int fd);
int varve_punch_hole(int fd, uint64_t offset, uint64_t length);
ssize_t varve_read_cached(int fd, void *buffer, size_t length, uint64_t offset);
/* An open-file-description lock on the whole file; `exclusive` 0 or 1. */
int varve_lock_try(int fd, int exclusive);
/* 1 when another open file description holds a lock that conflicts with an exclusive one. */
int varve_lock_is_held(int fd);
/* 1 when another open file description holds an exclusive lock, which takes a descriptor that may
 * write; 0 when none does; -1 when the file system cannot tell. */
int varve_write_lock_is_held(int fd);
int varve_open_direct(const char *path);
/* The flag of open that reads and writes past the page cache. */
int varve_direct_flag(void);
int varve_allocate(int fd, uint64_t bytes);
// Lets all other processes go first at disks; 0, or -1 with errno.
int varve_io_priority(void);
int varve_set_io_priority(int priority);
int varve_set_idle_io(void);
/* Attaches an open file to a free loop device, which lets go of it when nothing has it open any
 * more; gives an open descriptor of the device, and its number. */
int varve_loop_attach(int file, int *number);
/* The same of a part of a file, read-only; as long as the descriptor is open the device is locked, so
 * that udev does not look at it. */
int varve_loop_attach_part(int file, uint64_t offset, uint64_t byte_count, int *number);
/* What a loop device lies over: a file by its file system's device and its inode, or a device. */
struct varve_loop_status {
    uint64_t device, inode, represented_device, offset, byte_limit;
};
int varve_loop_status(int device, struct varve_loop_status *status);
/* Mounts without set-user-id programs and without devices. */
int varve_mount_read_only(
    const char *device, const char *directory, const char *type, const char *options);
/* Unmounts; when it is lazy, at once for paths, and else when nothing is open there any more. */
int varve_unmount(const char *directory, int is_lazy);
/* Lets a loop device see the size that its file has now. */
/* Discards what a mounted file system does not use; gives the bytes. */
int varve_trim_file_system(int fd, uint64_t *bytes);
uint32_t varve_device_major(uint64_t device);
uint32_t varve_device_minor(uint64_t device);
uint64_t varve_device_make(uint32_t major, uint32_t minor);

/* --- calendar ----------------------------------------------------------------------------- */

/* `YYYY-MM-DD HH:MM:SS` in local time; returns its length, or 0. */
size_t varve_format_local_time(int64_t seconds, char *buffer, size_t size);
/* Seconds that local time is ahead of UTC at a moment. */
int64_t varve_utc_offset(int64_t seconds);
/* Seconds since 1970 of a date and time, local or in UTC. */
int64_t varve_seconds_of(int year, int month, int day, int hour, int minute, int second,
                         int is_utc);

/* --- signals ------------------------------------------------------------------------------ */

void varve_set_interrupt_handler(void);
int varve_interrupt_requested(void);
void varve_request_interrupt(void);

/* From now on a crash of the process (SIGBUS, SIGSEGV, SIGABRT) leaves an empty file at path; returns what
   ends that, or -1 when it cannot be done. */
int varve_mark_crashes(const char *path);
void varve_unmark_crashes(int mark);

// What the C library shows to GNU sources only.
int varve_sync_file_system(int fd);
int varve_set_attribute(int fd, const char *name, const void *value, size_t byte_count);

// Gives a descriptor that is connected to a socket of the file system, or -1.
int varve_connect_socket(const char *path);
// The path by which the kernel ran this program; NULL when it does not say.
const char *varve_executed_path(void);
int varve_open_pipe(int ends[2]);
// Adds to what is done before a program starts (posix_spawn_file_actions_t) that descriptors from `first`
// on are closed; gives 0 or an error number.
int varve_spawn_close_from(void *actions, int first);
// Two sockets that are connected with each other.
int varve_open_socket_pair(int ends[2]);
// Gives EPIPE, and no signal, when nobody is at the other end.
ssize_t varve_send(int fd, const void *bytes, size_t byte_count);

/* Whether a file has an access list, which lets others in than its owner and group. */
int varve_has_access_list(const char *path);

#endif
