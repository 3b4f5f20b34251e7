#define _GNU_SOURCE
#include "CDiskContents.h"

#include <blkid/blkid.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int varve_list_partitions(
    int descriptor, uint64_t byte_count, unsigned sector_byte_count, void *context,
    void (*take)(void *context, const struct varve_partition *partition)) {
    blkid_probe probe = blkid_new_probe();
    if (probe == NULL) return -1;
    int count = -1;
    blkid_probe_enable_superblocks(probe, 0);
    blkid_probe_enable_partitions(probe, 1);
    blkid_partlist list = NULL;
    if (blkid_probe_set_device(probe, descriptor, 0, (blkid_loff_t)byte_count) == 0 &&
        blkid_probe_set_sectorsize(probe, sector_byte_count) == 0 &&
        (list = blkid_probe_get_partitions(probe)) != NULL)
        count = blkid_partlist_numof_partitions(list);
    for (int index = 0; index < count; index++) {
        blkid_partition found = blkid_partlist_get_partition(list, index);
        struct varve_partition partition = {
            .number = blkid_partition_get_partno(found),
            .byte_offset = (uint64_t)blkid_partition_get_start(found) * 512,
            .byte_count = (uint64_t)blkid_partition_get_size(found) * 512,
            .is_extended = blkid_partition_is_extended(found),
        };
        const char *type = blkid_partition_get_type_string(found);
        const char *name = blkid_partition_get_name(found);
        if (type != NULL)
            snprintf(partition.type, sizeof partition.type, "%s", type);
        else
            snprintf(
                partition.type, sizeof partition.type, "0x%02x", blkid_partition_get_type(found));
        if (name != NULL) snprintf(partition.name, sizeof partition.name, "%s", name);
        take(context, &partition);
    }
    blkid_free_probe(probe);
    return count;
}

void varve_probe_type(
    int descriptor, uint64_t byte_offset, uint64_t byte_count, char *type, size_t capacity) {
    type[0] = 0;
    blkid_probe probe = blkid_new_probe();
    if (probe == NULL) return;
    const char *value = NULL;
    blkid_probe_enable_superblocks(probe, 1);
    blkid_probe_set_superblocks_flags(probe, BLKID_SUBLKS_TYPE);
    if (blkid_probe_set_device(
            probe, descriptor, (blkid_loff_t)byte_offset, (blkid_loff_t)byte_count) == 0 &&
        blkid_do_safeprobe(probe) == 0 &&
        blkid_probe_lookup_value(probe, "TYPE", &value, NULL) == 0)
        snprintf(type, capacity, "%s", value);
    blkid_free_probe(probe);
}

int varve_make_memory_file(uint64_t byte_count) {
    int descriptor = memfd_create("varve", MFD_CLOEXEC);
    if (descriptor < 0) return -1;
    if (ftruncate(descriptor, (off_t)byte_count) != 0) {
        close(descriptor);
        return -1;
    }
    return descriptor;
}
