#include "CDiskContents.h"

#include <et/com_err.h>
#include <ext2fs/ext2fs.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct varve_ext {
    ext2_filsys system;
    void *context;
    varve_read_function read;
    uint64_t byte_count;
};

/* --- an io_manager that reads by a function of ours -------------------------------------------- */

static errcode_t channel_open(const char *name, int flags, io_channel *channel);

static errcode_t channel_close(io_channel channel) {
    if (--channel->refcount > 0) return 0;
    free(channel->name);
    free(channel);
    return 0;
}

static errcode_t channel_set_block_size(io_channel channel, int byte_count) {
    channel->block_size = byte_count;
    return 0;
}

static errcode_t channel_read64(
    io_channel channel, unsigned long long block, int count, void *target) {
    struct varve_ext *owner = channel->private_data;
    // A negative count is one of bytes.
    size_t wanted = count < 0 ? (size_t)-(int64_t)count : (size_t)count * channel->block_size;
    uint64_t offset;
    if (__builtin_mul_overflow(block, (uint64_t)channel->block_size, &offset) ||
        offset > owner->byte_count || wanted > owner->byte_count - offset)
        return EXT2_ET_SHORT_READ;
    return owner->read(owner->context, target, wanted, offset) == 0 ? 0 : EXT2_ET_SHORT_READ;
}

static errcode_t channel_read(io_channel channel, unsigned long block, int count, void *target) {
    return channel_read64(channel, block, count, target);
}

static errcode_t refuse_write64(
    io_channel channel, unsigned long long block, int count, const void *source) {
    (void)channel, (void)block, (void)count, (void)source;
    return EXT2_ET_RO_FILSYS;
}

static errcode_t refuse_write(
    io_channel channel, unsigned long block, int count, const void *source) {
    return refuse_write64(channel, block, count, source);
}

static errcode_t nothing_to_flush(io_channel channel) {
    (void)channel;
    return 0;
}

static struct struct_io_manager manager = {
    .magic = EXT2_ET_MAGIC_IO_MANAGER,
    .name = "varve",
    .open = channel_open,
    .close = channel_close,
    .set_blksize = channel_set_block_size,
    .read_blk = channel_read,
    .write_blk = refuse_write,
    .flush = nothing_to_flush,
    .read_blk64 = channel_read64,
    .write_blk64 = refuse_write64,
};

// The name is the address of the owner: that is all the library passes on.
static errcode_t channel_open(const char *name, int flags, io_channel *found) {
    (void)flags;
    uintptr_t address = 0;
    if (sscanf(name, "varve:%" SCNxPTR, &address) != 1) return EXT2_ET_BAD_DEVICE_NAME;
    io_channel channel = calloc(1, sizeof *channel);
    if (channel == NULL) return EXT2_ET_NO_MEMORY;
    channel->magic = EXT2_ET_MAGIC_IO_CHANNEL;
    channel->manager = &manager;
    channel->name = strdup(name);
    channel->block_size = 1024;
    channel->refcount = 1;
    channel->private_data = (void *)address;
    *found = channel;
    return 0;
}

/* --- the file system --------------------------------------------------------------------------- */

long varve_ext_open(
    void *context, varve_read_function read, uint64_t byte_count, varve_ext **found) {
    static int is_ready = 0;
    if (!is_ready) {
        initialize_ext2_error_table();
        is_ready = 1;
    }
    struct varve_ext *owner = calloc(1, sizeof *owner);
    if (owner == NULL) return EXT2_ET_NO_MEMORY;
    owner->context = context;
    owner->read = read;
    owner->byte_count = byte_count;
    char name[40];
    snprintf(name, sizeof name, "varve:%" PRIxPTR, (uintptr_t)owner);
    errcode_t code = ext2fs_open2(
        name, NULL, EXT2_FLAG_64BITS | EXT2_FLAG_SOFTSUPP_FEATURES, 0, 0,
        &manager, &owner->system);
    if (code != 0) {
        free(owner);
        return code;
    }
    *found = owner;
    return 0;
}

void varve_ext_close(varve_ext *owner) {
    ext2fs_free(owner->system);
    free(owner);
}

uint32_t varve_ext_block_byte_count(varve_ext *owner) { return owner->system->blocksize; }

int varve_ext_needs_recovery(varve_ext *owner) {
    return ext2fs_has_feature_journal_needs_recovery(owner->system->super);
}

static long take_inode(
    varve_ext *owner, uint32_t number, struct ext2_inode_large *inode) {
    memset(inode, 0, sizeof *inode);
    if (number == 0 || number > owner->system->super->s_inodes_count)
        return EXT2_ET_BAD_INODE_NUM;
    return ext2fs_read_inode_full(
        owner->system, number, (struct ext2_inode *)inode, sizeof *inode);
}

// Seconds have 32 bits with a sign, and two more bits beside the nanoseconds.
static void take_time(uint32_t seconds, uint32_t extra, int64_t *found, uint32_t *fraction) {
    *found = (int64_t)(int32_t)seconds + ((int64_t)(extra & 3) << 32);
    *fraction = extra >> 2;
    if (*fraction > 999999999) *fraction = 0;
}

long varve_ext_read_inode(varve_ext *owner, uint32_t number, struct varve_ext_inode *found) {
    struct ext2_inode_large inode;
    long code = take_inode(owner, number, &inode);
    if (code != 0) return code;
    // What lies behind the old size of an inode counts as far as it says so itself.
    uint32_t end = EXT2_INODE_SIZE(owner->system->super) > 128 ? 128u + inode.i_extra_isize : 128;
    memset(found, 0, sizeof *found);
    found->mode = inode.i_mode;
    found->link_count = inode.i_links_count;
    found->user = inode_uid(inode);
    found->group = inode_gid(inode);
    found->flags = inode.i_flags;
    found->is_short_link =
        LINUX_S_ISLNK(inode.i_mode) && ext2fs_is_fast_symlink((struct ext2_inode *)&inode);
    found->byte_count = EXT2_I_SIZE((struct ext2_inode *)&inode);
    uint32_t atime = 0, mtime = 0, ctime = 0;
    if (end >= offsetof(struct ext2_inode_large, i_ctime_extra) + 4) ctime = inode.i_ctime_extra;
    if (end >= offsetof(struct ext2_inode_large, i_mtime_extra) + 4) mtime = inode.i_mtime_extra;
    if (end >= offsetof(struct ext2_inode_large, i_atime_extra) + 4) atime = inode.i_atime_extra;
    take_time(inode.i_atime, atime, &found->accessed, &found->accessed_fraction);
    take_time(inode.i_mtime, mtime, &found->modified, &found->modified_fraction);
    take_time(inode.i_ctime, ctime, &found->changed, &found->changed_fraction);
    uint32_t old = inode.i_block[0], new = inode.i_block[1];
    found->device_major = old ? old >> 8 & 0xff : new >> 8 & 0xfff;
    found->device_minor = old ? old & 0xff : (new & 0xff) | (new >> 12 & 0xfff00);
    return 0;
}

void varve_ext_forget_inodes(varve_ext *owner) { ext2fs_flush_icache(owner->system); }

/* --- where things lie -------------------------------------------------------------------------- */

void varve_ext_read_layout(varve_ext *owner, struct varve_ext_layout *found) {
    ext2_filsys system = owner->system;
    memset(found, 0, sizeof *found);
    memcpy(found->id, system->super->s_uuid, sizeof found->id);
    found->group_count = system->group_desc_count;
    found->inodes_per_group = EXT2_INODES_PER_GROUP(system->super);
    found->inode_byte_count = EXT2_INODE_SIZE(system->super);
    found->first_block = system->super->s_first_data_block;
    found->blocks_per_group = EXT2_BLOCKS_PER_GROUP(system->super);
    found->blocks_per_cluster = 1u << (system->cluster_ratio_bits);
    found->guard_block = system->super->s_mmp_block;
    found->orphan_inode = system->super->s_orphan_file_inum;
}

void varve_ext_read_group(varve_ext *owner, uint32_t group, struct varve_ext_group *found) {
    ext2_filsys system = owner->system;
    memset(found, 0, sizeof *found);
    found->inode_table = ext2fs_inode_table_loc(system, group);
    found->inode_bitmap = ext2fs_inode_bitmap_loc(system, group);
    found->block_bitmap = ext2fs_block_bitmap_loc(system, group);
    uint32_t count = EXT2_INODES_PER_GROUP(system->super);
    found->used_inode_count = count;
    if (ext2fs_has_group_desc_csum(system)) {
        uint32_t unused = ext2fs_bg_itable_unused(system, group);
        if (ext2fs_bg_flags_test(system, group, EXT2_BG_INODE_UNINIT)) unused = count;
        found->used_inode_count = unused < count ? count - unused : 0;
        found->has_no_block_bitmap = ext2fs_bg_flags_test(system, group, EXT2_BG_BLOCK_UNINIT);
    }
    // Superblock and descriptors, or copies of them, with what is kept free for more.
    blk64_t super = 0, old = 0, new = 0;
    blk_t count_used = 0;
    found->first_block = ext2fs_group_first_block2(system, group);
    if (ext2fs_super_and_bgd_loc2(system, group, &super, &old, &new, &count_used) == 0)
        found->descriptor_count = count_used;
}

long varve_ext_look_up(
    varve_ext *owner, uint32_t directory, const char *name, size_t byte_count, uint32_t *found) {
    ext2_ino_t inode = 0;
    long code = ext2fs_lookup(
        owner->system, directory, name, (int)byte_count, NULL, &inode);
    *found = inode;
    return code;
}

struct listing {
    void *context;
    int (*take)(
        void *context, uint32_t inode, int may_be_directory, const char *name, size_t byte_count);
    uint32_t entry_count;
    int is_too_long;
};

// Directories and trees of extents that never end are not gone through for ever.
enum { entry_limit = 1 << 24, step_limit = 1 << 24 };

static int take_entry(
    ext2_ino_t directory, int entry, struct ext2_dir_entry *found, int offset, int block_size,
    char *block, void *listing) {
    (void)directory, (void)entry, (void)offset, (void)block_size, (void)block;
    struct listing *list = listing;
    if (++list->entry_count > entry_limit) {
        list->is_too_long = 1;
        return DIRENT_ABORT;
    }
    size_t count = ext2fs_dirent_name_len(found);
    if (found->inode == 0 || count == 0) return 0;
    int type = ext2fs_dirent_file_type(found);
    int may_be_directory = type == EXT2_FT_DIR || type == EXT2_FT_UNKNOWN;
    return list->take(list->context, found->inode, may_be_directory, found->name, count) == 0
        ? 0 : DIRENT_ABORT;
}

long varve_ext_list(
    varve_ext *owner, uint32_t directory, void *context,
    int (*take)(
        void *context, uint32_t inode, int may_be_directory, const char *name,
        size_t byte_count)) {
    struct listing listing = {.context = context, .take = take};
    long code = ext2fs_dir_iterate2(
        owner->system, directory, DIRENT_FLAG_INCLUDE_EMPTY, NULL, take_entry, &listing);
    return code == 0 && listing.is_too_long ? EXT2_ET_DIR_CORRUPTED : code;
}

/* --- content ----------------------------------------------------------------------------------- */

struct runs {
    void *context;
    int (*take)(void *context, uint64_t logical, uint64_t physical, uint64_t count);
    uint64_t end;
    // What is gathered: blocks in a row.
    uint64_t logical, physical, count;
    int is_over;
    // Whether blocks that say where content lies are given too.
    int is_whole;
};

static void give_own(struct runs *runs, uint64_t block) {
    if (block != 0 && !runs->is_over)
        runs->is_over = runs->take(runs->context, UINT64_MAX, block, 1) != 0;
}

static void give(struct runs *runs) {
    if (runs->count != 0 && !runs->is_over)
        runs->is_over =
            runs->take(runs->context, runs->logical, runs->physical, runs->count) != 0;
    runs->count = 0;
}

static int take_block(
    ext2_filsys system, blk64_t *block, e2_blkcnt_t logical, blk64_t parent, int offset,
    void *context) {
    (void)system, (void)parent, (void)offset;
    struct runs *runs = context;
    if (logical < 0) {
        if (runs->is_whole) give_own(runs, *block);
        return runs->is_over ? BLOCK_ABORT : 0;
    }
    if (*block == 0) return 0;
    if ((uint64_t)logical >= runs->end) return BLOCK_ABORT;
    if (runs->count != 0 && (uint64_t)logical == runs->logical + runs->count &&
        *block == runs->physical + runs->count && runs->count < 1u << 16) {
        runs->count += 1;
        return 0;
    }
    give(runs);
    runs->logical = logical;
    runs->physical = *block;
    runs->count = 1;
    return runs->is_over ? BLOCK_ABORT : 0;
}

static long take_extents(
    varve_ext *owner, uint32_t number, struct ext2_inode_large *inode, struct runs *runs) {
    ext2_extent_handle_t handle;
    struct ext2fs_extent extent;
    long code =
        ext2fs_extent_open2(owner->system, number, (struct ext2_inode *)inode, &handle);
    if (code != 0) return code;
    uint64_t next = 0;
    uint32_t step_count = 0;
    code = ext2fs_extent_get(handle, EXT2_EXTENT_ROOT, &extent);
    while (code == 0) {
        if (++step_count > step_limit) {
            code = EXT2_ET_EXTENT_HEADER_BAD;
            break;
        }
        int is_leaf = (extent.e_flags & EXT2_EXTENT_FLAGS_LEAF) != 0;
        int is_second = (extent.e_flags & EXT2_EXTENT_FLAGS_SECOND_VISIT) != 0;
        if (!is_leaf && !is_second && runs->is_whole) give_own(runs, extent.e_pblk);
        if (is_leaf && !is_second) {
            // They come in order; a tree that turns back is none.
            if (extent.e_lblk < next) {
                code = EXT2_ET_EXTENT_HEADER_BAD;
                break;
            }
            next = (uint64_t)extent.e_lblk + extent.e_len;
            if (!(extent.e_flags & EXT2_EXTENT_FLAGS_UNINIT)) {
                runs->logical = extent.e_lblk;
                runs->physical = extent.e_pblk;
                runs->count = extent.e_len;
                give(runs);
            }
            if (runs->is_over || next >= runs->end) break;
        }
        code = ext2fs_extent_get(handle, EXT2_EXTENT_NEXT, &extent);
    }
    ext2fs_extent_free(handle);
    return code == EXT2_ET_EXTENT_NO_NEXT || code == EXT2_ET_NO_CURRENT_NODE ? 0 : code;
}

long varve_ext_runs(
    varve_ext *owner, uint32_t number, void *context,
    int is_whole, int (*take)(void *context, uint64_t logical, uint64_t physical, uint64_t count)) {
    struct ext2_inode_large inode;
    long code = take_inode(owner, number, &inode);
    if (code != 0) return code;
    uint64_t size = EXT2_I_SIZE((struct ext2_inode *)&inode);
    struct runs runs = {.context = context, .take = take, .is_whole = is_whole};
    runs.end = size / owner->system->blocksize + (size % owner->system->blocksize != 0);
    if (is_whole) give_own(&runs, ext2fs_file_acl_block(owner->system, (struct ext2_inode *)&inode));
    if (!ext2fs_inode_has_valid_blocks2(owner->system, (struct ext2_inode *)&inode)) return 0;
    if (inode.i_flags & EXT4_EXTENTS_FL) return take_extents(owner, number, &inode, &runs);
    code = ext2fs_block_iterate3(
        owner->system, number, BLOCK_FLAG_READ_ONLY | (is_whole ? 0 : BLOCK_FLAG_DATA_ONLY), NULL,
        take_block, &runs);
    give(&runs);
    return code;
}

long varve_ext_inline_content(
    varve_ext *owner, uint32_t number, void *target, size_t capacity, size_t *byte_count) {
    struct ext2_inode_large inode;
    long code = take_inode(owner, number, &inode);
    if (code != 0) return code;
    *byte_count = 0;
    if (inode.i_flags & EXT4_INLINE_DATA_FL) {
        size_t count = 0;
        code = ext2fs_inline_data_size(owner->system, number, &count);
        if (code != 0) return code;
        *byte_count = count;
        if (count > capacity) return 0;
        return ext2fs_inline_data_get(
            owner->system, number, (struct ext2_inode *)&inode, target, &count);
    }
    // A short link.
    uint64_t size = EXT2_I_SIZE((struct ext2_inode *)&inode);
    *byte_count = size < sizeof inode.i_block ? size : sizeof inode.i_block;
    if (*byte_count <= capacity) memcpy(target, inode.i_block, *byte_count);
    return 0;
}

struct attributes {
    struct ext2_xattr_handle *handle;
    void *context;
    int (*take)(void *context, const char *name, const void *value, size_t byte_count);
};

static int take_attribute(char *name, char *value, size_t byte_count, void *context) {
    struct attributes *attributes = context;
    // The content of a file that lies in its inode.
    if (strcmp(name, "system.data") == 0) return 0;
    int result;
    if (strncmp(name, "system.posix_acl_", 17) == 0) {
        // On the disk they have another form, which is given unless it is asked for by name.
        void *list = NULL;
        size_t count = 0;
        if (ext2fs_xattr_get(attributes->handle, name, &list, &count) != 0) return 0;
        result = attributes->take(attributes->context, name, list, count);
        ext2fs_free_mem(&list);
    } else {
        result = attributes->take(attributes->context, name, value, byte_count);
    }
    return result == 0 ? 0 : XATTR_ABORT;
}

long varve_ext_attributes(
    varve_ext *owner, uint32_t number, void *context,
    int (*take)(void *context, const char *name, const void *value, size_t byte_count)) {
    struct ext2_xattr_handle *handle;
    long code = ext2fs_xattrs_open(owner->system, number, &handle);
    if (code != 0) return code;
    struct attributes attributes = {handle, context, take};
    code = ext2fs_xattrs_read(handle);
    if (code == 0) code = ext2fs_xattrs_iterate(handle, take_attribute, &attributes);
    ext2fs_xattrs_close(&handle);
    return code;
}

const char *varve_ext_message(long code) { return error_message(code); }

long varve_ext_not_found(void) { return EXT2_ET_FILE_NOT_FOUND; }
