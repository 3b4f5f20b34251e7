#include "include/CShims.h"
#include <errno.h>
#include <liburing.h>
#include <stdlib.h>

struct varve_ring {
    struct io_uring ring;
};

int varve_ring_create(unsigned entries, struct varve_ring **out) {
    struct varve_ring *ring = calloc(1, sizeof *ring);
    if (!ring) return -ENOMEM;
    int status = io_uring_queue_init(entries, &ring->ring, 0);
    if (status < 0) {
        free(ring);
        return status;
    }
    *out = ring;
    return 0;
}

void varve_ring_destroy(struct varve_ring *ring) {
    io_uring_queue_exit(&ring->ring);
    free(ring);
}

int varve_ring_register(struct varve_ring *ring, void *base, size_t buffer_bytes, unsigned count) {
    struct iovec *vectors = calloc(count, sizeof *vectors);
    if (!vectors) return -ENOMEM;
    for (unsigned i = 0; i < count; i++) {
        vectors[i].iov_base = (char *)base + buffer_bytes * i;
        vectors[i].iov_len = buffer_bytes;
    }
    int status = io_uring_register_buffers(&ring->ring, vectors, count);
    free(vectors);
    return status;
}

static int submit(struct varve_ring *ring) {
    int status;
    do {
        status = io_uring_submit(&ring->ring);
    } while (status == -EINTR);
    return status < 0 ? status : 0;
}

int varve_ring_read(struct varve_ring *ring, int fd, void *buffer, unsigned length,
                    uint64_t offset, int buffer_index, uint64_t tag) {
    struct io_uring_sqe *entry = io_uring_get_sqe(&ring->ring);
    if (!entry) return -EBUSY;
    if (buffer_index >= 0) {
        io_uring_prep_read_fixed(entry, fd, buffer, length, offset, buffer_index);
    } else {
        io_uring_prep_read(entry, fd, buffer, length, offset);
    }
    entry->user_data = tag;
    return submit(ring);
}

int varve_ring_write(struct varve_ring *ring, int fd, const void *buffer, unsigned length,
                     uint64_t offset, int buffer_index, uint64_t tag) {
    struct io_uring_sqe *entry = io_uring_get_sqe(&ring->ring);
    if (!entry) return -EBUSY;
    if (buffer_index >= 0) {
        io_uring_prep_write_fixed(entry, fd, buffer, length, offset, buffer_index);
    } else {
        io_uring_prep_write(entry, fd, buffer, length, offset);
    }
    entry->user_data = tag;
    return submit(ring);
}

int varve_ring_wait(struct varve_ring *ring, uint64_t *tag, int32_t *result) {
    struct io_uring_cqe *completion;
    int status;
    do {
        status = io_uring_wait_cqe(&ring->ring, &completion);
    } while (status == -EINTR);
    if (status < 0) return status;
    *tag = completion->user_data;
    *result = completion->res;
    io_uring_cqe_seen(&ring->ring, completion);
    return 0;
}
