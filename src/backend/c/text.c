/* c/text: text that grows. An allocation that fails is remembered, later calls do
 * nothing, and the caller looks once, at the end. */
#include "backend/c/c.h"

#include <stdarg.h>
#include <stdio.h>

static bool text_room(tg_text *t, int64_t more) {
  if (t->count + more < t->room) return true;
  int64_t room = (t->count + more) * 2 + 1024;
  char *at = tg_alloc((size_t)room);
  if (!at) {
    t->failed = true;
    return false;
  }
  if (t->at) memcpy(at, t->at, (size_t)t->count + 1);
  tg_free(t->at);
  t->at = at;
  t->room = room;
  return true;
}

void tg_text_add(tg_text *t, const char *format, ...) {
  if (t->failed) return;
  va_list args, again;
  va_start(args, format);
  va_copy(again, args);
  int n = vsnprintf(NULL, 0, format, args);
  va_end(args);
  if (n < 0) t->failed = true;
  else if (text_room(t, n + 1)) {
    vsnprintf(t->at + t->count, (size_t)n + 1, format, again);
    t->count += n;
  }
  va_end(again);
}

void tg_text_free(tg_text *t) {
  tg_free(t->at);
  *t = (tg_text){0};
}
