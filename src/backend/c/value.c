/* c/value: one instruction of a kernel as a line of C.
 *
 * An instruction that depends on the range that runs over lanes is a vector, any
 * other a scalar; a scalar where a vector is wanted is splat. Conditions are masks
 * in vectors and _Bool in scalars. Vectors of int64 whose bounds fit int32 (index
 * arithmetic nearly always does) are int32 in narrow kernels, so that float32
 * kernels keep their full width.
 */
#include "backend/c/render.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#ifdef TG_HOSTILE
enum { CV_STREAM = 64 };
#else
enum { CV_STREAM = 4 << 20 }; /* elements */
#endif
enum { CV_LINE = 64 }; /* bytes */

static c_expr cv_print(const char *format, ...) TG_PRINTF(1, 2);
static c_expr cv_print(const char *format, ...) {
  c_expr e;
  va_list args;
  va_start(args, format);
  vsnprintf(e.at, sizeof e.at, format, args);
  va_end(args);
  return e;
}

/* ---- text */

static void cv_indented(c_render *r, const char *format, va_list args) {
  c_expr e;
  vsnprintf(e.at, sizeof e.at, format, args);
  tg_text_add(r->out, "%*s%s\n", 2 * r->indent, "", e.at);
}

void tg_c_line(c_render *r, const char *format, ...) {
  va_list args;
  va_start(args, format);
  cv_indented(r, format, args);
  va_end(args);
}

void tg_c_open(c_render *r, const char *format, ...) {
  va_list args;
  va_start(args, format);
  cv_indented(r, format, args);
  va_end(args);
  r->indent++;
}

void tg_c_close(c_render *r) {
  r->indent--;
  tg_c_line(r, "}");
}

c_expr tg_c_row(const bi_code *code, const int64_t *row) {
  c_expr e;
  size_t at = 0;
  e.at[0] = 0;
  for (int k = 0; k <= code->nranges; k++) {
    bool offset = k == code->nranges;
    if (!row[k] || (!offset && code->range[k].size < 2)) continue;
    const char *plus = at ? " + " : "";
    char *to = e.at + at;
    size_t room = sizeof e.at - at;
    if (offset) at += (size_t)snprintf(to, room, "%s%lld", plus, (long long)row[k]);
    else if (row[k] == 1) at += (size_t)snprintf(to, room, "%si%d", plus, k);
    else at += (size_t)snprintf(to, room, "%si%d * %lld", plus, k, (long long)row[k]);
  }
  if (!at) snprintf(e.at, sizeof e.at, "0");
  return e;
}

/* ---- types */

const char *tg_c_type(tg_dtype dtype) {
  switch (dtype) {
    case TG_BOOL: case TG_UINT8: return "u8";
    case TG_INT8: return "i8";
    case TG_INT16: return "i16";
    case TG_UINT16: return "u16";
    case TG_INT32: return "i32";
    case TG_UINT32: return "u32";
    case TG_INT64: return "i64";
    case TG_UINT64: return "u64";
    case TG_FLOAT32: return "f32";
    case TG_FLOAT64: return "f64";
    case TG_FLOAT16: case TG_BFLOAT16: case TG_DEFAULT_DTYPE: break;
  }
  return NULL;
}

/* The dtype a vector of it has: int64 is int32 in narrow kernels. */
static tg_dtype cv_lane_dtype(const c_render *r, tg_dtype dtype) {
  return dtype == TG_INT64 && r->suffix == 'n' ? TG_INT32 : dtype;
}

c_expr tg_c_name(const c_render *r, tg_dtype dtype) {
  if (r->lane < 0) return cv_print("%s", dtype == TG_BOOL ? "b" : tg_c_type(dtype));
  const char *type = dtype == TG_BOOL ? "b" : tg_c_type(cv_lane_dtype(r, dtype));
  return cv_print("%s%c", type, r->suffix);
}

c_expr tg_c_vector_type(const c_render *r, tg_dtype dtype) {
  if (dtype == TG_BOOL) return cv_print("m%c", r->suffix);
  return tg_c_name(r, dtype);
}

bool tg_c_is_vector(const c_render *r, int32_t ins) {
  return r->lane >= 0 && (r->code->ins[ins].ranges >> r->lane & 1);
}

/* Do values of instruction i need 8 bytes? */
static bool cv_is_long(const tg_ins *in) {
  if (in->dtype == TG_INT64) return in->low <= INT32_MIN || in->high >= INT32_MAX;
  return tg_dtype_size(in->dtype) == 8;
}

/* Is operand k a whole number, the same for all lanes, that is only compared? Then it is
 * as good as the nearest int32: lanes that are int32 are none of the outermost two. */
static bool cv_is_compared(const c_render *r, const tg_ins *in, int k) {
  const tg_ins *x = &r->code->ins[in->src[k]];
  return (in->op == TG_OP_CMPLT || in->op == TG_OP_CMPEQ) && x->dtype == TG_INT64 &&
         !tg_c_is_vector(r, in->src[k]);
}

/* Does a vector of instruction i need 8-byte elements? For itself or for what it is made
 * of, be that a scalar. */
static bool cv_is_wide(const c_render *r, int32_t i) {
  const tg_ins *in = &r->code->ins[i];
  bool memory = in->op == TG_OP_LOAD || bi_is_store(in->op);
  if (memory) return tg_dtype_size(r->code->slot[in->slot]) == 8;
  for (int k = 0; k < 3; k++)
    if (in->src[k] >= 0 && !cv_is_compared(r, in, k) && cv_is_long(&r->code->ins[in->src[k]]))
      return true;
  return cv_is_long(in);
}

/* Is there a vector of instruction i, be it of the terms that it sums over the lanes? */
static bool cv_in_lanes(const c_render *r, int32_t i) {
  const tg_ins *in = &r->code->ins[i];
  bool folds = in->op == TG_OP_REDUCE && r->lane >= 0 && (in->folded >> r->lane & 1);
  return folds || tg_c_is_vector(r, i);
}

void tg_c_set_lane(c_render *r, const bool *needed, int lane) {
  bool wide = false;
  r->lane = lane;
  for (int32_t i = 0; i < r->code->count; i++)
    if (needed[i] && cv_in_lanes(r, i) && cv_is_wide(r, i)) wide = true;
  r->suffix = wide ? 'w' : 'n';
  r->width = tg_isa_vector_bytes() / (wide ? 8 : 4);
}

/* ---- what can be rendered */

bool tg_c_can(const bi_code *code, int32_t ins) {
  const tg_ins *in = &code->ins[ins];
  bool memory = in->op == TG_OP_LOAD || bi_is_store(in->op);
  tg_dtype dtype = memory ? code->slot[in->slot] : in->dtype;
  if (!tg_c_type(dtype)) return false;
  if (in->op == TG_OP_STORE_ADD) return false;
  if (in->op == TG_OP_STORE) return code->row_of[in->src[0]] >= 0;
  if (in->op == TG_OP_BITCAST)
    return dtype != TG_BOOL && code->ins[in->src[0]].dtype != TG_BOOL;
  return true;
}

void tg_c_mark(const bi_code *code, int32_t root, const bool *given, bool *needed) {
  needed[root] = true;
  for (int32_t i = root; i >= 0; i--) {
    const tg_ins *in = &code->ins[i];
    if (!needed[i] || code->row_of[i] >= 0 || (in->op == TG_OP_REDUCE && i != root)) continue;
    if (given && given[i]) continue;
    bool memory = in->op == TG_OP_LOAD || bi_is_store(in->op);
    for (int k = 0; k < 3; k++)
      if (in->src[k] >= 0 && !(memory && k == 0 && code->row_of[in->src[0]] >= 0))
        needed[in->src[k]] = true;
  }
}

/* ---- operands */

static c_expr cv_float(double x, bool single) {
  const char *sign = signbit(x) ? "-" : "", *f = single ? "f" : "";
  if (isnan(x)) return cv_print("__builtin_nan%s(\"\")", f);
  if (isinf(x)) return cv_print("%s__builtin_inf%s()", sign, f);
  c_expr e = cv_print(single ? "%.9g" : "%.17g", x);
  bool point = strpbrk(e.at, ".e") != NULL;
  return cv_print("%s%s%s", e.at, point ? "" : ".0", f);
}

static c_expr cv_const(const tg_ins *in) {
  if (in->dtype == TG_FLOAT32) return cv_float((double)(float)in->value.f, true);
  if (in->dtype == TG_FLOAT64) return cv_float(in->value.f, false);
  if (in->dtype == TG_UINT64) return cv_print("%llullu", (unsigned long long)in->value.i);
  if (in->dtype == TG_UINT32) return cv_print("%lldu", (long long)(uint32_t)in->value.i);
  if (in->value.i == INT64_MIN) return cv_print("(-0x7fffffffffffffff - 1)");
  return cv_print("%lld", (long long)in->value.i);
}

static c_expr cv_scalar(const c_render *r, int32_t i) {
  const tg_ins *in = &r->code->ins[i];
  return in->op == TG_OP_CONST ? cv_const(in) : cv_print("v%d", i);
}

c_expr tg_c_use(const c_render *r, int32_t i, bool vector) {
  const tg_ins *in = &r->code->ins[i];
  bool unrolled = in->op == TG_OP_REDUCE && r->unroll > 1;
  if (tg_c_is_vector(r, i)) return cv_print(unrolled ? "v%d[u]" : "v%d", i);
  c_expr x = cv_scalar(r, i);
  if (!vector) return x;
  c_expr type = in->dtype == TG_BOOL ? tg_c_vector_type(r, TG_BOOL) : tg_c_name(r, in->dtype);
  return cv_print("splat_%s(%.2000s)", type.at, x.at);
}

/* ---- arithmetic */

static c_expr cv_infix(const char *x, const char *op, const char *y) {
  return cv_print("%.900s %s %.900s", x, op, y);
}

static c_expr cv_call(const char *name, const c_render *r, tg_dtype dtype, bool vector,
                      const char *x, const char *y) {
  c_render scalar = *r;
  if (!vector) scalar.lane = -1;
  c_expr type = tg_c_name(&scalar, dtype);
  return cv_print("%s_%s(%.900s%s%.900s)", name, type.at, x, y ? ", " : "", y ? y : "");
}

/* Narrow integers are brought back into their type: C computes them as int. */
static c_expr cv_wrap(tg_dtype dtype, bool vector, c_expr e) {
  if (vector || dtype == TG_BOOL || tg_dtype_size(dtype) >= 4) return e;
  return cv_print("(%s)(%.2900s)", tg_c_type(dtype), e.at);
}

/* The logarithm of a divisor that is a power of 2 and fits all types that it meets; -1: it
 * is not, or not constant. */
static int cv_shift(const bi_code *code, const tg_ins *in) {
  const tg_ins *by = &code->ins[in->src[1]];
  bool constant = by->op == TG_OP_CONST && !tg_dtype_is_float(by->dtype) && by->value.i > 0 &&
                  by->value.i <= INT32_MAX;
  if (!constant || by->dtype == TG_BOOL || (by->value.i & (by->value.i - 1))) return -1;
  return __builtin_ctzll((uint64_t)by->value.i);
}

/* Division of integers rounds down, as a shift does. */
static c_expr cv_divide(const c_render *r, const tg_ins *in, tg_dtype from, bool vector,
                        c_expr x, c_expr y) {
  int shift = cv_shift(r->code, in);
  const char *name = in->op == TG_OP_DIV ? "div" : "mod";
  if (shift < 0) return cv_call(name, r, from, vector, x.at, y.at);
  if (in->op == TG_OP_DIV) return cv_print("%.900s >> %d", x.at, shift);
  return cv_print("%.900s & %lld", x.at, (1LL << shift) - 1);
}

/* Positions are compared as values that the compiler does not know: gcc 12 takes
 * {8, ..., 15} < 15 for true in all lanes, where masks are bits (AVX-512) and it has
 * unrolled the loop. */
static c_expr cv_operand(const c_render *r, const tg_ins *in, int k, bool vector) {
  const tg_ins *x = &r->code->ins[in->src[k]];
  bool compares = in->op == TG_OP_CMPLT || in->op == TG_OP_CMPEQ;
  bool nearest = vector && r->suffix == 'n' && cv_is_compared(r, in, k) && cv_is_long(x);
  bool position = compares && r->code->row_of[in->src[k]] >= 0 && tg_c_is_vector(r, in->src[k]);
  if (nearest)
    return cv_print("splat_i32n(nearest_i32(%.900s))", tg_c_use(r, in->src[k], false).at);
  c_expr use = tg_c_use(r, in->src[k], vector);
  return position ? cv_print("hidden_%c(%.900s)", r->suffix, use.at) : use;
}

static c_expr cv_binary(const c_render *r, const tg_ins *in, bool vector) {
  tg_dtype from = r->code->ins[in->src[0]].dtype;
  c_expr x = cv_operand(r, in, 0, vector), y = cv_operand(r, in, 1, vector);
  bool real = tg_dtype_is_float(from), truth = from == TG_BOOL;
  switch ((int)in->op) {
    case TG_OP_ADD: return truth ? cv_infix(x.at, "|", y.at) : cv_infix(x.at, "+", y.at);
    case TG_OP_SUB: return truth ? cv_infix(x.at, "^", y.at) : cv_infix(x.at, "-", y.at);
    case TG_OP_MUL: return truth ? cv_infix(x.at, "&", y.at) : cv_infix(x.at, "*", y.at);
    case TG_OP_AND: return cv_infix(x.at, "&", y.at);
    case TG_OP_OR: return cv_infix(x.at, "|", y.at);
    case TG_OP_XOR: return cv_infix(x.at, "^", y.at);
    case TG_OP_DIV:
      return real ? cv_infix(x.at, "/", y.at) : cv_divide(r, in, from, vector, x, y);
    case TG_OP_MOD: return cv_divide(r, in, from, vector, x, y);
    case TG_OP_MAX:
      if (truth) return cv_infix(x.at, "|", y.at);
      return cv_call("max", r, from, vector, x.at, y.at);
    case TG_OP_POW: return cv_call("pow", r, from, vector, x.at, y.at);
    case TG_OP_THREEFRY: return cv_call("threefry", r, from, vector, x.at, y.at);
    case TG_OP_CMPLT:
      return vector ? cv_call("less", r, from, true, x.at, y.at) : cv_infix(x.at, "<", y.at);
    case TG_OP_CMPEQ:
      return vector ? cv_call("equal", r, from, true, x.at, y.at) : cv_infix(x.at, "==", y.at);
  }
  return cv_print("#error op %d", (int)in->op);
}

static c_expr cv_unary(const c_render *r, const tg_ins *in, bool vector) {
  c_expr x = tg_c_use(r, in->src[0], vector);
  switch ((int)in->op) {
    case TG_OP_NEG: return in->dtype == TG_BOOL ? x : cv_print("-(%.900s)", x.at);
    case TG_OP_EXP: return cv_call("exp", r, in->dtype, vector, x.at, NULL);
    case TG_OP_LOG: return cv_call("log", r, in->dtype, vector, x.at, NULL);
    case TG_OP_SIN: return cv_call("sin", r, in->dtype, vector, x.at, NULL);
    case TG_OP_SQRT: return cv_call("sqrt", r, in->dtype, vector, x.at, NULL);
    case TG_OP_TRUNC:
      return tg_dtype_is_float(in->dtype) ? cv_call("trunc", r, in->dtype, vector, x.at, NULL) : x;
  }
  return cv_print("#error op %d", (int)in->op);
}

static c_expr cv_cast(const c_render *r, const tg_ins *in, bool vector) {
  tg_dtype from = r->code->ins[in->src[0]].dtype, to = in->dtype;
  c_expr x = tg_c_use(r, in->src[0], vector);
  bool whole = tg_dtype_is_float(from) && !tg_dtype_is_float(to);
  if (!vector) {
    if (to == TG_BOOL) return cv_print("%.900s != 0", x.at);
    if (whole) return cv_print("%s_of_%s(%.900s)", tg_c_type(to), tg_c_type(from), x.at);
    return cv_print("(%s)%.900s", tg_c_type(to), x.at);
  }
  c_expr type = tg_c_vector_type(r, to), of = tg_c_name(r, from);
  if (to == TG_BOOL && from == TG_BOOL) return x;
  if (to == TG_BOOL) return cv_print("~equal_%s(%.900s, (%s){0})", of.at, x.at, of.at);
  if (from == TG_BOOL) return cv_print("TO(%s, -%.900s)", type.at, x.at);
  if (whole) return cv_print("%s_of_%s(%.900s)", tg_c_type(cv_lane_dtype(r, to)), of.at, x.at);
  /* Compilers do better by way of int32. */
  bool byte = tg_dtype_size(from) < 4 && tg_dtype_is_float(to);
  if (byte) return cv_print("TO(%s, TO(i32%c, %.900s))", type.at, r->suffix, x.at);
  return cv_print("TO(%s, %.900s)", type.at, x.at);
}

static c_expr cv_bitcast(const c_render *r, const tg_ins *in, bool vector) {
  c_expr x = tg_c_use(r, in->src[0], vector);
  if (vector) {
    c_expr type = tg_c_vector_type(r, in->dtype);
    return cv_print("(%s)%.900s", type.at, x.at);
  }
  const char *from = tg_c_type(r->code->ins[in->src[0]].dtype), *to = tg_c_type(in->dtype);
  return cv_print("((union { %s x; %s y; }){.x = %.900s}).y", from, to, x.at);
}

static c_expr cv_where(const c_render *r, const tg_ins *in, bool vector) {
  c_expr x = tg_c_use(r, in->src[1], vector), y = tg_c_use(r, in->src[2], vector);
  c_expr c = tg_c_use(r, in->src[0], false), type = tg_c_name(r, in->dtype);
  if (vector && tg_c_is_vector(r, in->src[0]))
    return cv_print("select_%s(%.100s, %.900s, %.900s)", type.at, c.at, x.at, y.at);
  return cv_print("%.100s ? %.900s : %.900s", c.at, x.at, y.at);
}

/* ---- memory */

static int cv_lanes(const c_render *r) { return r->part ? r->part : r->width; }

/* A vector load along a row with a step of 1, or another. */
static c_expr cv_load_row(const c_render *r, const tg_ins *in, const char *at, int64_t step) {
  c_expr type = tg_c_name(r, in->dtype);
  bool gated = in->src[1] >= 0 && tg_c_is_vector(r, in->src[1]);
  if (!gated && step == 1 && !r->part) return cv_print("load_%s(%.900s)", type.at, at);
  if (!gated && step == 1) return cv_print("load_part_%s(%.900s, %d)", type.at, at, r->part);
  if (!gated)
    return cv_print("gather_%s(%.900s, %lld, %d)", type.at, at, (long long)step, cv_lanes(r));
  c_expr mask = tg_c_use(r, in->src[1], true);
  if (r->part) mask = cv_print("%.100s & first_%c(%d)", mask.at, r->suffix, r->part);
  if (step == 1) return cv_print("load_if_%s(%.900s, %.200s)", type.at, at, mask.at);
  return cv_print("gather_if_%s(%.900s, %lld, %.200s)", type.at, at, (long long)step, mask.at);
}

/* Does the index rise by 0 or 1 from lane to lane? As where an image is enlarged. */
static bool cv_creeps(const c_render *r, int32_t i) {
  const tg_ins *in = &r->code->ins[i];
  int32_t row = r->code->row_of[i];
  if (row >= 0) return bi_row(r->code, row)[r->lane] == 1;
  if (in->op == TG_OP_DIV) return cv_shift(r->code, in) >= 0 && cv_creeps(r, in->src[0]);
  if (in->op != TG_OP_ADD) return false;
  bool first = tg_c_is_vector(r, in->src[0]), second = tg_c_is_vector(r, in->src[1]);
  return first != second && cv_creeps(r, in->src[first ? 0 : 1]);
}

static c_expr cv_load_indexed(const c_render *r, const tg_ins *in) {
  c_expr type = tg_c_name(r, in->dtype), at = tg_c_use(r, in->src[0], true);
  c_expr mask = cv_print("splat_m%c(1)", r->suffix);
  if (in->src[1] >= 0) mask = tg_c_use(r, in->src[1], true);
  if (r->part) mask = cv_print("%.100s & first_%c(%d)", mask.at, r->suffix, r->part);
  const char *index = r->suffix == 'n' ? "i32" : "i64";
  int64_t size = r->code->slot_size[in->slot];
  if (!strcmp(type.at, "f32n") && size <= INT32_MAX && cv_creeps(r, in->src[0]))
    return cv_print("near_f32n(p%d, %.200s, %.300s, %lld)", in->slot, at.at, mask.at,
                    (long long)size);
  return cv_print("at_%s_%s(p%d, %.200s, %.300s)", type.at, index, in->slot, at.at, mask.at);
}

static c_expr cv_load(const c_render *r, const tg_ins *in, bool vector) {
  int32_t row = r->code->row_of[in->src[0]];
  c_expr at = row < 0 ? tg_c_use(r, in->src[0], false) : tg_c_row(r->code, bi_row(r->code, row));
  c_expr value;
  bool index_varies = row < 0 ? tg_c_is_vector(r, in->src[0])
                              : r->lane >= 0 && bi_row(r->code, row)[r->lane] != 0;
  if (!vector || !index_varies) {
    value = cv_print("p%d[%.900s]", in->slot, at.at);
    if (in->dtype == TG_BOOL) value = cv_print("(_Bool)p%d[%.900s]", in->slot, at.at);
    if (vector) { /* only the gate moves with the lanes */
      c_expr zero = tg_c_name(r, in->dtype), type = tg_c_vector_type(r, in->dtype);
      c_expr mask = tg_c_use(r, in->src[1], true);
      return cv_print("any_%c(%.100s) ? select_%s(%.100s, splat_%s(%.900s), (%s){0}) : (%s){0}",
                      r->suffix, mask.at, zero.at, mask.at, type.at, value.at, type.at, type.at);
    }
  } else if (row < 0) {
    return cv_load_indexed(r, in);
  } else {
    c_expr pointer = cv_print("p%d + %.900s", in->slot, at.at);
    value = cv_load_row(r, in, pointer.at, bi_row(r->code, row)[r->lane]);
  }
  if (in->src[1] < 0 || tg_c_is_vector(r, in->src[1])) return value;
  c_expr gate = tg_c_use(r, in->src[1], false), type = tg_c_vector_type(r, in->dtype);
  if (vector) return cv_print("%.100s ? %.1200s : (%s){0}", gate.at, value.at, type.at);
  return cv_print("%.100s ? %.1200s : 0", gate.at, value.at);
}

/* Results that no cache holds until they are read: only where a vector is a whole line. */
bool tg_c_streams(const c_render *r, int32_t i) {
  const tg_ins *in = &r->code->ins[i];
  return in->op == TG_OP_STORE && r->streams && tg_isa_vector_bytes() == CV_LINE &&
         r->code->slot[in->slot] == TG_FLOAT32 && r->code->slot_size[in->slot] >= CV_STREAM;
}

static void cv_store(c_render *r, int32_t i) {
  const tg_ins *in = &r->code->ins[i];
  const int64_t *row = bi_row(r->code, r->code->row_of[in->src[0]]);
  c_expr at = tg_c_row(r->code, row), type = tg_c_name(r, in->dtype);
  if (r->lane < 0 || !row[r->lane]) {
    c_expr value = tg_c_use(r, in->src[1], false);
    tg_c_line(r, "p%d[%.900s] = %.900s;", in->slot, at.at, value.at);
    return;
  }
  c_expr value = tg_c_use(r, in->src[1], true);
  if (row[r->lane] != 1)
    tg_c_line(r, "scatter_%s(p%d + %.900s, %lld, %.900s, %d);", type.at, in->slot, at.at,
              (long long)row[r->lane], value.at, cv_lanes(r));
  else if (r->part)
    tg_c_line(r, "store_part_%s(p%d + %.900s, %.900s, %d);", type.at, in->slot, at.at, value.at,
              r->part);
  else if (tg_c_streams(r, i) && r->suffix == 'n')
    tg_c_line(r, "stream_f32n(p%d + %.900s, %.900s);", in->slot, at.at, value.at);
  else tg_c_line(r, "store_%s(p%d + %.900s, %.900s);", type.at, in->slot, at.at, value.at);
}

/* ---- instructions */

/* An affine int64 that is wanted as a value. */
static c_expr cv_row_value(const c_render *r, int32_t i, bool vector) {
  const int64_t *row = bi_row(r->code, r->code->row_of[i]);
  c_expr at = tg_c_row(r->code, row), type = tg_c_name(r, TG_INT64);
  if (!vector) return at;
  const char *narrow = r->suffix == 'n' ? "(i32)" : "";
  return cv_print("splat_%s(%s(%.900s)) + lanes_%c() * %lld", type.at, narrow, at.at, r->suffix,
                  (long long)row[r->lane]);
}

static c_expr cv_value(const c_render *r, int32_t i, bool vector) {
  const tg_ins *in = &r->code->ins[i];
  if (r->code->row_of[i] >= 0) return cv_row_value(r, i, vector);
  if (tg_c_keep_loads(r, i)) {
    c_expr type = tg_c_name(r, in->dtype);
    return cv_print("load_%s(kept%d + i%d)", type.at, tg_c_keep_row(r, i), r->lane);
  }
  if (in->op == TG_OP_LOAD) return cv_load(r, in, vector);
  if (in->op == TG_OP_CAST) return cv_cast(r, in, vector);
  if (in->op == TG_OP_BITCAST) return cv_bitcast(r, in, vector);
  if (in->op == TG_OP_WHERE) return cv_where(r, in, vector);
  if (in->op == TG_OP_CHECK) {
    c_expr x = tg_c_use(r, in->src[0], vector), type = tg_c_name(r, TG_INT64);
    long long bound = (long long)in->value.i;
    if (!vector) return cv_print("check(call, %.900s, %lld)", x.at, bound);
    return cv_print("check_%s(call, %.900s, %lld, %d)", type.at, x.at, bound, cv_lanes(r));
  }
  return cv_wrap(in->dtype, vector, tg_op_table[in->op].class == TG_CLASS_UNARY
                                        ? cv_unary(r, in, vector) : cv_binary(r, in, vector));
}

void tg_c_instruction(c_render *r, int32_t i) {
  const tg_ins *in = &r->code->ins[i];
  if (bi_is_store(in->op)) {
    cv_store(r, i);
    return;
  }
  bool vector = tg_c_is_vector(r, i);
  c_expr value = cv_value(r, i, vector), type = tg_c_vector_type(r, in->dtype);
  const char *scalar = in->dtype == TG_BOOL ? "_Bool" : tg_c_type(in->dtype);
  bool loads = tg_c_keep_loads(r, i);
  bool rounds = in->op == TG_OP_MUL && tg_dtype_is_float(in->dtype) && !loads;
  const char *constant = rounds ? "" : "const ", *name = vector ? type.at : scalar;
  tg_c_line(r, "%s%s v%d = %.2900s;", constant, name, i, value.at);
  if (rounds) tg_c_line(r, "PIN(v%d);", i); /* a product is rounded before it is added */
  int kept = loads ? -1 : tg_c_keep_row(r, i);
  c_expr of = tg_c_name(r, in->dtype);
  if (kept >= 0) tg_c_line(r, "store_%s(kept%d + i%d, v%d);", of.at, kept, r->lane, i);
}

static bool cv_ready(const c_render *r, int32_t i) {
  const tg_ins *in = &r->code->ins[i];
  bool memory = in->op == TG_OP_LOAD || bi_is_store(in->op);
  if (r->code->row_of[i] >= 0 || tg_c_keep_loads(r, i)) return true;
  for (int k = 0; k < 3; k++) {
    int32_t from = in->src[k];
    if (from < 0 || r->done[from] || r->code->ins[from].op == TG_OP_CONST) continue;
    if (!(memory && k == 0 && r->code->row_of[from] >= 0)) return false;
  }
  return true;
}

void tg_c_level(c_render *r, const bool *needed) {
  for (int32_t i = 0; i < r->code->count; i++) {
    const tg_ins *in = &r->code->ins[i];
    if (!needed[i] || r->done[i] || in->op == TG_OP_CONST || in->op == TG_OP_REDUCE) continue;
    if (bi_is_store(in->op) && !r->stores) continue;
    if ((in->ranges & ~r->open) || !cv_ready(r, i)) continue;
    tg_c_instruction(r, i);
    r->done[i] = true;
  }
}
