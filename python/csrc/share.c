/* share: memory that other libraries see, without a copy where that is safe.
 *
 * Tensors are values: a lazy graph reads what it was built from at a later time,
 * and several tensors may stand on one piece of memory. So what others get to see
 * is read-only (buffer protocol, __array__, DLPack), and stays what it is when the
 * tensor is assigned to: each view holds a tensor of its own. numpy() alone makes
 * a copy, which may be written to, as in teenygrad.
 *
 * The other way: from_dlpack and from_numpy borrow, and the lender must not write
 * any more; Tensor(array) copies unless the array is read-only.
 */
#include <string.h>

#include "_docs.h"
#include "py.h"

/* ---- a view: a tensor that only this view can see, and its memory */

typedef struct view {
  tg_tensor *t;
  const void *data;
  Py_ssize_t shape[TG_MAX_DIMS], strides[TG_MAX_DIMS];
  int64_t dl_shape[TG_MAX_DIMS], dl_strides[TG_MAX_DIMS];
} view;

static void view_free(view *v) {
  if (!v) return;
  tg_release(v->t);
  PyMem_Free(v);
}

static view *view_new(tg_tensor *t) {
  view *v = PyMem_Calloc(1, sizeof *v);
  if (!v) return (view *)(void *)PyErr_NoMemory();
  static const char nothing[64];
  v->t = tg_take_ownership(tg_detach(t));
  v->data = v->t ? tg_data(v->t) : NULL;
  if (!v->data && v->t && !tg_numel(v->t) && tg_realize(v->t)) v->data = nothing;
  if (!v->data) {
    view_free(v);
    py_raise();
    return NULL;
  }
  tg_clear_error();
  int64_t step = 1;
  for (int i = tg_ndim(t) - 1; i >= 0; i--) {
    v->dl_shape[i] = tg_dim(t, i);
    v->dl_strides[i] = step;
    v->shape[i] = (Py_ssize_t)v->dl_shape[i];
    v->strides[i] = (Py_ssize_t)(step * tg_element_size(t));
    step *= v->dl_shape[i];
  }
  return v;
}

static const char *format_of(tg_dtype dtype) {
  static const char *const formats[TG_DTYPE_COUNT] = {
      [TG_BOOL] = "?", [TG_INT8] = "b", [TG_UINT8] = "B", [TG_INT16] = "h", [TG_UINT16] = "H",
      [TG_INT32] = "i", [TG_UINT32] = "I", [TG_INT64] = "q", [TG_UINT64] = "Q",
      [TG_FLOAT16] = "e", [TG_FLOAT32] = "f", [TG_FLOAT64] = "d"};
  return formats[dtype];
}

static bool numpy_can(tg_dtype dtype) {
  if (format_of(dtype)) return true;
  PyErr_Format(py_type_error, "numpy has no %s; use .float() first", tg_dtype_name(dtype));
  return false;
}

/* ---- the buffer protocol */

/* Row-major elements are column-major too when at most one axis has several. */
static bool column_major(const tg_tensor *t) {
  int several = 0;
  for (int i = 0; i < tg_ndim(t); i++) several += tg_dim(t, i) > 1;
  return several < 2 || !tg_numel(t);
}

static bool buffer_fits(const tg_tensor *t, int flags) {
  const int column = PyBUF_F_CONTIGUOUS & ~PyBUF_STRIDES;
  tg_dtype dtype = tg_dtype_of(t);
  const char *problem =
      flags & PyBUF_WRITABLE ? "the memory of a tensor is read-only; numpy() gives a copy to write to"
      : !format_of(dtype) ? "there is no buffer format for %s; cast to float32 first"
      : (flags & column) && !column_major(t) ? "the memory of a tensor is row-major" : NULL;
  if (problem) PyErr_Format(PyExc_BufferError, problem, tg_dtype_name(dtype));
  return !problem;
}

int py_getbuffer(PyObject *self, Py_buffer *out, int flags) {
  out->obj = NULL;
  tg_dtype dtype = tg_dtype_of(py_t(self));
  view *v = buffer_fits(py_t(self), flags) ? view_new(py_t(self)) : NULL;
  if (!v) return -1;
  memset(out, 0, sizeof *out);
  out->buf = (void *)(uintptr_t)v->data;
  out->len = (Py_ssize_t)tg_nbytes(v->t);
  out->itemsize = (Py_ssize_t)tg_element_size(v->t);
  out->readonly = 1;
  out->ndim = flags & PyBUF_ND ? tg_ndim(v->t) : 1; /* without a shape: bytes in a row */
  if (flags & PyBUF_FORMAT) out->format = (char *)(uintptr_t)format_of(dtype);
  if (flags & PyBUF_ND) out->shape = v->shape;
  if ((flags & PyBUF_STRIDES) == PyBUF_STRIDES) out->strides = v->strides;
  out->internal = v;
  Py_INCREF(self);
  out->obj = self;
  return 0;
}

void py_releasebuffer(PyObject *self, Py_buffer *buffer) {
  (void)self;
  view_free(buffer->internal);
}

/* ---- numpy */

static const char *numpy_name(tg_dtype dtype) {
  return dtype == TG_BOOL ? "bool" : tg_dtype_name(dtype);
}

static PyObject *new_array(tg_tensor *t, tg_dtype dtype) {
  tg_shape shape = tg_shape_of(t);
  PyObject *f = py_numpy("empty"), *size = py_shape_tuple(shape.dim, shape.ndim);
  PyObject *array = f && size ? PyObject_CallFunction(f, "Os", size, numpy_name(dtype)) : NULL;
  Py_XDECREF(size);
  return array;
}

static int copy_into(tg_tensor *t, PyObject *array) {
  Py_buffer buffer;
  if (PyObject_GetBuffer(array, &buffer, PyBUF_WRITABLE) < 0) return -1;
  int status = tg_to_host(t, buffer.buf, (size_t)buffer.len);
  PyBuffer_Release(&buffer);
  if (status < 0) py_raise();
  return status;
}

static PyObject *m_numpy(PyObject *self, PyObject *unused) {
  (void)unused;
  tg_dtype dtype = tg_dtype_of(py_t(self));
  if (!numpy_can(dtype)) return NULL;
  tg_tensor *t = tg_take_ownership(tg_detach(py_t(self)));
  if (!t) return py_raise();
  PyObject *array = tg_realize(t) ? new_array(t, dtype) : py_raise();
  if (array && copy_into(t, array) < 0) Py_CLEAR(array);
  tg_release(t);
  return array;
}

/* copy=None or False: the tensor's memory, read-only; True: elements of one's own. */
static PyObject *array_of(PyObject *self, bool copy) {
  if (copy) return m_numpy(self, NULL);
  PyObject *f = py_numpy("asarray"), *memory = f ? PyMemoryView_FromObject(self) : NULL;
  PyObject *array = memory ? PyObject_CallFunctionObjArgs(f, memory, NULL) : NULL;
  Py_XDECREF(memory);
  return array;
}

/* 1: `array` has that dtype. -1: raises. */
static int has_dtype(PyObject *array, PyObject *dtype) {
  PyObject *f = py_numpy("dtype"), *have = PyObject_GetAttrString(array, "dtype");
  PyObject *wanted = f ? PyObject_CallFunctionObjArgs(f, dtype, NULL) : NULL;
  int same = have && wanted ? PyObject_RichCompareBool(have, wanted, Py_EQ) : -1;
  Py_XDECREF(wanted);
  Py_XDECREF(have);
  return same;
}

/* numpy asks for __array__ where it does not take the buffer. */
static PyObject *m_array(PyObject *self, ARGUMENTS) {
  PY_PARSE("__array__", 0, "dtype", "copy");
  if (!numpy_can(tg_dtype_of(py_t(self)))) return NULL;
  bool copy = false, never = a[1] && a[1] != Py_None;
  if (never && !py_bool(a[1], "copy", &copy)) return NULL;
  PyObject *array = array_of(self, copy), *cast = NULL;
  if (!array || !a[0] || a[0] == Py_None) return array;
  int same = has_dtype(array, a[0]);
  if (same == 1) return array;
  if (same == 0 && never && !copy)
    PyErr_Format(PyExc_ValueError, "__array__: a dtype other than %s needs a copy; leave out "
                 "copy=False", numpy_name(tg_dtype_of(py_t(self))));
  else if (same == 0)
    cast = PyObject_CallMethod(array, "astype", "O", a[0]);
  Py_DECREF(array);
  return cast;
}

static PyObject *get_array_interface(PyObject *self, void *unused) {
  (void)unused;
  tg_dtype dtype = tg_dtype_of(py_t(self));
  if (!numpy_can(dtype)) {
    PyErr_Clear();
    PyErr_Format(PyExc_AttributeError, "a tensor of %s has no __array_interface__",
                 tg_dtype_name(dtype));
    return NULL;
  }
  view *v = view_new(py_t(self));
  if (!v) return NULL;
  const void *data = v->data; /* from the view: another thread may assign to the tensor now */
  view_free(v); /* the tensor keeps the memory; so does whoever reads this and holds the tensor */
  const char kind = dtype == TG_BOOL ? 'b' : tg_dtype_is_float(dtype) ? 'f'
                    : dtype == TG_UINT8 || dtype == TG_UINT16 || dtype == TG_UINT32 ||
                      dtype == TG_UINT64 ? 'u' : 'i';
  tg_shape shape = tg_shape_of(py_t(self));
  PyObject *size = py_shape_tuple(shape.dim, shape.ndim);
  if (!size) return NULL;
  char type[8];
  PyOS_snprintf(type, sizeof type, "%c%c%d", tg_element_size(py_t(self)) == 1 ? '|' : '<', kind,
                (int)tg_element_size(py_t(self)));
  return Py_BuildValue("{s:N,s:s,s:(NO),s:i}", "shape", size, "typestr", type, "data",
                       PyLong_FromVoidPtr((void *)(uintptr_t)data), Py_True, "version", 3);
}

/* ---- DLPack: the structures of dlpack.h, version 1.0 */

typedef struct dl_tensor {
  void *data;
  struct { int32_t type, id; } device;
  int32_t ndim;
  struct { uint8_t code, bits; uint16_t lanes; } dtype;
  int64_t *shape, *strides;
  uint64_t byte_offset;
} dl_tensor;

typedef struct dl_managed {
  dl_tensor tensor;
  void *context;
  void (*deleter)(struct dl_managed *self);
} dl_managed;

typedef struct dl_versioned {
  struct { uint32_t major, minor; } version;
  void *context;
  void (*deleter)(struct dl_versioned *self);
  uint64_t flags;
  dl_tensor tensor;
} dl_versioned;

enum { DL_INT, DL_UINT, DL_FLOAT, DL_BFLOAT = 4, DL_BOOL = 6 };
enum { DL_CPU = 1, DL_READ_ONLY = 1, DL_COPIED = 2 };

static const struct { uint8_t code, bits; } dl_types[TG_DTYPE_COUNT] = {
    [TG_BOOL] = {DL_BOOL, 8}, [TG_INT8] = {DL_INT, 8}, [TG_UINT8] = {DL_UINT, 8},
    [TG_INT16] = {DL_INT, 16}, [TG_UINT16] = {DL_UINT, 16}, [TG_INT32] = {DL_INT, 32},
    [TG_UINT32] = {DL_UINT, 32}, [TG_INT64] = {DL_INT, 64}, [TG_UINT64] = {DL_UINT, 64},
    [TG_FLOAT16] = {DL_FLOAT, 16}, [TG_BFLOAT16] = {DL_BFLOAT, 16},
    [TG_FLOAT32] = {DL_FLOAT, 32}, [TG_FLOAT64] = {DL_FLOAT, 64}};

static void dl_fill(dl_tensor *out, view *v) {
  tg_dtype dtype = tg_dtype_of(v->t);
  memset(out, 0, sizeof *out);
  out->data = (void *)(uintptr_t)v->data;
  out->device.type = DL_CPU;
  out->ndim = tg_ndim(v->t);
  out->dtype.code = dl_types[dtype].code;
  out->dtype.bits = dl_types[dtype].bits;
  out->dtype.lanes = 1;
  out->shape = v->dl_shape;
  out->strides = v->dl_strides;
}

static void drop_view(void *context, void *managed) {
  if (!Py_IsInitialized()) return;
  PyGILState_STATE state = PyGILState_Ensure();
  view_free(context);
  PyMem_Free(managed);
  PyGILState_Release(state);
}

static void delete_managed(dl_managed *m) { drop_view(m->context, m); }
static void delete_versioned(dl_versioned *m) { drop_view(m->context, m); }

/* A capsule that nobody has taken still owns what it names. */
static void capsule_free(PyObject *capsule) {
  dl_managed *m = PyCapsule_IsValid(capsule, "dltensor")
                      ? PyCapsule_GetPointer(capsule, "dltensor") : NULL;
  if (m) m->deleter(m);
}

static void capsule_free_versioned(PyObject *capsule) {
  dl_versioned *m = PyCapsule_IsValid(capsule, "dltensor_versioned")
                        ? PyCapsule_GetPointer(capsule, "dltensor_versioned") : NULL;
  if (m) m->deleter(m);
}

static PyObject *export_managed(view *v) {
  dl_managed *m = PyMem_Calloc(1, sizeof *m);
  if (!m) return PyErr_NoMemory();
  dl_fill(&m->tensor, v);
  m->context = v;
  m->deleter = delete_managed;
  PyObject *capsule = PyCapsule_New(m, "dltensor", capsule_free);
  if (!capsule) PyMem_Free(m);
  return capsule;
}

static PyObject *export_versioned(view *v, bool copied) {
  dl_versioned *m = PyMem_Calloc(1, sizeof *m);
  if (!m) return PyErr_NoMemory();
  m->version.major = 1;
  m->flags = copied ? DL_COPIED : DL_READ_ONLY;
  dl_fill(&m->tensor, v);
  m->context = v;
  m->deleter = delete_versioned;
  PyObject *capsule = PyCapsule_New(m, "dltensor_versioned", capsule_free_versioned);
  if (!capsule) PyMem_Free(m);
  return capsule;
}

/* The first number of a pair, None: `*out` as it is. */
static bool first_of(PyObject *pair, const char *what, int64_t *out) {
  if (!pair || pair == Py_None) return true;
  PyObject *first = PySequence_GetItem(pair, 0);
  bool fine = first && py_int(first, what, out);
  Py_XDECREF(first);
  return fine;
}

/* The view of a tensor of its own, whose elements nobody else can see. */
static view *view_of_copy(tg_tensor *t) {
  view *from = view_new(t), *v = NULL;
  if (!from) return NULL;
  tg_tensor *copy = tg_take_ownership(tg_from(from->data, tg_shape_of(t), .dtype = tg_dtype_of(t),
                                              .device = tg_device(t)));
  if (copy) v = view_new(copy);
  else py_raise();
  tg_release(copy);
  view_free(from);
  return v;
}

static PyObject *m_dlpack(PyObject *self, ARGUMENTS) {
  PY_PARSE("__dlpack__", 0, "stream", "max_version", "dl_device", "copy");
  int64_t major = 0, device = DL_CPU;
  bool copy = false;
  if (!first_of(a[1], "max_version", &major) || !first_of(a[2], "dl_device", &device) ||
      (a[3] && !py_bool(a[3], "copy", &copy)))
    return NULL;
  if (device != DL_CPU) {
    PyErr_SetString(PyExc_BufferError, "__dlpack__: the memory of a tensor is the CPU's, (1, 0)");
    return NULL;
  }
  view *v = copy ? view_of_copy(py_t(self)) : view_new(py_t(self));
  if (!v) return NULL;
  PyObject *capsule = major >= 1 ? export_versioned(v, copy) : export_managed(v);
  if (!capsule) view_free(v);
  return capsule;
}

static PyObject *m_dlpack_device(PyObject *self, PyObject *unused) {
  (void)self, (void)unused;
  return Py_BuildValue("(ii)", DL_CPU, 0);
}

/* ---- DLPack, the other way */

static tg_dtype dl_dtype(const dl_tensor *x) {
  for (int i = 1; i < TG_DTYPE_COUNT && x->dtype.lanes == 1; i++)
    if (dl_types[i].code == x->dtype.code && dl_types[i].bits == x->dtype.bits) return (tg_dtype)i;
  return TG_DEFAULT_DTYPE;
}

static bool dl_row_major(const dl_tensor *x) {
  int64_t step = 1;
  for (int i = x->ndim - 1; i >= 0 && x->strides; i--) {
    if (x->shape[i] != 1 && x->strides[i] != step) return false;
    step *= x->shape[i];
  }
  return true;
}

/* Row-major elements in `out`. */
static void dl_gather(const dl_tensor *x, int axis, const char *from, size_t size, char **out) {
  if (axis == x->ndim) {
    memcpy(*out, from, size);
    *out += size;
    return;
  }
  for (int64_t i = 0; i < x->shape[axis]; i++)
    dl_gather(x, axis + 1, from + i * x->strides[axis] * (int64_t)size, size, out);
}

static bool dl_shape_of(const dl_tensor *x, tg_shape *shape, tg_dtype *dtype) {
  *dtype = dl_dtype(x);
  if (x->device.type != DL_CPU || *dtype == TG_DEFAULT_DTYPE || x->ndim < 0 ||
      x->ndim > TG_MAX_DIMS) {
    PyErr_SetString(PyExc_BufferError, "from_dlpack: only memory of the CPU, of teenygrad's dtypes "
                    "and at most 16 axes can be taken");
    return false;
  }
  shape->ndim = x->ndim;
  for (int i = 0; i < x->ndim; i++) shape->dim[i] = x->shape[i];
  return true;
}

static tg_tensor *dl_copy(const dl_tensor *x, tg_shape shape, tg_dtype dtype) {
  int64_t bytes = tg_dtype_size(dtype);
  for (int i = 0; i < shape.ndim; i++) bytes *= shape.dim[i];
  char *packed = PyMem_Malloc((size_t)(bytes ? bytes : 1)), *at = packed;
  if (!packed) return (tg_tensor *)(void *)PyErr_NoMemory();
  const char *from = (const char *)x->data + x->byte_offset;
  if (bytes && x->strides) dl_gather(x, 0, from, (size_t)tg_dtype_size(dtype), &at);
  else if (bytes) memcpy(packed, from, (size_t)bytes);
  tg_tensor *t = tg_take_ownership(tg_from(packed, shape, .dtype = dtype));
  PyMem_Free(packed);
  if (!t) py_raise();
  return t;
}

static void give_back(void *data, void *user) {
  (void)data;
  dl_managed *m = user;
  if (m->deleter) m->deleter(m);
}

static void give_back_versioned(void *data, void *user) {
  (void)data;
  dl_versioned *m = user;
  if (m->deleter) m->deleter(m);
}

/* The tensor of a capsule; *lent: its memory was borrowed and is released with the tensor. */
static tg_tensor *dl_import(const dl_tensor *x, bool versioned, void *managed, bool *lent) {
  tg_shape shape;
  tg_dtype dtype;
  if (!dl_shape_of(x, &shape, &dtype)) return NULL;
  char *data = (char *)x->data + x->byte_offset;
  bool empty = false;
  for (int i = 0; i < shape.ndim; i++) empty |= shape.dim[i] == 0;
  *lent = !empty && dl_row_major(x) && (uintptr_t)data % (size_t)tg_dtype_size(dtype) == 0;
  if (!*lent) return dl_copy(x, shape, dtype);
  tg_tensor *t = tg_take_ownership(
      tg_borrow(data, shape, dtype, versioned ? give_back_versioned : give_back, managed));
  if (!t) {
    *lent = false;
    py_raise();
  }
  return t;
}

static PyObject *take_capsule(PyObject *capsule) {
  bool versioned = PyCapsule_IsValid(capsule, "dltensor_versioned"), lent = false;
  const char *name = versioned ? "dltensor_versioned" : "dltensor";
  void *managed = PyCapsule_GetPointer(capsule, name);
  if (!managed) return NULL;
  dl_versioned *v = managed;
  dl_managed *m = managed;
  if (versioned && v->version.major != 1) {
    PyErr_Format(PyExc_BufferError, "from_dlpack: DLPack %u is not understood", v->version.major);
    return NULL;
  }
  tg_tensor *t = dl_import(versioned ? &v->tensor : &m->tensor, versioned, managed, &lent);
  if (!t) return NULL; /* the capsule still owns its memory */
  if (PyCapsule_SetName(capsule, versioned ? "used_dltensor_versioned" : "used_dltensor") < 0)
    return NULL;
  if (!lent) {
    if (versioned) give_back_versioned(NULL, managed);
    else give_back(NULL, managed);
  }
  PyObject *object = py_wrap(t);
  tg_release(t);
  return object;
}

PyObject *py_from_dlpack(PyObject *module, ARGUMENTS) {
  (void)module;
  PY_PARSE("from_dlpack", 1, "x");
  if (PyCapsule_CheckExact(a[0])) return take_capsule(a[0]);
  PyObject *method = PyObject_GetAttrString(a[0], "__dlpack__");
  PyObject *none = PyTuple_New(0), *named = Py_BuildValue("{s:(ii)}", "max_version", 1, 0);
  PyObject *capsule = NULL;
  if (!method) {
    PyErr_Clear();
    PyErr_Format(py_type_error, "from_dlpack: %R has no __dlpack__", (PyObject *)Py_TYPE(a[0]));
  } else if (none && named) {
    capsule = PyObject_Call(method, none, named);
    if (!capsule && (PyErr_ExceptionMatches(PyExc_TypeError) ||
                     PyErr_ExceptionMatches(PyExc_BufferError))) {
      PyErr_Clear();
      capsule = PyObject_CallObject(method, NULL);
    }
  }
  PyObject *object = capsule ? take_capsule(capsule) : NULL;
  Py_XDECREF(capsule);
  Py_XDECREF(named);
  Py_XDECREF(none);
  Py_XDECREF(method);
  return object;
}

/* ---- pickle and copy */

/* The attributes of a subclass's object, a dict; a Tensor has none: None. */
static PyObject *attributes_of(PyObject *self) {
  PyObject *dict = Py_TYPE(self) == py_tensor_type ? NULL
                   : PyObject_GetAttrString(self, "__dict__");
  if (dict) return dict;
  PyErr_Clear(); /* a subclass may have __slots__ */
  Py_RETURN_NONE;
}

/* (bytes, dtype, shape, device, requires_grad, name, class): what _rebuild takes. */
static PyObject *state_of(PyObject *self) {
  view *v = view_new(py_t(self));
  if (!v) return NULL;
  PyObject *bytes = PyBytes_FromStringAndSize(v->data, (Py_ssize_t)tg_nbytes(v->t));
  PyObject *shape = py_shape_tuple(v->dl_shape, tg_ndim(v->t));
  const char *dtype = tg_dtype_name(tg_dtype_of(v->t));
  view_free(v);
  return Py_BuildValue("(NsNsizO)", bytes, dtype, shape, tg_device(py_t(self)),
                       (int)tg_requires_grad(py_t(self)), tg_name(py_t(self)), Py_TYPE(self));
}

static PyObject *c_rebuild(PyObject *self, PyObject *args) {
  (void)self;
  const char *bytes, *dtype_name, *device, *name;
  Py_ssize_t size;
  PyObject *dims, *class = (PyObject *)py_tensor_type;
  int mode;
  if (!PyArg_ParseTuple(args, "y#sO!siz|O!", &bytes, &size, &dtype_name, &PyTuple_Type, &dims,
                        &device, &mode, &name, &PyType_Type, &class))
    return NULL;
  int fits = PyObject_IsSubclass(class, (PyObject *)py_tensor_type);
  if (fits == 0) PyErr_SetString(py_type_error, "the class of a pickled tensor is no Tensor");
  if (fits != 1) return NULL;
  tg_shape shape = {0, {0}};
  tg_dtype dtype = TG_DEFAULT_DTYPE;
  if (!py_ints(dims, "shape", &shape)) return NULL;
  for (int i = 1; i < TG_DTYPE_COUNT; i++)
    if (!strcmp(dtype_name, tg_dtype_name((tg_dtype)i))) dtype = (tg_dtype)i;
  int64_t wanted = dtype ? tg_dtype_size(dtype) : -1;
  for (int i = 0; i < shape.ndim; i++)
    wanted = shape.dim[i] >= 0 && (!shape.dim[i] || wanted <= INT64_MAX / shape.dim[i])
                 ? wanted * shape.dim[i] : -1;
  if (wanted != size) {
    PyErr_SetString(py_error, "this pickled tensor is damaged: its bytes do not fit its shape");
    return NULL;
  }
  return py_wrap_as((PyTypeObject *)(void *)class,
                    tg_from(bytes, shape, .dtype = dtype, .device = device, .name = name,
                            .requires_grad = mode < 0 ? TG_GRAD_NO : mode > 0 ? TG_GRAD_YES
                                                                   : TG_GRAD_UNSET));
}

static PyObject *m_reduce(PyObject *self, PyObject *unused) {
  (void)unused;
  PyObject *f = PyObject_GetAttrString((PyObject *)py_tensor_type, "_rebuild");
  PyObject *state = f ? state_of(self) : NULL;
  if (state) return Py_BuildValue("(NNN)", f, state, attributes_of(self));
  Py_XDECREF(f);
  return NULL;
}

/* The same value: tensors are values, so nothing needs to be copied. */
static PyObject *same_value(PyObject *self) {
  tg_tensor *t = py_t(self), *copy = tg_detach(t);
  PyObject *object = py_wrap_as(Py_TYPE(self), copy);
  if (!object) return NULL;
  copy = py_t(object);
  if (tg_set_requires_grad(copy, tg_requires_grad(t)) &&
      (!tg_name(t) || tg_set_name(copy, tg_name(t))) &&
      (!tg_grad(t) || tg_set_grad(copy, tg_grad(t))))
    return object;
  Py_DECREF(object);
  return py_raise();
}

/* memo NULL: a shallow copy. */
static PyObject *copy_of(PyObject *self, PyObject *memo) {
  PyObject *object = same_value(self), *mine = object ? attributes_of(self) : NULL;
  if (!mine || mine == Py_None) {
    Py_XDECREF(mine);
    return object;
  }
  PyObject *module = memo ? PyImport_ImportModule("copy") : NULL, *theirs = NULL;
  if (module) theirs = PyObject_CallMethod(module, "deepcopy", "OO", mine, memo);
  else if (!memo) theirs = PyDict_Copy(mine);
  if (!theirs || PyObject_SetAttrString(object, "__dict__", theirs) < 0) Py_CLEAR(object);
  Py_XDECREF(theirs);
  Py_XDECREF(module);
  Py_DECREF(mine);
  return object;
}

static PyObject *m_copy(PyObject *self, PyObject *unused) {
  (void)unused;
  return copy_of(self, NULL);
}

static PyObject *m_deepcopy(PyObject *self, PyObject *memo) { return copy_of(self, memo); }

/* ---- the tables */

#define NOARGS(name, f, doc) {#name, f, METH_NOARGS, #name "($self)\n--\n\n" doc}

PyMethodDef py_share_methods[] = {
    NOARGS(numpy, m_numpy, "A numpy array with a copy of the elements. numpy.asarray(tensor) gives "
                           "a read-only view without a copy."),
    {"__array__", FAST(m_array), METH_FASTCALL | METH_KEYWORDS,
     "__array__($self, dtype=None, copy=None)\n--\n\nA read-only numpy array on the same memory."},
    {"__dlpack__", FAST(m_dlpack), METH_FASTCALL | METH_KEYWORDS,
     "__dlpack__($self, *, stream=None, max_version=None, dl_device=None, copy=None)\n--\n\n"
     "A DLPack capsule of the same memory, which must not be written to; copy=True: of a copy."},
    NOARGS(__dlpack_device__, m_dlpack_device, "(1, 0): the CPU."),
    NOARGS(__reduce__, m_reduce, "For pickle."),
    NOARGS(__copy__, m_copy, "A leaf with the same value."),
    {"__deepcopy__", m_deepcopy, METH_O,
     "__deepcopy__($self, memo, /)\n--\n\nA leaf with the same value, and a copy of the gradient."},
    {"_rebuild", c_rebuild, METH_VARARGS | METH_STATIC, NULL},
    {NULL, NULL, 0, NULL}};

PyGetSetDef py_share_getset[] = {
    {"__array_interface__", get_array_interface, NULL, "numpy's description of the memory.", NULL},
    {NULL, NULL, NULL, NULL, NULL}};
