#include "include/CShims.h"
#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <time.h>

struct varve_ring {
    struct io_uring ring;
    /* What tests let fail: so many next calls, with this error. */
    int failing_submits, failing_waits, failing_transfers, error;
};

/* The tag of an entry that stands for nothing. */
#define NO_TRANSFER UINT64_MAX
#define SUBMIT_ATTEMPTS 8
/* As long as a medium may take until the system gives it up. */
#define WAIT_LIMIT_MILLISECONDS 300000

void varve_ring_inject(struct varve_ring *ring, int submits, int waits, int transfers, int error) {
    ring->failing_submits = submits;
    ring->failing_waits = waits;
    ring->failing_transfers = transfers;
    ring->error = error;
}

/* The kernel lacks something just now, or was interrupted. */
static int is_passing(int status) {
    return status == -EAGAIN || status == -EBUSY || status == -EINTR || status == -ENOMEM;
}

static void pause_milliseconds(long milliseconds) {
    struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    nanosleep(&time, NULL);
}

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

/* After a failure the entry stays in the queue; it is made to stand for nothing, and goes with a later one. */
static int submit(struct varve_ring *ring, struct io_uring_sqe *entry) {
    int status = 0;
    for (int attempt = 0; attempt < SUBMIT_ATTEMPTS; attempt++) {
        if (ring->failing_submits > 0) {
            ring->failing_submits--;
            status = ring->error;
        } else {
            status = io_uring_submit(&ring->ring);
        }
        if (status >= 0 && io_uring_sq_ready(&ring->ring) == 0) return 0;
        if (status < 0 && !is_passing(status)) break;
        if (attempt > 0) pause_milliseconds(1);
    }
    io_uring_prep_nop(entry);
    entry->user_data = NO_TRANSFER;
    return status < 0 ? status : -EAGAIN;
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
    return submit(ring, entry);
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
    return submit(ring, entry);
}

/* Where the kernel does not let this process wait, completions are looked for again and again. */
static int next_completion(struct varve_ring *ring, struct io_uring_cqe **completion) {
    long milliseconds = 0;
    long pause = 1;
    for (;;) {
        int status;
        if (ring->failing_waits > 0) {
            ring->failing_waits--;
            status = ring->error;
        } else {
            status = io_uring_wait_cqe(&ring->ring, completion);
        }
        if (status == 0) return 0;
        if (!is_passing(status) || milliseconds > WAIT_LIMIT_MILLISECONDS) return status;
        if (status == -EINTR) continue;
        if (io_uring_peek_cqe(&ring->ring, completion) == 0) return 0;
        pause_milliseconds(pause);
        milliseconds += pause;
        if (pause < 20) pause *= 2;
    }
}

int varve_ring_wait(struct varve_ring *ring, uint64_t *tag, int32_t *result) {
    struct io_uring_cqe *completion;
    for (;;) {
        int status = next_completion(ring, &completion);
        if (status < 0) return status;
        *tag = completion->user_data;
        *result = completion->res;
        io_uring_cqe_seen(&ring->ring, completion);
        if (*tag == NO_TRANSFER) continue;
        if (ring->failing_transfers > 0) {
            ring->failing_transfers--;
            *result = ring->error;
        }
        return 0;
    }
}
