/* c/winograd: sums over a sliding window with fewer multiplications.
 *
 * A window of r x r numbers that slides over an image makes m x m results out of a
 * tile of 6 x 6 numbers, m = 7 - r. That is a product of polynomials, and one of
 * degree 5 is known by its values at 6 points: evaluate both operands at 0, +-sqrt(1/2),
 * +-sqrt(2) and infinity, in both directions, multiply value by value, and interpolate
 * (Winograd 1980; Lavin and Gray 2015). 36 multiplications do what m*m*r*r did: 100
 * for 5 x 5, 144 for 3 x 3. The sum over channels commutes with interpolation, so
 * what is left in the middle are 36 products of matrices, tiles x channels x
 * filters, by the tile of tile.c; evaluating and interpolating are additions, once
 * per channel and once per filter, by functions of the prelude.
 *
 * The plan is the contraction's, with A the images (in place or staged, so padding
 * and masks are done with), M their numbers, rows and columns, and B the window,
 * packed in panels. Sums arrive in the same block, and the epilogue does not notice.
 *
 * Rounding errors are like the largest
 * sum's, not like each sum's own: about 5e-6 of the root mean square at worst, where
 * plain sums have 4e-6. float64 is summed plainly. A number that is not finite spoils
 * its tile, 6 x 6, where a plain sum spoils r x r: so where a sum is not finite the
 * kernel is run again by the built-in backend.
 */
#include "backend/c/contract.h"

#include <stdio.h>

enum { WG_SIDE = 6, WG_POINTS = WG_SIDE * WG_SIDE, WG_NEAR = 320 << 10 };

/* M's ranges: rows (0) and columns (1) of the result; before them its images. */
static int wg_space(const ct_plan *p, int d) { return p->side[0].space.count - 2 + d; }

static int64_t wg_size(const ct_plan *p, int d) { return p->side[0].space.size[wg_space(p, d)]; }

/* How far A moves along them. */
static int64_t wg_step(const ct_plan *p, int d) {
  return p->side[0].row[p->side[0].space.range[wg_space(p, d)]];
}

/* Does the window move along them backwards? */
static bool wg_backwards(const ct_plan *p, int d) {
  const ct_winograd *w = &p->winograd;
  return p->side[0].row[p->inner.range[d ? w->x : w->y]] != wg_step(p, d);
}

/* The inner fold that moves through A as they do, forwards or backwards; -1: none. */
static int wg_slider(const ct_plan *p, int d) {
  int64_t step = wg_step(p, d);
  for (int s = 0; s < p->inner.count; s++) {
    int64_t own = p->side[0].row[p->inner.range[s]];
    if (own && (own == step || own == -step)) return s;
  }
  return -1;
}

/* Tiles with those that only fill up products, if `y` rows of tiles go at once. */
static int64_t wg_filled(const ct_plan *p, const ct_winograd *w, int64_t rows, int64_t y) {
  int64_t padded = (y * w->across + p->rows - 1) / p->rows * p->rows;
  int64_t rest = (rows % y * w->across + p->rows - 1) / p->rows * p->rows;
  return rows / y * padded + rest;
}

/* Tile rows at once: few tiles that only fill up, and both sides of the products
 * near. */
static int64_t wg_at_once(const ct_plan *p, const ct_winograd *w, int64_t rows) {
  int64_t best = 1, least = wg_filled(p, w, rows, 1);
  for (int64_t y = 2; y <= rows; y++) {
    int64_t padded = (y * w->across + p->rows - 1) / p->rows * p->rows;
    if (WG_POINTS * 4 * padded * (w->channels + p->panel) > WG_NEAR) break;
    int64_t total = wg_filled(p, w, rows, y);
    if (total <= least) best = y, least = total;
  }
  return best;
}

/* Does it pay? Multiplications of the plain sum over those of this one, in which
 * the additions for a tile count as many multiplications as take the same time. */
static double wg_gain(const ct_plan *p, const ct_winograd *w) {
  double channels = (double)w->channels, filters = (double)p->across;
  double high = (double)wg_size(p, 0), wide = (double)wg_size(p, 1), taps = w->taps;
  int64_t rows = (wg_size(p, 0) + w->out - 1) / w->out;
  double tiles = (double)(rows * w->across);
  double filled = (double)wg_filled(p, w, rows, wg_at_once(p, w, rows));
  double plain = high * wide * taps * taps * channels * filters;
  return plain / (1.1 * WG_POINTS * filled * channels * filters +
                  tiles * (180 * channels + 90 * filters));
}

double tg_c_winograd_plan(const c_render *r, ct_plan *p) {
  ct_winograd *w = &p->winograd;
  const ct_space *k = &p->inner;
  int images = p->side[0].space.count - 2;
  uint64_t batch = tg_c_ranges(&p->batch);
  if (p->dtype != TG_FLOAT32 || images < 0 || images > 1 || p->outer.total != 1) return 0;
  if (r->code->ins[p->side[1].value].ranges & batch || wg_step(p, 1) != 1) return 0;
  w->y = wg_slider(p, 0), w->x = wg_slider(p, 1), w->c = 3 - w->y - w->x;
  if (k->count != 3 || w->y < 0 || w->x < 0 || w->y == w->x) return 0;
  w->taps = (int)k->size[w->y];
  w->channels = k->size[w->c];
  if (w->taps < 3 || w->taps > 5 || k->size[w->x] != w->taps || w->channels < 8) return 0;
  if (p->side[1].space.total < 8) return 0;
  w->out = WG_SIDE + 1 - w->taps;
  w->across = (wg_size(p, 1) + w->out - 1) / w->out;
  double gain = wg_gain(p, w);
  if (p->work >= 1 << 20 && gain >= 1.15) return gain;
  w->out = 0;
  return 0;
}

/* Where evaluated operands lie: after the job's rows of M are known. */
void tg_c_winograd_layout(ct_plan *p, c_kernel *k, int64_t (*take)(int64_t *at, int64_t bytes),
                          int64_t *own) {
  ct_winograd *w = &p->winograd;
  int64_t high = p->side[0].space.count > 2 ? wg_size(p, 0) : p->chunk, lanes = p->width;
  int64_t rows = (high + w->out - 1) / w->out;
  w->at_once = wg_at_once(p, w, rows);
  w->tiles = (w->at_once * w->across + p->rows - 1) / p->rows * p->rows;
  w->high = rows * w->out + w->taps - 1;
  w->wide = w->across * w->out + w->taps - 1;
  w->plane = w->tiles * w->channels + lanes;
  w->at_rows = take(own, w->tiles * 8);
  w->at_image = take(own, (w->high * w->wide * w->channels + lanes) * 4);
  w->at_line = take(own, WG_SIDE * (w->wide * w->channels + lanes) * 4);
  w->at_tiles = take(own, WG_POINTS * w->plane * 4);
  w->at_sums = take(own, WG_POINTS * w->tiles * p->panel * 4);
  w->at_window = take(&k->shared, WG_POINTS * w->channels * p->across * 4);
}

/* ---- as text */

/* The tile's plan: K is the channels alone, A rows of one point's tiles. */
void tg_c_winograd_tile(const ct_plan *p, ct_plan *tile) {
  const ct_winograd *w = &p->winograd;
  int range = p->inner.range[w->c];
  *tile = *p;
  tile->inner = (ct_space){.count = 1, .range = {range}, .size = {w->channels}, .stride = {1},
                           .total = w->channels};
  tile->cut = w->channels;
  tile->ld = p->panel;
  tile->side[0].row = tile->row_memory[0];
  memset(tile->row_memory[0], 0, sizeof tile->row_memory[0]);
  tile->row_memory[0][range] = 1;
  tile->side[1].in_place = false;
}

/* The window at all points, per panel of B. */
void tg_c_winograd_window(c_render *r, const ct_plan *p) {
  const ct_winograd *w = &p->winograd;
  long long panel = p->panel, base = 0, step[2], size = (long long)p->inner.total * panel;
  int fold[2] = {w->y, w->x};
  for (int d = 0; d < 2; d++) { /* a window that moves backwards is one turned around */
    step[d] = (long long)p->inner.stride[fold[d]] * panel;
    if (!wg_backwards(p, d)) continue;
    base += step[d] * (w->taps - 1);
    step[d] = -step[d];
  }
  tg_c_line(r, "const f32 *from = (const f32 *)(call->shared + %lld) + job * %lld + %lld;",
            (long long)p->at_shared, size, base);
  tg_c_line(r, "f32 *to = (f32 *)(call->shared + %lld) + job * %lld;", (long long)w->at_window,
            WG_POINTS * (long long)w->channels * panel);
  tg_c_line(r, "winograd_window_%d(from, %lld, %lld, %lld, %lld, %lld, to);", w->taps, step[0],
            step[1], (long long)p->inner.stride[w->c] * panel, (long long)w->channels, panel);
}

/* One image with channels side by side: rows from `top` to `bottom` of the result and
 * what the window meets beyond. The job's part of M is images, or rows of a single one. */
static void wg_image(c_render *r, const ct_plan *p) {
  const ct_winograd *w = &p->winograd;
  const ct_space *m = &p->side[0].space;
  const int64_t *row = p->side[0].row;
  long long fold = w->taps - 1, down = (long long)wg_step(p, 0);
  long long base = (wg_backwards(p, 0) ? -fold * down : 0) - (wg_backwards(p, 1) ? fold : 0);
  long long high = (long long)wg_size(p, 0), wide = (long long)wg_size(p, 1);
  if (m->count > 2) {
    tg_c_open(r, "for (i64 n = low; n < high; n++) {");
    tg_c_line(r, "const i64 top = 0, bottom = %lld;", high);
    tg_c_line(r, "const f32 *from = a + n * %lld + %lld;", (long long)row[m->range[0]], base);
    tg_c_line(r, "f32 *to = sums + (n - low) * %lld;", high * wide * (long long)p->ld);
  } else {
    tg_c_open(r, "{");
    tg_c_line(r, "const i64 top = low, bottom = high;");
    tg_c_line(r, "const f32 *from = a + low * %lld + %lld;", down, base);
    tg_c_line(r, "f32 *to = sums;");
  }
  tg_c_line(r, "winograd_image(from, %lld, %lld, %lld, bottom - top + %lld, %lld,",
            (long long)row[p->inner.range[w->c]], down, (long long)w->channels, fold, wide + fold);
  tg_c_line(r, "               image, %lld, %lld);", (long long)w->high, (long long)w->wide);
}

/* The products of the tiles at hand, and results from them, panel by panel. */
static void wg_products(c_render *r, const ct_plan *p) {
  const ct_winograd *w = &p->winograd;
  long long channels = (long long)w->channels, panel = p->panel, across = (long long)w->across;
  long long wide = (long long)wg_size(p, 1), points = WG_POINTS;
  tg_c_open(r, "for (i64 j = j0; j < j1; j++) {");
  tg_c_line(r, "const f32 *b = (const f32 *)(call->shared + %lld) + j * %lld;",
            (long long)w->at_window, points * channels * panel);
  tg_c_line(r, "for (i64 q = 0; q < %lld; q++)", points);
  tg_c_line(r, "  for (i64 t = 0; t < count_y * %lld; t += %d)", across, p->rows);
  tg_c_line(r, "    k%d_tile(tiles + q * %lld, rows + t, b + q * %lld,", r->number,
            (long long)w->plane, channels * panel);
  tg_c_line(r, "             at + q * %lld + t * %lld, 0);", (long long)w->tiles * panel, panel);
  tg_c_line(r, "for (i64 z = 0; z < count_y; z++)");
  tg_c_line(r, "  if (!winograd_results_%d(at + z * %lld, %lld, %lld, %lld,", w->out,
            across * panel, (long long)w->tiles * panel, across, panel);
  tg_c_line(r, "    to + (y + z) * %lld + (j - j0) * %lld, %lld, %lld,",
            w->out * wide * (long long)p->ld, panel, (long long)p->ld, wide);
  tg_c_line(r, "    bottom - top - (y + z) * %d)) call->unfit = 1;", w->out);
  tg_c_close(r);
}

void tg_c_winograd_sums(c_render *r, const ct_plan *p) {
  const ct_winograd *w = &p->winograd;
  long long once = (long long)w->at_once, channels = (long long)w->channels;
  tg_c_line(r, "f32 *image = (f32 *)(call->own + %lld), *line = (f32 *)(call->own + %lld);",
            (long long)w->at_image, (long long)w->at_line);
  tg_c_line(r, "f32 *tiles = (f32 *)(call->own + %lld), *at = (f32 *)(call->own + %lld);",
            (long long)w->at_tiles, (long long)w->at_sums);
  tg_c_line(r, "i64 *rows = (i64 *)(call->own + %lld);", (long long)w->at_rows);
  tg_c_line(r, "for (i64 t = 0; t < %lld; t++) rows[t] = t * %lld;", (long long)w->tiles, channels);
  wg_image(r, p);
  tg_c_line(r, "const i64 last = (bottom - top + %d) / %d;", w->out - 1, w->out);
  tg_c_open(r, "for (i64 y = 0; y < last; y += %lld) {", once);
  tg_c_line(r, "const i64 count_y = y + %lld < last ? %lld : last - y;", once, once);
  tg_c_line(r, "for (i64 z = 0; z < count_y; z++)");
  tg_c_line(r, "  winograd_tiles(image + (y + z) * %lld, %lld, %lld, %d, %lld, line,",
            w->out * (long long)w->wide * channels, (long long)w->wide, channels, w->out,
            (long long)w->across);
  tg_c_line(r, "                 tiles + z * %lld, %lld);", (long long)w->across * channels,
            (long long)w->plane);
  wg_products(r, p);
  tg_c_close(r);
  tg_c_close(r);
}
