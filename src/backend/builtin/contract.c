/* builtin/contract: sums of products, out = epilogue(sum over K of A * B).
 *
 * The LOOP ranges sort themselves: those of A and B are the batch, those of A
 * alone the rows M, those of B alone the width N; the FOLD ranges are K. Matrix
 * products, convolutions and both their gradients come out as this one shape,
 * with sliding windows in the offsets. Which operand is A is a matter of cost:
 * B is packed into panels `width` lanes wide, while A, where it lies in memory
 * as it is, is read in place by broadcast, through a table of offsets along K.
 * An operand that is an expression, or that must be widened or masked in a way
 * that offsets cannot say, is packed by evaluating its plan.
 *
 * Jobs are blocks of M x N. Each goes through K in blocks that fit the caches,
 * adds tiles of the micro-kernel to a block of results, and then runs the
 * epilogue over its rows. The lanes of the epilogue run along M or N, whichever
 * is contiguous in the output; in the first case the tiles are transposed on the
 * way. With few blocks and a long K, K is split into pieces whose number follows
 * from the shapes, and their sums are added in order.
 */
#include "backend/builtin/builtin.h"
#include "backend/builtin/micro.h"

#ifdef TG_HOSTILE
enum { CON_ROWS = 12, CON_WIDTH = 32, CON_DEPTH = 8, CON_CELLS = 512, CON_JOBS = 4,
       CON_LEAST = 8, CON_SHARED = 1 << 14, CON_FLAT = 8, CON_PADDED = 1 << 16 };
#else
enum { CON_ROWS = 96, CON_WIDTH = 256, CON_DEPTH = 256, CON_CELLS = 32768, CON_JOBS = 16,
       CON_LEAST = 4096, CON_SHARED = 1 << 21, CON_FLAT = 64, CON_PADDED = 1 << 25 };
#endif
#define CON_GATES 8

typedef enum con_way { CON_IN_PLACE, CON_AFFINE, CON_GENERAL } con_way;

/* One operand. */
typedef struct con_side {
  con_way way;
  int32_t value;            /* the instruction */
  const int64_t *row;       /* unless general */
  int32_t slot;
  bi_pad pad;               /* count 0: none; else read from a copy */
  size_t pad_at;            /* where the copy is in the scratch memory */
  int ngates;
  int64_t *gate[CON_GATES]; /* rows: open where each is above 0 */
  bi_space space;           /* M or N */
  bi_plan plan;             /* general: lanes along the space, or along K */
  bool along_k;
  double cost;              /* nanoseconds to pack an element, a guess */
} con_side;

struct bi_contract {
  const bi_code *code;
  const bi_micros *micro;
  int32_t reduce;
  bool wide;                /* float64 */
  size_t size;              /* of an element */
  con_side side[2];         /* A, B */
  bi_space depth;           /* K */
  bi_nest batch;
  int64_t count[2], block[2], blocks[2]; /* M, N; per block; blocks */
  int64_t k, kblock, kblocks, pieces, piece_blocks;
  int lanes;                /* the side along which the epilogue's lanes run */
  bool flat;                /* epilogue lanes run over rows too */
  int64_t ld, cells;        /* the block of results: row length, elements */
  bool shared;              /* B is packed once, before */
  int64_t panel_block;      /* elements of B packed per K block and N block */
  bi_plan epilogue;
  int64_t *gate_rows;
  size_t pieces_at, shared_bytes; /* in scratch */
};

/* ---- compile: finding the contraction */

static bool con_find(bi_contract *c) {
  const bi_code *code = c->code;
  int32_t found = 0;
  if (code->serials || !code->loops) return false;
  for (int32_t i = 0; i < code->count; i++)
    if (code->ins[i].op == TG_OP_REDUCE) c->reduce = i, found++;
  if (found != 1) return false;
  const tg_ins *in = &code->ins[c->reduce], *product = &code->ins[in->src[0]];
  if (in->fold != TG_OP_ADD || !tg_dtype_is_float(in->dtype)) return false;
  if (product->op != TG_OP_MUL || (in->folded & code->folds) != code->folds) return false;
  c->wide = in->dtype == TG_FLOAT64;
  c->size = c->wide ? 8 : 4;
  c->micro = tg_bi_micro_of(c->wide);
  c->side[0].value = product->src[0];
  c->side[1].value = product->src[1];
  return product->src[0] != product->src[1];
}

/* Ranges of a mask as a space, those that move least far along the row last. */
static void con_space(const bi_code *code, uint64_t ranges, const int64_t *row, bi_space *space) {
  memset(space, 0, sizeof *space);
  space->inner = space->lanes = 1;
  for (; ranges; ranges &= ranges - 1) {
    int r = __builtin_ctzll(ranges), at = space->count++;
    int64_t far = row ? (row[r] < 0 ? -row[r] : row[r]) : 0;
    for (; row && at > 0; at--) {
      int64_t before = row[space->range[at - 1]];
      before = before < 0 ? -before : before;
      if ((uint64_t)before - 1 >= (uint64_t)far - 1) break;
      space->range[at] = space->range[at - 1];
    }
    space->range[at] = r;
  }
  for (int s = 0; s < space->count; s++) {
    space->size[s] = code->range[space->range[s]].size;
    space->lanes *= space->size[s];
  }
  space->chunk = space->count ? space->size[0] : 1;
  space->inner = space->lanes / space->chunk;
}

static const int64_t *con_store_row(const bi_code *code) {
  for (int32_t i = 0; i < code->count; i++)
    if (bi_is_store(code->ins[i].op) && code->row_of[code->ins[i].src[0]] >= 0)
      return bi_row(code, code->row_of[code->ins[i].src[0]]);
  return NULL;
}

/* ---- compile: how an operand is read */

/* Adds the conditions of a gate, low < high, as high - low > 0; false: one is not affine, or
 * the difference may leave int64. */
static bool con_gate(bi_contract *c, con_side *side, int32_t gate, int64_t **room) {
  const bi_code *code = c->code;
  const tg_ins *in = &code->ins[gate];
  if (in->op == TG_OP_AND)
    return con_gate(c, side, in->src[0], room) && con_gate(c, side, in->src[1], room);
  if (in->op != TG_OP_CMPLT || side->ngates == CON_GATES) return false;
  int32_t low = code->row_of[in->src[0]], high = code->row_of[in->src[1]];
  const tg_ins *x = &code->ins[in->src[0]], *y = &code->ins[in->src[1]];
  int64_t least, most;
  if (low < 0 || high < 0 || __builtin_sub_overflow(y->low, x->high, &least) ||
      __builtin_sub_overflow(y->high, x->low, &most))
    return false;
  for (int r = 0; r <= code->nranges; r++)
    (*room)[r] = bi_row(code, high)[r] - bi_row(code, low)[r];
  side->gate[side->ngates++] = *room;
  *room += code->nranges + 1;
  return true;
}

/* A gate costs for each element of A or B at each use; a padded copy once. */
static void con_pad_side(bi_contract *c, con_side *side, int64_t **room) {
  if (!side->ngates) return;
  if (!tg_bi_pad_make(&side->pad, c->code, side->row, side->gate, side->ngates, CON_PADDED,
                      *room)) {
    side->pad.count = 0;
    return;
  }
  side->ngates = 0;
  side->row = *room;
  *room += c->code->nranges + 1;
}

static void con_way_of(bi_contract *c, con_side *side, int64_t **room) {
  const bi_code *code = c->code;
  const tg_ins *in = &code->ins[side->value];
  side->way = CON_GENERAL;
  side->cost = 1.5;
  if (in->op != TG_OP_LOAD || code->row_of[in->src[0]] < 0) return;
  if (code->slot[in->slot] != (c->wide ? TG_FLOAT64 : TG_FLOAT32)) return;
  if (in->src[1] >= 0 && !con_gate(c, side, in->src[1], room)) {
    side->ngates = 0;
    return;
  }
  side->way = CON_AFFINE;
  side->row = bi_row(code, code->row_of[in->src[0]]);
  side->slot = in->slot;
  con_pad_side(c, side, room);
  const bi_space *space = &side->space;
  bool contiguous = side->row[space->range[space->count - 1]] == 1;
  side->cost = (contiguous ? 0.2 : 0.5) + (side->ngates ? 0.4 : 0);
}

/* Is the operand fit to be read where it lies? Only if it runs along K: rows
 * that are far apart at each step would fight for the same cache lines. */
static bool con_in_place(const bi_contract *c, const con_side *side) {
  if (side->way == CON_GENERAL || side->ngates) return false;
  for (int s = 0; s < c->depth.count; s++) {
    int64_t step = side->row[c->depth.range[s]];
    if (step >= -2 && step <= 2 && step != 0) return true;
  }
  return false;
}

/* Nanoseconds per multiplication with side `a` as A. */
static double con_cost(const bi_contract *c, int a, int store_side) {
  const con_side *A = &c->side[a], *B = &c->side[1 - a];
  double m = (double)A->space.lanes, n = (double)B->space.lanes;
  double half = c->micro->width[1], full = c->micro->width[0];
  int64_t whole = B->space.lanes / c->micro->width[0] * c->micro->width[0];
  double left = n - (double)whole;
  double padded = (double)whole + (left > half ? full : left > 0 ? half * 1.3 : 0);
  double cost = 0.022 * padded / n + B->cost / m;
  if (!con_in_place(c, A)) cost += A->cost / (n < CON_WIDTH ? n : CON_WIDTH);
  /* each tile: a call, and its way out, slow when it is not straight */
  double rows = m < c->micro->rows ? m : c->micro->rows, width = left > half || whole ? full : half;
  bool straight = store_side != a && n > CON_FLAT;
  return cost + (20 / (rows * width) + (straight ? 0.1 : 0.6)) / (double)c->k;
}

static void con_orient(bi_contract *c, int store_side) {
  c->lanes = store_side;
  if (con_cost(c, 1, store_side) < con_cost(c, 0, store_side)) {
    con_side swap = c->side[0];
    c->side[0] = c->side[1];
    c->side[1] = swap;
    c->lanes = 1 - store_side;
  }
  con_side *A = &c->side[0];
  if (con_in_place(c, A)) A->way = CON_IN_PLACE;
  c->count[0] = A->space.lanes;
  c->count[1] = c->side[1].space.lanes;
}

/* Which side holds the range that is contiguous in the output? */
static int con_store_side(const bi_contract *c, const int64_t *store) {
  int best = 1;
  int64_t least = INT64_MAX;
  for (int side = 0; store && side < 2; side++)
    for (int s = 0; s < c->side[side].space.count; s++) {
      int64_t step = store[c->side[side].space.range[s]];
      if (step < 0) step = -step;
      if (step && step < least) least = step, best = side;
    }
  return best;
}

static bool con_classify(bi_contract *c) {
  const bi_code *code = c->code;
  uint64_t in[2], loops = code->loops;
  const int64_t *store = con_store_row(code);
  for (int s = 0; s < 2; s++) in[s] = code->ins[c->side[s].value].ranges & loops;
  for (int s = 0; s < 2; s++) con_space(code, in[s] & ~in[1 - s], store, &c->side[s].space);
  c->batch.total = 1;
  bi_space batch;
  con_space(code, (in[0] & in[1]) | (loops & ~in[0] & ~in[1]), store, &batch);
  for (int s = 0; s < batch.count; s++) tg_bi_nest_add(&c->batch, batch.range[s], batch.size[s], 1);
  con_space(code, code->folds, NULL, &c->depth);
  c->k = c->depth.lanes;
  int64_t m = c->side[0].space.lanes, n = c->side[1].space.lanes;
  return m > 1 && n > 1 && c->k > 1 && (double)m * (double)n * (double)c->k >= CON_LEAST;
}

/* K in the order in which A, or else B, lies in memory. */
static void con_order_depth(bi_contract *c) {
  for (int s = 0; s < 2; s++)
    if (c->side[s].way != CON_GENERAL) {
      con_space(c->code, c->code->folds, c->side[s].row, &c->depth);
      return;
    }
}

/* ---- compile: blocks */

static int64_t con_pad(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

/* Parts of about `most`, all nearly equal, multiples of `to`. */
static int64_t con_even(int64_t n, int64_t most, int64_t to) {
  int64_t parts = (n + most - 1) / most;
  return con_pad((n + parts - 1) / parts, to);
}

/* Narrow blocks afford a longer K: their panels of B are short. */
static void con_block_depth(bi_contract *c) {
  int64_t depth = c->block[1] <= CON_WIDTH / 4 ? 4 * CON_DEPTH : CON_DEPTH;
  c->kblock = con_even(c->k, depth, 1);
  c->kblocks = (c->k + c->kblock - 1) / c->kblock;
}

static void con_set_rows(bi_contract *c, int64_t most) {
  c->block[0] = con_even(c->count[0], most, c->micro->rows);
  for (int s = 0; s < 2; s++) c->blocks[s] = (c->count[s] + c->block[s] - 1) / c->block[s];
}

/* Too few blocks: a long K is split, else the rows. */
static void con_split(bi_contract *c) {
  int64_t jobs = c->blocks[0] * c->blocks[1] * c->batch.total;
  c->pieces = 1;
  if (jobs < CON_JOBS && c->kblocks >= 4) {
    c->pieces = (CON_JOBS + jobs - 1) / jobs;
    if (c->pieces > c->kblocks / 2) c->pieces = c->kblocks / 2;
  }
  if (jobs * c->pieces < CON_JOBS && c->block[0] > CON_ROWS) con_set_rows(c, CON_ROWS);
  c->piece_blocks = (c->kblocks + c->pieces - 1) / c->pieces;
  c->pieces = (c->kblocks + c->piece_blocks - 1) / c->piece_blocks;
}

static void con_blocks(bi_contract *c) {
  c->block[1] = con_even(c->count[1], CON_WIDTH, c->micro->width[0]);
  int64_t most = CON_CELLS / c->block[1];
  con_set_rows(c, most > CON_ROWS ? most : CON_ROWS);
  con_block_depth(c);
  con_split(c);
  c->panel_block = c->block[1] * c->kblock;
  double panels = (double)(c->batch.total * c->blocks[1] * c->kblocks) * (double)c->panel_block;
  c->shared = c->blocks[0] > 1 && panels * (double)c->size <= CON_SHARED * 4.0;
}

/* Shared scratch: packed panels of B, padded copies, pieces. */
static void con_share(bi_contract *c) {
  size_t at = c->shared ? (size_t)(c->batch.total * c->blocks[1] * c->kblocks) *
                              (size_t)c->panel_block * c->size
                        : 0;
  for (int s = 0; s < 2; s++) {
    c->side[s].pad_at = at = (at + 63) & ~(size_t)63;
    at += c->side[s].pad.count ? (size_t)c->side[s].pad.elements * c->size : 0;
  }
  c->pieces_at = at = (at + 63) & ~(size_t)63;
  int64_t jobs = c->batch.total * c->blocks[0] * c->blocks[1];
  c->shared_bytes = at + (c->pieces > 1 ? (size_t)(jobs * c->pieces * c->cells) * c->size : 0);
}

/* ---- compile: plans */

static bool con_plan_side(bi_contract *c, int s) {
  con_side *side = &c->side[s];
  if (side->way != CON_GENERAL) return true;
  side->along_k = side->space.lanes < 32 && c->k > side->space.lanes;
  bi_space space = side->along_k ? c->depth : side->space;
  const bi_space *other = side->along_k ? &side->space : &c->depth;
  space.lanes = side->along_k ? c->kblock : c->block[s];
  uint64_t hot = UINT64_C(1) << other->range[other->count - 1];
  return tg_bi_plan_make(&side->plan, c->code, &space, &side->value, 1, hot);
}

/* The epilogue's lanes: one side, or for short ones both in one. */
static bool con_plan_epilogue(bi_contract *c) {
  const bi_space *rows = &c->side[1 - c->lanes].space;
  bi_space space = c->side[c->lanes].space;
  int64_t n = space.lanes;
  c->flat = n <= CON_FLAT && c->blocks[c->lanes] == 1;
  space.lanes = c->block[c->lanes];
  if (c->flat) {
    bi_space flat = *rows;
    for (int s = 0; s < space.count; s++) {
      flat.range[flat.count] = space.range[s];
      flat.size[flat.count++] = space.size[s];
    }
    flat.inner = rows->inner * n;
    flat.lanes = n > BI_TILE / 2 ? n : BI_TILE / n * n;
    space = flat;
  }
  int32_t *roots = tg_alloc((size_t)c->code->count * sizeof *roots + 1), count = 0;
  if (!roots) return false;
  for (int32_t i = 0; i < c->code->count; i++)
    if (bi_is_store(c->code->ins[i].op)) roots[count++] = i;
  uint64_t hot = c->flat ? BI_ALL : UINT64_C(1) << rows->range[rows->count - 1];
  bool good = tg_bi_plan_make(&c->epilogue, c->code, &space, roots, count, hot);
  tg_free(roots);
  c->ld = c->flat ? n : c->block[c->lanes];
  c->cells = c->ld * c->block[1 - c->lanes];
  return good;
}

static bool con_prepare(bi_contract *c, bool *suits) {
  *suits = con_find(c) && con_classify(c);
  if (!*suits) return false;
  size_t width = (size_t)c->code->nranges + 1;
  c->gate_rows = tg_alloc(2 * (CON_GATES + 1) * width * sizeof(int64_t));
  if (!c->gate_rows) return false;
  int64_t *room = c->gate_rows;
  for (int s = 0; s < 2; s++) con_way_of(c, &c->side[s], &room);
  con_orient(c, con_store_side(c, con_store_row(c->code)));
  con_order_depth(c);
  con_blocks(c);
  if (!con_plan_side(c, 0) || !con_plan_side(c, 1) || !con_plan_epilogue(c)) return false;
  con_share(c);
  return true;
}

bi_contract *tg_bi_contract_new(const bi_code *code, bool *suits) {
  *suits = true; /* no memory is no answer */
  bi_contract *c = tg_alloc_zero(sizeof *c);
  if (!c) return NULL;
  c->code = code;
  if (con_prepare(c, suits)) return c;
  tg_bi_contract_free(c);
  return NULL;
}

void tg_bi_contract_free(bi_contract *c) {
  if (!c) return;
  for (int s = 0; s < 2; s++) tg_bi_plan_free(&c->side[s].plan);
  tg_bi_plan_free(&c->epilogue);
  tg_free(c->gate_rows);
  tg_free(c);
}

/* ---- run: what a worker has */

typedef struct con_work {
  bi_state side[2], epilogue;
  int64_t *lane[2], *deep[2]; /* offsets along M or N, and along K */
  int64_t *packed;            /* offsets along K of a packed panel of A */
  int64_t *gate_lane[CON_GATES], *gate_deep[CON_GATES];
  char *panel[2], *cells, *tile;
  const char *scratch;        /* what all workers share */
} con_work;

/* Lays out a worker's memory; with memory NULL only measures it. */
static size_t con_layout(const bi_contract *c, char *memory, con_work *work) {
  size_t at = (sizeof(con_work) + 63) & ~(size_t)63;
#define CON_TAKE(field, bytes) \
  ((work->field = memory ? (void *)(memory + at) : NULL),   \
   at += ((size_t)(bytes) + 127) & ~(size_t)63)
  int64_t longest = c->block[0] > c->block[1] ? c->block[0] : c->block[1];
  for (int s = 0; s < 2; s++) {
    CON_TAKE(lane[s], c->block[s] * 8);
    CON_TAKE(deep[s], c->kblock * 8);
  }
  CON_TAKE(packed, c->kblock * 8);
  for (int g = 0; g < CON_GATES; g++) {
    CON_TAKE(gate_lane[g], g < c->side[0].ngates || g < c->side[1].ngates ? longest * 8 : 0);
    CON_TAKE(gate_deep[g], g < c->side[0].ngates || g < c->side[1].ngates ? c->kblock * 8 : 0);
  }
  bool pack_a = c->side[0].way != CON_IN_PLACE;
  CON_TAKE(panel[0], pack_a ? (size_t)(c->block[0] * c->kblock) * c->size : 0);
  CON_TAKE(panel[1], c->shared ? 0 : (size_t)c->panel_block * c->size);
  CON_TAKE(cells, c->pieces > 1 ? 0 : (size_t)c->cells * c->size);
  CON_TAKE(tile, BI_MICRO_ROWS * BI_MICRO_WIDTH * c->size);
#undef CON_TAKE
  for (int s = 0; s < 2; s++)
    if (c->side[s].way == CON_GENERAL) {
      if (memory) tg_bi_state_init(&work->side[s], &c->side[s].plan, memory + at);
      at += tg_bi_state_bytes(&c->side[s].plan);
    }
  if (memory) tg_bi_state_init(&work->epilogue, &c->epilogue, memory + at);
  return at + tg_bi_state_bytes(&c->epilogue);
}

static void con_work_init(const void *program, char *memory, const char *scratch) {
  const bi_contract *c = program;
  con_work *work = (con_work *)(void *)memory;
  con_layout(c, memory, work);
  work->scratch = scratch;
  for (int64_t p = 0; p < c->kblock; p++) work->packed[p] = p * c->micro->rows;
}

/* ---- run: packing */

/* The position j of a space into the worker's positions; the ranges that moved. */
static uint64_t con_place(bi_worker *worker, const bi_space *space, int64_t j) {
  uint64_t moved = 0;
  for (int s = space->count - 1; s >= 0; s--) {
    int64_t at = j % space->size[s];
    j /= space->size[s];
    if (worker->pos[space->range[s]] != at) moved |= UINT64_C(1) << space->range[s];
    worker->pos[space->range[s]] = at;
  }
  return moved;
}

static void con_unplace(bi_worker *worker, const bi_space *space) {
  for (int s = 0; s < space->count; s++) worker->pos[space->range[s]] = 0;
}

/* One panel: lanes `first` .. `first + n - 1` of the block, `width` wide. */
typedef struct con_panel {
  const bi_contract *c;
  const con_side *side;
  con_work *work;
  const char *base;
  const int64_t *lane, *deep;
  int64_t first, n, width, k;
  int64_t gate_base[CON_GATES];
  char *to;
} con_panel;

static bool con_steps_by_one(const int64_t *table, int64_t n) {
  for (int64_t i = 1; i < n; i++)
    if (table[i] != table[0] + i) return false;
  return true;
}

#define CON_PACKERS(T, name)                                                              \
  /* lanes side by side */                                                                \
  static void con_pack_lanes_##name(const con_panel *p) {                                 \
    const T *from = (const T *)(const void *)p->base + p->lane[0];                        \
    T *to = (T *)(void *)p->to;                                                           \
    if (p->n == p->width && p->width == 64 / (int64_t)sizeof(T)) {                        \
      for (int64_t k = 0; k < p->k; k++, to += 64 / sizeof(T))                            \
        memcpy(to, from + p->deep[k], 64);                                                \
      return;                                                                             \
    }                                                                                     \
    for (int64_t k = 0; k < p->k; k++, to += p->width)                                    \
      for (int64_t j = 0; j < p->width; j++) to[j] = j < p->n ? from[p->deep[k] + j] : 0; \
  }                                                                                       \
  /* K side by side: transposes, a few columns at a time */                               \
  static void con_pack_deep_##name(const con_panel *p) {                                  \
    const T *from = (const T *)(const void *)p->base + p->deep[0];                        \
    for (int64_t k0 = 0; k0 < p->k; k0 += 16) {                                           \
      int64_t end = k0 + 16 < p->k ? k0 + 16 : p->k;                                      \
      for (int64_t j = 0; j < p->width; j++) {                                            \
        T *to = (T *)(void *)p->to + j;                                                   \
        const T *row = from + p->lane[j < p->n ? j : 0];                                  \
        if (j < p->n)                                                                     \
          for (int64_t k = k0; k < end; k++) to[k * p->width] = row[k];                   \
        else                                                                              \
          for (int64_t k = k0; k < end; k++) to[k * p->width] = 0;                        \
      }                                                                                   \
    }                                                                                     \
  }                                                                                       \
  static void con_pack_any_##name(const con_panel *p) {                                   \
    T *to = (T *)(void *)p->to;                                                           \
    for (int64_t k = 0; k < p->k; k++, to += p->width) {                                  \
      const T *from = (const T *)(const void *)p->base + p->deep[k];                      \
      for (int64_t j = 0; j < p->n; j++) to[j] = from[p->lane[j]];                        \
      for (int64_t j = p->n; j < p->width; j++) to[j] = 0;                                \
    }                                                                                     \
  }                                                                                       \
  static void con_pack_gated_##name(const con_panel *p) {                                 \
    T *to = (T *)(void *)p->to;                                                           \
    for (int64_t k = 0; k < p->k; k++, to += p->width) {                                  \
      const T *from = (const T *)(const void *)p->base + p->deep[k];                      \
      for (int64_t j = 0; j < p->width; j++) {                                            \
        bool open = j < p->n;                                                             \
        for (int g = 0; open && g < p->side->ngates; g++)                                 \
          open = p->gate_base[g] + p->work->gate_deep[g][k] +                             \
                     p->work->gate_lane[g][p->first + j] > 0;                             \
        to[j] = open ? from[p->lane[j]] : 0;                                              \
      }                                                                                   \
    }                                                                                     \
  }
CON_PACKERS(float, f32)
CON_PACKERS(double, f64)

static int64_t con_row_base(const bi_worker *worker, const int64_t *row) {
  int64_t base = row[worker->code->nranges];
  for (int r = 0; r < worker->code->nranges; r++) base += row[r] * worker->pos[r];
  return base;
}

/* Where the operand's positions count from. */
static const char *con_source(const bi_contract *c, const bi_worker *worker,
                              const con_work *work, const con_side *side) {
  const char *memory = worker->data[side->slot];
  if (side->pad.count) memory = work->scratch + side->pad_at;
  return memory + con_row_base(worker, side->row) * (int64_t)c->size;
}

/* Open everywhere in this panel? */
static bool con_panel_open(const con_panel *p) {
  for (int g = 0; g < p->side->ngates; g++) {
    int64_t lane = INT64_MAX, deep = INT64_MAX;
    for (int64_t j = 0; j < p->n; j++)
      if (p->work->gate_lane[g][p->first + j] < lane) lane = p->work->gate_lane[g][p->first + j];
    for (int64_t k = 0; k < p->k; k++)
      if (p->work->gate_deep[g][k] < deep) deep = p->work->gate_deep[g][k];
    if (p->gate_base[g] + lane + deep <= 0) return false;
  }
  return true;
}

static void con_pack_panel(const con_panel *p) {
  bool wide = p->c->wide;
  if (p->side->ngates && !con_panel_open(p))
    (wide ? con_pack_gated_f64 : con_pack_gated_f32)(p);
  else if (con_steps_by_one(p->lane, p->n))
    (wide ? con_pack_lanes_f64 : con_pack_lanes_f32)(p);
  else if (con_steps_by_one(p->deep, p->k))
    (wide ? con_pack_deep_f64 : con_pack_deep_f32)(p);
  else
    (wide ? con_pack_any_f64 : con_pack_any_f32)(p);
}

/* Tables along lanes j .. and along K from k0. */
static void con_tables(const bi_contract *c, con_work *work, int s, int64_t j, int64_t n,
                       int64_t k0, int64_t k) {
  const con_side *side = &c->side[s];
  const int64_t *row = side->row;
  tg_bi_fill_table(&side->space, row, j, n, work->lane[s]);
  tg_bi_fill_table(&c->depth, row, k0, k, work->deep[s]);
  for (int g = 0; g < side->ngates; g++) {
    tg_bi_fill_table(&side->space, side->gate[g], j, n, work->gate_lane[g]);
    tg_bi_fill_table(&c->depth, side->gate[g], k0, k, work->gate_deep[g]);
  }
}

/* Panels in memory: full ones, then a narrower one where half the width will do. */
static int64_t con_panel_width(const bi_contract *c, int s, int64_t left) {
  if (s == 0) return c->micro->rows;
  return left <= c->micro->width[1] ? c->micro->width[1] : c->micro->width[0];
}

static void con_pack_affine(const bi_contract *c, bi_worker *worker, con_work *work, int s,
                            int64_t n, int64_t k, char *to) {
  const con_side *side = &c->side[s];
  con_panel p = {.c = c, .side = side, .work = work, .deep = work->deep[s], .k = k, .to = to};
  p.base = con_source(c, worker, work, side);
  for (int g = 0; g < side->ngates; g++) p.gate_base[g] = con_row_base(worker, side->gate[g]);
  for (int64_t j = 0; j < n; j += p.width) {
    p.width = con_panel_width(c, s, n - j);
    p.first = j;
    p.n = n - j < p.width ? n - j : p.width;
    p.lane = work->lane[s] + j;
    con_pack_panel(&p);
    p.to += (size_t)(p.width * k) * c->size;
  }
}

/* Values of lanes 0 .. n-1 at step kk of K, into their panels. */
static void con_spread(const bi_contract *c, int s, const char *from, int64_t n, int64_t k,
                       int64_t kk, char *to) {
  for (int64_t j = 0, width; j < n; j += width) {
    width = con_panel_width(c, s, n - j);
    int64_t valid = n - j < width ? n - j : width;
    char *at = to + (size_t)(kk * width) * c->size;
    memcpy(at, from + (size_t)j * c->size, (size_t)valid * c->size);
    memset(at + (size_t)valid * c->size, 0, (size_t)(width - valid) * c->size);
    to += (size_t)(width * k) * c->size;
  }
}

/* Values of lane j along K, into its panel. */
static void con_spread_deep(const bi_contract *c, int s, const char *from, int64_t j, int64_t n,
                            int64_t k, char *to) {
  int64_t begin = 0, width = con_panel_width(c, s, n);
  while (begin + width <= j) {
    to += (size_t)(width * k) * c->size;
    begin += width;
    width = con_panel_width(c, s, n - begin);
  }
  for (int64_t kk = 0; kk < k; kk++) {
    int64_t at = kk * width + j - begin;
    if (c->wide) ((double *)(void *)to)[at] = from ? ((const double *)(const void *)from)[kk] : 0;
    else ((float *)(void *)to)[at] = from ? ((const float *)(const void *)from)[kk] : 0;
  }
}

static int64_t con_padded(const bi_contract *c, int s, int64_t n) {
  int64_t end = 0;
  while (end < n) end += con_panel_width(c, s, n - end);
  return end;
}

static void con_pack_general(const bi_contract *c, bi_worker *worker, con_work *work, int s,
                             int64_t j, int64_t n, int64_t k0, int64_t k, char *to) {
  const con_side *side = &c->side[s];
  bi_state *state = &work->side[s];
  uint64_t moved = BI_ALL;
  int32_t reg = side->plan.reg_of[side->value];
  const bi_space *other = side->along_k ? &side->space : &c->depth;
  int64_t begin = side->along_k ? j : k0, count = side->along_k ? n : k;
  tg_bi_set_lanes(state, c->code, side->along_k ? k0 : j, side->along_k ? k : n);
  for (int64_t i = 0; i < count; i++) {
    uint64_t now = con_place(worker, other, begin + i);
    tg_bi_eval(state, worker, side->along_k ? k : n, moved == BI_ALL ? moved : now);
    moved = 0;
    if (side->along_k) con_spread_deep(c, s, state->reg[reg], i, n, k, to);
    else con_spread(c, s, state->reg[reg], n, k, i, to);
  }
  if (side->along_k)
    for (int64_t i = n, end = con_padded(c, s, n); i < end; i++)
      con_spread_deep(c, s, NULL, i, end, k, to);
  con_unplace(worker, other);
}

/* Packs lanes j .. j + n - 1 and K from k0 of side s. */
static void con_pack(const bi_contract *c, bi_worker *worker, con_work *work, int s, int64_t j,
                     int64_t n, int64_t k0, int64_t k, char *to) {
  if (c->side[s].way == CON_GENERAL) {
    con_pack_general(c, worker, work, s, j, n, k0, k, to);
    return;
  }
  con_tables(c, work, s, j, n, k0, k);
  con_pack_affine(c, worker, work, s, n, k, to);
}

/* ---- run: tiles */

typedef struct con_tile {
  const bi_contract *c;
  con_work *work;
  char *cells;
  int64_t rows, k;  /* of the block */
  bool add;
  const char *base; /* A in place */
} con_tile;

/* tile[rows][width] into the block of results, transposed or not. */
#define CON_PLACE(T, name)                                                                 \
  static void con_place_##name(const T *tile, int64_t rows, int64_t n, int64_t width,      \
                               T *to, int64_t row_step, int64_t lane_step, bool add) {     \
    if (!add) {                                                                            \
      for (int64_t j = 0; j < n; j++, tile++, to += lane_step)                             \
        for (int64_t i = 0; i < rows; i++) to[i * row_step] = tile[i * width];             \
      return;                                                                              \
    }                                                                                      \
    for (int64_t j = 0; j < n; j++, tile++, to += lane_step)                               \
      for (int64_t i = 0; i < rows; i++) to[i * row_step] += tile[i * width];              \
  }
CON_PLACE(float, f32)
CON_PLACE(double, f64)

static void con_tile_out(const con_tile *t, int64_t i, int64_t rows, int64_t j, int64_t n,
                         int64_t width) {
  const bi_contract *c = t->c;
  int64_t row_step = c->lanes ? c->ld : 1, lane_step = c->lanes ? 1 : c->ld;
  char *to = t->cells + (size_t)(i * row_step + j * lane_step) * c->size;
  if (c->wide)
    con_place_f64((const double *)(const void *)t->work->tile, rows, n, width,
                  (double *)(void *)to, row_step, lane_step, t->add);
  else
    con_place_f32((const float *)(const void *)t->work->tile, rows, n, width,
                  (float *)(void *)to, row_step, lane_step, t->add);
}

/* Where the rows i .. of A begin, and the offsets along K. */
static const int64_t *con_rows(const con_tile *t, int64_t i, int64_t rows, const void **row) {
  const bi_contract *c = t->c;
  if (c->side[0].way == CON_IN_PLACE) {
    for (int64_t r = 0; r < rows; r++)
      row[r] = t->base + (t->work->lane[0][i + r]) * (int64_t)c->size;
    return t->work->deep[0];
  }
  int64_t within = i % c->micro->rows; /* a panel of A may take several kernels */
  const char *panel = t->work->panel[0] + (size_t)((i - within) * t->k + within) * c->size;
  for (int64_t r = 0; r < rows; r++) row[r] = panel + (size_t)r * c->size;
  return t->work->packed;
}

/* All rows of the block by one panel of B, which holds n columns from j. */
static void con_panel_tiles(const con_tile *t, const char *panel, int64_t j, int64_t n) {
  const bi_contract *c = t->c;
  int64_t width = con_panel_width(c, 1, n);
  const bi_micro *kernel = c->micro->kernel[width == c->micro->width[0] ? 0 : 1];
  if (n > width) n = width;
  bool straight = c->lanes == 1 && !c->flat;
  for (int64_t i = 0, rows; i < t->rows; i += rows) {
    const void *row[BI_MICRO_ROWS];
    rows = t->rows - i < c->micro->rows ? t->rows - i : c->micro->rows;
    while (!kernel[rows]) rows--;
    const int64_t *off = con_rows(t, i, rows, row);
    if (straight) {
      char *to = t->cells + (size_t)(i * c->ld + j) * c->size;
      kernel[rows](t->k, row, off, panel, to, c->ld, t->add);
    } else {
      kernel[rows](t->k, row, off, panel, t->work->tile, width, false);
      con_tile_out(t, i, rows, j, n, width);
    }
  }
}

/* ---- run: jobs */

typedef struct con_job {
  int64_t batch, at[2], n[2], piece, number; /* blocks from at, n long */
} con_job;

static con_job con_job_of(const bi_contract *c, int64_t i, int64_t pieces) {
  con_job job;
  job.piece = i % pieces;
  i /= pieces;
  job.number = i;
  int64_t block[2] = {i / c->blocks[1] % c->blocks[0], i % c->blocks[1]};
  job.batch = i / (c->blocks[0] * c->blocks[1]);
  for (int s = 0; s < 2; s++) {
    job.at[s] = block[s] * c->block[s];
    job.n[s] = c->count[s] - job.at[s];
    if (job.n[s] > c->block[s]) job.n[s] = c->block[s];
  }
  return job;
}

static char *con_shared_panel(const bi_call *call, const bi_contract *c, int64_t batch,
                              int64_t nblock, int64_t kblock) {
  int64_t at = ((batch * c->blocks[1] + nblock) * c->kblocks + kblock) * c->panel_block;
  return call->scratch + (size_t)at * c->size;
}

static int64_t con_k_length(const bi_contract *c, int64_t kblock) {
  int64_t left = c->k - kblock * c->kblock;
  return left < c->kblock ? left : c->kblock;
}

/* Rows of a padded copy. */
static void con_pad_job(bi_call *call, bi_worker *worker, char *memory, int64_t i) {
  const bi_contract *c = call->program;
  (void)memory;
  for (int s = 0; s < 2; s++) {
    const con_side *side = &c->side[s];
    int64_t end = (i + 1) * call->per_job;
    if (end > side->pad.rows) end = side->pad.rows;
    for (int64_t row = i * call->per_job; side->pad.count && row < end; row++)
      tg_bi_pad_row(&side->pad, row, c->size, worker->data[side->slot],
                    call->scratch + side->pad_at);
  }
}

static void con_make_copies(const bi_contract *c, bi_call *call) {
  int64_t rows = 0, elements = 0;
  for (int s = 0; s < 2; s++) {
    if (!c->side[s].pad.count) continue;
    if (c->side[s].pad.rows > rows) rows = c->side[s].pad.rows;
    elements += c->side[s].pad.elements;
  }
  if (!rows) return;
  call->job = con_pad_job;
  call->per_job = tg_bi_items_per_job(rows, 0.3 * (double)elements / (double)rows + 10);
  tg_bi_call_jobs(call, (rows + call->per_job - 1) / call->per_job);
}

/* Packs one K block of one N block of B for all jobs. */
static void con_pack_job(bi_call *call, bi_worker *worker, char *memory, int64_t i) {
  const bi_contract *c = call->program;
  int64_t kblock = i % c->kblocks, nblock = i / c->kblocks % c->blocks[1];
  int64_t batch = i / c->kblocks / c->blocks[1], j = nblock * c->block[1];
  int64_t n = c->count[1] - j < c->block[1] ? c->count[1] - j : c->block[1];
  tg_bi_nest_start(&c->batch, batch, worker->pos);
  con_pack(c, worker, (con_work *)(void *)memory, 1, j, n, kblock * c->kblock,
           con_k_length(c, kblock), con_shared_panel(call, c, batch, nblock, kblock));
}

/* The K blocks of a job into `cells`. */
static void con_multiply(bi_call *call, bi_worker *worker, con_work *work, const con_job *job,
                         char *cells) {
  const bi_contract *c = call->program;
  const con_side *A = &c->side[0];
  con_tile t = {.c = c, .work = work, .cells = cells, .rows = job->n[0]};
  int64_t begin = job->piece * c->piece_blocks, end = begin + c->piece_blocks;
  if (end > c->kblocks) end = c->kblocks;
  if (A->way == CON_IN_PLACE)
    t.base = con_source(c, worker, work, A);
  for (int64_t b = begin; b < end; b++) {
    int64_t k0 = b * c->kblock;
    t.k = con_k_length(c, b);
    t.add = b > begin;
    char *panel = work->panel[1];
    if (c->shared) panel = con_shared_panel(call, c, job->batch, job->at[1] / c->block[1], b);
    else con_pack(c, worker, work, 1, job->at[1], job->n[1], k0, t.k, panel);
    if (A->way == CON_IN_PLACE) con_tables(c, work, 0, job->at[0], job->n[0], k0, t.k);
    else con_pack(c, worker, work, 0, job->at[0], job->n[0], k0, t.k, work->panel[0]);
    for (int64_t j = 0; j < job->n[1];) {
      int64_t width = con_panel_width(c, 1, job->n[1] - j);
      con_panel_tiles(&t, panel, j, job->n[1] - j);
      panel += (size_t)(width * t.k) * c->size;
      j += width;
    }
  }
}

/* The epilogue over a block of results: row by row, or many short rows at once. */
static void con_finish(const bi_contract *c, bi_worker *worker, con_work *work,
                       const con_job *job, char *cells) {
  const bi_space *rows = &c->side[1 - c->lanes].space;
  bi_state *state = &work->epilogue;
  void **value = &state->reg[c->epilogue.reg_of[c->reduce]];
  int64_t n = job->n[c->lanes], first = job->at[1 - c->lanes], count = job->n[1 - c->lanes];
  if (!c->flat) tg_bi_set_lanes(state, c->code, job->at[c->lanes], n);
  int64_t step = c->flat ? c->epilogue.space.lanes / c->ld : 1;
  for (int64_t i = 0; i < count; i += step) {
    int64_t take = count - i < step ? count - i : step;
    uint64_t moved = BI_ALL;
    if (c->flat) tg_bi_set_lanes(state, c->code, (first + i) * c->ld, take * c->ld);
    else moved = con_place(worker, rows, first + i);
    *value = cells + (size_t)(i * c->ld) * c->size;
    tg_bi_eval(state, worker, take * n, i ? moved : BI_ALL);
  }
  con_unplace(worker, rows);
}

static void con_run_job(bi_call *call, bi_worker *worker, char *memory, int64_t i) {
  const bi_contract *c = call->program;
  con_work *work = (con_work *)(void *)memory;
  con_job job = con_job_of(c, i, 1);
  tg_bi_nest_start(&c->batch, job.batch, worker->pos);
  con_multiply(call, worker, work, &job, work->cells);
  con_finish(c, worker, work, &job, work->cells);
}

static char *con_piece(const bi_call *call, const bi_contract *c, int64_t number, int64_t piece) {
  return call->scratch + c->pieces_at +
         (size_t)((number * c->pieces + piece) * c->cells) * c->size;
}

static void con_piece_job(bi_call *call, bi_worker *worker, char *memory, int64_t i) {
  const bi_contract *c = call->program;
  con_job job = con_job_of(c, i, c->pieces);
  tg_bi_nest_start(&c->batch, job.batch, worker->pos);
  con_multiply(call, worker, (con_work *)(void *)memory, &job,
               con_piece(call, c, job.number, job.piece));
}

static void con_combine_job(bi_call *call, bi_worker *worker, char *memory, int64_t i) {
  const bi_contract *c = call->program;
  con_job job = con_job_of(c, i, 1);
  bi_loop add = c->code->vector->alu[TG_OP_ADD][c->wide ? BI_F64 : BI_F32];
  char *sum = con_piece(call, c, i, 0);
  tg_bi_nest_start(&c->batch, job.batch, worker->pos);
  int64_t used = c->ld * job.n[1 - c->lanes];
  for (int64_t p = 1; p < c->pieces; p++)
    add(used, sum, sum, con_piece(call, c, i, p), NULL);
  con_finish(c, worker, (con_work *)(void *)memory, &job, sum);
}

int tg_bi_contract_run(const bi_contract *c, void *const *data) {
  bi_call call = {.program = c, .code = c->code, .data = data, .prepare = con_work_init};
  int64_t blocks = c->batch.total * c->blocks[0] * c->blocks[1], jobs = blocks * c->pieces;
  int64_t packs = c->shared ? c->batch.total * c->blocks[1] * c->kblocks : 0;
  con_work measure;
  call.own = con_layout(c, NULL, &measure);
  call.shared = c->shared_bytes;
  int64_t most = jobs > packs ? jobs : packs;
  if (c->side[0].pad.rows + c->side[1].pad.rows > most) most = INT32_MAX;
  if (!tg_bi_call_begin(&call, most)) return -1;
  con_make_copies(c, &call);
  call.job = con_pack_job;
  if (packs) tg_bi_call_jobs(&call, packs);
  call.job = c->pieces > 1 ? con_piece_job : con_run_job;
  tg_bi_call_jobs(&call, jobs);
  call.job = con_combine_job;
  if (c->pieces > 1) tg_bi_call_jobs(&call, blocks);
  return tg_bi_call_end(&call);
}
