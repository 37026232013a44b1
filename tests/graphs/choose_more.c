/* tests/graphs/choose_more: operands and arguments where shapes have to be made to fit:
 * movement, indices, products, convolutions and layers. See choose.c. */
#include "graphs.h"


static int64_t draw(graph_maker *m, int64_t n) { return graph_below(&m->state, n); }
static bool happens(graph_maker *m, int percent) { return graph_chance(&m->state, percent); }

/* ---- movement */

static void remove_dim(tg_ints *l, int i) {
  l->ndim--;
  memmove(l->dim + i, l->dim + i + 1, (size_t)(l->ndim - i) * sizeof *l->dim);
}

static void insert_dim(tg_ints *l, int i, int64_t n) {
  memmove(l->dim + i + 1, l->dim + i, (size_t)(l->ndim - i) * sizeof *l->dim);
  l->dim[i] = n;
  l->ndim++;
}

static void split_dim(graph_maker *m, tg_ints *l, int i) {
  for (int64_t d = 2 + draw(m, 3); d < l->dim[i]; d++) {
    if (l->dim[i] % d) continue;
    insert_dim(l, i, l->dim[i] / d);
    l->dim[i + 1] = d;
    return;
  }
}

GRAPH_CHOOSER(reshape) {
  if (!graph_choose_one(m, s)) return false;
  tg_ints *l = &s->list[0];
  *l = *GRAPH_SHAPE(m, s->in[0]);
  for (int k = (int)draw(m, 3) + 1; k > 0; k--) {
    int i = (int)draw(m, l->ndim);
    if (l->ndim > 1 && happens(m, 50)) {
      i = (int)draw(m, l->ndim - 1);
      l->dim[i] *= l->dim[i + 1];
      remove_dim(l, i + 1);
    } else if (l->ndim && l->ndim < 6 && happens(m, 70)) {
      split_dim(m, l, i);
    } else if (l->ndim < 6) {
      insert_dim(l, (int)draw(m, l->ndim + 1), 1);
    }
  }
  if (l->ndim && graph_count(l) && happens(m, 20)) l->dim[draw(m, l->ndim)] = -1;
  return true;
}

GRAPH_CHOOSER(expand) {
  if (!graph_choose_one(m, s)) return false;
  tg_ints *l = &s->list[0];
  *l = *GRAPH_SHAPE(m, s->in[0]);
  int64_t count = graph_count(l);
  bool big = count && count < 40 && m->big < 2 && happens(m, 15);
  if (l->ndim < 5 && happens(m, 50)) insert_dim(l, 0, 1);
  bool any = false;
  for (int i = 0; i < l->ndim; i++) {
    if (l->dim[i] != 1) continue;
    l->dim[i] = big && !any ? 66000 / count + draw(m, 400) : draw(m, 5) + (draw(m, 20) > 0);
    any = true;
  }
  m->big += big && any;
  return any;
}

GRAPH_CHOOSER(permute) {
  if (!graph_choose_one(m, s)) return false;
  tg_ints *l = &s->list[0];
  l->ndim = GRAPH_SHAPE(m, s->in[0])->ndim;
  for (int i = 0; i < l->ndim; i++) {
    int k = (int)draw(m, i + 1);
    l->dim[i] = l->dim[k];
    l->dim[k] = i;
  }
  return true;
}

GRAPH_CHOOSER(flip) {
  if (!graph_choose_one(m, s)) return false;
  for (int i = 0; i < GRAPH_SHAPE(m, s->in[0])->ndim; i++)
    if (happens(m, 50)) s->list[0].dim[s->list[0].ndim++] = i;
  return s->list[0].ndim > 0;
}

/* Two numbers for each axis, from `fill`. */
static bool bounds(graph_maker *m, graph_step *s,
                   void (*fill)(graph_maker *m, int64_t size, int64_t *pair)) {
  if (!graph_choose_one(m, s)) return false;
  const tg_shape *shape = GRAPH_SHAPE(m, s->in[0]);
  s->real[0] = graph_some_number(m);
  if (!tg_dtype_is_float(GRAPH_FACT(m, s->in[0])->dtype)) s->real[0] = (double)draw(m, 3);
  s->list[0].ndim = 2 * shape->ndim;
  for (int i = 0; i < shape->ndim && i < 8; i++) fill(m, shape->dim[i], s->list[0].dim + 2 * i);
  return shape->ndim <= 6;
}

static void shrink_pair(graph_maker *m, int64_t size, int64_t *pair) {
  bool whole = happens(m, 40);
  pair[0] = whole ? 0 : draw(m, size / 2 + 1);
  pair[1] = whole ? size : size - draw(m, size - pair[0] + (happens(m, 5) ? 1 : 0));
}

static void pad_pair(graph_maker *m, int64_t size, int64_t *pair) {
  (void)size;
  pair[0] = happens(m, 50) ? draw(m, 3) : 0;
  pair[1] = happens(m, 50) ? draw(m, 3) : 0;
}

static void pad2d_pair(graph_maker *m, int64_t size, int64_t *pair) {
  pad_pair(m, size, pair);
  if (size > 2 && happens(m, 25)) pair[draw(m, 2)] = -1;
}

static void slice_pair(graph_maker *m, int64_t size, int64_t *pair) {
  pair[0] = draw(m, size + 3) - 2;
  pair[1] = pair[0] + draw(m, size + 4);
}

GRAPH_CHOOSER(shrink) { return bounds(m, s, shrink_pair); }
GRAPH_CHOOSER(pad) { return bounds(m, s, pad_pair); }
GRAPH_CHOOSER(slice) { return bounds(m, s, slice_pair); }

GRAPH_CHOOSER(pad2d) {
  if (!bounds(m, s, pad2d_pair)) return false;
  const tg_shape *shape = GRAPH_SHAPE(m, s->in[0]);
  s->list[0].ndim = 4;
  for (int i = 0; i < 2; i++)
    pad2d_pair(m, shape->dim[shape->ndim - 1 - i], s->list[0].dim + 2 * i);
  return true;
}

GRAPH_CHOOSER(repeat) {
  if (!graph_choose_one(m, s)) return false;
  s->list[0].ndim = GRAPH_SHAPE(m, s->in[0])->ndim;
  for (int i = 0; i < s->list[0].ndim; i++) s->list[0].dim[i] = 1 + draw(m, 3) * happens(m, 50);
  return true;
}

GRAPH_CHOOSER(chunk) {
  s->whole[0] = 1 + draw(m, 4);
  if (!graph_choose_one(m, s)) return false;
  s->whole[1] = graph_some_axis(m, s->in[0]);
  s->whole[2] = draw(m, 4);
  return true;
}

GRAPH_CHOOSER(cat) {
  if (!graph_choose_one(m, s)) return false;
  tg_shape shape = *GRAPH_SHAPE(m, s->in[0]);
  int axis = graph_some_axis(m, s->in[0]);
  shape.dim[axis < 0 ? axis + shape.ndim : axis] = 1 + draw(m, 3);
  tg_dtype dtype = GRAPH_FACT(m, s->in[0])->dtype;
  s->in[1] = happens(m, 30) ? s->in[0] : graph_some_leaf(m, dtype, &shape, 0);
  s->whole[0] = axis;
  s->ins = 2;
  return s->in[1] >= 0;
}

/* ---- indexing */

static int places(graph_maker *m, const tg_shape *shape, int64_t range, graph_content content) {
  const tg_dtype some[] = {TG_INT64, TG_INT32, TG_INT64, TG_INT8, TG_INT64};
  if (range < 1 || range > 100) return -1;
  bool wrong = happens(m, 2);
  return graph_leaf(m, some[draw(m, 5)], shape, content, range + wrong);
}

static tg_shape short_shape(graph_maker *m, int ranks) {
  tg_shape s = {(int32_t)draw(m, ranks + 1), {0}};
  for (int i = 0; i < s.ndim; i++) s.dim[i] = happens(m, 3) ? 0 : 1 + draw(m, 4);
  return s;
}

/* An index item for an axis of that size; false: the index ends here. */
static bool index_item(graph_maker *m, graph_step *s, int64_t size, int by) {
  int64_t *it = s->item[s->items++];
  int64_t which = draw(m, 10);
  if (which < 2 && size > 0) {
    it[0] = TG_ITEM_AT;
    it[1] = draw(m, 2 * size) - size;
  } else if (which < 5 && by >= 0 && s->ins < 4) {
    it[0] = TG_ITEM_BY;
    it[1] = s->ins;
    s->in[s->ins++] = by;
  } else {
    const int64_t steps[] = {1, 1, 2, -1, -2, 3};
    it[0] = TG_ITEM_RANGE;
    it[3] = steps[draw(m, 6)];
    it[1] = happens(m, 30) ? TG_NONE : draw(m, 2 * size + 5) - size - 2;
    it[2] = happens(m, 30) ? TG_NONE : draw(m, 2 * size + 5) - size - 2;
  }
  return !happens(m, 15);
}

static int index_by(graph_maker *m, tg_shape *by, int64_t size) {
  const tg_shape mask = TG_SHAPE(size);
  if (!happens(m, 50) || size < 1) return -1;
  if (happens(m, 15)) return graph_leaf(m, TG_BOOL, &mask, GRAPH_BITS, 0);
  return places(m, by, size, GRAPH_PLACES);
}

GRAPH_CHOOSER(index) {
  if (!graph_choose_one(m, s)) return false;
  tg_shape shape = *GRAPH_SHAPE(m, s->in[0]), by = short_shape(m, 2);
  int last = shape.ndim;
  for (int i = 0; i < last && s->items < GRAPH_ITEMS - 2; i++) {
    if (happens(m, 7)) s->item[s->items++][0] = TG_ITEM_NEW_AXIS;
    if (!index_item(m, s, shape.dim[i], index_by(m, &by, shape.dim[i]))) break;
  }
  if (s->items < last && happens(m, 15)) s->item[s->items++][0] = TG_ITEM_REST;
  return s->items > 0;
}

/* The value is a scalar, or has the shape of what the index names. */
GRAPH_CHOOSER(set_index) {
  if (!graph_choose_index(m, s) || s->ins > 3) return false;
  tg_shape shape = {0, {0}};
  if (happens(m, 70)) {
    graph_step get = *s;
    get.op = graph_op_named("index");
    tg_tensor *in[4] = {NULL}, *t;
    for (int k = 0; k < s->ins; k++) in[k] = m->value[s->in[k]];
    t = graph_ops[get.op].apply(&get, in);
    shape = t ? tg_shape_of(t) : shape;
    tg_clear_error();
  }
  int value = graph_some_leaf(m, GRAPH_FACT(m, s->in[0])->dtype, &shape, GRAPH_W_KNOWN);
  for (int k = s->ins++; k > 1; k--) s->in[k] = s->in[k - 1];
  for (int k = 0; k < s->items; k++) s->item[k][1] += s->item[k][0] == TG_ITEM_BY;
  s->in[1] = value;
  return value >= 0;
}

GRAPH_CHOOSER(take) {
  if (!graph_choose_one(m, s)) return false;
  tg_shape shape = short_shape(m, 2);
  s->in[1] = places(m, &shape, GRAPH_SHAPE(m, s->in[0])->dim[0], GRAPH_PLACES);
  s->ins = 2;
  return s->in[1] >= 0;
}

GRAPH_CHOOSER(take_clip) {
  if (!graph_choose_one(m, s)) return false;
  s->in[1] = graph_pick(m, GRAPH_W_WHOLE | GRAPH_W_LITTLE);
  s->whole[0] = GRAPH_SHAPE(m, s->in[0])->dim[0] - 1;
  s->ins = 2;
  return s->in[1] >= 0 && s->whole[0] < 100;
}

GRAPH_CHOOSER(gather) {
  if (!graph_choose_one(m, s)) return false;
  tg_shape shape = *GRAPH_SHAPE(m, s->in[0]);
  int axis = graph_some_axis(m, s->in[0]), at = axis < 0 ? axis + shape.ndim : axis;
  int64_t range = shape.dim[at];
  for (int i = 0; i < shape.ndim; i++)
    if (happens(m, 30) && shape.dim[i] > 1) shape.dim[i] -= draw(m, 2);
  shape.dim[at] = 1 + draw(m, 4);
  s->in[1] = places(m, &shape, range, GRAPH_UPWARD);
  s->whole[0] = axis;
  s->ins = 2;
  return s->in[1] >= 0;
}

GRAPH_CHOOSER(scatter) {
  if (!graph_choose_gather(m, s)) return false;
  s->in[2] = graph_some_leaf(m, GRAPH_FACT(m, s->in[0])->dtype, GRAPH_SHAPE(m, s->in[1]), 0);
  s->ins = 3;
  return s->in[2] >= 0;
}

GRAPH_CHOOSER(multinomial) {
  tg_shape shape = {1, {2 + draw(m, 4)}};
  if (happens(m, 40)) insert_dim(&shape, 0, 1 + draw(m, 3));
  s->in[0] = graph_leaf(m, TG_FLOAT32, &shape, GRAPH_POSITIVE, 0);
  s->whole[0] = draw(m, 1000);
  s->whole[1] = 1 + draw(m, 5);
  s->ins = 1;
  return s->in[0] >= 0;
}

/* ---- products and layers */

static int like(graph_maker *m, int value, const tg_shape *shape) {
  tg_dtype own = GRAPH_FACT(m, value)->dtype;
  return graph_some_leaf(m, happens(m, 85) ? own : graph_some_dtype(m, 0), shape, 0);
}

GRAPH_CHOOSER(matmul) {
  if (!graph_choose_one(m, s)) return false;
  tg_shape shape = *GRAPH_SHAPE(m, s->in[0]);
  int64_t depth = shape.dim[shape.ndim - 1];
  int64_t columns = happens(m, 20) ? 16 + draw(m, 30) : draw(m, 6);
  if (shape.ndim > 1) {
    shape.dim[shape.ndim - 2] = depth;
    shape.dim[shape.ndim - 1] = columns + (columns == 0 && happens(m, 90));
  }
  for (int i = 0; i + 2 < shape.ndim; i++)
    if (happens(m, 30)) shape.dim[i] = 1;
  s->in[1] = like(m, s->in[0], &shape);
  s->ins = 2;
  return s->in[1] >= 0;
}

GRAPH_CHOOSER(linear) {
  if (!graph_choose_one(m, s)) return false;
  int64_t depth = GRAPH_SHAPE(m, s->in[0])->dim[GRAPH_SHAPE(m, s->in[0])->ndim - 1];
  tg_shape weight = TG_SHAPE(depth, 1 + draw(m, 7)), bias = TG_SHAPE(weight.dim[1]);
  if (happens(m, 20)) remove_dim(&weight, 1), bias = weight;
  s->in[1] = like(m, s->in[0], &weight);
  s->in[2] = graph_is(s, "linear_bias") ? like(m, s->in[0], &bias) : -1;
  s->ins = s->in[2] >= 0 ? 3 : 2;
  return s->in[1] >= 0;
}

/* [N, C, H...], out of the values or new. */
static int image(graph_maker *m, unsigned want) {
  int value = graph_pick(m, want | GRAPH_W_PAIR | GRAPH_W_SOME | GRAPH_W_LITTLE);
  int rank = value < 0 ? 0 : GRAPH_SHAPE(m, value)->ndim;
  if (rank >= 3 && rank <= 5) return value;
  const int64_t wide = happens(m, 25) ? 12 : 6;
  tg_shape shape = TG_SHAPE(1 + draw(m, 2), 1 + draw(m, 4), 2 + draw(m, wide));
  if (happens(m, 75)) insert_dim(&shape, 3, 2 + draw(m, wide));
  if (happens(m, 8)) insert_dim(&shape, shape.ndim, 2 + draw(m, 2));
  return graph_some_leaf(m, graph_some_dtype(m, want), &shape, want);
}

static int64_t group_count(graph_maker *m, int64_t channels) {
  int64_t groups = happens(m, 30) ? 1 + draw(m, channels) : 1;
  return channels % groups ? 1 : groups;
}

static void paddings(graph_maker *m, tg_ints *l, int axes) {
  l->ndim = 0;
  if (happens(m, 40)) return;
  l->ndim = happens(m, 30) ? 2 * axes : 1;
  for (int i = 0; i < l->ndim; i++) l->dim[i] = draw(m, 3);
}

GRAPH_CHOOSER(conv) {
  s->in[0] = image(m, 0);
  if (s->in[0] < 0) return false;
  tg_shape x = *GRAPH_SHAPE(m, s->in[0]), w = x;
  int axes = x.ndim - 2;
  s->whole[0] = 1 + draw(m, 2) * happens(m, 40);
  s->whole[1] = 1 + draw(m, 2) * happens(m, 25);
  s->whole[2] = group_count(m, x.dim[1]);
  paddings(m, &s->list[0], axes);
  s->list[1] = TG_INTS(s->whole[0]);
  w.dim[0] = s->whole[2] * (1 + draw(m, 4));
  w.dim[1] = x.dim[1] / s->whole[2];
  for (int i = 2; i < w.ndim; i++) w.dim[i] = 1 + draw(m, 3);
  tg_shape bias = TG_SHAPE(w.dim[0]);
  s->in[1] = like(m, s->in[0], &w);
  s->in[2] = graph_is(s, "conv2d_bias") ? like(m, s->in[0], &bias) : -1;
  s->ins = s->in[2] >= 0 ? 3 : 2;
  return s->in[1] >= 0;
}

GRAPH_CHOOSER(conv_transpose) {
  if (!graph_choose_conv(m, s)) return false;
  tg_shape x = *GRAPH_SHAPE(m, s->in[0]), w = *GRAPH_SHAPE(m, s->in[1]);
  w.dim[0] = x.dim[1];
  w.dim[1] = 1 + draw(m, 3);
  s->list[0] = happens(m, 50) ? TG_INTS(draw(m, 2)) : TG_SCALAR;
  s->list[1] = s->whole[0] > 1 && happens(m, 40) ? TG_INTS(1) : TG_SCALAR;
  s->in[1] = like(m, s->in[0], &w);
  return s->in[1] >= 0;
}

GRAPH_CHOOSER(pool) {
  s->in[0] = image(m, graph_ops[s->op].want);
  s->ins = 1;
  if (s->in[0] < 0) return false;
  int axes = GRAPH_SHAPE(m, s->in[0])->ndim - 2;
  s->list[0].ndim = axes > 2 ? 2 : axes;
  for (int i = 0; i < s->list[0].ndim; i++) s->list[0].dim[i] = 1 + draw(m, 3);
  s->list[1] = happens(m, 50) ? TG_INTS(1 + draw(m, 3)) : TG_SCALAR;
  s->whole[0] = 1 + draw(m, 2) * happens(m, 25);
  return true;
}

GRAPH_CHOOSER(batchnorm) {
  if (!graph_choose_one(m, s)) return false;
  tg_shape shape = TG_SHAPE(GRAPH_SHAPE(m, s->in[0])->dim[1]);
  tg_dtype dtype = GRAPH_FACT(m, s->in[0])->dtype;
  for (s->ins = 1; s->ins < 4; s->ins++)
    if ((s->in[s->ins] = graph_leaf(m, dtype, &shape, GRAPH_POSITIVE, 0)) < 0) return false;
  return true;
}

GRAPH_CHOOSER(attention) {
  if (!graph_choose_one(m, s)) return false;
  tg_shape q = *GRAPH_SHAPE(m, s->in[0]), k = q, v, mask = TG_SHAPE(q.dim[q.ndim - 2], 0);
  tg_dtype dtype = GRAPH_FACT(m, s->in[0])->dtype;
  mask.dim[1] = k.dim[k.ndim - 2] = 1 + draw(m, 5);
  v = k;
  v.dim[v.ndim - 1] = 1 + draw(m, 4);
  s->in[1] = graph_leaf(m, dtype, &k, GRAPH_EIGHTHS, 0);
  s->in[2] = s->in[1] < 0 ? -1 : graph_leaf(m, dtype, &v, GRAPH_EIGHTHS, 0);
  s->in[3] = s->in[2] < 0 ? -1 : graph_leaf(m, TG_BOOL, &mask, GRAPH_BITS, 0);
  s->ins = graph_is(s, "attention_mask") ? 4 : 3;
  s->whole[0] = happens(m, 50);
  return s->in[3] >= 0;
}

GRAPH_CHOOSER(bce) {
  if (!graph_choose_one(m, s)) return false;
  tg_shape shape = *GRAPH_SHAPE(m, s->in[0]);
  if (graph_count(&shape) > 2000) return false;
  s->in[1] = graph_leaf(m, GRAPH_FACT(m, s->in[0])->dtype, &shape, GRAPH_BITS, 0);
  s->ins = 2;
  return s->in[1] >= 0;
}

GRAPH_CHOOSER(labels) {
  if (!graph_choose_one(m, s)) return false;
  tg_shape shape = *GRAPH_SHAPE(m, s->in[0]);
  int64_t classes = shape.dim[--shape.ndim];
  s->in[1] = graph_leaf(m, TG_UINT8, &shape, GRAPH_PLACES, classes);
  s->ins = 2;
  return s->in[1] >= 0 && classes < 200;
}
