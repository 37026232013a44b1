/* index: x[...] and x[...] = value. Each position of the key becomes one
 * tg_index_item; what the positions mean together is the library's business
 * (PyTorch's rules).
 *
 * A float tensor as an index is truncated: in teenygrad Tensor([0, 2]) is one. A
 * list or numpy array of floats is refused, as numpy and PyTorch do.
 */
#include <string.h>

#include "py.h"

enum { MOST_ITEMS = 2 * TG_MAX_DIMS };

typedef struct index_key {
  const char *device; /* of the tensor; what is no tensor goes there */
  tg_index_item items[MOST_ITEMS];
  tg_tensor *own[MOST_ITEMS];
  int count, owned;
} index_key;

static void key_done(index_key *key) {
  for (int i = 0; i < key->owned; i++) tg_release(key->own[i]);
}

static bool key_tensor(index_key *key, tg_tensor *by, bool owned) {
  if (!by) return false;
  if (owned) key->own[key->owned++] = by;
  key->items[key->count++] = TG_BY(by);
  return true;
}

static bool slice_bound(PyObject *slice, const char *name, int64_t *out) {
  PyObject *o = PyObject_GetAttrString(slice, name);
  if (!o) return false;
  *out = TG_NONE;
  bool fine = true;
  if (o != Py_None) {
    PyObject *whole = PyNumber_Index(o);
    int overflow = 0;
    if (whole) *out = PyLong_AsLongLongAndOverflow(whole, &overflow);
    if (overflow) *out = overflow < 0 ? -INT64_MAX : INT64_MAX;
    fine = whole != NULL;
    Py_XDECREF(whole);
  }
  Py_DECREF(o);
  return fine;
}

static bool key_slice(index_key *key, PyObject *slice) {
  int64_t start, stop, step;
  if (!slice_bound(slice, "start", &start) || !slice_bound(slice, "stop", &stop) ||
      !slice_bound(slice, "step", &step))
    return false;
  if (step == 0) {
    PyErr_SetString(PyExc_ValueError, "slice step cannot be zero");
    return false;
  }
  key->items[key->count++] = TG_RANGE(start, stop, step == TG_NONE ? 1 : step);
  return true;
}

static bool key_int(index_key *key, PyObject *o) {
  int64_t at = 0;
  PyObject *whole = PyNumber_Index(o);
  int overflow = 0;
  if (whole) at = PyLong_AsLongLongAndOverflow(whole, &overflow);
  Py_XDECREF(whole);
  if (overflow) PyErr_SetString(PyExc_IndexError, "an index does not fit into 64 bits");
  if (PyErr_Occurred()) return false;
  key->items[key->count++] = TG_AT(at);
  return true;
}

static bool is_list(PyObject *o) {
  return PyList_Check(o) || PyTuple_Check(o) || Py_TYPE(o) == &PyRange_Type;
}

/* A list, tuple, range or array: a tensor of integers or bools. */
static bool key_array(index_key *key, PyObject *o) {
  tg_tensor *by = is_list(o) ? py_from_index_list(o) : py_from_data(o, TG_DEFAULT_DTYPE, NULL, 1);
  if (!by) return false;
  if (strcmp(tg_device(by), key->device)) {
    tg_tensor *there = tg_take_ownership(tg_to(by, key->device));
    tg_release(by);
    if (!(by = there)) return py_raise() != NULL;
  }
  if (tg_is_floating_point(by)) {
    tg_release(by);
    PyErr_SetString(PyExc_IndexError,
                    "arrays used as indices must be of integer (or boolean) type");
    return false;
  }
  return key_tensor(key, by, true);
}

/* A lone bool: a mask of no axes. */
static bool key_bool(index_key *key, bool yes) {
  tg_tensor *by = tg_take_ownership(tg_scalar(yes, .dtype = TG_BOOL, .device = key->device));
  return key_tensor(key, by, true) || py_raise();
}

static bool key_item(index_key *key, PyObject *o) {
  if (key->count >= MOST_ITEMS) {
    PyErr_SetString(PyExc_IndexError, "too many indices");
    return false;
  }
  if (o == Py_None) key->items[key->count++] = TG_NEW_AXIS;
  else if (o == Py_Ellipsis) key->items[key->count++] = TG_REST;
  else if (PySlice_Check(o)) return key_slice(key, o);
  else if (PyBool_Check(o)) return key_bool(key, o == Py_True);
  else if (PyLong_Check(o)) return key_int(key, o);
  else if (py_is_tensor(o) && tg_is_floating_point(py_t(o)))
    return key_tensor(key, tg_take_ownership(tg_cast(py_t(o), TG_INT64)), true) || py_raise();
  else if (py_is_tensor(o)) return key_tensor(key, py_t(o), false);
  else if (is_list(o) || PyObject_HasAttrString(o, "__array__"))
    return key_array(key, o);
  else if (PyIndex_Check(o)) return key_int(key, o);
  else {
    PyErr_Format(PyExc_IndexError, "only integers, slices (`:`), ellipsis (`...`), None and "
                 "integer or bool tensors, arrays and lists are indices, not %R", o);
    return false;
  }
  return true;
}

static bool key_of(PyObject *self, PyObject *o, index_key *key) {
  key->device = tg_device(py_t(self));
  key->count = key->owned = 0;
  if (!PyTuple_Check(o)) return key_item(key, o);
  for (Py_ssize_t i = 0; i < PyTuple_Size(o); i++)
    if (!key_item(key, PyTuple_GetItem(o, i))) return false;
  return true;
}

PyObject *py_getitem(PyObject *self, PyObject *o) {
  index_key key;
  PyObject *result = NULL;
  if (key_of(self, o, &key)) result = py_wrap_or(self, (tg_index)(py_t(self), key.count, key.items));
  key_done(&key);
  return result;
}

PyObject *py_item_at(PyObject *self, Py_ssize_t i) {
  const tg_index_item item = TG_AT(i);
  return py_wrap((tg_index)(py_t(self), 1, &item));
}

int py_setitem(PyObject *self, PyObject *o, PyObject *value) {
  if (!value) {
    PyErr_SetString(PyExc_TypeError, "elements of a tensor cannot be deleted");
    return -1;
  }
  index_key key;
  py_operand operand = {NULL, NULL};
  bool fine = key_of(self, o, &key) && py_tensor_of(value, py_t(self), "the value", &operand);
  if (fine && !operand.t) {
    PyErr_SetString(py_type_error, "the value must be a Tensor or a number, not None");
    fine = false;
  }
  if (fine && !(tg_set_index)(py_t(self), operand.t, key.count, key.items)) {
    py_raise();
    fine = false;
  }
  py_operand_done(&operand);
  key_done(&key);
  return fine ? 0 : -1;
}
