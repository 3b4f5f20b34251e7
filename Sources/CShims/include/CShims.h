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
/* Waits for one completion: its tag, and the bytes transferred or a negative errno. */
int varve_ring_wait(struct varve_ring *ring, uint64_t *tag, int32_t *result);

/* --- files and devices -------------------------------------------------------------------- */

/* Each returns -1 and sets errno on failure. */
int varve_open(const char *path, int flags, unsigned mode);
int varve_open_unnamed(const char *directory, unsigned mode);
int varve_link_unnamed(int fd, const char *path);
int varve_rename_exclusive(const char *from, const char *to);
/* Values of lseek that the header shows only to GNU sources. */
static const int VARVE_SEEK_DATA = 3;
static const int VARVE_SEEK_HOLE = 4;
int varve_set_direct(int fd, int enabled);
int varve_block_device_size(int fd, uint64_t *bytes);
int varve_block_device_sector_size(int fd, uint32_t *bytes);
int varve_block_device_zero_out(int fd, uint64_t offset, uint64_t length);
int varve_block_device_discard(int fd, uint64_t offset, uint64_t length);
int varve_block_device_flush_buffers(int fd);
int varve_punch_hole(int fd, uint64_t offset, uint64_t length);
ssize_t varve_read_cached(int fd, void *buffer, size_t length, uint64_t offset);
/* An open-file-description lock on the whole file; `exclusive` 0 or 1. */
int varve_lock_try(int fd, int exclusive);
/* 1 when another open file description holds a lock that conflicts with an exclusive one. */
int varve_lock_is_held(int fd);
int varve_open_direct(const char *path);
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
/* Mounts without set-user-id programs and without devices. */
int varve_mount_read_only(
    const char *device, const char *directory, const char *type, const char *options);
/* Unmounts; when it is lazy, at once for paths, and else when nothing is open there any more. */
int varve_unmount(const char *directory, int is_lazy);
/* Lets a loop device see the size that its file has now. */
int varve_loop_update_size(int device);
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
int varve_open_pipe(int ends[2]);
// Two sockets that are connected with each other.
int varve_open_socket_pair(int ends[2]);
// Gives EPIPE, and no signal, when nobody is at the other end.
ssize_t varve_send(int fd, const void *bytes, size_t byte_count);

#endif
