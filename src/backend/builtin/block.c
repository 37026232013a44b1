/* builtin/block: kernels that run tile by tile.
 *
 * The space of lanes is chosen from the ranges that move least far in memory,
 * LOOP and FOLD alike, so that lanes lie side by side; what remains are loops
 * around the tile. Without a REDUCE each tile computes its stores. With one,
 * each tile adds to an accumulator of as many lanes; when the FOLD loops are
 * done the lanes of the tile that stand for one result are folded, and a second
 * plan, the epilogue, goes on with one lane per result.
 *
 * Few results of long folds are split: a fixed number of pieces, which follows
 * from the shapes alone, each with its own accumulator, combined in order. So
 * the bits do not depend on the number of threads.
 *
 * SERIAL ranges run in order, around LOOP lanes or, where those are few, as the
 * outer part of the lanes: stores that can meet go lane by lane.
 */
#include "backend/builtin/builtin.h"

#define BLOCK_REDUCES 8
#ifdef TG_HOSTILE
enum { BLOCK_PIECES = 4, BLOCK_PIECE_LEAST = 2 };
#else
enum { BLOCK_PIECES = 16, BLOCK_PIECE_LEAST = 16 };
#endif

struct bi_block {
  const bi_code *code;
  bi_plan body, epilogue;
  bi_nest outer, inner; /* tiles of results; FOLD or SERIAL loops of each */
  uint64_t inner_moves;
  int nreduce;
  int32_t reduce[BLOCK_REDUCES];
  int64_t folded;       /* lanes per result within a tile */
  int64_t pieces, per_piece;
  size_t body_bytes, epilogue_bytes, acc_bytes;
  double nanoseconds;   /* a guess, per outer iteration */
};

/* ---- which ranges are lanes */

/* Positions that the instruction is computed for. */
static double block_positions(const bi_code *code, uint64_t ranges) {
  double n = 1;
  for (; ranges; ranges &= ranges - 1) n *= (double)code->range[__builtin_ctzll(ranges)].size;
  return n;
}

/* The row of the access that matters most: the first store, or for a REDUCE
 * the load of the most positions. -1: none is affine. */
static int32_t block_main_row(const bi_code *code, bool reduces) {
  int32_t best = -1;
  double most = 0;
  for (int32_t i = 0; i < code->count; i++) {
    const tg_ins *in = &code->ins[i];
    bool store = bi_is_store(in->op);
    if (!store && in->op != TG_OP_LOAD) continue;
    int32_t row = code->row_of[in->src[0]];
    if (row < 0) continue;
    double n = block_positions(code, code->moving[row]);
    if (store) n = reduces ? 0.5 : n * 4;
    if (n > most) most = n, best = row;
  }
  return best;
}

/* Sorts so that the range that moves least far comes last; those that do not
 * move come first. */
static void block_sort(int *range, int count, const int64_t *row) {
  for (int i = 1; i < count; i++)
    for (int k = i; k > 0; k--) {
      int64_t before = row[range[k - 1]], after = row[range[k]];
      uint64_t p = (uint64_t)(before < 0 ? -before : before) - 1; /* 0: the largest */
      uint64_t q = (uint64_t)(after < 0 ? -after : after) - 1;
      if (p >= q) break;
      int swap = range[k - 1];
      range[k - 1] = range[k];
      range[k] = swap;
    }
}

static int block_list(uint64_t ranges, int *list) {
  int count = 0;
  for (; ranges; ranges &= ranges - 1) list[count++] = __builtin_ctzll(ranges);
  return count;
}

/* All ranges, outermost first. SERIAL ones stay in order, outside the others. */
static int block_order(const bi_code *code, bool reduces, int *order) {
  int serials = block_list(code->serials, order);
  int count = serials + block_list(code->loops | code->folds, order + serials);
  int32_t row = block_main_row(code, reduces);
  if (row >= 0) block_sort(order + serials, count - serials, bi_row(code, row));
  return count;
}

static int64_t block_chunk(int64_t size, int64_t limit) {
  int64_t pieces = (size + limit - 1) / limit;
  int64_t chunk = (size + pieces - 1) / pieces;
  int64_t even = (chunk + 15) & ~INT64_C(15);
  return even <= limit && chunk < size ? even : chunk;
}

/* Takes the innermost ranges until the tile is full; gives how many are left. */
static int block_space(const bi_code *code, const int *order, int count, bi_space *space) {
  int first = count;
  space->inner = 1;
  space->chunk = 1;
  while (first > 0) {
    int64_t size = code->range[order[first - 1]].size, limit = BI_TILE / space->inner;
    if (limit < 2) break;
    first--;
    space->chunk = size <= limit ? size : block_chunk(size, limit);
    if (size > limit) break;
    if (first > 0) space->inner *= size;
  }
  space->count = count - first;
  for (int i = first; i < count; i++) {
    space->range[i - first] = order[i];
    space->size[i - first] = code->range[order[i]].size;
  }
  space->inner = 1;
  for (int i = 1; i < space->count; i++) space->inner *= space->size[i];
  if (space->count) space->chunk = block_chunk(space->size[0], BI_TILE / space->inner);
  space->lanes = space->chunk * space->inner;
  return first;
}

/* May SERIAL ranges be lanes? Not when what is stored is also loaded. */
static bool block_serial_lanes(const bi_code *code) {
  for (int32_t i = 0; i < code->count; i++)
    for (int32_t k = 0; bi_is_store(code->ins[i].op) && k < code->count; k++)
      if (code->ins[k].op == TG_OP_LOAD && code->ins[k].slot == code->ins[i].slot) return false;
  return true;
}

/* A loop outside the tile along which a load moves by one element while its
 * lanes are far apart, as in a transposition: it should go round innermost, so
 * that the cache lines that the lanes touch are used whole. -1: none. */
static int block_near(const bi_code *code, const bi_space *space, const int *order, int left) {
  for (int32_t i = 0; space->count && i < code->count; i++) {
    int32_t at = code->ins[i].op == TG_OP_LOAD ? code->row_of[code->ins[i].src[0]] : -1;
    if (at < 0) continue;
    int64_t lanes = bi_row(code, at)[space->range[space->count - 1]];
    for (int k = 0; k < left && (lanes > 15 || lanes < -15); k++) {
      int64_t step = bi_row(code, at)[order[k]];
      if ((step == 1 || step == -1) && code->range[order[k]].kind == TG_LOOP) return order[k];
    }
  }
  return -1;
}

/* The loops around the tile, outermost first; that over tiles comes last, but
 * for a near one. */
static void block_nests(bi_block *block, const int *order, int left, int near) {
  const bi_code *code = block->code;
  const bi_space *space = &block->body.space;
  block->outer.total = block->inner.total = 1;
  for (int i = 0; i <= left + 1; i++) {
    int r = i < left ? order[i] : i > left ? near : space->count ? space->range[0] : -1;
    if (r < 0 || (i < left && r == near)) continue;
    int64_t step = i == left ? space->chunk : 1;
    bi_nest *nest = code->range[r].kind == TG_LOOP ? &block->outer : &block->inner;
    tg_bi_nest_add(nest, r, code->range[r].size, step);
  }
  for (int k = 0; k < block->inner.count; k++)
    block->inner_moves |= UINT64_C(1) << block->inner.range[k];
}

/* ---- preparing */

static uint64_t block_innermost(const bi_nest *nest) {
  return nest->count ? UINT64_C(1) << nest->range[nest->count - 1] : 0;
}

static int32_t block_roots(const bi_code *code, bool reduces, int32_t *roots) {
  int32_t count = 0;
  for (int32_t i = 0; i < code->count; i++)
    if (reduces ? code->ins[i].op == TG_OP_REDUCE : bi_is_store(code->ins[i].op))
      roots[count++] = reduces ? code->ins[i].src[0] : i;
  return count;
}

/* The LOOP part of the body's space. */
static void block_results(const bi_code *code, const bi_space *body, bi_space *out) {
  memset(out, 0, sizeof *out);
  out->inner = out->chunk = 1;
  for (int s = 0; s < body->count; s++) {
    if (code->range[body->range[s]].kind != TG_LOOP) continue;
    if (out->count == 0) out->chunk = s == 0 ? body->chunk : body->size[s];
    else out->inner *= body->size[s];
    out->range[out->count] = body->range[s];
    out->size[out->count++] = body->size[s];
  }
  out->lanes = out->chunk * out->inner;
}

static void block_split(bi_block *block) {
  int64_t tiles = block->outer.total, steps = block->inner.total;
  block->pieces = 1;
  if (tiles < BLOCK_PIECES && steps >= 2 * BLOCK_PIECE_LEAST) {
    block->pieces = BLOCK_PIECES / tiles;
    if (block->pieces > steps / BLOCK_PIECE_LEAST) block->pieces = steps / BLOCK_PIECE_LEAST;
  }
  block->per_piece = (steps + block->pieces - 1) / block->pieces;
  block->pieces = (steps + block->per_piece - 1) / block->per_piece;
}

static bool block_epilogue(bi_block *block, int32_t *roots) {
  const bi_code *code = block->code;
  bi_space results;
  for (int32_t i = 0; i < code->count; i++)
    if (code->ins[i].op == TG_OP_REDUCE) block->reduce[block->nreduce++] = i;
  block_results(code, &block->body.space, &results);
  int32_t count = block_roots(code, false, roots);
  uint64_t hot = block->outer.count ? block_innermost(&block->outer) : BI_ALL;
  if (!tg_bi_plan_make(&block->epilogue, code, &results, roots, count, hot)) return false;
  block->folded = block->body.space.lanes / results.lanes;
  block_split(block);
  block->epilogue_bytes = tg_bi_state_bytes(&block->epilogue);
  block->acc_bytes = (size_t)block->nreduce * (size_t)block->body.space.lanes * 8;
  return true;
}

static bool block_prepare(bi_block *block, bool reduces, int32_t *roots) {
  const bi_code *code = block->code;
  int order[TG_MAX_RANGES];
  bi_space space = {.count = 0};
  int count = block_order(code, reduces, order);
  int fixed = code->serials && !block_serial_lanes(code) ? __builtin_popcountll(code->serials) : 0;
  int left = fixed + block_space(code, order + fixed, count - fixed, &space);
  int near = block_near(code, &space, order, left);
  block->body.space = space;
  block_nests(block, order, left, near);
  uint64_t hot = block_innermost(block->inner.count ? &block->inner : &block->outer);
  int32_t nroots = block_roots(code, reduces, roots);
  if (!tg_bi_plan_make(&block->body, code, &space, roots, nroots, hot ? hot : BI_ALL)) return false;
  block->body_bytes = tg_bi_state_bytes(&block->body);
  block->nanoseconds = (double)(block->inner.total * (block->body.nsteps + 1)) *
                       (12.0 + 0.12 * (double)space.lanes);
  return !reduces || block_epilogue(block, roots);
}

/* All REDUCEs fold the same ranges, and none stands inside another. */
static bool block_suits(const bi_code *code, int *reduces) {
  uint64_t folded = 0;
  *reduces = 0;
  for (int32_t i = 0; i < code->count; i++) {
    const tg_ins *in = &code->ins[i];
    if (in->op != TG_OP_REDUCE) continue;
    if (code->serials || (in->ranges & code->folds)) return false;
    if (++*reduces > BLOCK_REDUCES || (folded && in->folded != folded)) return false;
    folded = in->folded;
  }
  if ((folded & code->folds) != code->folds) return false;
  /* the operand of one must not be computed from another */
  for (int32_t i = 0; i < code->count; i++)
    for (int k = 0; k < 3 && (code->ins[i].ranges & code->folds); k++) {
      int32_t from = code->ins[i].src[k];
      if (from >= 0 && code->ins[from].op == TG_OP_REDUCE) return false;
    }
  return true;
}

/* Are a REDUCE's operands free of other REDUCEs, also by way of what does not
 * move with the folded ranges? */
static bool block_layered(const bi_code *code, bool *tainted) {
  for (int32_t i = 0; i < code->count; i++) {
    const tg_ins *in = &code->ins[i];
    tainted[i] = false;
    for (int k = 0; k < 3; k++)
      if (in->src[k] >= 0 && tainted[in->src[k]]) tainted[i] = true;
    if (in->op == TG_OP_REDUCE && tainted[i]) return false;
    if (in->op == TG_OP_REDUCE) tainted[i] = true;
  }
  return true;
}

bi_block *tg_bi_block_new(const bi_code *code, bool *suits) {
  int reduces;
  *suits = block_suits(code, &reduces);
  if (!*suits) return NULL;
  int32_t *roots = tg_alloc((size_t)code->count * (sizeof *roots + 1) + 1);
  bi_block *block = tg_alloc_zero(sizeof *block);
  bool *tainted = roots ? (bool *)(roots + code->count) : NULL;
  if (block && roots) {
    block->code = code;
    *suits = block_layered(code, tainted);
  }
  bool good = block && roots && *suits && block_prepare(block, reduces > 0, roots);
  tg_free(roots);
  if (good) return block;
  tg_bi_block_free(block);
  return NULL;
}

void tg_bi_block_free(bi_block *block) {
  if (!block) return;
  tg_bi_plan_free(&block->body);
  tg_bi_plan_free(&block->epilogue);
  tg_free(block);
}

/* ---- running */

typedef struct block_work {
  bi_state body, epilogue;
  void *acc[BLOCK_REDUCES];
} block_work;

static size_t block_work_bytes(const bi_block *block) {
  size_t head = (sizeof(block_work) + 63) & ~(size_t)63;
  return head + block->body_bytes + block->epilogue_bytes + block->acc_bytes + 64;
}

static void block_work_init(const void *program, char *memory, const char *scratch) {
  (void)scratch;
  const bi_block *block = program;
  block_work *work = (block_work *)(void *)memory;
  memory += (sizeof(block_work) + 63) & ~(size_t)63;
  tg_bi_state_init(&work->body, &block->body, memory);
  tg_bi_set_lanes(&work->body, block->code, 0, block->body.space.lanes);
  memory += block->body_bytes;
  if (!block->nreduce) return;
  tg_bi_state_init(&work->epilogue, &block->epilogue, memory);
  tg_bi_set_lanes(&work->epilogue, block->code, 0, block->epilogue.space.lanes);
  memory += block->epilogue_bytes;
  for (int k = 0; k < block->nreduce; k++) work->acc[k] = memory + k * block->body.space.lanes * 8;
}

/* The lanes of the tile at the worker's position. */
static int64_t block_lanes(const bi_space *space, const int64_t *pos) {
  if (!space->count) return 1;
  int64_t left = space->size[0] - pos[space->range[0]];
  return (left < space->chunk ? left : space->chunk) * space->inner;
}

/* Stores only: every tile of the items, SERIAL loops inside. */
static void block_store_job(bi_call *call, bi_worker *worker, char *memory, int64_t job) {
  const bi_block *block = call->program;
  block_work *work = (block_work *)(void *)memory;
  int64_t i = job * call->per_job, end = i + call->per_job;
  uint64_t moved = BI_ALL;
  if (end > call->items) end = call->items;
  tg_bi_nest_start(&block->outer, i, worker->pos);
  for (; i < end; i++) {
    for (int64_t k = 0; k < block->inner.total; k++) {
      tg_bi_eval(&work->body, worker, block_lanes(&block->body.space, worker->pos), moved);
      moved = tg_bi_nest_next(&block->inner, worker->pos);
    }
    moved |= tg_bi_nest_next(&block->outer, worker->pos);
  }
}

static bi_lane block_lane(const bi_block *block, int k) {
  return bi_lane_of(block->code->ins[block->reduce[k]].dtype);
}

static bi_loop block_op(const bi_block *block, int k) {
  const tg_ins *in = &block->code->ins[block->reduce[k]];
  return block->code->vector->alu[in->fold][block_lane(block, k)];
}

/* The value that folding starts from. */
static void block_identity(const bi_block *block, int k, int64_t n, void *acc) {
  static const uint8_t low_i8 = 0x80;
  static const uint16_t low_i16 = 0x8000;
  static const uint32_t low_i32 = 0x80000000u;
  static const uint64_t low_i64 = UINT64_C(1) << 63, zero = 0;
  static const float low_f32 = -__builtin_inff();
  static const double low_f64 = -__builtin_inf();
  bi_lane lane = block_lane(block, k);
  const void *low[BI_LANES] = {
      [BI_BOOL] = &zero,   [BI_I8] = &low_i8,   [BI_U8] = &zero,    [BI_I16] = &low_i16,
      [BI_U16] = &zero,    [BI_I32] = &low_i32, [BI_U32] = &zero,   [BI_I64] = &low_i64,
      [BI_U64] = &zero,    [BI_F32] = &low_f32, [BI_F64] = &low_f64};
  bool max = block->code->ins[block->reduce[k]].fold == TG_OP_MAX;
  block->code->vector->fill[bi_lane_log2(lane)](n, acc, max ? low[lane] : &zero, NULL, NULL);
}

/* Adds the tile's values to the accumulators. A first tile that fills all lanes
 * that will ever count is the accumulator's start. */
static void block_accumulate(const bi_block *block, block_work *work, int64_t n, int64_t full,
                             bool first) {
  for (int k = 0; k < block->nreduce; k++) {
    int32_t value = block->code->ins[block->reduce[k]].src[0];
    const void *from = work->body.reg[block->body.reg_of[value]];
    if (first && n == full) {
      memcpy(work->acc[k], from, (size_t)n << bi_lane_log2(block_lane(block, k)));
      continue;
    }
    if (first) block_identity(block, k, full, work->acc[k]);
    block_op(block, k)(n, work->acc[k], work->acc[k], from, NULL);
  }
}

/* The FOLD steps `begin` to `end` of one tile of results. */
static void block_fold_steps(const bi_block *block, bi_worker *worker, block_work *work,
                             int64_t begin, int64_t end, uint64_t moved) {
  const bi_space *space = &block->body.space;
  tg_bi_nest_start(&block->inner, begin, worker->pos);
  bool by_results = space->count && block->code->range[space->range[0]].kind == TG_LOOP;
  for (int64_t i = begin; i < end; i++) {
    int64_t n = block_lanes(space, worker->pos);
    tg_bi_eval(&work->body, worker, n, moved);
    block_accumulate(block, work, n, by_results ? n : space->lanes, i == begin);
    moved = tg_bi_nest_next(&block->inner, worker->pos);
  }
}

/* n lanes as [n / (folded * inner)][folded][inner]: folds the middle, in place. */
static void block_fold_axis(const bi_block *block, int k, char *acc, int64_t n, int64_t folded,
                            int64_t inner) {
  const bi_loops *v = block->code->vector;
  const tg_ins *in = &block->code->ins[block->reduce[k]];
  bi_lane lane = block_lane(block, k);
  bool max = in->fold == TG_OP_MAX;
  bi_loop fold = max ? v->fold_max[lane] : v->fold_add[lane], op = block_op(block, k);
  int log2 = bi_lane_log2(lane);
  int64_t outer = n / (folded * inner);
  if (folded == 1) return;
  if (inner == 1 && folded == 2 && lane == BI_F32) {
    v->pairs[max](outer, acc, acc, NULL, NULL);
    return;
  }
  for (int64_t i = 0; i < outer; i++) {
    char *to = acc + ((i * inner) << log2), *from = acc + ((i * folded * inner) << log2);
    if (inner == 1) {
      fold(folded, to, from, NULL, NULL);
      continue;
    }
    op(inner, to, from, from + (inner << log2), NULL);
    for (int64_t f = 2; f < folded; f++) op(inner, to, to, from + ((f * inner) << log2), NULL);
  }
}

/* Folds the n lanes of the tile to one per result, innermost range first. */
static void *block_fold_tile(const bi_block *block, block_work *work, int k, int64_t n) {
  const bi_space *space = &block->body.space;
  int64_t inner = 1;
  for (int s = space->count - 1; s >= 0; s--) {
    int64_t size = s == 0 ? space->chunk : space->size[s];
    if (block->code->range[space->range[s]].kind == TG_LOOP) {
      inner *= size;
      continue;
    }
    block_fold_axis(block, k, work->acc[k], n, size, inner);
    n /= size;
  }
  return work->acc[k];
}

static void block_finish(const bi_block *block, bi_worker *worker, block_work *work,
                         uint64_t moved) {
  int64_t results = block_lanes(&block->epilogue.space, worker->pos);
  for (int k = 0; k < block->nreduce; k++) {
    int32_t reg = block->epilogue.reg_of[block->reduce[k]];
    if (reg >= 0)
      work->epilogue.reg[reg] = block_fold_tile(block, work, k, results * block->folded);
  }
  tg_bi_eval(&work->epilogue, worker, results, moved);
}

static void block_reduce_job(bi_call *call, bi_worker *worker, char *memory, int64_t job) {
  const bi_block *block = call->program;
  block_work *work = (block_work *)(void *)memory;
  int64_t i = job * call->per_job, end = i + call->per_job;
  uint64_t moved = BI_ALL;
  if (end > call->items) end = call->items;
  tg_bi_nest_start(&block->outer, i, worker->pos);
  for (; i < end; i++) {
    uint64_t again = moved == BI_ALL ? moved : moved | block->inner_moves;
    block_fold_steps(block, worker, work, 0, block->inner.total, again);
    block_finish(block, worker, work, moved);
    moved = tg_bi_nest_next(&block->outer, worker->pos);
  }
}

/* ---- folds in pieces: job = tile * pieces + piece */

static char *block_piece(const bi_call *call, const bi_block *block, int64_t job) {
  return call->scratch + (size_t)job * block->acc_bytes;
}

static void block_piece_job(bi_call *call, bi_worker *worker, char *memory, int64_t job) {
  const bi_block *block = call->program;
  block_work *work = (block_work *)(void *)memory;
  int64_t begin = job % block->pieces * block->per_piece, end = begin + block->per_piece;
  if (end > block->inner.total) end = block->inner.total;
  tg_bi_nest_start(&block->outer, job / block->pieces, worker->pos);
  for (int k = 0; k < block->nreduce; k++)
    work->acc[k] = block_piece(call, block, job) + k * block->body.space.lanes * 8;
  block_fold_steps(block, worker, work, begin, end, BI_ALL);
}

static void block_combine_job(bi_call *call, bi_worker *worker, char *memory, int64_t tile) {
  const bi_block *block = call->program;
  block_work *work = (block_work *)(void *)memory;
  tg_bi_nest_start(&block->outer, tile, worker->pos);
  int64_t n = block_lanes(&block->epilogue.space, worker->pos) * block->folded;
  for (int k = 0; k < block->nreduce; k++) {
    int64_t at = k * block->body.space.lanes * 8;
    work->acc[k] = block_piece(call, block, tile * block->pieces) + at;
    for (int64_t p = 1; p < block->pieces; p++)
      block_op(block, k)(n, work->acc[k], work->acc[k],
                         block_piece(call, block, tile * block->pieces + p) + at, NULL);
  }
  block_finish(block, worker, work, BI_ALL);
}

static int block_run_pieces(const bi_block *block, bi_call *call) {
  int64_t jobs = block->outer.total * block->pieces;
  call->shared = (size_t)jobs * block->acc_bytes;
  if (!tg_bi_call_begin(call, jobs)) return -1;
  call->job = block_piece_job;
  tg_bi_call_jobs(call, jobs);
  call->job = block_combine_job;
  tg_bi_call_jobs(call, block->outer.total);
  return tg_bi_call_end(call);
}

int tg_bi_block_run(const bi_block *block, void *const *data) {
  bi_call call = {.program = block, .code = block->code, .data = data};
  call.own = block_work_bytes(block);
  call.prepare = block_work_init;
  call.items = block->outer.total;
  if (block->nreduce && block->pieces > 1) return block_run_pieces(block, &call);
  call.job = block->nreduce ? block_reduce_job : block_store_job;
  call.per_job = tg_bi_items_per_job(call.items, block->nanoseconds);
  int64_t jobs = (call.items + call.per_job - 1) / call.per_job;
  if (!tg_bi_call_begin(&call, jobs)) return -1;
  tg_bi_call_jobs(&call, jobs);
  return tg_bi_call_end(&call);
}
