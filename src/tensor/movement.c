/* Movement: the same elements elsewhere. Nothing here computes; each operation
 * becomes Functions that the compiler turns into index arithmetic.
 *
 * First the primitive movements (reshape, expand, permute, flip, shrink, pad),
 * each a check and one Function, then what is composed of them. A list of two
 * numbers per axis (pads, bounds) fits into tg_ints for up to 8 axes; inside,
 * Functions take longer ones.
 */
#include "autograd/functions.h"
#include "tensor/tensor.h"

#define TEXT(list) tg_shape_text((list).dim, (list).ndim)

/* A list from the caller: at most TG_MAX_DIMS numbers. */
static bool list_fits(const char *call, tg_ints list) {
  if (list.ndim >= 0 && list.ndim <= TG_MAX_DIMS) return true;
  tg_fail("%s: a list holds up to %d numbers, not %d", call, TG_MAX_DIMS, (int)list.ndim);
  return false;
}

/* ---- reshape */

static tg_tensor *reshape_node(tg_tensor *x, int ndim, const int64_t *shape) {
  int64_t args[TG_MAX_DIMS + 1] = {ndim};
  for (int i = 0; i < ndim; i++) args[i + 1] = shape[i];
  return tg_call1_with(&tg_fn_reshape, x, ndim + 1, args);
}

/* The product of all sizes but the -1, whose axis goes to `*unknown`. */
static int64_t known_product(tg_shape shape, int *unknown) {
  int64_t product = 1;
  *unknown = -1;
  for (int i = 0; i < shape.ndim; i++) {
    int64_t size = shape.dim[i];
    if (size == -1 && *unknown < 0) *unknown = i;
    else if (size < 0 || (size && product > INT64_MAX / size)) return -1;
    else product *= size;
  }
  return product;
}

tg_tensor *tg_reshape_to(tg_tensor *x, tg_shape shape) {
  if (tg_is_null("tg_reshape", x) || !list_fits("tg_reshape", shape)) return NULL;
  int unknown;
  tg_shape asked = shape;
  int64_t numel = x->node->numel, known = known_product(shape, &unknown);
  if (unknown >= 0 && known > 0) shape.dim[unknown] = numel / known;
  int64_t product = unknown >= 0 && known > 0 ? numel / known * known : known;
  if (product != numel || (unknown >= 0 && known <= 0))
    return tg_fail("tg_reshape: %s has %lld elements, which %s cannot hold; the product of the "
                   "sizes must be equal, one may be -1", tg_text_of(x), (long long)numel,
                   TEXT(asked));
  return reshape_node(x, shape.ndim, shape.dim);
}

/* ---- expand */

tg_tensor *tg_expand_to(tg_tensor *x, tg_shape shape) {
  if (tg_is_null("tg_expand", x) || !list_fits("tg_expand", shape)) return NULL;
  int front = shape.ndim - tg_rank(x);
  tg_shape asked = shape;
  bool fits = front >= 0;
  for (int i = 0; fits && i < shape.ndim; i++) {
    int64_t size = i < front ? 1 : tg_dims(x)[i - front];
    if (shape.dim[i] == -1 && i >= front) shape.dim[i] = size;
    fits = shape.dim[i] >= 0 && (size == shape.dim[i] || size == 1);
  }
  if (!fits)
    return tg_fail("tg_expand: %s cannot be expanded to %s; only axes of size 1 grow, -1 keeps "
                   "a size, new axes come in front", tg_text_of(x), TEXT(asked));
  if (tg_check_shape("tg_expand", shape, x->node->dtype) < 0) return NULL;
  if (shape.ndim == tg_rank(x)) return tg_call1_with(&tg_fn_expand, x, shape.ndim, shape.dim);
  TG_COMPOSE(tg_broadcast_to(x, shape));
}

/* ---- permute, flip */

tg_tensor *tg_permute_to(tg_tensor *x, tg_ints order) {
  if (tg_is_null("tg_permute", x) || !list_fits("tg_permute", order)) return NULL;
  uint32_t seen = 0;
  int64_t args[TG_MAX_DIMS];
  bool whole = order.ndim == tg_rank(x);
  for (int i = 0; whole && i < order.ndim; i++) {
    int axis = tg_axis("tg_permute", x, order.dim[i]);
    if (axis < 0) return NULL;
    args[i] = axis;
    whole = !(seen >> axis & 1);
    if (whole) seen |= UINT32_C(1) << args[i];
  }
  if (!whole)
    return tg_fail("tg_permute: %s is no order of the axes of %s; name each axis once",
                   TEXT(order), tg_text_of(x));
  return tg_call1_with(&tg_fn_permute, x, order.ndim, args);
}

tg_tensor *tg_flip_axes(tg_tensor *x, tg_ints axes) {
  uint32_t mask;
  if (tg_is_null("tg_flip", x) || tg_axes("tg_flip", x, &axes, &mask)) return NULL;
  int64_t flags[TG_MAX_DIMS];
  for (int i = 0; i < tg_rank(x); i++) flags[i] = axes.ndim && mask >> i & 1;
  return tg_call1_with(&tg_fn_flip, x, tg_rank(x), flags);
}

/* ---- shrink, pad: two numbers per axis */

static bool is_pairs(const char *call, const tg_tensor *x, tg_ints list) {
  if (list.ndim == 2 * tg_rank(x)) return list_fits(call, list);
  tg_fail("%s: shape %s needs two numbers per axis, %d in all, but %s has %d", call,
          tg_text_of(x), 2 * tg_rank(x), TEXT(list), (int)list.ndim);
  return false;
}

tg_tensor *tg_shrink_to(tg_tensor *x, tg_ints bounds) {
  if (tg_is_null("tg_shrink", x) || !is_pairs("tg_shrink", x, bounds)) return NULL;
  for (int i = 0; i < tg_rank(x); i++) {
    int64_t from = bounds.dim[2 * i], to = bounds.dim[2 * i + 1];
    if (from < 0 || to < from || to > tg_dims(x)[i])
      return tg_fail("tg_shrink: %lld to %lld is outside axis %d of %s; use 0 <= start <= end "
                     "<= size", (long long)from, (long long)to, i, tg_text_of(x));
  }
  return tg_call1_with(&tg_fn_shrink, x, bounds.ndim, bounds.dim);
}

static tg_tensor *pad_zero(tg_tensor *x, const int64_t *pads) {
  return tg_call1_with(&tg_fn_pad, x, 2 * tg_rank(x), pads);
}

/* Zeros, or `value` where x does not reach; -0.0 is another value than 0. */
static tg_tensor *pad_value(tg_tensor *x, const int64_t *pads, double value) {
  if (value == 0 && !signbit(value)) return pad_zero(x, pads);
  tg_tensor *inside = (tg_ones_like)(x, &(tg_create_opts){.dtype = TG_BOOL});
  inside = inside ? pad_zero(inside, pads) : NULL;
  tg_tensor *padded = pad_zero(x, pads);
  if (!inside || !padded) return NULL;
  tg_tensor *outside = (tg_full_like)(padded, value, NULL);
  return outside ? tg_call3(&tg_fn_where, inside, padded, outside) : NULL;
}

/* Crops by negative pads and pads by positive ones. */
static tg_tensor *pad_or_crop(const char *call, tg_tensor *x, const int64_t *pads,
                              double value) {
  int64_t bounds[2 * TG_MAX_DIMS], rest[2 * TG_MAX_DIMS];
  tg_shape shape = tg_shape_of(x);
  bool crops = false;
  for (int i = 0; i < shape.ndim; i++) {
    const int64_t *pad = pads + 2 * i;
    int64_t limit = INT64_MAX / 8, size = shape.dim[i];
    bool far = pad[0] > limit || pad[1] > limit || pad[0] < -limit || pad[1] < -limit;
    int64_t from = !far && pad[0] < 0 ? -pad[0] : 0, to = !far && pad[1] < 0 ? size + pad[1] : size;
    if (far || to < from)
      return tg_fail("%s: axis %d of %s cannot be padded by %lld and %lld; a negative number "
                     "crops what is there", call, i, tg_text_of(x), (long long)pad[0],
                     (long long)pad[1]);
    bounds[2 * i] = from, bounds[2 * i + 1] = to;
    rest[2 * i] = pad[0] > 0 ? pad[0] : 0, rest[2 * i + 1] = pad[1] > 0 ? pad[1] : 0;
    crops |= from != 0 || to != size;
    shape.dim[i] = size + pad[0] + pad[1];
  }
  if (tg_check_shape(call, shape, x->node->dtype) < 0) return NULL;
  if (crops) x = tg_call1_with(&tg_fn_shrink, x, 2 * shape.ndim, bounds);
  return x ? pad_value(x, rest, value) : NULL;
}

static double pad_number(const tg_pad_opts *o) { return o ? o->value : 0; }

tg_tensor *(tg_pad)(tg_tensor *x, tg_ints pads, const tg_pad_opts *o) {
  if (tg_is_null("tg_pad", x) || !is_pairs("tg_pad", x, pads)) return NULL;
  for (int i = 0; i < pads.ndim; i++)
    if (pads.dim[i] < 0)
      return tg_fail("tg_pad: %s has a negative number; tg_pad2d and tg_shrink crop", TEXT(pads));
  TG_COMPOSE(pad_or_crop("tg_pad", x, pads.dim, pad_number(o)));
}

tg_tensor *(tg_pad2d)(tg_tensor *x, tg_ints pads, const tg_pad_opts *o) {
  if (tg_is_null("tg_pad2d", x) || !list_fits("tg_pad2d", pads)) return NULL;
  if (pads.ndim % 2 || pads.ndim > 2 * tg_rank(x))
    return tg_fail("tg_pad2d: %s are not two numbers per axis, from the last axis of %s on",
                   TEXT(pads), tg_text_of(x));
  int64_t full[2 * TG_MAX_DIMS] = {0};
  for (int i = 0; i < pads.ndim / 2; i++) {
    int axis = tg_rank(x) - 1 - i;
    full[2 * axis] = pads.dim[2 * i], full[2 * axis + 1] = pads.dim[2 * i + 1];
  }
  TG_COMPOSE(pad_or_crop("tg_pad2d", x, full, pad_number(o)));
}

static int64_t clamp(int64_t x, int64_t low, int64_t high) {
  return x < low ? low : x > high ? high : x;
}

/* The part inside is cut out, then padded to what was asked for. */
static tg_tensor *slice(tg_tensor *x, tg_ints bounds, double value) {
  int64_t inside[2 * TG_MAX_DIMS], pads[2 * TG_MAX_DIMS];
  tg_shape shape = tg_shape_of(x);
  for (int i = 0; i < shape.ndim; i++) {
    int64_t from = bounds.dim[2 * i], to = bounds.dim[2 * i + 1], size = tg_dims(x)[i];
    if (to < from || from < -INT64_MAX / 4 || to > INT64_MAX / 4)
      return tg_fail("tg_slice: %lld to %lld along axis %d of %s is no range; the end must not "
                     "lie before the start", (long long)from, (long long)to, i, tg_text_of(x));
    int64_t first = clamp(from, 0, size), last = clamp(to, first, size);
    inside[2 * i] = first, inside[2 * i + 1] = last;
    shape.dim[i] = to - from;
    pads[2 * i] = from < 0 ? clamp(-from, 0, to - from) : 0;
    pads[2 * i + 1] = to - from - (last - first) - pads[2 * i];
  }
  if (tg_check_shape("tg_slice", shape, x->node->dtype) < 0) return NULL;
  x = tg_call1_with(&tg_fn_shrink, x, 2 * shape.ndim, inside);
  return x ? pad_value(x, pads, value) : NULL;
}

tg_tensor *(tg_slice)(tg_tensor *x, tg_ints bounds, const tg_pad_opts *o) {
  if (tg_is_null("tg_slice", x) || !is_pairs("tg_slice", x, bounds)) return NULL;
  TG_COMPOSE(slice(x, bounds, pad_number(o)));
}

/* ---- axes: transpose, flatten, squeeze, unsqueeze */

tg_tensor *tg_transpose(tg_tensor *x, int axis1, int axis2) {
  if (tg_is_null("tg_transpose", x)) return NULL;
  int a = tg_axis("tg_transpose", x, axis1), b = tg_axis("tg_transpose", x, axis2);
  if (a < 0 || b < 0) return NULL;
  int64_t order[TG_MAX_DIMS];
  for (int i = 0; i < tg_rank(x); i++) order[i] = i == a ? b : i == b ? a : i;
  return tg_call1_with(&tg_fn_permute, x, tg_rank(x), order);
}

tg_tensor *tg_T(tg_tensor *x) {
  if (tg_is_null("tg_T", x)) return NULL;
  if (tg_rank(x) < 2)
    return tg_fail("tg_T: shape %s has no two axes to swap; reshape it first", tg_text_of(x));
  return tg_transpose(x, 0, 1);
}

tg_tensor *(tg_flatten)(tg_tensor *x, const tg_flatten_opts *o) {
  if (tg_is_null("tg_flatten", x)) return NULL;
  int start = tg_axis("tg_flatten", x, o ? o->start_dim : 0);
  if (start < 0) return NULL;
  tg_shape shape = tg_shape_of(x), merged = {.ndim = tg_rank(x) - start};
  for (int i = start; i < tg_rank(x); i++) merged.dim[i - start] = shape.dim[i];
  shape.dim[start] = tg_check_shape("tg_flatten", merged, x->node->dtype);
  return shape.dim[start] < 0 ? NULL : reshape_node(x, start + 1, shape.dim);
}

tg_tensor *(tg_squeeze)(tg_tensor *x, const tg_axis_opts *o) {
  uint32_t mask;
  if (tg_is_null("tg_squeeze", x) || tg_axes("tg_squeeze", x, o ? &o->axis : NULL, &mask))
    return NULL;
  int64_t shape[TG_MAX_DIMS];
  int ndim = 0;
  for (int i = 0; i < tg_rank(x); i++)
    if (!(mask >> i & 1) || tg_dims(x)[i] != 1) shape[ndim++] = tg_dims(x)[i];
  return reshape_node(x, ndim, shape);
}

/* Room for `more` axes. */
static bool rank_fits(const char *call, const tg_tensor *x, int more) {
  if (tg_rank(x) + more <= TG_MAX_DIMS) return true;
  tg_fail("%s: %s and %d more axes exceed %d; merge some with tg_reshape", call, tg_text_of(x),
          more, TG_MAX_DIMS);
  return false;
}

static tg_tensor *unsqueeze(const char *call, tg_tensor *x, int64_t axis) {
  if (tg_is_null(call, x) || !rank_fits(call, x, 1)) return NULL;
  int ndim = tg_rank(x) + 1;
  if (axis < -ndim || axis >= ndim)
    return tg_fail_as(TG_FAILURE_INDEX, "%s: a new axis of %s: Dimension out of range (expected to "
                      "be in range of [%d, %d], but got %lld)", call, tg_text_of(x), -ndim,
                      ndim - 1, (long long)axis);
  int64_t at = axis < 0 ? axis + ndim : axis, shape[TG_MAX_DIMS];
  for (int i = 0; i < ndim; i++) shape[i] = i == at ? 1 : tg_dims(x)[i < at ? i : i - 1];
  return reshape_node(x, ndim, shape);
}

tg_tensor *tg_unsqueeze(tg_tensor *x, int axis) { return unsqueeze("tg_unsqueeze", x, axis); }

/* ---- repeat: [n] -> [1, n] -> [r, n] -> [r * n] on the axes that repeat */

static tg_tensor *repeat(tg_tensor *x, tg_ints repeats) {
  tg_shape apart = {0}, wide = {0}, out = {.ndim = repeats.ndim};
  int front = repeats.ndim - tg_rank(x);
  int64_t size[2 * TG_MAX_DIMS], times[2 * TG_MAX_DIMS];
  int n = 0;
  for (int i = 0; i < repeats.ndim; i++) {
    int64_t here = i < front ? 1 : tg_dims(x)[i - front], r = repeats.dim[i];
    if (r < 0 || (here && r > INT64_MAX / here))
      return tg_fail("tg_repeat: %s cannot be repeated %s times; use numbers from 0 on",
                     tg_text_of(x), TEXT(repeats));
    out.dim[i] = r * here;
    if (r != 1) size[n] = 1, times[n++] = r;
    if (r == 1 || i >= front) size[n] = here, times[n++] = here;
  }
  if (n > TG_MAX_DIMS)
    return tg_fail("tg_repeat: %s repeated %s times needs more than %d axes on the way; repeat "
                   "fewer axes at once", tg_text_of(x), TEXT(repeats), TG_MAX_DIMS);
  if (tg_check_shape("tg_repeat", out, x->node->dtype) < 0) return NULL;
  apart.ndim = wide.ndim = n;
  for (int i = 0; i < n; i++) apart.dim[i] = size[i], wide.dim[i] = times[i];
  x = reshape_node(x, n, apart.dim);
  x = x ? tg_call1_with(&tg_fn_expand, x, n, wide.dim) : NULL;
  return x ? reshape_node(x, out.ndim, out.dim) : NULL;
}

tg_tensor *tg_repeat_by(tg_tensor *x, tg_ints repeats) {
  if (tg_is_null("tg_repeat", x) || !list_fits("tg_repeat", repeats)) return NULL;
  if (repeats.ndim < tg_rank(x))
    return tg_fail("tg_repeat: %s needs at least %d numbers, one per axis; %s has %d",
                   tg_text_of(x), tg_rank(x), TEXT(repeats), (int)repeats.ndim);
  TG_COMPOSE(repeat(x, repeats));
}

/* ---- chunk */

int64_t tg_chunk(tg_tensor *x, int64_t count, int axis, tg_tensor **out) {
  if (tg_is_null("tg_chunk", x)) return -1;
  int at = tg_axis("tg_chunk", x, axis);
  if (at < 0) return -1;
  if (count < 1 || !out || !tg_rank(x)) {
    tg_fail("tg_chunk: %s cannot be cut into %lld parts; give 1 or more, and room for them",
            tg_text_of(x), (long long)count);
    return -1;
  }
  int64_t size = tg_dims(x)[at], part = size ? (size - 1) / count + 1 : 1, made = 0;
  int64_t bounds[2 * TG_MAX_DIMS];
  for (int i = 0; i < tg_rank(x); i++) bounds[2 * i] = 0, bounds[2 * i + 1] = tg_dims(x)[i];
  for (int64_t from = 0; made == 0 || from < size; from += part) {
    bounds[2 * at] = from;
    bounds[2 * at + 1] = clamp(from + part, 0, size);
    out[made] = tg_call1_with(&tg_fn_shrink, x, 2 * tg_rank(x), bounds);
    if (!out[made++]) return -1;
  }
  return made;
}

/* ---- cat, stack */

static bool list_given(const char *call, tg_list tensors) {
  if (!tg_is_list(call, tensors)) return false;
  if (!tensors.count) tg_fail("%s: the list of tensors is empty; give at least one", call);
  return tensors.count > 0;
}

/* Every tensor must have the first one's shape (but along `axis`) and device. */
static bool cat_fits(const char *call, tg_list tensors, int axis) {
  const tg_tensor *first = tensors.items[0];
  for (int64_t i = 1; i < tensors.count; i++) {
    const tg_tensor *t = tensors.items[i];
    bool fits = tg_rank(t) == tg_rank(first);
    for (int k = 0; fits && k < tg_rank(t); k++)
      fits = k == axis || tg_dims(t)[k] == tg_dims(first)[k];
    if (!fits) {
      tg_fail("%s: shapes %s (tensor 0) and %s (tensor %lld) differ outside axis %d; make them "
              "equal there", call, tg_text_of(first), tg_text_of(t), (long long)i, axis);
      return false;
    }
    if (t->node->device != first->node->device) {
      tg_fail("%s: tensor 0 is on %s, tensor %lld on %s; move one with tg_to", call,
              tg_device(first), (long long)i, tg_device(t));
      return false;
    }
  }
  return true;
}

static bool cat_sum_fits(const char *call, tg_list tensors, int axis, tg_dtype dtype) {
  tg_shape shape = tg_shape_of(tensors.items[0]);
  for (int64_t i = 1; i < tensors.count; i++) {
    int64_t more = tg_dims(tensors.items[i])[axis];
    if (!__builtin_add_overflow(shape.dim[axis], more, &shape.dim[axis])) continue;
    tg_fail("%s: along axis %d there are more elements than can be counted", call, axis);
    return false;
  }
  return tg_check_shape(call, shape, dtype) >= 0;
}

/* Casts all to one dtype, into `ready`, and joins. */
static tg_tensor *cat_cast(const char *call, tg_list tensors, int axis, tg_tensor **ready) {
  tg_dtype dtype = tensors.items[0]->node->dtype;
  for (int64_t i = 1; i < tensors.count; i++)
    dtype = tg_promote(dtype, tensors.items[i]->node->dtype);
  if (!cat_sum_fits(call, tensors, axis, dtype)) return NULL;
  for (int64_t i = 0; i < tensors.count; i++)
    if (!(ready[i] = tg_cast(tensors.items[i], dtype))) return NULL;
  return tg_call(&tg_fn_cat, (int)tensors.count, ready, 1, &(int64_t){axis});
}

static tg_tensor *cat(const char *call, tg_list tensors, int axis) {
  if (!cat_fits(call, tensors, axis)) return NULL;
  tg_tensor **ready = tg_alloc((size_t)tensors.count * sizeof(tg_tensor *));
  tg_tensor *out = ready ? cat_cast(call, tensors, axis, ready) : NULL;
  tg_free(ready);
  return out;
}

tg_tensor *(tg_cat)(tg_list tensors, const tg_cat_opts *o) {
  if (!list_given("tg_cat", tensors)) return NULL;
  const tg_tensor *first = tensors.items[0];
  if (!tg_rank(first))
    return tg_fail("tg_cat: a tensor of shape () has no axis to join along; use tg_stack");
  int axis = tg_axis("tg_cat", first, o ? o->axis : 0);
  if (axis < 0) return NULL;
  TG_COMPOSE(cat("tg_cat", tensors, axis));
}

static tg_tensor *stack(tg_list tensors, int64_t axis, tg_tensor **ready) {
  for (int64_t i = 0; i < tensors.count; i++)
    if (!(ready[i] = unsqueeze("tg_stack", tensors.items[i], axis))) return NULL;
  tg_list list = {tensors.count, ready};
  return cat("tg_stack", list, (int)(axis < 0 ? axis + tg_rank(ready[0]) : axis));
}

static bool shapes_equal(tg_list tensors) {
  const tg_tensor *first = tensors.items[0];
  for (int64_t i = 1; i < tensors.count; i++) {
    const tg_tensor *t = tensors.items[i];
    if (tg_rank(t) == tg_rank(first) &&
        !memcmp(tg_dims(t), tg_dims(first), (size_t)tg_rank(t) * sizeof(int64_t)))
      continue;
    tg_fail("tg_stack: shapes %s (tensor 0) and %s (tensor %lld) differ; they must be equal",
            tg_text_of(first), tg_text_of(t), (long long)i);
    return false;
  }
  return true;
}

tg_tensor *(tg_stack)(tg_list tensors, const tg_cat_opts *o) {
  if (!list_given("tg_stack", tensors) || !shapes_equal(tensors)) return NULL;
  tg_tensor **ready = tg_alloc((size_t)tensors.count * sizeof(tg_tensor *));
  if (!ready) return NULL;
  tg_scope inside;
  tg_compose_begin(&inside);
  tg_tensor *out = stack(tensors, o ? o->axis : 0, ready);
  tg_free(ready);
  return tg_compose_end(&inside, out);
}
