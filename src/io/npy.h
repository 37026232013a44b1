/* io/npy: one array in numpy's .npy format, in memory; the .npz files hold
 * several. The header says dtype, shape and order; the elements follow. */
#ifndef TG_IO_NPY_H
#define TG_IO_NPY_H

#include "io/file.h"

/* Reads the array in bytes[0 .. size). `where` names it in messages. */
tg_tensor *tg_npy_parse(const char *call, const char *where, const uint8_t *bytes, size_t size);

/* The header that goes before the elements of t, into out. Its length. */
#define TG_NPY_HEADER 512
size_t tg_npy_header(const tg_tensor *t, char out[TG_NPY_HEADER]);

#endif
