/* The modes of a thread: default dtype and device, training, no_grad.
 *
 * A device is known inside by its row in the table of backends. A thread's
 * default comes from TG_DEVICE when it is first asked for; with a name there that
 * no backend has, making a tensor is an error.
 */
#include <stdlib.h>

#include "backend/backend.h"
#include "tensor/tensor.h"

/* ---- dtype */

tg_dtype tg_default_dtype(void) {
  tg_dtype dtype = tg_this_thread()->default_dtype;
  return dtype ? dtype : TG_FLOAT32;
}

int tg_set_default_dtype(tg_dtype dtype) {
  if (dtype != TG_DEFAULT_DTYPE && !tg_dtype_is_float(dtype)) {
    tg_fail("tg_set_default_dtype: %s is not a float dtype; use float16, bfloat16, float32 "
            "or float64", tg_dtype_name(dtype));
    return -1;
  }
  tg_this_thread()->default_dtype = dtype;
  return 0;
}

tg_dtype tg_dtype_or_default(tg_dtype dtype) { return dtype ? dtype : tg_default_dtype(); }

/* ---- device */

const char *tg_device_name(int i) {
  return i >= 0 && i < TG_DEVICES ? tg_backends[i]->device : NULL;
}

static int device_find(const char *name) {
  for (int i = 0; i < TG_DEVICES; i++)
    if (!strcmp(tg_backends[i]->device, name)) return i;
  return -1;
}

static int device_named(const char *call, const char *name) {
  int i = device_find(name);
  if (i < 0)
    tg_fail("%s: there is no device \"%.64s\"; tg_device_name lists them (the first is \"%s\")",
            call, name, tg_device_name(0));
  return i;
}

/* The thread's default: what was set, else TG_DEVICE, else the first. */
static int device_default(void) {
  tg_thread *thread = tg_this_thread();
  if (thread->default_device) return thread->default_device - 1;
  const char *name = getenv("TG_DEVICE");
  int i = name && *name ? device_named("the environment variable TG_DEVICE", name) : 0;
  if (i >= 0) thread->default_device = i + 1;
  return i;
}

int tg_device_index(const char *call, const char *name) {
  return name ? device_named(call, name) : device_default();
}

int tg_device_now(void) {
  int i = device_default();
  return i < 0 ? 0 : i;
}

const char *tg_default_device(void) { return tg_device_name(tg_device_now()); }

int tg_set_default_device(const char *device) {
  if (!device) {
    tg_this_thread()->default_device = 0;
    return 0;
  }
  int i = tg_device_index("tg_set_default_device", device);
  if (i < 0) return -1;
  tg_this_thread()->default_device = i + 1;
  return 0;
}

/* ---- modes */

bool tg_training(void) { return tg_this_thread()->training; }

bool tg_set_training(bool on) {
  bool old = tg_training();
  tg_this_thread()->training = on;
  return old;
}

bool tg_no_grad(void) { return tg_this_thread()->no_grad; }

bool tg_set_no_grad(bool on) {
  bool old = tg_no_grad();
  tg_this_thread()->no_grad = on;
  return old;
}

void tg_restore_no_grad(const bool *old) {
  if (old) tg_set_no_grad(*old);
}
