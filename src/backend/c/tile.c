/* c/tile: a contraction as text: the tile, the jobs that fill blocks of sums with
 * it, and the epilogue. */
#include "backend/c/contract.h"

#include <stdio.h>

/* ---- the tile: rows x vectors sums, over the inner folds */

static void tile_fold_loops(c_render *r, const ct_plan *p) {
  for (int s = 0; s < p->inner.count; s++) {
    int range = p->inner.range[s];
    int64_t size = s ? p->inner.size[s] : p->cut;
    if (s == p->inner.count - 1 && size <= 8) tg_c_line(r, "#pragma GCC unroll %d", (int)size);
    tg_c_open(r, "for (i64 i%d = 0; i%d < %lld; i%d++) {", range, range, (long long)size, range);
  }
}

static void tile_function(c_render *r, const ct_plan *p) {
  const char *type = tg_c_type(p->dtype);
  char vec[8];
  snprintf(vec, sizeof vec, "%s%c", type, p->dtype == TG_FLOAT32 ? 'n' : 'w');
  uint64_t inner = tg_c_ranges(&p->inner);
  c_expr a = tg_c_row_of(r, p->side[0].row, inner, false);
  bool rows = p->side[1].in_place || p->lanes == CT_ALONG_IMAGE;
  c_expr b = rows ? tg_c_row_of(r, p->side[1].row, inner, false)
                  : tg_c_index(r, &p->inner, p->panel);
  tg_c_open(r, "APART void k%d_tile(const %s *a, const i64 *row, const %s *b, %s *c, _Bool add) {",
            r->number, type, type, type);
  tg_c_line(r, "const %s *p[%d];", type, p->rows);
  tg_c_line(r, "%s s[%d][%d];", vec, p->rows, p->vectors);
  tg_c_open(r, "UNROLL for (int i = 0; i < %d; i++) {", p->rows);
  tg_c_line(r, "p[i] = a + row[i];");
  tg_c_line(r, "UNROLL for (int j = 0; j < %d; j++) s[i][j] = (%s){0};", p->vectors, vec);
  tg_c_close(r);
  tile_fold_loops(r, p);
  tg_c_line(r, "const i64 at = %.2000s;", a.at);
  tg_c_line(r, "const %s *y = b + %.2000s;", type, b.at);
  tg_c_line(r, "%s x[%d];", vec, p->vectors);
  tg_c_line(r, "UNROLL for (int j = 0; j < %d; j++) { x[j] = load_%s(y + j * %lld); PIN(x[j]); }",
            p->vectors, vec, (long long)p->width);
  tg_c_open(r, "UNROLL for (int i = 0; i < %d; i++) {", p->rows);
  tg_c_line(r, "const %s q = splat_%s(p[i][at]);", vec, vec);
  tg_c_line(r, "UNROLL for (int j = 0; j < %d; j++) { s[i][j] += q * x[j]; PIN(s[i][j]); }",
            p->vectors);
  tg_c_close(r);
  for (int s = 0; s < p->inner.count; s++) tg_c_close(r);
  tg_c_open(r, "UNROLL for (int i = 0; i < %d; i++) UNROLL for (int j = 0; j < %d; j++) {", p->rows,
            p->vectors);
  tg_c_line(r, "%s *to = c + i * %lld + j * %lld;", type, (long long)p->ld, (long long)p->width);
  tg_c_line(r, "store_%s(to, add ? load_%s(to) + s[i][j] : s[i][j]);", vec, vec);
  tg_c_close(r);
  tg_c_close(r);
}

/* ---- jobs */

static void tile_pointers(c_render *r) {
  for (int32_t s = 0; s < r->code->nslots; s++) {
    bool read = false, written = false;
    for (int32_t i = 0; i < r->code->count; i++) {
      const tg_ins *in = &r->code->ins[i];
      if (in->slot != s) continue;
      read |= in->op == TG_OP_LOAD;
      written |= bi_is_store(in->op);
    }
    if (read || written)
      tg_c_line(r, "%s%s *const p%d = call->data[%d];", written ? "" : "const ",
                tg_c_type(r->code->slot[s]), s, s);
  }
}

static void tile_begin(c_render *r, int part) {
  memset(r->done, 0, (size_t)r->code->count);
  r->open = 0;
  r->lane = -1;
  r->part = 0;
  r->stores = true;
  tg_c_open(r, "static void k%d_part%d(tg_c_call *call, i64 job) {", r->number, part);
  tile_pointers(r);
}

static void tile_add_part(c_kernel *k, int phase, int64_t jobs) {
  k->part[k->parts] = (c_part){phase, k->parts + 1, jobs};
  k->parts++;
}

/* The jobs that pack B for all others: a panel of an outer step each. */
static void tile_pack_part(c_render *r, const ct_plan *p, c_kernel *k) {
  int64_t panels = p->across / p->panel;
  tile_begin(r, k->parts + 1);
  tg_c_line(r, "const i64 j = job %% %lld, o = job / %lld;", (long long)panels, (long long)panels);
  tg_c_split(r, &p->outer, "o");
  tg_c_line(r, "%s *to = (%s *)(call->shared + %lld) + job * %lld;", tg_c_type(p->dtype),
            tg_c_type(p->dtype), (long long)p->at_shared, (long long)(p->inner.total * p->panel));
  tg_c_pack(r, p);
  tg_c_close(r);
  tile_add_part(k, 0, panels * p->outer.total);
}

/* Where job `job` works: its part of M, its position in the batch. */
static void tile_place(c_render *r, const ct_plan *p) {
  long long size = (long long)p->side[0].space.size[0], chunk = (long long)p->chunk;
  long long n = (long long)p->n, panels = (long long)(p->across / p->panel);
  tg_c_line(r, "const i64 part = job / %lld %% %lld, batch = job / %lld;", (long long)p->parts,
            (long long)p->chunks, (long long)(p->parts * p->chunks));
  tg_c_line(r, "const i64 j0 = job %% %lld * %lld, j1 = j0 + %lld < %lld ? j0 + %lld : %lld;",
            (long long)p->parts, (long long)p->panels, (long long)p->panels, panels,
            (long long)p->panels, panels);
  tg_c_line(r, "const i64 left = j0 * %d, right = j1 * %d < %lld ? j1 * %d : %lld;", p->panel,
            p->panel, n, p->panel, n);
  tg_c_line(r, "const i64 low = part * %lld, high = low + %lld < %lld ? low + %lld : %lld;", chunk,
            chunk, size, chunk, size);
  tg_c_line(r, "const i64 count = (high - low) * %lld;", (long long)(p->block / p->chunk));
  tg_c_split(r, &p->batch, "batch");
}

static void tile_rows(c_render *r, const ct_plan *p) {
  const ct_space *m = &p->side[0].space;
  tg_c_line(r, "i64 *rows = (i64 *)(call->own + %lld), t = 0;", (long long)p->at_rows);
  for (int s = 0; s < m->count; s++) {
    const char *low = s ? "0" : "low";
    if (s) tg_c_open(r, "for (i64 i%d = 0; i%d < %lld; i%d++) {", m->range[s], m->range[s],
                     (long long)m->size[s], m->range[s]);
    else tg_c_open(r, "for (i64 i%d = %s; i%d < high; i%d++) {", m->range[s], low, m->range[s],
                   m->range[s]);
  }
  c_expr at = tg_c_row_of(r, p->side[0].row, tg_c_ranges(m), false);
  tg_c_line(r, "rows[t++] = %.2000s;", at.at);
  for (int s = 0; s < m->count; s++) tg_c_close(r);
  tg_c_line(r, "for (; t < %lld; t++) rows[t] = rows[0];", (long long)p->padded);
}

static void tile_sums(c_render *r, const ct_plan *p, const char *piece) {
  const char *type = tg_c_type(p->dtype);
  if (p->pieces == 1)
    tg_c_line(r, "%s *sums = (%s *)(call->own + %lld);", type, type, (long long)p->at_sums);
  else
    tg_c_line(r, "%s *sums = (%s *)(call->shared + %lld) + (job * %lld + %s) * %lld;", type, type,
              (long long)p->at_pieces, (long long)p->pieces, piece,
              (long long)(p->padded * p->ld));
}

/* A at this step of the outer folds, and B as panels, unless it is read in place
 * or was packed before. */
static void tile_operands(c_render *r, const ct_plan *p) {
  const ct_side *A = &p->side[0], *B = &p->side[1];
  const char *type = tg_c_type(p->dtype);
  long long panel = (long long)(p->inner.total * p->panel);
  if (A->in_place) {
    uint64_t around = tg_c_ranges(&p->batch) | tg_c_ranges(&p->outer);
    c_expr at = tg_c_row_of(r, A->row, around, true);
    tg_c_line(r, "const %s *a = p%d + %.2000s;", type, A->slot, at.at);
  } else {
    tg_c_line(r, "%s *copy = (%s *)(call->own + %lld);", type, type, (long long)p->at_copy);
    tg_c_stage(r, p, 0);
    tg_c_line(r, "const %s *a = copy + %lld - low * %lld;", type,
              (long long)A->row[r->code->nranges],
              (long long)(A->axis[0].part ? A->axis[0].stride : 0));
  }
  if (p->lanes != CT_ALONG_N) {
    tg_c_line(r, "%s *image = (%s *)(call->own + %lld);", type, type, (long long)p->at_image);
    tg_c_stage(r, p, 1);
  } else if (!B->in_place && !p->shared) {
    tg_c_line(r, "%s *panel = (%s *)(call->own + %lld);", type, type, (long long)p->at_panel);
    tg_c_open(r, "for (i64 j = j0; j < j1; j++) {");
    tg_c_line(r, "%s *to = panel + j * %lld;", type, panel);
    tg_c_pack(r, p);
    tg_c_close(r);
  }
}

/* b: panel j of B. */
static void tile_panel(c_render *r, const ct_plan *p) {
  const ct_side *B = &p->side[1];
  const char *type = tg_c_type(p->dtype);
  long long panel = (long long)(p->inner.total * p->panel);
  if (p->lanes == CT_ALONG_IMAGE) {
    tg_c_line(r, "const %s *b = image + %lld + j * %d;", type, (long long)B->row[r->code->nranges],
              p->panel);
  } else if (B->in_place) {
    uint64_t around = tg_c_ranges(&p->batch) | tg_c_ranges(&p->outer);
    c_expr at = tg_c_row_of(r, B->row, around, true);
    tg_c_line(r, "const %s *b = p%d + %.2000s + j * %d;", type, B->slot, at.at, p->panel);
  } else if (p->shared) {
    tg_c_line(r, "const %s *b = (const %s *)(call->shared + %lld) + (o * %lld + j) * %lld;", type,
              type, (long long)p->at_shared, (long long)(p->across / p->panel), panel);
  } else tg_c_line(r, "const %s *b = panel + j * %lld;", type, panel);
}

/* Cut after cut of K, so that what is read of A stays in a near cache while panels
 * of B go by, and each of those in a nearer one while tiles go along M. */
static void tile_multiply(c_render *r, const ct_plan *p) {
  tg_c_open(r, "for (i64 o = from; o < to_; o++) {");
  tg_c_split(r, &p->outer, "o");
  tile_operands(r, p);
  int first = p->inner.range[0];
  int64_t a_cut = p->side[0].row[first] * p->cut;
  bool moves = p->side[1].in_place || p->lanes == CT_ALONG_IMAGE;
  int64_t b_cut = moves ? p->side[1].row[first] * p->cut
                        : p->inner.stride[0] * p->panel * p->cut;
  tg_c_line(r, "for (i64 cut = 0; cut < %lld; cut++)", (long long)p->cuts);
  tg_c_open(r, "for (i64 j = j0; j < j1; j++) {");
  tile_panel(r, p);
  tg_c_line(r, "for (i64 m = 0; m < count; m += %d)", p->rows);
  tg_c_line(r, "  k%d_tile(a + cut * %lld, rows + m, b + cut * %lld,", r->number,
            (long long)a_cut, (long long)b_cut);
  tg_c_line(r, "          sums + m * %lld + (j - j0) * %d, o > from || cut > 0);",
            (long long)p->ld, p->panel);
  tg_c_close(r);
  tg_c_close(r);
}

/* Vectors along K: what lies between the rows of the copies counts as 0. */
static void tile_dots(c_render *r, const ct_plan *p) {
  tg_c_dots_begin(r, p);
  tg_c_open(r, "for (i64 o = from; o < to_; o++) {");
  tg_c_split(r, &p->outer, "o");
  tile_operands(r, p);
  tg_c_dots_tiles(r, p);
  tg_c_close(r);
  tg_c_dots_sums(r, p);
}

/* ---- the epilogue */

static bool tile_follows(const bi_code *code, const bool *needed, int range, int lane,
                         int64_t size) {
  for (int32_t i = 0; i < code->count; i++) {
    const tg_ins *in = &code->ins[i];
    if (!needed[i]) continue;
    bool memory = in->op == TG_OP_LOAD || bi_is_store(in->op);
    int32_t row = memory ? code->row_of[in->src[0]] : code->row_of[i];
    if (row >= 0 && bi_row(code, row)[range] != bi_row(code, row)[lane] * size) return false;
  }
  return true;
}

static void tile_epilogue_body(c_render *r, const ct_plan *p) {
  const tg_ins *in = &r->code->ins[p->reduce];
  c_expr type = tg_c_name(r, in->dtype);
  const ct_space *m = &p->side[0].space, *n = &p->side[1].space;
  c_expr rows = tg_c_index(r, m, p->turned ? 1 : p->ld);
  c_expr columns = tg_c_index(r, n, p->turned ? p->padded : 1);
  if (p->lanes == CT_ALONG_IMAGE)
    columns = tg_c_row_of(r, p->side[1].row, tg_c_ranges(n), false);
  long long inner = (long long)(p->block / p->chunk) * (p->turned ? 1 : (long long)p->ld);
  const char *load = r->part ? "load_part_" : "load_";
  char count[16] = "";
  if (r->part) snprintf(count, sizeof count, ", %d", r->part);
  tg_c_line(r, "const %s v%d = %s%s(%s + %.900s - low * %lld + %.900s - left * %lld%s);", type.at,
            p->reduce, load, type.at, p->turned ? "turned" : "sums", rows.at, inner, columns.at,
            p->turned ? (long long)p->padded : 1LL, count);
  r->done[p->reduce] = true;
  tg_c_level(r, p->epilogue);
}

static void tile_turn(c_render *r, const ct_plan *p) {
  const char *type = tg_c_type(p->dtype);
  long long w = (long long)p->width;
  tg_c_line(r, "%s *turned = (%s *)(call->own + %lld);", type, type, (long long)p->at_turned);
  tg_c_line(r, "for (i64 n = 0; n < right - left; n += %lld)", w);
  tg_c_line(r, "  for (i64 m = 0; m < count; m += %lld)", w);
  tg_c_line(r, "    turn_%s%c(sums + m * %lld + n, %lld, turned + n * %lld + m, %lld);", type,
            p->dtype == TG_FLOAT32 ? 'n' : 'w', (long long)p->ld, (long long)p->ld,
            (long long)p->padded, (long long)p->padded);
}

/* A loop of the epilogue; first ranges go over the job's part. */
static void tile_loop(c_render *r, const ct_plan *p, const ct_space *s, int at) {
  int range = s->range[at];
  bool m = s == &p->side[0].space;
  if (at == 0 && m) tg_c_open(r, "for (i64 i%d = low; i%d < high; i%d++) {", range, range, range);
  else if (at == 0 && p->parts > 1)
    tg_c_open(r, "for (i64 i%d = left; i%d < right; i%d++) {", range, range, range);
  else
    tg_c_open(r, "for (i64 i%d = 0; i%d < %lld; i%d++) {", range, range, (long long)s->size[at],
              range);
  r->open |= UINT64_C(1) << range;
}

/* The lanes' loop; ranges around it that run on in all memory that the epilogue
 * sees join it. */
static void tile_lane_loop(c_render *r, const ct_plan *p, const ct_space *s, int first) {
  char low[64] = "0", high[64];
  bool chunked = p->turned && first == 0;
  int64_t size = 1;
  for (int at = first; at < s->count; at++) size *= s->size[at];
  for (int at = first; at < s->count - 1; at++) {
    tg_c_line(r, "const i64 i%d = 0;", s->range[at]);
    r->open |= UINT64_C(1) << s->range[at];
  }
  snprintf(high, sizeof high, "%lld", (long long)size);
  if (chunked) {
    snprintf(low, sizeof low, "low * %lld", (long long)(size / s->size[0]));
    snprintf(high, sizeof high, "high * %lld", (long long)(size / s->size[0]));
  } else if (!p->turned && p->parts > 1) {
    snprintf(low, sizeof low, "left");
    snprintf(high, sizeof high, "right");
  }
  tg_c_level(r, p->epilogue);
  tg_c_lanes(r, p->lane, size, low, high, tile_epilogue_body, p);
}

/* The first range of the lane's side that joins the lanes. */
static int tile_joined(const c_render *r, const ct_plan *p, const ct_space *s) {
  int first = s->count - 1;
  int64_t size = s->size[first];
  if (p->lanes == CT_ALONG_IMAGE) return first; /* rows are a pitch apart */
  while (first > 0 && tile_follows(r->code, p->epilogue, s->range[first - 1], p->lane, size)) {
    bool cut = p->turned && first == 1 && p->chunks > 1;
    if (cut && p->chunk * size % p->width) break;
    size *= s->size[--first];
  }
  return first;
}

static void tile_epilogue(c_render *r, const ct_plan *p) {
  const ct_space *lanes = &p->side[p->turned ? 0 : 1].space;
  const ct_space *rows = &p->side[p->turned ? 1 : 0].space;
  if (p->turned) tile_turn(r, p);
  tg_c_set_lane(r, p->epilogue, p->lane);
  tg_c_open(r, "{");
  tg_c_level(r, p->epilogue);
  int first = tile_joined(r, p, lanes), opened = 1;
  for (int s = 0; s < rows->count; s++, opened++) {
    tile_loop(r, p, rows, s);
    tg_c_level(r, p->epilogue);
  }
  for (int s = 0; s < first; s++, opened++) {
    tile_loop(r, p, lanes, s);
    tg_c_level(r, p->epilogue);
  }
  tile_lane_loop(r, p, lanes, first);
  for (; opened > 0; opened--) tg_c_close(r);
  r->lane = -1;
}

/* ---- the whole */

/* The jobs that evaluate panels of the window (winograd.c). */
static void tile_window_part(c_render *r, const ct_plan *p, c_kernel *k) {
  tile_begin(r, k->parts + 1);
  tg_c_winograd_window(r, p);
  tg_c_close(r);
  tile_add_part(k, 1, p->across / p->panel);
}

static void tile_run_part(c_render *r, const ct_plan *p, c_kernel *k, int phase) {
  long long outer = (long long)p->outer.total, step = (long long)p->per_piece;
  tile_begin(r, k->parts + 1);
  if (p->pieces > 1)
    tg_c_line(r, "const i64 piece = job %% %lld, from = piece * %lld;", (long long)p->pieces, step);
  else tg_c_line(r, "const i64 from = 0;");
  tg_c_line(r, "const i64 to_ = from + %lld < %lld ? from + %lld : %lld;", step, outer, step,
            outer);
  if (p->pieces > 1) tg_c_line(r, "job /= %lld;", (long long)p->pieces);
  tile_place(r, p);
  tile_sums(r, p, "piece");
  if (p->winograd.out) {
    tile_operands(r, p);
    tg_c_winograd_sums(r, p);
  } else {
    tile_rows(r, p);
    if (p->lanes == CT_ALONG_K) tile_dots(r, p);
    else tile_multiply(r, p);
  }
  if (!p->winograd.out && p->lanes == CT_ALONG_K) /* that spreads what is not finite */
    tg_c_line(r, "if (!finite_sums(sums, count, right - left, %lld)) call->unfit = 1;",
              (long long)p->ld);
  if (p->pieces == 1) tile_epilogue(r, p);
  tg_c_close(r);
  tile_add_part(k, phase, p->batch.total * p->chunks * p->parts * p->pieces);
}

static void tile_combine_part(c_render *r, const ct_plan *p, c_kernel *k, int phase) {
  const char *type = tg_c_type(p->dtype);
  char c = p->dtype == TG_FLOAT32 ? 'n' : 'w';
  long long size = (long long)(p->padded * p->ld);
  tile_begin(r, k->parts + 1);
  tile_place(r, p);
  tile_sums(r, p, "0");
  tg_c_line(r, "for (i64 piece = 1; piece < %lld; piece++)", (long long)p->pieces);
  tg_c_line(r, "  for (i64 i = 0; i < count * %lld; i += %lld)", (long long)p->ld,
            (long long)p->width);
  tg_c_line(r,
            "    store_%s%c(sums + i, load_%s%c(sums + i) + load_%s%c(sums + piece * %lld + i));",
            type, c, type, c, type, c, size);
  tile_epilogue(r, p);
  tg_c_close(r);
  tile_add_part(k, phase, p->batch.total * p->chunks * p->parts);
}

void tg_c_contract_write(c_render *r, ct_plan *p, c_kernel *k) {
  int phase = 0;
  bool pack = p->shared && !p->side[1].in_place;
  if (p->winograd.out) {
    ct_plan tile;
    tg_c_winograd_tile(p, &tile);
    tile_function(r, &tile);
  } else if (p->lanes == CT_ALONG_K) tg_c_dots_function(r, p);
  else tile_function(r, p);
  if (pack) tile_pack_part(r, p, k), phase++;
  if (p->winograd.out) tile_window_part(r, p, k), phase++;
  tile_run_part(r, p, k, phase++);
  if (p->pieces > 1) tile_combine_part(r, p, k, phase);
}
