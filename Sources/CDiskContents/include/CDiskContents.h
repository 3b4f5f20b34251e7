// What lies on a disk image that is read by a function of ours: file systems of the ext family through
// libext2fs, partition tables and types through libblkid. Nothing here writes.
#ifndef VARVE_CDISKCONTENTS_H
#define VARVE_CDISKCONTENTS_H

#include <stddef.h>
#include <stdint.h>

#include "FileReaderMessages.h"

// Fills `target` with the bytes at `offset`; not 0 when that fails.
typedef int (*varve_read_function)(void *context, void *target, size_t count, uint64_t offset);

/* --- ext2, ext3, ext4 -------------------------------------------------------------------------- */

typedef struct varve_ext varve_ext;

struct varve_ext_inode {
    uint16_t mode;
    uint16_t link_count;
    uint32_t user;
    uint32_t group;
    uint64_t byte_count;
    uint32_t device_major;
    uint32_t device_minor;
    uint32_t flags;
    // Whether it is a link whose target lies in the inode.
    int is_short_link;
    // Seconds since 1970, and nanoseconds.
    int64_t accessed;
    int64_t modified;
    int64_t changed;
    uint32_t accessed_fraction;
    uint32_t modified_fraction;
    uint32_t changed_fraction;
};

enum {
    // Flags of inodes.
    VARVE_EXT_ENCRYPTED = 0x800,
    VARVE_EXT_INLINE = 0x10000000,
};

// All of these give 0, or a code for varve_ext_message.
long varve_ext_open(
    void *context, varve_read_function read, uint64_t byte_count, varve_ext **found);
void varve_ext_close(varve_ext *system);
uint32_t varve_ext_block_byte_count(varve_ext *system);
// Whether its journal has what was not written to its places yet.
int varve_ext_needs_recovery(varve_ext *system);
long varve_ext_read_inode(varve_ext *system, uint32_t inode, struct varve_ext_inode *found);
// Makes inodes be read again.
void varve_ext_forget_inodes(varve_ext *system);

struct varve_ext_layout {
    uint8_t id[16];
    uint32_t group_count;
    uint32_t inodes_per_group;
    uint32_t inode_byte_count;
    uint32_t first_block;
    uint32_t blocks_per_group;
    uint32_t blocks_per_cluster;
    // The block by which two machines keep off each other, and the inode that lists orphans; 0 for none.
    uint64_t guard_block;
    uint32_t orphan_inode;
};

// Numbers of blocks.
struct varve_ext_group {
    uint64_t inode_table;
    uint64_t inode_bitmap;
    uint64_t block_bitmap;
    uint32_t used_inode_count;
    int has_no_block_bitmap;
    // The group, and how many blocks of superblock and descriptors it begins with.
    uint64_t first_block;
    uint32_t descriptor_count;
};

void varve_ext_read_layout(varve_ext *system, struct varve_ext_layout *found);
void varve_ext_read_group(varve_ext *system, uint32_t group, struct varve_ext_group *found);
// The inode of a name in a directory.
long varve_ext_look_up(
    varve_ext *system, uint32_t directory, const char *name, size_t byte_count, uint32_t *found);
// Calls `take` for each entry, until it gives something other than 0.
long varve_ext_list(
    varve_ext *system, uint32_t directory, void *context,
    int (*take)(
        void *context, uint32_t inode, int may_be_directory, const char *name,
        size_t byte_count));
// Calls `take` for blocks in a row that have content, in no order, until it gives something other than
// 0; with `is_whole` also for blocks that say where content lies, and of attributes, whose `logical` is
// UINT64_MAX.
long varve_ext_runs(
    varve_ext *system, uint32_t inode, void *context, int is_whole,
    int (*take)(void *context, uint64_t logical, uint64_t physical, uint64_t count));
// The content of a file or link that lies in its inode; at most `capacity` bytes are written, and
// `byte_count` says how many there are.
long varve_ext_inline_content(
    varve_ext *system, uint32_t inode, void *target, size_t capacity, size_t *byte_count);
long varve_ext_attributes(
    varve_ext *system, uint32_t inode, void *context,
    int (*take)(void *context, const char *name, const void *value, size_t byte_count));
const char *varve_ext_message(long code);
// The code of a look-up that found nothing.
long varve_ext_not_found(void);

/* --- partitions -------------------------------------------------------------------------------- */

struct varve_partition {
    int number;
    uint64_t byte_offset;
    uint64_t byte_count;
    int is_extended;
    char type[64];
    char name[128];
};

// Calls `take` for each partition of the image in the file; gives how many, or -1 when there is no
// table.
int varve_list_partitions(
    int descriptor, uint64_t byte_count, unsigned sector_byte_count, void *context,
    void (*take)(void *context, const struct varve_partition *partition));
// Writes what lies at a place of the image to `type`, such as "ext4"; nothing where that is not known.
void varve_probe_type(
    int descriptor, uint64_t byte_offset, uint64_t byte_count, char *type, size_t capacity);
int varve_make_memory_file(uint64_t byte_count);

#endif
