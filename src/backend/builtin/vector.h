/* builtin/vector: the precompiled loops over lanes.
 *
 * A lane register is an array of values of one lane type. Every loop has the
 * same signature, n lanes of out from up to three operands, so a step of a
 * block program is a function pointer and register numbers. `out` may be the
 * same array as an operand, never one that overlaps it otherwise.
 */
#ifndef TG_BUILTIN_VECTOR_H
#define TG_BUILTIN_VECTOR_H

#include "compile/ir.h"

/* What a register holds. float16 and bfloat16 compute as float32. */
typedef enum bi_lane {
  BI_BOOL, BI_I8, BI_U8, BI_I16, BI_U16, BI_I32, BI_U32, BI_I64, BI_U64, BI_F32, BI_F64,
  BI_LANES
} bi_lane;

typedef void (*bi_loop)(int64_t n, void *out, const void *x, const void *y, const void *z);

typedef struct bi_loops {
  const char *name;
  bi_loop alu[TG_OP_COUNT][BI_LANES]; /* by the operands' lane type */
  bi_loop cast[BI_LANES][BI_LANES];   /* [to][from]; NULL: the same bits */
  bi_loop widen[2];  /* float32 from float16, bfloat16 in memory */
  bi_loop narrow[2]; /* and back, rounding */
  bi_loop round[2];  /* there and back: what has a value in 16 bits */
  /* by the log2 of the element size */
  bi_loop fill[4];   /* out[i] = x[0] */
  bi_loop where[4];  /* out[i] = x[i] ? y[i] : z[i], x bool */
  bi_loop gather[4]; /* out[i] = x[y[i]], y int64 */
  bi_loop masked[4]; /* out[i] = z[i] ? x[y[i]] : 0, z bool */
  bi_loop scatter[4];/* out[y[i]] = x[i], in the order of i */
  bi_loop shift;     /* int64: out[i] = x[i] + y[0] */
  bi_loop divide, modulo; /* int64 below 2^31: y = {magic, shift, divisor} */
  bi_loop pairs[2];  /* float32: out[i] = x[2i] and x[2i + 1] added; the greater */
  bi_loop fold_add[BI_LANES], fold_max[BI_LANES]; /* out[0] = x[0..n) folded */
} bi_loops;

/* The best for this machine. */
const bi_loops *tg_bi_vector(void);

static inline bi_lane bi_lane_of(tg_dtype dtype) {
  if (dtype == TG_FLOAT64) return BI_F64;
  return dtype >= TG_FLOAT16 ? BI_F32 : (bi_lane)((int)dtype - 1);
}
/* log2 of the bytes of a lane */
static inline int bi_lane_log2(bi_lane lane) {
  static const int log2_size[BI_LANES] = {0, 0, 0, 1, 1, 2, 2, 3, 3, 2, 3};
  return log2_size[lane];
}

#endif
