/* convert: Python's arguments to the library's, the library's failures to
 * exceptions.
 *
 * Where PyTorch and teenygrad raise different types for one mistake (a shape that
 * does not fit: RuntimeError there, AssertionError or ValueError here), the
 * exception is all of them: teenygrad.Error and teenygrad.ArgumentError have
 * several bases, so either way to catch it works.
 */
#include <ctype.h>
#include <string.h>

#include "py.h"

PyObject *py_error, *py_type_error;
static PyObject *dtype_objects[TG_DTYPE_COUNT];

/* ---- failures */

static const struct { const char *c, *python; } words[] = {
    {"tg_", ""},
    {"TG_NO_GRAD", "no_grad (Tensor.no_grad = True)"},
    {"TG_REST", "'...'"},
    {".requires_grad = true", "requires_grad=True"}};

/* C writes an option as ".replacement". */
static bool is_option(const char *p, const char *from) {
  return *p == '.' && p > from && p[-1] == ' ' && p[1] >= 'a' && p[1] <= 'z';
}

/* The library's message in Python's names: "tg_sum: ..." is "sum: ...". */
static void python_names(const char *from, char *to, size_t room) {
  size_t n = 0;
  for (const char *p = from; *p && n + 1 < room;) {
    bool start = p == from || !(isalnum((unsigned char)p[-1]) || p[-1] == '_');
    size_t i = 0, count = start ? sizeof words / sizeof words[0] : 0;
    while (i < count && strncmp(p, words[i].c, strlen(words[i].c))) i++;
    if (i < count) {
      for (const char *q = words[i].python; *q && n + 1 < room;) to[n++] = *q++;
      p += strlen(words[i].c);
    } else {
      p += is_option(p, from);
      to[n++] = *p++;
    }
  }
  to[n] = 0;
}

static PyObject *type_of_failure(tg_failure kind) {
  switch (kind) {
    case TG_FAILURE_INDEX: return PyExc_IndexError;
    case TG_FAILURE_MEMORY: return PyExc_MemoryError;
    case TG_FAILURE_INTERRUPTED: return PyExc_KeyboardInterrupt;
    case TG_FAILURE_NONE: case TG_FAILURE_ARGUMENT: break;
  }
  return py_error;
}

/* Adds a note to the exception that is set: Python 3.11 shows it below the message. */
static void add_note(const char *note, size_t length) {
  PyObject *type, *error, *traceback;
  PyErr_Fetch(&type, &error, &traceback);
  PyErr_NormalizeException(&type, &error, &traceback);
  PyObject *notes = Py_BuildValue("[s#]", note, (Py_ssize_t)length);
  if (!notes || !error || PyObject_SetAttrString(error, "__notes__", notes) < 0) PyErr_Clear();
  Py_XDECREF(notes);
  PyErr_Restore(type, error, traceback);
}

/* An axis out of range has PyTorch's message to the letter, which teenygrad's tests ask
 * for; where it happened ("sum: axis 5 of shape (2, 3)") becomes a note. */
static void set_failure(PyObject *type, const char *text) {
  const char *words = type == PyExc_IndexError ? strstr(text, ": Dimension out of range") : NULL;
  PyErr_SetString(type, words ? words + 2 : text);
  if (words) add_note(text, (size_t)(words - text));
}

bool py_raised(void) {
  tg_failure kind = tg_failure_kind();
  const char *message = tg_error();
  if (!message || PyErr_Occurred()) return message || PyErr_Occurred();
  char text[1200];
  python_names(message, text, sizeof text);
  set_failure(type_of_failure(kind), text);
  return true;
}

PyObject *py_raise(void) {
  if (!py_raised()) PyErr_SetString(PyExc_SystemError, "the library failed without a message");
  return NULL;
}

PyObject *py_status(int status) {
  if (status < 0) return py_raise();
  Py_RETURN_NONE;
}

static PyObject *add_error(PyObject *module, const char *name, const char *doc, PyObject *bases) {
  char full[64];
  PyOS_snprintf(full, sizeof full, "teenygrad.%s", name);
  PyObject *type = bases ? PyErr_NewExceptionWithDoc(full, doc, bases, NULL) : NULL;
  Py_XDECREF(bases);
  if (!type) return NULL;
  Py_INCREF(type);
  if (PyModule_AddObject(module, name, type) == 0) return type;
  Py_DECREF(type);
  return NULL;
}

int py_make_errors(PyObject *module) {
  py_error = add_error(module, "Error", "A value or a shape does not fit. PyTorch raises "
                       "RuntimeError, teenygrad AssertionError or ValueError: this is all three.",
                       PyTuple_Pack(3, PyExc_RuntimeError, PyExc_AssertionError,
                                    PyExc_ValueError));
  py_type_error = add_error(module, "ArgumentError", "An argument has the wrong type. PyTorch "
                            "raises TypeError, teenygrad RuntimeError or AssertionError: this is "
                            "all three.",
                            PyTuple_Pack(3, PyExc_TypeError, PyExc_RuntimeError,
                                         PyExc_AssertionError));
  return py_error && py_type_error ? 0 : -1;
}

/* ---- arguments by position and name */

static int find_name(const py_signature *s, PyObject *name) {
  for (int i = 0; s->names[i]; i++) {
    const char *text = s->names[i] + (s->names[i][0] == '*');
    if (PyUnicode_CompareWithASCIIString(name, text) == 0) return i;
  }
  PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%U'", s->call, name);
  return -1;
}

/* What py_parse puts in place of a starred name is a new reference; it lives in the
 * thread's list of such tuples, so that callers need not care. */
static PyObject *rest_tuple(PyObject *const *args, Py_ssize_t count) {
  PyObject *tuple = PyTuple_New(count);
  for (Py_ssize_t i = 0; tuple && i < count; i++) {
    Py_INCREF(args[i]);
    PyTuple_SetItem(tuple, i, args[i]);
  }
  return tuple;
}

static bool parse_names(const py_signature *s, PyObject *const *values, PyObject *kwnames,
                        PyObject **out) {
  Py_ssize_t count = kwnames ? PyTuple_Size(kwnames) : 0;
  for (Py_ssize_t i = 0; i < count; i++) {
    int at = find_name(s, PyTuple_GetItem(kwnames, i));
    if (at < 0) return false;
    if (out[at]) {
      PyErr_Format(PyExc_TypeError, "%s() got multiple values for argument '%s'", s->call,
                   s->names[at] + (s->names[at][0] == '*'));
      return false;
    }
    out[at] = values[i];
  }
  return true;
}

bool py_parse(const py_signature *s, ARGUMENTS, PyObject **out) {
  Py_ssize_t i = 0;
  for (; i < nargs && s->names[i] && s->names[i][0] != '*'; i++) out[i] = args[i];
  if (i < nargs && !s->names[i]) {
    PyErr_Format(PyExc_TypeError, "%s() takes at most %zd arguments (%zd given)", s->call, i,
                 nargs);
    return false;
  }
  if (i < nargs && nargs - i == 1 && (PyTuple_Check(args[i]) || PyList_Check(args[i]))) {
    out[i] = args[i];
  } else if (i < nargs) {
    static _Thread_local PyObject *held; /* the starred tuple of this thread's last call */
    PyObject *old = held;
    held = out[i] = rest_tuple(args + i, nargs - i);
    Py_XDECREF(old);
    if (!held) return false;
  }
  if (!parse_names(s, args + nargs, kwnames, out)) return false;
  for (int k = 0; k < s->required; k++) {
    if (out[k]) continue;
    PyErr_Format(PyExc_TypeError, "%s() missing required argument '%s'", s->call,
                 s->names[k] + (s->names[k][0] == '*'));
    return false;
  }
  return true;
}

/* ---- numbers */

bool py_int(PyObject *o, const char *what, int64_t *out) {
  if (!o) return true;
  PyObject *index = PyNumber_Index(o);
  if (!index) {
    if (PyErr_ExceptionMatches(PyExc_TypeError))
      PyErr_Format(py_type_error, "%s must be an int, not %R", what, o);
    return false;
  }
  int overflow = 0;
  *out = PyLong_AsLongLongAndOverflow(index, &overflow);
  Py_DECREF(index);
  if (!overflow) return *out != -1 || !PyErr_Occurred();
  PyErr_Format(PyExc_OverflowError, "%s does not fit into 64 bits", what);
  return false;
}

bool py_small(PyObject *o, const char *what, int *out) {
  int64_t value = *out;
  if (!py_int(o, what, &value)) return false;
  if (value > INT32_MAX) value = INT32_MAX;
  if (value < INT32_MIN) value = INT32_MIN;
  *out = (int)value;
  return true;
}

/* Through a handle of its own: another thread may assign to `t` while it is computed. */
bool py_number_of(tg_tensor *t, double *out) {
  tg_tensor *value = tg_take_ownership(tg_detach(t));
  if (value) *out = tg_item(value);
  bool fine = value ? *out == *out || !py_raised() : py_raise() != NULL;
  tg_release(value);
  return fine;
}

bool py_double(PyObject *o, const char *what, double *out) {
  if (!o) return true;
  if (py_is_tensor(o)) {
    if (tg_numel(py_t(o)) == 1) return py_number_of(py_t(o), out);
    PyErr_Format(py_error, "%s must be a number or a tensor of one element", what);
    return false;
  }
  *out = PyFloat_AsDouble(o);
  if (*out != -1.0 || !PyErr_Occurred()) return true;
  if (PyErr_ExceptionMatches(PyExc_TypeError))
    PyErr_Format(py_type_error, "%s must be a number, not %R", what, o);
  return false;
}

bool py_bool(PyObject *o, const char *what, bool *out) {
  (void)what;
  if (!o) return true;
  int value = PyObject_IsTrue(o);
  *out = value > 0;
  return value >= 0;
}

/* ---- lists of integers */

static bool is_list(PyObject *o) { return PyTuple_Check(o) || PyList_Check(o); }

static bool sequence_ints(PyObject *o, const char *what, tg_ints *out) {
  Py_ssize_t count = PySequence_Size(o);
  if (count < 0) return false;
  if (count > TG_MAX_DIMS) {
    PyErr_Format(py_error, "%s has %zd numbers; a tensor has at most %d dimensions", what, count,
                 TG_MAX_DIMS);
    return false;
  }
  out->ndim = (int32_t)count;
  for (Py_ssize_t i = 0; i < count; i++) {
    PyObject *item = PySequence_GetItem(o, i);
    bool fine = item && py_int(item, what, &out->dim[i]);
    Py_XDECREF(item);
    if (!fine) return false;
  }
  return true;
}

bool py_ints(PyObject *o, const char *what, tg_ints *out) {
  if (!o || o == Py_None) return true;
  if (is_list(o)) return sequence_ints(o, what, out);
  out->ndim = 1;
  return py_int(o, what, &out->dim[0]);
}

static bool shape_of(PyObject *o, const char *what, tg_shape *out) {
  if (is_list(o) && PySequence_Size(o) == 1) {
    PyObject *first = PySequence_GetItem(o, 0);
    bool nested = first && is_list(first);
    bool fine = nested && sequence_ints(first, what, out);
    Py_XDECREF(first);
    if (nested) return fine;
  }
  return py_ints(o, what, out);
}

bool py_shape(PyObject *o, const char *what, tg_shape *out) {
  out->ndim = 0;
  Py_XINCREF(o); /* __index__ may run anything, py_parse too */
  bool fine = !o || shape_of(o, what, out);
  Py_XDECREF(o);
  return fine;
}

static bool pair_of(PyObject *pair, int64_t size, const char *what, int64_t *out) {
  out[0] = 0;
  out[1] = size;
  if (pair == Py_None) return true;
  tg_ints two = {0, {0}};
  if (!is_list(pair) || !sequence_ints(pair, what, &two)) {
    if (!PyErr_Occurred()) PyErr_Format(py_type_error, "%s must hold pairs, not %R", what, pair);
    return false;
  }
  if (two.ndim != 2) {
    PyErr_Format(py_error, "%s must hold pairs, not %R", what, pair);
    return false;
  }
  out[0] = two.dim[0];
  out[1] = two.dim[1];
  return true;
}

/* None stands for the whole axis: (0, size); in a padding for none, size 0. */
bool py_pairs(PyObject *o, const tg_tensor *x, const char *what, tg_ints *out) {
  if (!is_list(o)) {
    PyErr_Format(py_type_error, "%s must be a tuple of pairs, not %R", what, o);
    return false;
  }
  Py_ssize_t count = PySequence_Size(o);
  if (count < 0 || 2 * count > TG_MAX_DIMS) {
    PyErr_Format(py_error, "%s holds %zd pairs; at most %d axes are possible here", what, count,
                 TG_MAX_DIMS / 2);
    return false;
  }
  out->ndim = (int32_t)(2 * count);
  for (int i = 0; i < count; i++) {
    PyObject *pair = PySequence_GetItem(o, i);
    bool fine = pair && pair_of(pair, x ? tg_dim(x, i) : 0, what, &out->dim[2 * i]);
    Py_XDECREF(pair);
    if (!fine) return false;
  }
  return true;
}

PyObject *py_shape_tuple(const int64_t *dim, int count) {
  PyObject *tuple = PyTuple_New(count);
  for (int i = 0; tuple && i < count; i++) {
    PyObject *size = PyLong_FromLongLong(dim[i]);
    if (!size || PyTuple_SetItem(tuple, i, size) < 0) {
      Py_DECREF(tuple);
      return NULL;
    }
  }
  return tuple;
}

/* ---- dtypes, devices, requires_grad */

PyObject *py_register_dtypes(PyObject *module, PyObject *list) {
  (void)module;
  for (int i = 1; i < TG_DTYPE_COUNT; i++) {
    PyObject *object = PySequence_GetItem(list, i - 1);
    if (!object) return NULL;
    Py_XDECREF(dtype_objects[i]);
    dtype_objects[i] = object;
  }
  Py_RETURN_NONE;
}

PyObject *py_dtype_object(tg_dtype dtype) {
  PyObject *object = dtype_objects[dtype];
  if (!object) {
    PyErr_SetString(PyExc_RuntimeError, "the dtypes are not registered; import teenygrad first");
    return NULL;
  }
  Py_INCREF(object);
  return object;
}

bool py_dtype(PyObject *o, tg_dtype *out) {
  if (!o || o == Py_None) return true;
  for (int i = 1; i < TG_DTYPE_COUNT; i++)
    if (o == dtype_objects[i]) {
      *out = (tg_dtype)i;
      return true;
    }
  for (int i = 1; i < TG_DTYPE_COUNT; i++) {
    if (!dtype_objects[i] || Py_TYPE(o) != Py_TYPE(dtype_objects[i])) continue;
    int same = PyObject_RichCompareBool(o, dtype_objects[i], Py_EQ);
    if (same < 0) return false;
    if (!same) continue;
    *out = (tg_dtype)i;
    return true;
  }
  PyErr_Format(py_type_error, "invalid dtype %R; use one of teenygrad.helpers.dtypes", o);
  return false;
}

bool py_device(PyObject *o, const char **out, PyObject **keep) {
  *keep = NULL;
  if (!o || o == Py_None) return true;
  if (!PyUnicode_Check(o)) {
    PyErr_Format(py_type_error, "device must be a str, not %R", o);
    return false;
  }
  PyObject *upper = PyObject_CallMethod(o, "upper", NULL);
  const char *text = upper ? PyUnicode_AsUTF8AndSize(upper, NULL) : NULL;
  *out = NULL;
  for (int i = 0; text && tg_device_name(i); i++)
    if (!strcmp(text, tg_device_name(i))) *out = tg_device_name(i);
  Py_XDECREF(upper);
  if (text && !*out) PyErr_Format(py_error, "there is no device %R; Device._buffers lists them", o);
  return *out != NULL;
}

bool py_grad_mode(PyObject *o, tg_grad_mode *out) {
  if (!o || o == Py_None) return true;
  int value = PyObject_IsTrue(o);
  *out = value ? TG_GRAD_YES : TG_GRAD_NO;
  return value >= 0;
}

/* ---- operands */

static bool own(py_operand *out, tg_tensor *t) {
  out->t = out->own = t;
  return t != NULL;
}

static bool whole_operand(PyObject *o, py_operand *out) {
  int64_t value = 0;
  if (!py_int(o, "an operand", &value)) return false;
  if (own(out, tg_take_ownership(tg_whole(value)))) return true;
  py_raise();
  return false;
}

/* What numpy calls a scalar: has a dtype and no axes. Its Python number, or NULL. */
static PyObject *scalar_item(PyObject *o) {
  PyObject *ndim = PyObject_HasAttrString(o, "dtype") ? PyObject_GetAttrString(o, "ndim") : NULL;
  bool none = ndim && PyLong_Check(ndim) && PyLong_AsLong(ndim) == 0;
  Py_XDECREF(ndim);
  PyErr_Clear();
  return none ? PyObject_CallMethod(o, "item", NULL) : NULL;
}

/* A dtype for the array `o` beside `like`: like's, as teenygrad has it, unless
 * that would cut off fractions. */
static bool array_operand(PyObject *o, const tg_tensor *like, py_operand *out) {
  tg_dtype dtype = tg_is_floating_point(like) ? tg_dtype_of(like) : TG_DEFAULT_DTYPE;
  return own(out, py_from_data(o, dtype, tg_device(like), 1));
}

static bool is_data(PyObject *o) {
  return PyTuple_Check(o) || PyList_Check(o) || PyObject_HasAttrString(o, "__array__") ||
         PyObject_HasAttrString(o, "__array_interface__");
}

/* false without an exception: no operand at all (an operator then tries the other
 * side). */
bool py_operand_of(PyObject *o, const tg_tensor *like, py_operand *out) {
  out->t = out->own = NULL;
  if (py_is_tensor(o)) {
    out->t = py_t(o);
    return true;
  }
  if (PyBool_Check(o) && tg_dtype_of(like) == TG_BOOL) {
    uint8_t bit = o == Py_True;
    if (own(out, tg_take_ownership(tg_from(&bit, TG_SCALAR, .dtype = TG_BOOL,
                                           .device = tg_device(like)))))
      return true;
    py_raise();
    return false;
  }
  if (PyLong_Check(o)) return whole_operand(o, out);
  if (PyFloat_Check(o)) {
    if (own(out, tg_take_ownership(tg_number(PyFloat_AsDouble(o))))) return true;
    py_raise();
    return false;
  }
  if (PyUnicode_Check(o) || PyBytes_Check(o) || !is_data(o)) return false;
  PyObject *item = scalar_item(o);
  if (item) {
    bool fine = !is_data(item) && py_operand_of(item, like, out);
    Py_DECREF(item);
    return fine;
  }
  return !PyErr_Occurred() && array_operand(o, like, out);
}

void py_operand_done(py_operand *operand) {
  if (operand->own) tg_release(operand->own);
}

bool py_tensor_of(PyObject *o, const tg_tensor *like, const char *what, py_operand *out) {
  out->t = out->own = NULL;
  if (!o || o == Py_None) return true;
  if (py_operand_of(o, like, out)) return true;
  if (!PyErr_Occurred()) PyErr_Format(py_type_error, "%s must be a Tensor, not %R", what, o);
  return false;
}
