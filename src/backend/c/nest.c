/* c/nest: elementwise kernels and reductions as loops.
 *
 * STOREs that share ranges form a nest. Its LOOP ranges that everything in it
 * depends on are the outer loops; inside them come stages, one after the other:
 * each level of REDUCEs folds its ranges in loops of its own, and the STOREs come
 * last. So softmax is: for each row, a loop for the maximum, one for the sum, one
 * that stores.
 *
 * One range runs over the lanes of vectors: an outer one, so that all stages work
 * on several results at once (sums over columns), or one in each stage (sums over
 * rows: lanes are folded at the end). Which is cheaper is estimated from how loads
 * and stores step along each range. The end of a range that does not fill a vector
 * is a partial vector: a copy of the body with `part` lanes.
 *
 * The outer loops are cut into jobs by the shapes alone. Few results of long folds
 * are cut along the fold instead: pieces leave partial sums, a second phase adds
 * them in order.
 */
#include "backend/c/render.h"

#include <stdio.h>

enum { CN_STAGES = 12, CN_ROOTS = 24, CN_UNROLL = 4, CN_JOBS = 64, CN_PIECES = 32,
       CN_SHARE = 5000 /* ns of work for a job or a piece, at least */,
       CN_SMALL = 300 /* ns per instruction; below, unrolling costs more than it gains */ };

typedef struct cn_stage {
  uint64_t ranges;    /* looped in this stage */
  int level;          /* REDUCEs: 1 + that of the ones they need; 0: STOREs */
  int lane;           /* of its own, or -1 */
  int count;
  int32_t root[CN_ROOTS];
  int loops, loop[TG_MAX_RANGES]; /* outermost first, the lane last */
} cn_stage;

typedef struct cn_nest {
  uint64_t outer;
  int lane;           /* among the outer ranges, or -1 */
  int loops, loop[TG_MAX_RANGES]; /* outer ones, without the lane */
  int stages;
  cn_stage stage[CN_STAGES];
  int64_t pieces, per_piece; /* of the only REDUCE stage's first loop */
  int64_t fixed;      /* leading outer loops that jobs count through */
  int64_t flat, chunk, chunks, items, per_job, jobs;
  int64_t total;      /* results */
  size_t partial;     /* where the pieces' sums are in the shared scratch */
  bool *needed;       /* by the nest; then by the stage at hand */
  bool *stage_needed;
  double work;        /* nanoseconds, a guess */
  c_keep keep;        /* what stages load instead of computing it again */
} cn_nest;

static int64_t cn_size(const c_render *r, int range) { return r->code->range[range].size; }

static double cn_positions(const bi_code *code, uint64_t ranges) {
  double n = 1;
  for (; ranges; ranges &= ranges - 1) n *= (double)code->range[__builtin_ctzll(ranges)].size;
  return n;
}

/* ---- stages */

/* How many REDUCEs stand one in another below i; uses `level` as a table. */
static void cn_levels(const bi_code *code, int8_t *level) {
  for (int32_t i = 0; i < code->count; i++) {
    const tg_ins *in = &code->ins[i];
    level[i] = 0;
    for (int k = 0; k < 3; k++)
      if (in->src[k] >= 0 && level[in->src[k]] > level[i]) level[i] = level[in->src[k]];
    if (in->op == TG_OP_REDUCE) level[i]++;
  }
}

static cn_stage *cn_stage_for(cn_nest *n, uint64_t ranges, int level) {
  for (int s = 0; s < n->stages; s++)
    if (n->stage[s].ranges == ranges && n->stage[s].level == level &&
        n->stage[s].count < CN_ROOTS)
      return &n->stage[s];
  if (n->stages == CN_STAGES) return NULL;
  n->stage[n->stages] = (cn_stage){.ranges = ranges, .level = level, .lane = -1};
  return &n->stage[n->stages++];
}

static bool cn_add(cn_nest *n, uint64_t ranges, int level, int32_t root) {
  cn_stage *stage = cn_stage_for(n, ranges, level);
  if (stage) stage->root[stage->count++] = root;
  return stage != NULL;
}

/* The outer ranges: those that every REDUCE and every STORE depends on. */
static bool cn_outer(const bi_code *code, cn_nest *n) {
  n->outer = code->loops;
  bool reduces = false;
  for (int32_t i = 0; i < code->count; i++) {
    const tg_ins *in = &code->ins[i];
    if (n->needed[i] && (in->op == TG_OP_REDUCE || bi_is_store(in->op))) n->outer &= in->ranges;
    if (n->needed[i] && in->op == TG_OP_REDUCE) reduces = true;
  }
  for (int32_t i = 0; reduces && i < code->count; i++)
    if (n->needed[i] && code->ins[i].op == TG_OP_REDUCE && code->ins[i].ranges != n->outer)
      return false;
  return true;
}

static bool cn_stages(const bi_code *code, cn_nest *n, int8_t *level) {
  cn_levels(code, level);
  int most = 0;
  for (int32_t i = 0; i < code->count; i++)
    if (n->needed[i] && code->ins[i].op == TG_OP_REDUCE && level[i] > most) most = level[i];
  bool good = true;
  for (int l = 1; l <= most; l++)
    for (int32_t i = 0; good && i < code->count; i++)
      if (n->needed[i] && code->ins[i].op == TG_OP_REDUCE && level[i] == l)
        good = cn_add(n, code->ins[i].folded & code->folds, l, i);
  for (int32_t i = 0; good && i < code->count; i++)
    if (n->needed[i] && bi_is_store(code->ins[i].op))
      good = cn_add(n, code->ins[i].ranges & ~n->outer, 0, i);
  return good;
}

static void cn_need_stage(const bi_code *code, cn_nest *n, const cn_stage *s) {
  memset(n->stage_needed, 0, (size_t)code->count);
  for (int k = 0; k < s->count; k++) tg_c_mark(code, s->root[k], n->keep.given, n->stage_needed);
}

/* ---- which range runs over lanes */

/* Cost of a load or store per position, in nanoseconds. */
static double cn_access(const bi_code *code, const tg_ins *in, int lane, double vector) {
  int32_t row = code->row_of[in->src[0]];
  if (!(in->ranges >> lane & 1)) return 0.4;
  if (row < 0) return 1.0;
  int64_t step = bi_row(code, row)[lane];
  if (step == 1 || step == 0) return 0.4 * vector;
  return step == 2 || step == -1 ? 0.25 : step < 16 && step > -16 ? 0.4 : 0.8;
}

/* The stage with `lane` over lanes. */
static double cn_stage_cost(const c_render *r, const cn_nest *n, const cn_stage *s, int lane) {
  const bi_code *code = r->code;
  double size = (double)cn_size(r, lane), width = tg_isa_vector_bytes() / 4.0;
  double vectors = (double)(((int64_t)size + (int64_t)width - 1) / (int64_t)width);
  double vector = vectors / size, cost = 0;
  for (int32_t i = 0; i < code->count; i++) {
    const tg_ins *in = &code->ins[i];
    if (!n->stage_needed[i] || in->op == TG_OP_CONST || code->row_of[i] >= 0) continue;
    uint64_t ranges = in->op == TG_OP_REDUCE ? in->ranges | s->ranges : in->ranges;
    double each = in->op == TG_OP_LOAD || bi_is_store(in->op)
                      ? cn_access(code, in, lane, vector)
                      : 0.25 * (tg_op_table[in->op].cost + 0.5) * (ranges >> lane & 1 ? vector : 1);
    cost += each * cn_positions(code, ranges);
  }
  if (s->level && (s->ranges >> lane & 1)) cost += cn_positions(code, n->outer) * 5.0;
  return cost;
}

static int cn_best_lane(const c_render *r, cn_nest *n, const cn_stage *s, uint64_t from,
                        double *cost) {
  int best = -1;
  for (; from; from &= from - 1) {
    int range = __builtin_ctzll(from);
    double c = cn_stage_cost(r, n, s, range);
    if (best < 0 || c < *cost) best = range, *cost = c;
  }
  return best;
}

static void cn_choose_lanes(const c_render *r, cn_nest *n) {
  double outer[TG_MAX_RANGES] = {0}, inner = 0, best = 0;
  for (int s = 0; s < n->stages; s++) {
    cn_stage *stage = &n->stage[s];
    double cost = 0;
    cn_need_stage(r->code, n, stage);
    stage->lane = cn_best_lane(r, n, stage, stage->ranges, &cost);
    if (stage->lane < 0) cost = cn_positions(r->code, n->outer) * 4.0 * stage->count;
    inner += cost;
    for (uint64_t left = n->outer; left; left &= left - 1) {
      int range = __builtin_ctzll(left);
      outer[range] += cn_stage_cost(r, n, stage, range);
    }
  }
  n->lane = -1;
  for (uint64_t left = n->outer; left; left &= left - 1) {
    int range = __builtin_ctzll(left);
    if (n->lane < 0 || outer[range] < best) n->lane = range, best = outer[range];
  }
  if (n->lane >= 0 && best >= inner) n->lane = -1;
  for (int s = 0; s < n->stages && n->lane >= 0; s++) n->stage[s].lane = -1;
  n->work = n->lane >= 0 ? best : inner;
}

/* ---- the order of loops */

/* The row of the access of most positions in the stage (or of any). */
static const int64_t *cn_main_row(const bi_code *code, const bool *needed) {
  const int64_t *best = NULL;
  double most = 0;
  for (int32_t i = 0; i < code->count; i++) {
    const tg_ins *in = &code->ins[i];
    if (!needed[i] || (in->op != TG_OP_LOAD && !bi_is_store(in->op))) continue;
    int32_t row = code->row_of[in->src[0]];
    double n = cn_positions(code, in->ranges) * (bi_is_store(in->op) ? 2 : 1);
    if (row >= 0 && n > most) most = n, best = bi_row(code, row);
  }
  return best;
}

/* Ranges of the mask, those that step furthest first. */
static int cn_order(uint64_t ranges, const int64_t *row, int *loop) {
  int count = 0;
  for (; ranges; ranges &= ranges - 1) {
    int range = __builtin_ctzll(ranges), at = count++;
    uint64_t far = row ? (uint64_t)(row[range] < 0 ? -row[range] : row[range]) - 1 : 0;
    for (; row && at > 0; at--) {
      int64_t step = row[loop[at - 1]];
      if ((uint64_t)(step < 0 ? -step : step) - 1 >= far) break;
      loop[at] = loop[at - 1];
    }
    loop[at] = range;
  }
  return count;
}

static uint64_t cn_bit(int range) { return range < 0 ? 0 : UINT64_C(1) << range; }

static void cn_order_loops(const c_render *r, cn_nest *n) {
  n->loops = cn_order(n->outer & ~cn_bit(n->lane), cn_main_row(r->code, n->needed), n->loop);
  for (int s = 0; s < n->stages; s++) {
    cn_stage *stage = &n->stage[s];
    cn_need_stage(r->code, n, stage);
    const int64_t *row = cn_main_row(r->code, n->stage_needed);
    stage->loops = cn_order(stage->ranges & ~cn_bit(stage->lane), row, stage->loop);
    if (stage->lane >= 0) stage->loop[stage->loops++] = stage->lane;
  }
}

/* Values that one stage computes and another needs again. */
static bool cn_keep(const c_render *r, cn_nest *n, c_kernel *k) {
  uint64_t lanes = 0;
  int stages = 0;
  for (int s = 0; s < n->stages; s++)
    if (n->stage[s].lane >= 0 && n->stage[s].loops == 1)
      lanes |= cn_bit(n->stage[s].lane), stages++;
  if (stages < 2 || n->pieces > 1) return true;
  if (!tg_c_keep_new(&n->keep, r->code, n->needed, lanes)) return false;
  for (int s = 0; s < n->stages; s++)
    tg_c_keep_stage(&n->keep, r->code, s, n->stage[s].lane, n->stage[s].root, n->stage[s].count,
                    n->stage_needed);
  if (n->keep.bytes > k->own) k->own = n->keep.bytes;
  return true;
}

/* ---- jobs */

static int64_t cn_ceil(int64_t a, int64_t b) { return (a + b - 1) / b; }

/* Jobs count through the first outer loops, as few as give enough of them, and
 * through chunks of the lane's range when even all are too few. */
static void cn_cut(const c_render *r, cn_nest *n) {
  double share = n->work / CN_SHARE;
  int64_t wanted = share < 2 ? 1 : share < CN_JOBS ? (int64_t)share : CN_JOBS;
  n->flat = 1;
  for (n->fixed = 0; n->fixed < n->loops && n->flat < wanted * 4; n->fixed++)
    n->flat *= cn_size(r, n->loop[n->fixed]);
  int64_t lanes = n->lane >= 0 ? cn_size(r, n->lane) : 1;
  n->chunk = lanes;
  if (n->lane >= 0 && n->flat < wanted) {
    int64_t most = cn_ceil(lanes, cn_ceil(wanted, n->flat));
    n->chunk = cn_ceil(most, 16 * CN_UNROLL) * 16 * CN_UNROLL;
    if (n->chunk > lanes) n->chunk = lanes;
  }
  n->chunks = cn_ceil(lanes, n->chunk);
  n->items = n->flat * n->chunks;
  n->per_job = cn_ceil(n->items, wanted);
  n->jobs = cn_ceil(n->items, n->per_job);
}

/* Few results, long folds: cut the fold's first loop (in vectors, if it is the
 * lane's) into pieces. */
static void cn_cut_fold(const c_render *r, cn_nest *n, c_kernel *k) {
  n->pieces = 1;
  int reduces = 0;
  for (int s = 0; s < n->stages; s++) reduces += n->stage[s].level > 0;
  const cn_stage *stage = &n->stage[0];
  if (reduces != 1 || !stage->loops || n->work < 2 * CN_SHARE || n->jobs >= 8) return;
  int64_t size = cn_size(r, stage->loop[0]), step = stage->loop[0] == stage->lane ? 64 : 1;
  int64_t pieces = cn_ceil(CN_PIECES, n->jobs);
  if (pieces > (int64_t)(n->work / CN_SHARE) + 1) pieces = (int64_t)(n->work / CN_SHARE) + 1;
  n->per_piece = cn_ceil(cn_ceil(size, pieces), step) * step;
  n->pieces = cn_ceil(size, n->per_piece);
  if (n->pieces < 2) return;
  n->partial = (size_t)k->shared;
  n->total = (int64_t)cn_positions(r->code, n->outer);
  k->shared += n->pieces * stage->count * n->total * 8 + 64;
}

/* ---- writing: accumulators */

typedef struct cn_writer {
  c_render *r;
  cn_nest *n;
  int phase;   /* 0: the whole; 1: the sums of pieces; 2: adds them and goes on */
  int at_once; /* vectors per turn of the lane loop being written */
  bool *saved; /* [3][count]: what had a variable before a block, by depth */
} cn_writer;

static const char *cn_lowest(const c_render *r, tg_dtype dtype, bool vector) {
  switch (dtype) {
    case TG_FLOAT32: return "-__builtin_inff()";
    case TG_FLOAT64: return "-__builtin_inf()";
    case TG_INT8: return "-128";
    case TG_INT16: return "-32768";
    case TG_INT32: return "(-2147483647 - 1)";
    case TG_INT64:
      return vector && r->suffix == 'n' ? "(-2147483647 - 1)" : "(-0x7fffffffffffffff - 1)";
    case TG_BOOL: case TG_UINT8: case TG_UINT16: case TG_UINT32: case TG_UINT64:
    case TG_FLOAT16: case TG_BFLOAT16: case TG_DEFAULT_DTYPE: break;
  }
  return "0";
}

static c_expr cn_identity(const c_render *r, const tg_ins *in, bool vector) {
  c_expr e, name = tg_c_name(r, in->dtype);
  if (in->dtype == TG_BOOL) name = tg_c_vector_type(r, TG_BOOL);
  const char *low = in->fold == TG_OP_MAX ? cn_lowest(r, in->dtype, vector) : "0";
  snprintf(e.at, sizeof e.at, vector ? "splat_%.20s(%s)" : "%.0s%s", name.at, low);
  return e;
}

/* x folded with y, as an expression. */
static c_expr cn_fold(const c_render *r, const tg_ins *in, bool vector, const char *x,
                      const char *y) {
  c_expr e;
  c_render scalar = *r;
  if (!vector) scalar.lane = -1;
  c_expr name = tg_c_name(&scalar, in->dtype);
  if (in->dtype == TG_BOOL) snprintf(e.at, sizeof e.at, "%.1000s | %.1000s", x, y);
  else if (in->fold == TG_OP_ADD) snprintf(e.at, sizeof e.at, "%.1000s + %.1000s", x, y);
  else snprintf(e.at, sizeof e.at, "max_%.40s(%.1000s, %.1000s)", name.at, x, y);
  return e;
}

/* Lanes that will be folded into one result are kept apart from it, as a<i>. */
static bool cn_folds_lanes(const cn_stage *s) { return s->level && s->lane >= 0; }

/* Behind an unrolled loop the first of an array goes on alone. */
static c_expr cn_accumulator(const cn_writer *w, const cn_stage *s, int32_t i, bool vector) {
  c_expr e;
  const char *index = w->r->unroll < 2 || !vector ? "" : w->at_once > 1 ? "[u]" : "[0]";
  snprintf(e.at, sizeof e.at, "%c%d%s", cn_folds_lanes(s) ? 'a' : 'v', i, index);
  return e;
}

static bool cn_vector_root(const c_render *r, const cn_stage *s, int32_t i) {
  return cn_folds_lanes(s) || tg_c_is_vector(r, i);
}

static void cn_declare(c_render *r, const cn_stage *s) {
  for (int k = 0; k < s->count; k++) {
    const tg_ins *in = &r->code->ins[s->root[k]];
    bool vector = cn_vector_root(r, s, s->root[k]), array = vector && r->unroll > 1;
    c_expr type = tg_c_vector_type(r, in->dtype), start = cn_identity(r, in, vector);
    const char *scalar = in->dtype == TG_BOOL ? "_Bool" : tg_c_type(in->dtype);
    char letter = cn_folds_lanes(s) ? 'a' : 'v';
    if (array) tg_c_line(r, "%s %c%d[%d];", type.at, letter, s->root[k], r->unroll);
    else tg_c_line(r, "%s %c%d = %s;", vector ? type.at : scalar, letter, s->root[k], start.at);
    if (array)
      tg_c_line(r, "UNROLL for (int u = 0; u < %d; u++) %c%d[u] = %s;", r->unroll, letter,
                s->root[k], start.at);
  }
}

/* Adds the values at the innermost position to the accumulators. */
static void cn_accumulate(const cn_writer *w, const cn_stage *s) {
  c_render *r = w->r;
  for (int k = 0; k < s->count; k++) {
    const tg_ins *in = &r->code->ins[s->root[k]];
    bool vector = cn_vector_root(r, s, s->root[k]);
    c_expr x = tg_c_use(r, in->src[0], vector), type = tg_c_name(r, in->dtype);
    if (cn_folds_lanes(s) && r->part) {
      c_expr start = cn_identity(r, in, true), masked;
      snprintf(masked.at, sizeof masked.at, "select_%.40s(first_%c(%d), %.500s, %.500s)", type.at,
               r->suffix, r->part, x.at, start.at);
      x = masked;
    }
    c_expr to = cn_accumulator(w, s, s->root[k], vector);
    c_expr sum = cn_fold(r, in, vector, to.at, x.at);
    tg_c_line(r, "%s = %s;", to.at, sum.at);
  }
}

/* Folds the lanes: a<i> into v<i>. */
static void cn_finish(c_render *r, const cn_stage *s) {
  for (int k = 0; k < s->count && cn_folds_lanes(s); k++) {
    int32_t i = s->root[k];
    const tg_ins *in = &r->code->ins[i];
    c_expr type = tg_c_name(r, in->dtype);
    for (int u = 1; u < r->unroll; u++) {
      char x[32], y[32];
      snprintf(x, sizeof x, "a%d[0]", i);
      snprintf(y, sizeof y, "a%d[%d]", i, u);
      c_expr sum = cn_fold(r, in, true, x, y);
      tg_c_line(r, "%s = %s;", x, sum.at);
    }
    const char *fold = in->fold == TG_OP_ADD && in->dtype != TG_BOOL ? "sum" : "max_of";
    const char *scalar = in->dtype == TG_BOOL ? "_Bool" : tg_c_type(in->dtype);
    tg_c_line(r, "const %s v%d = %s_%s(a%d%s);", scalar, i, fold, type.at, i,
              r->unroll > 1 ? "[0]" : "");
  }
}

/* ---- writing: loops */

static void cn_save(const cn_writer *w, int depth) {
  size_t count = (size_t)w->r->code->count;
  memcpy(w->saved + (size_t)depth * count, w->r->done, count);
}

static void cn_restore(const cn_writer *w, int depth) {
  size_t count = (size_t)w->r->code->count;
  memcpy(w->r->done, w->saved + (size_t)depth * count, count);
}

/* The innermost block: values, then accumulators (stores are values). */
static void cn_inside(cn_writer *w, const cn_stage *s, int lane, int part) {
  c_render *r = w->r;
  uint64_t open = r->open;
  bool array = w->at_once > 1;
  cn_save(w, 0);
  if (array) tg_c_open(r, "UNROLL for (int u = 0; u < %d; u++) {", w->at_once);
  else tg_c_open(r, "{");
  if (lane >= 0 && array) tg_c_line(r, "const i64 i%d = b%d + u * %d;", lane, lane, r->width);
  else if (lane >= 0) tg_c_line(r, "const i64 i%d = b%d;", lane, lane);
  r->open |= cn_bit(lane);
  r->part = part;
  tg_c_level(r, w->n->stage_needed);
  if (s->level) cn_accumulate(w, s);
  r->part = 0;
  tg_c_close(r);
  r->open = open;
  cn_restore(w, 0);
}

typedef void cn_body(cn_writer *w, const cn_stage *s, int lane, int part);

/* Writes `body` for the vectors of range `lane` from `low` to `high`: several at
 * once, one by one, and the partial one at the end. */
static void cn_lane_loop(cn_writer *w, const cn_stage *s, int lane, int unroll, const char *low,
                         const char *high, cn_body *body) {
  c_render *r = w->r;
  int64_t size = cn_size(r, lane);
  int width = r->width;
  tg_c_line(r, "i64 b%d = %s;", lane, low);
  for (int many = unroll; many >= 1; many = many > 1 ? 1 : 0) {
    int64_t left = unroll > 1 && many == 1 ? size % (unroll * width) : size;
    if (left < many * width && !(many == 1 && left >= width)) continue;
    w->at_once = many;
    tg_c_open(r, "for (; b%d + %d <= %s; b%d += %d) {", lane, many * width, high, lane,
              many * width);
    body(w, s, lane, 0);
    tg_c_close(r);
  }
  w->at_once = 1;
  if (size % width == 0) return;
  tg_c_open(r, "if (b%d < %s) {", lane, high);
  body(w, s, lane, (int)(size % width));
  tg_c_close(r);
}

static void cn_loop(c_render *r, int range, const char *low, const char *high) {
  tg_c_open(r, "for (i64 i%d = %s; i%d < %s; i%d++) {", range, low, range, high, range);
  r->open |= cn_bit(range);
}

/* Enough vectors at once to hide the latency of additions. */
static int cn_unroll(const c_render *r, const cn_stage *s, int lane) {
  int64_t vectors = cn_size(r, lane) / r->width;
  if (!s->level || vectors < CN_UNROLL) return 1;
  bool fold = s->lane >= 0;
  return fold && vectors < 4 * CN_UNROLL ? 2 : CN_UNROLL;
}

/* The loops of a stage around its innermost block. */
static void cn_fold_loops(cn_writer *w, const cn_stage *s, int part) {
  c_render *r = w->r;
  char end[32];
  int opened = 0, loops = s->loops - (s->lane >= 0);
  uint64_t open = r->open;
  for (int l = 0; l < s->loops; l++) {
    bool cut = l == 0 && w->phase == 1;
    snprintf(end, sizeof end, cut ? "to" : "%lld", (long long)cn_size(r, s->loop[l]));
    const char *low = cut ? "from" : "0";
    if (l < loops) {
      cn_loop(r, s->loop[l], low, end);
      opened++;
      tg_c_level(r, w->n->stage_needed);
    } else {
      cn_lane_loop(w, s, s->lane, r->unroll, low, end, cn_inside);
    }
  }
  if (s->lane < 0) cn_inside(w, s, w->n->lane, part);
  for (; opened > 0; opened--) tg_c_close(r);
  r->open = open;
}

/* Where the sum of a piece lies: results side by side, then REDUCEs, then pieces. */
static c_expr cn_partial(const cn_writer *w, const cn_stage *s, int k) {
  const cn_nest *n = w->n;
  c_render *r = w->r;
  c_expr e;
  int64_t stride = n->lane >= 0 ? cn_size(r, n->lane) : 1;
  const char *type = tg_c_type(r->code->ins[s->root[k]].dtype);
  size_t at = (size_t)snprintf(e.at, sizeof e.at,
                               "(%s *)(call->shared + %lld) + (piece * %d + %d) * %lld", type,
                               (long long)n->partial, s->count, k, (long long)n->total);
  if (n->lane >= 0) at += (size_t)snprintf(e.at + at, sizeof e.at - at, " + b%d", n->lane);
  for (int l = n->loops - 1; l >= 0; l--) {
    at += (size_t)snprintf(e.at + at, sizeof e.at - at, " + i%d * %lld", n->loop[l],
                           (long long)stride);
    stride *= cn_size(r, n->loop[l]);
  }
  return e;
}

/* Phase 1: the sum of a piece goes to memory. */
static void cn_leave(cn_writer *w, const cn_stage *s, int part) {
  c_render *r = w->r;
  for (int k = 0; k < s->count; k++) {
    int32_t i = s->root[k];
    tg_dtype dtype = r->code->ins[i].dtype;
    c_expr to = cn_partial(w, s, k), type = tg_c_name(r, dtype);
    if (!tg_c_is_vector(r, i)) tg_c_line(r, "*(%.1000s) = v%d;", to.at, i);
    else if (r->unroll > 1)
      tg_c_line(r, "UNROLL for (int u = 0; u < %d; u++) store_%s(%.1000s + u * %d, v%d[u]);",
                r->unroll, type.at, to.at, r->width, i);
    else if (part) tg_c_line(r, "store_part_%s(%.1000s, v%d, %d);", type.at, to.at, i, part);
    else tg_c_line(r, "store_%s(%.1000s, v%d);", type.at, to.at, i);
  }
}

/* Phase 2: the sums of all pieces, in order. */
static void cn_collect(cn_writer *w, const cn_stage *s, int part) {
  c_render *r = w->r;
  cn_stage plain = *s;
  plain.lane = -1;
  cn_declare(r, &plain);
  tg_c_open(r, "for (i64 piece = 0; piece < %lld; piece++) {", (long long)w->n->pieces);
  for (int k = 0; k < s->count; k++) {
    int32_t i = s->root[k];
    const tg_ins *in = &r->code->ins[i];
    bool vector = tg_c_is_vector(r, i);
    c_expr from = cn_partial(w, s, k), type = tg_c_name(r, in->dtype), x;
    if (!vector) snprintf(x.at, sizeof x.at, "*(%.1000s)", from.at);
    else if (part)
      snprintf(x.at, sizeof x.at, "load_part_%.20s(%.1000s, %d)", type.at, from.at, part);
    else snprintf(x.at, sizeof x.at, "load_%.20s(%.1000s)", type.at, from.at);
    char to[32];
    snprintf(to, sizeof to, "v%d", i);
    c_expr sum = cn_fold(r, in, vector, to, x.at);
    tg_c_line(r, "%s = %s;", to, sum.at);
  }
  tg_c_close(r);
}

static void cn_write_stage(cn_writer *w, const cn_stage *s, int part) {
  c_render *r = w->r;
  cn_nest *n = w->n;
  if (r->keep) tg_c_keep_enter(r->keep, r->code, (int)(s - n->stage));
  cn_need_stage(r->code, n, s);
  if (n->lane < 0) {
    tg_c_set_lane(r, n->stage_needed, s->lane);
    r->unroll = s->lane < 0 ? 1 : cn_unroll(r, s, s->lane);
  }
  if (s->level && w->phase == 2) cn_collect(w, s, part);
  else {
    if (s->level) cn_declare(r, s);
    cn_save(w, 2);
    tg_c_open(r, "{");
    tg_c_level(r, n->stage_needed);
    cn_fold_loops(w, s, part);
    tg_c_close(r);
    cn_restore(w, 2);
    cn_finish(r, s);
  }
  for (int k = 0; k < s->count && s->level; k++) r->done[s->root[k]] = true;
  if (n->lane < 0) r->unroll = 1, r->lane = -1;
}

/* All stages, at one position of the outer loops. */
static void cn_stages_at(cn_writer *w, const cn_stage *none, int lane, int part) {
  c_render *r = w->r;
  (void)none, (void)lane;
  r->unroll = w->at_once;
  bool *done = tg_alloc((size_t)r->code->count + 1);
  if (!done) {
    r->out->failed = true;
    return;
  }
  memcpy(done, r->done, (size_t)r->code->count);
  int stages = w->phase == 1 ? 1 : w->n->stages;
  for (int s = 0; s < stages; s++) cn_write_stage(w, &w->n->stage[s], part);
  if (w->phase == 1) cn_leave(w, &w->n->stage[0], part);
  memcpy(r->done, done, (size_t)r->code->count);
  tg_free(done);
  r->unroll = 1;
}

static void cn_outer_body(cn_writer *w) {
  c_render *r = w->r;
  cn_nest *n = w->n;
  if (n->lane < 0) {
    w->at_once = 1;
    cn_stages_at(w, NULL, -1, 0);
    return;
  }
  double folds = 1;
  int reduces = 0;
  for (int s = 0; s < n->stages; s++)
    if (n->stage[s].level) folds *= cn_positions(r->code, n->stage[s].ranges), reduces++;
  tg_c_set_lane(r, n->needed, n->lane);
  bool large = n->work >= CN_SMALL * (double)r->code->count;
  bool worth = large && reduces && folds >= 16 && w->phase != 2;
  int unroll = worth ? cn_unroll(r, &n->stage[0], n->lane) : 1;
  char end[32];
  snprintf(end, sizeof end, n->chunks > 1 ? "high" : "%lld", (long long)cn_size(r, n->lane));
  cn_lane_loop(w, NULL, n->lane, unroll, n->chunks > 1 ? "low" : "0", end, cn_stages_at);
  r->lane = -1;
}

/* Positions of the loops that jobs count through, from q. */
static void cn_decode(c_render *r, const cn_nest *n) {
  const char *rest = n->chunks > 1 ? "t" : "q";
  if (n->chunks > 1) {
    tg_c_line(r, "const i64 t = q / %lld, low = q %% %lld * %lld;", (long long)n->chunks,
              (long long)n->chunks, (long long)n->chunk);
    tg_c_line(r, "const i64 high = low + %lld < %lld ? low + %lld : %lld;", (long long)n->chunk,
              (long long)cn_size(r, n->lane), (long long)n->chunk,
              (long long)cn_size(r, n->lane));
  }
  int64_t below = n->flat;
  for (int64_t l = 0; l < n->fixed; l++) {
    below /= cn_size(r, n->loop[l]);
    const char *format = l ? "const i64 i%d = %s / %lld %% %lld;" : "const i64 i%d = %s / %lld;";
    tg_c_line(r, format, n->loop[l], rest, (long long)below, (long long)cn_size(r, n->loop[l]));
    r->open |= cn_bit(n->loop[l]);
  }
}

static void cn_pointers(c_render *r, const bool *needed) {
  for (int32_t s = 0; s < r->code->nslots; s++) {
    bool read = false, written = false;
    for (int32_t i = 0; i < r->code->count; i++) {
      const tg_ins *in = &r->code->ins[i];
      if (!needed[i] || in->slot != s) continue;
      read |= in->op == TG_OP_LOAD;
      written |= bi_is_store(in->op);
    }
    const char *type = tg_c_type(r->code->slot[s]);
    if (read || written)
      tg_c_line(r, "%s%s *const p%d = call->data[%d];", written ? "" : "const ", type, s, s);
  }
}

/* One function: the jobs of a phase. */
static void cn_function(cn_writer *w, const char *name) {
  c_render *r = w->r;
  cn_nest *n = w->n;
  int64_t size = w->phase == 1 ? cn_size(r, n->stage[0].loop[0]) : 1;
  r->stores = w->phase != 1;
  r->streams = n->stages > 1; /* the rows that are gone over again keep the cache */
  tg_c_open(r, "static void %s(tg_c_call *call, i64 job) {", name);
  cn_pointers(r, n->needed);
  if (r->keep) tg_c_keep_pointers(r, 0);
  if (w->phase == 1) {
    tg_c_line(r, "const i64 piece = job %% %lld, from = piece * %lld;", (long long)n->pieces,
              (long long)n->per_piece);
    tg_c_line(r, "const i64 to = from + %lld < %lld ? from + %lld : %lld;",
              (long long)n->per_piece, (long long)size, (long long)n->per_piece, (long long)size);
    tg_c_line(r, "job /= %lld;", (long long)n->pieces);
  }
  memset(r->done, 0, (size_t)r->code->count);
  r->open = 0;
  r->lane = -1;
  r->unroll = 1;
  tg_c_level(r, n->needed);
  tg_c_line(r, "const i64 first = job * %lld, last = first + %lld < %lld ? first + %lld : %lld;",
            (long long)n->per_job, (long long)n->per_job, (long long)n->items,
            (long long)n->per_job, (long long)n->items);
  tg_c_open(r, "for (i64 q = first; q < last; q++) {");
  cn_decode(r, n);
  tg_c_level(r, n->needed);
  for (int64_t l = n->fixed; l < n->loops; l++) {
    char end[32];
    snprintf(end, sizeof end, "%lld", (long long)cn_size(r, n->loop[l]));
    cn_loop(r, n->loop[l], "0", end);
    tg_c_level(r, n->needed);
  }
  cn_outer_body(w);
  for (int64_t l = n->fixed; l < n->loops; l++) tg_c_close(r);
  tg_c_close(r);
  bool drain = false;
  for (int32_t i = 0; i < r->code->count; i++) drain |= n->needed[i] && tg_c_streams(r, i);
  if (drain) tg_c_line(r, "DRAIN();");
  r->streams = false;
  tg_c_close(r);
  tg_text_add(r->out, "\n");
}

/* ---- nests of a kernel */

/* Marks the STOREs that share ranges with each other, and what they need: one
 * nest. false: none is left. */
static bool cn_next(const bi_code *code, bool *taken, bool *needed) {
  uint64_t mask = 0;
  bool any = false, grown = true;
  memset(needed, 0, (size_t)code->count);
  for (bool first = true; grown; first = false) {
    grown = false;
    for (int32_t i = 0; i < code->count; i++) {
      if (!bi_is_store(code->ins[i].op) || taken[i]) continue;
      uint64_t ranges = code->ins[i].ranges & code->loops;
      if (!(first && !any) && !(ranges & mask) && (ranges || mask)) continue;
      taken[i] = any = grown = true;
      mask |= ranges;
      needed[i] = true;
    }
  }
  for (int32_t i = code->count - 1; i >= 0; i--)
    if (needed[i]) {
      const tg_ins *in = &code->ins[i];
      bool memory = in->op == TG_OP_LOAD || bi_is_store(in->op);
      for (int k = 0; k < 3 && code->row_of[i] < 0; k++)
        if (in->src[k] >= 0 && !(memory && k == 0 && code->row_of[in->src[0]] >= 0))
          needed[in->src[k]] = true;
    }
  return any;
}

static bool cn_plan(c_render *r, cn_nest *n, int8_t *level, c_kernel *k) {
  for (int32_t i = 0; i < r->code->count; i++)
    if (n->needed[i] && !tg_c_can(r->code, i)) return false;
  if (!cn_outer(r->code, n) || !cn_stages(r->code, n, level)) return false;
  cn_choose_lanes(r, n);
  cn_order_loops(r, n);
  cn_cut(r, n);
  cn_cut_fold(r, n, k);
  if (cn_keep(r, n, k)) return true;
  r->out->failed = true;
  return false;
}

static void cn_write(cn_writer *w, c_kernel *k) {
  cn_nest *n = w->n;
  const int phases[2][2] = {{0, -1}, {1, 2}};
  for (int p = 0; p < 2 && phases[n->pieces > 1][p] >= 0; p++) {
    w->phase = phases[n->pieces > 1][p];
    c_part *part = &k->part[k->parts++];
    *part = (c_part){p, k->parts, n->jobs * (w->phase == 1 ? n->pieces : 1)};
    char name[64];
    snprintf(name, sizeof name, "k%d_part%d", w->r->number, part->number);
    cn_function(w, name);
  }
}

bool tg_c_nests(c_render *r, c_kernel *k) {
  size_t count = (size_t)r->code->count + 1;
  cn_nest *n = tg_alloc_zero(sizeof *n);
  bool *marks = tg_alloc_zero(count * 7);
  bool good = n && marks, *taken = marks;
  if (!good) r->out->failed = true;
  cn_writer w = {.r = r, .n = n, .saved = marks + 3 * count};
  while (good) {
    memset(n, 0, sizeof *n);
    n->needed = marks + count;
    n->stage_needed = marks + 2 * count;
    if (!cn_next(r->code, taken, n->needed)) break;
    good = k->parts + 2 <= C_PARTS && cn_plan(r, n, (int8_t *)w.saved, k);
    r->keep = good && n->keep.rows ? &n->keep : NULL;
    if (good) cn_write(&w, k);
    r->keep = NULL;
    tg_c_keep_free(&n->keep);
  }
  tg_free(marks);
  tg_free(n);
  return good;
}
