/* builtin/micro: the micro-kernels, per instruction set; see micro.h.
 *
 * Vector extensions of the compiler, not intrinsics: one template serves SSE2,
 * AVX2, AVX-512 and NEON, whose register files set the tile: 4 x 2 vectors of 16
 * registers without fused multiply-add, 6 x 2 with, 12 x 2 of 32.
 */
#include "backend/builtin/micro.h"

#include <stddef.h>

#include "backend/isa.h"

#define BM_UNROLL _Pragma("GCC unroll 16")
#ifdef __clang__
#undef BM_UNROLL
#define BM_UNROLL _Pragma("clang loop unroll(full)")
#pragma STDC FP_CONTRACT ON
#else
#pragma GCC push_options
#pragma GCC optimize("O3", "fp-contract=fast")
#endif

#if defined(__aarch64__) /* 32 registers, fused multiply-add */
#define BM_BASE_ROWS 12
#else
#define BM_BASE_ROWS 4
#endif
#define BM(name) bm_##name##_base_f32
#define BM_T float
#define BM_LANES 4
#define BM_ROWS BM_BASE_ROWS
#include "backend/builtin/micro.inc"
#define BM(name) bm_##name##_base_f64
#define BM_T double
#define BM_LANES 2
#define BM_ROWS BM_BASE_ROWS
#include "backend/builtin/micro.inc"

#ifdef __x86_64__
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif
#define BM(name) bm_##name##_avx2_f32
#define BM_T float
#define BM_LANES 8
#define BM_ROWS 6
#include "backend/builtin/micro.inc"
#define BM(name) bm_##name##_avx2_f64
#define BM_T double
#define BM_LANES 4
#define BM_ROWS 6
#include "backend/builtin/micro.inc"
#ifdef __clang__
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx512f,avx512vl,fma"))), apply_to = function)
#else
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx512vl,fma")
#endif
#define BM(name) bm_##name##_avx512_f32
#define BM_T float
#define BM_LANES 16
#define BM_ROWS 12
#include "backend/builtin/micro.inc"
#define BM(name) bm_##name##_avx512_f64
#define BM_T double
#define BM_LANES 8
#define BM_ROWS 12
#include "backend/builtin/micro.inc"
#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif

#ifndef __clang__
#pragma GCC pop_options
#endif

const bi_micros *tg_bi_micro_of(bool float64) {
#ifdef __x86_64__
  tg_isa isa = tg_isa_get();
  if (isa == TG_ISA_AVX512) return float64 ? &bm_micros_avx512_f64 : &bm_micros_avx512_f32;
  if (isa == TG_ISA_AVX2) return float64 ? &bm_micros_avx2_f64 : &bm_micros_avx2_f32;
#endif
  return float64 ? &bm_micros_base_f64 : &bm_micros_base_f32;
}
