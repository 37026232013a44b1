/* module: teenygrad._teenygrad, and how the library and the interpreter share
 * threads.
 *
 * The library lets the GIL go while kernels run (leave, enter), and asks now and
 * then whether a signal has raised an exception, Ctrl-C above all (stop).
 * A fork waits until no kernel runs: the child has one thread only. A program that
 * ends while the compiler works for it lets it come to its end, as tg_shutdown does.
 */
#define _POSIX_C_SOURCE 200809L
#include "py.h"

#include <time.h>

#include "runtime/runtime.h"
#include "runtime/tiers.h"

/* Threads inside kernels, and whether one wants to fork; atomic: without the GIL. */
static _Atomic int running, forking;

static void *leave(void) {
  void *state = PyEval_SaveThread();
  running++;
  while (forking) {
    running--;
    nanosleep(&(struct timespec){0, 200000}, NULL);
    running++;
  }
  return state;
}

static void enter(void *state) {
  running--;
  PyEval_RestoreThread(state);
}

/* Before a fork: true when the child would be sound. Else: call it again. */
static PyObject *fork_prepare(PyObject *self, PyObject *unused) {
  (void)self, (void)unused;
  forking = 1;
  if (running) Py_RETURN_FALSE;
  tg_stop_threads();
  Py_RETURN_TRUE;
}

static PyObject *fork_done(PyObject *self, PyObject *unused) {
  (void)self, (void)unused;
  forking = 0;
  Py_RETURN_NONE;
}

static PyObject *finish(PyObject *self, PyObject *unused) {
  (void)self, (void)unused;
  Py_BEGIN_ALLOW_THREADS
  tg_tiers_finish();
  tg_runtime_leave(); /* a Ctrl-C ends the process without its destructors */
  Py_END_ALLOW_THREADS
  Py_RETURN_NONE;
}

static bool stop(void) {
  PyGILState_STATE state = PyGILState_Ensure();
  bool raised = PyErr_CheckSignals() < 0;
  PyGILState_Release(state);
  return raised;
}

static PyObject *counters(PyObject *self, PyObject *unused) {
  (void)self, (void)unused;
  tg_counters c = tg_get_counters();
  return Py_BuildValue("{s:L,s:L,s:L,s:L,s:L,s:L,s:L,s:L,s:L}", "tensors", (long long)c.tensors,
                       "nodes", (long long)c.nodes, "buffers", (long long)c.buffers, "bytes",
                       (long long)c.bytes, "peak_bytes", (long long)c.peak_bytes, "buffer_bytes",
                       (long long)c.buffer_bytes, "kernels_run", (long long)c.kernels_run,
                       "kernels_compiled", (long long)c.kernels_compiled, "schedules",
                       (long long)c.schedules);
}

static PyObject *device_names(PyObject *self, PyObject *unused) {
  (void)self, (void)unused;
  PyObject *list = PyList_New(0);
  for (int i = 0; list && tg_device_name(i); i++) {
    PyObject *name = PyUnicode_FromString(tg_device_name(i));
    if (!name || PyList_Append(list, name) < 0) Py_CLEAR(list);
    Py_XDECREF(name);
  }
  return list;
}

static PyObject *default_device(PyObject *self, PyObject *unused) {
  (void)self, (void)unused;
  const char *name = tg_default_device();
  return name ? PyUnicode_FromString(name) : py_raise();
}

static PyObject *set_default_device(PyObject *self, PyObject *o) {
  (void)self;
  const char *name = NULL;
  PyObject *keep;
  if (!py_device(o, &name, &keep)) return NULL;
  return py_status(name ? tg_set_default_device(name) : 0);
}

static PyMethodDef functions[] = {
    {"register_dtypes", py_register_dtypes, METH_O, NULL},
    {"apply", py_apply, METH_VARARGS, NULL},
    {"from_dlpack", FAST(py_from_dlpack), METH_FASTCALL | METH_KEYWORDS,
     "from_dlpack(x)\n--\n\nA tensor on the memory of `x`, anything with __dlpack__, without a "
     "copy where it is row-major. The memory must not be written to any more."},
    {"counters", counters, METH_NOARGS,
     "counters()\n--\n\nWhat is alive now, and what has been done since the start."},
    {"fork_prepare", fork_prepare, METH_NOARGS, NULL},
    {"fork_done", fork_done, METH_NOARGS, NULL},
    {"finish", finish, METH_NOARGS, NULL},
    {"device_names", device_names, METH_NOARGS, NULL},
    {"default_device", default_device, METH_NOARGS, NULL},
    {"set_default_device", set_default_device, METH_O, NULL},
    {NULL, NULL, 0, NULL}};

static struct PyModuleDef definition = {.m_base = PyModuleDef_HEAD_INIT,
                                        .m_name = "teenygrad._teenygrad",
                                        .m_doc = "The C library, as teenygrad's Python sees it.",
                                        .m_size = -1,
                                        .m_methods = functions};

PyMODINIT_FUNC PyInit__teenygrad(void) {
  static const tg_run_hooks hooks = {leave, enter, stop};
  PyObject *module = PyModule_Create(&definition);
  if (!module) return NULL;
  tg_set_run_hooks(&hooks);
  if (py_make_errors(module) < 0 || py_make_tensor_type(module) < 0 ||
      py_make_optimizer_type(module) < 0 ||
      PyModule_AddStringConstant(module, "version", TG_VERSION) < 0) {
    Py_DECREF(module);
    return NULL;
  }
  return module;
}
