/* The progress bar: one line on standard error, redrawn at most 20 times a
 * second,
 *
 *     training  [#########-----------]  45/100  12.3/s  0:04  loss 0.31
 *
 * and only for a person: nothing is written when standard error is no terminal
 * or CI is set. A struct without allocations; nothing to fail, nothing to free.
 */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#include "base/base.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PROGRESS_BAR 24

tg_progress tg_progress_begin(const char *title, int64_t total) {
  const char *ci = getenv("CI"), *term = getenv("TERM");
  bool terminal = isatty(STDERR_FILENO) && !(term && strcmp(term, "dumb") == 0);
  return (tg_progress){.title = title ? title : "", .total = total, .started = tg_seconds(),
                       .visible = terminal && !(ci && *ci)};
}

/* Time to go at the speed so far, or the time taken at the end, as m:ss. */
static void progress_time(const tg_progress *bar, double now, char *out, size_t size) {
  double taken = now - bar->started;
  double left = bar->done < bar->total && bar->done > 0
                    ? taken / (double)bar->done * ((double)bar->total - (double)bar->done) : taken;
  int64_t seconds = left < 359999 ? (int64_t)left : 359999;
  snprintf(out, size, "%lld:%02lld", (long long)seconds / 60, (long long)seconds % 60);
}

static void progress_draw(tg_progress *bar, double now, const char *text) {
  char cells[PROGRESS_BAR + 1], time[32], line[512];
  double taken = now - bar->started;
  double part = bar->total > 0 ? (double)bar->done / (double)bar->total : 1;
  int full = part < 1 ? (int)(fmax(part, 0) * PROGRESS_BAR) : PROGRESS_BAR;
  for (int i = 0; i < PROGRESS_BAR; i++) cells[i] = i < full ? '#' : '-';
  cells[PROGRESS_BAR] = 0;
  progress_time(bar, now, time, sizeof time);
  const char *title = bar->title ? bar->title : "";
  snprintf(line, sizeof line, "%.20s [%s] %lld/%lld  %.1f/s  %s  %s", title, cells,
           (long long)bar->done, (long long)bar->total, taken > 0 ? (double)bar->done / taken : 0,
           time, text);
  /* \r: to the start of the line; \33[K: clear what was longer before. */
  fprintf(stderr, "\r%.100s\33[K", line);
  fflush(stderr);
  bar->shown = now;
}

void tg_progress_step(tg_progress *bar, const char *format, ...) {
  if (!bar) return;
  if (bar->done < INT64_MAX) bar->done++;
  if (!bar->visible) return;
  double now = tg_seconds();
  if (bar->done < bar->total && now - bar->shown < 0.05) return;
  char text[80] = "";
  if (format) {
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
  }
  progress_draw(bar, now, text);
}

void tg_progress_end(tg_progress *bar) {
  if (!bar || !bar->visible) return;
  fputc('\n', stderr);
  fflush(stderr);
  bar->visible = false;
}
