/* builtin/block: what block.c prepares and stage.c runs. */
#ifndef TG_BUILTIN_BLOCK_H
#define TG_BUILTIN_BLOCK_H

#include "backend/builtin/builtin.h"

#define BLOCK_REDUCES 8
#define BLOCK_STAGES 9

/* One pass over the elements of a tile of rows. */
typedef struct block_stage {
  bi_plan body;       /* over elements: what the REDUCEs fold, or stores */
  bi_nest inner;      /* loops around the body within the rows: FOLD, SERIAL, elements */
  uint64_t inner_moves;
  int nreduce;
  int32_t reduce[BLOCK_REDUCES];
  int64_t folded;     /* lanes per row */
  int64_t run;        /* lanes side by side that are of one row */
  bi_plan row;        /* over rows, afterwards: what later stages are given, stores */
  size_t body_bytes, row_bytes, acc_bytes;
} block_stage;

struct bi_block {
  const bi_code *code;
  uint64_t across;    /* the LOOP ranges that number the rows */
  bi_space rows;      /* those that are lanes */
  bi_nest outer;      /* and loops around the stages */
  int nstages;
  block_stage stage[BLOCK_STAGES];
  int32_t *step_of;   /* instruction -> the stage after which it is known, -1: none needed */
  bool *given;        /* instructions that bodies are given, once per row */
  int64_t pieces, per_piece;
  double nanoseconds; /* a guess, per outer iteration */
};

#endif
