/* Creation: tensors from host memory, constants, ranges. (Random tensors are
 * in random.c.)
 *
 * Constants and ranges are nodes without memory: whatever uses them computes
 * them in its own kernel. Only tg_from and tg_borrow hold data. Every function
 * checks its shape before it makes anything, so that sizes never overflow
 * further down.
 */
#include "graph/graph.h"
#include "tensor/tensor.h"

/* ---- options */

static const tg_create_opts no_create_options;

/* Checks shape, dtype and device at once. */
typedef struct creation {
  tg_dtype dtype;
  int device;
  int64_t numel;
} creation;

static bool creation_check(creation *c, const char *call, tg_shape shape,
                           const tg_create_opts *o) {
  c->dtype = tg_dtype_or_default(o->dtype);
  c->numel = tg_check_shape(call, shape, c->dtype);
  if (c->numel < 0) return false;
  c->device = tg_device_index(call, o->device);
  return c->device >= 0;
}

tg_tensor *tg_created(const char *call, int64_t mark, tg_node *node, const tg_create_opts *o) {
  tg_grad_mode mode = o ? o->requires_grad : TG_GRAD_UNSET;
  tg_tensor *t = NULL;
  if (!tg_is_grad_mode(call, mode)) node = NULL;
  if (node && mode == TG_GRAD_YES && !tg_dtype_is_float(node->dtype))
    tg_fail("%s: a tensor of %s cannot have a gradient; use a float dtype", call,
            tg_dtype_name(node->dtype));
  else
    t = tg_tensor_new(node);
  tg_pool_drain(mark);
  if (!t) return NULL;
  t->requires_grad = mode;
  return o && o->name ? tg_set_name(t, o->name) : t;
}

/* ---- from host memory */

/* A bool is one byte, 0 or 1; kernels rely on it. */
static void copy_in(void *to, const void *from, tg_dtype dtype, int64_t numel) {
  memcpy(to, from, (size_t)(numel * tg_dtype_size(dtype)));
  uint8_t *bytes = to;
  for (int64_t i = 0; dtype == TG_BOOL && i < numel; i++) bytes[i] = bytes[i] != 0;
}

tg_tensor *(tg_from)(const void *data, tg_shape shape, const tg_create_opts *o) {
  if (!o) o = &no_create_options;
  creation c;
  if (!creation_check(&c, "tg_from", shape, o)) return NULL;
  if (!data && c.numel)
    return tg_fail("tg_from: the data of shape %s is at the address NULL",
                   tg_shape_text(shape.dim, shape.ndim));
  tg_buffer *buffer = tg_buffer_new((size_t)(c.numel * tg_dtype_size(c.dtype)));
  if (!buffer) return NULL;
  if (c.numel) copy_in(buffer->data, data, c.dtype, c.numel);
  int64_t mark = tg_pool_mark();
  tg_node *node = tg_node_buffer(buffer, c.dtype, c.device, shape.ndim, shape.dim);
  tg_buffer_release(buffer);
  return tg_created("tg_from", mark, node, o);
}

tg_tensor *tg_borrow(void *data, tg_shape shape, tg_dtype dtype,
                     void (*release)(void *data, void *user), void *user) {
  creation c;
  if (!creation_check(&c, "tg_borrow", shape, &(tg_create_opts){.dtype = dtype})) return NULL;
  int64_t size = tg_dtype_size(c.dtype);
  if ((!data && c.numel) || (uintptr_t)data % (uintptr_t)size)
    return tg_fail("tg_borrow: the address %p cannot hold %s; it must be a multiple of %lld", data,
                   tg_dtype_name(c.dtype), (long long)size);
  tg_buffer *buffer = tg_buffer_borrow(data, (size_t)(c.numel * size), NULL, NULL);
  if (!buffer) return NULL;
  int64_t mark = tg_pool_mark();
  tg_tensor *t = tg_created("tg_borrow", mark, tg_node_buffer(buffer, c.dtype, c.device,
                                                              shape.ndim, shape.dim), NULL);
  if (t) { /* only now: a failure must not release the caller's memory */
    buffer->release = release;
    buffer->user = user;
  }
  tg_buffer_release(buffer);
  return t;
}

/* ---- constants */

static tg_tensor *create_filled(const char *call, tg_shape shape, double value,
                         const tg_create_opts *o) {
  if (!o) o = &no_create_options;
  creation c;
  if (!creation_check(&c, call, shape, o)) return NULL;
  int64_t mark = tg_pool_mark();
  return tg_created(call, mark, tg_node_const(c.dtype, c.device, shape.ndim, shape.dim,
                                              tg_value_of(c.dtype, value)), o);
}

tg_tensor *(tg_scalar)(double value, const tg_create_opts *o) {
  return create_filled("tg_scalar", TG_SCALAR, value, o);
}

tg_tensor *(tg_full)(tg_shape shape, double value, const tg_create_opts *o) {
  return create_filled("tg_full", shape, value, o);
}

tg_tensor *(tg_zeros)(tg_shape shape, const tg_create_opts *o) {
  return create_filled("tg_zeros", shape, 0, o);
}

tg_tensor *(tg_ones)(tg_shape shape, const tg_create_opts *o) {
  return create_filled("tg_ones", shape, 1, o);
}

tg_tensor *(tg_empty)(tg_shape shape, const tg_create_opts *o) {
  if (!o) o = &no_create_options;
  creation c;
  if (!creation_check(&c, "tg_empty", shape, o)) return NULL;
  int64_t mark = tg_pool_mark();
  return tg_created("tg_empty", mark,
                    tg_node_empty(c.dtype, c.device, shape.ndim, shape.dim), o);
}

static tg_tensor *create_filled_like(const char *call, tg_tensor *x, double value,
                              const tg_create_opts *o) {
  if (tg_is_null(call, x)) return NULL;
  tg_create_opts own = o ? *o : no_create_options;
  if (!own.dtype) own.dtype = x->node->dtype;
  if (!own.device) own.device = tg_device(x);
  return create_filled(call, tg_shape_of(x), value, &own);
}

tg_tensor *(tg_full_like)(tg_tensor *x, double value, const tg_create_opts *o) {
  return create_filled_like("tg_full_like", x, value, o);
}

tg_tensor *(tg_zeros_like)(tg_tensor *x, const tg_create_opts *o) {
  return create_filled_like("tg_zeros_like", x, 0, o);
}

tg_tensor *(tg_ones_like)(tg_tensor *x, const tg_create_opts *o) {
  return create_filled_like("tg_ones_like", x, 1, o);
}

/* ---- ranges */

#define MOST_EXACT 9007199254740992.0 /* 2^53: whole doubles below are exact */

static bool is_whole_double(double x) { return x == floor(x) && fabs(x) < MOST_EXACT; }

/* start + i * step, exactly in int64 when all numbers are whole, in float64
 * otherwise, whatever dtype it goes to: as PyTorch computes it. */
static tg_node *range_node(int64_t count, double start, double step, const creation *c) {
  tg_node *i = tg_node_iota(c->device, 1, &count, 0);
  double end = start + step * (double)count;
  if (!is_whole_double(start) || !is_whole_double(step) || !is_whole_double(end))
    i = tg_node_cast(i, TG_FLOAT64);
  if (step != 1) i = tg_n_mul(i, tg_n_num(i, step));
  if (start != 0) i = tg_n_add(i, tg_n_num(i, start));
  return tg_node_cast(i, c->dtype);
}

tg_tensor *(tg_arange)(double start, double stop, const tg_create_opts *o) {
  if (!o) o = &no_create_options;
  double step = tg_opt(o->step, 1), count = ceil((stop - start) / step);
  if (step == 0 || !isfinite(start) || !isfinite(stop) || !isfinite(step) ||
      count >= MOST_EXACT)
    return tg_fail("tg_arange: from %g to %g by %g is no range; give finite numbers and a step "
                   "that is not 0", start, stop, step);
  creation c;
  tg_shape shape = TG_SHAPE(count > 0 ? (int64_t)count : 0);
  if (!creation_check(&c, "tg_arange", shape, o)) return NULL;
  int64_t mark = tg_pool_mark();
  return tg_created("tg_arange", mark, range_node(c.numel, start, step, &c), o);
}

tg_tensor *(tg_eye)(int64_t n, const tg_create_opts *o) {
  if (!o) o = &no_create_options;
  creation c;
  tg_shape shape = TG_SHAPE(n, n);
  if (!creation_check(&c, "tg_eye", shape, o)) return NULL;
  int64_t mark = tg_pool_mark();
  tg_node *same = tg_n_eq(tg_node_iota(c.device, 2, shape.dim, 0),
                          tg_node_iota(c.device, 2, shape.dim, 1));
  return tg_created("tg_eye", mark, tg_node_cast(same, c.dtype), o);
}
