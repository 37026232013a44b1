/* optim: the library's optimizers as an object, for teenygrad/nn/optim.py. */
#include <string.h>

#include "py.h"

static PyTypeObject *optimizer_type;

typedef struct py_optimizer {
  PyObject_HEAD
  tg_optimizer *o;
  tg_tensor *rate; /* the value of .lr that has been taken over last, or NULL */
} py_optimizer;

static tg_optimizer *optimizer_of(PyObject *self) { return ((py_optimizer *)(void *)self)->o; }

typedef tg_optimizer *(*make_call)(tg_list, const tg_optim_opts *);
static tg_optimizer *make(const char *kind, tg_list list, const tg_optim_opts *opts) {
  static const struct { const char *kind; make_call f; } makers[] = {
      {"sgd", (tg_sgd)}, {"adam", (tg_adam)}, {"adamw", (tg_adamw)}, {"lamb", (tg_lamb)}};
  for (size_t i = 0; i < sizeof makers / sizeof makers[0]; i++)
    if (!strcmp(kind, makers[i].kind)) return tg_take_optimizer(makers[i].f(list, opts));
  return tg_fail("there is no optimizer '%s'", kind);
}

static tg_optimizer *make_from(const char *kind, PyObject *params, const tg_optim_opts *opts) {
  PyObject *tuple = PySequence_Tuple(params);
  Py_ssize_t count = tuple ? PyTuple_Size(tuple) : 0;
  tg_tensor **items = tuple ? PyMem_Malloc((size_t)(count + 1) * sizeof *items) : NULL;
  bool fine = items != NULL;
  for (Py_ssize_t i = 0; fine && i < count; i++) {
    PyObject *o = PyTuple_GetItem(tuple, i);
    if ((fine = py_is_tensor(o))) items[i] = py_t(o);
    else PyErr_Format(py_type_error, "the parameters must be Tensors, not %R", o);
  }
  tg_optimizer *o = fine ? make(kind, (tg_list){count, items}, opts) : NULL;
  if (!o && !PyErr_Occurred()) py_raise();
  PyMem_Free(items);
  Py_XDECREF(tuple);
  return o;
}

static double zero_as_given(double x) { return x == 0 ? TG_ZERO : x; }

/* _Optimizer(kind, params, lr, momentum, weight_decay, nesterov, b1, b2, eps) */
static PyObject *optimizer_new(PyTypeObject *type, PyObject *args, PyObject *named) {
  (void)named;
  const char *kind;
  PyObject *params;
  double lr, momentum, decay, b1, b2, eps;
  int nesterov;
  if (!PyArg_ParseTuple(args, "sOdddpddd", &kind, &params, &lr, &momentum, &decay, &nesterov, &b1,
                        &b2, &eps))
    return NULL;
  tg_optim_opts opts = {.lr = zero_as_given(lr), .momentum = momentum,
                        .weight_decay = zero_as_given(decay), .nesterov = nesterov != 0,
                        .b1 = zero_as_given(b1), .b2 = zero_as_given(b2),
                        .eps = zero_as_given(eps)};
  tg_optimizer *o = make_from(kind, params, &opts);
  if (!o) return NULL;
  py_optimizer *self = (py_optimizer *)(void *)PyType_GenericAlloc(type, 0);
  if (!self) tg_free_optimizer(o);
  else self->o = o;
  return (PyObject *)self;
}

static void optimizer_dealloc(PyObject *self) {
  PyTypeObject *type = Py_TYPE(self);
  tg_tensor *rate = ((py_optimizer *)(void *)self)->rate;
  if (rate) tg_release(rate);
  if (optimizer_of(self)) tg_free_optimizer(optimizer_of(self));
  freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
  release(self);
  Py_DECREF(type);
}

static PyObject *optimizer_step(PyObject *self, PyObject *unused) {
  (void)unused;
  enum { ALONG = 64 };
  tg_tensor *along[ALONG];
  int64_t count = py_waiting(along, ALONG);
  for (int64_t i = 0; i < count; i++) tg_retain(along[i]);
  int status = tg_step_with(optimizer_of(self), (tg_list){count, along});
  for (int64_t i = 0; i < count; i++) tg_release(along[i]);
  if (status == 0 || !count || PyErr_Occurred()) return py_status(status);
  tg_clear_error(); /* perhaps one of them cannot be computed: not the step's fault */
  return py_status(tg_step(optimizer_of(self)));
}

static PyObject *optimizer_zero_grad(PyObject *self, PyObject *unused) {
  (void)unused;
  return py_status(tg_zero_grad(optimizer_of(self)));
}

/* follow(lr, set): the rate becomes that of `lr`, a number or a tensor of one
 * element. A tensor that has not been assigned to since is not read again; with
 * set=False its value is known already. */
static PyObject *optimizer_follow(PyObject *o, PyObject *args) {
  py_optimizer *self = (py_optimizer *)(void *)o;
  PyObject *lr;
  int set;
  double value = 0;
  if (!PyArg_ParseTuple(args, "Op", &lr, &set)) return NULL;
  tg_tensor *now = NULL;
  if (py_is_tensor(lr)) {
    if (tg_numel(py_t(lr)) != 1) {
      PyErr_Format(py_error, "lr must have one element, not %lld", (long long)tg_numel(py_t(lr)));
      return NULL;
    }
    now = tg_take_ownership(tg_detach(py_t(lr)));
    const void *data = now ? tg_data(now) : NULL;
    if (!data) {
      if (now) tg_release(now);
      return py_raise();
    }
    if (self->rate && data == tg_data(self->rate)) {
      tg_release(now);
      Py_RETURN_NONE;
    }
    value = set ? tg_item(now) : 0;
  } else if (!py_double(lr, "lr", &value)) {
    return NULL;
  }
  if (self->rate) tg_release(self->rate);
  self->rate = now;
  if (set && py_raised()) return NULL;
  return py_status(set ? tg_set_lr(self->o, value) : 0);
}

static PyObject *optimizer_state(PyObject *self, PyObject *o) {
  int64_t i = 0;
  if (!py_int(o, "the index", &i)) return NULL;
  tg_tensor *t = tg_optimizer_state(optimizer_of(self), i);
  if (!t) Py_RETURN_NONE;
  return py_wrap(t);
}

static PyMethodDef optimizer_methods[] = {
    {"step", optimizer_step, METH_NOARGS, NULL},
    {"zero_grad", optimizer_zero_grad, METH_NOARGS, NULL},
    {"follow", optimizer_follow, METH_VARARGS, NULL},
    {"state", optimizer_state, METH_O, NULL},
    {NULL, NULL, 0, NULL}};

static PyType_Slot optimizer_slots[] = {{Py_tp_new, (void *)optimizer_new},
                                        {Py_tp_dealloc, (void *)optimizer_dealloc},
                                        {Py_tp_methods, optimizer_methods},
                                        {0, NULL}};
static PyType_Spec optimizer_spec = {"teenygrad._teenygrad.Optimizer", sizeof(py_optimizer), 0,
                                     Py_TPFLAGS_DEFAULT, optimizer_slots};

int py_make_optimizer_type(PyObject *module) {
  PyObject *type = PyType_FromSpec(&optimizer_spec);
  if (!type) return -1;
  optimizer_type = (PyTypeObject *)(void *)type;
  return PyModule_AddObject(module, "Optimizer", type);
}
