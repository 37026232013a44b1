/* c/image: contractions whose lanes run over an image, as it lies in memory.
 *
 * With the filters of a convolution as lanes, few filters leave lanes empty, and each
 * block of sums must be transposed before it is stored. Two other ways have no such
 * limit. Both stage the image in a copy whose rows are `pitch` apart, so that all its
 * rows are one long row, and a window that slides over it is an offset:
 *
 *   Along N (forward, gradient by the input): lanes are positions of the result,
 *   counted by the copy's pitch. Those between the end of a row and the next begin are
 *   computed and never stored. The filters are broadcast; jobs are images.
 *
 *   Along K (gradient by the window): lanes are the positions that are summed, over the
 *   copies of both operands, one of which has zeros between its rows. Each sum is a
 *   vector until the job's end. Good for few sums of very many terms, and where 32
 *   registers let a tile load less than it sums (AVX-512).
 *
 * What is not finite in an image meets the zeros between rows in the second way, and
 * spoils all sums of its channel, where a plain sum spoils those it is part of. So
 * where a sum is not finite the kernel is run again by the built-in backend.
 */
#include "backend/c/contract.h"

enum { IM_COPY = 640 << 10, IM_SUMS = 192 << 10, IM_DOTS = 1024, IM_TILE = 8, IM_STEPS = 8 };

static uint64_t im_bit(int range) { return UINT64_C(1) << range; }

/* Rows and columns of sums whose tiles take least time. In half cycles a step of K takes
 * one per sum, one per load, two where loads cross cache lines, and ten until a sum
 * can be added to again. */
static void im_tile(ct_plan *p, int64_t m, int64_t n, int row_load, int column_load) {
  int registers = tg_c_registers();
  int64_t least = INT64_MAX;
  for (int v = 1; v <= IM_TILE; v++) {
    int64_t most = registers / v < 12 ? registers / v : 12, tiles = (m + most - 1) / most;
    int64_t rows = (m + tiles - 1) / tiles, time = rows * v;
    int64_t loads = rows * row_load + v * column_load;
    if (time < loads) time = loads;
    if (time < 10) time = 10;
    time *= tiles * ((n + v - 1) / v);
    if (time < least) least = time, p->rows = (int)rows, p->vectors = v;
  }
}

/* ---- along N */

/* The side of the epilogue's lanes as B: its last two ranges are rows and columns. */
static bool im_sides(ct_plan *p) {
  if (p->turned) tg_c_swap(p);
  p->turned = false;
  const ct_space *n = &p->side[1].space;
  return n->count >= 2 && n->range[n->count - 1] == p->lane;
}

/* Ranges before rows and columns go to the batch. */
static void im_images(const bi_code *code, ct_plan *p, const int64_t *store) {
  ct_space *n = &p->side[1].space;
  uint64_t inner = im_bit(n->range[n->count - 1]) | im_bit(n->range[n->count - 2]);
  uint64_t outer = tg_c_ranges(n) & ~inner;
  tg_c_space_of(code, inner, store, n);
  tg_c_space_of(code, outer | tg_c_ranges(&p->batch), store, &p->batch);
}

static bool im_fits(const bi_code *code, ct_plan *p) {
  ct_side *A = &p->side[0], *B = &p->side[1];
  int64_t size = tg_dtype_size(p->dtype);
  const int64_t *row =
      A->in_place ? tg_c_load_row(code, A) : tg_c_main_row(code, A, p->needed);
  if (!row) return false;
  tg_c_space_of(code, code->folds, row, &p->inner);
  tg_c_space_of(code, 0, NULL, &p->outer);
  tg_c_copy(code, p, B, false, 0);
  p->pitch = B->row[B->space.range[0]];
  p->n = (B->space.size[0] - 1) * p->pitch + B->space.size[1];
  if (B->row[p->lane] != 1 || p->pitch < B->space.size[1] || B->copy * size > IM_COPY)
    return false;
  im_tile(p, A->space.total, (p->n + p->width - 1) / p->width, 1, 2);
  p->panel = p->vectors * (int)p->width;
  p->across = tg_c_up(p->n, p->panel);
  if (A->in_place) memcpy(A->row, row, (size_t)(code->nranges + 1) * sizeof *row);
  else tg_c_copy(code, p, A, true, 0);
  if (!A->in_place && A->copy * size > IM_COPY) return false;
  return p->across * A->space.total * size <= IM_SUMS;
}

/* Nanoseconds per multiplication, in the measure of contract.c; empty lanes count too. */
static double im_cost(const ct_plan *p) {
  double m = (double)p->side[0].space.total, n = (double)p->side[1].space.total;
  double k = (double)p->inner.total;
  return 0.013 * (double)p->across / n + 0.2 * (double)p->side[1].copy / (m * n * k) + 0.08 / k;
}

bool tg_c_image_plan(const bi_code *code, ct_plan *p, double plain) {
  const ct_plan before = *p;
  const int64_t *store = tg_c_store_row(code);
  if (store && store[p->lane] == 1 && im_sides(p)) {
    im_images(code, p, store);
    p->side[1].in_place = false;
    p->lanes = CT_ALONG_IMAGE;
    if (im_fits(code, p) && im_cost(p) < plain) return true;
  }
  *p = before;
  return false;
}

/* ---- along K */

/* The fold along which both operands move by one. */
static int im_column(const bi_code *code, const int64_t *a, const int64_t *b) {
  for (int r = 0; r < code->nranges; r++)
    if ((code->folds >> r & 1) && a[r] == 1 && b[r] == 1) return r;
  return -1;
}

/* The fold of the nearest rows. */
static int im_row(const bi_code *code, const int64_t *row, int column) {
  int best = -1;
  for (int r = 0; r < code->nranges; r++)
    if ((code->folds >> r & 1) && r != column && row[r] > 1 && (best < 0 || row[r] < row[best]))
      best = r;
  return best;
}

/* The innermost axes of the copy are the image's rows and columns; alone: no window
 * moves along them. */
static bool im_innermost(const ct_side *side, const ct_space *inner, bool alone) {
  for (int d = 0; d < 2; d++) {
    if (side->axes < 2) return false;
    uint64_t has = side->axis[side->axes - 2 + d].ranges, wants = im_bit(inner->range[d]);
    if (alone ? has != wants : !(has & wants)) return false;
    if (side->row[inner->range[1]] != 1) return false;
  }
  return true;
}

/* Copies of both sides with one pitch: the image's, which is the larger. */
static bool im_pitches(const bi_code *code, ct_plan *p, int *image) {
  int64_t own[2];
  int row = p->inner.range[0];
  for (int s = 0; s < 2; s++) {
    tg_c_copy(code, p, &p->side[s], false, 0);
    own[s] = p->side[s].row[row];
  }
  *image = own[1] >= own[0];
  ct_side *with = &p->side[*image], *along = &p->side[1 - *image];
  p->pitch = own[*image];
  tg_c_copy(code, p, along, false, p->pitch);
  return im_innermost(with, &p->inner, false) && im_innermost(along, &p->inner, true) &&
         along->row[row] == p->pitch;
}

bool tg_c_dots_plan(const bi_code *code, ct_plan *p) {
  const ct_plan before = *p;
  const int64_t *a = tg_c_main_row(code, &p->side[0], p->needed);
  const int64_t *b = tg_c_main_row(code, &p->side[1], p->needed);
  int64_t m = p->side[0].space.total, n = p->side[1].space.total;
  int column = a && b ? im_column(code, a, b) : -1, row = column < 0 ? -1 : im_row(code, a, column);
  if (p->dtype != TG_FLOAT32 || row < 0 || m * n > IM_DOTS) return false;
  if (tg_isa_vector_bytes() < 64) return false; /* 16 registers: more loads than sums */
  uint64_t inner = im_bit(column) | im_bit(row);
  tg_c_space_of(code, inner, a, &p->inner);
  tg_c_space_of(code, code->folds & ~inner, a, &p->outer);
  p->side[0].in_place = p->side[1].in_place = false;
  int image;
  bool fits = p->inner.range[1] == column && im_pitches(code, p, &image);
  p->length = (p->inner.size[0] - 1) * p->pitch + p->inner.size[1];
  int64_t copies = (p->side[0].copy + p->side[1].copy) * 4;
  fits = fits && p->length >= 4 * p->width && p->length * 2 <= p->inner.total * 3;
  if (!fits || copies > IM_COPY || p->outer.total < IM_STEPS) {
    *p = before;
    return false;
  }
  p->lanes = CT_ALONG_K;
  p->n = n;
  im_tile(p, m, n, image ? 1 : 2, image ? 2 : 1);
  p->panel = (int)p->width;
  p->across = tg_c_up(n, p->panel);
  return true;
}

static int64_t im_tiles(int64_t n, int64_t size) { return (n + size - 1) / size; }

void tg_c_dots_layout(ct_plan *p, int64_t (*take)(int64_t *at, int64_t bytes), int64_t *own) {
  int64_t tiles = im_tiles(p->block, p->rows) * im_tiles(p->n, p->vectors);
  p->at_columns = take(own, im_tiles(p->n, p->vectors) * p->vectors * 8);
  p->at_dots = take(own, tiles * p->rows * p->vectors * p->width * 4);
}

void tg_c_dots_function(c_render *r, const ct_plan *p) {
  int rows = p->rows, columns = p->vectors, width = (int)p->width;
  tg_c_open(r, "APART void k%d_tile(const f32 *a, const i64 *row, const f32 *b, "
               "const i64 *column, f32 *c, _Bool add) {", r->number);
  tg_c_line(r, "const f32 *p[%d], *q[%d];", rows, columns);
  tg_c_line(r, "f32n s[%d][%d], x[%d];", rows, columns, columns);
  tg_c_line(r, "UNROLL for (int j = 0; j < %d; j++) q[j] = b + column[j];", columns);
  tg_c_open(r, "UNROLL for (int i = 0; i < %d; i++) {", rows);
  tg_c_line(r, "p[i] = a + row[i];");
  tg_c_line(r, "UNROLL for (int j = 0; j < %d; j++)", columns);
  tg_c_line(r, "  s[i][j] = add ? load_f32n(c + (i * %d + j) * %d) : (f32n){0};", columns, width);
  tg_c_close(r);
  tg_c_open(r, "for (i64 k = 0; k < %lld; k += %d) {", (long long)p->length, width);
  tg_c_line(r, "UNROLL for (int j = 0; j < %d; j++) { x[j] = load_f32n(q[j] + k); PIN(x[j]); }",
            columns);
  tg_c_open(r, "UNROLL for (int i = 0; i < %d; i++) {", rows);
  tg_c_line(r, "f32n y = load_f32n(p[i] + k);");
  tg_c_line(r, "PIN(y);"); /* or it is loaded anew for each product */
  tg_c_line(r, "UNROLL for (int j = 0; j < %d; j++) { s[i][j] += y * x[j]; PIN(s[i][j]); }",
            columns);
  tg_c_close(r);
  tg_c_close(r);
  tg_c_line(r, "UNROLL for (int i = 0; i < %d; i++) UNROLL for (int j = 0; j < %d; j++)", rows,
            columns);
  tg_c_line(r, "  store_f32n(c + (i * %d + j) * %d, s[i][j]);", columns, width);
  tg_c_close(r);
}

/* The columns' offsets, and zeros wherever the copies are never filled. */
void tg_c_dots_begin(c_render *r, const ct_plan *p) {
  const ct_space *n = &p->side[1].space;
  long long columns = (long long)(im_tiles(p->n, p->vectors) * p->vectors);
  tg_c_line(r, "i64 *columns = (i64 *)(call->own + %lld), u = 0;", (long long)p->at_columns);
  for (int s = 0; s < n->count; s++)
    tg_c_open(r, "for (i64 i%d = 0; i%d < %lld; i%d++) {", n->range[s], n->range[s],
              (long long)n->size[s], n->range[s]);
  c_expr at = tg_c_row_of(r, p->side[1].row, tg_c_ranges(n), true);
  tg_c_line(r, "columns[u++] = %.2000s;", at.at);
  for (int s = 0; s < n->count; s++) tg_c_close(r);
  tg_c_line(r, "for (; u < %lld; u++) columns[u] = columns[0];", columns);
  tg_c_line(r, "f32 *dots = (f32 *)(call->own + %lld);", (long long)p->at_dots);
  tg_c_line(r, "__builtin_memset(call->own + %lld, 0, %lld);", (long long)p->at_copy,
            (long long)(p->side[0].copy + p->width) * 4);
  tg_c_line(r, "__builtin_memset(call->own + %lld, 0, %lld);", (long long)p->at_image,
            (long long)(p->side[1].copy + p->panel) * 4);
}

void tg_c_dots_tiles(c_render *r, const ct_plan *p) {
  long long across = (long long)im_tiles(p->n, p->vectors);
  long long tile = (long long)(p->rows * p->vectors * p->width);
  bool first = p->side[0].copy > p->side[1].copy; /* the larger copy is gone through once */
  if (first) tg_c_line(r, "for (i64 m = 0; m * %d < count; m++)", p->rows);
  tg_c_line(r, "%sfor (i64 n = 0; n < %lld; n++)", first ? "  " : "", across);
  if (!first) tg_c_line(r, "  for (i64 m = 0; m * %d < count; m++)", p->rows);
  tg_c_line(r, "    k%d_tile(a, rows + m * %d, image, columns + n * %d,", r->number, p->rows,
            p->vectors);
  tg_c_line(r, "             dots + (m * %lld + n) * %lld, o > from);", across, tile);
}

/* From vectors to sums. */
void tg_c_dots_sums(c_render *r, const ct_plan *p) {
  long long across = (long long)im_tiles(p->n, p->vectors), width = (long long)p->width;
  int rows = p->rows, columns = p->vectors;
  tg_c_line(r, "for (i64 m = 0; m < count; m++)");
  tg_c_open(r, "  for (i64 n = 0; n < %lld; n++) {", (long long)p->n);
  tg_c_line(r, "const i64 tile = m / %d * %lld + n / %d, at = m %% %d * %d + n %% %d;", rows,
            across, columns, rows, columns, columns);
  tg_c_line(r, "sums[m * %lld + n] = sum_f32n(load_f32n(dots + (tile * %d + at) * %lld));",
            (long long)p->ld, rows * columns, width);
  tg_c_close(r);
}
