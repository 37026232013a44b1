/* tensor: the type Tensor: its life, its operators, its class attributes.
 *
 * An object holds one reference of a tg_tensor. Every call of the library leaves
 * its result in the root scope of the thread; py_wrap takes it out of there. What
 * a result was computed from is kept by the graph, not by Python.
 *
 * training, no_grad and default_type are attributes of the class, as in
 * teenygrad; reading and writing them asks the library, which has them per
 * thread. So the class has a class of its own (a metaclass) with these
 * properties. A thread begins with what the main thread has set last.
 *
 * Garbage in cycles: a Function written in Python (function.c) is kept by the
 * tensor it made, inside the library, where Python's collector cannot look. So
 * Tensor's traverse asks the library which Functions only this tensor keeps.
 */
#include "py.h"

PyTypeObject *py_tensor_type;

/* ---- the modes of a thread */

static struct {
  bool training, no_grad, set;
  tg_dtype dtype;
} main_modes; /* what threads begin with */
static unsigned long main_thread;
static _Thread_local bool known;

static void join_modes(void) {
  known = true;
  if (!main_modes.set || PyThread_get_thread_ident() == main_thread) return;
  tg_set_training(main_modes.training);
  tg_set_no_grad(main_modes.no_grad);
  tg_set_default_dtype(main_modes.dtype);
}

static void modes_changed(void) {
  known = true;
  if (PyThread_get_thread_ident() != main_thread) return;
  main_modes.training = tg_training();
  main_modes.no_grad = tg_no_grad();
  main_modes.dtype = tg_default_dtype();
  main_modes.set = true;
}

static PyObject *meta_training(PyObject *self, void *unused) {
  (void)self, (void)unused;
  if (!known) join_modes();
  return PyBool_FromLong(tg_training());
}

static PyObject *meta_no_grad(PyObject *self, void *unused) {
  (void)self, (void)unused;
  if (!known) join_modes();
  return PyBool_FromLong(tg_no_grad());
}

static PyObject *meta_default_type(PyObject *self, void *unused) {
  (void)self, (void)unused;
  if (!known) join_modes();
  return py_dtype_object(tg_default_dtype());
}

static int need_value(PyObject *value, const char *name) {
  if (value) return 0;
  PyErr_Format(PyExc_AttributeError, "Tensor.%s cannot be deleted", name);
  return -1;
}

static int meta_set_training(PyObject *self, PyObject *value, void *unused) {
  (void)self, (void)unused;
  bool on = false;
  if (need_value(value, "training") < 0 || !py_bool(value, "training", &on)) return -1;
  if (!known) join_modes();
  tg_set_training(on);
  modes_changed();
  return 0;
}

static int meta_set_no_grad(PyObject *self, PyObject *value, void *unused) {
  (void)self, (void)unused;
  bool on = false;
  if (need_value(value, "no_grad") < 0 || !py_bool(value, "no_grad", &on)) return -1;
  if (!known) join_modes();
  tg_set_no_grad(on);
  modes_changed();
  return 0;
}

static int meta_set_default_type(PyObject *self, PyObject *value, void *unused) {
  (void)self, (void)unused;
  tg_dtype dtype = TG_DEFAULT_DTYPE;
  if (need_value(value, "default_type") < 0 || !py_dtype(value, &dtype)) return -1;
  if (!known) join_modes();
  if (tg_set_default_dtype(dtype) < 0) {
    py_raise();
    return -1;
  }
  modes_changed();
  return 0;
}

static PyGetSetDef meta_getset[] = {
    {"training", meta_training, meta_set_training, "Dropout acts only while this is True.", NULL},
    {"no_grad", meta_no_grad, meta_set_no_grad,
     "While True, results do not remember how they were made.", NULL},
    {"default_type", meta_default_type, meta_set_default_type,
     "The dtype of new float tensors: dtypes.float32 unless set.", NULL},
    {NULL, NULL, NULL, NULL, NULL}};

/* ---- the results of a thread that wait for a gradient
 *
 * In teenygrad out and loss have values when the optimizer has made its step. Here
 * nothing has asked for them; asked later, they would be computed a second time.
 * So the step computes along what Python still holds. */

static py_tensor **first_waiting(void) {
  static _Thread_local py_tensor **first; /* outlives the thread: tensors point to it */
  if (!first) first = PyMem_Calloc(1, sizeof *first);
  return first;
}

static void wait_begin(py_tensor *self) {
  py_tensor **first = first_waiting();
  if (!first) return;
  self->before = first;
  self->after = *first;
  if (self->after) self->after->before = &self->after;
  *first = self;
}

static void wait_end(py_tensor *self) {
  if (!self->before) return;
  *self->before = self->after;
  if (self->after) self->after->before = self->before;
  self->before = NULL;
  self->after = NULL;
}

int64_t py_waiting(tg_tensor **out, int64_t room) {
  py_tensor **first = first_waiting();
  int64_t count = 0;
  for (py_tensor *next = NULL, *t = first ? *first : NULL; t && count < room; t = next) {
    next = t->after;
    if (tg_is_realized(t->t)) wait_end(t);
    else out[count++] = t->t;
  }
  return count;
}

/* ---- objects */

/* What Python sees has a gradient after backward, leaf or not, as in teenygrad. */
PyObject *py_wrap_as(PyTypeObject *type, tg_tensor *t) {
  if (!t) return py_raise();
  py_tensor *self = (py_tensor *)(void *)PyType_GenericAlloc(type, 0);
  if (!self) return NULL;
  self->t = tg_take_ownership(t);
  if (tg_requires_grad(t) != TG_GRAD_YES) return (PyObject *)self;
  wait_begin(self);
  tg_retain_grad(t);
  return (PyObject *)self;
}

PyObject *py_wrap(tg_tensor *t) { return py_wrap_as(py_tensor_type, t); }

PyObject *py_wrap_or(PyObject *self, tg_tensor *t) {
  if (t != py_t(self)) return py_wrap(t);
  Py_INCREF(self);
  return self;
}

static PyObject *tensor_new(PyTypeObject *type, PyObject *args, PyObject *named) {
  static char *names[] = {"data", "device", "dtype", "requires_grad", NULL};
  PyObject *data = NULL, *device_name = NULL, *dtype_object = NULL, *mode_object = NULL;
  if (!PyArg_ParseTupleAndKeywords(args, named, "O|OOO:Tensor", names, &data, &device_name,
                                   &dtype_object, &mode_object))
    return NULL;
  if (!known) join_modes();
  const char *device = NULL;
  PyObject *keep = NULL;
  tg_dtype dtype = TG_DEFAULT_DTYPE;
  tg_grad_mode mode = TG_GRAD_UNSET;
  if (!py_dtype(dtype_object, &dtype) || !py_grad_mode(mode_object, &mode) ||
      !py_device(device_name, &device, &keep))
    return NULL;
  tg_tensor *t = py_from_data(data, dtype, device, -1);
  if (!t) return NULL;
  py_tensor *self = NULL;
  if (mode == TG_GRAD_UNSET || tg_set_requires_grad(t, mode))
    self = (py_tensor *)(void *)PyType_GenericAlloc(type, 0);
  else
    py_raise();
  if (self) self->t = t;
  else tg_release(t);
  return (PyObject *)self;
}

/* What tp_new took, tp_init must take too: subclasses call super().__init__(data). */
static int tensor_init(PyObject *self, PyObject *args, PyObject *named) {
  (void)self, (void)args, (void)named;
  return 0;
}

typedef struct visit_call {
  visitproc visit;
  void *arg;
  int result;
} visit_call;

static void visit_user(void *user, void *arg) {
  visit_call *call = arg;
  if (call->result == 0 && user) call->result = call->visit(user, call->arg);
}

static int tensor_traverse(PyObject *o, visitproc visit, void *arg) {
  py_tensor *self = (py_tensor *)(void *)o;
#if PY_VERSION_HEX >= 0x03090000
  Py_VISIT(Py_TYPE(o));
#endif
  if (!py_live_functions || !self->t) return 0;
  visit_call call = {visit, arg, 0};
  tg_visit_users(self->t, visit_user, &call);
  return call.result;
}

static void unlink_gradient(py_tensor *self) {
  if (self->grad) self->grad->owner = NULL;
  if (self->owner) self->owner->grad = NULL;
  self->grad = self->owner = NULL;
}

static void tensor_dealloc(PyObject *o) {
  py_tensor *self = (py_tensor *)(void *)o;
  PyTypeObject *type = Py_TYPE(o);
  PyObject_GC_UnTrack(o);
  if (self->weak) PyObject_ClearWeakRefs(o);
  unlink_gradient(self);
  wait_end(self);
  tg_release(self->t);
  self->t = NULL;
  freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
  release(o);
  Py_DECREF(type);
}

static Py_hash_t tensor_hash(PyObject *o) { return (Py_hash_t)((uintptr_t)o >> 4); }

/* ---- operators: binary ones get (tensor, other) or (other, tensor) */

typedef tg_tensor *(*binary_call)(tg_tensor *a, tg_tensor *b);

static PyObject *binary(PyObject *a, PyObject *b, binary_call f) {
  if (!known) join_modes();
  if (py_is_tensor(a) && py_is_tensor(b)) return py_wrap(f(py_t(a), py_t(b)));
  bool left = py_is_tensor(a);
  PyObject *self = left ? a : b;
  py_operand other;
  if (!py_operand_of(left ? b : a, py_t(self), &other)) {
    if (PyErr_Occurred()) return NULL;
    Py_RETURN_NOTIMPLEMENTED;
  }
  tg_tensor *t = left ? f(py_t(self), other.t) : f(other.t, py_t(self));
  PyObject *result = py_wrap_or(self, t);
  py_operand_done(&other);
  return result;
}

#define OPERATOR(name, call) \
  static PyObject *op_##name(PyObject *a, PyObject *b) { return binary(a, b, (call)); }
OPERATOR(add, (tg_add))
OPERATOR(sub, (tg_sub))
OPERATOR(mul, (tg_mul))
OPERATOR(div, (tg_div))
OPERATOR(matmul, tg_matmul)

static PyObject *op_pow(PyObject *a, PyObject *b, PyObject *modulus) {
  if (modulus == Py_None) return binary(a, b, (tg_pow));
  PyErr_SetString(PyExc_TypeError, "pow() of tensors takes no modulus");
  return NULL;
}

static PyObject *op_neg(PyObject *a) { return py_wrap(tg_neg(py_t(a))); }
static PyObject *op_abs(PyObject *a) { return py_wrap(tg_abs(py_t(a))); }
static PyObject *op_pos(PyObject *a) {
  Py_INCREF(a);
  return a;
}

static PyObject *op_float(PyObject *a) {
  double value = 0;
  return py_number_of(py_t(a), &value) ? PyFloat_FromDouble(value) : NULL;
}

static PyObject *op_int(PyObject *a) {
  PyObject *value = PyObject_CallMethod(a, "item", NULL);
  PyObject *whole = value ? PyNumber_Long(value) : NULL;
  Py_XDECREF(value);
  return whole;
}

static PyObject *op_index(PyObject *a) {
  if (!tg_is_floating_point(py_t(a)) && tg_numel(py_t(a)) == 1) return op_int(a);
  PyErr_SetString(PyExc_TypeError, "only integer tensors of a single element can be an index");
  return NULL;
}

/* self op= x is self.assign(self op x), as in teenygrad. */
static PyObject *in_place(PyObject *self, PyObject *result) {
  if (!result || result == Py_NotImplemented || result == self) return result;
  PyObject *assigned = PyObject_CallMethod(self, "assign", "O", result);
  Py_DECREF(result);
  return assigned;
}
#define IN_PLACE(name) \
  static PyObject *op_i##name(PyObject *a, PyObject *b) { return in_place(a, op_##name(a, b)); }
IN_PLACE(add)
IN_PLACE(sub)
IN_PLACE(mul)
IN_PLACE(div)
IN_PLACE(matmul)
static PyObject *op_ipow(PyObject *a, PyObject *b, PyObject *modulus) {
  return in_place(a, op_pow(a, b, modulus));
}

static PyObject *tensor_compare(PyObject *a, PyObject *b, int how) {
  switch (how) {
    case Py_LT: return binary(a, b, (tg_lt));
    case Py_LE: return binary(a, b, (tg_le));
    case Py_EQ: return binary(a, b, (tg_eq));
    case Py_NE: return binary(a, b, (tg_ne));
    case Py_GT: return binary(a, b, (tg_gt));
    case Py_GE: return binary(a, b, (tg_ge));
    default: Py_RETURN_NOTIMPLEMENTED;
  }
}

/* ---- properties */

static PyObject *get_shape(PyObject *self, void *unused) {
  (void)unused;
  tg_shape shape = tg_shape_of(py_t(self));
  return py_shape_tuple(shape.dim, shape.ndim);
}

static PyObject *get_dtype(PyObject *self, void *unused) {
  (void)unused;
  return py_dtype_object(tg_dtype_of(py_t(self)));
}

static PyObject *get_device(PyObject *self, void *unused) {
  (void)unused;
  return PyUnicode_FromString(tg_device(py_t(self)));
}

static PyObject *get_ndim(PyObject *self, void *unused) {
  (void)unused;
  return PyLong_FromLong(tg_ndim(py_t(self)));
}

static PyObject *get_T(PyObject *self, void *unused) {
  (void)unused;
  return py_wrap(tg_T(py_t(self)));
}

static PyObject *get_requires_grad(PyObject *self, void *unused) {
  (void)unused;
  tg_grad_mode mode = tg_requires_grad(py_t(self));
  if (mode == TG_GRAD_UNSET) Py_RETURN_NONE;
  return PyBool_FromLong(mode == TG_GRAD_YES);
}

static int set_requires_grad(PyObject *self, PyObject *value, void *unused) {
  (void)unused;
  tg_grad_mode mode = TG_GRAD_UNSET;
  if (need_value(value, "requires_grad") < 0 || !py_grad_mode(value, &mode)) return -1;
  if (tg_set_requires_grad(py_t(self), mode)) return 0;
  py_raise();
  return -1;
}

/* One object per gradient while anybody holds it: t.grad is t.grad. */
static PyObject *get_grad(PyObject *o, void *unused) {
  (void)unused;
  py_tensor *self = (py_tensor *)(void *)o;
  tg_tensor *grad = tg_grad(self->t);
  if (!grad) Py_RETURN_NONE;
  if (self->grad && self->grad->t == grad) {
    Py_INCREF(self->grad);
    return (PyObject *)self->grad;
  }
  PyObject *object = py_wrap(grad);
  if (!object) return NULL;
  if (self->grad) self->grad->owner = NULL;
  self->grad = (py_tensor *)(void *)object;
  self->grad->owner = self;
  return object;
}

static int set_grad(PyObject *self, PyObject *value, void *unused) {
  (void)unused;
  if (!value || value == Py_None) return tg_set_grad(py_t(self), NULL) ? 0 : (py_raise(), -1);
  if (!py_is_tensor(value)) {
    PyErr_Format(py_type_error, "grad must be a Tensor or None, not %R", value);
    return -1;
  }
  return tg_set_grad(py_t(self), py_t(value)) ? 0 : (py_raise(), -1);
}

static PyObject *get_name(PyObject *self, void *unused) {
  (void)unused;
  const char *name = tg_name(py_t(self));
  if (!name) Py_RETURN_NONE;
  return PyUnicode_FromString(name);
}

static int set_name(PyObject *self, PyObject *value, void *unused) {
  (void)unused;
  if (!value || value == Py_None) return tg_set_name(py_t(self), NULL) ? 0 : (py_raise(), -1);
  const char *text = PyUnicode_Check(value) ? PyUnicode_AsUTF8AndSize(value, NULL) : NULL;
  if (text) return tg_set_name(py_t(self), text) ? 0 : (py_raise(), -1);
  if (!PyErr_Occurred()) PyErr_Format(py_type_error, "name must be a str, not %R", value);
  return -1;
}

static PyObject *get_is_realized(PyObject *self, void *unused) {
  (void)unused;
  return PyBool_FromLong(tg_is_realized(py_t(self)));
}

static PyGetSetDef tensor_getset[] = {
    {"shape", get_shape, NULL, "The sizes of the axes, a tuple.", NULL},
    {"dtype", get_dtype, NULL, "The element type, one of helpers.dtypes.", NULL},
    {"device", get_device, NULL, "The name of the device.", NULL},
    {"ndim", get_ndim, NULL, "How many axes there are.", NULL},
    {"T", get_T, NULL, "The first two axes swapped.", NULL},
    {"requires_grad", get_requires_grad, set_requires_grad,
     "True, False, or None: unset; an optimizer turns None into True.", NULL},
    {"grad", get_grad, set_grad, "The gradient that backward() left, or None.", NULL},
    {"name", get_name, set_name, "The name that messages and repr show, or None.", NULL},
    {"is_realized", get_is_realized, NULL, "Whether the elements have been computed.", NULL},
    {"training", meta_training, NULL, "Tensor.training.", NULL}, /* x.training, too */
    {"no_grad", meta_no_grad, NULL, "Tensor.no_grad.", NULL},
    {"default_type", meta_default_type, NULL, "Tensor.default_type.", NULL},
    {NULL, NULL, NULL, NULL, NULL}};

/* ---- repr */

static PyObject *tensor_repr(PyObject *self) {
  tg_tensor *t = py_t(self);
  tg_tensor *value = tg_take_ownership(tg_detach(t)); /* stays what it is meanwhile */
  char text[2000];
  int64_t length = value ? tg_to_string(value, text, sizeof text) : -1;
  if (value) tg_release(value);
  if (length < 0 && tg_failure_kind() == TG_FAILURE_INTERRUPTED) return py_raise();
  const char *message = length < 0 ? tg_error() : NULL;
  PyObject *shape = get_shape(self, NULL);
  if (!shape) return NULL;
  const char *elements = "?";
  if (length >= 0) {
    const char *colon = NULL;
    for (const char *p = text; *p && !colon; p++)
      if (p[0] == ':' && p[1] == ' ') colon = p;
    if (colon) elements = colon + 2;
  }
  const char *name = tg_name(t), *dtype = tg_dtype_name(tg_dtype_of(t));
  PyObject *out = PyUnicode_FromFormat(
      "<Tensor %s%s%S %s on %s%s%s: %s%s>", name ? name : "", name ? " " : "", shape, dtype,
      tg_device(t), tg_requires_grad(t) == TG_GRAD_YES ? " requires_grad" : "",
      tg_grad(t) ? " with grad" : "", message ? message : elements,
      length >= (int64_t)sizeof text ? " ..." : "");
  Py_DECREF(shape);
  return out;
}

/* ---- the types */

static const char tensor_doc[] =
    "Tensor(data, device=None, dtype=None, requires_grad=None)\n--\n\n"
    "A tensor: a handle on a lazy graph. Operations record what to compute; numpy(), item(), "
    "realize() and an optimizer's step() make it run.\n\n"
    "data: None (no element), a number, nested lists of numbers, a numpy array or anything with "
    "the buffer protocol, bytes (uint8). Lists and numbers have Tensor.default_type unless dtype "
    "says otherwise; arrays keep theirs. Memory that may still be written to is copied.";

static PyMemberDef tensor_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(py_tensor, weak), READONLY, NULL},
    {NULL, 0, 0, 0, NULL}};

#define SLOT(id, f) {id, (void *)(f)}
static PyType_Slot tensor_slots[] = {
    {Py_tp_doc, (void *)(uintptr_t)tensor_doc},
    SLOT(Py_tp_new, tensor_new), SLOT(Py_tp_init, tensor_init),
    SLOT(Py_tp_dealloc, tensor_dealloc), SLOT(Py_tp_traverse, tensor_traverse),
    SLOT(Py_tp_hash, tensor_hash), SLOT(Py_tp_repr, tensor_repr),
    SLOT(Py_tp_richcompare, tensor_compare), SLOT(Py_tp_members, tensor_members),
    SLOT(Py_nb_add, op_add), SLOT(Py_nb_subtract, op_sub), SLOT(Py_nb_multiply, op_mul),
    SLOT(Py_nb_true_divide, op_div), SLOT(Py_nb_power, op_pow),
    SLOT(Py_nb_matrix_multiply, op_matmul), SLOT(Py_nb_negative, op_neg),
    SLOT(Py_nb_absolute, op_abs), SLOT(Py_nb_positive, op_pos), SLOT(Py_nb_float, op_float),
    SLOT(Py_nb_int, op_int), SLOT(Py_nb_index, op_index),
    SLOT(Py_nb_inplace_add, op_iadd), SLOT(Py_nb_inplace_subtract, op_isub),
    SLOT(Py_nb_inplace_multiply, op_imul), SLOT(Py_nb_inplace_true_divide, op_idiv),
    SLOT(Py_nb_inplace_power, op_ipow), SLOT(Py_nb_inplace_matrix_multiply, op_imatmul),
    SLOT(Py_mp_subscript, py_getitem), SLOT(Py_mp_ass_subscript, py_setitem),
    SLOT(Py_sq_item, py_item_at), SLOT(Py_bf_getbuffer, py_getbuffer),
    SLOT(Py_bf_releasebuffer, py_releasebuffer),
    {Py_tp_methods, NULL}, {Py_tp_getset, NULL}, {0, NULL}};

static PyType_Spec tensor_spec = {"teenygrad.Tensor", sizeof(py_tensor), 0,
                                  Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
                                  tensor_slots};

static PyType_Slot meta_slots[] = {{Py_tp_getset, meta_getset}, {0, NULL}};
static PyType_Spec meta_spec = {"teenygrad.TensorType", 0, 0,
                                Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, meta_slots};

static Py_ssize_t length_of(const PyMethodDef *list) {
  Py_ssize_t n = 0;
  while (list[n].ml_name) n++;
  return n;
}

/* All methods in one table. Types point to it as long as they live. */
static PyMethodDef *all_methods(void) {
  const PyMethodDef *parts[] = {py_tensor_methods, py_creation_methods, py_share_methods};
  Py_ssize_t count = 1, at = 0;
  for (int i = 0; i < 3; i++) count += length_of(parts[i]);
  PyMethodDef *all = PyMem_Calloc((size_t)count, sizeof *all);
  for (int i = 0; all && i < 3; i++)
    for (Py_ssize_t k = 0; parts[i][k].ml_name; k++) all[at++] = parts[i][k];
  if (!all) PyErr_NoMemory();
  return all;
}

static PyGetSetDef *all_getset(void) {
  static PyGetSetDef all[32];
  int at = 0;
  for (int i = 0; tensor_getset[i].name; i++) all[at++] = tensor_getset[i];
  for (int i = 0; py_share_getset[i].name; i++) all[at++] = py_share_getset[i];
  return all;
}

static void set_slot(int id, void *value) {
  for (PyType_Slot *s = tensor_slots; s->slot; s++)
    if (s->slot == id) s->pfunc = value;
}

int py_make_tensor_type(PyObject *module) {
  main_thread = PyThread_get_thread_ident();
  PyMethodDef *methods = all_methods();
  if (!methods) return -1;
  set_slot(Py_tp_methods, methods);
  set_slot(Py_tp_getset, all_getset());
  PyObject *bases = PyTuple_Pack(1, (PyObject *)&PyType_Type);
  PyObject *meta = bases ? PyType_FromSpecWithBases(&meta_spec, bases) : NULL;
  Py_XDECREF(bases);
  PyObject *type = meta ? PyType_FromSpec(&tensor_spec) : NULL;
  if (!type) return -1;
  ((PyObject *)type)->ob_type = (PyTypeObject *)(void *)meta; /* the class's class */
  py_tensor_type = (PyTypeObject *)(void *)type;
  Py_INCREF(type);
  return PyModule_AddObject(module, "Tensor", type);
}
