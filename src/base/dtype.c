/* Element types: one row per dtype, promotion, and the 16-bit floats.
 *
 * The order of the enum is the order of promotion (teenygrad's), so a result's
 * dtype is the larger number; only the two 16-bit floats, neither of which
 * holds the other, meet in float32. Conversions to 16 bits round to nearest,
 * ties to even, keep infinities and the sign of zero, make subnormals where
 * they belong, and turn every NaN into a quiet one.
 */
#include "base/base.h"

typedef struct dtype_row {
  const char *name;
  int64_t size;
  bool is_float;
} dtype_row;

static const dtype_row dtypes[TG_DTYPE_COUNT] = {
    [TG_DEFAULT_DTYPE] = {"default", 0, false},
    [TG_BOOL] = {"bool", 1, false},
    [TG_INT8] = {"int8", 1, false},
    [TG_UINT8] = {"uint8", 1, false},
    [TG_INT16] = {"int16", 2, false},
    [TG_UINT16] = {"uint16", 2, false},
    [TG_INT32] = {"int32", 4, false},
    [TG_UINT32] = {"uint32", 4, false},
    [TG_INT64] = {"int64", 8, false},
    [TG_UINT64] = {"uint64", 8, false},
    [TG_FLOAT16] = {"float16", 2, true},
    [TG_BFLOAT16] = {"bfloat16", 2, true},
    [TG_FLOAT32] = {"float32", 4, true},
    [TG_FLOAT64] = {"float64", 8, true},
};

static const dtype_row *row(tg_dtype dtype) {
  static const dtype_row unknown = {"unknown dtype", 0, false};
  return (unsigned)dtype < TG_DTYPE_COUNT ? &dtypes[dtype] : &unknown;
}

const char *tg_dtype_name(tg_dtype dtype) { return row(dtype)->name; }
int64_t tg_dtype_size(tg_dtype dtype) { return row(dtype)->size; }
bool tg_dtype_is_float(tg_dtype dtype) { return row(dtype)->is_float; }

tg_dtype tg_promote(tg_dtype a, tg_dtype b) {
  if ((unsigned)a >= TG_DTYPE_COUNT || (unsigned)b >= TG_DTYPE_COUNT) {
    tg_fail("tg_promote: %d and %d are not both dtypes", (int)a, (int)b);
    return TG_DEFAULT_DTYPE;
  }
  tg_dtype low = a < b ? a : b, high = a < b ? b : a;
  return low == TG_FLOAT16 && high == TG_BFLOAT16 ? TG_FLOAT32 : high;
}

/* ---- float16: 1 sign bit, 5 exponent bits (bias 15), 10 fraction bits */

static uint32_t float_bits(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

static float bits_float(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

/* bits >> shift, rounded to nearest, ties to even; 0 < shift < 32. */
static uint32_t shift_round(uint32_t bits, int shift) {
  uint32_t half = UINT32_C(1) << (shift - 1);
  uint32_t odd = (bits >> shift) & 1;
  return (bits + (half - 1) + odd) >> shift;
}

float tg_half_to_float(uint16_t bits) {
  uint32_t sign = (uint32_t)(bits & 0x8000) << 16;
  uint32_t exponent = (bits >> 10) & 31, fraction = bits & 1023;
  if (exponent == 31) /* a NaN becomes quiet */
    return bits_float(sign | 0x7f800000 | fraction << 13 | (fraction ? 0x400000 : 0));
  if (exponent) return bits_float(sign | (exponent + 112) << 23 | fraction << 13);
  float tiny = (float)fraction * 0x1p-24f; /* subnormal: exact in float32 */
  return sign ? -tiny : tiny;
}

uint16_t tg_float_to_half(float value) {
  uint32_t bits = float_bits(value), size = bits & 0x7fffffff;
  uint32_t sign = bits >> 16 & 0x8000, half;
  if (size > 0x7f800000)
    half = 0x7e00 | (size >> 13 & 0x3ff);
  else if (size >= 0x477ff000) /* 65520 and above round to infinity */
    half = 0x7c00;
  else if (size >= 0x38800000) /* 2^-14 and above are normal */
    half = shift_round(size - (UINT32_C(112) << 23), 13);
  else if (size <= 0x33000000) /* up to 2^-25: a tie with 0 goes to 0 */
    half = 0;
  else {
    uint32_t fraction = (size & 0x7fffff) | 0x800000;
    half = shift_round(fraction, 126 - (int)(size >> 23));
  }
  return (uint16_t)(sign | half);
}

/* ---- bfloat16: the upper half of a float32 */

float tg_bfloat_to_float(uint16_t bits) { return bits_float((uint32_t)bits << 16); }

uint16_t tg_float_to_bfloat(float value) {
  uint32_t bits = float_bits(value);
  if ((bits & 0x7fffffff) > 0x7f800000) return (uint16_t)(bits >> 16 | 0x40);
  return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
