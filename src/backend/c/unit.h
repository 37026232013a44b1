/* c/unit: generated kernels from text to running code.
 *
 *   sha256.c  the hash that names and seals files
 *   child.c   runs a program in a child process, bounded in all it does
 *   cc.c      finds the compiler and has it run
 *   cache.c   the folder of compiled units
 *   unit.c    a unit: rendered, looked up, compiled, loaded
 *   launch.c  runs a loaded kernel
 *
 * Nothing here records an error that a caller would see: a unit that cannot be had
 * is no error, the built-in backend carries on; why is kept as text for DEBUG=1.
 */
#ifndef TG_C_UNIT_H
#define TG_C_UNIT_H

#include "backend/c/c.h"

/* ---- SHA-256 */
typedef struct tg_sha256 {
  uint32_t h[8];
  uint64_t count;
  unsigned char block[64];
} tg_sha256;
void tg_sha256_begin(tg_sha256 *s);
void tg_sha256_add(tg_sha256 *s, const void *data, size_t size);
void tg_sha256_end(tg_sha256 *s, unsigned char out[32]);

/* ---- the compiler */
#define TG_C_PATH 1024
#define TG_C_WHY 256
typedef struct tg_c_why {
  bool memory;         /* there was none, which is an error, and recorded as one */
  char text[TG_C_WHY]; /* one line: why there is no unit */
} tg_c_why;
void tg_c_because(tg_c_why *why, const char *format, ...) TG_PRINTF(2, 3);
void tg_c_no_memory(tg_c_why *why);
/* Adds what decides the result of a compilation besides the text: the compiler's
 * path, size and age, the flags, the CPU. false: there is no compiler. */
bool tg_c_compiler_identity(tg_sha256 *s, tg_c_why *why);
/* source -> shared object. false and why. `background`: at low priority; *stop is looked
 * at meanwhile. */
bool tg_c_compile(const char *source, const char *object, bool background,
                  const _Atomic bool *stop, tg_c_why *why);

/* ---- a child process */
#define TG_C_SAID 16384
typedef struct tg_child {
  const char *path;
  char **args;
  const char *object;       /* the file it makes, whose size is bounded */
  bool background;
  const _Atomic bool *stop; /* becomes true: end it */
} tg_child;
/* Runs it. `status` as waitpid gives it; `said`: the beginning of what it printed, as a
 * string. false and why: it was not started, or it was ended. */
bool tg_child_run(const tg_child *what, char said[TG_C_SAID], int *status, tg_c_why *why);

/* ---- the cache; name: 64 hexadecimal digits */
/* The folder in which units are made and kept, checked once: TG_CACHE_DIR, else
 * $XDG_CACHE_HOME/teenygrad, else ~/.cache/teenygrad. NULL and why if it cannot be
 * used safely; then a private folder of this process, removed at its end, serves. */
const char *tg_c_cache_folder(tg_c_why *why);
/* path of a unit that is there and whole, else false; a damaged one is removed. */
bool tg_c_cache_find(const char *name, char path[TG_C_PATH]);
/* Seals a fresh object and gives it its name, atomically; then makes room. */
bool tg_c_cache_keep(const char *object, const char *name, char path[TG_C_PATH], tg_c_why *why);
void tg_c_cache_end(void); /* removes this process's private folder, if there is one */

/* ---- units */
typedef struct tg_unit {
  _Atomic int64_t refs;
  tg_text text;             /* what is to be compiled; freed once it is */
  char name[65];
  void *handle;             /* loaded, or NULL */
  const tg_c_table *table;
  _Atomic bool stop;        /* give up compiling */
} tg_unit;
/* The text of kernels is added one by one; then the unit is sealed: named by its
 * text, compiler, flags and CPU. NULL: out of memory. */
tg_unit *tg_unit_new(void);
tg_c_rendered tg_unit_add(tg_unit *unit, const tg_kernel *kernel, int number);
bool tg_unit_seal(tg_unit *unit, int count, tg_c_why *why);
bool tg_unit_find(tg_unit *unit, tg_c_why *why);  /* in the cache: loads it */
bool tg_unit_build(tg_unit *unit, bool background, tg_c_why *why); /* compiles, loads */
void tg_unit_retain(tg_unit *unit);
void tg_unit_release(tg_unit *unit); /* the last closes it */

/* 0, or -1 and a message (an index out of range, no memory). 1: another backend must do
 * it again, for the way in which this kernel sums is none for numbers that are not finite. */
int tg_c_run(const tg_c_kernel *kernel, void *const *data);

#endif
