/* Tensors: making handles, asking what they are, and getting at their values.
 *
 * First the handles themselves, then the checks that all operations share
 * (NULL, axes, shapes), metadata and names, realizing and reading, assignment,
 * and last the operations that keep every element where it is: detach,
 * contiguous, cast, bitcast, to. Text output is in print.c.
 */
#include "tensor/tensor.h"

#include "autograd/functions.h"
#include "runtime/runtime.h"

/* ---- handles */

/* A handle that takes a reference to the node over. */
static tg_tensor *tensor_around(tg_node *own) {
  if (!own) return NULL;
  tg_tensor *t = tg_alloc_zero(sizeof *t);
  if (!t) {
    tg_node_release(own);
    return NULL;
  }
  atomic_init(&t->refs, 1);
  t->node = own;
  if (atomic_load_explicit(&tg_recordings, memory_order_relaxed))
    t->recorded = tg_recording_serial();
  tg_count_own(TG_COUNT_TENSORS, 1);
  return t;
}

tg_tensor *tg_tensor_new_owned(tg_node *node) { return tensor_around(tg_node_retain(node)); }

static tg_tensor *tensor_in_scope(tg_tensor *t) {
  if (t) tg_scope_add(tg_current_scope(), t);
  return t;
}

tg_tensor *tg_tensor_new(tg_node *node) { return tensor_in_scope(tg_tensor_new_owned(node)); }

tg_tensor *tg_tensor_claimed_owned(int64_t mark, tg_node *node) {
  return tensor_around(tg_pool_claim(mark, node));
}

tg_tensor *tg_tensor_claim(int64_t mark, tg_node *node) {
  return tensor_in_scope(tg_tensor_claimed_owned(mark, node));
}

tg_tensor *tg_wrap(int64_t mark, tg_node *node) {
  tg_tensor *t = tg_tensor_claim(mark, node);
  tg_pool_drain(mark);
  return t;
}

void tg_tensor_rebind(tg_tensor *t, tg_node *node) {
  tg_note(t);
  tg_node *old = t->node;
  t->node = tg_node_retain(node);
  tg_node_release(old);
}

/* ---- checks */

bool tg_is_null(const char *call, const tg_tensor *t) {
  if (!t) tg_null_argument(call);
  else tg_note((tg_tensor *)(uintptr_t)t);
  return !t;
}

bool tg_is_list(const char *call, tg_list list) {
  if (list.count < 0 || list.count > INT32_MAX || (list.count && !list.items)) {
    tg_fail("%s: the list has %lld tensors%s; give their number, and where they are", call,
            (long long)list.count, list.items ? "" : " at NULL");
    return false;
  }
  for (int64_t i = 0; i < list.count; i++)
    if (tg_is_null(call, list.items[i])) return false;
  return true;
}

int tg_axis(const char *call, const tg_tensor *t, int64_t axis) {
  int ndim = tg_rank(t), room = ndim ? ndim : 1;
  if (axis >= -room && axis < room) return (int)(axis < 0 ? axis + room : axis);
  tg_fail_as(TG_FAILURE_INDEX, "%s: axis %lld of shape %s: Dimension out of range (expected to be "
             "in range of [%d, %d], but got %lld)", call, (long long)axis, tg_text_of(t), -room,
             room - 1, (long long)axis); /* PyTorch's words: people search for them */
  return -1;
}

int tg_axes(const char *call, const tg_tensor *t, const tg_ints *axes, uint32_t *mask) {
  *mask = 0;
  if (axes && (axes->ndim < 0 || axes->ndim > TG_MAX_DIMS)) {
    tg_fail("%s: a list of %d axes; it has 0 to %d", call, (int)axes->ndim, TG_MAX_DIMS);
    return -1;
  }
  if (!axes || axes->ndim == 0) *mask = (UINT32_C(1) << tg_rank(t)) - 1;
  for (int i = 0; axes && i < axes->ndim; i++) {
    int axis = tg_axis(call, t, axes->dim[i]);
    if (axis < 0) return -1;
    if (*mask >> axis & 1) {
      tg_fail("%s: axis %d is given twice in %s", call, axis,
              tg_shape_text(axes->dim, axes->ndim));
      return -1;
    }
    *mask |= UINT32_C(1) << axis;
  }
  return 0;
}

int64_t tg_check_shape(const char *call, tg_shape shape, tg_dtype dtype) {
  if (shape.ndim < 0 || shape.ndim > TG_MAX_DIMS) {
    tg_fail("%s: a tensor has 0 to %d dimensions, not %d", call, TG_MAX_DIMS, (int)shape.ndim);
    return -1;
  }
  if ((unsigned)dtype >= TG_DTYPE_COUNT) {
    tg_fail("%s: %d is no dtype", call, (int)dtype);
    return -1;
  }
  int64_t numel = 1, most = INT64_MAX / tg_dtype_size(tg_dtype_or_default(dtype)) / 4;
  bool empty = false;
  for (int i = 0; i < shape.ndim; i++) empty |= shape.dim[i] == 0;
  for (int i = 0; i < shape.ndim; i++) {
    if (shape.dim[i] < 0) {
      tg_fail("%s: shape %s has a negative size; sizes are 0 or more", call,
              tg_shape_text(shape.dim, shape.ndim));
      return -1;
    }
    if (!empty && (__builtin_mul_overflow(numel, shape.dim[i], &numel) || numel > most)) {
      tg_fail("%s: shape %s has more elements than memory can hold", call,
              tg_shape_text(shape.dim, shape.ndim));
      return -1;
    }
  }
  return empty ? 0 : numel;
}

/* ---- what a tensor is */

const char *tg_device(const tg_tensor *t) { return t ? tg_device_name(t->node->device) : NULL; }

tg_shape tg_shape_of(const tg_tensor *t) {
  tg_shape shape = {0, {0}};
  if (!t) return shape;
  shape.ndim = tg_rank(t);
  for (int i = 0; i < shape.ndim; i++) shape.dim[i] = tg_dims(t)[i];
  return shape;
}

int64_t tg_dim(const tg_tensor *t, int axis) {
  if (!t) return 0;
  int at = axis < 0 ? axis + tg_rank(t) : axis;
  return at >= 0 && at < tg_rank(t) ? tg_dims(t)[at] : -1;
}

tg_dtype tg_dtype_of(const tg_tensor *t) { return t ? t->node->dtype : TG_DEFAULT_DTYPE; }
int tg_ndim(const tg_tensor *t) { return t ? tg_rank(t) : 0; }
int64_t tg_numel(const tg_tensor *t) { return t ? t->node->numel : 0; }
int64_t tg_element_size(const tg_tensor *t) { return tg_dtype_size(tg_dtype_of(t)); }
int64_t tg_nbytes(const tg_tensor *t) { return tg_numel(t) * tg_element_size(t); }
bool tg_is_floating_point(const tg_tensor *t) { return tg_dtype_is_float(tg_dtype_of(t)); }
bool tg_is_realized(const tg_tensor *t) { return t && t->node->op == TG_OP_BUFFER; }

static char *copy_text(const char *text) {
  size_t size = strlen(text) + 1;
  char *copy = tg_alloc(size);
  return copy ? memcpy(copy, text, size) : NULL;
}

tg_tensor *tg_set_name(tg_tensor *t, const char *name) {
  if (tg_is_null("tg_set_name", t)) return NULL;
  char *copy = name ? copy_text(name) : NULL;
  if (name && !copy) return NULL;
  tg_free(t->name);
  t->name = copy;
  return t;
}

const char *tg_name(const tg_tensor *t) { return t ? t->name : NULL; }

/* ---- gradient settings */

tg_grad_mode tg_requires_grad(const tg_tensor *t) { return t ? t->requires_grad : TG_GRAD_UNSET; }

bool tg_is_grad_mode(const char *call, tg_grad_mode mode) {
  if (mode == TG_GRAD_YES || mode == TG_GRAD_NO || mode == TG_GRAD_UNSET) return true;
  tg_fail("%s: requires_grad is %d, which is no mode; use TG_GRAD_YES or TG_GRAD_NO", call,
          (int)mode);
  return false;
}

tg_tensor *tg_set_requires_grad(tg_tensor *t, tg_grad_mode mode) {
  if (tg_is_null("tg_set_requires_grad", t)) return NULL;
  if (!tg_is_grad_mode("tg_set_requires_grad", mode)) return NULL;
  if (mode == TG_GRAD_YES && !tg_is_floating_point(t))
    return tg_fail("tg_set_requires_grad: a tensor of %s cannot have a gradient; cast it to a "
                   "float dtype first", tg_dtype_name(tg_dtype_of(t)));
  if (mode != TG_GRAD_YES && t->context)
    return tg_fail("tg_set_requires_grad: %s computed this tensor from others that require a "
                   "gradient; use tg_detach for one without", t->context->row
                   ? t->context->row->name : t->context->user->name);
  t->requires_grad = mode;
  return t;
}

tg_tensor *tg_grad(const tg_tensor *t) { return t ? t->grad : NULL; }

/* The gradient is a handle of its own: later gradients are added into it, and
 * must not change the tensor that was given. */
tg_tensor *tg_set_grad(tg_tensor *t, tg_tensor *grad) {
  if (tg_is_null("tg_set_grad", t)) return NULL;
  tg_tensor *own = NULL;
  if (grad) {
    if (tg_rank(t) != tg_rank(grad) ||
        memcmp(tg_dims(t), tg_dims(grad), (size_t)tg_rank(t) * sizeof(int64_t)))
      return tg_fail("tg_set_grad: the gradient has shape %s, the tensor %s; they must be equal",
                     tg_text_of(grad), tg_text_of(t));
    if (t->node->device != grad->node->device)
      return tg_fail("tg_set_grad: the gradient is on %s, the tensor on %s; move it with tg_to",
                     tg_device(grad), tg_device(t));
    int64_t mark = tg_pool_mark();
    own = tg_tensor_new_owned(tg_node_cast(grad->node, t->node->dtype));
    tg_pool_drain(mark);
    if (!own) return NULL;
    own->requires_grad = TG_GRAD_NO;
  }
  tg_release(t->grad);
  t->grad = own;
  return t;
}

tg_tensor *tg_retain_grad(tg_tensor *t) {
  if (tg_is_null("tg_retain_grad", t)) return NULL;
  if (t->requires_grad != TG_GRAD_YES)
    return tg_fail("tg_retain_grad: this tensor does not require a gradient; set requires_grad "
                   "of what it is computed from");
  t->retain_grad = true;
  return t;
}

/* ---- values */

int tg_corealize(tg_list tensors) {
  if (!tg_is_list("tg_corealize", tensors)) return -1;
  if (!tensors.count) return 0;
  tg_node **nodes = tg_alloc((size_t)tensors.count * sizeof(tg_node *));
  if (!nodes) return -1;
  for (int64_t i = 0; i < tensors.count; i++) nodes[i] = tensors.items[i]->node;
  int failed = tg_runtime_realize(nodes, tensors.count);
  tg_free(nodes);
  return failed;
}

tg_tensor *tg_realize(tg_tensor *t) {
  if (tg_is_null("tg_realize", t)) return NULL;
  if (tg_is_realized(t)) return t;
  return tg_runtime_realize(&t->node, 1) ? NULL : t;
}

const void *tg_data(tg_tensor *t) {
  if (tg_is_null("tg_data", t) || tg_recording_refuses("tg_data") || !tg_realize(t)) return NULL;
  return t->node->numel ? t->node->buffer->data : NULL;
}

int tg_to_host(tg_tensor *t, void *out, size_t size) {
  if (tg_is_null("tg_to_host", t)) return -1;
  if (size != (size_t)tg_nbytes(t)) {
    tg_fail("tg_to_host: shape %s of %s takes %lld bytes, but room for %zu was given",
            tg_text_of(t), tg_dtype_name(tg_dtype_of(t)), (long long)tg_nbytes(t), size);
    return -1;
  }
  if (!size) return 0;
  if (!out) {
    tg_fail("tg_to_host: the address to copy to is NULL");
    return -1;
  }
  const void *data = tg_data(t);
  if (!data) return -1;
  memcpy(out, data, size);
  return 0;
}

int64_t tg_read_int(tg_dtype dtype, const void *data, int64_t i) {
  switch (dtype) {
    case TG_BOOL: case TG_UINT8: return ((const uint8_t *)data)[i];
    case TG_INT8: return ((const int8_t *)data)[i];
    case TG_INT16: return ((const int16_t *)data)[i];
    case TG_UINT16: return ((const uint16_t *)data)[i];
    case TG_INT32: return ((const int32_t *)data)[i];
    case TG_UINT32: return ((const uint32_t *)data)[i];
    case TG_INT64: case TG_UINT64: return ((const int64_t *)data)[i];
    case TG_FLOAT16: case TG_BFLOAT16: case TG_FLOAT32: case TG_FLOAT64:
      return tg_value_cast((tg_value){.f = tg_read_float(dtype, data, i)}, TG_FLOAT64,
                           TG_INT64).i;
    case TG_DEFAULT_DTYPE: break;
  }
  return 0;
}

double tg_read_float(tg_dtype dtype, const void *data, int64_t i) {
  switch (dtype) {
    case TG_FLOAT16: return tg_half_to_float(((const uint16_t *)data)[i]);
    case TG_BFLOAT16: return tg_bfloat_to_float(((const uint16_t *)data)[i]);
    case TG_FLOAT32: return ((const float *)data)[i];
    case TG_FLOAT64: return ((const double *)data)[i];
    case TG_UINT64: return (double)((const uint64_t *)data)[i];
    case TG_BOOL: case TG_INT8: case TG_UINT8: case TG_INT16: case TG_UINT16: case TG_INT32:
    case TG_UINT32: case TG_INT64:
      return (double)tg_read_int(dtype, data, i);
    case TG_DEFAULT_DTYPE: break;
  }
  return 0;
}

/* The data of a tensor with one element, or NULL and a message. */
static const void *one_element(const char *call, tg_tensor *t) {
  if (tg_is_null(call, t)) return NULL;
  if (t->node->numel != 1)
    return tg_fail("%s: shape %s has %lld elements, not 1; reduce it (tg_sum, tg_mean) or pick "
                   "one (tg_index)", call, tg_text_of(t), (long long)t->node->numel);
  return tg_data(t);
}

double tg_item(tg_tensor *t) {
  const void *data = one_element("tg_item", t);
  return data ? tg_read_float(t->node->dtype, data, 0) : NAN;
}

int64_t tg_item_int(tg_tensor *t) {
  const void *data = one_element("tg_item_int", t);
  return data ? tg_read_int(t->node->dtype, data, 0) : 0;
}

/* ---- assignment */

static bool same_kind(const tg_tensor *t, const tg_tensor *value) {
  return tg_rank(t) == tg_rank(value) && t->node->dtype == value->node->dtype &&
         t->node->device == value->node->device &&
         !memcmp(tg_dims(t), tg_dims(value), (size_t)tg_rank(t) * sizeof(int64_t));
}

tg_tensor *tg_assign(tg_tensor *t, tg_tensor *value) {
  if (tg_is_null("tg_assign", t) || tg_is_null("tg_assign", value)) return NULL;
  int64_t mark = tg_pool_mark();
  tg_node *node = value->node;
  if (value->weak && !tg_rank(t))
    node = tg_node_const(t->node->dtype, t->node->device, 0, NULL,
                         tg_value_cast(value->number, value->weak == TG_WEAK_WHOLE ? TG_INT64
                                       : TG_FLOAT64, t->node->dtype));
  else if (!same_kind(t, value))
    return tg_fail("tg_assign: %s of %s on %s cannot hold %s of %s on %s; reshape, tg_cast or "
                   "tg_to the value first", tg_text_of(t), tg_dtype_name(t->node->dtype),
                   tg_device(t), tg_text_of(value), tg_dtype_name(value->node->dtype),
                   tg_device(value));
  if (!node) return NULL;
  tg_tensor_rebind(t, node);
  tg_pool_drain(mark);
  t->weak = TG_STRONG;
  t->cut = NULL;
  if (!t->context && !t->spent) return t;
  tg_context *context = t->context; /* the value no longer comes from there */
  t->context = NULL;
  t->spent = false;
  t->requires_grad = TG_GRAD_UNSET;
  tg_context_free(context, NULL, NULL);
  return t;
}

/* ---- the same elements */

tg_tensor *tg_detach(tg_tensor *t) {
  if (tg_is_null("tg_detach", t)) return NULL;
  tg_tensor *out = tg_tensor_new(t->node);
  if (out) out->requires_grad = TG_GRAD_NO;
  return out;
}

tg_tensor *tg_contiguous(tg_tensor *t) {
  return tg_is_null("tg_contiguous", t) ? NULL : tg_call1(&tg_fn_contiguous, t);
}

tg_tensor *tg_contiguous_backward(tg_tensor *t) {
  return tg_is_null("tg_contiguous_backward", t) ? NULL
                                                 : tg_call1(&tg_fn_contiguous_backward, t);
}

tg_tensor *tg_cast(tg_tensor *t, tg_dtype dtype) {
  if (tg_is_null("tg_cast", t)) return NULL;
  if ((unsigned)dtype >= TG_DTYPE_COUNT) return tg_fail("tg_cast: %d is no dtype", (int)dtype);
  dtype = tg_dtype_or_default(dtype);
  if (t->weak) return tg_in_dtype(t, dtype);
  if (t->node->dtype == dtype) return t;
  bool many = t->node->numel > INT64_MAX / 64; /* perhaps too many of a wider dtype */
  if (many && tg_check_shape("tg_cast", tg_shape_of(t), dtype) < 0) return NULL;
  return tg_call1_with(&tg_fn_cast, t, 1, &(int64_t){dtype});
}

tg_tensor *tg_bitcast(tg_tensor *t, tg_dtype dtype) {
  if (tg_is_null("tg_bitcast", t)) return NULL;
  if ((unsigned)dtype >= TG_DTYPE_COUNT) return tg_fail("tg_bitcast: %d is no dtype", (int)dtype);
  dtype = tg_dtype_or_default(dtype);
  if (tg_dtype_size(dtype) != tg_element_size(t))
    return tg_fail("tg_bitcast: %s has %lld bytes and %s has %lld; the sizes must be equal",
                   tg_dtype_name(t->node->dtype), (long long)tg_element_size(t),
                   tg_dtype_name(dtype), (long long)tg_dtype_size(dtype));
  return tg_call1_with(&tg_fn_bitcast, t, 1, &(int64_t){dtype});
}

tg_tensor *tg_float(tg_tensor *t) {
  return tg_is_null("tg_float", t) ? NULL : tg_cast(t, TG_FLOAT32);
}
tg_tensor *tg_half(tg_tensor *t) {
  return tg_is_null("tg_half", t) ? NULL : tg_cast(t, TG_FLOAT16);
}

tg_tensor *tg_to(tg_tensor *t, const char *device) {
  if (tg_is_null("tg_to", t)) return NULL;
  int index = tg_device_index("tg_to", device);
  if (index < 0) return NULL;
  if (index == t->node->device) return t;
  return tg_call1_with(&tg_fn_copy, t, 1, &(int64_t){index});
}
