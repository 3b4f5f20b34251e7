// What the plugin is made of: nbdkit calls the C functions of plugin.c, which call those below, in Swift.
#ifndef VARVE_CNBDKIT_H
#define VARVE_CNBDKIT_H

#include <stdint.h>

// Takes a parameter `key=value`; -1 when it is wrong.
int varve_nbd_config(const char *key, const char *value);
// Whether everything is there that is needed; -1 when not.
int varve_nbd_config_complete(void);
// Opens the snapshot; -1 when that fails.
int varve_nbd_start(void);
// Lets go of it.
void varve_nbd_stop(void);
// Bytes of the snapshot, and of one of its blocks.
int64_t varve_nbd_byte_count(void);
uint32_t varve_nbd_block_byte_count(void);
// Fills `target`; -1 when that fails.
int varve_nbd_read(void *target, uint32_t count, uint64_t offset);
// Tells extents by varve_nbd_add_extent; -1 when that fails.
int varve_nbd_extents(uint32_t count, uint64_t offset, void *extents);

// What the export is, in words; to be set before anybody connects.
void varve_nbd_set_description(const char *text);
// Says an error to whoever looks after the server.
void varve_nbd_error(const char *text);
// Says that the input or output failed, to the client.
void varve_nbd_set_input_output_error(void);
int varve_nbd_add_extent(void *extents, uint64_t offset, uint64_t count, int is_zero);

#endif
