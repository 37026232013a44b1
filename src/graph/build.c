/* graph/build: the constructors of nodes.
 *
 * They do the little that is certain to help at this level and leave the rest
 * to the compiler: a movement that moves nothing gives its operand back, a
 * movement of a constant is a constant, reshapes merge, and what has no
 * elements to read becomes a constant. The last one matters for correctness:
 * kernels never see an operand of size zero.
 */
#include <math.h>

#include "graph/graph.h"
#include "graph/node.h"

static tg_node *node1(tg_op op, tg_node *x, tg_dtype dtype, int ndim, const int64_t *shape,
                      int nargs, const int64_t *args) {
  tg_node *n = tg_node_new(op, dtype, x->device, ndim, shape, nargs, args);
  if (n) n->src[0] = tg_node_retain(x);
  return n;
}

static bool same_shape(const tg_node *x, int ndim, const int64_t *shape) {
  return x->ndim == ndim &&
         memcmp(tg_node_shape(x), shape, (size_t)ndim * sizeof *shape) == 0;
}

/* ---- load */

tg_node *tg_node_buffer(tg_buffer *buffer, tg_dtype dtype, int device, int ndim,
                        const int64_t *shape) {
  if (!buffer) return NULL;
  tg_node *n = tg_node_new(TG_OP_BUFFER, dtype, device, ndim, shape, 0, NULL);
  if (n) n->buffer = tg_buffer_retain(buffer);
  return n;
}

tg_node *tg_node_const(tg_dtype dtype, int device, int ndim, const int64_t *shape,
                       tg_value value) {
  tg_node *n = tg_node_new(TG_OP_CONST, dtype, device, ndim, shape, 0, NULL);
  if (n) n->value = value;
  return n;
}

tg_node *tg_node_const_like(tg_node *like, double f) {
  if (!like) return NULL;
  return tg_node_const(like->dtype, like->device, like->ndim, tg_node_shape(like),
                       tg_value_of(like->dtype, f));
}

tg_node *tg_node_empty(tg_dtype dtype, int device, int ndim, const int64_t *shape) {
  return tg_node_new(TG_OP_EMPTY, dtype, device, ndim, shape, 0, NULL);
}

tg_node *tg_node_iota(int device, int ndim, const int64_t *shape, int axis) {
  return tg_node_new(TG_OP_IOTA, TG_INT64, device, ndim, shape, 1, &(int64_t){axis});
}

tg_node *tg_node_copy(tg_node *x, int device) {
  if (!x || x->device == device) return x;
  tg_node *n = node1(TG_OP_COPY, x, x->dtype, x->ndim, tg_node_shape(x), 0, NULL);
  if (n) n->device = device;
  return n;
}

tg_node *tg_node_contiguous(tg_node *x) {
  if (!x || x->op == TG_OP_BUFFER || x->op == TG_OP_CONTIGUOUS) return x;
  return node1(TG_OP_CONTIGUOUS, x, x->dtype, x->ndim, tg_node_shape(x), 0, NULL);
}

/* ---- elementwise */

tg_node *tg_node_cast(tg_node *x, tg_dtype dtype) {
  if (!x || x->dtype == dtype) return x;
  if (x->op == TG_OP_CONST)
    return tg_node_const(dtype, x->device, x->ndim, tg_node_shape(x),
                         tg_value_cast(x->value, x->dtype, dtype));
  return node1(TG_OP_CAST, x, dtype, x->ndim, tg_node_shape(x), 0, NULL);
}

/* A bool is one bit: of other bytes it is whether they are 0, as for a cast. */
tg_node *tg_node_bitcast(tg_node *x, tg_dtype dtype) {
  if (!x || x->dtype == dtype) return x;
  if (dtype == TG_BOOL) return tg_node_cast(tg_node_bitcast(x, TG_UINT8), dtype);
  return node1(TG_OP_BITCAST, x, dtype, x->ndim, tg_node_shape(x), 0, NULL);
}

tg_node *tg_node_unary(tg_op op, tg_node *x) {
  if (!x) return NULL;
  return node1(op, x, x->dtype, x->ndim, tg_node_shape(x), 0, NULL);
}

tg_node *tg_node_binary(tg_op op, tg_node *x, tg_node *y) {
  if (!x || !y) return NULL;
  tg_dtype dtype = op == TG_OP_CMPLT || op == TG_OP_CMPEQ ? TG_BOOL : x->dtype;
  tg_node *n = node1(op, x, dtype, x->ndim, tg_node_shape(x), 0, NULL);
  if (n) n->src[1] = tg_node_retain(y);
  return n;
}

tg_node *tg_node_where(tg_node *condition, tg_node *x, tg_node *y) {
  if (!condition || !x || !y) return NULL;
  tg_node *n = node1(TG_OP_WHERE, condition, x->dtype, x->ndim, tg_node_shape(x), 0, NULL);
  if (!n) return NULL;
  n->src[1] = tg_node_retain(x);
  n->src[2] = tg_node_retain(y);
  return n;
}

/* ---- reduce */

/* What a reduction over nothing gives: 0, or the least value of the dtype. */
tg_value tg_reduce_identity(tg_op op, tg_dtype dtype) {
  tg_value v = {0};
  if (op == TG_OP_SUM || op == TG_OP_ADD) return v;
  if (tg_dtype_is_float(dtype)) {
    v.f = -INFINITY;
    return v;
  }
  switch (dtype) {
    case TG_INT8: v.i = INT8_MIN; break;
    case TG_INT16: v.i = INT16_MIN; break;
    case TG_INT32: v.i = INT32_MIN; break;
    case TG_INT64: v.i = INT64_MIN; break;
    case TG_DEFAULT_DTYPE: case TG_BOOL: case TG_UINT8: case TG_UINT16: case TG_UINT32:
    case TG_UINT64: case TG_FLOAT16: case TG_BFLOAT16: case TG_FLOAT32: case TG_FLOAT64:
      break;
  }
  return v;
}

tg_node *tg_node_reduce(tg_op op, tg_node *x, uint32_t axes) {
  if (!x) return NULL;
  int64_t shape[TG_MAX_DIMS];
  for (int i = 0; i < x->ndim; i++) shape[i] = axes >> i & 1 ? 1 : tg_node_shape(x)[i];
  if (same_shape(x, x->ndim, shape)) return x;
  if (x->numel == 0)
    return tg_node_const(x->dtype, x->device, x->ndim, shape, tg_reduce_identity(op, x->dtype));
  return node1(op, x, x->dtype, x->ndim, shape, 1, &(int64_t){axes});
}

/* ---- move */

static tg_node *move(tg_op op, tg_node *x, int ndim, const int64_t *shape, int nargs,
                     const int64_t *args) {
  if (x->op == TG_OP_CONST)
    return tg_node_const(x->dtype, x->device, ndim, shape, x->value);
  return node1(op, x, x->dtype, ndim, shape, nargs, args);
}

tg_node *tg_node_reshape(tg_node *x, int ndim, const int64_t *shape) {
  if (!x || same_shape(x, ndim, shape)) return x;
  if (x->op == TG_OP_RESHAPE) return tg_node_reshape(x->src[0], ndim, shape);
  if (x->op == TG_OP_BUFFER)
    return tg_node_buffer(x->buffer, x->dtype, x->device, ndim, shape);
  return move(TG_OP_RESHAPE, x, ndim, shape, 0, NULL);
}

tg_node *tg_node_expand(tg_node *x, const int64_t *shape) {
  if (!x || same_shape(x, x->ndim, shape)) return x;
  return move(TG_OP_EXPAND, x, x->ndim, shape, 0, NULL);
}

tg_node *tg_node_permute(tg_node *x, const int64_t *order) {
  if (!x) return NULL;
  int64_t shape[TG_MAX_DIMS];
  bool moved = false;
  for (int i = 0; i < x->ndim; i++) {
    shape[i] = tg_node_shape(x)[order[i]];
    moved |= order[i] != i;
  }
  return moved ? move(TG_OP_PERMUTE, x, x->ndim, shape, x->ndim, order) : x;
}

tg_node *tg_node_pad(tg_node *x, const int64_t *pads) {
  if (!x) return NULL;
  int64_t shape[TG_MAX_DIMS];
  for (int i = 0; i < x->ndim; i++) shape[i] = tg_node_shape(x)[i] + pads[2 * i] + pads[2 * i + 1];
  if (same_shape(x, x->ndim, shape)) return x;
  tg_value zero = {0};
  if (x->numel == 0) return tg_node_const(x->dtype, x->device, x->ndim, shape, zero);
  return node1(TG_OP_PAD, x, x->dtype, x->ndim, shape, 2 * x->ndim, pads);
}

tg_node *tg_node_shrink(tg_node *x, const int64_t *bounds) {
  if (!x) return NULL;
  int64_t shape[TG_MAX_DIMS];
  for (int i = 0; i < x->ndim; i++) shape[i] = bounds[2 * i + 1] - bounds[2 * i];
  if (same_shape(x, x->ndim, shape)) return x;
  return move(TG_OP_SHRINK, x, x->ndim, shape, 2 * x->ndim, bounds);
}

tg_node *tg_node_flip(tg_node *x, const int64_t *flags) {
  if (!x) return NULL;
  bool moved = false;
  for (int i = 0; i < x->ndim; i++) moved |= flags[i] && tg_node_shape(x)[i] > 1;
  if (!moved) return x;
  return move(TG_OP_FLIP, x, x->ndim, tg_node_shape(x), x->ndim, flags);
}

tg_node *tg_node_window(tg_node *x, int axis, int64_t kernel, int64_t stride,
                        int64_t dilation) {
  if (!x) return NULL;
  int64_t shape[TG_MAX_DIMS + 1];
  for (int i = 0; i < x->ndim; i++) shape[i] = tg_node_shape(x)[i];
  shape[axis] = (shape[axis] - dilation * (kernel - 1) - 1) / stride + 1;
  shape[x->ndim] = kernel;
  const int64_t args[] = {axis, kernel, stride, dilation};
  return move(TG_OP_WINDOW, x, x->ndim + 1, shape, 4, args);
}

tg_node *tg_node_unwindow(tg_node *x, int axis, int64_t size, int64_t stride,
                          int64_t dilation) {
  if (!x) return NULL;
  int64_t shape[TG_MAX_DIMS];
  for (int i = 0; i < x->ndim; i++) shape[i] = tg_node_shape(x)[i];
  shape[axis] = size;
  const int64_t args[] = {axis, size, stride, dilation};
  tg_value zero = {0};
  if (x->numel == 0) return tg_node_const(x->dtype, x->device, x->ndim, shape, zero);
  return node1(TG_OP_UNWINDOW, x, x->dtype, x->ndim, shape, 4, args);
}

/* ---- index */

tg_node *tg_node_gather(tg_node *x, tg_node *index) {
  if (!x || !index) return NULL;
  int64_t shape[2 * TG_MAX_DIMS];
  int ndim = 0;
  for (int i = 0; i < index->ndim; i++) shape[ndim++] = tg_node_shape(index)[i];
  for (int i = 1; i < x->ndim; i++) shape[ndim++] = tg_node_shape(x)[i];
  if (x->numel == 0 && index->numel && tg_node_shape(x)[0] == 0)
    return tg_fail_as(TG_FAILURE_INDEX,
                      "an index is out of range: the indexed axis of %s has size 0",
                      tg_shape_text(tg_node_shape(x), x->ndim));
  tg_node *n = node1(TG_OP_GATHER, x, x->dtype, ndim, shape, 0, NULL);
  if (n) n->src[1] = tg_node_retain(index);
  return n;
}

tg_node *tg_node_scatter(tg_node *base, tg_node *index, tg_node *src, bool add) {
  if (!base || !index || !src) return NULL;
  if (src->numel == 0) return base;
  if (base->numel == 0)
    return tg_fail_as(TG_FAILURE_INDEX,
                      "an index is out of range: the indexed axis of %s has size 0",
                      tg_shape_text(tg_node_shape(base), base->ndim));
  tg_node *n = node1(TG_OP_SCATTER, base, base->dtype, base->ndim, tg_node_shape(base), 1,
                     &(int64_t){add});
  if (!n) return NULL;
  n->src[1] = tg_node_retain(index);
  n->src[2] = tg_node_retain(src);
  return n;
}
