/* Tensors as text: "tensor (2, 3) float32 CPU w: [[1, 2, 3], [4, 5, 6]]".
 *
 * At most SHOWN elements of an axis are written, then "...". The text goes to
 * the caller's memory through a cursor that counts on after the room is full,
 * as snprintf does, so that the caller learns how much room the whole takes.
 */
#include <stdio.h>

#include "tensor/tensor.h"

#define SHOWN 8

typedef struct text_cursor {
  char *out;
  size_t size, used;
} text_cursor;

static void put_text(text_cursor *text, const char *format, ...) TG_PRINTF(2, 3);
static void put_text(text_cursor *text, const char *format, ...) {
  va_list args;
  va_start(args, format);
  bool room = text->used < text->size;
  int n = vsnprintf(room ? text->out + text->used : NULL, room ? text->size - text->used : 0,
                    format, args);
  va_end(args);
  if (n > 0) text->used += (size_t)n;
}

static void put_element(text_cursor *text, tg_dtype dtype, const void *data, int64_t i) {
  if (dtype == TG_BOOL)
    put_text(text, "%s", tg_read_int(dtype, data, i) ? "true" : "false");
  else if (dtype == TG_UINT64)
    put_text(text, "%llu", (unsigned long long)tg_read_int(dtype, data, i));
  else if (tg_dtype_is_float(dtype) && isnan(tg_read_float(dtype, data, i)))
    put_text(text, "nan"); /* some C libraries write a sign, too */
  else if (tg_dtype_is_float(dtype))
    put_text(text, "%.*g", dtype == TG_FLOAT64 ? 8 : 5, tg_read_float(dtype, data, i));
  else
    put_text(text, "%lld", (long long)tg_read_int(dtype, data, i));
}

/* Axis `axis` from element `at` on, whose elements are `stride` apart. */
static void put_axis(text_cursor *text, const tg_node *n, int axis, int64_t at, int64_t stride) {
  if (axis == n->ndim) {
    put_element(text, n->dtype, n->buffer->data, at);
    return;
  }
  int64_t size = tg_node_shape(n)[axis];
  stride = size ? stride / size : 0;
  put_text(text, "[");
  for (int64_t i = 0; i < size && i < SHOWN; i++) {
    if (i) put_text(text, ", ");
    put_axis(text, n, axis + 1, at + i * stride, stride);
  }
  put_text(text, size > SHOWN ? ", ...]" : "]");
}

int64_t tg_to_string(tg_tensor *t, char *out, size_t size) {
  if (tg_is_null("tg_to_string", t) || tg_recording_refuses("tg_to_string")) return -1;
  if (size && !out) tg_fail("tg_to_string: the address to write to is NULL");
  if ((size && !out) || !tg_realize(t)) return -1;
  text_cursor text = {out, size, 0};
  put_text(&text, "tensor %s %s %s", tg_text_of(t), tg_dtype_name(t->node->dtype), tg_device(t));
  if (t->name) put_text(&text, " %s", t->name);
  if (t->requires_grad == TG_GRAD_YES) put_text(&text, " requires_grad");
  put_text(&text, ": ");
  put_axis(&text, t->node, 0, 0, t->node->numel);
  return (int64_t)text.used;
}
