#define _GNU_SOURCE
#define FUSE_USE_VERSION 312
#include "CFuse.h"

#include <errno.h>
#include <fuse3/fuse.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static const struct varve_mount_functions *functions(void) {
    return fuse_get_context()->private_data;
}

static void *start(struct fuse_conn_info *connection, struct fuse_config *config) {
    (void)connection;
    // What a file holds never changes.
    config->kernel_cache = 1;
    config->use_ino = 1;
    config->entry_timeout = 1;
    config->attr_timeout = 1;
    config->negative_timeout = 0;
    const struct varve_mount_functions *given = functions();
    given->is_ready(given->context);
    return (void *)given;
}

static int get_status(const char *path, struct stat *status, struct fuse_file_info *info) {
    (void)info;
    struct varve_file_status found;
    int code = functions()->look_up(functions()->context, path, &found);
    if (code < 0) return code;
    memset(status, 0, sizeof *status);
    status->st_mode = found.mode;
    status->st_ino = found.inode;
    status->st_nlink = S_ISDIR(found.mode) ? 2 : 1;
    status->st_uid = getuid();
    status->st_gid = getgid();
    status->st_size = (off_t)found.byte_count;
    status->st_blocks = (blkcnt_t)(found.allocated_byte_count / 512);
    status->st_blksize = 65536;
    status->st_mtim.tv_sec = status->st_ctim.tv_sec = status->st_atim.tv_sec = found.time;
    return 0;
}

struct names {
    void *buffer;
    fuse_fill_dir_t fill;
};

static int add_name(void *context, const char *name) {
    struct names *names = context;
    return names->fill(names->buffer, name, NULL, 0, 0);
}

static int list(
    const char *path, void *buffer, fuse_fill_dir_t fill, off_t offset,
    struct fuse_file_info *info, enum fuse_readdir_flags flags) {
    (void)offset, (void)info, (void)flags;
    struct names names = {buffer, fill};
    fill(buffer, ".", NULL, 0, 0);
    fill(buffer, "..", NULL, 0, 0);
    return functions()->list(functions()->context, path, &names, add_name);
}

static int read_link(const char *path, char *target, size_t capacity) {
    return functions()->read_link(functions()->context, path, target, capacity);
}

static int open_file(const char *path, struct fuse_file_info *info) {
    if ((info->flags & O_ACCMODE) != O_RDONLY) return -EROFS;
    int64_t file = functions()->open(functions()->context, path);
    if (file < 0) return (int)file;
    info->fh = (uint64_t)file;
    info->keep_cache = 1;
    return 0;
}

static int read_file(
    const char *path, char *target, size_t count, off_t offset, struct fuse_file_info *info) {
    (void)path;
    return functions()->read(
        functions()->context, (int64_t)info->fh, target, count, (uint64_t)offset);
}

static off_t seek(const char *path, off_t offset, int whence, struct fuse_file_info *info) {
    (void)path;
    if (whence != SEEK_DATA && whence != SEEK_HOLE) return -EINVAL;
    return functions()->seek(
        functions()->context, (int64_t)info->fh, (uint64_t)offset, whence == SEEK_DATA);
}

static int release(const char *path, struct fuse_file_info *info) {
    (void)path;
    functions()->close(functions()->context, (int64_t)info->fh);
    return 0;
}

static const struct fuse_operations operations = {
    .init = start,
    .getattr = get_status,
    .readdir = list,
    .readlink = read_link,
    .open = open_file,
    .read = read_file,
    .lseek = seek,
    .release = release,
};

// What is open in this process is not for the program by which libfuse mounts, where it needs one.
static void keep_descriptors(void) {
    enum { FIRST = 3, CLOSE_ON_EXEC = 1 << 2 };
    syscall(SYS_close_range, FIRST, ~0U, CLOSE_ON_EXEC);
}

int varve_mount_run(
    const char *directory, const char *options, int takes_signals,
    const struct varve_mount_functions *given) {
    // libfuse takes only those signals that nobody else takes.
    if (takes_signals) {
        signal(SIGINT, SIG_DFL);
        signal(SIGTERM, SIG_DFL);
        signal(SIGHUP, SIG_DFL);
    }
    char *words[] = {"varve", "-o", (char *)options, NULL};
    struct fuse_args arguments = FUSE_ARGS_INIT(3, words);
    struct fuse *fuse = fuse_new(&arguments, &operations, sizeof operations, (void *)given);
    if (fuse == NULL) return -1;
    int result = -1;
    keep_descriptors();
    if (fuse_mount(fuse, directory) == 0) {
        struct fuse_session *session = fuse_get_session(fuse);
        if (!takes_signals || fuse_set_signal_handlers(session) == 0) {
            struct fuse_loop_config *config = fuse_loop_cfg_create();
            fuse_loop_cfg_set_max_threads(config, 10);
            fuse_loop_mt(fuse, config);
            fuse_loop_cfg_destroy(config);
            if (takes_signals) fuse_remove_signal_handlers(session);
            result = 0;
        }
        keep_descriptors();
        fuse_unmount(fuse);
    }
    fuse_destroy(fuse);
    fuse_opt_free_args(&arguments);
    return result;
}
