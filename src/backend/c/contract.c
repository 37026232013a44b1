/* c/contract: sums of products, out = epilogue(sum over K of A * B).
 *
 * The LOOP ranges of one operand alone are M and N, those of both the batch, the
 * folded ones K, as in the built-in backend (builtin/contract.c); here all sizes
 * are constants in the text. A tile holds `rows` x `vectors` sums in registers:
 * lanes run along N, and each step of K multiplies a vector of B by numbers of A,
 * broadcast. A is read in place, at `row offset + K offset`, so a sliding window is
 * no copy. B is read in place when its lanes lie side by side in memory, else it
 * is packed into panels, once for all jobs if it is the same for them.
 *
 * An operand that is an expression (a cast, a mask of relu) or has a condition (a
 * padding) is staged: evaluated once per element into a copy. Ranges along which
 * everything in the expression moves in proportion are one axis of the copy: a
 * window's position and its kernel's offset, so that the copy is a padded image
 * and not 25 of them. Where a window slides over an image, winograd.c may put fewer
 * multiplications in place of the sum, and where filters make poor lanes, image.c lets
 * the image's copy be B. What is estimated to cost least is done.
 *
 * K is cut into `outer` steps and `inner` ones per step where panels would be too
 * large, and outer steps into pieces where there are few jobs; their sums are
 * added in order, so results do not depend on threads.
 */
#include "backend/c/contract.h"

enum { CT_PANEL = 160 << 10, CT_BLOCK = 192 << 10, CT_LEAST = 2048, CT_JOBS = 32,
       CT_NEAR = 20 << 10, CT_NEAR_512 = 96 << 10, CT_AGAIN = 128, CT_FAR = 256 };

/* ---- finding it */

static bool ct_find(const bi_code *code, ct_plan *p) {
  int found = 0;
  if (code->serials || !code->loops) return false;
  for (int32_t i = 0; i < code->count; i++) {
    if (code->ins[i].op == TG_OP_REDUCE) p->reduce = i, found++;
    if (code->row_of[i] < 0 && !tg_c_can(code, i)) return false;
  }
  if (found != 1) return false;
  const tg_ins *in = &code->ins[p->reduce], *product = &code->ins[in->src[0]];
  p->dtype = in->dtype;
  if (in->fold != TG_OP_ADD || (p->dtype != TG_FLOAT32 && p->dtype != TG_FLOAT64)) return false;
  if (product->op != TG_OP_MUL || (in->folded & code->folds) != code->folds) return false;
  p->side[0].value = product->src[0];
  p->side[1].value = product->src[1];
  for (int32_t i = 0; i < code->count; i++)
    if (bi_is_store(code->ins[i].op) && (code->ins[i].ranges & code->loops) != code->loops)
      return false;
  return product->src[0] != product->src[1];
}

const int64_t *tg_c_store_row(const bi_code *code) {
  for (int32_t i = 0; i < code->count; i++)
    if (bi_is_store(code->ins[i].op)) return bi_row(code, code->row_of[code->ins[i].src[0]]);
  return NULL;
}

static int64_t ct_far(const int64_t *row, int range) {
  return row[range] < 0 ? -row[range] : row[range];
}

/* Ranges of the mask as one index, those that step furthest along `row` first. */
void tg_c_space_of(const bi_code *code, uint64_t ranges, const int64_t *row, ct_space *s) {
  s->count = 0;
  for (; ranges; ranges &= ranges - 1) {
    int r = __builtin_ctzll(ranges), at = s->count++;
    uint64_t far = (uint64_t)ct_far(row, r) - 1; /* 0, which does not move: first */
    for (; at > 0 && (uint64_t)ct_far(row, s->range[at - 1]) - 1 < far; at--)
      s->range[at] = s->range[at - 1];
    s->range[at] = r;
  }
  s->total = 1;
  for (int i = s->count - 1; i >= 0; i--) {
    s->size[i] = code->range[s->range[i]].size;
    s->stride[i] = s->total;
    s->total *= s->size[i];
  }
}

uint64_t tg_c_ranges(const ct_space *s) {
  uint64_t mask = 0;
  for (int i = 0; i < s->count; i++) mask |= UINT64_C(1) << s->range[i];
  return mask;
}

static bool ct_classify(const bi_code *code, ct_plan *p) {
  const int64_t *store = tg_c_store_row(code);
  uint64_t in[2], loops = code->loops;
  for (int s = 0; s < 2; s++) in[s] = code->ins[p->side[s].value].ranges & loops;
  for (int s = 0; s < 2; s++) tg_c_space_of(code, in[s] & ~in[1 - s], store, &p->side[s].space);
  tg_c_space_of(code, (in[0] & in[1]) | (loops & ~in[0] & ~in[1]), store, &p->batch);
  double m = (double)p->side[0].space.total, n = (double)p->side[1].space.total, k = 1;
  for (int r = 0; r < code->nranges; r++)
    if (code->folds >> r & 1) k *= (double)code->range[r].size;
  double work = m * n * k * (double)p->batch.total;
  if (m < 2 || n < 2 || k < 2 || m * n * k < CT_LEAST || work > 1e15) return false;
  p->work = (int64_t)work;
  return true;
}

/* ---- how operands are read */

const int64_t *tg_c_load_row(const bi_code *code, const ct_side *side) {
  const tg_ins *in = &code->ins[side->value];
  if (in->op != TG_OP_LOAD || code->row_of[in->src[0]] < 0) return NULL;
  return bi_row(code, code->row_of[in->src[0]]);
}

static void ct_in_place(const bi_code *code, ct_side *side) {
  const tg_ins *in = &code->ins[side->value];
  side->in_place = tg_c_load_row(code, side) && in->src[1] < 0;
  side->slot = in->slot;
}

/* Is moving by one along a the same as moving by *ratio along b, in every row that
 * the operand is computed from? */
static bool ct_proportional(const bi_code *code, const bool *needed, int a, int b,
                            int64_t *ratio) {
  bool first = true;
  *ratio = 0;
  for (int32_t i = 0; i < code->count; i++) {
    if (!needed[i] || code->row_of[i] < 0) continue;
    const int64_t *row = bi_row(code, code->row_of[i]);
    if (!row[a] && !row[b]) continue;
    if (!row[b] || row[a] % row[b]) return false;
    if (!first && row[a] / row[b] != *ratio) return false;
    *ratio = row[a] / row[b];
    first = false;
  }
  return *ratio != 0;
}

/* Marks what the operand is computed from, indices of memory too. */
static void ct_mark_rows(const bi_code *code, int32_t value, bool *needed) {
  memset(needed, 0, (size_t)code->count);
  tg_c_mark(code, value, NULL, needed);
  for (int32_t i = code->count - 1; i >= 0; i--)
    if (needed[i] && code->ins[i].op == TG_OP_LOAD) needed[code->ins[i].src[0]] = true;
}

/* A range joins the axis along which it moves alike, if that makes the copy smaller
 * (windows overlap), or is one of its own. */
static void ct_axis_add(const bi_code *code, ct_side *side, int range, const bool *needed) {
  int64_t far = code->range[range].size - 1, ratio;
  for (int a = 0; a < side->axes; a++) {
    ct_axis *axis = &side->axis[a];
    bool onto = ct_proportional(code, needed, range, axis->range, &ratio);
    if (onto && ratio < axis->size && -ratio < axis->size) {
      axis->low += ratio < 0 ? ratio * far : 0;
      axis->size += (ratio < 0 ? -ratio : ratio) * far;
      axis->ranges |= UINT64_C(1) << range;
      return;
    }
    if (!onto && axis->ranges == UINT64_C(1) << axis->range &&
        ct_proportional(code, needed, axis->range, range, &ratio) && ratio <= far &&
        -ratio <= far) {
      int64_t reach = ratio * (axis->size - 1); /* the axis goes by the new range instead */
      *axis = (ct_axis){.range = range, .ranges = axis->ranges, .low = reach < 0 ? reach : 0,
                        .size = (reach < 0 ? -reach : reach) + far + 1};
      axis->ranges |= UINT64_C(1) << range;
      return;
    }
  }
  side->axis[side->axes++] =
      (ct_axis){.range = range, .ranges = UINT64_C(1) << range, .size = far + 1};
}

/* The load of most positions: it says in which order to go. */
static const int64_t *ct_main_row(const bi_code *code, const bool *needed) {
  const int64_t *best = NULL;
  int most = -1;
  for (int32_t i = 0; i < code->count; i++) {
    const tg_ins *in = &code->ins[i];
    if (!needed[i] || in->op != TG_OP_LOAD || code->row_of[in->src[0]] < 0) continue;
    int n = __builtin_popcountll(in->ranges);
    if (n > most) most = n, best = bi_row(code, code->row_of[in->src[0]]);
  }
  return best;
}

static void ct_sort_axes(ct_side *side, const int64_t *row) {
  for (int a = 1; row && a < side->axes; a++)
    for (int b = a; b > 0; b--) {
      ct_axis *x = &side->axis[b - 1], *y = &side->axis[b], swap = *x;
      if ((uint64_t)ct_far(row, x->range) - 1 >= (uint64_t)ct_far(row, y->range) - 1) break;
      *x = *y;
      *y = swap;
    }
}

const int64_t *tg_c_main_row(const bi_code *code, const ct_side *side, bool *needed) {
  ct_mark_rows(code, side->value, needed);
  return ct_main_row(code, needed);
}

/* Strides of the copy, and the row along which it is read. */
static void ct_strides(const bi_code *code, const ct_plan *p, ct_side *side, int64_t pitch) {
  int64_t ratio;
  memset(side->row, 0, (size_t)(code->nranges + 1) * sizeof *side->row);
  side->copy = 1;
  for (int a = side->axes - 1; a >= 0; a--) {
    ct_axis *axis = &side->axis[a];
    if (a == side->axes - 2 && pitch > side->copy) side->copy = pitch;
    if (a == side->axes - 3 && pitch) side->copy = tg_c_up(side->copy, p->width);
    axis->stride = side->copy;
    for (uint64_t left = axis->ranges; left; left &= left - 1) {
      int range = __builtin_ctzll(left);
      ratio = 1;
      if (range != axis->range) ct_proportional(code, p->needed, range, axis->range, &ratio);
      side->row[range] = ratio * axis->stride;
    }
    side->row[code->nranges] -= axis->low * axis->stride;
    side->copy *= axis->part ? 1 : axis->size;
  }
}

/* The copy of a staged operand for one position of the batch and the outer folds.
 * parts: of M's first range it holds what the job needs, if nothing else moves along
 * with it. */
void tg_c_copy(const bi_code *code, ct_plan *p, ct_side *side, bool parts, int64_t pitch) {
  uint64_t ranges = tg_c_ranges(&side->space) | tg_c_ranges(&p->inner);
  const int64_t *row = tg_c_main_row(code, side, p->needed);
  side->axes = 0;
  for (uint64_t left = ranges & code->ins[side->value].ranges; left; left &= left - 1)
    ct_axis_add(code, side, __builtin_ctzll(left), p->needed);
  ct_sort_axes(side, row);
  int first = side->space.range[0];
  for (int a = 0; a < side->axes; a++) { /* the job's part: outermost, if it can be */
    ct_axis axis = side->axis[a];
    axis.part = parts && axis.ranges == UINT64_C(1) << first;
    if (axis.part && a < side->axes - 1) {
      memmove(&side->axis[1], &side->axis[0], (size_t)a * sizeof axis);
      side->axis[0] = axis;
    } else side->axis[a].part = false;
  }
  ct_strides(code, p, side, pitch);
}

/* ---- which side is which */

/* B where it lies: its lanes side by side, whole vectors. Not if steps of K are so
 * far apart that each is on another page, and often in the same set of a cache,
 * while B is read again and again. */
static bool ct_direct(const bi_code *code, const ct_plan *p, const ct_side *b) {
  if (!b->in_place) return false;
  const int64_t *row = tg_c_load_row(code, b);
  const ct_side *a = &p->side[b == &p->side[0]];
  for (int r = 0; r < code->nranges && a->space.total >= CT_AGAIN; r++)
    if ((code->folds >> r & 1) && ct_far(row, r) >= CT_FAR) return false;
  for (int s = 0; s < b->space.count; s++)
    if (row[b->space.range[s]] != b->space.stride[s]) return false;
  return b->space.total % p->width == 0;
}

/* Nanoseconds per multiplication with side b as B, roughly. */
static double ct_cost(const bi_code *code, const ct_plan *p, int b, bool turned) {
  const ct_side *A = &p->side[1 - b], *B = &p->side[b];
  double m = (double)A->space.total, n = (double)B->space.total, w = (double)p->width;
  double vectors = (double)((B->space.total + p->width - 1) / p->width);
  double cost = 0.013 * vectors * w / n * (vectors < 2 ? 1.25 : 1);
  uint64_t batch = tg_c_ranges(&p->batch);
  bool same = !(code->ins[B->value].ranges & batch);
  double reuse = same ? m * (double)p->batch.total : m;
  if (!ct_direct(code, p, B)) cost += (B->space.count == 1 ? 0.5 : 1.0) / reuse;
  if (!A->in_place) cost += 0.5 / n;
  double k = (double)p->work / (m * n * (double)p->batch.total);
  return cost + (turned ? 0.3 : 0.05) / k;
}

/* The range whose steps are smallest in the output: it will be the lanes of the
 * epilogue. */
static int ct_store_lane(const bi_code *code) {
  const int64_t *row = tg_c_store_row(code);
  int best = -1;
  for (int r = 0; r < code->nranges; r++)
    if ((code->loops >> r & 1) && row[r] && (best < 0 || ct_far(row, r) < ct_far(row, best)))
      best = r;
  return best;
}

void tg_c_swap(ct_plan *p) {
  ct_side swap = p->side[0];
  p->side[0] = p->side[1];
  p->side[1] = swap;
  for (int s = 0; s < 2; s++) p->side[s].row = p->row_memory[s];
}

static bool ct_orient(const bi_code *code, ct_plan *p) {
  p->lane = ct_store_lane(code);
  if (p->lane < 0) return false;
  uint64_t lane = UINT64_C(1) << p->lane;
  bool in[2] = {tg_c_ranges(&p->side[0].space) & lane, tg_c_ranges(&p->side[1].space) & lane};
  if (!in[0] && !in[1]) return false;
  if (ct_cost(code, p, 0, in[1]) < ct_cost(code, p, 1, in[0])) {
    tg_c_swap(p);
    p->turned = in[1];
  } else p->turned = in[0];
  return true;
}

/* ---- blocks */

int64_t tg_c_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

/* Splits K: the ranges that step least along A are inner, while what a job packs
 * of B, or reads of it for one tile, stays in the cache. */
static void ct_split_folds(const bi_code *code, ct_plan *p) {
  const ct_side *A = &p->side[0];
  const int64_t *row = tg_c_load_row(code, A);
  ct_mark_rows(code, A->value, p->needed);
  if (!row) row = ct_main_row(code, p->needed);
  if (!row) row = tg_c_store_row(code);
  ct_space all;
  tg_c_space_of(code, code->folds, row, &all);
  uint64_t batch = tg_c_ranges(&p->batch), inner = 0;
  bool same = !(code->ins[p->side[1].value].ranges & batch);
  p->shared = same && p->batch.total > 1;
  int64_t total = 1, size = (int64_t)tg_dtype_size(p->dtype);
  int64_t lanes = p->shared || p->side[1].in_place ? 2 * p->width
                                                   : tg_c_up(p->side[1].space.total, p->width);
  for (int s = all.count - 1; s >= 0; s--) {
    int64_t next = total * all.size[s];
    if (total > 1 && next * lanes * size > CT_PANEL) break;
    inner |= UINT64_C(1) << all.range[s];
    total = next;
  }
  tg_c_space_of(code, inner, row, &p->inner);
  tg_c_space_of(code, code->folds & ~inner, row, &p->outer);
  if (same && p->outer.total == 1) p->shared = true;
}

int tg_c_registers(void) { return tg_isa_vector_bytes() == 64 ? 24 : 12; }

static void ct_tile(ct_plan *p) {
  int64_t vectors = (p->n + p->width - 1) / p->width;
  int registers = tg_c_registers();
  p->vectors = vectors == 1 ? 1 : vectors == 3 ? 3 : registers == 24 && vectors % 4 == 0 ? 4 : 2;
  p->rows = registers / p->vectors;
  if (p->rows > 12) p->rows = 12;
  int64_t m = p->side[0].space.total;
  int most = p->vectors == 1 ? (m <= 10 ? 10 : 8) : p->rows;
  int64_t tiles = (m + most - 1) / most; /* few: no rows for nothing */
  p->rows = tiles < 8 ? (int)((m + tiles - 1) / tiles) : most;
  p->panel = p->vectors * (int)p->width;
  p->across = tg_c_up(p->n, p->panel);
}

/* Cuts the first inner fold so that what a tile reads of B stays in the nearest
 * cache while tiles go along M; processors with AVX-512 read the next one as fast as
 * their tiles need. */
static void ct_cut(ct_plan *p) {
  int64_t size = p->inner.size[0], bytes = p->inner.total * p->panel * tg_dtype_size(p->dtype);
  p->cuts = 1;
  int64_t near = tg_isa_vector_bytes() == 64 ? CT_NEAR_512 : CT_NEAR;
  while (bytes / p->cuts > near && p->cuts < size) {
    p->cuts++;
    while (size % p->cuts) p->cuts++;
  }
  p->cut = size / p->cuts;
}

/* Pieces of the outer folds, when the batch gives too few jobs. */
static void ct_pieces(ct_plan *p, int64_t jobs) {
  p->pieces = 1;
  p->per_piece = p->outer.total;
  if (p->batch.total >= jobs || p->outer.total < 8) return;
  int64_t pieces = (jobs + p->batch.total - 1) / p->batch.total;
  if (pieces > p->outer.total / 4) pieces = p->outer.total / 4;
  p->per_piece = (p->outer.total + pieces - 1) / pieces;
  p->pieces = (p->outer.total + p->per_piece - 1) / p->per_piece;
}

/* Halves the longer side of a block until there are enough jobs and its sums fit
 * the cache; a side is kept whole if cutting it would repeat copies of the other. */
static void ct_halve(const ct_plan *p, int64_t jobs, int64_t inner, int64_t *chunk,
                     int64_t *panels) {
  const ct_space *m = &p->side[0].space;
  int64_t size = tg_dtype_size(p->dtype), all = p->across / p->panel;
  bool cut_n = p->side[1].space.count == 1 && p->side[0].in_place && p->lanes == CT_ALONG_N;
  bool packs = !p->shared && !p->side[1].in_place;
  for (;;) {
    int64_t rows = *chunk * inner, columns = *panels * p->panel;
    int64_t blocks = (m->size[0] + *chunk - 1) / *chunk * ((all + *panels - 1) / *panels);
    bool large = rows * columns * size > CT_BLOCK * (packs ? 4 : 1);
    bool few = blocks * p->batch.total * p->pieces < jobs;
    if (!large && (!few || (packs && p->batch.total * p->pieces >= 8))) return;
    bool can_n = cut_n && *panels > 1 && (large || columns > 32);
    bool can_m = *chunk > 1 && rows / 2 >= 2 * p->rows;
    if (!can_n && !can_m) return;
    if (can_n && (!can_m || columns >= rows)) *panels = (*panels + 1) / 2;
    else *chunk = (*chunk + 1) / 2;
  }
}

/* Blocks of M x N, and pieces of K: enough jobs of which each is worth its start. */
static void ct_blocks(ct_plan *p) {
  const ct_space *m = &p->side[0].space;
  ct_side *A = &p->side[0];
  int64_t size = tg_dtype_size(p->dtype), inner = m->total / m->size[0];
  int64_t jobs = p->work / 1000000 + 1 < CT_JOBS ? p->work / 1000000 + 1 : CT_JOBS;
  int64_t chunk = m->size[0], panels = p->across / p->panel;
  bool part = A->axes && A->axis[0].part;
  ct_pieces(p, jobs);
  ct_halve(p, jobs, inner, &chunk, &panels);
  if (part && A->copy * size * chunk > CT_PANEL) chunk = CT_PANEL / (A->copy * size);
  if (chunk < 1) chunk = 1;
  if (inner == 1 && chunk < m->size[0]) chunk = tg_c_up(chunk, p->turned ? 24 : p->rows);
  if (p->winograd.out && m->count == 2) chunk = tg_c_up(chunk, p->winograd.out);
  p->chunk = chunk < m->size[0] ? chunk : m->size[0];
  p->chunks = (m->size[0] + p->chunk - 1) / p->chunk;
  p->panels = panels;
  p->parts = (p->across / p->panel + panels - 1) / panels;
  p->ld = panels * p->panel;
  p->block = p->chunk * inner;
  if (part) A->copy *= p->chunk;
  p->padded = tg_c_up(tg_c_up(p->block, p->rows), p->width);
}

static int64_t ct_take(int64_t *at, int64_t bytes) {
  int64_t here = *at;
  *at = tg_c_up(here + bytes, 64);
  return here;
}

static void ct_layout(ct_plan *p, c_kernel *k) {
  int64_t size = tg_dtype_size(p->dtype), own = 0;
  int64_t panel = p->lanes == CT_ALONG_N ? p->across * p->inner.total * size : 0;
  int64_t image = p->lanes == CT_ALONG_N ? 0 : p->side[1].copy + p->panel;
  p->at_rows = ct_take(&own, p->padded * 8);
  p->at_sums = ct_take(&own, p->padded * p->ld * size);
  p->at_turned = ct_take(&own, p->turned ? p->padded * p->ld * size : 0);
  int64_t slack = p->lanes == CT_ALONG_K ? p->width : 0; /* rows are read to whole vectors */
  p->at_copy = ct_take(&own, p->side[0].in_place ? 0 : (p->side[0].copy + slack) * size);
  p->at_panel = ct_take(&own, p->shared || p->side[1].in_place ? 0 : panel);
  p->at_image = ct_take(&own, image * size);
  bool packed = p->shared && !p->side[1].in_place;
  p->at_shared = ct_take(&k->shared, packed ? panel * p->outer.total : 0);
  if (p->winograd.out) tg_c_winograd_layout(p, k, ct_take, &own);
  if (p->lanes == CT_ALONG_K) tg_c_dots_layout(p, ct_take, &own);
  if (own > k->own) k->own = own;
  int64_t jobs = p->batch.total * p->chunks * p->parts * p->pieces;
  p->at_pieces = ct_take(&k->shared, p->pieces > 1 ? jobs * p->padded * p->ld * size : 0);
}

/* Panels of B, and A in place or staged. false: its copy would be too large. */
static bool ct_operands(const bi_code *code, ct_plan *p) {
  ct_side *A = &p->side[0], *B = &p->side[1];
  const size_t row = (size_t)(code->nranges + 1) * sizeof *A->row;
  B->in_place = ct_direct(code, p, B);
  p->n = B->space.total;
  ct_split_folds(code, p);
  ct_tile(p);
  if (B->in_place && p->across != B->space.total) B->in_place = false;
  if (A->in_place) memcpy(A->row, tg_c_load_row(code, A), row);
  else tg_c_copy(code, p, A, true, 0);
  if (B->in_place) memcpy(B->row, tg_c_load_row(code, B), row);
  return A->in_place || A->copy * tg_dtype_size(p->dtype) <= 16 * CT_PANEL;
}

/* Lanes along N as a rule, summed plainly or by Winograd's method: the cost, or -1. */
static double ct_plain(c_render *r, ct_plan *p) {
  const ct_side *A = &p->side[0];
  double cost = ct_cost(r->code, p, 1, p->turned), n = (double)p->side[1].space.total, copy = 1;
  if (!ct_operands(r->code, p)) return -1;
  for (int a = 0; !A->in_place && a < A->axes; a++) copy *= (double)A->axis[a].size;
  if (!A->in_place) /* a window uses what is staged more often than that cost assumes */
    cost += 0.2 * copy / ((double)A->space.total * n * (double)p->inner.total) - 0.5 / n;
  double gain = tg_c_winograd_plan(r, p);
  if (gain == 0) return cost;
  p->side[1].in_place = false;
  p->shared = true;
  return cost / gain;
}

/* Sums of many terms along K; else what costs least of filters and image as lanes. */
static bool ct_choose(c_render *r, ct_plan *p) {
  const ct_plan oriented = *p;
  if (tg_c_dots_plan(r->code, p)) return true;
  double cost = ct_plain(r, p);
  const ct_plan plain = *p;
  *p = oriented;
  if (tg_c_image_plan(r->code, p, cost < 0 ? 1e9 : cost)) return true;
  *p = plain;
  return cost >= 0;
}

bool tg_c_contract_plan(c_render *r, ct_plan *p, c_kernel *k) {
  const bi_code *code = r->code;
  if (!ct_find(code, p) || !ct_classify(code, p)) return false;
  p->width = tg_isa_vector_bytes() / tg_dtype_size(p->dtype);
  for (int s = 0; s < 2; s++) {
    p->side[s].row = p->row_memory[s];
    ct_in_place(code, &p->side[s]);
  }
  if (!ct_orient(code, p)) return false;
  if (!ct_choose(r, p)) return false;
  if (p->lanes != CT_ALONG_K) ct_cut(p);
  ct_blocks(p);
  if (p->padded * p->ld > 1 << 20) return false;
  ct_layout(p, k);
  memset(p->epilogue, 0, (size_t)code->count);
  for (int32_t i = 0; i < code->count; i++)
    if (bi_is_store(code->ins[i].op)) tg_c_mark(code, i, NULL, p->epilogue);
  return true;
}
