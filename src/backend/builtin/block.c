/* builtin/block: kernels that run tile by tile.
 *
 * The space of lanes is chosen from the ranges that move least far in memory,
 * LOOP and FOLD alike, so that lanes lie side by side; what remains are loops
 * around the tile. Without a REDUCE each tile computes its stores. With one,
 * each tile adds to an accumulator of as many lanes; when the FOLD loops are
 * done the lanes of the tile that stand for one result are folded, and a second
 * plan goes on with one lane per result, or row.
 *
 * A REDUCE that needs another one, as the sum of exp(x - max x) does, is a stage of
 * its own, and so are stores that have more elements than there are rows. The LOOP
 * ranges that number the rows are common to all stages, those among them that are
 * lanes too; each stage chooses its other lanes for itself. What is known once per
 * row is computed once per row, between the stages, and given to the lanes of those
 * that follow.
 *
 * Few results of long folds are split: a fixed number of pieces, which follows
 * from the shapes alone, each with its own accumulator, combined in order. So
 * the bits do not depend on the number of threads.
 *
 * SERIAL ranges run in order, around LOOP lanes or, where those are few, as the
 * outer part of the lanes: stores that can meet go lane by lane.
 */
#include "backend/builtin/block.h"

#ifdef TG_HOSTILE
enum { BLOCK_PIECES = 4, BLOCK_PIECE_LEAST = 2 };
#else
enum { BLOCK_PIECES = 16, BLOCK_PIECE_LEAST = 16 };
#endif

/* ---- which ranges are lanes */

/* Positions that the instruction is computed for. */
static double block_positions(const bi_code *code, uint64_t ranges) {
  double n = 1;
  for (; ranges; ranges &= ranges - 1) n *= (double)code->range[__builtin_ctzll(ranges)].size;
  return n;
}

/* The row of the access that matters most to a stage over `own` ranges: the first
 * store, or for a REDUCE the load of the most positions. -1: none is affine. */
static int32_t block_main_row(const bi_code *code, bool reduces, uint64_t own) {
  int32_t best = -1;
  double most = 0;
  for (int32_t i = 0; i < code->count; i++) {
    const tg_ins *in = &code->ins[i];
    bool store = bi_is_store(in->op);
    if (!store && in->op != TG_OP_LOAD) continue;
    int32_t row = code->row_of[in->src[0]];
    if (row < 0 || (own && !(code->moving[row] & own))) continue;
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

/* The ranges, outermost first. SERIAL ones stay in order, outside the others. */
static int block_order(const bi_code *code, bool reduces, uint64_t ranges, uint64_t own,
                       int *order) {
  int serials = block_list(code->serials & ranges, order);
  int count = serials + block_list(ranges & ~code->serials, order + serials);
  int32_t row = block_main_row(code, reduces, own);
  if (row < 0) row = block_main_row(code, reduces, 0);
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

static bool block_among(const bi_space *space, int range) {
  for (int s = 0; s < space->count; s++)
    if (space->range[s] == range) return true;
  return false;
}

/* The lanes of a stage whose rows are the lanes `rows`: those, and of its own ranges
 * the innermost ones, whole, until the tile is full. If all rows fit, an outermost
 * range may be taken in part. */
static void block_fit(const bi_code *code, const bi_space *rows, uint64_t own, const int *order,
                      int count, bi_space *space) {
  bool partial = rows->count && rows->chunk < rows->size[0], taken[TG_MAX_RANGES] = {false};
  int64_t lanes = rows->lanes, chunk = 0;
  int left = rows->count, first = -1;
  for (int i = count - 1; i >= 0 && !chunk && !(partial && !left); i--) {
    int64_t size = code->range[order[i]].size, limit = BI_TILE / lanes;
    left -= block_among(rows, order[i]);
    if (!(own >> order[i] & 1)) continue;
    if (size > limit && (limit < 2 || left)) break;
    taken[i] = true;
    if (size > limit) chunk = block_chunk(size, limit);
    else lanes *= size;
  }
  memset(space, 0, sizeof *space);
  for (int i = 0, r = 0; i < count; i++) {
    bool row = block_among(rows, order[i]);
    if (!row && !taken[i]) continue;
    int range = row ? rows->range[r++] : order[i];
    if (first < 0) first = row;
    space->range[space->count] = range;
    space->size[space->count++] = code->range[range].size;
  }
  space->inner = 1;
  for (int i = 1; i < space->count; i++) space->inner *= space->size[i];
  space->chunk = !space->count ? 1 : chunk ? chunk : first ? rows->chunk : space->size[0];
  space->lanes = space->chunk * space->inner;
}

/* The loops around the tile, outermost first; that over tiles comes last, but
 * for a near one. Those over rows are the kernel's, if `rows` says so. */
static void block_nests(bi_block *block, block_stage *stage, const int *order, int count,
                        int near, bool rows) {
  const bi_code *code = block->code;
  const bi_space *space = &stage->body.space;
  stage->inner.total = 1;
  for (int i = 0; i <= count + 1; i++) {
    int r = i < count ? order[i] : i > count ? near : space->count ? space->range[0] : -1;
    if (r < 0 || (i < count && (r == near || block_among(space, r)))) continue;
    int64_t step = i == count ? space->chunk : 1;
    bool outer = block->across >> r & 1;
    if (outer && rows) tg_bi_nest_add(&block->outer, r, code->range[r].size, step);
    if (!outer) tg_bi_nest_add(&stage->inner, r, code->range[r].size, step);
  }
  for (int k = 0; k < stage->inner.count; k++)
    stage->inner_moves |= UINT64_C(1) << stage->inner.range[k];
}

/* ---- stages */

/* The ranges that number the rows: all LOOPs, unless REDUCEs depend on fewer. */
static bool block_across(bi_block *block) {
  const bi_code *code = block->code;
  uint64_t ranges = 0;
  bool first = true, same = true;
  for (int32_t i = 0; i < code->count; i++) {
    const tg_ins *in = &code->ins[i];
    if (in->op != TG_OP_REDUCE) continue;
    if (code->serials || (in->ranges & code->folds)) return false;
    same = same && (first || in->ranges == ranges);
    ranges |= in->ranges;
    first = false;
  }
  block->across = first ? code->loops : ranges;
  return same || (ranges == code->loops && block->nstages == 1);
}

/* The stage of REDUCE i, which needs those before `least`; -1: there are too many. */
static int block_stage_for(bi_block *block, int32_t i, int least) {
  const bi_code *code = block->code;
  int s = least;
  while (s < block->nstages && block->stage[s].nreduce < BLOCK_REDUCES &&
         code->ins[block->stage[s].reduce[0]].folded != code->ins[i].folded)
    s++;
  if (s >= BLOCK_STAGES - 1 || (s < block->nstages && block->stage[s].nreduce == BLOCK_REDUCES))
    return -1;
  if (s == block->nstages) block->nstages++;
  block->stage[s].reduce[block->stage[s].nreduce++] = i;
  return s;
}

/* Sorts the REDUCEs into stages, and finds out when each instruction is known. */
static bool block_stages(bi_block *block) {
  const bi_code *code = block->code;
  uint64_t folded = 0;
  for (int32_t i = 0; i < code->count; i++) {
    const tg_ins *in = &code->ins[i];
    int32_t known = -1;
    for (int k = 0; k < 3; k++)
      if (in->src[k] >= 0 && block->step_of[in->src[k]] > known) known = block->step_of[in->src[k]];
    if (in->op == TG_OP_REDUCE && (known = block_stage_for(block, i, known + 1)) < 0) return false;
    block->step_of[i] = known;
    folded |= in->folded;
  }
  return (folded & code->folds) == code->folds && block_across(block);
}

/* Marks what bodies are given: of what is known once per row, after a stage, that
 * which something per element is computed from. */
static void block_find_given(bi_block *block) {
  const bi_code *code = block->code;
  for (int32_t i = 0; i < code->count; i++)
    for (int k = 0; k < 3 && (code->ins[i].ranges & ~block->across); k++) {
      int32_t from = code->ins[i].src[k];
      bool once = from >= 0 && !(code->ins[from].ranges & ~block->across);
      if (once && block->step_of[from] >= 0) block->given[from] = true;
    }
}

/* ---- preparing */

static uint64_t block_innermost(const bi_nest *nest) {
  return nest->count ? UINT64_C(1) << nest->range[nest->count - 1] : 0;
}

/* The rows among the lanes of a body. */
static void block_rows(const bi_block *block, const bi_space *body, bi_space *out) {
  memset(out, 0, sizeof *out);
  out->inner = out->chunk = 1;
  for (int s = 0; s < body->count; s++) {
    if (!(block->across >> body->range[s] & 1)) continue;
    if (out->count == 0) out->chunk = s == 0 ? body->chunk : body->size[s];
    else out->inner *= body->size[s];
    out->range[out->count] = body->range[s];
    out->size[out->count++] = body->size[s];
  }
  out->lanes = out->chunk * out->inner;
}

/* What the body of stage s computes, or the plan that follows it. */
static int32_t block_roots(const bi_block *block, int s, bool row, int32_t *roots) {
  const bi_code *code = block->code;
  const block_stage *stage = &block->stage[s];
  bool last = s + 1 == block->nstages || !block->stage[s + 1].nreduce;
  int32_t count = 0;
  for (int k = 0; !row && k < stage->nreduce; k++)
    roots[count++] = code->ins[stage->reduce[k]].src[0];
  for (int32_t i = 0; i < code->count && (row || !stage->nreduce); i++) {
    const tg_ins *in = &code->ins[i];
    bool once = block->stage[0].nreduce && !(in->ranges & ~block->across);
    if (bi_is_store(in->op) ? row == once && (!row || last)
                            : row && block->given[i] && in->op != TG_OP_REDUCE &&
                                  block->step_of[i] == s)
      roots[count++] = i;
  }
  return count;
}

static void block_split(bi_block *block) {
  int64_t tiles = block->outer.total, steps = block->stage[0].inner.total;
  block->pieces = block->per_piece = 1;
  if (block->nstages > 1 || !block->stage[0].nreduce) return;
  if (tiles < BLOCK_PIECES && steps >= 2 * BLOCK_PIECE_LEAST) {
    block->pieces = BLOCK_PIECES / tiles;
    if (block->pieces > steps / BLOCK_PIECE_LEAST) block->pieces = steps / BLOCK_PIECE_LEAST;
  }
  block->per_piece = (steps + block->pieces - 1) / block->pieces;
  block->pieces = (steps + block->per_piece - 1) / block->per_piece;
}

/* The lanes of stage s and the loops around them. */
static void block_shape(bi_block *block, int s) {
  const bi_code *code = block->code;
  block_stage *stage = &block->stage[s];
  bool alone = s == 0, folds = stage->nreduce > 0;
  uint64_t own = folds ? code->ins[stage->reduce[0]].folded & code->folds
                       : (code->loops & ~block->across) | code->serials;
  int order[TG_MAX_RANGES], near = -1;
  int count = block_order(code, folds, block->across | own, alone && !folds ? 0 : own, order);
  bi_space space = {.count = 0};
  if (alone) {
    bool loops = code->serials && !block_serial_lanes(code);
    int fixed = loops ? __builtin_popcountll(code->serials) : 0;
    int left = fixed + block_space(code, order + fixed, count - fixed, &space);
    if (block->nstages == 1) near = block_near(code, &space, order, left);
    block_rows(block, &space, &block->rows);
  } else {
    block_fit(code, &block->rows, own, order, count, &space);
  }
  stage->body.space = space;
  block_nests(block, stage, order, count, near, alone);
  stage->folded = space.lanes / block->rows.lanes;
  stage->run = 1;
  for (int k = space.count - 1; k >= 0 && !(block->across >> space.range[k] & 1); k--)
    stage->run *= k ? space.size[k] : space.chunk;
}

static bool block_plans(bi_block *block, int s, int32_t *roots) {
  block_stage *stage = &block->stage[s];
  bi_space space = stage->body.space;
  uint64_t outer = block->outer.count ? block_innermost(&block->outer) : BI_ALL;
  uint64_t hot = stage->inner.count ? block_innermost(&stage->inner) : outer;
  int32_t count = block_roots(block, s, false, roots);
  if (!tg_bi_plan_given(&stage->body, block->code, &space, roots, count, hot, block->given))
    return false;
  block->nanoseconds += (double)(stage->inner.total * (stage->body.nsteps + 1)) *
                        (12.0 + 0.12 * (double)space.lanes);
  stage->body_bytes = tg_bi_state_bytes(&stage->body);
  if (!stage->nreduce) return true;
  count = block_roots(block, s, true, roots);
  if (!tg_bi_plan_make(&stage->row, block->code, &block->rows, roots, count, outer)) return false;
  stage->row_bytes = tg_bi_state_bytes(&stage->row);
  stage->acc_bytes = (size_t)stage->nreduce * (size_t)space.lanes * 8;
  return true;
}

static bool block_prepare(bi_block *block, int32_t *roots) {
  const bi_code *code = block->code;
  block_find_given(block);
  bool elements = block->nstages == 0;
  for (int32_t i = 0; i < code->count; i++)
    if (bi_is_store(code->ins[i].op) && (code->ins[i].ranges & ~block->across)) elements = true;
  if (elements) block->nstages++;
  block->outer.total = 1;
  bool good = true;
  for (int s = 0; s < block->nstages; s++) block_shape(block, s);
  for (int s = 0; good && s < block->nstages; s++) good = block_plans(block, s, roots);
  if (good) block_split(block);
  return good;
}

bi_block *tg_bi_block_new(const bi_code *code, bool *suits) {
  size_t count = (size_t)code->count;
  int32_t *roots = tg_alloc(count * sizeof *roots + 1);
  bi_block *block = tg_alloc_zero(sizeof *block);
  *suits = true;
  if (block && roots) {
    block->code = code;
    block->step_of = tg_alloc(count * sizeof *block->step_of + 1);
    block->given = tg_alloc_zero(count + 1);
  }
  bool good = block && roots && block->step_of && block->given;
  if (good) *suits = block_stages(block);
  good = good && *suits && block_prepare(block, roots);
  tg_free(roots);
  if (good) return block;
  tg_bi_block_free(block);
  return NULL;
}

void tg_bi_block_free(bi_block *block) {
  if (!block) return;
  for (int s = 0; s < block->nstages; s++) {
    tg_bi_plan_free(&block->stage[s].body);
    tg_bi_plan_free(&block->stage[s].row);
  }
  tg_free(block->step_of);
  tg_free(block->given);
  tg_free(block);
}
