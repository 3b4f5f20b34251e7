#!/usr/bin/env python3
"""Writes GRUB's boot code for BIOS machines into a GPT disk image, as grub-bios-setup would do on a
real disk: boot.img into the first sector, around the partition table, and core.img into the BIOS
boot partition, one contiguous run. No device map and no mounted disk is needed.
Usage: write-bios-boot.py IMAGE FIRST-SECTOR boot.img core.img"""

import struct
import sys

SECTOR = 512
PARTITION_SECTORS = 2048

# Offsets in boot.img, from GRUB's include/grub/i386/pc/boot.h.
KERNEL_SECTOR = 0x5C  # 64 bit: where core.img starts
DRIVE_CHECK = 0x66  # two bytes of jump; two NOPs mean: trust the drive that the BIOS names
PARTITION_TABLE = 440  # from here on the sector belongs to the disk, not to GRUB

# In the first sector of core.img (diskboot.img): the last 12 bytes are the list of its sectors.
BLOCK_LIST = 0x1F4  # 64 bit first sector, 16 bit count, 16 bit segment
LOAD_SEGMENT = 0x820

image_path, first_sector, boot_path, core_path = sys.argv[1:]
first_sector = int(first_sector)
with open(boot_path, "rb") as file:
    boot = bytearray(file.read(SECTOR))
with open(core_path, "rb") as file:
    core = bytearray(file.read())

core_sectors = -(-len(core) // SECTOR)
if core_sectors > PARTITION_SECTORS:
    sys.exit(f"{core_path} has {core_sectors} sectors, more than the BIOS boot partition's "
             f"{PARTITION_SECTORS}: give grub-mkimage fewer modules")

struct.pack_into("<Q", boot, KERNEL_SECTOR, first_sector)
boot[DRIVE_CHECK:DRIVE_CHECK + 2] = b"\x90\x90"
struct.pack_into("<QHH", core, BLOCK_LIST, first_sector + 1, core_sectors - 1, LOAD_SEGMENT)

with open(image_path, "r+b") as image:
    boot[PARTITION_TABLE:] = image.read(SECTOR)[PARTITION_TABLE:]
    image.seek(0)
    image.write(boot)
    image.seek(first_sector * SECTOR)
    image.write(core)
