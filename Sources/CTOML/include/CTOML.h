// toml++ (libtomlplusplus-dev), as much of it as Swift needs: a document as a series of events, each
// with the line that it begins on.
#ifndef CTOML_H
#define CTOML_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    CTOML_TABLE = 1, // what follows, up to its end, is in a table
    CTOML_ARRAY,     // the same of an array
    CTOML_END,
    CTOML_STRING,
    CTOML_INTEGER,
    CTOML_FLOAT,
    CTOML_BOOLEAN,
    CTOML_OTHER // a date or a time
};

typedef struct {
    int kind;
    // Of an entry of a table; UTF-8, not ended by zero.
    const char *key;
    size_t key_length;
    // Of a string.
    const char *text;
    size_t text_length;
    // Of an integer or a boolean.
    long long integer;
    double number;
    unsigned line;
} ctoml_event;

typedef void (*ctoml_visitor)(void *context, const ctoml_event *event);

// Goes through a document; false when it is none, with the line and what is wrong there.
bool ctoml_parse(
    const char *text, size_t length, void *context, ctoml_visitor visitor, unsigned *error_line,
    char *error, size_t error_size);

#ifdef __cplusplus
}
#endif

#endif
