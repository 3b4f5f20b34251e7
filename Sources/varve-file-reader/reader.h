// The program that reads file systems which may have been made to harm who reads them: it has no
// rights, no files, and one socket.
#ifndef VARVE_READER_H
#define VARVE_READER_H

#include <stddef.h>
#include <stdint.h>

#include "FileReaderMessages.h"

// Where varve is spoken to.
enum { READER_SOCKET = 0 };

/* --- messages (main.c) -------------------------------------------------------------------------- */

// Ends the program when nobody is there any more.
void reader_send(const struct varve_reader_message *message, const void *payload);
// Answers that it failed, with the library's words.
void reader_fail(const char *what);
// Fills `target` with bytes of the image; not 0 when that fails.
int reader_read_image(void *target, uint64_t offset, uint32_t byte_count);

/* --- confinement (confine.c) -------------------------------------------------------------------- */

// Gives up all that the program does not need; not 0 when that fails.
int reader_confine(void);

/* --- files (files.c): each answers by messages --------------------------------------------------- */

void reader_open(uint64_t byte_count, const char *type);
void reader_forget(void);
void reader_inode(uint64_t number);
void reader_list(uint64_t number);
void reader_content(uint64_t number, uint32_t stream, uint64_t offset, uint32_t byte_count);
void reader_named(uint64_t number);

#endif
