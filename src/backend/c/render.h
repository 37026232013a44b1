/* c/render: shared by the files that write kernels as C. */
#ifndef TG_C_RENDER_H
#define TG_C_RENDER_H

#include "backend/builtin/builtin.h"
#include "backend/c/c.h"

/* The text of one expression. */
typedef struct c_expr {
  char at[3072];
} c_expr;

/* What stages of a nest find in the worker's scratch, from earlier stages (keep.c).
 * By instruction; `row` and `stage` by the first of those that are the same. */
#define C_KEPT 8
typedef struct c_keep {
  int32_t *first;    /* the first that computes the same */
  int8_t *row;       /* 1 + the row it is kept in; 0: none */
  int8_t *stage;     /* which computes it, before all others; -1: none */
  bool *given;       /* in the stage at hand: to be loaded */
  float *cost;
  uint64_t lanes;    /* ranges over lanes of stages that are one loop */
  int now;           /* the stage at hand */
  int rows;
  int64_t at[C_KEPT], bytes;
  tg_dtype dtype[C_KEPT];
} c_keep;

/* Where text is being written: which loops are open, what has a variable. */
typedef struct c_render {
  const bi_code *code;
  tg_text *out;
  int number;      /* of the kernel in its unit: prefixes its functions */
  char suffix;     /* of vector types: 'n' or 'w' (prelude.h) */
  int width;       /* lanes of a vector */
  int lane;        /* the range that runs over lanes; -1: all is scalar */
  int part;        /* lanes of the vector at hand that count; 0: all */
  int unroll;      /* > 1: vectors of REDUCEs are arrays, indexed by u */
  bool stores;     /* false: they are left out */
  bool streams;    /* large results may go past the caches */
  int indent;
  uint64_t open;   /* ranges whose loops are open */
  bool *done;      /* instructions that have a variable in scope */
  c_keep *keep;    /* or NULL */
} c_render;

/* Suffix and width for kernels or parts where `lane` runs over lanes: 'w' if a
 * vector of the instructions marked in `needed` has 8-byte elements. */
void tg_c_set_lane(c_render *r, const bool *needed, int lane);

/* ---- text */
void tg_c_line(c_render *r, const char *format, ...) TG_PRINTF(2, 3);
void tg_c_open(c_render *r, const char *format, ...) TG_PRINTF(2, 3); /* and indents */
void tg_c_close(c_render *r);                                         /* "}" */
/* "i0 * 24 + i1 + 5" */
c_expr tg_c_row(const bi_code *code, const int64_t *row);
const char *tg_c_type(tg_dtype dtype); /* in memory: "f32"; bool is "u8" */

/* ---- values */
bool tg_c_can(const bi_code *code, int32_t ins);        /* can it be rendered at all? */
bool tg_c_is_vector(const c_render *r, int32_t ins);
c_expr tg_c_vector_type(const c_render *r, tg_dtype dtype); /* "f32n", "mn" */
c_expr tg_c_name(const c_render *r, tg_dtype dtype);    /* for functions: "f32n", "bn", "f32" */
c_expr tg_c_use(const c_render *r, int32_t ins, bool vector);
/* One variable, or a store. */
void tg_c_instruction(c_render *r, int32_t ins);
/* All marked instructions whose ranges are open and whose operands are done. */
void tg_c_level(c_render *r, const bool *needed);
/* Does this store go past the caches? Then the job ends with DRAIN(). */
bool tg_c_streams(const c_render *r, int32_t ins);
/* Marks what `root` is computed from, down to REDUCEs and what is given (or NULL). */
void tg_c_mark(const bi_code *code, int32_t root, const bool *given, bool *needed);

/* ---- values kept from stage to stage. `lanes`: see c_keep. false: out of memory */
bool tg_c_keep_new(c_keep *k, const bi_code *code, const bool *needed, uint64_t lanes);
void tg_c_keep_free(c_keep *k);
/* Decides what the stage, with `range` over lanes, shall load; stages in their order.
 * live: scratch, by instruction. */
void tg_c_keep_stage(c_keep *k, const bi_code *code, int stage, int range, const int32_t *root,
                     int count, bool *live);
void tg_c_keep_enter(c_keep *k, const bi_code *code, int stage); /* makes it the one at hand */
void tg_c_keep_pointers(c_render *r, int64_t own); /* kept<row>, at `own` in the scratch */
bool tg_c_keep_loads(const c_render *r, int32_t ins);
int tg_c_keep_row(const c_render *r, int32_t ins); /* that it is loaded from or goes to; -1 */

/* ---- parts of a kernel: functions k<kernel>_part<number>(call, job), each with
 * its own jobs; parts of one phase may run at once */
#define C_PARTS 48
typedef struct c_part {
  int phase, number;
  int64_t jobs;
} c_part;
typedef struct c_kernel {
  int parts;
  c_part part[C_PARTS];
  int64_t shared, own;
} c_kernel;
/* false: not this way */
bool tg_c_nests(c_render *r, c_kernel *k);

#endif
