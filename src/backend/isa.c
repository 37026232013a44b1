/* backend/isa: see isa.h. AVX-512 here means what the loops, the micro-kernels and the
 * generated C need together: F, BW, DQ and VL, which come together on every processor
 * but the first of them. */
#include "backend/isa.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

static const char *const isa_names[TG_ISA_COUNT] = {
    [TG_ISA_BASE] = "base", [TG_ISA_AVX2] = "avx2", [TG_ISA_AVX512] = "avx512"};
static const int isa_bytes[TG_ISA_COUNT] = {
    [TG_ISA_BASE] = 16, [TG_ISA_AVX2] = 32, [TG_ISA_AVX512] = 64};

static tg_isa isa_best(void) {
#ifdef __x86_64__
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
    return TG_ISA_AVX512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return TG_ISA_AVX2;
#endif
  return TG_ISA_BASE;
}

/* What TG_ISA says: -1 nothing, TG_ISA_COUNT nothing that this machine has. */
static int isa_wanted(void) {
  const char *name = getenv("TG_ISA");
  if (!name || !*name) return -1;
  for (int i = 0; i <= (int)isa_best(); i++)
    if (!strcmp(name, isa_names[i])) return i;
  return TG_ISA_COUNT;
}

static int isa_read(void) {
  static _Atomic int once = -2;
  int now = atomic_load_explicit(&once, memory_order_relaxed);
  if (now != -2) return now;
  now = isa_wanted();
  atomic_store_explicit(&once, now, memory_order_relaxed);
  return now;
}

bool tg_isa_given(void) { return isa_read() >= 0 && isa_read() < TG_ISA_COUNT; }

tg_isa tg_isa_get(void) { return tg_isa_given() ? (tg_isa)isa_read() : isa_best(); }

int tg_isa_vector_bytes(void) { return isa_bytes[tg_isa_get()]; }

bool tg_isa_check(void) {
  if (isa_read() != TG_ISA_COUNT) return true;
  char has[64] = "";
  for (int i = 0; i <= (int)isa_best(); i++)
    snprintf(has + strlen(has), sizeof has - strlen(has), "%s%s", i ? ", " : "", isa_names[i]);
  tg_fail("TG_ISA is %.40s, and this machine has: %s; set it to one of these, or not at all",
          getenv("TG_ISA"), has);
  return false;
}
