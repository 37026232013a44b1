/* function: Functions written in Python (teenygrad.tensor.Function).
 *
 * apply(ctx, tensors, forward, backward): the library calls `forward` with the inputs in
 * no-grad mode and keeps a reference of ctx as long as the record of the result
 * lives; then tg_backward calls `backward` with the gradient. Both are callables
 * of one list of Tensors; exceptions go through the library as failures.
 *
 * deepwalk: the tensors that backward will go through.
 */
#include <string.h>

#include "autograd/functions.h"
#include "py.h"

int64_t py_live_functions;

/* What a record keeps: (ctx, forward, backward), one tuple; Python's collector sees
 * it through tensor_traverse. */

static tg_tensor *as_result(PyObject *o, const char *what) {
  if (o && py_is_tensor(o)) {
    tg_tensor *t = tg_detach(py_t(o)); /* in the scope: lives on without `o` */
    if (!t) py_raise();
    return t;
  }
  if (o) PyErr_Format(py_type_error, "%s must return a Tensor or LazyBuffer, not %R", what, o);
  return NULL;
}

static PyObject *wrap_all(tg_tensor *const *inputs, int count) {
  PyObject *list = PyTuple_New(count);
  for (int i = 0; list && i < count; i++) {
    PyObject *o = py_wrap(tg_detach(inputs[i]));
    if (!o) Py_CLEAR(list);
    else PyTuple_SetItem(list, i, o);
  }
  return list;
}

static tg_tensor *call_forward(tg_context *context, tg_tensor *const *inputs, int count) {
  PyObject *kept = tg_user(context), *list = wrap_all(inputs, count);
  PyObject *out = list ? PyObject_CallFunctionObjArgs(PyTuple_GetItem(kept, 1), list, NULL) : NULL;
  tg_tensor *t = out ? as_result(out, "forward") : NULL;
  Py_XDECREF(out);
  Py_XDECREF(list);
  if (!t) tg_fail("a Function's forward raised an exception");
  return t;
}

static int take_grads(PyObject *out, tg_tensor **grads, Py_ssize_t room) {
  Py_ssize_t count = PyTuple_Size(out);
  if (count > room) {
    PyErr_Format(py_error, "backward returned %zd gradients for %zd inputs", count, room);
    return -1;
  }
  for (Py_ssize_t i = 0; i < count; i++) {
    PyObject *o = PyTuple_GetItem(out, i);
    if (o != Py_None && !(grads[i] = as_result(o, "backward"))) return -1;
  }
  return 0;
}

static int call_backward(tg_context *context, tg_tensor *grad, tg_tensor **grads) {
  PyObject *kept = tg_user(context), *g = py_wrap(tg_detach(grad));
  PyObject *out = g ? PyObject_CallFunctionObjArgs(PyTuple_GetItem(kept, 2), g, NULL) : NULL;
  int status = -1;
  if (out && PyTuple_Check(out))
    status = take_grads(out, grads, PyLong_AsSsize_t(PyTuple_GetItem(kept, 3)));
  else if (out)
    PyErr_SetString(py_type_error, "backward must return a tuple");
  Py_XDECREF(out);
  Py_XDECREF(g);
  if (status < 0) tg_fail("a Function's backward raised an exception");
  return status;
}

static void destroy(void *user) {
  py_live_functions--;
  if (!Py_IsInitialized()) return;
  PyGILState_STATE state = PyGILState_Ensure();
  Py_DECREF((PyObject *)user);
  PyGILState_Release(state);
}

/* One tg_function per name, kept for ever: records point to them. */
typedef struct named {
  struct named *next;
  tg_function function;
  char name[];
} named;

static const tg_function *function_named(const char *name) {
  static named *all;
  for (named *n = all; n; n = n->next)
    if (!strcmp(n->name, name)) return &n->function;
  named *n = PyMem_Malloc(sizeof *n + strlen(name) + 1);
  if (!n) return (const tg_function *)(void *)PyErr_NoMemory();
  strcpy(n->name, name);
  n->function = (tg_function){n->name, call_forward, call_backward, destroy};
  n->next = all;
  all = n;
  return &n->function;
}

/* apply(name, ctx, forward, backward, tensors) */
PyObject *py_apply(PyObject *module, PyObject *args) {
  (void)module;
  const char *name;
  PyObject *ctx, *forward, *backward, *inputs;
  if (!PyArg_ParseTuple(args, "sOOOO!", &name, &ctx, &forward, &backward, &PyTuple_Type, &inputs))
    return NULL;
  const tg_function *function = function_named(name);
  Py_ssize_t count = PyTuple_Size(inputs);
  PyObject *kept = Py_BuildValue("(OOOn)", ctx, forward, backward, count);
  tg_tensor **items = PyMem_Malloc((size_t)(count + 1) * sizeof *items);
  bool fine = function && kept && items;
  for (Py_ssize_t i = 0; fine && i < count; i++) {
    PyObject *o = PyTuple_GetItem(inputs, i);
    if ((fine = py_is_tensor(o))) items[i] = py_t(o);
    else PyErr_Format(py_type_error, "%s.apply takes Tensors, not %R", name, o);
  }
  PyObject *result = NULL;
  if (fine) {
    py_live_functions++;
    tg_tensor *t = tg_apply(function, (tg_list){count, items}, kept); /* owns `kept` now */
    result = t ? py_wrap(t) : NULL;
    if (!t && PyErr_Occurred()) tg_clear_error();
    else if (!t) py_raise();
  } else {
    if (!PyErr_Occurred()) PyErr_NoMemory();
    Py_XDECREF(kept);
  }
  PyMem_Free(items);
  return result;
}

/* ---- deepwalk */

typedef struct walk {
  PyObject *order, *stack; /* lists of Tensors; the stack's top is the last */
  PyObject *marked;        /* all that have been on the stack */
} walk;

static bool walk_push(walk *w, tg_tensor *t) {
  if (!t->context || t->visited) return true;
  PyObject *o = py_wrap(t);
  bool fine = o && PyList_Append(w->marked, o) == 0;
  if (fine) t->visited = true;
  fine = fine && PyList_Append(w->stack, o) == 0;
  Py_XDECREF(o);
  return fine;
}

/* One step: the first input that has not been met, else the top is done. */
static bool walk_step(walk *w) {
  Py_ssize_t top = PyList_Size(w->stack) - 1;
  PyObject *o = PyList_GetItem(w->stack, top);
  tg_context *c = py_t(o)->context;
  for (int i = 0; i < c->count; i++) {
    if (c->inputs[i]->visited || !c->inputs[i]->context) continue;
    return walk_push(w, c->inputs[i]);
  }
  return PyList_Append(w->order, o) == 0 && PyList_SetSlice(w->stack, top, top + 1, NULL) == 0;
}

/* As teenygrad's: all that have a record, inputs before results. */
PyObject *py_deepwalk(PyObject *self, PyObject *unused) {
  (void)unused;
  walk w = {PyList_New(0), PyList_New(0), PyList_New(0)};
  bool fine = w.order && w.stack && w.marked && walk_push(&w, py_t(self));
  while (fine && PyList_Size(w.stack)) fine = walk_step(&w);
  for (Py_ssize_t i = 0; w.marked && i < PyList_Size(w.marked); i++)
    py_t(PyList_GetItem(w.marked, i))->visited = false;
  Py_XDECREF(w.marked);
  Py_XDECREF(w.stack);
  if (!fine) Py_CLEAR(w.order);
  return w.order;
}
