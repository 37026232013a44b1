/* tensor/indexing: parts of a tensor by number, range, mask and index tensor.
 *
 * tg_index works in two steps, like PyTorch. The basic step handles numbers,
 * ranges and new axes with movement alone: shrink, flip for a negative step,
 * windows of one element for a step other than 1, reshape. The advanced step
 * handles index tensors: the indexed axes go to the front and are merged into
 * one, the indices are combined into one flat int64 index, and a GATHER reads
 * the rows; its gradient adds into them. So the cost is the elements touched.
 * A mask counts as the index tensors of its true positions (numpy's nonzero), one of
 * no axes as an index into a new axis of size 1. An index tensor of no axes is looked
 * up with the others, but takes its axis away like a number.
 *
 * A position that is out of range must not land in a neighbouring row, so each
 * is checked before they are combined, in the kernel: GATHER refuses it, even
 * one out of the numbers 0, 1, 2 ..., which needs no memory.
 *
 * Assignment indexes the numbers 0 ... numel - 1 in the tensor's shape, which
 * gives the flat place of every element that the index names, and scatters the
 * values to those places. gather and scatter compute such places too.
 */
#include "autograd/functions.h"
#include "tensor/tensor.h"

/* ---- index tensors */

static bool is_integer(tg_dtype dtype) { return !tg_dtype_is_float(dtype) && dtype != TG_BOOL; }

static bool is_signed(tg_dtype dtype) {
  return dtype == TG_INT8 || dtype == TG_INT16 || dtype == TG_INT32 || dtype == TG_INT64;
}

static bool index_fits(const char *call, const tg_tensor *index) {
  if (is_integer(index->node->dtype)) return true;
  tg_fail_as(TG_FAILURE_INDEX, "%s: an index tensor must hold integers, not %s; cast it", call,
             tg_dtype_name(index->node->dtype));
  return false;
}

static bool same_place(const char *call, const tg_tensor *x, const tg_tensor *index) {
  if (x->node->device == index->node->device) return true;
  tg_fail("%s: the tensor is on %s, the index on %s; move one with tg_to", call, tg_device(x),
          tg_device(index));
  return false;
}

/* int64, negative numbers counted from the back of an axis of `size`. One that
 * is out of range stays what it is, for the message. */
static tg_node *from_front(tg_node *index, int64_t size) {
  bool wraps = is_signed(index->dtype);
  tg_node *i = tg_node_cast(index, TG_INT64);
  if (!i || !wraps) return i;
  tg_node *behind = tg_n_add(i, tg_n_num(i, (double)size)), *zero = tg_n_num(i, 0);
  tg_node *wrapped = tg_node_where(tg_n_lt(behind, zero), i, behind);
  return tg_node_where(tg_n_lt(i, zero), wrapped, i);
}

/* Element i of 0, 1, 2 ...: the same number, and GATHER checks it. */
tg_node *tg_n_checked(tg_node *index, int64_t size) {
  if (!index) return NULL;
  return tg_node_gather(tg_node_iota(index->device, 1, &size, 0), index);
}

/* `n` broadcast to a shape of more or as many axes. */
static tg_node *spread(tg_node *n, const tg_shape *shape) {
  if (!n) return NULL;
  int64_t wide[TG_MAX_DIMS];
  int front = shape->ndim - n->ndim;
  for (int i = 0; i < shape->ndim; i++) wide[i] = i < front ? 1 : tg_node_shape(n)[i - front];
  return tg_node_expand(tg_node_reshape(n, shape->ndim, wide), shape->dim);
}

/* ---- parsing an index */

/* What an index does to one axis of x, or a new axis (`axis` -1). */
typedef enum part_kind { PART_RANGE, PART_AT, PART_NEW, PART_BY } part_kind;

typedef struct index_part {
  part_kind kind;
  int axis;                     /* of x */
  int64_t start, count, step;   /* RANGE; AT has count 1 */
  tg_tensor *by;                /* BY: an index tensor */
} index_part;

typedef struct plan {
  const char *call;
  tg_tensor *x;
  int count, axis;              /* parts so far; the next axis of x */
  index_part parts[3 * TG_MAX_DIMS];
} plan;

static int axes_of(const tg_index_item *item) {
  switch (item->kind) {
    case TG_ITEM_AT: case TG_ITEM_RANGE: return 1;
    case TG_ITEM_NEW_AXIS: case TG_ITEM_REST: return 0;
    case TG_ITEM_BY: return item->by->node->dtype == TG_BOOL ? tg_rank(item->by) : 1;
  }
  return 0;
}

/* A mask of no axes: true or false for the whole. */
static bool is_choice(const tg_index_item *item) {
  return item->kind == TG_ITEM_BY && item->by->node->dtype == TG_BOOL && tg_rank(item->by) == 0;
}

/* How many axes the items name; -1 and a message if they cannot be right. */
static int axes_named(const plan *p, int count, const tg_index_item *items) {
  int axes = 0, rests = 0, news = 0;
  for (int i = 0; i < count; i++) {
    if ((unsigned)items[i].kind > TG_ITEM_BY) {
      tg_fail("%s: item %d of the index is of kind %d, which there is not; make it with TG_AT, "
              "TG_RANGE and the like", p->call, i, (int)items[i].kind);
      return -1;
    }
    if (items[i].kind == TG_ITEM_BY && tg_is_null(p->call, items[i].by)) return -1;
    axes += axes_of(&items[i]);
    rests += items[i].kind == TG_ITEM_REST;
    news += items[i].kind == TG_ITEM_NEW_AXIS || is_choice(&items[i]);
  }
  if (rests > 1)
    tg_fail_as(TG_FAILURE_INDEX, "%s: an index can have one TG_REST, not %d", p->call, rests);
  else if (axes > tg_rank(p->x))
    tg_fail_as(TG_FAILURE_INDEX, "%s: the index names %d axes but shape %s has %d", p->call, axes,
               tg_text_of(p->x), tg_rank(p->x));
  else if (news > TG_MAX_DIMS - tg_rank(p->x))
    tg_fail("%s: %d new axes and shape %s are more than %d axes", p->call, news,
            tg_text_of(p->x), TG_MAX_DIMS);
  else
    return axes;
  return -1;
}

static index_part *add_part(plan *p, part_kind kind, int axis) {
  index_part *new = &p->parts[p->count++];
  *new = (index_part){.kind = kind, .axis = axis};
  return new;
}

static void add_whole_axes(plan *p, int count) {
  for (int i = 0; i < count; i++, p->axis++) {
    index_part *whole = add_part(p, PART_RANGE, p->axis);
    whole->count = tg_dims(p->x)[p->axis];
    whole->step = 1;
  }
}

static int add_at(plan *p, int64_t at) {
  int64_t size = tg_dims(p->x)[p->axis];
  if (at < -size || at >= size) {
    tg_fail_as(TG_FAILURE_INDEX,
               "%s: index %lld is out of range for axis %d of %s; use %lld to %lld", p->call,
               (long long)at, p->axis, tg_text_of(p->x), (long long)-size,
               (long long)(size - 1));
    return -1;
  }
  index_part *new = add_part(p, PART_AT, p->axis++);
  new->start = at < 0 ? at + size : at;
  new->count = new->step = 1;
  return 0;
}

/* A bound counted from the front, held between `least` and `most`. */
static int64_t held(int64_t at, int64_t size, int64_t least, int64_t most) {
  if (at < 0) at += size;
  return at < least ? least : at > most ? most : at;
}

/* Python's slices: start to stop (not included) by step. */
static int add_range(plan *p, const tg_index_item *item) {
  int64_t size = tg_dims(p->x)[p->axis], step = item->step;
  if (step == 0 || step == INT64_MIN) {
    tg_fail("%s: the range of axis %d has a step of %lld; use one that is not 0", p->call,
            p->axis, (long long)step);
    return -1;
  }
  int64_t least = step > 0 ? 0 : -1, most = step > 0 ? size : size - 1;
  int64_t start = step > 0 ? least : most, stop = step > 0 ? most : least;
  if (item->start != TG_NONE) start = held(item->start, size, least, most);
  if (item->stop != TG_NONE) stop = held(item->stop, size, least, most);
  int64_t length = step > 0 ? stop - start : start - stop, stride = step > 0 ? step : -step;
  index_part *new = add_part(p, PART_RANGE, p->axis++);
  new->start = start;
  new->step = step;
  new->count = length > 0 ? (length - 1) / stride + 1 : 0;
  return 0;
}

/* ---- masks: the positions of what is true, one index tensor per axis */

/* Fills rows[axis * found + n] with the n-th true position; counts alone when
 * rows is NULL. */
static int64_t true_positions(const uint8_t *mask, const tg_tensor *by, int64_t found,
                              int64_t *rows) {
  int64_t at[TG_MAX_DIMS] = {0}, n = 0;
  int ndim = tg_rank(by);
  for (int64_t i = 0; i < by->node->numel; i++) {
    if (mask[i]) {
      for (int k = 0; rows && k < ndim; k++) rows[k * found + n] = at[k];
      n++;
    }
    for (int k = ndim - 1; k >= 0 && ++at[k] == tg_dims(by)[k]; k--) at[k] = 0;
  }
  return n;
}

static bool mask_fits(const plan *p, const tg_tensor *by) {
  for (int k = 0; k < tg_rank(by); k++)
    if (tg_dims(by)[k] != tg_dims(p->x)[p->axis + k]) {
      tg_fail_as(TG_FAILURE_INDEX,
                 "%s: mask %s does not match %s from axis %d on; the sizes must be equal", p->call,
                 tg_text_of(by), tg_text_of(p->x), p->axis);
      return false;
    }
  return true;
}

static int add_mask(plan *p, tg_tensor *by) {
  if (!mask_fits(p, by)) return -1;
  const uint8_t *mask = by->node->numel ? tg_data(by) : NULL;
  if (by->node->numel && !mask) return -1;
  int64_t found = true_positions(mask, by, 0, NULL);
  int axes = tg_rank(by) ? tg_rank(by) : 1; /* a new one */
  int64_t *rows = tg_alloc_zero((size_t)(found * axes + 1) * sizeof(int64_t));
  if (!rows) return -1;
  true_positions(mask, by, found, rows);
  tg_create_opts like = {.dtype = TG_INT64, .device = tg_device(by)};
  bool fine = true;
  for (int k = 0; fine && k < axes; k++) {
    index_part *new = add_part(p, PART_BY, tg_rank(by) ? p->axis++ : -1);
    new->by = (tg_from)(rows + k * found, TG_SHAPE(found), &like);
    fine = new->by != NULL;
  }
  tg_free(rows);
  return fine ? 0 : -1;
}

static int add_by(plan *p, tg_tensor *by) {
  if (!same_place(p->call, p->x, by)) return -1;
  if (by->node->dtype == TG_BOOL) return add_mask(p, by);
  if (!index_fits(p->call, by)) return -1;
  add_part(p, PART_BY, p->axis++)->by = by;
  return 0;
}

static int parse(plan *p, int count, const tg_index_item *items) {
  int named = axes_named(p, count, items), rest = tg_rank(p->x) - named, failed = 0;
  if (named < 0) return -1;
  for (int i = 0; !failed && i < count; i++) switch (items[i].kind) {
      case TG_ITEM_AT: failed = add_at(p, items[i].start); break;
      case TG_ITEM_RANGE: failed = add_range(p, &items[i]); break;
      case TG_ITEM_NEW_AXIS: add_part(p, PART_NEW, -1); break;
      case TG_ITEM_REST: add_whole_axes(p, rest); break;
      case TG_ITEM_BY: failed = add_by(p, items[i].by); break;
    }
  if (!failed) add_whole_axes(p, tg_rank(p->x) - p->axis);
  return failed;
}

/* ---- the basic step: movement */

static tg_tensor *shrunk(const plan *p, tg_tensor *x, bool *flips, bool *steps) {
  int64_t bounds[2 * TG_MAX_DIMS];
  for (int i = 0; i < p->count; i++) {
    const index_part *it = &p->parts[i];
    if (it->axis < 0) continue;
    bool whole = it->kind == PART_BY;
    int64_t stride = it->step < 0 ? -it->step : it->step;
    int64_t span = it->count ? (it->count - 1) * stride : -1;
    int64_t first = it->step < 0 ? it->start - span : it->start;
    bounds[2 * it->axis] = whole || !it->count ? 0 : first;
    bounds[2 * it->axis + 1] = whole ? tg_dims(x)[it->axis] : it->count ? first + span + 1 : 0;
    *flips |= !whole && it->step < 0;
    *steps |= !whole && stride > 1 && it->count > 1;
  }
  return tg_call1_with(&tg_fn_shrink, x, 2 * tg_rank(x), bounds);
}

static tg_tensor *flipped(const plan *p, tg_tensor *x) {
  int64_t flags[TG_MAX_DIMS] = {0};
  for (int i = 0; i < p->count; i++)
    if (p->parts[i].axis >= 0) flags[p->parts[i].axis] = p->parts[i].step < 0;
  return tg_call1_with(&tg_fn_flip, x, tg_rank(x), flags);
}

/* Every step-th element of `axis`: windows of one element. */
static tg_tensor *strided(tg_tensor *x, int axis, int64_t stride) {
  const int64_t args[] = {axis, 1, stride, 1};
  tg_tensor *windows = tg_call1_with(&tg_fn_window, x, 4, args);
  if (!windows) return NULL;
  tg_shape shape = tg_shape_of(windows);
  shape.ndim--;
  return tg_reshape_to(windows, shape);
}

/* x after the basic step: an axis for every part but the numbers. Axes of index
 * tensors are still whole. */
static tg_tensor *basic(const plan *p) {
  bool flips = false, steps = false;
  tg_tensor *x = shrunk(p, p->x, &flips, &steps);
  if (x && flips) x = flipped(p, x);
  tg_shape shape = {0};
  for (int i = 0; i < p->count; i++) {
    const index_part *it = &p->parts[i];
    int64_t stride = it->step < 0 ? -it->step : it->step;
    if (x && steps && it->kind == PART_RANGE && stride > 1 && it->count > 1)
      x = strided(x, it->axis, stride);
    if (it->kind == PART_AT) continue;
    shape.dim[shape.ndim++] = it->axis < 0 ? 1
                              : it->kind == PART_RANGE ? it->count
                                                       : tg_dims(p->x)[it->axis];
  }
  return x ? tg_reshape_to(x, shape) : NULL;
}

/* ---- the advanced step: index tensors */

typedef struct lookup {
  int count;                       /* index tensors */
  tg_tensor *by[TG_MAX_DIMS];
  int axis[TG_MAX_DIMS];           /* the axis of the basic step that each indexes */
  int place;                       /* where the axes of the index go */
  tg_shape shape;                  /* of the index: all broadcast */
} lookup;

/* Broadcasts the shape of one more index tensor into l->shape. */
static int widen_shape(const char *call, lookup *l, const tg_tensor *by) {
  tg_shape old = l->shape;
  int n = tg_rank(by);
  l->shape.ndim = old.ndim > n ? old.ndim : n;
  for (int i = 1; i <= l->shape.ndim; i++) { /* counted from the last axis */
    int64_t a = i <= old.ndim ? old.dim[old.ndim - i] : 1, b = i <= n ? tg_dims(by)[n - i] : 1;
    if (a != b && a != 1 && b != 1) {
      tg_fail_as(TG_FAILURE_INDEX,
                 "%s: index tensors of shapes %s and %s cannot be broadcast together", call,
                 tg_shape_text(old.dim, old.ndim), tg_text_of(by));
      return -1;
    }
    l->shape.dim[l->shape.ndim - i] = a == 1 ? b : a;
  }
  return 0;
}

/* Collects the index tensors. As in PyTorch numbers are done with before: if all index
 * tensors are side by side in what is left, the axes of the index take their place,
 * else they come first. (numpy counts a number among them.) */
static int collect(const plan *p, lookup *l) {
  int axis = 0, runs = 0;
  bool inside_run = false;
  for (int i = 0; i < p->count; i++) {
    const index_part *it = &p->parts[i];
    if (it->kind == PART_AT) continue;
    bool number = it->kind == PART_BY && tg_rank(it->by) == 0;
    bool advanced = it->kind == PART_BY && !number;
    if (advanced && !inside_run && runs++ == 0) l->place = axis - l->count;
    if (!number) inside_run = advanced;
    if (it->kind == PART_BY) {
      if (widen_shape(p->call, l, it->by)) return -1;
      l->by[l->count] = it->by;
      l->axis[l->count++] = axis;
    }
    axis++;
  }
  if (runs > 1) l->place = 0;
  return 0;
}

/* The index tensors as one, into the merged axis. One alone needs no check
 * here: GATHER makes it. */
static tg_node *flat_index(const lookup *l, const tg_tensor *x) {
  tg_node *flat = NULL;
  for (int k = 0; k < l->count; k++) {
    int64_t size = tg_dims(x)[l->axis[k]];
    tg_node *i = spread(from_front(l->by[k]->node, size), &l->shape);
    if (!i || l->count == 1) return i;
    i = tg_n_checked(i, size);
    flat = k ? tg_n_add(tg_n_mul(flat, i ? tg_n_num(i, (double)size) : NULL), i) : i;
    if (!flat) return NULL;
  }
  return flat;
}

/* x with the indexed axes in front, merged into one. */
static tg_tensor *rows_first(const lookup *l, tg_tensor *x) {
  tg_ints order = {0};
  tg_shape shape = {.ndim = 1, .dim = {1}};
  uint32_t indexed = 0;
  for (int k = 0; k < l->count; k++) {
    order.dim[order.ndim++] = l->axis[k];
    shape.dim[0] *= tg_dims(x)[l->axis[k]];
    indexed |= UINT32_C(1) << l->axis[k];
  }
  for (int i = 0; i < tg_rank(x); i++) {
    if (indexed >> i & 1) continue;
    order.dim[order.ndim++] = i;
    shape.dim[shape.ndim++] = tg_dims(x)[i];
  }
  return tg_reshape_to(tg_permute_to(x, order), shape);
}

/* [I..., R...] with the axes I... moved behind the first `place` of R.... */
static tg_tensor *put_in_place(const lookup *l, tg_tensor *x) {
  if (!x || !l->place) return x;
  tg_ints order = {.ndim = tg_rank(x)};
  for (int i = 0; i < order.ndim; i++)
    order.dim[i] = i < l->place ? l->shape.ndim + i
                   : i < l->place + l->shape.ndim ? i - l->place : i;
  return tg_permute_to(x, order);
}

static tg_tensor *indexed(const char *call, tg_tensor *x, int count, const tg_index_item *items) {
  plan p = {.call = call, .x = x};
  lookup l = {0};
  if (parse(&p, count, items) || collect(&p, &l)) return NULL;
  x = basic(&p);
  if (!x || !l.count) return x;
  if (l.shape.ndim + tg_rank(x) - l.count > TG_MAX_DIMS)
    return tg_fail("%s: the result has more than %d axes", call, TG_MAX_DIMS);
  int64_t mark = tg_pool_mark();
  tg_tensor *index = tg_wrap(mark, flat_index(&l, x));
  x = rows_first(&l, x);
  return x && index ? put_in_place(&l, tg_call2(&tg_fn_gather, x, index)) : NULL;
}

static bool items_given(const char *call, const tg_tensor *x, int count,
                        const tg_index_item *items) {
  if (tg_is_null(call, x)) return false;
  if (count >= 0 && count <= 2 * TG_MAX_DIMS && (items || !count)) return true;
  tg_fail("%s: %d index items; give 0 to %d", call, count, 2 * TG_MAX_DIMS);
  return false;
}

tg_tensor *(tg_index)(tg_tensor *x, int count, const tg_index_item *items) {
  if (!items_given("tg_index", x, count, items)) return NULL;
  TG_COMPOSE(indexed("tg_index", x, count, items));
}

/* ---- assignment */

/* 0, 1 ... in the shape of x. */
static tg_tensor *places(const tg_tensor *x) {
  int64_t mark = tg_pool_mark();
  tg_node *count = tg_node_iota(x->node->device, 1, &x->node->numel, 0);
  return tg_wrap(mark, tg_node_reshape(count, tg_rank(x), tg_dims(x)));
}

static tg_tensor *scattered(tg_tensor *x, tg_tensor *place, tg_tensor *value, bool add) {
  tg_tensor *flat = tg_reshape(x, x->node->numel);
  tg_tensor *const inputs[] = {flat, place, value};
  if (!flat || !place || !value) return NULL;
  tg_tensor *out = tg_call(&tg_fn_scatter, 3, inputs, 1, &(int64_t){add});
  return tg_reshape_to(out, tg_shape_of(x));
}

/* `value` in x's dtype; a number on x's device too. */
static tg_tensor *as_value(const tg_tensor *x, tg_tensor *value) {
  bool number = value && value->weak;
  value = tg_in_dtype(value, x->node->dtype);
  if (!value || !number) return value;
  int64_t mark = tg_pool_mark();
  return tg_wrap(mark, tg_node_const(x->node->dtype, x->node->device, 0, NULL, value->node->value));
}

static tg_tensor *changed(tg_tensor *x, tg_tensor *value, int count, const tg_index_item *items) {
  const char *call = "tg_set_index";
  tg_tensor *all = places(x);
  tg_tensor *place = all ? indexed(call, all, count, items) : NULL;
  tg_shape shape;
  value = as_value(x, value);
  if (!place || !value || tg_broadcast_shape(call, place, value, &shape)) return NULL;
  tg_shape wanted = tg_shape_of(place);
  if (shape.ndim != wanted.ndim ||
      memcmp(shape.dim, wanted.dim, (size_t)shape.ndim * sizeof(int64_t)))
    return tg_fail("%s: a value of shape %s does not fit the %s that the index names", call,
                   tg_text_of(value), tg_text_of(place));
  return scattered(x, place, tg_broadcast_to(value, shape), false);
}

static tg_tensor *assigned(tg_tensor *x, tg_tensor *value, int count,
                           const tg_index_item *items) {
  value = changed(x, value, count, items);
  return value ? tg_assign(x, value) : NULL;
}

tg_tensor *(tg_set_index)(tg_tensor *x, tg_tensor *value, int count,
                          const tg_index_item *items) {
  const char *call = "tg_set_index";
  if (!items_given(call, x, count, items) || tg_is_null(call, value)) return NULL;
  bool grad = x->requires_grad == TG_GRAD_YES || value->requires_grad == TG_GRAD_YES;
  if (grad && !tg_no_grad())
    return tg_fail("%s: no gradient flows through an assignment; do it inside TG_NO_GRAD, or "
                   "choose with tg_where", call);
  if (!value->weak && !same_place(call, x, value)) return NULL;
  TG_COMPOSE(assigned(x, value, count, items));
}

/* ---- take */

static tg_tensor *taken(tg_tensor *x, tg_tensor *index) {
  int64_t mark = tg_pool_mark();
  tg_tensor *rows = tg_wrap(mark, from_front(index->node, tg_dims(x)[0]));
  return rows ? tg_call2(&tg_fn_gather, x, rows) : NULL;
}

tg_tensor *tg_take(tg_tensor *x, tg_tensor *index) {
  const char *call = "tg_take";
  if (tg_is_null(call, x) || tg_is_null(call, index)) return NULL;
  if (!index_fits(call, index) || !same_place(call, x, index)) return NULL;
  if (!tg_rank(x) || tg_rank(x) - 1 + tg_rank(index) > TG_MAX_DIMS)
    return tg_fail("%s: rows of %s by an index of %s: x needs an axis, and the result at most %d",
                   call, tg_text_of(x), tg_text_of(index), TG_MAX_DIMS);
  tg_shape shape = tg_shape_of(index);
  for (int i = 1; i < tg_rank(x); i++) shape.dim[shape.ndim++] = tg_dims(x)[i];
  if (tg_check_shape(call, shape, x->node->dtype) < 0) return NULL;
  TG_COMPOSE(taken(x, index));
}

/* ---- gather, scatter: one number per element */

/* The flat place in x of each element of `index` [I...]: its own position,
 * but for `axis`, where it is the index's value. */
static tg_node *element_places(const tg_tensor *x, const tg_tensor *index, int axis) {
  tg_node *flat = NULL;
  tg_node *own = tg_n_checked(tg_node_cast(index->node, TG_INT64), tg_dims(x)[axis]);
  int64_t stride = 1;
  for (int k = tg_rank(x) - 1; own && k >= 0; k--) {
    tg_node *i = k == axis ? own
                           : tg_node_iota(own->device, own->ndim, tg_node_shape(own), k);
    tg_node *step = i && stride != 1 ? tg_n_mul(i, tg_n_num(i, (double)stride)) : i;
    flat = flat ? tg_n_add(flat, step) : step;
    if (!flat) return NULL;
    /* Only that of an empty tensor can be too large, in which there is no place. */
    if (__builtin_mul_overflow(stride, tg_dims(x)[k], &stride)) stride = 0;
  }
  return flat;
}

static tg_tensor *places_of(const tg_tensor *x, const tg_tensor *index, int axis) {
  int64_t mark = tg_pool_mark();
  return tg_wrap(mark, element_places(x, index, axis));
}

/* The axis, or -1 and a message: index must have x's axes, none of them longer
 * than x's but `axis`. */
static int element_axis(const char *call, const tg_tensor *x, const tg_tensor *index, int axis) {
  if (tg_is_null(call, x) || tg_is_null(call, index)) return -1;
  if (!index_fits(call, index) || !same_place(call, x, index)) return -1;
  int at = tg_axis(call, x, axis);
  if (at < 0) return -1;
  bool fits = tg_rank(x) == tg_rank(index) && tg_rank(x) > 0;
  for (int k = 0; fits && k < tg_rank(x); k++)
    fits = k == at || tg_dims(index)[k] <= tg_dims(x)[k];
  if (fits) return at;
  tg_fail("%s: index %s does not fit %s along axis %d; it needs as many axes, none longer but "
          "that one", call, tg_text_of(index), tg_text_of(x), at);
  return -1;
}

static tg_tensor *gathered(tg_tensor *x, tg_tensor *index, int axis) {
  tg_tensor *place = places_of(x, index, axis), *flat = tg_reshape(x, x->node->numel);
  return place && flat ? tg_call2(&tg_fn_gather, flat, place) : NULL;
}

tg_tensor *tg_gather(tg_tensor *x, tg_tensor *index, int axis) {
  int at = element_axis("tg_gather", x, index, axis);
  if (at < 0) return NULL;
  TG_COMPOSE(gathered(x, index, at));
}

/* `src` cut to the shape of `index`, in the dtype of x. */
static tg_tensor *fitted(const char *call, tg_tensor *src, const tg_tensor *x,
                         const tg_tensor *index) {
  bool fits = tg_rank(src) == tg_rank(index);
  int64_t cut[2 * TG_MAX_DIMS] = {0};
  for (int k = 0; fits && k < tg_rank(index); k++) {
    fits = tg_dims(index)[k] <= tg_dims(src)[k];
    cut[2 * k + 1] = tg_dims(index)[k];
  }
  if (!fits)
    return tg_fail("%s: src %s is smaller than the index %s; it needs an element for each", call,
                   tg_text_of(src), tg_text_of(index));
  src = tg_call1_with(&tg_fn_shrink, src, 2 * tg_rank(index), cut);
  return src ? tg_cast(src, x->node->dtype) : NULL;
}

static tg_tensor *scatter(const char *call, tg_tensor *x, int axis, tg_tensor *index,
                          tg_tensor *src, bool add) {
  int at = element_axis(call, x, index, axis);
  if (at < 0 || tg_is_null(call, src) || !same_place(call, x, src)) return NULL;
  return scattered(x, places_of(x, index, at), fitted(call, src, x, index), add);
}

tg_tensor *tg_scatter(tg_tensor *x, int axis, tg_tensor *index, tg_tensor *src) {
  TG_COMPOSE(scatter("tg_scatter", x, axis, index, src, false));
}

tg_tensor *tg_scatter_add(tg_tensor *x, int axis, tg_tensor *index, tg_tensor *src) {
  TG_COMPOSE(scatter("tg_scatter_add", x, axis, index, src, true));
}
