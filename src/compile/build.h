/* compile/build: makes kernels instruction by instruction, simplified as they
 * are made.
 *
 * Errors are sticky: when memory runs out every call gives instruction 0 and
 * tg_builder_end returns NULL, so the callers need not look.
 */
#ifndef TG_BUILD_H
#define TG_BUILD_H

#include "compile/ir.h"

typedef struct tg_builder {
  tg_kernel *kernel;
  bool exact;         /* nothing is assumed of numbers: see build.c */
  int32_t *table;     /* hash-consing: instruction + 1, or 0 */
  int64_t table_size; /* a power of two */
  bool failed;
} tg_builder;

bool tg_builder_begin(tg_builder *b, bool exact);
tg_kernel *tg_builder_end(tg_builder *b);

int32_t tg_ir_slot(tg_builder *b, tg_dtype dtype, int64_t numel);
int32_t tg_ir_range(tg_builder *b, int64_t size, tg_range_kind kind); /* size 1: the constant 0 */
int32_t tg_ir_const(tg_builder *b, tg_dtype dtype, tg_value value);
int32_t tg_ir_int(tg_builder *b, int64_t value); /* an int64 constant */
int32_t tg_ir_bool(tg_builder *b, bool value);
/* An elementwise op. Operands that the op does not have are -1. */
int32_t tg_ir_alu(tg_builder *b, tg_op op, tg_dtype dtype, int32_t x, int32_t y, int32_t z);
int32_t tg_ir_load(tg_builder *b, int32_t slot, int32_t index, int32_t gate); /* gate may be -1 */
int32_t tg_ir_check(tg_builder *b, int32_t index, int64_t bound);
int32_t tg_ir_reduce(tg_builder *b, tg_op fold, int32_t value, uint64_t ranges);
int32_t tg_ir_store(tg_builder *b, tg_op op, int32_t slot, int32_t index, int32_t value);

/* Index arithmetic (simplify.c): int64, floor division by a constant. */
int32_t tg_ix_add(tg_builder *b, int32_t x, int32_t y);
int32_t tg_ix_mul(tg_builder *b, int32_t x, int64_t factor);
int32_t tg_ix_div(tg_builder *b, int32_t x, int64_t divisor);
int32_t tg_ix_mod(tg_builder *b, int32_t x, int64_t divisor);
int32_t tg_ix_less(tg_builder *b, int32_t x, int32_t y);
int32_t tg_ir_and(tg_builder *b, int32_t x, int32_t y); /* bool; -1 stands for true */

static inline const tg_ins *tg_ins_at(const tg_builder *b, int32_t i) {
  return &b->kernel->ins[i];
}
static inline bool tg_ins_is_int(const tg_builder *b, int32_t i, int64_t value) {
  const tg_ins *in = tg_ins_at(b, i);
  return in->op == TG_OP_CONST && !tg_dtype_is_float(in->dtype) && in->value.i == value;
}
/* floor(a / b) for b > 0. */
static inline int64_t tg_floor_div(int64_t a, int64_t b) {
  return a / b - (a % b != 0 && a < 0);
}
/* For simplify.c: the instruction as it is, hash-consed, bounds filled in. */
int32_t tg_ir_raw(tg_builder *b, tg_ins in);

#endif
