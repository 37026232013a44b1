/* compile/simplify: index arithmetic with bounds.
 *
 * Movement ops leave sums of ranges, divisions and remainders behind: a reshape
 * flattens and unflattens, (i * 4 + j) / 4 and (i * 4 + j) % 4. Loops over such
 * indices are slow and hide what is contiguous. So every sum is kept in one
 * form, a list of terms instruction * factor in the order of the instructions
 * plus a constant, and division looks at the terms: what the divisor divides
 * comes out, and what is too small to matter goes. Both need bounds, which
 * build.c keeps for every integer.
 *
 * Integers of the user come through here too, and they wrap. Sums stay right: each
 * form is equal to the others modulo 2^64, and so is n * (x / n) + x % n to x.
 * Division and comparison are right only where nothing has wrapped, and that is
 * what known bounds say: an instruction has them if its operands do and no step
 * from there can leave int64. Where one is unknown (an index that was loaded from
 * memory, a sum that may overflow) nothing is assumed.
 */
#include "compile/build.h"

#define MOST_TERMS 24

typedef struct sum {
  int count;
  int64_t constant;
  int32_t term[MOST_TERMS];
  int64_t factor[MOST_TERMS];
} sum;

static int32_t plain(tg_builder *b, tg_op op, int32_t x, int32_t y) {
  tg_ins in;
  memset(&in, 0, sizeof in);
  in.op = op;
  in.dtype = op == TG_OP_CMPLT ? TG_BOOL : TG_INT64;
  in.src[0] = x;
  in.src[1] = y;
  in.src[2] = -1;
  return tg_ir_raw(b, in);
}

static bool has_bounds(const tg_builder *b, int32_t x) {
  return tg_ins_at(b, x)->low != INT64_MIN && tg_ins_at(b, x)->high != INT64_MAX;
}

/* Arithmetic of constants wraps, as the instructions do. */
static int64_t wrap_add(int64_t a, int64_t c) { return (int64_t)((uint64_t)a + (uint64_t)c); }
static int64_t wrap_mul(int64_t a, int64_t c) { return (int64_t)((uint64_t)a * (uint64_t)c); }

/* ---- sums */

static bool add_term(sum *s, int32_t term, int64_t factor) {
  int i = 0;
  while (i < s->count && s->term[i] < term) i++;
  if (i < s->count && s->term[i] == term) {
    s->factor[i] = wrap_add(s->factor[i], factor);
    if (s->factor[i]) return true;
    s->count--;
    memmove(&s->term[i], &s->term[i + 1], (size_t)(s->count - i) * sizeof *s->term);
    memmove(&s->factor[i], &s->factor[i + 1], (size_t)(s->count - i) * sizeof *s->factor);
    return true;
  }
  if (s->count == MOST_TERMS) return false;
  memmove(&s->term[i + 1], &s->term[i], (size_t)(s->count - i) * sizeof *s->term);
  memmove(&s->factor[i + 1], &s->factor[i], (size_t)(s->count - i) * sizeof *s->factor);
  s->term[i] = term;
  s->factor[i] = factor;
  s->count++;
  return true;
}

/* Adds factor * x to the sum. A sum is left-leaning: ADD(rest, last term). */
static bool collect_terms(const tg_builder *b, int32_t x, int64_t factor, sum *s) {
  for (;;) {
    const tg_ins *in = tg_ins_at(b, x);
    if (in->op == TG_OP_CONST) {
      s->constant = wrap_add(s->constant, wrap_mul(factor, in->value.i));
      return true;
    }
    if (in->op == TG_OP_MUL && tg_ins_at(b, in->src[1])->op == TG_OP_CONST)
      return add_term(s, in->src[0], wrap_mul(factor, tg_ins_at(b, in->src[1])->value.i));
    if (in->op != TG_OP_ADD) return add_term(s, x, factor);
    if (!collect_terms(b, in->src[1], factor, s)) return false;
    x = in->src[0];
  }
}

static bool is_division(const tg_builder *b, const tg_ins *in, tg_op op) {
  return in->op == op && tg_ins_at(b, in->src[1])->op == TG_OP_CONST;
}

/* What n * d + x % n is, if it is one instruction: x, where d is x / n. That has become
 * y / (c * n) if x is y / c; and where d is (z % m) / n with n a divisor of m, x % n
 * was (z % m) % n. Else -1. */
static int32_t joined(const tg_builder *b, int32_t d, int32_t x, int64_t n) {
  const tg_ins *div = tg_ins_at(b, d), *inner = tg_ins_at(b, x);
  if (n <= 0 || !is_division(b, div, TG_OP_DIV)) return -1;
  int32_t y = div->src[0];
  int64_t by = tg_ins_at(b, div->src[1])->value.i;
  if (y == x && by == n) return x;
  int64_t both;
  if (is_division(b, inner, TG_OP_DIV) && inner->src[0] == y &&
      tg_ins_at(b, inner->src[1])->value.i > 0 &&
      !__builtin_mul_overflow(tg_ins_at(b, inner->src[1])->value.i, n, &both) && by == both)
    return x;
  const tg_ins *rest = tg_ins_at(b, y);
  if (by == n && is_division(b, rest, TG_OP_MOD) && rest->src[0] == x &&
      tg_ins_at(b, rest->src[1])->value.i > 0 && tg_ins_at(b, rest->src[1])->value.i % n == 0)
    return y;
  return -1;
}

/* n * (x / n) + x % n = x, wherever both stand in the sum. */
static void rejoin(const tg_builder *b, sum *s) {
  for (int i = 0; i < s->count; i++) {
    const tg_ins *mod = tg_ins_at(b, s->term[i]);
    if (!is_division(b, mod, TG_OP_MOD)) continue;
    int64_t n = tg_ins_at(b, mod->src[1])->value.i, factor = s->factor[i];
    for (int j = 0; j < s->count; j++) {
      if (s->factor[j] != wrap_mul(factor, n)) continue;
      int32_t whole = joined(b, s->term[j], mod->src[0], n);
      if (whole < 0) continue;
      sum joint = *s;
      add_term(&joint, s->term[i], wrap_mul(s->factor[i], -1));
      add_term(&joint, s->term[j], wrap_mul(s->factor[j], -1));
      if (!collect_terms(b, whole, factor, &joint)) break; /* no room: they stay apart */
      *s = joint;
      i = -1; /* start again: more may join now */
      break;
    }
  }
}

static int32_t emit(tg_builder *b, sum *s) {
  rejoin(b, s);
  int32_t out = -1;
  for (int i = 0; i < s->count; i++) {
    int32_t term = s->factor[i] == 1 ? s->term[i]
                                     : plain(b, TG_OP_MUL, s->term[i], tg_ir_int(b, s->factor[i]));
    out = out < 0 ? term : plain(b, TG_OP_ADD, out, term);
  }
  if (out < 0) return tg_ir_int(b, s->constant);
  return s->constant ? plain(b, TG_OP_ADD, out, tg_ir_int(b, s->constant)) : out;
}

int32_t tg_ix_add(tg_builder *b, int32_t x, int32_t y) {
  if (b->failed) return 0;
  sum s = {0};
  if (collect_terms(b, x, 1, &s) && collect_terms(b, y, 1, &s)) return emit(b, &s);
  return plain(b, TG_OP_ADD, x, y);
}

int32_t tg_ix_mul(tg_builder *b, int32_t x, int64_t factor) {
  if (b->failed) return 0;
  sum s = {0};
  if (factor == 0) return tg_ir_int(b, 0);
  if (collect_terms(b, x, factor, &s)) return emit(b, &s);
  return plain(b, TG_OP_MUL, x, tg_ir_int(b, factor));
}

/* ---- division */

static bool bounds_of(const tg_builder *b, const sum *s, int64_t *low, int64_t *high) {
  *low = *high = s->constant;
  for (int i = 0; i < s->count; i++) {
    const tg_ins *t = tg_ins_at(b, s->term[i]);
    int64_t first, last;
    if (!has_bounds(b, s->term[i]) || __builtin_mul_overflow(t->low, s->factor[i], &first) ||
        __builtin_mul_overflow(t->high, s->factor[i], &last))
      return false;
    int64_t least = first < last ? first : last, most = first < last ? last : first;
    if (__builtin_add_overflow(*low, least, low) || __builtin_add_overflow(*high, most, high))
      return false;
  }
  return true;
}

/* s = divisor * whole + rest, term by term, 0 <= rest.constant < divisor. */
static void split(const sum *s, int64_t divisor, sum *whole, sum *rest) {
  memset(whole, 0, sizeof *whole);
  memset(rest, 0, sizeof *rest);
  whole->constant = tg_floor_div(s->constant, divisor);
  rest->constant = s->constant - whole->constant * divisor;
  for (int i = 0; i < s->count; i++) {
    if (s->factor[i] % divisor == 0) add_term(whole, s->term[i], s->factor[i] / divisor);
    else add_term(rest, s->term[i], s->factor[i]);
  }
}

/* Finds a divisor g of `divisor` with s = g * big + small and small in [0, g):
 * then s / divisor = big / (divisor / g), and small only matters to s % divisor. */
static bool coarsen(const tg_builder *b, const sum *s, int64_t divisor, int64_t *g, sum *big,
                    sum *small) {
  for (int i = 0; i < s->count; i++) {
    int64_t factor = s->factor[i] < 0 ? -s->factor[i] : s->factor[i], low, high;
    if (factor <= 1 || divisor % factor != 0 || factor == divisor) continue;
    split(s, factor, big, small);
    if (!bounds_of(b, small, &low, &high) || low < 0 || high >= factor) continue;
    *g = factor;
    return true;
  }
  return false;
}

int32_t tg_ix_div(tg_builder *b, int32_t x, int64_t divisor) {
  if (b->failed) return 0;
  if (divisor == 1) return x;
  sum s = {0}, whole, rest, big, small;
  int64_t low, high, g;
  if (!has_bounds(b, x) || !collect_terms(b, x, 1, &s))
    return plain(b, TG_OP_DIV, x, tg_ir_int(b, divisor));
  split(&s, divisor, &whole, &rest);
  if (bounds_of(b, &rest, &low, &high) &&
      tg_floor_div(low, divisor) == tg_floor_div(high, divisor)) {
    whole.constant += tg_floor_div(low, divisor);
    return emit(b, &whole);
  }
  int32_t fraction;
  if (coarsen(b, &rest, divisor, &g, &big, &small)) {
    fraction = tg_ix_div(b, emit(b, &big), divisor / g);
  } else {
    int32_t r = emit(b, &rest);
    const tg_ins *in = tg_ins_at(b, r);
    int64_t both;
    if (is_division(b, in, TG_OP_DIV) && tg_ins_at(b, in->src[1])->value.i > 0 &&
        !__builtin_mul_overflow(tg_ins_at(b, in->src[1])->value.i, divisor, &both))
      fraction = tg_ix_div(b, in->src[0], both);
    else fraction = plain(b, TG_OP_DIV, r, tg_ir_int(b, divisor));
  }
  return tg_ix_add(b, emit(b, &whole), fraction);
}

int32_t tg_ix_mod(tg_builder *b, int32_t x, int64_t divisor) {
  if (b->failed) return 0;
  if (divisor == 1) return tg_ir_int(b, 0);
  sum s = {0}, whole, rest, big, small;
  int64_t low, high, g;
  if (!has_bounds(b, x) || !collect_terms(b, x, 1, &s))
    return plain(b, TG_OP_MOD, x, tg_ir_int(b, divisor));
  split(&s, divisor, &whole, &rest);
  if (bounds_of(b, &rest, &low, &high) &&
      tg_floor_div(low, divisor) == tg_floor_div(high, divisor)) {
    rest.constant -= tg_floor_div(low, divisor) * divisor;
    return emit(b, &rest);
  }
  if (coarsen(b, &rest, divisor, &g, &big, &small)) {
    int32_t high_part = tg_ix_mul(b, tg_ix_mod(b, emit(b, &big), divisor / g), g);
    return tg_ix_add(b, high_part, emit(b, &small));
  }
  int32_t r = emit(b, &rest);
  const tg_ins *in = tg_ins_at(b, r);
  if (is_division(b, in, TG_OP_MOD) && tg_ins_at(b, in->src[1])->value.i > 0 &&
      tg_ins_at(b, in->src[1])->value.i % divisor == 0)
    return tg_ix_mod(b, in->src[0], divisor);
  return plain(b, TG_OP_MOD, r, tg_ir_int(b, divisor));
}

/* ---- comparison */

/* Neither has wrapped (a + 1 < a where that wraps), and x - y does not either. */
static bool comparable(const tg_builder *b, int32_t x, int32_t y) {
  const tg_ins *a = tg_ins_at(b, x), *c = tg_ins_at(b, y);
  int64_t unused;
  return has_bounds(b, x) && has_bounds(b, y) &&
         !__builtin_sub_overflow(a->low, c->high, &unused) &&
         !__builtin_sub_overflow(a->high, c->low, &unused);
}

int32_t tg_ix_less(tg_builder *b, int32_t x, int32_t y) {
  if (b->failed) return 0;
  sum s = {0};
  int64_t low, high;
  if (comparable(b, x, y) && collect_terms(b, x, 1, &s) && collect_terms(b, y, -1, &s) &&
      bounds_of(b, &s, &low, &high)) {
    if (high < 0) return tg_ir_bool(b, true);
    if (low >= 0) return tg_ir_bool(b, false);
  }
  return plain(b, TG_OP_CMPLT, x, y);
}
