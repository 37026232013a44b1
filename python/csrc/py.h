/* py: what the files of the Python extension share.
 *
 * The extension is one type, Tensor, which holds one reference to a tg_tensor,
 * and a few functions. It converts: Python's arguments to the library's
 * (convert.c), results to objects (tensor.c), failures to exceptions (convert.c).
 * Shapes, broadcasting, indexing and numbers are the library's business.
 *
 * It is compiled for the stable ABI of CPython 3.9. METH_FASTCALL, PyMem_Calloc and the
 * buffer protocol are declared there only for later versions, though 3.9 has all of them
 * with the same layout; they are declared here. A missing declaration is an error of the
 * compiler (setup.py): what it would guess, an int, cuts pointers in half.
 *
 * The lock: every call of the library is made with the GIL held; the library lets
 * it go around kernels (tg_set_run_hooks, module.c). So graphs are never touched
 * by two threads at once.
 */
#ifndef TG_PY_H
#define TG_PY_H

#define PY_SSIZE_T_CLEAN
#ifndef Py_LIMITED_API
#define Py_LIMITED_API 0x03090000
#endif
#include <Python.h>
#include <structmember.h>

#include "teenygrad/teenygrad.h"

#ifndef METH_FASTCALL
#define METH_FASTCALL 0x0080
#endif
#ifndef Py_bf_getbuffer
#define Py_bf_getbuffer 1
#define Py_bf_releasebuffer 2
#endif
#if Py_LIMITED_API < 0x030a0000
PyAPI_FUNC(const char *) PyUnicode_AsUTF8AndSize(PyObject *text, Py_ssize_t *size);
PyAPI_FUNC(void *) PyMem_Calloc(size_t count, size_t size);
#endif
#if Py_LIMITED_API < 0x030b0000
typedef struct bufferinfo {
  void *buf;
  PyObject *obj;
  Py_ssize_t len;
  Py_ssize_t itemsize;
  int readonly;
  int ndim;
  char *format;
  Py_ssize_t *shape;
  Py_ssize_t *strides;
  Py_ssize_t *suboffsets;
  void *internal;
} Py_buffer;
PyAPI_FUNC(int) PyObject_GetBuffer(PyObject *object, Py_buffer *view, int flags);
PyAPI_FUNC(void) PyBuffer_Release(Py_buffer *view);
PyAPI_FUNC(int) PyObject_CheckBuffer(PyObject *object);
#define PyBUF_SIMPLE 0
#define PyBUF_WRITABLE 0x0001
#define PyBUF_FORMAT 0x0004
#define PyBUF_ND 0x0008
#define PyBUF_STRIDES (0x0010 | PyBUF_ND)
#define PyBUF_C_CONTIGUOUS (0x0020 | PyBUF_STRIDES)
#define PyBUF_F_CONTIGUOUS (0x0040 | PyBUF_STRIDES)
#endif

/* A method of any arguments: positional ones, then named ones (kwnames). */
#define ARGUMENTS PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames
typedef PyObject *(*fast_method)(PyObject *self, ARGUMENTS);
#define FAST(f) ((PyCFunction)(void (*)(void))(f))

/* ---- Tensor (tensor.c) */
typedef struct py_tensor {
  PyObject_HEAD
  tg_tensor *t;             /* one reference */
  PyObject *weak;
  struct py_tensor *grad;   /* the object that shows t's gradient, or NULL; borrowed */
  struct py_tensor *owner;  /* whose `grad` this is; borrowed */
  struct py_tensor **before, *after; /* in the list of its thread's results */
} py_tensor;
/* Results that Python holds, that need a gradient and wait to be computed: at most
 * `room` into `out`. Returns how many. What a training step computes anyway. */
int64_t py_waiting(tg_tensor **out, int64_t room);
extern PyTypeObject *py_tensor_type;
static inline bool py_is_tensor(PyObject *o) { return PyObject_TypeCheck(o, py_tensor_type); }
static inline tg_tensor *py_t(PyObject *o) { return ((py_tensor *)(void *)o)->t; }
/* A new object for `t`, a result in the current scope. NULL: raises. */
PyObject *py_wrap(tg_tensor *t);
PyObject *py_wrap_as(PyTypeObject *type, tg_tensor *t); /* of a subclass */
/* The same; when `t` is self's tensor, self. */
PyObject *py_wrap_or(PyObject *self, tg_tensor *t);
int py_make_tensor_type(PyObject *module);

/* ---- arguments, failures (convert.c) */
extern PyObject *py_error, *py_type_error; /* teenygrad.Error, teenygrad.ArgumentError */
/* Raises what the library's failure says. Returns NULL. */
PyObject *py_raise(void);
bool py_raised(void); /* the same, if there is a failure */
PyObject *py_status(int status); /* None, or raises */

/* Names of parameters; "*" before a name: the positional rest goes into a tuple
 * there. `required` count from the front. out[i]: NULL when left out. */
typedef struct py_signature {
  const char *call;
  int required;
  const char *const *names; /* ends with NULL */
} py_signature;
#define PY_MAX_ARGS 12
bool py_parse(const py_signature *s, ARGUMENTS, PyObject **out);
#define PY_PARSE(call, required, ...)                                            \
  static const char *const names_[] = {__VA_ARGS__, NULL};                       \
  static const py_signature signature_ = {call, required, names_};               \
  PyObject *a[PY_MAX_ARGS] = {NULL};                                             \
  if (!py_parse(&signature_, args, nargs, kwnames, a)) return NULL

/* Each converts `o` (NULL or, where it says so, None: leaves *out as it is) and
 * raises naming `what` when it cannot. */
bool py_int(PyObject *o, const char *what, int64_t *out);
bool py_small(PyObject *o, const char *what, int *out);
bool py_double(PyObject *o, const char *what, double *out);
bool py_number_of(tg_tensor *t, double *out); /* the number of a tensor; raises */
bool py_bool(PyObject *o, const char *what, bool *out);
bool py_ints(PyObject *o, const char *what, tg_ints *out);       /* an int or a sequence; None */
bool py_shape(PyObject *o, const char *what, tg_shape *out);     /* (2, 3) or ((2, 3),) */
bool py_pairs(PyObject *o, const tg_tensor *x, const char *what, tg_ints *out); /* ((a, b), None) */
bool py_dtype(PyObject *o, tg_dtype *out);                       /* None */
bool py_device(PyObject *o, const char **out, PyObject **keep);  /* None */
bool py_grad_mode(PyObject *o, tg_grad_mode *out);               /* None: unset */
PyObject *py_shape_tuple(const int64_t *dim, int count);
PyObject *py_dtype_object(tg_dtype dtype);
PyObject *py_register_dtypes(PyObject *module, PyObject *list);
int py_make_errors(PyObject *module);

/* An operand: a tensor as it is; a number as a constant that takes the dtype of
 * `like`; an array or list as a tensor of it. `own` is released after the call. */
typedef struct py_operand {
  tg_tensor *t, *own;
} py_operand;
bool py_operand_of(PyObject *o, const tg_tensor *like, py_operand *out); /* false: see below */
void py_operand_done(py_operand *operand);
/* A tensor, or an array or list made into one like `like`; None: NULL. */
bool py_tensor_of(PyObject *o, const tg_tensor *like, const char *what, py_operand *out);

/* ---- creation (create.c) */
/* Tensor(data): an owned tensor, or NULL and an exception. `dtype`, `device` may be
 * unset. copy: 1 always, 0 where memory may still be written too, -1 only then. */
tg_tensor *py_from_data(PyObject *data, tg_dtype dtype, const char *device, int copy);
tg_tensor *py_from_index_list(PyObject *data);
PyObject *py_numpy(const char *function); /* numpy.function, borrowed */
extern PyMethodDef py_creation_methods[];

/* ---- the other files */
extern PyMethodDef py_tensor_methods[];               /* methods.c */
PyObject *py_getitem(PyObject *self, PyObject *key);  /* index.c */
int py_setitem(PyObject *self, PyObject *key, PyObject *value);
PyObject *py_item_at(PyObject *self, Py_ssize_t i);
extern PyMethodDef py_share_methods[];                /* share.c */
extern PyGetSetDef py_share_getset[];
int py_getbuffer(PyObject *self, Py_buffer *view, int flags);
void py_releasebuffer(PyObject *self, Py_buffer *view);
PyObject *py_from_dlpack(PyObject *module, ARGUMENTS);
PyObject *py_apply(PyObject *module, PyObject *args); /* function.c */
PyObject *py_deepwalk(PyObject *self, PyObject *unused);
extern int64_t py_live_functions;
int py_make_optimizer_type(PyObject *module);         /* optim.c */

#endif
