// Takes what varve asks, one message after the other, until it closes the socket on standard input.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <tsk/libtsk.h>

#include "reader.h"

enum { SOCKET = READER_SOCKET, FAILED_TO_CONFINE = 3 };

static void receive(void *target, size_t byte_count) {
    for (char *next = target; byte_count > 0;) {
        ssize_t count = read(SOCKET, next, byte_count);
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) _exit(0);
        next += count;
        byte_count -= (size_t)count;
    }
}

static void send_all(const void *bytes, size_t byte_count) {
    for (const char *next = bytes; byte_count > 0;) {
        ssize_t count = write(SOCKET, next, byte_count);
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) _exit(0);
        next += count;
        byte_count -= (size_t)count;
    }
}

void reader_send(const struct varve_reader_message *message, const void *payload) {
    send_all(message, sizeof *message);
    send_all(payload, message->byte_count);
}

void reader_fail(const char *what) {
    char text[512];
    const char *reason = tsk_error_get_errno() != 0 ? tsk_error_get() : NULL;
    snprintf(text, sizeof text, "%s%s%s", what, reason ? ": " : "", reason ? reason : "");
    tsk_error_reset();
    struct varve_reader_message answer = {
        .kind = VARVE_READER_FAILED, .byte_count = (uint32_t)strlen(text)};
    reader_send(&answer, text);
}

int reader_read_image(void *target, uint64_t offset, uint32_t byte_count) {
    struct varve_reader_message message = {
        .kind = VARVE_READER_READ, .offset = offset, .count = byte_count};
    reader_send(&message, NULL);
    receive(&message, sizeof message);
    if (message.kind != VARVE_READER_BYTES || message.byte_count != byte_count) return -1;
    receive(target, byte_count);
    return 0;
}

int main(void) {
    // Times without a zone are of the zone here, whose file cannot be read any more later.
    tzset();
    // Whoever started it ends it, and says why.
    signal(SIGINT, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    if (reader_confine() != 0) return FAILED_TO_CONFINE;
    for (;;) {
        struct varve_reader_message request;
        char type[16] = "";
        receive(&request, sizeof request);
        if (request.byte_count >= sizeof type || request.count > VARVE_READER_PAYLOAD_LIMIT) return 2;
        receive(type, request.byte_count);
        switch (request.kind) {
        case VARVE_READER_OPEN: reader_open(request.number, type); break;
        case VARVE_READER_FORGET: reader_forget(); break;
        case VARVE_READER_INODE: reader_inode(request.number); break;
        case VARVE_READER_LIST: reader_list(request.number); break;
        case VARVE_READER_CONTENT:
            reader_content(request.number, request.stream, request.offset, request.count);
            break;
        case VARVE_READER_NAMED: reader_named(request.number); break;
        default: return 2;
        }
    }
}
