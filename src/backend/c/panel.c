/* c/panel: the operands of a contraction, as text: the copy of a staged A, and
 * the panels of B. Both are loops around the operand's expression, with the same
 * lines per instruction as any kernel (value.c). */
#include "backend/c/contract.h"

#include <stdio.h>

c_expr tg_c_row_of(const c_render *r, const int64_t *row, uint64_t ranges, bool offset) {
  int64_t part[TG_MAX_RANGES + 1] = {0};
  for (int k = 0; k < r->code->nranges; k++)
    if (ranges >> k & 1) part[k] = row[k];
  part[r->code->nranges] = offset ? row[r->code->nranges] : 0;
  return tg_c_row(r->code, part);
}

c_expr tg_c_index(const c_render *r, const ct_space *space, int64_t factor) {
  int64_t row[TG_MAX_RANGES + 1] = {0};
  for (int s = 0; s < space->count; s++) row[space->range[s]] = space->stride[s] * factor;
  return tg_c_row(r->code, row);
}

void tg_c_split(c_render *r, const ct_space *space, const char *from) {
  for (int s = 0; s < space->count; s++) {
    long long size = (long long)space->size[s], below = (long long)space->stride[s];
    if (s == 0) tg_c_line(r, "const i64 i%d = %s / %lld;", space->range[s], from, below);
    else tg_c_line(r, "const i64 i%d = %s / %lld %% %lld;", space->range[s], from, below, size);
    r->open |= UINT64_C(1) << space->range[s];
  }
}

void tg_c_lanes(c_render *r, int lane, int64_t size, const char *low, const char *high,
                void (*body)(c_render *r, const ct_plan *p), const ct_plan *p) {
  bool *before = tg_alloc((size_t)r->code->count + 1);
  if (!before) {
    r->out->failed = true;
    return;
  }
  memcpy(before, r->done, (size_t)r->code->count);
  tg_c_line(r, "i64 i%d = %s;", lane, low);
  r->open |= UINT64_C(1) << lane;
  for (int part = 0; part < 2; part++) {
    r->part = part ? (int)(size % r->width) : 0;
    if (part ? r->part == 0 : size < r->width) continue;
    if (part) tg_c_open(r, "if (i%d < %s) {", lane, high);
    else tg_c_open(r, "for (; i%d + %d <= %s; i%d += %d) {", lane, r->width, high, lane, r->width);
    body(r, p);
    tg_c_close(r);
    memcpy(r->done, before, (size_t)r->code->count);
  }
  r->part = 0;
  r->open &= ~(UINT64_C(1) << lane);
  tg_free(before);
}

static void cp_store(c_render *r, const ct_plan *p, int32_t value, const char *to, int64_t step) {
  c_expr x = tg_c_use(r, value, true), type = tg_c_name(r, p->dtype);
  if (step != 1)
    tg_c_line(r, "scatter_%s(%.900s, %lld, %.100s, %d);", type.at, to, (long long)step, x.at,
              r->part ? r->part : r->width);
  else if (r->part) tg_c_line(r, "store_part_%s(%.900s, %.100s, %d);", type.at, to, x.at, r->part);
  else tg_c_line(r, "store_%s(%.900s, %.100s);", type.at, to, x.at);
}

static void cp_begin(c_render *r, const ct_plan *p, const ct_side *side, int lane) {
  memset(p->needed, 0, (size_t)r->code->count);
  tg_c_mark(r->code, side->value, NULL, p->needed);
  tg_c_set_lane(r, p->needed, lane);
}

/* ---- the copy of A, or of B where lanes run over it */

static void cp_stage_body(c_render *r, const ct_plan *p, int s) {
  const ct_side *A = &p->side[s];
  const char *name = s ? "image" : "copy";
  char to[1024];
  int64_t row[TG_MAX_RANGES + 1] = {0};
  for (int a = 0; a < A->axes; a++) {
    row[A->axis[a].range] = A->axis[a].stride;
    row[r->code->nranges] -= A->axis[a].low * A->axis[a].stride;
  }
  c_expr at = tg_c_row(r->code, row);
  tg_c_level(r, p->needed);
  snprintf(to, sizeof to, A->axis[0].part ? "%s + %.900s - low * %lld" : "%s + %.900s", name,
           at.at, (long long)A->axis[0].stride);
  cp_store(r, p, A->value, to, 1);
}

static void cp_stage_a(c_render *r, const ct_plan *p) { cp_stage_body(r, p, 0); }
static void cp_stage_b(c_render *r, const ct_plan *p) { cp_stage_body(r, p, 1); }

void tg_c_stage(c_render *r, const ct_plan *p, int s) {
  const ct_side *A = &p->side[s];
  const ct_axis *last = &A->axis[A->axes - 1];
  uint64_t open = r->open;
  bool *before = tg_alloc((size_t)r->code->count + 1);
  if (!before) {
    r->out->failed = true;
    return;
  }
  memcpy(before, r->done, (size_t)r->code->count);
  tg_c_open(r, "{");
  cp_begin(r, p, A, last->range);
  for (int a = 0; a < A->axes; a++)
    for (uint64_t left = A->axis[a].ranges & ~(UINT64_C(1) << A->axis[a].range); left;
         left &= left - 1) {
      tg_c_line(r, "const i64 i%d = 0;", __builtin_ctzll(left));
      r->open |= UINT64_C(1) << __builtin_ctzll(left);
    }
  tg_c_level(r, p->needed);
  for (int a = 0; a < A->axes - 1; a++) {
    const ct_axis *x = &A->axis[a];
    if (x->part)
      tg_c_open(r, "for (i64 i%d = low; i%d < high; i%d++) {", x->range, x->range, x->range);
    else tg_c_open(r, "for (i64 i%d = %lld; i%d < %lld; i%d++) {", x->range, (long long)x->low,
                   x->range, (long long)(x->low + x->size), x->range);
    r->open |= UINT64_C(1) << x->range;
    tg_c_level(r, p->needed);
  }
  char low[32], high[32];
  snprintf(low, sizeof low, "%lld", (long long)last->low);
  snprintf(high, sizeof high, "%lld", (long long)(last->low + last->size));
  tg_c_lanes(r, last->range, last->size, low, high, s ? cp_stage_b : cp_stage_a, p);
  for (int a = 0; a < A->axes; a++) tg_c_close(r);
  r->open = open;
  r->lane = -1;
  memcpy(r->done, before, (size_t)r->code->count);
  tg_free(before);
}

/* ---- a panel of B */

static void cp_along_n(c_render *r, const ct_plan *p) {
  const ct_side *B = &p->side[1];
  char to[1024];
  c_expr k = tg_c_index(r, &p->inner, p->panel);
  tg_c_level(r, p->needed);
  snprintf(to, sizeof to, "to + %.900s + i%d - n", k.at, B->space.range[0]);
  cp_store(r, p, B->value, to, 1);
}

static int64_t cp_lane_step(const c_render *r, const ct_plan *p) {
  for (int s = 0; s < p->inner.count; s++)
    if (p->inner.range[s] == r->lane) return p->inner.stride[s] * p->panel;
  return p->panel;
}

static void cp_along_k(c_render *r, const ct_plan *p) {
  char to[1024];
  c_expr k = tg_c_index(r, &p->inner, p->panel);
  tg_c_level(r, p->needed);
  snprintf(to, sizeof to, "to + %.900s + (n - low)", k.at);
  cp_store(r, p, p->side[1].value, to, cp_lane_step(r, p));
}

/* Vectors along K for as many n as a vector has lanes, then turned: stores of whole
 * vectors, where cp_along_k stores number by number. */
static void cp_square(c_render *r, const ct_plan *p) {
  const ct_side *B = &p->side[1];
  int range = B->space.range[0];
  const char *type = tg_c_type(p->dtype);
  char c = p->dtype == TG_FLOAT32 ? 'n' : 'w', to[64];
  long long w = (long long)p->width;
  c_expr k = tg_c_index(r, &p->inner, p->panel);
  tg_c_level(r, p->needed);
  tg_c_open(r, "for (i64 u = 0; u < count; u++) {");
  tg_c_line(r, "const i64 i%d = n + u;", range);
  r->open |= UINT64_C(1) << range;
  tg_c_level(r, p->needed);
  snprintf(to, sizeof to, "square + u * %lld", w);
  cp_store(r, p, B->value, to, 1);
  tg_c_close(r);
  r->open &= ~(UINT64_C(1) << range);
  tg_c_line(r, "turn_part_%s%c(square, to + %.900s + (n - low), %lld, %d);", type, c, k.at,
            (long long)cp_lane_step(r, p), r->part ? r->part : r->width);
}

static const int64_t *cp_main_row(const c_render *r, const bool *needed) {
  const int64_t *best = NULL;
  int most = -1;
  for (int32_t i = 0; i < r->code->count; i++) {
    const tg_ins *in = &r->code->ins[i];
    if (!needed[i] || in->op != TG_OP_LOAD || r->code->row_of[in->src[0]] < 0) continue;
    int n = __builtin_popcountll(in->ranges);
    if (n > most) most = n, best = bi_row(r->code, r->code->row_of[in->src[0]]);
  }
  return best;
}

/* The inner folds as loops, but for `lane`. */
static int cp_fold_loops(c_render *r, const ct_plan *p, int lane) {
  int opened = 0;
  for (int s = 0; s < p->inner.count; s++) {
    int range = p->inner.range[s];
    if (range == lane) continue;
    tg_c_open(r, "for (i64 i%d = 0; i%d < %lld; i%d++) {", range, range,
              (long long)p->inner.size[s], range);
    r->open |= UINT64_C(1) << range;
    tg_c_level(r, p->needed);
    opened++;
  }
  return opened;
}

static void cp_pack_n(c_render *r, const ct_plan *p) {
  const ct_side *B = &p->side[1];
  int lane = B->space.range[0];
  long long n = (long long)B->space.total, panel = p->panel;
  cp_begin(r, p, B, lane);
  tg_c_line(r, "const i64 n = j * %lld, end = n + %lld < %lld ? n + %lld : %lld;", panel, panel, n,
            panel, n);
  int opened = cp_fold_loops(r, p, -1);
  tg_c_lanes(r, lane, B->space.total, "n", "end", cp_along_n, p);
  for (; opened > 0; opened--) tg_c_close(r);
}

/* Panel j, from `low` to `end`, with lanes along a fold: n by n, or squares of n. */
static void cp_pack_k(c_render *r, const ct_plan *p, int lane, bool squares) {
  const ct_side *B = &p->side[1];
  const char *type = tg_c_type(p->dtype);
  long long n = (long long)B->space.total, panel = p->panel, w = (long long)p->width;
  char high[32];
  int64_t size = r->code->range[lane].size;
  cp_begin(r, p, B, lane);
  tg_c_line(r, "const i64 low = j * %lld, end = low + %lld < %lld ? low + %lld : %lld;", panel,
            panel, n, panel, n);
  if (squares) tg_c_line(r, "%s square[%lld] = {0};", type, w * w);
  tg_c_open(r, "for (i64 n = low; n < end; n += %lld) {", squares ? w : 1LL);
  if (squares) tg_c_line(r, "const i64 count = n + %lld < end ? %lld : end - n;", w, w);
  else tg_c_split(r, &B->space, "n");
  tg_c_level(r, p->needed);
  int opened = cp_fold_loops(r, p, lane);
  snprintf(high, sizeof high, "%lld", (long long)size);
  tg_c_lanes(r, lane, size, "0", high, squares ? cp_square : cp_along_k, p);
  for (; opened >= 0; opened--) tg_c_close(r);
}

/* The fold whose vectors are fullest and cheapest to read. */
static int cp_pack_lane(const ct_plan *p, const int64_t *row) {
  int best = p->inner.range[p->inner.count - 1];
  double least = 1e9;
  for (int s = p->inner.count - 1; row && s >= 0; s--) {
    int range = p->inner.range[s];
    int64_t size = p->inner.size[s], vectors = (size + p->width - 1) / p->width;
    double read = row[range] == 1 ? 1 : row[range] == 2 ? 1.25 : 2;
    double cost = read * (double)(vectors * p->width) / (double)size;
    if (cost < least) least = cost, best = range;
  }
  return best;
}

void tg_c_pack(c_render *r, const ct_plan *p) {
  const ct_side *B = &p->side[1];
  uint64_t open = r->open;
  bool *before = tg_alloc((size_t)r->code->count + 1);
  if (!before) {
    r->out->failed = true;
    return;
  }
  memcpy(before, r->done, (size_t)r->code->count);
  memset(p->needed, 0, (size_t)r->code->count);
  tg_c_mark(r->code, B->value, NULL, p->needed);
  const int64_t *row = cp_main_row(r, p->needed);
  int lane = cp_pack_lane(p, row);
  int64_t size = r->code->range[lane].size;
  tg_c_open(r, "{");
  if (p->across != B->space.total) /* lanes beyond N count as 0 */
    tg_c_line(r, "if (j == %lld) __builtin_memset(to, 0, %lld);",
              (long long)(p->across / p->panel - 1),
              (long long)(p->inner.total * p->panel * tg_dtype_size(p->dtype)));
  if (B->space.count == 1 && row && row[B->space.range[0]] == 1) cp_pack_n(r, p);
  else cp_pack_k(r, p, lane, B->space.count == 1 && size >= p->width / 2);
  tg_c_close(r);
  r->open = open;
  r->lane = -1;
  memcpy(r->done, before, (size_t)r->code->count);
  tg_free(before);
}
