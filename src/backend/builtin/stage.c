/* builtin/stage: runs what block.c has prepared.
 *
 * For each tile of rows, stage after stage: the body goes over the elements and adds
 * to the accumulators of the stage's REDUCEs; those are folded to one lane per row;
 * the plan over rows computes from them what the later stages need; and before
 * a body starts, what it is given is spread over its lanes.
 */
#include "backend/builtin/block.h"

typedef struct stage_work {
  bi_state body[BLOCK_STAGES], row[BLOCK_STAGES];
  void *acc[BLOCK_STAGES][BLOCK_REDUCES];
  int64_t *row_at[BLOCK_STAGES]; /* lane of a body -> lane of the rows */
  void **value;                  /* instruction -> its lanes over rows, once known */
} stage_work;

static size_t stage_head(const bi_block *block) {
  size_t bytes = sizeof(stage_work) + (size_t)block->code->count * sizeof(void *);
  return (bytes + 63) & ~(size_t)63;
}

static size_t stage_work_bytes(const bi_block *block) {
  size_t bytes = stage_head(block) + 64;
  for (int s = 0; s < block->nstages; s++) {
    const block_stage *stage = &block->stage[s];
    bytes += stage->body_bytes + stage->row_bytes + ((stage->acc_bytes + 63) & ~(size_t)63);
    bytes += ((size_t)stage->body.space.lanes * 8 + 63) & ~(size_t)63;
  }
  return bytes;
}

/* Where the lanes of a body find their row. */
static void stage_find_rows(const bi_block *block, const block_stage *stage, int64_t *row_at) {
  int64_t stride[TG_MAX_RANGES + 1] = {0}, step = 1;
  for (int k = block->rows.count - 1; k >= 0; k--) {
    stride[block->rows.range[k]] = step;
    step *= block->rows.size[k];
  }
  tg_bi_fill_table(&stage->body.space, stride, 0, stage->body.space.lanes, row_at);
}

static char *stage_init(const bi_block *block, stage_work *work, int s, char *memory) {
  const block_stage *stage = &block->stage[s];
  tg_bi_state_init(&work->body[s], &stage->body, memory);
  tg_bi_set_lanes(&work->body[s], block->code, 0, stage->body.space.lanes);
  memory += stage->body_bytes;
  work->row_at[s] = (int64_t *)(void *)memory;
  stage_find_rows(block, stage, work->row_at[s]);
  memory += ((size_t)stage->body.space.lanes * 8 + 63) & ~(size_t)63;
  if (!stage->nreduce) return memory;
  tg_bi_state_init(&work->row[s], &stage->row, memory);
  tg_bi_set_lanes(&work->row[s], block->code, 0, block->rows.lanes);
  memory += stage->row_bytes;
  for (int k = 0; k < stage->nreduce; k++)
    work->acc[s][k] = memory + k * stage->body.space.lanes * 8;
  return memory + ((stage->acc_bytes + 63) & ~(size_t)63);
}

static void stage_work_init(const void *program, char *memory, const char *scratch) {
  (void)scratch;
  const bi_block *block = program;
  stage_work *work = (stage_work *)(void *)memory;
  work->value = (void **)(void *)(work + 1);
  memory += stage_head(block);
  for (int s = 0; s < block->nstages; s++) memory = stage_init(block, work, s, memory);
}

/* The lanes of the tile at the worker's position. */
static int64_t stage_lanes(const bi_space *space, const int64_t *pos) {
  if (!space->count) return 1;
  int64_t left = space->size[0] - pos[space->range[0]];
  return (left < space->chunk ? left : space->chunk) * space->inner;
}

/* ---- folding */

static bi_lane stage_lane(const bi_block *block, int32_t reduce) {
  return bi_lane_of(block->code->ins[reduce].dtype);
}

static bi_loop stage_op(const bi_block *block, int32_t reduce) {
  return block->code->vector->alu[block->code->ins[reduce].fold][stage_lane(block, reduce)];
}

/* The value that folding starts from. */
static void stage_identity(const bi_block *block, int32_t reduce, int64_t n, void *acc) {
  static const uint8_t low_i8 = 0x80;
  static const uint16_t low_i16 = 0x8000;
  static const uint32_t low_i32 = 0x80000000u;
  static const uint64_t low_i64 = UINT64_C(1) << 63, zero = 0;
  static const float low_f32 = -__builtin_inff();
  static const double low_f64 = -__builtin_inf();
  bi_lane lane = stage_lane(block, reduce);
  const void *low[BI_LANES] = {
      [BI_BOOL] = &zero,   [BI_I8] = &low_i8,   [BI_U8] = &zero,    [BI_I16] = &low_i16,
      [BI_U16] = &zero,    [BI_I32] = &low_i32, [BI_U32] = &zero,   [BI_I64] = &low_i64,
      [BI_U64] = &zero,    [BI_F32] = &low_f32, [BI_F64] = &low_f64};
  bool max = block->code->ins[reduce].fold == TG_OP_MAX;
  block->code->vector->fill[bi_lane_log2(lane)](n, acc, max ? low[lane] : &zero, NULL, NULL);
}

/* The lanes that REDUCE k of stage s folds. */
static void *stage_operand(const bi_block *block, const stage_work *work, int s, int k) {
  int32_t value = block->code->ins[block->stage[s].reduce[k]].src[0];
  return work->body[s].reg[block->stage[s].body.reg_of[value]];
}

/* Adds the tile's values to the accumulators. A first tile that fills all lanes
 * that will ever count is the accumulator's start; an only one is folded as it is. */
static void stage_accumulate(const bi_block *block, stage_work *work, int s, int64_t n,
                             int64_t full, bool first) {
  const block_stage *stage = &block->stage[s];
  for (int k = 0; k < stage->nreduce && stage->inner.total > 1; k++) {
    int32_t reduce = stage->reduce[k];
    const void *from = stage_operand(block, work, s, k);
    void *acc = work->acc[s][k];
    if (first && n == full) {
      memcpy(acc, from, (size_t)n << bi_lane_log2(stage_lane(block, reduce)));
      continue;
    }
    if (first) stage_identity(block, reduce, full, acc);
    stage_op(block, reduce)(n, acc, acc, from, NULL);
  }
}

/* The steps `begin` to `end` of the body of stage s over one tile of rows. */
static void stage_steps(const bi_block *block, bi_worker *worker, stage_work *work, int s,
                        int64_t begin, int64_t end, uint64_t moved) {
  const block_stage *stage = &block->stage[s];
  const bi_space *space = &stage->body.space;
  tg_bi_nest_start(&stage->inner, begin, worker->pos);
  bool by_rows = space->count && (block->across >> space->range[0] & 1);
  for (int64_t i = begin; i < end; i++) {
    int64_t n = stage_lanes(space, worker->pos);
    tg_bi_eval(&work->body[s], worker, n, moved);
    stage_accumulate(block, work, s, n, by_rows ? n : space->lanes, i == begin);
    moved = tg_bi_nest_next(&stage->inner, worker->pos);
  }
}

/* n lanes as [n / (folded * inner)][folded][inner]: folds the middle; `to` may be
 * `from`. */
static void stage_fold_axis(const bi_block *block, int32_t reduce, char *to, const char *from,
                            int64_t n, int64_t folded, int64_t inner) {
  const bi_loops *v = block->code->vector;
  bi_lane lane = stage_lane(block, reduce);
  bool max = block->code->ins[reduce].fold == TG_OP_MAX;
  bi_loop fold = max ? v->fold_max[lane] : v->fold_add[lane], op = stage_op(block, reduce);
  int log2 = bi_lane_log2(lane);
  int64_t outer = n / (folded * inner);
  if (inner == 1 && folded == 2 && lane == BI_F32) {
    v->pairs[max](outer, to, from, NULL, NULL);
    return;
  }
  for (int64_t i = 0; i < outer; i++, to += inner << log2, from += (folded * inner) << log2) {
    if (inner == 1) {
      fold(folded, to, from, NULL, NULL);
      continue;
    }
    op(inner, to, from, from + (inner << log2), NULL);
    for (int64_t f = 2; f < folded; f++) op(inner, to, to, from + ((f * inner) << log2), NULL);
  }
}

/* A sum begins with +0.0, so that of nothing but -0.0 is +0.0; folds begin with a term. */
static void stage_plus_zero(bi_lane lane, int64_t n, void *to, const void *from) {
  const float *f = from;
  const double *d = from;
  for (int64_t i = 0; i < n && lane == BI_F32; i++) ((float *)to)[i] = f[i] + 0.0f;
  for (int64_t i = 0; i < n && lane == BI_F64; i++) ((double *)to)[i] = d[i] + 0.0;
}

/* Folds the n lanes of REDUCE k to one per row, innermost range first. */
static void *stage_fold_tile(const bi_block *block, stage_work *work, int s, int k, int64_t n) {
  const bi_space *space = &block->stage[s].body.space;
  int32_t reduce = block->stage[s].reduce[k];
  void *acc = work->acc[s][k];
  void *from = block->stage[s].inner.total > 1 ? acc : stage_operand(block, work, s, k);
  int64_t inner = 1;
  for (int i = space->count - 1; i >= 0; i--) {
    int64_t size = i == 0 ? space->chunk : space->size[i];
    if (block->across >> space->range[i] & 1) {
      inner *= size;
    } else if (size > 1) {
      stage_fold_axis(block, reduce, acc, from, n, size, inner);
      from = acc;
      n /= size;
    }
  }
  bi_lane lane = stage_lane(block, reduce);
  bool real = lane == BI_F32 || lane == BI_F64;
  if (!real || block->code->ins[reduce].fold == TG_OP_MAX) return from;
  stage_plus_zero(lane, n, acc, from);
  return acc;
}

/* ---- what is known once per row */

/* Spreads a value over rows to the lanes of a body. */
static void stage_spread(const bi_block *block, stage_work *work, int s, int32_t i) {
  const block_stage *stage = &block->stage[s];
  const bi_loops *v = block->code->vector;
  void **reg = &work->body[s].reg[stage->body.reg_of[i]];
  int log2 = bi_lane_log2(stage_lane(block, i));
  int64_t lanes = stage->body.space.lanes, run = stage->run;
  const char *value = work->value[i];
  if (lanes == block->rows.lanes) {
    *reg = work->value[i];
    return;
  }
  if (run < 16) {
    v->gather[log2](lanes, *reg, value, work->row_at[s], NULL);
    return;
  }
  for (int64_t k = 0; k < lanes; k += run)
    v->fill[log2](run, (char *)*reg + (k << log2), value + (work->row_at[s][k] << log2), NULL,
                  NULL);
}

static void stage_give(const bi_block *block, stage_work *work, int s) {
  for (int32_t i = 0; s > 0 && i < block->code->count; i++)
    if (block->given[i] && block->stage[s].body.reg_of[i] >= 0) stage_spread(block, work, s, i);
}

/* After the fold: folds the lanes, computes what is known once per row. */
static void stage_finish(const bi_block *block, bi_worker *worker, stage_work *work, int s,
                         uint64_t moved) {
  const block_stage *stage = &block->stage[s];
  bi_state *row = &work->row[s];
  int64_t rows = stage_lanes(&block->rows, worker->pos);
  if (!stage->nreduce) return;
  for (int k = 0; k < stage->nreduce; k++)
    work->value[stage->reduce[k]] = stage_fold_tile(block, work, s, k, rows * stage->folded);
  for (int t = 0; t <= s; t++)
    for (int k = 0; k < block->stage[t].nreduce; k++) {
      int32_t reg = stage->row.reg_of[block->stage[t].reduce[k]];
      if (reg >= 0) row->reg[reg] = work->value[block->stage[t].reduce[k]];
    }
  tg_bi_eval(row, worker, rows, moved);
  for (int32_t i = 0; i < block->code->count; i++)
    if (block->given[i] && block->step_of[i] == s && block->code->ins[i].op != TG_OP_REDUCE)
      work->value[i] = row->reg[stage->row.reg_of[i]];
}

/* ---- jobs */

static void stage_job(bi_call *call, bi_worker *worker, char *memory, int64_t job) {
  const bi_block *block = call->program;
  stage_work *work = (stage_work *)(void *)memory;
  int64_t i = job * call->per_job, end = i + call->per_job;
  uint64_t moved = BI_ALL;
  if (end > call->items) end = call->items;
  tg_bi_nest_start(&block->outer, i, worker->pos);
  for (; i < end; i++) {
    for (int s = 0; s < block->nstages; s++) {
      const block_stage *stage = &block->stage[s];
      stage_give(block, work, s);
      stage_steps(block, worker, work, s, 0, stage->inner.total,
                  moved == BI_ALL ? moved : moved | stage->inner_moves);
      stage_finish(block, worker, work, s, moved);
    }
    moved = tg_bi_nest_next(&block->outer, worker->pos);
  }
}

/* ---- folds in pieces: job = tile * pieces + piece */

static char *stage_piece(const bi_call *call, const bi_block *block, int64_t job) {
  return call->scratch + (size_t)job * block->stage[0].acc_bytes;
}

static void stage_piece_job(bi_call *call, bi_worker *worker, char *memory, int64_t job) {
  const bi_block *block = call->program;
  const block_stage *stage = &block->stage[0];
  stage_work *work = (stage_work *)(void *)memory;
  int64_t begin = job % block->pieces * block->per_piece, end = begin + block->per_piece;
  if (end > stage->inner.total) end = stage->inner.total;
  tg_bi_nest_start(&block->outer, job / block->pieces, worker->pos);
  for (int k = 0; k < stage->nreduce; k++)
    work->acc[0][k] = stage_piece(call, block, job) + k * stage->body.space.lanes * 8;
  stage_steps(block, worker, work, 0, begin, end, BI_ALL);
}

static void stage_combine_job(bi_call *call, bi_worker *worker, char *memory, int64_t tile) {
  const bi_block *block = call->program;
  const block_stage *stage = &block->stage[0];
  stage_work *work = (stage_work *)(void *)memory;
  tg_bi_nest_start(&block->outer, tile, worker->pos);
  int64_t n = stage_lanes(&block->rows, worker->pos) * stage->folded;
  for (int k = 0; k < stage->nreduce; k++) {
    int64_t at = k * stage->body.space.lanes * 8;
    work->acc[0][k] = stage_piece(call, block, tile * block->pieces) + at;
    for (int64_t p = 1; p < block->pieces; p++)
      stage_op(block, stage->reduce[k])(n, work->acc[0][k], work->acc[0][k],
                                        stage_piece(call, block, tile * block->pieces + p) + at,
                                        NULL);
  }
  stage_finish(block, worker, work, 0, BI_ALL);
}

static int stage_run_pieces(const bi_block *block, bi_call *call) {
  int64_t jobs = block->outer.total * block->pieces;
  call->shared = (size_t)jobs * block->stage[0].acc_bytes;
  if (!tg_bi_call_begin(call, jobs)) return -1;
  call->job = stage_piece_job;
  tg_bi_call_jobs(call, jobs);
  call->job = stage_combine_job;
  tg_bi_call_jobs(call, block->outer.total);
  return tg_bi_call_end(call);
}

int tg_bi_block_run(const bi_block *block, void *const *data) {
  bi_call call = {.program = block, .code = block->code, .data = data};
  call.own = stage_work_bytes(block);
  call.prepare = stage_work_init;
  call.items = block->outer.total;
  if (block->pieces > 1) return stage_run_pieces(block, &call);
  call.job = stage_job;
  call.per_job = tg_bi_items_per_job(call.items, block->nanoseconds);
  int64_t jobs = (call.items + call.per_job - 1) / call.per_job;
  if (!tg_bi_call_begin(&call, jobs)) return -1;
  tg_bi_call_jobs(&call, jobs);
  return tg_bi_call_end(&call);
}
