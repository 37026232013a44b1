/* backend: what turns kernel IR into work. One folder per backend; this is the
 * whole interface. The first row of the device table is the default device.
 *
 * Two live here: builtin/ (device "CPU"), compiled with the library, fast and
 * needing nothing at run time; reference/ (device "REF"), the IR read literally,
 * one element at a time, which the tests hold the others against.
 */
#ifndef TG_BACKEND_H
#define TG_BACKEND_H

#include "compile/ir.h"

typedef struct tg_backend {
  const char *device;
  /* A program for a verified kernel; the kernel may be freed afterwards. NULL
   * and a message when that fails. */
  void *(*compile)(const tg_kernel *kernel);
  /* Runs it: data[i] is the memory of kernel->slot[i]; a written slot overlaps
   * no other. 0, or -1 and a message (an index out of range, no memory). Programs are
   * shared between threads: run must not change the program. */
  int (*run)(const void *program, void *const *data);
  void (*release)(void *program);
} tg_backend;

extern const tg_backend tg_backend_builtin, tg_backend_reference;
#define TG_DEVICES 2
extern const tg_backend *const tg_backends[TG_DEVICES];

#endif
