/* methods: Tensor's methods, row by row: arguments in, one call of the library,
 * the result out. The order is that of the C header; what each does stands there,
 * and is what help() shows (_docs.h). The names and the order of parameters are
 * teenygrad's.
 */
#include <math.h>
#include <string.h>

#include "_docs.h"
#include "py.h"
#include "tensor/tensor.h"

/* ---- without arguments */

#define UNARY(name) \
  static PyObject *m_##name(PyObject *self, PyObject *none) { \
    (void)none; \
    return py_wrap_or(self, (tg_##name)(py_t(self))); \
  }
UNARY(detach)
UNARY(contiguous)
UNARY(contiguous_backward)
UNARY(float)
UNARY(half)
UNARY(neg)
UNARY(log)
UNARY(log2)
UNARY(exp)
UNARY(exp2)
UNARY(relu)
UNARY(sigmoid)
UNARY(sin)
UNARY(cos)
UNARY(tan)
UNARY(sqrt)
UNARY(rsqrt)
UNARY(trunc)
UNARY(ceil)
UNARY(floor)
UNARY(square)
UNARY(abs)
UNARY(sign)
UNARY(reciprocal)
UNARY(swish)
UNARY(silu)
UNARY(relu6)
UNARY(hardswish)
UNARY(tanh)
UNARY(sinh)
UNARY(cosh)
UNARY(atanh)
UNARY(asinh)
UNARY(acosh)
UNARY(gelu)
UNARY(quick_gelu)
UNARY(mish)
UNARY(softsign)
UNARY(retain_grad)

static PyObject *m_numel(PyObject *self, PyObject *none) {
  (void)none;
  return PyLong_FromLongLong(tg_numel(py_t(self)));
}

static PyObject *m_element_size(PyObject *self, PyObject *none) {
  (void)none;
  return PyLong_FromLongLong(tg_element_size(py_t(self)));
}

static PyObject *m_nbytes(PyObject *self, PyObject *none) {
  (void)none;
  return PyLong_FromLongLong(tg_nbytes(py_t(self)));
}

static PyObject *m_is_floating_point(PyObject *self, PyObject *none) {
  (void)none;
  return PyBool_FromLong(tg_is_floating_point(py_t(self)));
}

/* ---- data */

static PyObject *m_realize(PyObject *self, PyObject *none) {
  (void)none;
  return py_wrap_or(self, tg_realize(py_t(self)));
}

/* The value of a tensor that nobody else can assign to meanwhile. */
static PyObject *item_of(tg_tensor *t) {
  tg_dtype dtype = tg_dtype_of(t);
  if (tg_dtype_is_float(dtype)) {
    double value = tg_item(t);
    return value != value && py_raised() ? NULL : PyFloat_FromDouble(value);
  }
  int64_t value = tg_item_int(t);
  if (!value && py_raised()) return NULL;
  if (dtype == TG_BOOL) return PyBool_FromLong(value != 0);
  return dtype == TG_UINT64 ? PyLong_FromUnsignedLongLong((uint64_t)value)
                            : PyLong_FromLongLong(value);
}

static PyObject *m_item(PyObject *self, PyObject *none) {
  (void)none;
  tg_tensor *t = tg_take_ownership(tg_detach(py_t(self)));
  if (!t) return py_raise();
  PyObject *value = item_of(t);
  tg_release(t);
  return value;
}

/* Gathers a sequence of tensors: items are borrowed from `hold`. */
typedef struct tensors {
  PyObject *hold;
  tg_tensor **items;
  int64_t count;
} tensors;

static void tensors_done(tensors *list) {
  PyMem_Free(list->items);
  Py_XDECREF(list->hold);
}

static bool tensors_of(PyObject *first, PyObject *rest, const char *what, tensors *out) {
  memset(out, 0, sizeof *out);
  out->hold = PySequence_Tuple(rest);
  if (!out->hold) return false;
  Py_ssize_t count = PyTuple_Size(out->hold);
  out->items = PyMem_Malloc((size_t)(count + 1) * sizeof *out->items);
  if (!out->items) PyErr_NoMemory();
  if (first && out->items) out->items[out->count++] = py_t(first);
  for (Py_ssize_t i = 0; out->items && i < count; i++) {
    PyObject *o = PyTuple_GetItem(out->hold, i);
    if (!py_is_tensor(o)) {
      PyErr_Format(py_type_error, "%s must hold Tensors, not %R", what, o);
      break;
    }
    out->items[out->count++] = py_t(o);
  }
  if (!PyErr_Occurred()) return true;
  tensors_done(out);
  return false;
}

static PyObject *c_corealize(PyObject *self, ARGUMENTS) {
  (void)self;
  PY_PARSE("corealize", 1, "lst");
  tensors list;
  if (!tensors_of(NULL, a[0], "corealize: the list", &list)) return NULL;
  int status = tg_corealize((tg_list){list.count, list.items});
  tensors_done(&list);
  return py_status(status);
}

static PyObject *assign_value(PyObject *self, tg_tensor *value) {
  tg_tensor *t = py_t(self);
  if (tg_requires_grad(value) == TG_GRAD_YES) {
    PyErr_SetString(py_error, "assign: the value requires a gradient, which an assignment would "
                    "lose; use value.detach(), or compute it with Tensor.no_grad = True");
    return NULL;
  }
  return py_wrap_or(self, tg_assign(t, value));
}

static PyObject *m_assign(PyObject *self, ARGUMENTS) {
  PY_PARSE("assign", 1, "x");
  if (py_is_tensor(a[0])) return assign_value(self, py_t(a[0]));
  tg_tensor *value = py_from_data(a[0], tg_dtype_of(py_t(self)), tg_device(py_t(self)), 1);
  if (!value) return NULL;
  PyObject *result = assign_value(self, value);
  tg_release(value);
  return result;
}

static tg_tensor *moved_to(tg_tensor *t, const char *device) {
  tg_tensor *moved = tg_to(t, device), *grad = tg_grad(t);
  if (!moved || moved == t || !grad) return moved;
  tg_tensor *moved_grad = tg_to(grad, device);
  return moved_grad && tg_set_grad(moved, moved_grad) ? moved : NULL;
}

static PyObject *m_to(PyObject *self, ARGUMENTS) {
  PY_PARSE("to", 1, "device");
  const char *device = tg_default_device();
  PyObject *keep;
  if (!py_device(a[0], &device, &keep)) return NULL;
  return py_wrap_or(self, moved_to(py_t(self), device));
}

/* The handle stays and gets another node: other threads may be reading through it. */
static int move_here(tg_tensor *t, const char *device) {
  tg_tensor *value = tg_detach(t), *grad = tg_grad(t);
  tg_tensor *moved = value ? tg_to(value, device) : NULL;
  tg_tensor *moved_grad = moved && grad ? tg_to(grad, device) : NULL;
  if (!moved || (grad && !moved_grad)) return -1;
  tg_tensor_rebind(t, moved->node);
  return !grad || tg_set_grad(t, moved_grad) ? 0 : -1;
}

static PyObject *m_to_(PyObject *self, ARGUMENTS) {
  PY_PARSE("to_", 1, "device");
  const char *device = tg_default_device();
  PyObject *keep;
  if (!py_device(a[0], &device, &keep)) return NULL;
  if (py_t(self)->context) {
    PyErr_SetString(py_error, "to_: this tensor remembers how it was made; use x = x.to(device)");
    return NULL;
  }
  tg_scope *scope = tg_scope_open();
  int status = scope ? move_here(py_t(self), device) : -1;
  PyObject *result = py_status(status);
  tg_scope_close(scope);
  return result;
}

static PyObject *m_cast(PyObject *self, ARGUMENTS) {
  PY_PARSE("cast", 1, "dtype");
  tg_dtype dtype = TG_DEFAULT_DTYPE;
  if (!py_dtype(a[0], &dtype)) return NULL;
  return py_wrap_or(self, tg_cast(py_t(self), dtype));
}

static PyObject *m_bitcast(PyObject *self, ARGUMENTS) {
  PY_PARSE("bitcast", 1, "dtype");
  tg_dtype dtype = TG_DEFAULT_DTYPE;
  if (!py_dtype(a[0], &dtype)) return NULL;
  return py_wrap_or(self, tg_bitcast(py_t(self), dtype));
}

static PyObject *m_backward(PyObject *self, PyObject *none) {
  (void)none;
  int status = tg_backward(py_t(self));
  if (PyErr_Occurred()) tg_clear_error(); /* a Function written in Python raised */
  return PyErr_Occurred() ? NULL : py_status(status);
}

/* ---- movement */

#define SHAPED(name, call, argument)                                       \
  static PyObject *m_##name(PyObject *self, ARGUMENTS) {                   \
    PY_PARSE(#name, 1, "*" argument);                                      \
    tg_shape shape;                                                        \
    if (!py_shape(a[0], argument, &shape)) return NULL;                    \
    return py_wrap_or(self, call(py_t(self), shape));                      \
  }
SHAPED(reshape, tg_reshape_to, "shape")
SHAPED(expand, tg_expand_to, "shape")
SHAPED(permute, tg_permute_to, "order")
SHAPED(flip, tg_flip_axes, "axis")
SHAPED(repeat, tg_repeat_by, "repeats")

static PyObject *m_shrink(PyObject *self, ARGUMENTS) {
  PY_PARSE("shrink", 1, "arg");
  tg_ints bounds;
  if (!py_pairs(a[0], py_t(self), "shrink's argument", &bounds)) return NULL;
  return py_wrap_or(self, tg_shrink_to(py_t(self), bounds));
}

static PyObject *m_pad(PyObject *self, ARGUMENTS) {
  PY_PARSE("pad", 1, "arg", "value");
  tg_ints pads;
  tg_pad_opts o = {0};
  if (!py_pairs(a[0], NULL, "pad's argument", &pads) || !py_double(a[1], "value", &o.value))
    return NULL;
  return py_wrap_or(self, (tg_pad)(py_t(self), pads, &o));
}

static PyObject *m_slice(PyObject *self, ARGUMENTS) {
  PY_PARSE("slice", 1, "arg", "value");
  tg_ints bounds;
  tg_pad_opts o = {0};
  if (!py_pairs(a[0], py_t(self), "slice's argument", &bounds) ||
      !py_double(a[1], "value", &o.value))
    return NULL;
  return py_wrap_or(self, (tg_slice)(py_t(self), bounds, &o));
}

static PyObject *m_pad2d(PyObject *self, ARGUMENTS) {
  PY_PARSE("pad2d", 1, "padding", "value");
  tg_ints pads = {0, {0}};
  tg_pad_opts o = {0};
  if (!py_ints(a[0], "padding", &pads) || !py_double(a[1], "value", &o.value)) return NULL;
  return py_wrap_or(self, (tg_pad2d)(py_t(self), pads, &o));
}

static PyObject *m_transpose(PyObject *self, ARGUMENTS) {
  PY_PARSE("transpose", 0, "ax1", "ax2");
  int first = 1, second = 0;
  if (!py_small(a[0], "ax1", &first) || !py_small(a[1], "ax2", &second)) return NULL;
  return py_wrap_or(self, tg_transpose(py_t(self), first, second));
}

static PyObject *m_flatten(PyObject *self, ARGUMENTS) {
  PY_PARSE("flatten", 0, "start_dim");
  tg_flatten_opts o = {0};
  if (!py_small(a[0], "start_dim", &o.start_dim)) return NULL;
  return py_wrap_or(self, (tg_flatten)(py_t(self), &o));
}

static PyObject *m_squeeze(PyObject *self, ARGUMENTS) {
  PY_PARSE("squeeze", 0, "dim");
  tg_axis_opts o = {0};
  if (!py_ints(a[0], "dim", &o.axis)) return NULL;
  return py_wrap_or(self, (tg_squeeze)(py_t(self), &o));
}

static PyObject *m_unsqueeze(PyObject *self, ARGUMENTS) {
  PY_PARSE("unsqueeze", 1, "dim");
  int axis = 0;
  if (!py_small(a[0], "dim", &axis)) return NULL;
  return py_wrap_or(self, tg_unsqueeze(py_t(self), axis));
}

/* [out[0], ...] as a list; NULLs in it raise. */
static PyObject *list_of(tg_tensor **out, int64_t count) {
  PyObject *list = PyList_New(0);
  for (int64_t i = 0; list && i < count; i++) {
    PyObject *o = py_wrap(out[i]);
    if (!o || PyList_Append(list, o) < 0) Py_CLEAR(list);
    Py_XDECREF(o);
  }
  return list;
}

static PyObject *m_chunk(PyObject *self, ARGUMENTS) {
  PY_PARSE("chunk", 1, "num", "dim");
  int64_t count = 0;
  int axis = 0;
  if (!py_int(a[0], "num", &count) || !py_small(a[1], "dim", &axis)) return NULL;
  int64_t size = tg_dim(py_t(self), axis), room = count < size ? count : size;
  tg_tensor **out = PyMem_Calloc((size_t)(room > 1 ? room : 1), sizeof *out);
  if (!out) return PyErr_NoMemory();
  tg_scope *scope = tg_scope_open();
  int64_t parts = scope ? tg_chunk(py_t(self), count, axis, out) : -1;
  PyObject *list = parts < 0 ? py_raise() : list_of(out, parts);
  tg_scope_close(scope);
  PyMem_Free(out);
  return list;
}

static PyObject *m_cat(PyObject *self, ARGUMENTS) {
  static const char *const named[] = {"dim", NULL};
  static const py_signature signature = {"cat", 0, named};
  PyObject *a[PY_MAX_ARGS] = {NULL};
  if (!py_parse(&signature, args + nargs, 0, kwnames, a)) return NULL;
  tg_cat_opts o = {0};
  tensors list;
  if (!py_small(a[0], "dim", &o.axis)) return NULL;
  PyObject *rest = PyTuple_New(nargs);
  for (Py_ssize_t i = 0; rest && i < nargs; i++) {
    Py_INCREF(args[i]);
    PyTuple_SetItem(rest, i, args[i]);
  }
  bool fine = rest && tensors_of(self, rest, "cat: the list", &list);
  Py_XDECREF(rest);
  if (!fine) return NULL;
  PyObject *result = py_wrap_or(self, (tg_cat)((tg_list){list.count, list.items}, &o));
  tensors_done(&list);
  return result;
}

static PyObject *c_stack(PyObject *self, ARGUMENTS) {
  (void)self;
  PY_PARSE("stack", 1, "tensors", "dim");
  tg_cat_opts o = {0};
  tensors list;
  if (!py_small(a[1], "dim", &o.axis) || !tensors_of(NULL, a[0], "stack: the list", &list))
    return NULL;
  PyObject *result = py_wrap((tg_stack)((tg_list){list.count, list.items}, &o));
  tensors_done(&list);
  return result;
}

/* ---- index tensors as arguments */

/* An index: an integer tensor; a float one, as lists are in teenygrad, truncated. */
static bool index_of(PyObject *o, const char *what, py_operand *out) {
  out->t = out->own = NULL;
  if (!py_is_tensor(o)) {
    PyErr_Format(py_type_error, "%s must be a Tensor, not %R", what, o);
    return false;
  }
  out->t = py_t(o);
  if (!tg_is_floating_point(out->t)) return true;
  out->t = out->own = tg_take_ownership(tg_cast(out->t, TG_INT64));
  return out->t || py_raise();
}

static PyObject *m_gather(PyObject *self, ARGUMENTS) {
  PY_PARSE("gather", 2, "idx", "dim");
  int axis = 0;
  py_operand index;
  if (!py_small(a[1], "dim", &axis) || !index_of(a[0], "idx", &index)) return NULL;
  PyObject *result = py_wrap(tg_gather(py_t(self), index.t, axis));
  py_operand_done(&index);
  return result;
}

static PyObject *m_take(PyObject *self, ARGUMENTS) {
  PY_PARSE("take", 1, "index");
  py_operand index;
  if (!index_of(a[0], "index", &index)) return NULL;
  PyObject *result = py_wrap(tg_take(py_t(self), index.t));
  py_operand_done(&index);
  return result;
}

typedef tg_tensor *(*scatter_call)(tg_tensor *, int, tg_tensor *, tg_tensor *);
static PyObject *scatter(PyObject *self, PyObject **a, scatter_call f) {
  int axis = 0;
  py_operand index, src;
  if (!py_small(a[0], "dim", &axis) || !index_of(a[1], "idx", &index)) return NULL;
  PyObject *result = NULL;
  if (py_tensor_of(a[2], py_t(self), "src", &src)) {
    result = py_wrap(f(py_t(self), axis, index.t, src.t));
    py_operand_done(&src);
  }
  py_operand_done(&index);
  return result;
}

static PyObject *m_scatter(PyObject *self, ARGUMENTS) {
  PY_PARSE("scatter", 3, "dim", "idx", "src");
  return scatter(self, a, tg_scatter);
}

static PyObject *m_scatter_add(PyObject *self, ARGUMENTS) {
  PY_PARSE("scatter_add", 3, "dim", "idx", "src");
  return scatter(self, a, tg_scatter_add);
}

/* ---- reductions */

typedef tg_tensor *(*axis_call)(tg_tensor *, const tg_axis_opts *);

static PyObject *reduce(PyObject *self, PyObject **a, axis_call f) {
  tg_axis_opts o = {0};
  if (!py_ints(a[0], "axis", &o.axis) || !py_bool(a[1], "keepdim", &o.keepdim)) return NULL;
  return py_wrap_or(self, f(py_t(self), &o));
}

#define REDUCE(name)                                       \
  static PyObject *m_##name(PyObject *self, ARGUMENTS) {   \
    PY_PARSE(#name, 0, "axis", "keepdim");                 \
    return reduce(self, a, (tg_##name));                   \
  }
REDUCE(sum)
REDUCE(max)
REDUCE(min)
REDUCE(mean)
REDUCE(argmax)
REDUCE(argmin)

static PyObject *m_std(PyObject *self, ARGUMENTS) {
  PY_PARSE("std", 0, "axis", "keepdim", "correction");
  tg_axis_opts o = {0};
  double correction = 1;
  if (!py_ints(a[0], "axis", &o.axis) || !py_bool(a[1], "keepdim", &o.keepdim) ||
      !py_double(a[2], "correction", &correction))
    return NULL;
  o.correction = correction == 0 ? TG_ZERO : correction;
  return py_wrap((tg_std)(py_t(self), &o));
}

#define ALONG(name)                                        \
  static PyObject *m_##name(PyObject *self, ARGUMENTS) {   \
    PY_PARSE(#name, 0, "axis");                            \
    tg_axis_opts o = {0};                                  \
    if (!py_ints(a[0], "axis", &o.axis)) return NULL;      \
    return py_wrap((tg_##name)(py_t(self), &o));           \
  }
ALONG(softmax)
ALONG(log_softmax)

static PyObject *m_cumsum(PyObject *self, ARGUMENTS) {
  PY_PARSE("cumsum", 0, "axis");
  int axis = 0;
  if (!py_small(a[0], "axis", &axis)) return NULL;
  return py_wrap_or(self, tg_cumsum(py_t(self), axis));
}

#define TRIANGLE(name)                                     \
  static PyObject *m_##name(PyObject *self, ARGUMENTS) {   \
    PY_PARSE(#name, 0, "k");                               \
    int64_t k = 0;                                         \
    if (!py_int(a[0], "k", &k)) return NULL;               \
    return py_wrap_or(self, tg_##name(py_t(self), k));     \
  }
TRIANGLE(triu)
TRIANGLE(tril)

/* ---- linear algebra and nn */

static PyObject *m_dot(PyObject *self, ARGUMENTS) {
  PY_PARSE("dot", 1, "w");
  py_operand w;
  if (!py_tensor_of(a[0], py_t(self), "w", &w)) return NULL;
  PyObject *result = py_wrap(tg_dot(py_t(self), w.t));
  py_operand_done(&w);
  return result;
}

static PyObject *m_matmul(PyObject *self, ARGUMENTS) {
  PY_PARSE("matmul", 1, "x", "reverse");
  py_operand x;
  bool reverse = false;
  if (!py_bool(a[1], "reverse", &reverse) || !py_tensor_of(a[0], py_t(self), "x", &x)) return NULL;
  tg_tensor *me = py_t(self);
  PyObject *result = py_wrap(reverse ? tg_matmul(x.t, me) : tg_matmul(me, x.t));
  py_operand_done(&x);
  return result;
}

static PyObject *m_linear(PyObject *self, ARGUMENTS) {
  PY_PARSE("linear", 1, "weight", "bias");
  py_operand w, b;
  if (!py_tensor_of(a[0], py_t(self), "weight", &w)) return NULL;
  PyObject *result = NULL;
  if (py_tensor_of(a[1], py_t(self), "bias", &b)) {
    tg_linear_opts o = {.bias = b.t};
    result = py_wrap((tg_linear)(py_t(self), w.t, &o));
    py_operand_done(&b);
  }
  py_operand_done(&w);
  return result;
}

static PyObject *m_sequential(PyObject *self, ARGUMENTS) {
  PY_PARSE("sequential", 1, "ll");
  PyObject *x = self, *iterator = PyObject_GetIter(a[0]), *layer = NULL;
  if (!iterator) return NULL;
  Py_INCREF(x);
  while (x && (layer = PyIter_Next(iterator))) {
    PyObject *next = PyObject_CallFunctionObjArgs(layer, x, NULL);
    Py_DECREF(layer);
    Py_DECREF(x);
    x = next;
  }
  Py_DECREF(iterator);
  if (PyErr_Occurred()) Py_CLEAR(x);
  return x;
}

typedef tg_tensor *(*conv_call)(tg_tensor *, tg_tensor *, const tg_conv_opts *);
static PyObject *convolve(PyObject *self, PyObject **a, conv_call f) {
  tg_conv_opts o = {.groups = 1};
  if (!py_int(a[2], "groups", &o.groups) || !py_ints(a[3], "stride", &o.stride) ||
      !py_ints(a[4], "dilation", &o.dilation) || !py_ints(a[5], "padding", &o.padding) ||
      !py_ints(a[6], "output_padding", &o.output_padding))
    return NULL;
  if (o.groups == 0) {
    PyErr_SetString(py_error, "groups is 0; it must be 1 or more");
    return NULL;
  }
  py_operand w, b;
  if (!py_tensor_of(a[0], py_t(self), "weight", &w)) return NULL;
  PyObject *result = NULL;
  if (py_tensor_of(a[1], py_t(self), "bias", &b)) {
    o.bias = b.t;
    result = py_wrap(f(py_t(self), w.t, &o));
    py_operand_done(&b);
  }
  py_operand_done(&w);
  return result;
}

static PyObject *m_conv2d(PyObject *self, ARGUMENTS) {
  PY_PARSE("conv2d", 1, "weight", "bias", "groups", "stride", "dilation", "padding");
  return convolve(self, a, (tg_conv2d));
}

static PyObject *m_conv_transpose2d(PyObject *self, ARGUMENTS) {
  PY_PARSE("conv_transpose2d", 1, "weight", "bias", "groups", "stride", "dilation", "padding",
           "output_padding");
  return convolve(self, a, (tg_conv_transpose2d));
}

/* One number stands for both axes: make_pair of teenygrad. */
static bool pool_of(PyObject **a, tg_pool_opts *o) {
  if (!py_ints(a[0], "kernel_size", &o->kernel) || !py_ints(a[1], "stride", &o->stride) ||
      !py_ints(a[2], "dilation", &o->dilation))
    return false;
  if (o->kernel.ndim == 1 && PyLong_Check(a[0])) {
    o->kernel.ndim = 2;
    o->kernel.dim[1] = o->kernel.dim[0];
  }
  return true;
}

static PyObject *m_avg_pool2d(PyObject *self, ARGUMENTS) {
  PY_PARSE("avg_pool2d", 0, "kernel_size", "stride");
  tg_pool_opts o = {0};
  return pool_of(a, &o) ? py_wrap((tg_avg_pool2d)(py_t(self), &o)) : NULL;
}

static PyObject *m_max_pool2d(PyObject *self, ARGUMENTS) {
  PY_PARSE("max_pool2d", 0, "kernel_size", "stride", "dilation");
  tg_pool_opts o = {0};
  return pool_of(a, &o) ? py_wrap((tg_max_pool2d)(py_t(self), &o)) : NULL;
}

static PyObject *m_layernorm(PyObject *self, ARGUMENTS) {
  PY_PARSE("layernorm", 0, "axis", "eps");
  tg_layernorm_opts o = {0};
  double eps = 1e-5;
  if (!py_ints(a[0], "axis", &o.axis) || !py_double(a[1], "eps", &eps)) return NULL;
  o.eps = eps == 0 ? TG_ZERO : eps;
  return py_wrap((tg_layernorm)(py_t(self), &o));
}

static PyObject *m_batchnorm(PyObject *self, ARGUMENTS) {
  PY_PARSE("batchnorm", 4, "weight", "bias", "mean", "invstd");
  static const char *const what[] = {"weight", "bias", "mean", "invstd"};
  py_operand x[4];
  memset(x, 0, sizeof x);
  bool fine = true;
  for (int i = 0; fine && i < 4; i++) fine = py_tensor_of(a[i], py_t(self), what[i], &x[i]);
  tg_tensor *t = fine ? tg_batchnorm(py_t(self), x[0].t, x[1].t, x[2].t, x[3].t) : NULL;
  PyObject *result = fine ? py_wrap(t) : NULL;
  for (int i = 0; i < 4; i++) py_operand_done(&x[i]);
  return result;
}

static PyObject *m_dropout(PyObject *self, ARGUMENTS) {
  PY_PARSE("dropout", 0, "p");
  double p = 0.5;
  if (!py_double(a[0], "p", &p)) return NULL;
  return py_wrap_or(self, tg_dropout(py_t(self), p));
}

static PyObject *m_scaled_dot_product_attention(PyObject *self, ARGUMENTS) {
  PY_PARSE("scaled_dot_product_attention", 2, "key", "value", "attn_mask", "dropout_p",
           "is_causal");
  tg_attention_opts o = {0};
  if (!py_double(a[3], "dropout_p", &o.dropout) || !py_bool(a[4], "is_causal", &o.causal))
    return NULL;
  py_operand x[3];
  memset(x, 0, sizeof x);
  bool fine = py_tensor_of(a[0], py_t(self), "key", &x[0]) &&
              py_tensor_of(a[1], py_t(self), "value", &x[1]) &&
              py_tensor_of(a[2], py_t(self), "attn_mask", &x[2]);
  o.mask = x[2].t;
  PyObject *result = NULL;
  if (fine)
    result = py_wrap((tg_scaled_dot_product_attention)(py_t(self), x[0].t, x[1].t, &o));
  for (int i = 0; i < 3; i++) py_operand_done(&x[i]);
  return result;
}

#define WITH_TARGET(name)                                        \
  static PyObject *m_##name(PyObject *self, ARGUMENTS) {         \
    PY_PARSE(#name, 1, "y");                                     \
    py_operand y;                                                \
    if (!py_tensor_of(a[0], py_t(self), "y", &y)) return NULL;   \
    PyObject *result = py_wrap(tg_##name(py_t(self), y.t));      \
    py_operand_done(&y);                                         \
    return result;                                               \
  }
WITH_TARGET(binary_crossentropy)
WITH_TARGET(binary_crossentropy_logits)

static PyObject *m_sparse_categorical_crossentropy(PyObject *self, ARGUMENTS) {
  PY_PARSE("sparse_categorical_crossentropy", 1, "Y", "ignore_index");
  tg_crossentropy_opts o = {0};
  py_operand labels;
  if (!py_ints(a[1], "ignore_index", &o.ignore_index) || !index_of(a[0], "Y", &labels)) return NULL;
  PyObject *result = py_wrap((tg_sparse_categorical_crossentropy)(py_t(self), labels.t, &o));
  py_operand_done(&labels);
  return result;
}

static PyObject *m_multinomial(PyObject *self, ARGUMENTS) {
  PY_PARSE("multinomial", 0, "num_samples", "replacement");
  int64_t samples = 1;
  tg_multinomial_opts o = {0};
  if (!py_int(a[0], "num_samples", &samples) || !py_bool(a[1], "replacement", &o.replacement))
    return NULL;
  return py_wrap((tg_multinomial)(py_t(self), samples, &o));
}

/* ---- unary with a number */

#define WITH_NUMBER(name, argument, otherwise)                   \
  static PyObject *m_##name(PyObject *self, ARGUMENTS) {         \
    PY_PARSE(#name, 0, argument);                                \
    double number = otherwise;                                   \
    if (!py_double(a[0], argument, &number)) return NULL;        \
    return py_wrap(tg_##name(py_t(self), number));               \
  }
WITH_NUMBER(elu, "alpha", 1)
WITH_NUMBER(celu, "alpha", 1)
WITH_NUMBER(leakyrelu, "neg_slope", 0.01)
WITH_NUMBER(softplus, "beta", 1)

static PyObject *m_clip(PyObject *self, ARGUMENTS) {
  PY_PARSE("clip", 2, "min_", "max_");
  double low = -INFINITY, high = INFINITY;
  if (!py_double(a[0] == Py_None ? NULL : a[0], "min_", &low) ||
      !py_double(a[1] == Py_None ? NULL : a[1], "max_", &high))
    return NULL;
  return py_wrap_or(self, tg_clip(py_t(self), low, high));
}

static PyObject *m_hardtanh(PyObject *self, ARGUMENTS) {
  PY_PARSE("hardtanh", 0, "min_val", "max_val");
  double low = -1, high = 1;
  if (!py_double(a[0], "min_val", &low) || !py_double(a[1], "max_val", &high)) return NULL;
  return py_wrap_or(self, tg_clip(py_t(self), low, high));
}

/* ---- binary and ternary */

typedef tg_tensor *(*binary_call)(tg_tensor *, tg_tensor *);

static PyObject *binary_method(PyObject *self, PyObject **a, binary_call f) {
  bool reverse = false;
  py_operand x;
  if (!py_bool(a[1], "reverse", &reverse)) return NULL;
  if (!py_operand_of(a[0], py_t(self), &x)) {
    if (!PyErr_Occurred()) PyErr_Format(py_type_error, "%R cannot be an operand", a[0]);
    return NULL;
  }
  tg_tensor *t = reverse ? f(x.t, py_t(self)) : f(py_t(self), x.t);
  PyObject *result = py_wrap_or(self, t);
  py_operand_done(&x);
  return result;
}

#define BINARY(name)                                             \
  static PyObject *m_##name(PyObject *self, ARGUMENTS) {         \
    PY_PARSE(#name, 1, "x", "reverse");                          \
    return binary_method(self, a, (tg_##name));                  \
  }
BINARY(add)
BINARY(sub)
BINARY(mul)
BINARY(div)
BINARY(pow)
BINARY(maximum)
BINARY(minimum)
BINARY(lt)
BINARY(gt)
BINARY(ge)
BINARY(le)
BINARY(ne)
BINARY(eq)

/* Numbers take the dtype of the other branch; two of them the default float. */
static PyObject *m_where(PyObject *self, ARGUMENTS) {
  PY_PARSE("where", 2, "input_", "other");
  tg_tensor *like = py_is_tensor(a[0]) ? py_t(a[0]) : py_is_tensor(a[1]) ? py_t(a[1]) : py_t(self);
  py_operand x, y;
  if (!py_operand_of(a[0], like, &x)) {
    if (!PyErr_Occurred()) PyErr_Format(py_type_error, "%R cannot be an operand", a[0]);
    return NULL;
  }
  PyObject *result = NULL;
  if (py_operand_of(a[1], like, &y)) {
    result = py_wrap((tg_where)(py_t(self), x.t, y.t));
    py_operand_done(&y);
  } else if (!PyErr_Occurred()) {
    PyErr_Format(py_type_error, "%R cannot be an operand", a[1]);
  }
  py_operand_done(&x);
  return result;
}

/* ---- the table */

#define NOARGS(name, doc) {#name, m_##name, METH_NOARGS, #name "($self)\n--\n\n" doc}
#define METHOD(name, signature, doc) \
  {#name, FAST(m_##name), METH_FASTCALL | METH_KEYWORDS, #name "($self, " signature ")\n--\n\n" doc}
#define STATIC(name, signature, doc) \
  {#name, FAST(c_##name), METH_FASTCALL | METH_KEYWORDS | METH_STATIC, \
   #name "(" signature ")\n--\n\n" doc}

PyMethodDef py_tensor_methods[] = {
    NOARGS(numel, "How many elements there are."),
    NOARGS(element_size, "The bytes of one element."),
    NOARGS(nbytes, "The bytes of all elements."),
    NOARGS(is_floating_point, "Whether the dtype is a float one."),
    NOARGS(realize, "Computes the tensor now; returns it."),
    NOARGS(item, "The value of a tensor with one element, as a Python number."),
    STATIC(corealize, "lst", DOC_corealize),
    METHOD(assign, "x", DOC_assign),
    NOARGS(detach, DOC_detach),
    NOARGS(contiguous, DOC_contiguous),
    NOARGS(contiguous_backward, DOC_contiguous_backward),
    METHOD(to, "device", DOC_to),
    METHOD(to_, "device", "Moves this tensor to another device."),
    METHOD(cast, "dtype", DOC_cast),
    METHOD(bitcast, "dtype", DOC_bitcast),
    NOARGS(float, "cast(dtypes.float32)"),
    NOARGS(half, "cast(dtypes.float16)"),
    {"deepwalk", py_deepwalk, METH_NOARGS, "deepwalk($self)\n--\n\nThe tensors that backward() will "
                                           "go through, inputs before results: a list."},
    NOARGS(backward, DOC_backward),
    NOARGS(retain_grad, DOC_retain_grad),
    METHOD(reshape, "*shape", DOC_reshape_to),
    METHOD(expand, "*shape", DOC_expand_to),
    METHOD(permute, "*order", DOC_permute_to),
    METHOD(flip, "*axis", DOC_flip_axes),
    METHOD(shrink, "arg", "shrink(((a, b), ...)): axis i from a up to b; None leaves it whole."),
    METHOD(pad, "arg, value=0", "pad(((a, b), ...)): a elements in front of axis i, b behind."),
    METHOD(slice, "arg, value=0", "slice(((a, b), ...)): axis i from a to b, which may lie "
                                  "outside: what is outside is value. None: the whole axis."),
    METHOD(pad2d, "padding, value=0", DOC_pad2d),
    METHOD(transpose, "ax1=1, ax2=0", DOC_transpose),
    METHOD(flatten, "start_dim=0", DOC_flatten),
    METHOD(squeeze, "dim=None", DOC_squeeze),
    METHOD(unsqueeze, "dim", DOC_unsqueeze),
    METHOD(repeat, "*repeats", DOC_repeat_by),
    METHOD(chunk, "num, dim=0", "Cuts an axis into at most num parts of equal size, the last one "
                                "smaller: a list."),
    METHOD(cat, "*args, dim=0", DOC_cat),
    STATIC(stack, "tensors, dim=0", DOC_stack),
    METHOD(gather, "idx, dim", DOC_gather),
    METHOD(take, "index", DOC_take),
    METHOD(scatter, "dim, idx, src", DOC_scatter),
    METHOD(scatter_add, "dim, idx, src", DOC_scatter_add),
    METHOD(sum, "axis=None, keepdim=False", DOC_sum),
    METHOD(max, "axis=None, keepdim=False", DOC_max),
    METHOD(min, "axis=None, keepdim=False", DOC_min),
    METHOD(mean, "axis=None, keepdim=False", DOC_mean),
    METHOD(std, "axis=None, keepdim=False, correction=1", DOC_std),
    METHOD(softmax, "axis=-1", DOC_softmax),
    METHOD(log_softmax, "axis=-1", DOC_log_softmax),
    METHOD(argmax, "axis=None, keepdim=False", DOC_argmax),
    METHOD(argmin, "axis=None, keepdim=False", DOC_argmin),
    METHOD(cumsum, "axis=0", DOC_cumsum),
    METHOD(triu, "k=0", DOC_triu),
    METHOD(tril, "k=0", DOC_tril),
    METHOD(dot, "w", DOC_dot),
    METHOD(matmul, "x, reverse=False", DOC_matmul),
    METHOD(linear, "weight, bias=None", DOC_linear),
    METHOD(sequential, "ll", "ll[n-1](... ll[0](self) ...)"),
    METHOD(conv2d, "weight, bias=None, groups=1, stride=1, dilation=1, padding=0", DOC_conv2d),
    METHOD(conv_transpose2d, "weight, bias=None, groups=1, stride=1, dilation=1, padding=0, "
                             "output_padding=0", DOC_conv_transpose2d),
    METHOD(avg_pool2d, "kernel_size=(2, 2), stride=None", DOC_avg_pool2d),
    METHOD(max_pool2d, "kernel_size=(2, 2), stride=None, dilation=1", DOC_max_pool2d),
    METHOD(layernorm, "axis=-1, eps=1e-05", DOC_layernorm),
    METHOD(batchnorm, "weight, bias, mean, invstd", DOC_batchnorm),
    METHOD(dropout, "p=0.5", DOC_dropout),
    METHOD(scaled_dot_product_attention, "key, value, attn_mask=None, dropout_p=0.0, "
                                         "is_causal=False", DOC_scaled_dot_product_attention),
    METHOD(binary_crossentropy, "y", DOC_binary_crossentropy),
    METHOD(binary_crossentropy_logits, "y", DOC_binary_crossentropy_logits),
    METHOD(sparse_categorical_crossentropy, "Y, ignore_index=-1",
           DOC_sparse_categorical_crossentropy),
    METHOD(multinomial, "num_samples=1, replacement=False", DOC_multinomial),
    NOARGS(neg, DOC_neg), NOARGS(log, DOC_log), NOARGS(log2, DOC_log2), NOARGS(exp, DOC_exp),
    NOARGS(exp2, DOC_exp2), NOARGS(relu, DOC_relu), NOARGS(sigmoid, DOC_sigmoid),
    NOARGS(sin, DOC_sin), NOARGS(cos, DOC_cos), NOARGS(tan, DOC_tan), NOARGS(sqrt, DOC_sqrt),
    NOARGS(rsqrt, DOC_rsqrt), NOARGS(trunc, DOC_trunc), NOARGS(ceil, DOC_ceil),
    NOARGS(floor, DOC_floor), NOARGS(square, DOC_square), NOARGS(abs, DOC_abs),
    NOARGS(sign, DOC_sign), NOARGS(reciprocal, DOC_reciprocal), NOARGS(swish, DOC_swish),
    NOARGS(silu, DOC_silu), NOARGS(relu6, DOC_relu6), NOARGS(hardswish, DOC_hardswish),
    NOARGS(tanh, DOC_tanh), NOARGS(sinh, DOC_sinh), NOARGS(cosh, DOC_cosh),
    NOARGS(atanh, DOC_atanh), NOARGS(asinh, DOC_asinh), NOARGS(acosh, DOC_acosh),
    NOARGS(gelu, DOC_gelu), NOARGS(quick_gelu, DOC_quick_gelu), NOARGS(mish, DOC_mish),
    NOARGS(softsign, DOC_softsign),
    METHOD(elu, "alpha=1.0", DOC_elu),
    METHOD(celu, "alpha=1.0", DOC_celu),
    METHOD(leakyrelu, "neg_slope=0.01", DOC_leakyrelu),
    METHOD(softplus, "beta=1", DOC_softplus),
    METHOD(clip, "min_, max_", "Each element, at least min_ and at most max_."),
    METHOD(hardtanh, "min_val=-1, max_val=1", "clip(min_val, max_val)"),
    METHOD(add, "x, reverse=False", DOC_add),
    METHOD(sub, "x, reverse=False", DOC_sub),
    METHOD(mul, "x, reverse=False", DOC_mul),
    METHOD(div, "x, reverse=False", DOC_div),
    METHOD(pow, "x, reverse=False", DOC_pow),
    METHOD(maximum, "x, reverse=False", DOC_maximum),
    METHOD(minimum, "x, reverse=False", DOC_minimum),
    METHOD(lt, "x, reverse=False", DOC_lt), METHOD(gt, "x, reverse=False", DOC_gt),
    METHOD(ge, "x, reverse=False", DOC_ge), METHOD(le, "x, reverse=False", DOC_le),
    METHOD(ne, "x, reverse=False", DOC_ne), METHOD(eq, "x, reverse=False", DOC_eq),
    METHOD(where, "input_, other", DOC_where),
    {NULL, NULL, 0, NULL}};
