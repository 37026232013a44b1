/* What a process gives: environment variables, a clock, and the hash that the
 * tables inside one process use. docs/env.md lists every variable. */
#if !defined(_POSIX_C_SOURCE)
#define _POSIX_C_SOURCE 200809L
#endif
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/base.h"

uint64_t tg_hash(uint64_t seed, const void *data, size_t size) {
  const unsigned char *bytes = data;
  for (size_t i = 0; i < size; i++) seed = (seed ^ bytes[i]) * UINT64_C(0x100000001b3);
  return seed;
}

int64_t tg_env_int(const char *name, int64_t otherwise) {
  const char *text = getenv(name);
  if (!text || !*text) return otherwise;
  char *end;
  errno = 0;
  long long value = strtoll(text, &end, 10);
  return *end || errno ? otherwise : value;
}

int tg_debug(void) {
  static _Atomic int level = -1;
  int now = atomic_load_explicit(&level, memory_order_relaxed);
  if (now >= 0) return now;
  int64_t given = tg_env_int("DEBUG", 0);
  now = given < 0 ? 0 : given > 9 ? 9 : (int)given;
  atomic_store_explicit(&level, now, memory_order_relaxed);
  return now;
}

double tg_seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
