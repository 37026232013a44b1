/* tensor/random: random tensors from counters.
 *
 * Threefry2x32 (Salmon et al. 2011) scrambles a 64-bit counter under a 64-bit
 * key into 64 random bits. A thread's key is its seed; its counter counts the
 * numbers drawn so far. A draw of n numbers takes n counters when it is made,
 * so it does not matter when, where or in which order it is computed: the bits
 * depend on seed and position alone. Key and first counter reach the kernel
 * through a buffer of two numbers rather than as constants, so that two draws
 * of one shape are the same kernel.
 *
 * Bits become a float by keeping as many low ones as the dtype has digits and
 * scaling: a multiple of 2^-24 in [0, 1) for float32. Everything else is made
 * from such floats. The 16-bit floats are drawn in float32 where a formula
 * follows. Public functions end in a CONTIGUOUS node: what is drawn is stored,
 * not drawn again by each of its users.
 */
#include <time.h>

#include "autograd/functions.h"
#include "tensor/tensor.h"

static const tg_create_opts no_random_options;

/* ---- the thread's generator */

void tg_manual_seed(uint64_t seed) {
  if (tg_recording_refuses("tg_manual_seed")) return;
  tg_thread *thread = tg_this_thread();
  thread->seed = seed;
  thread->drawn = 0;
  thread->seeded = true;
}

/* Without a seed: the time and where this thread's state lies, scrambled by
 * splitmix64 (Steele et al. 2014) so that close times give distant seeds. */
static void seed_somehow(tg_thread *thread) {
  struct timespec now = {0, 0};
  timespec_get(&now, TIME_UTC);
  uint64_t z = (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
  z ^= (uint64_t)(uintptr_t)thread << 20;
  z += UINT64_C(0x9e3779b97f4a7c15);
  z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
  tg_manual_seed(z ^ z >> 31);
}

tg_buffer *tg_draw_counters(int64_t count) {
  tg_thread *thread = tg_this_thread();
  if (!thread->seeded) seed_somehow(thread);
  tg_buffer *buffer = tg_buffer_new(2 * sizeof(uint64_t));
  if (!buffer) return NULL;
  const uint64_t state[] = {thread->seed, thread->drawn};
  memcpy(buffer->data, state, sizeof state);
  thread->drawn += (uint64_t)count;
  return buffer;
}

/* A buffer with the key and the first of `count` counters, which are taken. */
static tg_node *take_counters(int64_t count, int device) {
  tg_thread *thread = tg_this_thread();
  uint64_t drawn = thread->drawn;
  tg_buffer *buffer = tg_draw_counters(count);
  bool noted = buffer && tg_note_draw(buffer, count);
  tg_node *node = noted ? tg_node_buffer(buffer, TG_UINT64, device, 1, &(int64_t){2}) : NULL;
  tg_buffer_release(buffer);
  if (!node) thread->drawn = drawn;
  return node;
}

/* ---- bits and floats, as nodes of one axis */

/* Number `i` of `state`, `count` times. */
static tg_node *repeated(tg_node *state, int64_t i, int64_t count) {
  return tg_node_expand(tg_node_shrink(state, (const int64_t[]){i, i + 1}), &count);
}

static tg_node *random_bits(int64_t count, int device) {
  if (count == 0) return tg_node_const(TG_UINT64, device, 1, &count, (tg_value){0});
  tg_node *state = take_counters(count, device);
  tg_node *place = tg_node_cast(tg_node_iota(device, 1, &count, 0), TG_UINT64);
  tg_node *counter = tg_n_add(repeated(state, 1, count), place);
  return tg_node_binary(TG_OP_THREEFRY, counter, repeated(state, 0, count));
}

/* Uniform in [0, 1): as many low bits as the dtype has digits. */
static tg_node *unit_floats(int64_t count, tg_dtype dtype, int device) {
  int digits = dtype == TG_FLOAT64 ? 53 : dtype == TG_FLOAT32 ? 24 : dtype == TG_FLOAT16 ? 11 : 8;
  tg_node *bits = random_bits(count, device);
  tg_value mask = {.i = (INT64_C(1) << digits) - 1};
  tg_node *keep = tg_node_const(TG_UINT64, device, 1, &count, mask);
  tg_node *low = tg_node_binary(TG_OP_AND, bits, keep);
  low = tg_node_cast(tg_node_cast(low, digits > 31 ? TG_INT64 : TG_INT32), dtype);
  return low ? tg_n_mul(low, tg_n_num(low, ldexp(1, -digits))) : NULL;
}

/* ---- what every random function does first and last */

typedef struct draw {
  const char *call;
  const tg_create_opts *o;
  tg_shape shape;
  int64_t count;
  int device;
  tg_dtype dtype; /* of the result */
  tg_dtype wide;  /* to compute in: float32, or float64 */
} draw;

static bool draw_check(draw *d, const char *call, tg_shape shape, const tg_create_opts *o,
                       tg_dtype otherwise) {
  *d = (draw){.call = call, .o = o ? o : &no_random_options, .shape = shape};
  d->dtype = tg_dtype_or_default(d->o->dtype ? d->o->dtype : otherwise);
  d->count = tg_check_shape(call, shape, d->dtype);
  if (d->count < 0 || tg_check_shape(call, shape, TG_INT64) < 0) return false; /* counters */
  d->device = tg_device_index(call, d->o->device);
  d->wide = d->dtype == TG_FLOAT64 ? TG_FLOAT64 : TG_FLOAT32;
  return d->device >= 0;
}

/* The same for a function that makes floats only. */
static bool float_check(draw *d, const char *call, tg_shape shape, const tg_create_opts *o) {
  if (!draw_check(d, call, shape, o, TG_DEFAULT_DTYPE)) return false;
  if (tg_dtype_is_float(d->dtype)) return true;
  tg_fail("%s: makes floats, not %s; draw whole numbers with tg_randint, or cast", call,
          tg_dtype_name(d->dtype));
  return false;
}

/* `flat` in the shape and dtype asked for, stored once computed. */
static tg_tensor *drawn(const draw *d, int64_t mark, tg_node *flat) {
  tg_node *shaped = tg_node_reshape(tg_node_cast(flat, d->dtype), d->shape.ndim, d->shape.dim);
  return tg_created(d->call, mark, tg_node_contiguous(shaped), d->o);
}

/* ---- uniform */

tg_tensor *(tg_rand)(tg_shape shape, const tg_create_opts *o) {
  draw d;
  if (!float_check(&d, "tg_rand", shape, o)) return NULL;
  int64_t mark = tg_pool_mark();
  return drawn(&d, mark, unit_floats(d.count, d.dtype, d.device));
}

/* low + (high - low) u, and low where that is rounded to high. */
static tg_tensor *uniform(const draw *d, double low, double high) {
  int64_t mark = tg_pool_mark();
  tg_node *u = unit_floats(d->count, d->wide, d->device);
  if (u) u = tg_n_add(tg_n_mul(u, tg_n_num(u, high - low)), tg_n_num(u, low));
  if (u) u = tg_node_cast(u, d->dtype);
  if (u) u = tg_node_where(tg_n_lt(u, tg_n_num(u, high)), u, tg_n_num(u, low));
  return drawn(d, mark, u);
}

/* True when neither bound was given; a bound of TG_ZERO was. */
static bool no_bounds(const tg_create_opts *o) {
  return o->low == 0 && o->high == 0 && !signbit(o->low) && !signbit(o->high);
}

tg_tensor *(tg_uniform)(tg_shape shape, const tg_create_opts *o) {
  draw d;
  if (!float_check(&d, "tg_uniform", shape, o)) return NULL;
  double low = d.o->low, high = d.o->high;
  if (no_bounds(d.o)) low = -1, high = 1;
  if (!(low <= high) || !isfinite(high - low))
    return tg_fail("tg_uniform: low %g and high %g are no range; low must not be above high", low,
                   high);
  return uniform(&d, low, high);
}

/* Uniform in [-bound, bound); the functions below differ in their bound only. */
static tg_tensor *symmetric(const draw *d, double bound) {
  return d->count ? uniform(d, -bound, bound) : uniform(d, 0, 0);
}

/* How many inputs one output has: the elements per index of axis 0. */
static double fan_in(const draw *d) {
  double fan = 1;
  for (int i = 1; i < d->shape.ndim; i++) fan *= (double)d->shape.dim[i];
  return fan;
}

tg_tensor *(tg_scaled_uniform)(tg_shape shape, const tg_create_opts *o) {
  draw d;
  if (!float_check(&d, "tg_scaled_uniform", shape, o)) return NULL;
  return symmetric(&d, 1 / sqrt((double)d.count));
}

/* A weight's axis 0 counts its outputs; a scalar has none. */
static bool weight_check(draw *d, const char *call, tg_shape shape, const tg_create_opts *o) {
  if (!float_check(d, call, shape, o)) return false;
  if (shape.ndim > 0) return true;
  tg_fail("%s: a scalar has no inputs and outputs to count; give at least one axis", call);
  return false;
}

tg_tensor *(tg_glorot_uniform)(tg_shape shape, const tg_create_opts *o) {
  draw d;
  if (!weight_check(&d, "tg_glorot_uniform", shape, o)) return NULL;
  return symmetric(&d, sqrt(6 / ((double)shape.dim[0] + fan_in(&d))));
}

/* For the two by He et al., whose slope must be a number. */
static bool slope_check(draw *d, const char *call, tg_shape shape, const tg_create_opts *o) {
  if (!weight_check(d, call, shape, o)) return false;
  if (isfinite(d->o->a)) return true;
  tg_fail("%s: the slope .a is %g; give a finite number", call, d->o->a);
  return false;
}

/* sqrt(2 / (1 + a^2)) / sqrt(fan_in) (He et al. 2015). */
static double kaiming_std(const draw *d) {
  double a = tg_opt(d->o->a, 0.01);
  return sqrt(2 / (1 + a * a)) / sqrt(fan_in(d));
}

tg_tensor *(tg_kaiming_uniform)(tg_shape shape, const tg_create_opts *o) {
  draw d;
  if (!slope_check(&d, "tg_kaiming_uniform", shape, o)) return NULL;
  return symmetric(&d, sqrt(3) * kaiming_std(&d));
}

/* ---- normal */

/* Box-Muller: sqrt(-2 ln(1 - u)) sin(2 pi v). 1 - u is never 0. */
static tg_node *normal_floats(int64_t count, tg_dtype dtype, int device) {
  tg_node *u = unit_floats(count, dtype, device), *v = unit_floats(count, dtype, device);
  if (!u || !v) return NULL;
  tg_node *log = tg_node_unary(TG_OP_LOG, tg_n_sub(tg_n_num(u, 1), u));
  tg_node *radius = tg_node_unary(TG_OP_SQRT, tg_n_mul(tg_n_num(u, -2), log));
  tg_node *angle = tg_n_mul(v, tg_n_num(v, 6.28318530717958647693));
  return tg_n_mul(radius, tg_node_unary(TG_OP_SIN, angle));
}

static tg_tensor *normal(const draw *d, double mean, double std) {
  int64_t mark = tg_pool_mark();
  tg_node *z = normal_floats(d->count, d->wide, d->device);
  if (z && std != 1) z = tg_n_mul(z, tg_n_num(z, std));
  if (z && mean != 0) z = tg_n_add(z, tg_n_num(z, mean));
  return drawn(d, mark, z);
}

tg_tensor *(tg_randn)(tg_shape shape, const tg_create_opts *o) {
  draw d;
  if (!float_check(&d, "tg_randn", shape, o)) return NULL;
  return normal(&d, 0, 1);
}

tg_tensor *(tg_normal)(tg_shape shape, const tg_create_opts *o) {
  draw d;
  if (!float_check(&d, "tg_normal", shape, o)) return NULL;
  double std = tg_opt(d.o->std, 1);
  if (!(std >= 0)) return tg_fail("tg_normal: std %g must not be negative", std);
  if (!isfinite(std) || !isfinite(d.o->mean))
    return tg_fail("tg_normal: mean %g and std %g; give finite numbers", d.o->mean, std);
  return normal(&d, d.o->mean, std);
}

tg_tensor *(tg_kaiming_normal)(tg_shape shape, const tg_create_opts *o) {
  draw d;
  if (!slope_check(&d, "tg_kaiming_normal", shape, o)) return NULL;
  return normal(&d, 0, d.count ? kaiming_std(&d) : 1);
}

/* ---- whole numbers */

/* Whether the whole number `f` survives the way into `dtype`. */
static bool holds(tg_dtype dtype, double f) {
  if (tg_dtype_is_float(dtype)) return true;
  int64_t bits = 8 * tg_dtype_size(dtype);
  switch (dtype) {
    case TG_BOOL: return f == 0 || f == 1;
    case TG_UINT8: case TG_UINT16: case TG_UINT32: case TG_UINT64:
      return f >= 0 && f < ldexp(1, (int)bits);
    case TG_INT8: case TG_INT16: case TG_INT32: case TG_INT64:
      return fabs(f + 0.5) < ldexp(1, (int)bits - 1);
    case TG_DEFAULT_DTYPE: case TG_FLOAT16: case TG_BFLOAT16: case TG_FLOAT32: case TG_FLOAT64:
      break;
  }
  return false;
}

/* low + trunc(u (high - low)) with 53 random bits: no number comes up more often
 * than another by more than 2^-53, and u < 1 never rounds up to high. */
tg_tensor *(tg_randint)(tg_shape shape, const tg_create_opts *o) {
  draw d;
  if (!draw_check(&d, "tg_randint", shape, o, TG_INT64)) return NULL;
  double low = d.o->low, high = d.o->high;
  if (no_bounds(d.o)) low = 0, high = 10;
  if (low != floor(low) || high != floor(high) || !(low < high) || high - low > 0x1p53 ||
      fabs(low) > 0x1p53)
    return tg_fail("tg_randint: low %g and high %g are no range of whole numbers; low must be "
                   "below high, both up to 2^53", low, high);
  if (!holds(d.dtype, low) || !holds(d.dtype, high - 1))
    return tg_fail("tg_randint: %s does not hold all numbers from %g to %g; choose another .dtype",
                   tg_dtype_name(d.dtype), low, high - 1);
  int64_t mark = tg_pool_mark();
  tg_node *u = unit_floats(d.count, TG_FLOAT64, d.device);
  tg_node *whole = u ? tg_node_cast(tg_n_mul(u, tg_n_num(u, high - low)), TG_INT64) : NULL;
  return drawn(&d, mark, whole ? tg_n_add(whole, tg_n_num(whole, low)) : NULL);
}

/* ---- categories */

/* Rows of weights that are all numbers, and none of them below 0 or infinite: [N, 1, 1]. */
static tg_tensor *are_weights(tg_tensor *wide) {
  tg_tensor *fit = tg_mul(tg_ge(wide, 0), tg_lt(wide, INFINITY));
  tg_tensor *all = (tg_min)(fit, &(tg_axis_opts){.axis = TG_INTS(1)});
  return all ? tg_reshape(all, tg_dims(wide)[0], 1, 1) : NULL;
}

/* weights [N, C] -> [N, samples]: how many running sums of the row are not above
 * a uniform number below the row's total. A row that adds up to 0, or has what is no
 * weight, has no category to give: all sums are passed, and the check makes that an
 * error. */
static tg_tensor *categories(tg_tensor *weights, int64_t samples) {
  if (!weights) return NULL;
  int64_t rows = tg_dims(weights)[0], classes = tg_dims(weights)[1];
  tg_create_opts like = {.dtype = TG_FLOAT64, .device = tg_device(weights)};
  tg_tensor *wide = tg_cast(tg_detach(weights), TG_FLOAT64);
  tg_tensor *sums = tg_contiguous(tg_cumsum(wide, 1));
  tg_tensor *total = tg_shrink(sums, 0, rows, classes - 1, classes);
  tg_tensor *u = tg_mul((tg_rand)(TG_SHAPE(rows, samples), &like), total);
  tg_tensor *passed = tg_ge(tg_reshape(u, rows, samples, 1), tg_reshape(sums, rows, 1, classes));
  passed = tg_where(are_weights(wide), passed, true);
  tg_tensor *category = (tg_sum)(passed, &(tg_axis_opts){.axis = TG_INTS(2)});
  int64_t mark = tg_pool_mark();
  return category ? tg_wrap(mark, tg_n_checked(category->node, classes)) : NULL;
}

static tg_tensor *multinomial(tg_tensor *weights, int64_t samples) {
  if (tg_rank(weights) == 2) return categories(weights, samples);
  return tg_reshape(categories(tg_reshape(weights, 1, tg_dims(weights)[0]), samples), samples);
}

tg_tensor *(tg_multinomial)(tg_tensor *weights, int64_t samples, const tg_multinomial_opts *o) {
  if (tg_is_null("tg_multinomial", weights)) return NULL;
  int ndim = tg_rank(weights);
  if (ndim < 1 || ndim > 2 || tg_dims(weights)[ndim - 1] == 0)
    return tg_fail("tg_multinomial: weights %s must be [C] or [N, C] with C at least 1",
                   tg_text_of(weights));
  if (samples < 1)
    return tg_fail("tg_multinomial: %lld samples; draw at least 1", (long long)samples);
  if (samples > 1 && !(o && o->replacement))
    return tg_fail("tg_multinomial: %lld samples without replacement; set .replacement, or draw 1",
                   (long long)samples);
  TG_COMPOSE(multinomial(weights, samples));
}
