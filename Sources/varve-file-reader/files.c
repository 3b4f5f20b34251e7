// The files of FAT, exFAT and NTFS, by The Sleuth Kit's library.
#include <stdlib.h>
#include <string.h>

#include <tsk/libtsk.h>

#include "reader.h"

// The image that the library sees; its own part comes first.
struct image {
    TSK_IMG_INFO info;
};

static struct {
    uint64_t byte_count;
    TSK_FS_TYPE_ENUM type;
    TSK_IMG_INFO *image;
    TSK_FS_INFO *system;
    // The file that was asked for last.
    TSK_FS_FILE *file;
    uint64_t number;
} state;

/* --- opening ------------------------------------------------------------------------------------ */

static ssize_t read_image(TSK_IMG_INFO *image, TSK_OFF_T offset, char *target, size_t byte_count) {
    (void)image;
    size_t done = 0;
    while (done < byte_count) {
        size_t part = byte_count - done;
        if (part > VARVE_READER_PAYLOAD_LIMIT) part = VARVE_READER_PAYLOAD_LIMIT;
        if (reader_read_image(target + done, (uint64_t)offset + done, (uint32_t)part) != 0) {
            tsk_error_reset();
            tsk_error_set_errno(TSK_ERR_IMG_READ);
            tsk_error_set_errstr("the image cannot be read at %" PRId64, (int64_t)offset);
            return -1;
        }
        done += part;
    }
    return (ssize_t)byte_count;
}

static void close_image(TSK_IMG_INFO *image) { free(image); }

static void describe_image(TSK_IMG_INFO *image, FILE *file) {
    (void)image;
    (void)file;
}

static void close_file(void) {
    if (state.file != NULL) tsk_fs_file_close(state.file);
    state.file = NULL;
}

static int open_system(void) {
    close_file();
    if (state.system != NULL) tsk_fs_close(state.system);
    state.system = NULL;
    if (state.image != NULL) tsk_img_close(state.image);
    state.image = NULL;
    struct image *image = calloc(1, sizeof *image);
    if (image == NULL) return -1;
    state.image = tsk_img_open_external(
        image, (TSK_OFF_T)state.byte_count, 512, read_image, close_image, describe_image);
    if (state.image == NULL) {
        free(image);
        return -1;
    }
    state.system = tsk_fs_open_img(state.image, 0, state.type);
    return state.system == NULL ? -1 : 0;
}

static void answer(enum varve_reader_kind kind, uint64_t number) {
    struct varve_reader_message message = {.kind = kind, .number = number};
    reader_send(&message, NULL);
}

void reader_open(uint64_t byte_count, const char *type) {
    state.byte_count = byte_count;
    state.type = strcmp(type, "ntfs") == 0    ? TSK_FS_TYPE_NTFS
                 : strcmp(type, "exfat") == 0 ? TSK_FS_TYPE_EXFAT
                                              : TSK_FS_TYPE_FAT_DETECT;
    if (open_system() != 0) return reader_fail("it cannot be opened");
    answer(VARVE_READER_DONE, state.system->root_inum);
}

void reader_forget(void) {
    if (open_system() != 0) return reader_fail("it cannot be opened again");
    answer(VARVE_READER_DONE, state.system->root_inum);
}

/* --- files -------------------------------------------------------------------------------------- */

static int is_ntfs(void) { return TSK_FS_TYPE_ISNTFS(state.system->ftype); }

// The file of an inode that is in use; NULL, and an answer that it failed, when there is none.
static TSK_FS_FILE *open_file(uint64_t number) {
    if (state.system == NULL) {
        reader_fail("nothing is open");
        return NULL;
    }
    if (state.file != NULL && state.number == number) return state.file;
    close_file();
    TSK_FS_FILE *file = tsk_fs_file_open_meta(state.system, NULL, number);
    if (file == NULL || file->meta == NULL || !(file->meta->flags & TSK_FS_META_FLAG_ALLOC)) {
        if (file != NULL) tsk_fs_file_close(file);
        reader_fail("it cannot be read");
        return NULL;
    }
    state.file = file;
    state.number = number;
    return file;
}

static uint32_t kind_of(TSK_FS_META_TYPE_ENUM type) {
    switch (type) {
    case TSK_FS_META_TYPE_REG: return VARVE_READER_FILE;
    case TSK_FS_META_TYPE_DIR: return VARVE_READER_DIRECTORY;
    // What only says that it is a link: its content tells what it is.
    case TSK_FS_META_TYPE_LNK: return VARVE_READER_FILE;
    default: return VARVE_READER_OTHER;
    }
}

static uint32_t flags_of(TSK_FS_FILE *file) {
    uint32_t flags = 0;
    int count = is_ntfs() ? tsk_fs_file_attr_getsize(file) : 0;
    for (int i = 0; i < count; i++) {
        const TSK_FS_ATTR *attribute = tsk_fs_file_attr_get_idx(file, i);
        if (attribute == NULL) continue;
        if (attribute->type == TSK_FS_ATTR_TYPE_NTFS_REPARSE) flags |= VARVE_READER_HAS_REPARSE;
        if (attribute->type == TSK_FS_ATTR_TYPE_NTFS_DATA && attribute->flags & TSK_FS_ATTR_ENC) {
            flags |= VARVE_READER_ENCRYPTED;
        }
    }
    return flags;
}

static uint32_t attributes_of(TSK_FS_FILE *file) {
    uint32_t attributes = 0;
    if (!is_ntfs()) {
        return file->meta->mode & TSK_FS_META_MODE_IWUSR ? 0 : VARVE_READER_READ_ONLY;
    }
    const TSK_FS_ATTR *information =
        tsk_fs_file_attr_get_type(file, TSK_FS_ATTR_TYPE_NTFS_SI, 0, 0);
    uint8_t raw[4];
    if (information != NULL &&
        tsk_fs_attr_read(information, 32, (char *)raw, 4, TSK_FS_FILE_READ_FLAG_NONE) == 4) {
        for (int i = 0; i < 4; i++) attributes |= (uint32_t)raw[i] << 8 * i;
    }
    return attributes;
}

void reader_inode(uint64_t number) {
    TSK_FS_FILE *file = open_file(number);
    if (file == NULL) return;
    const TSK_FS_META *meta = file->meta;
    struct varve_reader_inode inode = {
        .byte_count = meta->size < 0 ? 0 : (uint64_t)meta->size,
        .accessed = meta->atime,
        .modified = meta->mtime,
        .changed = is_ntfs() ? meta->ctime : meta->mtime,
        .accessed_fraction = meta->atime_nano,
        .modified_fraction = meta->mtime_nano,
        .changed_fraction = is_ntfs() ? meta->ctime_nano : meta->mtime_nano,
        .link_count = meta->nlink < 1 ? 1 : (uint32_t)meta->nlink,
        .kind = kind_of(meta->type),
        .flags = flags_of(file),
        .attributes = attributes_of(file),
    };
    struct varve_reader_message message = {
        .kind = VARVE_READER_INODE_IS, .byte_count = sizeof inode, .number = number};
    reader_send(&message, &inode);
}

/* --- lists -------------------------------------------------------------------------------------- */

// What is sent together.
struct batch {
    enum varve_reader_kind kind;
    uint32_t byte_count;
    char bytes[64 << 10];
};

static void flush(struct batch *batch) {
    struct varve_reader_message message = {.kind = batch->kind, .byte_count = batch->byte_count};
    if (batch->byte_count > 0) reader_send(&message, batch->bytes);
    batch->byte_count = 0;
}

static void add(struct batch *batch, struct varve_reader_entry entry, const char *name) {
    size_t length = strlen(name);
    if (length > 4096) length = 4096;
    entry.name_byte_count = (uint16_t)length;
    if (batch->byte_count + sizeof entry + length > sizeof batch->bytes) flush(batch);
    memcpy(batch->bytes + batch->byte_count, &entry, sizeof entry);
    memcpy(batch->bytes + batch->byte_count + sizeof entry, name, length);
    batch->byte_count += (uint32_t)(sizeof entry + length);
}

// Whether it is what a root directory of FAT and exFAT has beside files, under a name that the library
// makes up; a file may have that name, but has content or a time.
static int is_no_file(const TSK_FS_NAME *name) {
    static const char label[] = " (Volume Label Entry)";
    static const char *const tables[] = {
        "$ALLOC_BITMAP", "$UPCASE_TABLE", "$VOLUME_GUID", "$TEX_FAT", "$ACT"};
    size_t length = strlen(name->name), tail = sizeof label - 1;
    int is_label = length > tail && strcmp(name->name + length - tail, label) == 0;
    int is_table = 0;
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        if (strcmp(name->name, tables[i]) == 0) is_table = 1;
    }
    if (!is_label && !(is_table && state.system->ftype == TSK_FS_TYPE_EXFAT)) return 0;
    TSK_FS_FILE *file = tsk_fs_file_open_meta(state.system, NULL, name->meta_addr);
    int is_file = file != NULL && file->meta != NULL &&
                  (is_label ? file->meta->size > 0 : file->meta->mtime != 0);
    if (file != NULL) tsk_fs_file_close(file);
    return !is_file;
}

// Files that NTFS is made of, and what the library adds to a directory.
static int is_hidden(const TSK_FS_NAME *name, uint64_t directory) {
    if (name->type == TSK_FS_NAME_TYPE_VIRT || name->type == TSK_FS_NAME_TYPE_VIRT_DIR) return 1;
    if (name->meta_addr == TSK_FS_ORPHANDIR_INUM(state.system)) return 1;
    if (is_ntfs()) return name->meta_addr < 24 && name->meta_addr != state.system->root_inum;
    return directory == state.system->root_inum && is_no_file(name);
}

void reader_list(uint64_t number) {
    if (state.system == NULL) return reader_fail("nothing is open");
    TSK_FS_DIR *directory = tsk_fs_dir_open_meta(state.system, number);
    if (directory == NULL) return reader_fail("it cannot be read");
    static struct batch batch;
    batch.kind = VARVE_READER_ENTRIES;
    batch.byte_count = 0;
    size_t count = tsk_fs_dir_getsize(directory);
    for (size_t i = 0; i < count; i++) {
        const TSK_FS_NAME *name = tsk_fs_dir_get_name(directory, i);
        if (name == NULL || name->name == NULL || !(name->flags & TSK_FS_NAME_FLAG_ALLOC)) continue;
        if (is_hidden(name, number)) continue;
        struct varve_reader_entry entry = {
            .number = name->meta_addr,
            .kind = name->type == TSK_FS_NAME_TYPE_DIR ? VARVE_READER_DIRECTORY
                                                       : VARVE_READER_FILE,
        };
        add(&batch, entry, name->name);
    }
    tsk_fs_dir_close(directory);
    flush(&batch);
    answer(VARVE_READER_DONE, count);
}

void reader_named(uint64_t number) {
    TSK_FS_FILE *file = open_file(number);
    if (file == NULL) return;
    static struct batch batch;
    batch.kind = VARVE_READER_STREAMS;
    batch.byte_count = 0;
    int count = is_ntfs() ? tsk_fs_file_attr_getsize(file) : 0;
    for (int i = 0; i < count; i++) {
        const TSK_FS_ATTR *attribute = tsk_fs_file_attr_get_idx(file, i);
        if (attribute == NULL || attribute->type != TSK_FS_ATTR_TYPE_NTFS_DATA) continue;
        if (attribute->name == NULL || attribute->name[0] == 0 || attribute->size < 0) continue;
        struct varve_reader_entry entry = {
            .number = (uint64_t)attribute->size,
            .stream = (uint32_t)attribute->type << 16 | attribute->id,
        };
        add(&batch, entry, attribute->name);
    }
    flush(&batch);
    answer(VARVE_READER_DONE, 0);
}

/* --- content ------------------------------------------------------------------------------------ */

static const TSK_FS_ATTR *attribute_of(TSK_FS_FILE *file, uint32_t stream) {
    if (stream == VARVE_READER_STREAM_CONTENT) return tsk_fs_file_attr_get(file);
    TSK_FS_ATTR_TYPE_ENUM type = (TSK_FS_ATTR_TYPE_ENUM)(stream >> 16);
    uint16_t id = (uint16_t)stream;
    if (id == 0) return tsk_fs_file_attr_get_type(file, type, 0, 0);
    return tsk_fs_file_attr_get_type(file, type, id, 1);
}

void reader_content(uint64_t number, uint32_t stream, uint64_t offset, uint32_t byte_count) {
    static char bytes[VARVE_READER_PAYLOAD_LIMIT];
    TSK_FS_FILE *file = open_file(number);
    if (file == NULL) return;
    const TSK_FS_ATTR *attribute = attribute_of(file, stream);
    if (attribute == NULL) return reader_fail("its contents cannot be found");
    uint64_t size = attribute->size < 0 ? 0 : (uint64_t)attribute->size;
    if (offset >= size) byte_count = 0;
    else if (byte_count > size - offset) byte_count = (uint32_t)(size - offset);
    uint32_t done = 0;
    while (done < byte_count) {
        ssize_t count = tsk_fs_attr_read(
            attribute, (TSK_OFF_T)(offset + done), bytes + done, byte_count - done,
            TSK_FS_FILE_READ_FLAG_NONE);
        if (count <= 0) return reader_fail("its contents cannot be read");
        done += (uint32_t)count;
    }
    struct varve_reader_message message = {.kind = VARVE_READER_BYTES, .byte_count = done};
    reader_send(&message, bytes);
}
