// A read-only file system in user space, through libfuse 3: what it shows is told by functions of ours.
#ifndef VARVE_CFUSE_H
#define VARVE_CFUSE_H

#include <stddef.h>
#include <stdint.h>

struct varve_file_status {
    // As st_mode.
    uint32_t mode;
    uint64_t inode;
    uint64_t byte_count;
    uint64_t allocated_byte_count;
    // Seconds since 1970.
    int64_t time;
};

// All give 0 or more, or an error number with a minus. They are called from many threads at once.
struct varve_mount_functions {
    void *context;
    void (*is_ready)(void *context);
    int (*look_up)(void *context, const char *path, struct varve_file_status *found);
    // Calls `add` for each name in a directory, until it gives something other than 0.
    int (*list)(
        void *context, const char *path, void *names, int (*add)(void *names, const char *name));
    int (*read_link)(void *context, const char *path, char *target, size_t capacity);
    // Gives a number above 0 for the file.
    int64_t (*open)(void *context, const char *path);
    int (*read)(void *context, int64_t file, void *target, size_t count, uint64_t offset);
    // The next place with content, or without; -ENXIO behind the last.
    int64_t (*seek)(void *context, int64_t file, uint64_t offset, int is_for_data);
    void (*close)(void *context, int64_t file);
};

// Mounts at `directory`, and serves until somebody unmounts it, or, if it takes signals, SIGINT, SIGTERM
// or SIGHUP comes; gives 0, or -1 when it could not be mounted, of which libfuse has said why on standard error.
int varve_mount_run(
    const char *directory, const char *options, int takes_signals,
    const struct varve_mount_functions *functions);

#endif
