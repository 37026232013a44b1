/* compile: the kernel IR, the single contract between compile/ and backend/.
 *
 * A kernel is a list of instructions in an order where operands come first.
 * There are no jumps. Loops are implied: each RANGE is a loop variable, and an
 * instruction is computed for every combination of the ranges it depends on
 * (`ranges`, a bit per range). The kinds of a range:
 *
 *   LOOP    positions of the result; any order, may run in parallel
 *   FOLD    folded by REDUCE instructions; what is computed from a REDUCE no
 *           longer depends on it. The ranges folded by any two REDUCEs are equal
 *           or disjoint; equal ones share a loop, and do not depend on each other
 *   SERIAL  positions that may store to the same element (scatter): they run
 *           one after the other, in ascending order, the first range outermost
 *
 * So `out[i] = sum over k of a[i * 8 + k] * b[k]` is
 *
 *   0 RANGE i          4 LOAD a [3]      8 MUL 6 7? ... and so on; run with
 *   DEBUG=3 to see real ones (docs/tour.md follows one).
 *
 * A kernel may hold several STOREs, each to an output of its own; each runs once
 * for every combination of the LOOP ranges it depends on. STOREs that share no
 * range, not even by way of others, are independent nests of one kernel.
 *
 * Index arithmetic is int64 and uses the same instructions (ADD, MUL, DIV, MOD,
 * CMPLT, AND ...). It has been simplified: what is affine in the ranges is
 * written as a sum of range * constant (tg_affine finds it). Instructions are
 * hash-consed: equal ones exist once.
 *
 * float16 and bfloat16 are what memory holds: they are loaded, stored, moved,
 * compared and cast. Arithmetic on them is written as float32 between two CASTs,
 * the second of which rounds, so that a value is the same whether it went through
 * memory or not.
 */
#ifndef TG_IR_H
#define TG_IR_H

#include "graph/graph.h"

#define TG_MAX_RANGES 64

typedef enum tg_range_kind { TG_LOOP, TG_FOLD, TG_SERIAL } tg_range_kind;
typedef struct tg_range {
  int64_t size; /* at least 1 */
  tg_range_kind kind;
} tg_range;

typedef struct tg_ins {
  tg_op op;
  tg_dtype dtype;
  int32_t src[3];   /* instructions; -1: none */
  int32_t slot;     /* RANGE: which; LOAD, STORE, STORE_ADD: which buffer */
  tg_value value;   /* CONST: the value; CHECK: the bound in .i */
  tg_op fold;       /* REDUCE: TG_OP_ADD or TG_OP_MAX */
  uint64_t folded;  /* REDUCE: the ranges it folds */
  uint64_t ranges;  /* what it depends on */
  int64_t low, high;/* int64 instructions: bounds, inclusive */
} tg_ins;
/* Operands: LOAD index [gate]; STORE, STORE_ADD index value; REDUCE value;
 * CHECK index; everything else as in the op table. A LOAD whose gate is false
 * must not touch memory and gives 0. */

typedef struct tg_slot {
  tg_dtype dtype;
  int64_t numel;
  bool read, written;
  bool finite; /* assumed: what is in it is neither infinite nor NaN (build.c) */
} tg_slot;

typedef struct tg_kernel {
  tg_ins *ins;
  int32_t count;
  int64_t ins_room;
  int32_t nranges;
  tg_range range[TG_MAX_RANGES];
  int32_t noutputs; /* slots 0 .. noutputs-1 are written, by one STORE each */
  int32_t nslots;
  tg_slot *slot;
  int64_t slot_room;
  char name[64];    /* e.g. "sum_128_10": for DEBUG and generated code */
  char *origin;     /* the graph ops and shapes it came from, or NULL */
  int64_t flops;    /* arithmetic instructions over all positions, for DEBUG=2 */
} tg_kernel;

void tg_kernel_free(tg_kernel *kernel);
/* Two kernels with the same bytes here compute the same: ranges, slots and
 * instructions, not the name. */
uint64_t tg_kernel_hash(const tg_kernel *kernel);
bool tg_kernel_equal(const tg_kernel *a, const tg_kernel *b);
bool tg_ins_equal(const tg_ins *a, const tg_ins *b);
/* Writes the kernel as text, for DEBUG=3. Returns a tg_alloc'd string. */
char *tg_kernel_text(const tg_kernel *kernel);
/* 0, or -1 and a message that names the instruction and the broken rule. */
int tg_kernel_verify(const tg_kernel *kernel);

/* The independent nests of a kernel: how many, and if there are several, each as a kernel
 * of its own with the slots of the whole (split.c). -1: no memory. */
int tg_kernel_split(const tg_kernel *kernel, tg_kernel ***parts);
void tg_kernel_split_free(tg_kernel **parts, int count);

/* `ins` as offset + sum of range[i] * stride[i]; false if it is not affine. */
typedef struct tg_affine {
  int64_t offset;
  int64_t stride[TG_MAX_RANGES];
} tg_affine;
bool tg_affine_of(const tg_kernel *kernel, int32_t ins, tg_affine *out);

#endif
