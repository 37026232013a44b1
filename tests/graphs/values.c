/* tests/graphs/values: random numbers for the tester, elements of any dtype as doubles,
 * and what leaves are filled with. Elements are written as the nearest value below in
 * magnitude that the dtype has; nothing here uses the library, which is under test. */
#include "graphs.h"

uint64_t graph_random(uint64_t *state) {
  uint64_t z = (*state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

int64_t graph_below(uint64_t *state, int64_t n) {
  return n > 0 ? (int64_t)(graph_random(state) % (uint64_t)n) : 0;
}

bool graph_chance(uint64_t *state, int percent) { return graph_below(state, 100) < percent; }

int64_t graph_count(const tg_shape *shape) {
  int64_t count = 1;
  for (int i = 0; i < shape->ndim; i++) count *= shape->dim[i];
  return count;
}

double graph_epsilon(tg_dtype dtype) {
  if (dtype == TG_FLOAT16) return ldexp(1, -10);
  if (dtype == TG_BFLOAT16) return ldexp(1, -7);
  return dtype == TG_FLOAT32 ? ldexp(1, -23) : ldexp(1, -52);
}

double graph_largest(tg_dtype dtype) {
  if (dtype == TG_FLOAT16) return 65504;
  return dtype == TG_FLOAT64 ? 1.7976931348623157e308 : 3.3895313892515355e38;
}

/* ---- 16-bit floats: `bits` of mantissa, exponents from `low` */

static double half_value(unsigned h, int mantissa, int bias) {
  unsigned fraction = h & ((1u << mantissa) - 1), exponent = (h & 0x7fff) >> mantissa;
  double sign = h & 0x8000 ? -1 : 1;
  if (exponent == (1u << (15 - mantissa)) - 1) return fraction ? (double)NAN : sign * INFINITY;
  if (!exponent) return sign * ldexp(fraction, 1 - bias - mantissa);
  return sign * ldexp(fraction + (1u << mantissa), (int)exponent - bias - mantissa);
}

static uint16_t half_bits(double v, int mantissa, int bias) {
  unsigned sign = signbit(v) ? 0x8000 : 0, top = ((1u << (15 - mantissa)) - 1) << mantissa;
  if (isnan(v)) return (uint16_t)(top | (1u << (mantissa - 1)));
  v = fabs(v);
  if (v >= ldexp(1, bias + 1)) return (uint16_t)(sign | top);
  int exponent;
  frexp(v, &exponent);
  exponent = exponent - 1 < 1 - bias ? 1 - bias : exponent - 1;
  unsigned whole = (unsigned)ldexp(v, mantissa - exponent);
  unsigned hidden = whole >> mantissa;
  unsigned low = whole & ((1u << mantissa) - 1);
  return (uint16_t)(sign | (hidden ? (unsigned)(exponent + bias) << mantissa : 0) | low);
}

double graph_get(const void *data, tg_dtype dtype, int64_t i) {
  switch (dtype) {
    case TG_BOOL: return ((const uint8_t *)data)[i];
    case TG_INT8: return ((const int8_t *)data)[i];
    case TG_UINT8: return ((const uint8_t *)data)[i];
    case TG_INT16: return ((const int16_t *)data)[i];
    case TG_UINT16: return ((const uint16_t *)data)[i];
    case TG_INT32: return ((const int32_t *)data)[i];
    case TG_UINT32: return ((const uint32_t *)data)[i];
    case TG_INT64: return (double)((const int64_t *)data)[i];
    case TG_UINT64: return (double)((const uint64_t *)data)[i];
    case TG_FLOAT16: return half_value(((const uint16_t *)data)[i], 10, 15);
    case TG_BFLOAT16: return half_value(((const uint16_t *)data)[i], 7, 127);
    case TG_FLOAT32: return (double)((const float *)data)[i];
    case TG_FLOAT64: return ((const double *)data)[i];
    case TG_DEFAULT_DTYPE: break;
  }
  return NAN;
}

void graph_put(void *data, tg_dtype dtype, int64_t i, double v) {
  switch (dtype) {
    case TG_BOOL: ((uint8_t *)data)[i] = v != 0; break;
    case TG_INT8: ((int8_t *)data)[i] = (int8_t)v; break;
    case TG_UINT8: ((uint8_t *)data)[i] = (uint8_t)v; break;
    case TG_INT16: ((int16_t *)data)[i] = (int16_t)v; break;
    case TG_UINT16: ((uint16_t *)data)[i] = (uint16_t)v; break;
    case TG_INT32: ((int32_t *)data)[i] = (int32_t)v; break;
    case TG_UINT32: ((uint32_t *)data)[i] = (uint32_t)v; break;
    case TG_INT64: ((int64_t *)data)[i] = v >= 0x1p63 ? INT64_MAX : (int64_t)v; break;
    case TG_UINT64: ((uint64_t *)data)[i] = v >= 0x1p64 ? UINT64_MAX : (uint64_t)v; break;
    case TG_FLOAT16: ((uint16_t *)data)[i] = half_bits(v, 10, 15); break;
    case TG_BFLOAT16: ((uint16_t *)data)[i] = half_bits(v, 7, 127); break;
    case TG_FLOAT32: ((float *)data)[i] = (float)v; break;
    case TG_FLOAT64: ((double *)data)[i] = v; break;
    case TG_DEFAULT_DTYPE: break;
  }
}

/* ---- contents */

static bool is_unsigned(tg_dtype d) {
  return d == TG_BOOL || d == TG_UINT8 || d == TG_UINT16 || d == TG_UINT32 || d == TG_UINT64;
}

static double extreme_float(uint64_t *state, tg_dtype dtype) {
  double tiny = dtype == TG_FLOAT16 ? 0x1p-24 : dtype == TG_FLOAT64 ? 0x1p-1074 : 0x1p-133;
  const double some[] = {0.0, -0.0, tiny, -tiny, 3 * tiny, 256, 1, -1, 0.1, 1e-4, -257.5, 60000};
  return some[graph_below(state, sizeof some / sizeof *some)];
}

static double extreme_whole(uint64_t *state, tg_dtype dtype) {
  double bits = 8 * (double)tg_dtype_size(dtype);
  double top = is_unsigned(dtype) ? ldexp(1, (int)bits) - 1 : ldexp(1, (int)bits - 1) - 1;
  double low = is_unsigned(dtype) ? 0 : -ldexp(1, (int)bits - 1);
  const double some[] = {top, low, top, 1, 0, is_unsigned(dtype) ? 2 : -1};
  return some[graph_below(state, 6)];
}

static double wild(uint64_t *state) {
  const double some[] = {INFINITY, -INFINITY, NAN, 0.0, -0.0};
  return some[graph_below(state, 5)];
}

static double real_in(uint64_t *state, double size) {
  return ((double)(graph_random(state) >> 11) * 0x1p-52 - 1) * size;
}

static double content_float(uint64_t *state, tg_dtype dtype, graph_content content, int64_t i) {
  switch (content) {
    case GRAPH_EIGHTHS: return (double)(graph_below(state, 33) - 16) / 8;
    case GRAPH_REALS: return real_in(state, 3);
    case GRAPH_POSITIVE: return (double)(graph_below(state, 16) + 1) / 8;
    case GRAPH_WILD:
      return graph_chance(state, 25) ? wild(state) : (double)(graph_below(state, 9) - 4);
    case GRAPH_EXTREME: return extreme_float(state, dtype);
    case GRAPH_BITS: return (double)graph_below(state, 2);
    case GRAPH_ONES: return 1;
    case GRAPH_COUNTING: return (double)(i % 8);
    case GRAPH_SMALL:
    case GRAPH_UPWARD:
    case GRAPH_PLACES: break;
  }
  return (double)(graph_below(state, 9) - 4);
}

static double content_whole(uint64_t *state, tg_dtype dtype, graph_content content, int64_t i,
                            int64_t range) {
  int64_t low = is_unsigned(dtype) ? 0 : 4;
  if (content == GRAPH_BITS || dtype == TG_BOOL) return (double)graph_below(state, 2);
  if (content == GRAPH_UPWARD) return (double)graph_below(state, range);
  if (content == GRAPH_PLACES)
    return (double)(graph_below(state, range) - (low && graph_chance(state, 25) ? range : 0));
  if (content == GRAPH_EXTREME) return extreme_whole(state, dtype);
  if (content == GRAPH_ONES) return 1;
  if (content == GRAPH_COUNTING) return (double)(i % 8);
  if (content == GRAPH_POSITIVE) return (double)(graph_below(state, 4) + 1);
  return (double)(graph_below(state, 9) - low);
}

void *graph_fill(uint64_t *state, tg_dtype dtype, int64_t count, graph_content content,
                 int64_t range) {
  void *data = calloc((size_t)count + 1, 8);
  bool real = tg_dtype_is_float(dtype);
  for (int64_t i = 0; data && i < count; i++)
    graph_put(data, dtype, i,
              real ? content_float(state, dtype, content, i)
                   : content_whole(state, dtype, content, i, range));
  return data;
}
