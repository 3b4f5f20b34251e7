// The entry points of an nbdkit plugin. Everything they do is done in Swift.
#define NBDKIT_API_VERSION 2
#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL
#include <errno.h>
#include <nbdkit-plugin.h>
#include <stdio.h>

#include "CNBDKit.h"

static char description[256];

void varve_nbd_set_description(const char *text) {
    snprintf(description, sizeof description, "%s", text);
}

static int after_fork(void) { return varve_nbd_start(); }

// One reader serves all connections.
static void *open_connection(int readonly) {
    (void)readonly;
    return NBDKIT_HANDLE_NOT_NEEDED;
}

static int64_t get_size(void *handle) {
    (void)handle;
    return varve_nbd_byte_count();
}

static const char *export_description(void *handle) {
    (void)handle;
    return description;
}

static int block_size(void *handle, uint32_t *minimum, uint32_t *preferred, uint32_t *maximum) {
    (void)handle;
    uint32_t block = varve_nbd_block_byte_count();
    *minimum = 1;
    // A power of two of 512 bytes to 32 MiB, as the protocol has it.
    *preferred = block < 512 ? 512 : block;
    *maximum = 32u << 20;
    return 0;
}

static int yes(void *handle) {
    (void)handle;
    return 1;
}

static int read_bytes(void *handle, void *target, uint32_t count, uint64_t offset, uint32_t flags) {
    (void)handle;
    (void)flags;
    return varve_nbd_read(target, count, offset);
}

static int tell_extents(
    void *handle, uint32_t count, uint64_t offset, uint32_t flags, struct nbdkit_extents *extents) {
    (void)handle;
    (void)flags;
    return varve_nbd_extents(count, offset, extents);
}

void varve_nbd_error(const char *text) { nbdkit_error("%s", text); }

void varve_nbd_set_input_output_error(void) { nbdkit_set_error(EIO); }

int varve_nbd_add_extent(void *extents, uint64_t offset, uint64_t count, int is_zero) {
    return nbdkit_add_extent(
        extents, offset, count, is_zero ? NBDKIT_EXTENT_HOLE | NBDKIT_EXTENT_ZERO : 0);
}

static struct nbdkit_plugin plugin = {
    .name = "varve",
    .longname = "Varve snapshots",
    .description = "Serves one snapshot of a Varve repository, read-only.",
    .magic_config_key = "snapshot",
    .config = varve_nbd_config,
    .config_complete = varve_nbd_config_complete,
    .config_help =
        "repository=PATH     The repository (required).\n"
        "[snapshot=]NAME     The snapshot, see 'varve help restore' (required).\n"
        "cache=BYTES         Bytes of blocks and frames kept in memory.\n"
        "verify=BOOL         Whether each block is verified by its digest (default: true).",
    .after_fork = after_fork,
    .cleanup = varve_nbd_stop,
    .open = open_connection,
    .get_size = get_size,
    .export_description = export_description,
    .block_size = block_size,
    .can_multi_conn = yes,
    .can_extents = yes,
    .pread = read_bytes,
    .extents = tell_extents,
};

NBDKIT_REGISTER_PLUGIN(plugin)
