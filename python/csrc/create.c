/* create: tensors from Python's data, and the creation functions.
 *
 * Tensor(data) takes numbers, nested lists, whatever has the buffer protocol, and
 * whatever numpy can make an array of. Lists are written straight into memory of
 * their dtype (fill_list); a row of another length is an error there, and so is
 * a number that the dtype cannot hold. Buffers are copied, or borrowed when nobody
 * can write to them: a lazy graph reads its inputs later than the call that names
 * them, and must not see what has been written meanwhile.
 */
#include <string.h>

#include "py.h"

/* ---- numpy, as far as it is needed */

PyObject *py_numpy(const char *function) {
  static PyObject *numpy;
  if (!numpy && !(numpy = PyImport_ImportModule("numpy"))) return NULL;
  PyObject *f = PyObject_GetAttrString(numpy, function);
  Py_XDECREF(f); /* the module keeps it */
  return f;
}

/* ---- lists */

typedef struct list_shape {
  tg_shape shape;
  bool foreign; /* something other than lists and numbers is inside */
} list_shape;

static bool is_list(PyObject *o) { return PyList_Check(o) || PyTuple_Check(o); }
static bool is_number(PyObject *o) { return PyFloat_Check(o) || PyLong_Check(o); }

/* The shape, by following first elements. */
static bool list_measure(PyObject *o, list_shape *out) {
  Py_INCREF(o);
  bool fine = true;
  out->shape.ndim = 0;
  out->foreign = false;
  while (fine && is_list(o)) {
    Py_ssize_t count = PySequence_Size(o);
    if (out->shape.ndim == TG_MAX_DIMS) {
      PyErr_Format(py_error, "the list is nested more than %d deep", TG_MAX_DIMS);
      fine = false;
      break;
    }
    out->shape.dim[out->shape.ndim++] = count;
    if (count == 0) break;
    PyObject *first = PySequence_GetItem(o, 0);
    Py_DECREF(o);
    o = first;
    fine = o != NULL;
  }
  if (fine && !is_list(o) && !is_number(o)) out->foreign = true;
  Py_XDECREF(o);
  return fine;
}

typedef struct list_fill {
  const tg_shape *shape;
  tg_dtype dtype; /* int64, uint64, float32 or float64: what is written */
  void *at;
  bool foreign;
} list_fill;

static bool fill_whole(PyObject *o, list_fill *f) {
  PyObject *whole = PyFloat_Check(o) ? PyNumber_Long(o) : PyNumber_Index(o);
  if (!whole) return false;
  int overflow = 0;
  int64_t value = 0;
  if (f->dtype == TG_UINT64) value = (int64_t)PyLong_AsUnsignedLongLong(whole);
  else value = PyLong_AsLongLongAndOverflow(whole, &overflow);
  Py_DECREF(whole);
  if (overflow) PyErr_Format(PyExc_OverflowError, "%R does not fit into 64 bits", o);
  if (PyErr_Occurred()) return false;
  *(int64_t *)f->at = value;
  f->at = (int64_t *)f->at + 1;
  return true;
}

static bool fill_number(PyObject *o, list_fill *f) {
  if (!is_number(o)) {
    f->foreign = true;
    return false;
  }
  if (f->dtype == TG_INT64 || f->dtype == TG_UINT64) return fill_whole(o, f);
  double value = PyFloat_AsDouble(o);
  if (value == -1 && PyErr_Occurred()) return false;
  if (f->dtype == TG_FLOAT64) *(double *)f->at = value;
  else *(float *)f->at = (float)value;
  f->at = (char *)f->at + (f->dtype == TG_FLOAT64 ? sizeof(double) : sizeof(float));
  return true;
}

static bool fill_list(PyObject *o, int axis, list_fill *f) {
  if (axis == f->shape->ndim) return fill_number(o, f);
  if (!is_list(o) && !is_number(o)) f->foreign = true;
  else if (!is_list(o) || PySequence_Size(o) != f->shape->dim[axis])
    PyErr_Format(py_error, "the nested list is ragged: a row of axis %d should have %lld elements; "
                 "all rows of an axis must be equally long", axis, (long long)f->shape->dim[axis]);
  if (f->foreign || PyErr_Occurred()) return false;
  for (Py_ssize_t i = 0; i < f->shape->dim[axis]; i++) {
    if (i >= PySequence_Size(o)) {
      PyErr_SetString(PyExc_RuntimeError, "the list has changed while it was read");
      return false;
    }
    PyObject *item = PySequence_GetItem(o, i);
    bool fine = item && fill_list(item, axis + 1, f);
    Py_XDECREF(item);
    if (!fine) return false;
  }
  return true;
}

/* The dtype that numbers are written in before the library casts. */
static tg_dtype written_dtype(tg_dtype dtype) {
  if (dtype == TG_UINT64 || dtype == TG_FLOAT64) return dtype;
  return tg_dtype_is_float(dtype) ? TG_FLOAT32 : TG_INT64;
}

static bool fits(tg_dtype dtype, const int64_t *value, int64_t count) {
  if (tg_dtype_is_float(dtype) || dtype == TG_BOOL || tg_dtype_size(dtype) == 8) return true;
  bool is_signed = dtype == TG_INT8 || dtype == TG_INT16 || dtype == TG_INT32;
  int64_t bits = tg_dtype_size(dtype) * 8 - is_signed;
  int64_t most = (INT64_C(1) << bits) - 1, least = is_signed ? -most - 1 : 0;
  for (int64_t i = 0; i < count; i++)
    if (value[i] < least || value[i] > most) {
      PyErr_Format(PyExc_OverflowError, "%lld does not fit into %s", (long long)value[i],
                   tg_dtype_name(dtype));
      return false;
    }
  return true;
}

/* Owned, cast to `dtype` and concrete. Takes the reference of `t`. */
static tg_tensor *cast_now(tg_tensor *t, tg_dtype dtype) {
  if (t && dtype != TG_DEFAULT_DTYPE && tg_dtype_of(t) != dtype) {
    tg_tensor *cast = tg_take_ownership(tg_cast(t, dtype));
    tg_release(t);
    t = cast;
    if (t && !tg_realize(t)) {
      tg_release(t);
      t = NULL;
    }
  }
  if (!t) py_raise();
  return t;
}

static tg_tensor *from_memory(const void *data, tg_shape shape, tg_dtype have, tg_dtype dtype,
                              const char *device) {
  tg_tensor *t = tg_take_ownership(tg_from(data, shape, .dtype = have, .device = device));
  return cast_now(t, dtype);
}

static tg_tensor *from_array(PyObject *data, tg_dtype dtype, const char *device, int copy);

static tg_tensor *from_foreign(PyObject *list, tg_dtype dtype, const char *device) {
  PyObject *f = py_numpy("array");
  PyObject *array = f ? PyObject_CallFunctionObjArgs(f, list, NULL) : NULL;
  if (!array) return NULL;
  tg_tensor *t = from_array(array, dtype, device, 1);
  Py_DECREF(array);
  return t;
}

static tg_tensor *from_list(PyObject *list, tg_dtype dtype, const char *device) {
  list_shape m;
  if (!list_measure(list, &m)) return NULL;
  if (m.foreign) return from_foreign(list, dtype, device);
  int64_t count = 1;
  for (int i = 0; i < m.shape.ndim; i++) {
    if (m.shape.dim[i] && count > (INT64_C(1) << 40) / m.shape.dim[i]) {
      PyErr_SetString(PyExc_MemoryError, "the list is too large"); /* shared rows */
      return NULL;
    }
    count *= m.shape.dim[i];
  }
  tg_dtype have = written_dtype(dtype);
  void *memory = PyMem_Malloc((size_t)(count + 1) * (size_t)tg_dtype_size(have));
  if (!memory) return (tg_tensor *)(void *)PyErr_NoMemory();
  list_fill fill = {&m.shape, have, memory, false};
  tg_tensor *t = NULL;
  if (fill_list(list, 0, &fill)) {
    if (fits(dtype, memory, count)) t = from_memory(memory, m.shape, have, dtype, device);
  } else if (fill.foreign && !PyErr_Occurred()) {
    t = from_foreign(list, dtype, device);
  }
  PyMem_Free(memory);
  return t;
}

/* ---- buffers */

/* Does a struct format say the other byte order? */
static bool is_swapped(const char *format) {
  const uint16_t one = 1;
  bool little = *(const uint8_t *)&one == 1;
  return format && (little ? *format == '>' || *format == '!' : *format == '<');
}

/* The dtype of a struct format, or the default one: none of ours. */
static tg_dtype dtype_of_format(const char *format, Py_ssize_t size) {
  if (!format) return size == 1 ? TG_UINT8 : TG_DEFAULT_DTYPE;
  if (strchr("@=^<>!", *format)) format++;
  if (!*format || format[1]) return TG_DEFAULT_DTYPE;
  static const struct { const char *codes; tg_dtype by_size[9]; } kinds[] = {
      {"?", {[1] = TG_BOOL}},
      {"bhilqn", {[1] = TG_INT8, [2] = TG_INT16, [4] = TG_INT32, [8] = TG_INT64}},
      {"BHILQN", {[1] = TG_UINT8, [2] = TG_UINT16, [4] = TG_UINT32, [8] = TG_UINT64}},
      {"efd", {[2] = TG_FLOAT16, [4] = TG_FLOAT32, [8] = TG_FLOAT64}}};
  for (size_t i = 0; size <= 8 && i < sizeof kinds / sizeof kinds[0]; i++)
    if (strchr(kinds[i].codes, *format)) return kinds[i].by_size[size];
  return TG_DEFAULT_DTYPE;
}

static bool buffer_shape(const Py_buffer *view, tg_shape *out) {
  if (view->ndim > TG_MAX_DIMS) {
    PyErr_Format(py_error, "the array has %d dimensions; a tensor has at most %d", view->ndim,
                 TG_MAX_DIMS);
    return false;
  }
  out->ndim = view->ndim;
  for (int i = 0; i < view->ndim; i++) out->dim[i] = view->shape[i];
  return true;
}

static void release_view(void *data, void *user) {
  (void)data;
  if (!Py_IsInitialized()) return;
  PyGILState_STATE state = PyGILState_Ensure();
  PyBuffer_Release(user);
  PyMem_Free(user);
  PyGILState_Release(state);
}

/* The memory of `view` as a tensor; the view is released with it. */
static tg_tensor *borrow_view(Py_buffer *view, tg_shape shape, tg_dtype dtype) {
  Py_buffer *kept = PyMem_Malloc(sizeof *kept);
  if (!kept) return (tg_tensor *)(void *)PyErr_NoMemory();
  *kept = *view;
  tg_tensor *t = tg_take_ownership(tg_borrow(kept->buf, shape, dtype, release_view, kept));
  if (t) return t;
  PyMem_Free(kept);
  py_raise();
  return NULL;
}

enum { SMALL_BUFFER = 4096 }; /* bytes below which a copy is cheaper than a loan */

/* The elements of `view` with their bytes turned around. */
static tg_tensor *from_swapped(const Py_buffer *view, tg_shape shape, tg_dtype have,
                               tg_dtype dtype, const char *device) {
  const char *from = view->buf;
  char *memory = PyMem_Malloc((size_t)view->len + 1);
  if (!memory) return (tg_tensor *)(void *)PyErr_NoMemory();
  for (Py_ssize_t i = 0; i < view->len; i += view->itemsize)
    for (Py_ssize_t k = 0; k < view->itemsize; k++) memory[i + k] = from[i + view->itemsize - 1 - k];
  tg_tensor *t = from_memory(memory, shape, have, dtype, device);
  PyMem_Free(memory);
  return t;
}

static tg_tensor *from_view(Py_buffer *view, tg_dtype dtype, const char *device, int copy,
                            bool *lent) {
  tg_dtype have = dtype_of_format(view->format, view->itemsize);
  tg_shape shape;
  if (have == TG_DEFAULT_DTYPE) {
    PyErr_Format(py_type_error, "memory of format '%s' cannot become a tensor; the numpy dtypes "
                 "are bool, int8 to int64, uint8 to uint64, float16, float32 and float64",
                 view->format ? view->format : "B");
    return NULL;
  }
  if (!buffer_shape(view, &shape)) return NULL;
  if (is_swapped(view->format)) return from_swapped(view, shape, have, dtype, device);
  bool same = (dtype == TG_DEFAULT_DTYPE || dtype == have) &&
              (!device || !strcmp(device, tg_default_device()));
  bool lend = copy == 0 || (copy < 0 && view->readonly && view->len >= SMALL_BUFFER);
  if (lend && same && view->len && (uintptr_t)view->buf % (size_t)view->itemsize == 0) {
    tg_tensor *t = borrow_view(view, shape, have);
    *lent = t != NULL;
    return t;
  }
  return from_memory(view->len ? view->buf : "", shape, have, dtype, device);
}

static tg_tensor *from_buffer(PyObject *data, tg_dtype dtype, const char *device, int copy) {
  Py_buffer view;
  if (PyObject_GetBuffer(data, &view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT) < 0) return NULL;
  bool lent = false;
  tg_tensor *t = from_view(&view, dtype, device, copy, &lent);
  if (!lent) PyBuffer_Release(&view);
  return t;
}

/* Some array: first as it lies, then made row-major by numpy. */
static tg_tensor *from_array(PyObject *data, tg_dtype dtype, const char *device, int copy) {
  if (PyObject_CheckBuffer(data)) {
    tg_tensor *t = from_buffer(data, dtype, device, copy);
    if (t || !(PyErr_ExceptionMatches(PyExc_BufferError) ||
               PyErr_ExceptionMatches(PyExc_ValueError)) || PyErr_ExceptionMatches(py_error))
      return t;
    PyErr_Clear();
  }
  PyObject *f = py_numpy("asarray");
  PyObject *array = f ? PyObject_CallFunctionObjArgs(f, data, NULL) : NULL;
  PyObject *named = array ? Py_BuildValue("{s:s}", "order", "C") : NULL;
  PyObject *args = named ? PyTuple_Pack(1, array) : NULL;
  PyObject *packed = args ? PyObject_Call(f, args, named) : NULL;
  tg_tensor *t = NULL;
  if (packed && PyObject_CheckBuffer(packed)) t = from_buffer(packed, dtype, device, 1);
  Py_XDECREF(packed);
  Py_XDECREF(args);
  Py_XDECREF(named);
  Py_XDECREF(array);
  if (!t && PyErr_Occurred() && PyErr_ExceptionMatches(PyExc_ValueError) &&
      !PyErr_ExceptionMatches(py_error)) {
    PyErr_Clear();
    PyErr_Format(py_type_error, "cannot make a tensor of %R", (PyObject *)Py_TYPE(data));
  }
  return t;
}

/* ---- all kinds of data */

static tg_tensor *from_number(PyObject *o, tg_dtype dtype, const char *device) {
  tg_dtype actual = dtype == TG_DEFAULT_DTYPE ? tg_default_dtype() : dtype;
  if (PyFloat_Check(o) || tg_dtype_is_float(actual)) {
    double value = PyFloat_AsDouble(o);
    if (value == -1 && PyErr_Occurred()) return NULL;
    tg_tensor *t = tg_take_ownership(tg_scalar(value, .dtype = actual, .device = device));
    if (!t) py_raise();
    return t;
  }
  return from_list(o, actual, device);
}

static tg_tensor *from_tensor(tg_tensor *x, tg_dtype dtype, const char *device) {
  tg_tensor *t = tg_take_ownership(tg_detach(x));
  if (t && device && strcmp(device, tg_device(t))) {
    tg_tensor *moved = tg_take_ownership(tg_to(t, device));
    tg_release(t);
    t = moved;
  }
  if (t) {
    tg_tensor *cast = dtype ? tg_cast(t, dtype) : t;
    if (cast != t) {
      cast = tg_take_ownership(cast);
      tg_release(t);
      t = cast;
    }
  }
  if (!t) py_raise();
  else tg_set_requires_grad(t, TG_GRAD_UNSET);
  return t;
}

static tg_tensor *from_lazy(PyObject *lazy, tg_dtype dtype, const char *device) {
  PyObject *inner = PyObject_GetAttrString(lazy, "_tensor");
  tg_tensor *t = inner && py_is_tensor(inner) ? from_tensor(py_t(inner), dtype, device) : NULL;
  Py_XDECREF(inner);
  return t;
}

tg_tensor *py_from_data(PyObject *data, tg_dtype dtype, const char *device, int copy) {
  tg_dtype numbers = dtype == TG_DEFAULT_DTYPE ? tg_default_dtype() : dtype;
  if (is_number(data)) return from_number(data, dtype, device);
  if (is_list(data)) return from_list(data, numbers, device);
  if (data == Py_None) return from_memory("", TG_SHAPE(0), TG_FLOAT32, numbers, device);
  if (py_is_tensor(data)) return from_tensor(py_t(data), dtype, device);
  if (PyObject_CheckBuffer(data) || PyObject_HasAttrString(data, "__array__") ||
      PyObject_HasAttrString(data, "__array_interface__"))
    return from_array(data, dtype, device, copy);
  if (PyObject_HasAttrString(data, "_tensor")) return from_lazy(data, dtype, device);
  PyErr_Format(py_type_error, "can't create Tensor from %R", data);
  return NULL;
}

/* A list as an index: whole numbers or bools, by what numpy finds in it. */
tg_tensor *py_from_index_list(PyObject *data) {
  if (PySequence_Size(data) == 0) return from_memory("", TG_SHAPE(0), TG_INT64, TG_INT64, NULL);
  PyErr_Clear();
  return from_foreign(data, TG_DEFAULT_DTYPE, NULL);
}

/* ---- creation functions */

/* The keywords that all of them take. */
typedef struct creation {
  tg_create_opts opts;
  PyObject *keep;
} creation;

static bool creation_of(PyObject *dtype, PyObject *device, PyObject *mode, creation *c) {
  memset(c, 0, sizeof *c);
  return py_dtype(dtype, &c->opts.dtype) && py_device(device, &c->opts.device, &c->keep) &&
         py_grad_mode(mode, &c->opts.requires_grad);
}

#define CREATION(name)                                                                     \
  static PyObject *c_##name(PyObject *self, ARGUMENTS) {                                   \
    (void)self;                                                                            \
    PY_PARSE(#name, 0, "*shape", "dtype", "device", "requires_grad");                      \
    tg_shape shape;                                                                        \
    creation c;                                                                            \
    if (!py_shape(a[0], "shape", &shape) || !creation_of(a[1], a[2], a[3], &c)) return NULL; \
    return py_wrap((tg_##name)(shape, &c.opts));                                           \
  }
CREATION(empty)
CREATION(zeros)
CREATION(ones)
CREATION(rand)
CREATION(randn)
CREATION(glorot_uniform)
CREATION(scaled_uniform)

/* A number that may be left out; 0 means 0. */
static bool optional(PyObject *o, const char *what, double *out) {
  if (!o || o == Py_None) return true;
  if (!py_double(o, what, out)) return false;
  if (*out == 0) *out = TG_ZERO;
  return true;
}

static PyObject *c_uniform(PyObject *self, ARGUMENTS) {
  (void)self;
  PY_PARSE("uniform", 0, "*shape", "low", "high", "dtype", "device", "requires_grad");
  tg_shape shape;
  creation c;
  if (!py_shape(a[0], "shape", &shape) || !creation_of(a[3], a[4], a[5], &c)) return NULL;
  c.opts.low = -1;
  c.opts.high = 1;
  if (!optional(a[1], "low", &c.opts.low) || !optional(a[2], "high", &c.opts.high)) return NULL;
  return py_wrap((tg_uniform)(shape, &c.opts));
}

static PyObject *c_randint(PyObject *self, ARGUMENTS) {
  (void)self;
  PY_PARSE("randint", 0, "*shape", "low", "high", "dtype", "device", "requires_grad");
  tg_shape shape;
  creation c;
  if (!py_shape(a[0], "shape", &shape) || !creation_of(a[3], a[4], a[5], &c)) return NULL;
  c.opts.low = TG_ZERO;
  c.opts.high = 10;
  if (!optional(a[1], "low", &c.opts.low) || !optional(a[2], "high", &c.opts.high)) return NULL;
  return py_wrap((tg_randint)(shape, &c.opts));
}

static PyObject *c_normal(PyObject *self, ARGUMENTS) {
  (void)self;
  PY_PARSE("normal", 0, "*shape", "mean", "std", "dtype", "device", "requires_grad");
  tg_shape shape;
  creation c;
  if (!py_shape(a[0], "shape", &shape) || !creation_of(a[3], a[4], a[5], &c)) return NULL;
  if (!optional(a[1], "mean", &c.opts.mean) || !optional(a[2], "std", &c.opts.std)) return NULL;
  return py_wrap((tg_normal)(shape, &c.opts));
}

#define KAIMING(name)                                                                          \
  static PyObject *c_##name(PyObject *self, ARGUMENTS) {                                       \
    (void)self;                                                                                \
    PY_PARSE(#name, 0, "*shape", "a", "dtype", "device", "requires_grad");                     \
    tg_shape shape;                                                                            \
    creation c;                                                                                \
    if (!py_shape(a[0], "shape", &shape) || !creation_of(a[2], a[3], a[4], &c)) return NULL;   \
    if (!optional(a[1], "a", &c.opts.a)) return NULL;                                          \
    return py_wrap((tg_##name)(shape, &c.opts));                                               \
  }
KAIMING(kaiming_uniform)
KAIMING(kaiming_normal)

/* A value that double cannot hold exactly goes through a list of one. */
static PyObject *filled(tg_shape shape, PyObject *value, creation *c) {
  tg_dtype dtype = c->opts.dtype ? c->opts.dtype : tg_default_dtype();
  double number = 0;
  if (!PyLong_Check(value) || tg_dtype_is_float(dtype)) {
    if (!py_double(value, "fill_value", &number)) return NULL;
    return py_wrap((tg_full)(shape, number, &c->opts));
  }
  tg_tensor *one = from_list(value, dtype, c->opts.device);
  if (!one) return NULL;
  number = tg_item(one);
  tg_release(one);
  return py_wrap((tg_full)(shape, number, &c->opts));
}

static PyObject *c_full(PyObject *self, ARGUMENTS) {
  (void)self;
  PY_PARSE("full", 2, "shape", "fill_value", "dtype", "device", "requires_grad");
  tg_shape shape;
  creation c;
  if (!py_shape(a[0], "shape", &shape) || !creation_of(a[2], a[3], a[4], &c)) return NULL;
  return filled(shape, a[1], &c);
}

static PyObject *like(PyObject *self, PyObject *value, PyObject **a) {
  creation c;
  if (!creation_of(a[0], a[1], a[2], &c)) return NULL;
  if (!c.opts.dtype) c.opts.dtype = tg_dtype_of(py_t(self));
  if (!c.opts.device) c.opts.device = tg_device(py_t(self));
  return filled(tg_shape_of(py_t(self)), value, &c);
}

static PyObject *m_full_like(PyObject *self, ARGUMENTS) {
  PY_PARSE("full_like", 1, "fill_value", "dtype", "device", "requires_grad");
  return like(self, a[0], a + 1);
}

static PyObject *like_number(PyObject *self, long number, PyObject **a) {
  PyObject *value = PyLong_FromLong(number);
  PyObject *result = value ? like(self, value, a) : NULL;
  Py_XDECREF(value);
  return result;
}

static PyObject *m_zeros_like(PyObject *self, ARGUMENTS) {
  PY_PARSE("zeros_like", 0, "dtype", "device", "requires_grad");
  return like_number(self, 0, a);
}

static PyObject *m_ones_like(PyObject *self, ARGUMENTS) {
  PY_PARSE("ones_like", 0, "dtype", "device", "requires_grad");
  return like_number(self, 1, a);
}

static PyObject *c_arange(PyObject *self, ARGUMENTS) {
  (void)self;
  PY_PARSE("arange", 1, "start", "stop", "step", "dtype", "device", "requires_grad");
  creation c;
  double start = 0, stop = 0, step = 1;
  bool two = a[1] && a[1] != Py_None;
  if (!creation_of(a[3], a[4], a[5], &c) || !py_double(a[0], "start", two ? &start : &stop) ||
      (two && !py_double(a[1], "stop", &stop)) || !py_double(a[2], "step", &step))
    return NULL;
  c.opts.step = step == 0 ? TG_ZERO : step;
  return py_wrap((tg_arange)(start, stop, &c.opts));
}

static PyObject *c_eye(PyObject *self, ARGUMENTS) {
  (void)self;
  PY_PARSE("eye", 1, "dim", "dtype", "device", "requires_grad");
  creation c;
  int64_t n = 0;
  if (!py_int(a[0], "dim", &n) || !creation_of(a[1], a[2], a[3], &c)) return NULL;
  return py_wrap((tg_eye)(n, &c.opts));
}

static PyObject *c_manual_seed(PyObject *self, ARGUMENTS) {
  (void)self;
  PY_PARSE("manual_seed", 0, "seed");
  int64_t seed = 0;
  if (!py_int(a[0], "seed", &seed)) return NULL;
  tg_manual_seed((uint64_t)seed);
  Py_RETURN_NONE;
}

static PyObject *c_from_numpy(PyObject *self, ARGUMENTS) {
  (void)self;
  PY_PARSE("from_numpy", 1, "array");
  tg_tensor *t = py_from_data(a[0], TG_DEFAULT_DTYPE, NULL, 0);
  if (!t) return NULL;
  PyObject *object = py_wrap(t);
  tg_release(t);
  return object;
}

#define OPTS "dtype=None, device=None, requires_grad=None"
#define STATIC(name, signature, doc) \
  {#name, FAST(c_##name), METH_FASTCALL | METH_KEYWORDS | METH_STATIC, \
   #name "(" signature ")\n--\n\n" doc}
#define METHOD(name, signature, doc) \
  {#name, FAST(m_##name), METH_FASTCALL | METH_KEYWORDS, \
   #name "($self, " signature ")\n--\n\n" doc}
#include "_docs.h"

PyMethodDef py_creation_methods[] = {
    STATIC(empty, "*shape, " OPTS, DOC_empty),
    STATIC(zeros, "*shape, " OPTS, DOC_zeros),
    STATIC(ones, "*shape, " OPTS, DOC_ones),
    STATIC(rand, "*shape, " OPTS, DOC_rand),
    STATIC(randn, "*shape, " OPTS, DOC_randn),
    STATIC(uniform, "*shape, low=-1.0, high=1.0, " OPTS, DOC_uniform),
    STATIC(randint, "*shape, low=0, high=10, " OPTS, DOC_randint),
    STATIC(normal, "*shape, mean=0.0, std=1.0, " OPTS, DOC_normal),
    STATIC(scaled_uniform, "*shape, " OPTS, DOC_scaled_uniform),
    STATIC(glorot_uniform, "*shape, " OPTS, DOC_glorot_uniform),
    STATIC(kaiming_uniform, "*shape, a=0.01, " OPTS, DOC_kaiming_uniform),
    STATIC(kaiming_normal, "*shape, a=0.01, " OPTS, DOC_kaiming_normal),
    STATIC(full, "shape, fill_value, " OPTS, DOC_full),
    STATIC(arange, "start, stop=None, step=1, " OPTS, DOC_arange),
    STATIC(eye, "dim, " OPTS, DOC_eye),
    STATIC(manual_seed, "seed=0", DOC_manual_seed),
    STATIC(from_numpy, "array", DOC_borrow),
    METHOD(full_like, "fill_value, " OPTS, DOC_full_like),
    METHOD(zeros_like, OPTS, DOC_zeros_like),
    METHOD(ones_like, OPTS, DOC_ones_like),
    {NULL, NULL, 0, NULL}};
