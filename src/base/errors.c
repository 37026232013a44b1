/* Errors: the first message of a chain of failures.
 *
 * A function that fails records why and returns NULL; those it was called by,
 * and those that are given its NULL, return NULL too and record nothing new.
 * So the first message, the one that knows the cause, is kept until the caller
 * reads it with tg_error. The text lives in the state of the thread, not in
 * allocated memory: "out of memory" must be sayable without any.
 */
#include <stdio.h>

#include "base/base.h"

static void record_failure(tg_failure kind, const char *format, va_list args) TG_PRINTF(2, 0);
static void record_failure(tg_failure kind, const char *format, va_list args) {
  tg_thread *thread = tg_this_thread();
  if (thread->error_unread) return;
  if (!format) format = "tg_fail: the message is NULL";
  if (vsnprintf(thread->error, sizeof thread->error, format, args) < 0)
    memcpy(thread->error, "unknown error", sizeof "unknown error");
  thread->failure = kind;
  thread->error_unread = true;
}

void *tg_fail(const char *format, ...) {
  va_list args;
  va_start(args, format);
  record_failure(TG_FAILURE_ARGUMENT, format, args);
  va_end(args);
  return NULL;
}

void *tg_fail_as(tg_failure kind, const char *format, ...) {
  va_list args;
  va_start(args, format);
  record_failure(kind, format, args);
  va_end(args);
  return NULL;
}

tg_failure tg_failure_kind(void) { return tg_this_thread()->failure; }

const char *tg_error(void) {
  tg_thread *thread = tg_this_thread();
  if (!thread->error_unread) return NULL;
  thread->error_unread = false;
  return thread->error;
}

void tg_clear_error(void) {
  tg_this_thread()->error_unread = false;
  tg_this_thread()->failure = TG_FAILURE_NONE;
}

bool tg_has_error(void) { return tg_this_thread()->error_unread; }

/* How much of a message is "tg_name: ". */
static size_t named_length(const char *message) {
  const char *colon = strchr(message, ':');
  bool named = !strncmp(message, "tg_", 3) && colon && colon[1] == ' ';
  if (!named || memchr(message, ' ', (size_t)(colon - message))) return 0;
  return (size_t)(colon - message) + 2;
}

void tg_error_within(const char *call) {
  tg_thread *thread = tg_this_thread();
  char text[sizeof thread->error];
  if (!thread->error_unread || strncmp(call, "tg_", 3)) return;
  const char *rest = thread->error + named_length(thread->error);
  if (snprintf(text, sizeof text, "%s: %s", call, rest) > 0)
    memcpy(thread->error, text, strlen(text) + 1);
}

void tg_null_argument(const char *call) {
  tg_fail("%s: got NULL instead of a tensor; check the call that should have made it", call);
}

/* ---- texts for messages */

#define SHAPE_TEXTS 8
#define SHAPE_ROOM (TG_MAX_DIMS * 22 + 8)

const char *tg_shape_text(const int64_t *dims, int ndim) {
  static _Thread_local char texts[SHAPE_TEXTS][SHAPE_ROOM];
  static _Thread_local unsigned next;
  char *text = texts[next++ % SHAPE_TEXTS];
  size_t used = 1;
  text[0] = '(';
  for (int i = 0; i < ndim && i < TG_MAX_DIMS; i++)
    used += (size_t)snprintf(text + used, SHAPE_ROOM - used, i ? ", %lld" : "%lld",
                             (long long)dims[i]);
  memcpy(text + used, ndim == 1 ? ",)" : ")", ndim == 1 ? 3 : 2);
  return text;
}

const char *tg_dtype_text(tg_dtype dtype) { return tg_dtype_name(dtype); }
