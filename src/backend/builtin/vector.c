/* builtin/vector: one file of loops, compiled for several instruction sets.
 *
 * First the loops that no instruction set makes faster (libm, integer division,
 * what must not touch memory), then vector.inc under the options of each set,
 * then the choice at run time. The options are set here, by pragmas, so that a
 * plain `cc -O2` gives the same code as the Makefile.
 */
#include "backend/builtin/vector.h"

#include <math.h>

#include "backend/isa.h"

#define BV_SCALAR(name) \
  static void bv_##name(int64_t n, void *out, const void *x, const void *y, const void *z)

#define BV_LIBM(name, T, f)                                       \
  BV_SCALAR(name) {                                               \
    (void)y, (void)z;                                             \
    T *o = out;                                                   \
    const T *a = x;                                               \
    for (int64_t i = 0; i < n; i++) o[i] = f(a[i]);               \
  }
BV_LIBM(exp_f64, double, exp)
BV_LIBM(log_f64, double, log)
BV_LIBM(sin_f64, double, sin)
BV_LIBM(sin_far, float, sinf)

#define BV_TWO(name, T, expression)                               \
  BV_SCALAR(name) {                                               \
    (void)z;                                                      \
    T *o = out;                                                   \
    const T *a = x, *b = y;                                       \
    for (int64_t i = 0; i < n; i++) {                             \
      T p = a[i], q = b[i];                                       \
      o[i] = (T)(expression);                                     \
    }                                                             \
  }
BV_TWO(pow_f32, float, powf(p, q))
BV_TWO(pow_f64, double, pow(p, q))

/* Rounds towards minus infinity; q = -1 apart, because the minimum / -1 traps. */
static inline int64_t bv_floor_div(int64_t p, int64_t q) {
  if (q == 0) return 0;
  if (q == -1) return (int64_t)(0 - (uint64_t)p);
  return p / q - (p % q != 0 && (p < 0) != (q < 0));
}
static inline int64_t bv_floor_mod(int64_t p, int64_t q) {
  if (q == 0 || q == -1) return 0;
  int64_t rest = p % q;
  return rest != 0 && (rest < 0) != (q < 0) ? rest + q : rest;
}
#define BV_SIGNED(s, T)                                           \
  BV_TWO(div_##s, T, bv_floor_div(p, q))                          \
  BV_TWO(mod_##s, T, bv_floor_mod(p, q))
#define BV_UNSIGNED(s, T)                                         \
  BV_TWO(div_##s, T, q ? p / q : 0)                               \
  BV_TWO(mod_##s, T, q ? p % q : 0)
BV_SIGNED(i8, int8_t)
BV_SIGNED(i16, int16_t)
BV_SIGNED(i32, int32_t)
BV_SIGNED(i64, int64_t)
BV_UNSIGNED(u8, uint8_t)
BV_UNSIGNED(u16, uint16_t)
BV_UNSIGNED(u32, uint32_t)
BV_UNSIGNED(u64, uint64_t)

#define BV_GUARDED(s, T)                                          \
  BV_SCALAR(masked_##s) {                                         \
    T *o = out;                                                   \
    const T *a = x;                                               \
    const int64_t *at = y;                                        \
    const uint8_t *gate = z;                                      \
    for (int64_t i = 0; i < n; i++) {                             \
      if (gate[i]) o[i] = a[at[i]];                               \
      else o[i] = 0;                                              \
    }                                                             \
  }                                                               \
  BV_SCALAR(scatter_##s) {                                        \
    (void)z;                                                      \
    T *o = out;                                                   \
    const T *a = x;                                               \
    const int64_t *at = y;                                        \
    for (int64_t i = 0; i < n; i++) o[at[i]] = a[i];              \
  }
BV_GUARDED(1, uint8_t)
BV_GUARDED(2, uint16_t)
BV_GUARDED(4, uint32_t)
BV_GUARDED(8, uint64_t)

/* Rows of the op table that every instruction set shares. */
#define BV_SCALAR_ROWS                                                            \
  [TG_OP_POW] = {[BI_F32] = bv_pow_f32, [BI_F64] = bv_pow_f64},                   \
  [TG_OP_MOD] = {[BI_I8] = bv_mod_i8, [BI_U8] = bv_mod_u8, [BI_I16] = bv_mod_i16, \
                 [BI_U16] = bv_mod_u16, [BI_I32] = bv_mod_i32,                    \
                 [BI_U32] = bv_mod_u32, [BI_I64] = bv_mod_i64,                    \
                 [BI_U64] = bv_mod_u64}
#define BV_SCALAR_DIV                                                             \
  [BI_I8] = bv_div_i8, [BI_U8] = bv_div_u8, [BI_I16] = bv_div_i16,                \
  [BI_U16] = bv_div_u16, [BI_I32] = bv_div_i32, [BI_U32] = bv_div_u32,            \
  [BI_I64] = bv_div_i64, [BI_U64] = bv_div_u64

/* Keeps an index in a register of its own, so that no vector gather is made. */
#define BV_SCALAR_INDEX(i) __asm__("" : "+r"(i))

#ifdef __clang__
#pragma clang diagnostic ignored "-Wpass-failed" /* a loop that stays scalar is fine */
#define BV_IVDEP _Pragma("clang loop vectorize(assume_safety)")
#else
#define BV_IVDEP _Pragma("GCC ivdep")
#pragma GCC push_options
#pragma GCC optimize("O3", "no-math-errno", "no-trapping-math", "fp-contract=fast")
#endif

#define BV_RARE(name) bv_##name##_base
#define BV_RARE_TOO
#define BV(name) bv_##name##_base
#define BV_NAME "baseline"
#include "backend/builtin/vector.inc"
#undef BV_RARE_TOO
#undef BV
#undef BV_NAME

#if defined(__x86_64__)
#define BV_X86 1
#endif

#ifdef BV_X86
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif
#define BV(name) bv_##name##_avx2
#define BV_NAME "AVX2"
#include "backend/builtin/vector.inc"
#undef BV
#undef BV_NAME
#ifdef __clang__
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma"))), \
                             apply_to = function)
#else
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,fma,prefer-vector-width=512")
#endif
#define BV(name) bv_##name##_avx512
#define BV_NAME "AVX-512"
#include "backend/builtin/vector.inc"
#undef BV
#undef BV_NAME
#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif

#ifndef __clang__
#pragma GCC pop_options
#endif

const bi_loops *tg_bi_vector(void) {
#ifdef BV_X86
  if (tg_isa_get() == TG_ISA_AVX512) return &bv_loops_avx512;
  if (tg_isa_get() == TG_ISA_AVX2) return &bv_loops_avx2;
#endif
  return &bv_loops_base;
}
