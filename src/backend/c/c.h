/* c: kernels as C text, compiled by the system's compiler.
 *
 *   text.c     text that grows
 *   render*.c  one kernel as C: functions that run its jobs, and a tg_c_kernel
 *   prelude.h  what every unit begins with: types, vector math (also C text)
 *   unit.c     a unit: prelude + kernels + a table; compiled, loaded, cached
 *
 * Host and generated code meet in the structs below and nowhere else; the prelude
 * declares the same ones. A kernel runs phase after phase; the jobs of a phase may
 * run in any order and on any thread, and only the shapes say how many there are.
 */
#ifndef TG_C_H
#define TG_C_H

#include "backend/isa.h"
#include "compile/ir.h"

#define TG_C_ABI 2 /* part of the cache key: changes with the structs below */
#define TG_C_PHASES 4

/* What a job sees. One per worker; `shared` is one for all workers of a run. */
typedef struct tg_c_call {
  void *const *data;  /* memory of each slot */
  char *shared, *own; /* scratch, 64-byte aligned */
  int64_t bad_index, bad_bound; /* the first CHECK of this worker that failed */
  int32_t failed;
  int32_t unfit; /* a sum that is not finite, in a way of summing that needs finite numbers */
} tg_c_call;

typedef struct tg_c_phase {
  void (*run)(tg_c_call *call, int64_t job);
  int64_t jobs;
} tg_c_phase;

typedef struct tg_c_kernel {
  const char *name;
  int64_t shared, own; /* bytes of scratch */
  int32_t phases;
  tg_c_phase phase[TG_C_PHASES];
} tg_c_kernel;

/* What a unit exports under the name tg_c_unit. */
typedef struct tg_c_table {
  int32_t abi, count;
  const tg_c_kernel *const *kernel;
} tg_c_table;

/* ---- text */
typedef struct tg_text {
  char *at;      /* ends with 0; NULL until something is written */
  int64_t count, room;
  bool failed;   /* out of memory: sticky */
} tg_text;
void tg_text_add(tg_text *text, const char *format, ...) TG_PRINTF(2, 3);
void tg_text_free(tg_text *text);

/* ---- rendering: appends functions and `static const tg_c_kernel kN` for the kernel,
 * N = number. The same kernel and number give the same text. TG_C_DECLINED: this
 * kernel stays on the built-in backend (nothing was appended). */
typedef enum tg_c_rendered { TG_C_FAILED = -1, TG_C_DECLINED = 0, TG_C_DONE = 1 } tg_c_rendered;
tg_c_rendered tg_c_render(const tg_kernel *kernel, int number, tg_text *out);

/* The text every unit begins with, after the line "#define BYTES n", the bytes of a vector
 * register: lines, ended by NULL. */
extern const char *const tg_c_prelude[];

#endif
