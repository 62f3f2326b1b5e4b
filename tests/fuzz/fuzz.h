#ifndef FUZZ_H
#define FUZZ_H
/*
 * A target is one function that takes bytes and returns; what it must not do is what the
 * sanitizers find, and what CLAIM() says.  libFuzzer drives it (make fuzz), or replay.c,
 * which only feeds it the files of its corpus (make check).
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CLAIM(c) do { if (!(c)) { fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #c); abort(); } } while (0)

#endif
