// What varve and varve-file-reader say to each other over a socket.
//
// varve asks, one thing at a time; the reader answers with one message, or with several of which the
// last is none of ENTRIES or STREAMS. While it works it may ask for bytes of the image with READ, which
// varve answers with BYTES or FAILED. Both run on one machine, from one build: structures and integers
// are as the machine has them.
#ifndef VARVE_FILE_READER_MESSAGES_H
#define VARVE_FILE_READER_MESSAGES_H

#include <stdint.h>

enum varve_reader_kind {
    // From varve.
    VARVE_READER_OPEN = 1,    // number: bytes of the image; payload: the type, "vfat", "exfat", "ntfs"
    VARVE_READER_FORGET = 2,  // reads all of the image again from now on
    VARVE_READER_INODE = 3,   // number: inode; answered by INODE_IS
    VARVE_READER_LIST = 4,    // number: inode; answered by ENTRIES until DONE
    VARVE_READER_CONTENT = 5, // number: inode; stream; offset; count: at most; answered by BYTES
    VARVE_READER_NAMED = 6,   // number: inode; its streams with names: STREAMS until DONE
    // From the reader.
    VARVE_READER_READ = 16, // offset, count: bytes of the image
    VARVE_READER_INODE_IS = 17,
    VARVE_READER_ENTRIES = 18,
    VARVE_READER_STREAMS = 19,
    VARVE_READER_DONE = 20, // to OPEN, number: inode of the root
    // From either.
    VARVE_READER_BYTES = 32,
    VARVE_READER_FAILED = 33, // payload: why, in words
};

enum {
    // More than that is no payload.
    VARVE_READER_PAYLOAD_LIMIT = 1 << 20,
    // The stream that a file's content is, and the one that says what else it is.
    VARVE_READER_STREAM_CONTENT = 0,
    VARVE_READER_STREAM_REPARSE = 0xc00000,
};

struct varve_reader_message {
    uint32_t kind;
    uint32_t byte_count; // of the payload, which follows
    uint64_t number;
    uint64_t offset;
    uint32_t stream;
    uint32_t count;
};

enum varve_reader_file {
    VARVE_READER_FILE = 1,
    VARVE_READER_DIRECTORY = 2,
    VARVE_READER_OTHER = 3,
};

enum {
    VARVE_READER_ENCRYPTED = 1,
    // It has a stream that says what else it is.
    VARVE_READER_HAS_REPARSE = 2,
};

// Attributes.
enum {
    VARVE_READER_READ_ONLY = 0x1,
    VARVE_READER_SYSTEM = 0x4,
    // The content is not here.
    VARVE_READER_OFFLINE = 0x1000 | 0x40000 | 0x400000,
};

// The payload of INODE_IS.
struct varve_reader_inode {
    uint64_t byte_count;
    int64_t accessed;
    int64_t modified;
    int64_t changed;
    uint32_t accessed_fraction; // nanoseconds
    uint32_t modified_fraction;
    uint32_t changed_fraction;
    uint32_t link_count;
    uint32_t kind;
    uint32_t flags;
    uint32_t attributes; // as Windows has them, of files
    uint32_t reserved;
};

// One of several in a payload, with its name behind it.
struct varve_reader_entry {
    uint64_t number; // inode, or bytes of the stream
    uint32_t stream;
    uint16_t kind;
    uint16_t name_byte_count;
};

#endif
