/* graph/ops: the op table as data, made from ops.def, and constants: what a
 * number becomes in each dtype. */
#include "graph/graph.h"

#include <math.h>

const tg_op_info tg_op_table[TG_OP_COUNT] = {
#define TG_OP(name, class, arity, cost, formula) \
  [TG_OP_##name] = {#name, TG_CLASS_##class, arity, cost, formula},
#include "graph/ops.def"
};

/* Wraps an integer to the width of a dtype. */
static int64_t wrap(tg_dtype dtype, int64_t i) {
  uint64_t u = (uint64_t)i;
  switch (dtype) {
    case TG_BOOL: return i != 0;
    case TG_INT8: return (int8_t)(uint8_t)u;
    case TG_UINT8: return (uint8_t)u;
    case TG_INT16: return (int16_t)(uint16_t)u;
    case TG_UINT16: return (uint16_t)u;
    case TG_INT32: return (int32_t)(uint32_t)u;
    case TG_UINT32: return (uint32_t)u;
    case TG_INT64: case TG_UINT64: return i;
    case TG_DEFAULT_DTYPE: case TG_FLOAT16: case TG_BFLOAT16: case TG_FLOAT32:
    case TG_FLOAT64: break;
  }
  return i;
}

/* A double as int64, without undefined behaviour: out of range gives the
 * smallest int64, as x86's conversion and so PyTorch's cast do. */
static int64_t to_int(double f) {
  return f >= -0x1p63 && f < 0x1p63 ? (int64_t)f : INT64_MIN;
}

static int64_t to_uint(double f) {
  if (f >= 0x1p63) return f < 0x1p64 ? (int64_t)(uint64_t)f : 0;
  return to_int(f);
}

/* Narrow integers go by way of int32, as x86 does it. */
static int64_t to_narrow(tg_dtype dtype, double f) {
  if (dtype == TG_UINT64) return to_uint(f);
  int64_t i = to_int(f);
  bool narrow = dtype == TG_INT32 || tg_dtype_size(dtype) < 4;
  return narrow && (i < INT32_MIN || i > INT32_MAX) ? INT32_MIN : i;
}

static double round_to(tg_dtype dtype, double f) {
  switch (dtype) {
    case TG_FLOAT16: return (double)tg_half_to_float(tg_float_to_half((float)f));
    case TG_BFLOAT16: return (double)tg_bfloat_to_float(tg_float_to_bfloat((float)f));
    case TG_FLOAT32: return (double)(float)f;
    case TG_DEFAULT_DTYPE: case TG_BOOL: case TG_INT8: case TG_UINT8: case TG_INT16:
    case TG_UINT16: case TG_INT32: case TG_UINT32: case TG_INT64: case TG_UINT64:
    case TG_FLOAT64: break;
  }
  return f;
}

tg_value tg_value_of(tg_dtype dtype, double f) {
  tg_value v = {0};
  if (tg_dtype_is_float(dtype)) v.f = round_to(dtype, f);
  else if (dtype == TG_BOOL) v.i = f != 0 || isnan(f);
  else v.i = wrap(dtype, to_narrow(dtype, f));
  return v;
}

tg_value tg_value_cast(tg_value value, tg_dtype from, tg_dtype to) {
  if (tg_dtype_is_float(from)) return tg_value_of(to, value.f);
  tg_value v = {0};
  if (tg_dtype_is_float(to)) {
    bool big = from == TG_UINT64, wide = to == TG_FLOAT64; /* one rounding, not two */
    if (wide) v.f = big ? (double)(uint64_t)value.i : (double)value.i;
    else v.f = round_to(to, (double)(big ? (float)(uint64_t)value.i : (float)value.i));
  } else {
    v.i = wrap(to, value.i);
  }
  return v;
}
