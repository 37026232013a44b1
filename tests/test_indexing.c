/* Indexing against a model of PyTorch's rules written as plain loops.
 *
 * The model turns an index into two things: the shape of the result and, for
 * each of its elements, the flat position in x that it comes from. Then
 * x[index], its gradient and an assignment through it have obvious loops.
 * Random indices are drawn from a fixed sequence; the cases that numpy's
 * manual tells apart stand by name as well.
 */
#include "test.h"

#include <stdint.h>

#define MOST_ITEMS 12
#define MOST_ELEMENTS 4096

/* ---- the model */

/* What numpy knows of one index item. An index array has up to 2 axes. */
typedef struct item {
  enum { AT, RANGE, NEW, REST, BY, MASK } kind;
  int64_t start, stop, step;
  int ndim;
  int64_t shape[2], values[64]; /* BY and MASK */
  tg_dtype dtype;
} item;

/* One axis of x after the masks have become index arrays. */
typedef struct model_axis {
  enum { AXIS_AT, AXIS_LIST, AXIS_NEW, AXIS_BY, AXIS_SPLIT } kind;
  int64_t size;       /* of x along it */
  int64_t count;      /* LIST: how many positions; AT: 1 */
  int64_t list[64];   /* the positions */
  int ndim;           /* BY */
  int64_t shape[2], values[64];
} model_axis;

typedef struct model {
  int naxes;
  model_axis axes[2 * MOST_ITEMS];
  tg_shape out;
  int64_t count, from[MOST_ELEMENTS];
} model;

static model_axis *next_axis(model *m, int kind, int64_t size) {
  model_axis *a = &m->axes[m->naxes++];
  memset(a, 0, sizeof *a);
  a->kind = kind == AT ? AXIS_AT : kind == NEW ? AXIS_NEW : kind == BY ? AXIS_BY
            : kind == REST ? AXIS_SPLIT : AXIS_LIST;
  a->size = size;
  return a;
}

/* Python: range(*slice(start, stop, step).indices(size)). */
static void walk(model_axis *a, const item *it) {
  int64_t n = a->size, step = it->step, low = step > 0 ? 0 : -1, high = step > 0 ? n : n - 1;
  int64_t start = it->start == TG_NONE ? (step > 0 ? low : high) : it->start;
  int64_t stop = it->stop == TG_NONE ? (step > 0 ? high : low) : it->stop;
  if (it->start != TG_NONE && start < 0) start += n;
  if (it->stop != TG_NONE && stop < 0) stop += n;
  start = start < low ? low : start > high ? high : start;
  stop = stop < low ? low : stop > high ? high : stop;
  for (int64_t i = start; step > 0 ? i < stop : i > stop; i += step) a->list[a->count++] = i;
}

static void whole(model *m, int64_t size) {
  model_axis *a = next_axis(m, RANGE, size);
  for (int64_t i = 0; i < size; i++) a->list[a->count++] = i;
}

/* A mask of one or two axes: the positions of its true elements. */
static void mask_axes(model *m, const item *it) {
  int64_t columns = it->ndim == 2 ? it->shape[1] : 1, n = it->shape[0] * columns, found = 0;
  model_axis *rows = next_axis(m, BY, it->shape[0]);
  model_axis *other = it->ndim == 2 ? next_axis(m, BY, columns) : NULL;
  for (int64_t i = 0; i < n; i++) {
    if (!it->values[i]) continue;
    rows->values[found] = i / columns;
    if (other) other->values[found] = i % columns;
    found++;
  }
  rows->ndim = 1, rows->shape[0] = found;
  if (other) other->ndim = 1, other->shape[0] = found;
}

static void spell_out(model *m, tg_shape x, int count, const item *items) {
  int used = 0, at = 0;
  m->naxes = 0;
  for (int i = 0; i < count; i++)
    used += items[i].kind == MASK ? items[i].ndim : items[i].kind != NEW && items[i].kind != REST;
  for (int i = 0; i < count; i++) {
    const item *it = &items[i];
    model_axis *a;
    switch (it->kind) {
      case NEW: next_axis(m, NEW, 1)->count = 1; break;
      case REST:
        next_axis(m, REST, 0);
        for (int k = used; k < x.ndim; k++) whole(m, x.dim[at++]);
        break;
      case RANGE: walk(next_axis(m, RANGE, x.dim[at]), it), at++; break;
      case AT:
        a = next_axis(m, AT, x.dim[at++]);
        a->list[0] = it->start < 0 ? it->start + a->size : it->start;
        break;
      case BY:
        a = next_axis(m, BY, x.dim[at++]);
        a->ndim = it->ndim;
        memcpy(a->shape, it->shape, sizeof a->shape);
        for (int k = 0; k < 64; k++)
          a->values[k] = it->values[k] < 0 ? it->values[k] + a->size : it->values[k];
        break;
      case MASK: mask_axes(m, it), at += it->ndim; break;
    }
  }
  while (at < x.ndim) whole(m, x.dim[at++]);
}

/* The shape that all index arrays broadcast to, [] if there is none. */
static tg_shape common_shape(const model *m) {
  tg_shape s = TG_SCALAR;
  for (int i = 0; i < m->naxes; i++) {
    const model_axis *a = &m->axes[i];
    if (a->kind != AXIS_BY) continue;
    while (s.ndim < a->ndim) {
      for (int k = s.ndim; k > 0; k--) s.dim[k] = s.dim[k - 1];
      s.dim[0] = 1, s.ndim++;
    }
    for (int k = 0; k < a->ndim; k++)
      if (s.dim[s.ndim - 1 - k] == 1) s.dim[s.ndim - 1 - k] = a->shape[a->ndim - 1 - k];
  }
  return s;
}

/* Element `at` (of shape s) of an index array broadcast to s. */
static int64_t looked_up(const model_axis *a, tg_shape s, const int64_t *at) {
  int64_t flat = 0;
  for (int k = 0; k < a->ndim; k++)
    flat = flat * a->shape[k] + (a->shape[k] == 1 ? 0 : at[s.ndim - a->ndim + k]);
  return a->values[flat];
}

/* Where the axes of the index arrays go in the result: counts the result's axes
 * before the first array, if all of those are side by side but for numbers. */
static int array_place(const model *m, bool *any) {
  int place = 0, axes = 0, runs = 0;
  bool in_run = false;
  *any = false;
  for (int i = 0; i < m->naxes; i++) *any |= m->axes[i].kind == AXIS_BY;
  for (int i = 0; i < m->naxes; i++) {
    bool advanced = m->axes[i].kind == AXIS_BY && m->axes[i].ndim > 0;
    if (m->axes[i].kind == AXIS_AT || m->axes[i].kind == AXIS_SPLIT) continue;
    if (m->axes[i].kind == AXIS_BY && !advanced) continue;
    if (advanced && !in_run && runs++ == 0) place = axes;
    in_run = advanced;
    axes += m->axes[i].kind == AXIS_LIST || m->axes[i].kind == AXIS_NEW;
  }
  return runs > 1 ? 0 : place;
}

/* The flat position in x of the result's element `at`. */
static int64_t source(const model *m, tg_shape arrays, int place, bool any, const int64_t *at) {
  int64_t flat = 0;
  int plain = 0;
  for (int i = 0; i < m->naxes; i++) {
    const model_axis *a = &m->axes[i];
    int64_t own = 0;
    if (a->kind == AXIS_LIST || a->kind == AXIS_NEW) {
      own = a->list[at[any && plain >= place ? plain + arrays.ndim : plain]];
      plain++;
    }
    if (a->kind == AXIS_AT) own = a->list[0];
    if (a->kind == AXIS_BY) own = looked_up(a, arrays, at + place);
    if (a->kind != AXIS_NEW && a->kind != AXIS_SPLIT) flat = flat * a->size + own;
  }
  return flat;
}

static void solve(model *m, tg_shape x, int count, const item *items) {
  bool any;
  spell_out(m, x, count, items);
  tg_shape arrays = common_shape(m), *out = &m->out;
  int place = array_place(m, &any);
  *out = TG_SCALAR;
  for (int i = 0, plain = 0; i <= m->naxes; i++) {
    if (any && plain == place && out->ndim == plain)
      for (int k = 0; k < arrays.ndim; k++) out->dim[out->ndim++] = arrays.dim[k];
    if (i == m->naxes) break;
    if (m->axes[i].kind != AXIS_LIST && m->axes[i].kind != AXIS_NEW) continue;
    out->dim[out->ndim++] = m->axes[i].count;
    plain++;
  }
  m->count = 1;
  for (int k = 0; k < out->ndim; k++) m->count *= out->dim[k];
  for (int64_t n = 0; n < m->count; n++) {
    int64_t at[TG_MAX_DIMS] = {0}, rest = n;
    for (int k = out->ndim - 1; k >= 0; k--) at[k] = rest % out->dim[k], rest /= out->dim[k];
    m->from[n] = source(m, arrays, place, any, at);
  }
}

/* ---- the library's side */

static void to_items(int count, const item *items, tg_index_item *out) {
  for (int i = 0; i < count; i++) {
    const item *it = &items[i];
    switch (it->kind) {
      case AT: out[i] = TG_AT(it->start); break;
      case RANGE: out[i] = TG_RANGE(it->start, it->stop, it->step); break;
      case NEW: out[i] = TG_NEW_AXIS; break;
      case REST: out[i] = TG_REST; break;
      case BY: case MASK: {
        tg_shape shape = {.ndim = it->ndim, .dim = {it->shape[0], it->shape[1]}};
        tg_tensor *wide = tg_from(it->values, shape, .dtype = TG_INT64);
        out[i] = TG_BY(tg_cast(wide, it->kind == MASK ? TG_BOOL : it->dtype));
      }
    }
  }
}

/* 0, 1, 2 ... of shape x, in float64. */
static tg_tensor *numbered(tg_shape x, bool grad) {
  int64_t n = 1;
  for (int i = 0; i < x.ndim; i++) n *= x.dim[i];
  tg_tensor *t = tg_realize(tg_reshape_to(tg_arange(0, (double)n, .dtype = TG_FLOAT64), x));
  return grad ? tg_set_requires_grad(t, TG_GRAD_YES) : t;
}

static bool shape_is(tg_tensor *t, tg_shape s) {
  tg_shape own = tg_shape_of(t);
  bool same = t && own.ndim == s.ndim;
  for (int i = 0; same && i < s.ndim; i++) same = own.dim[i] == s.dim[i];
  return same;
}

static void check_read(const model *m, tg_tensor *t) {
  CHECK_OK(t);
  CHECK(shape_is(t, m->out));
  const double *data = tg_data(t);
  for (int64_t i = 0; data && i < m->count; i++) CHECK_INT(data[i], m->from[i]);
}

/* The gradient of sum(out * (1, 2, 3 ...)). */
static void check_gradient(const model *m, tg_shape x, int count, const tg_index_item *items) {
  static double want[MOST_ELEMENTS];
  memset(want, 0, sizeof want);
  for (int64_t i = 0; i < m->count; i++) want[m->from[i]] += (double)(i + 1);
  tg_tensor *leaf = numbered(x, true), *t = (tg_index)(leaf, count, items);
  tg_tensor *loss = tg_sum(tg_mul(t, tg_add(numbered(m->out, false), 1.0)));
  CHECK(tg_backward(loss) == 0);
  const double *grad = tg_data(tg_grad(leaf));
  for (int64_t i = 0; grad && i < tg_numel(leaf); i++) CHECK_INT(grad[i], want[i]);
}

static void check_write(const model *m, tg_shape x, int count, const tg_index_item *items) {
  static double want[MOST_ELEMENTS];
  tg_tensor *t = numbered(x, false), *value = tg_sub(-1.0, numbered(m->out, false));
  for (int64_t i = 0; i < tg_numel(t); i++) want[i] = (double)i;
  for (int64_t i = 0; i < m->count; i++) want[m->from[i]] = (double)(-1 - i);
  CHECK((tg_set_index)(t, value, count, items) == t);
  const double *data = tg_data(t);
  for (int64_t i = 0; data && i < tg_numel(t); i++) CHECK_INT(data[i], want[i]);
}

static void check_index(tg_shape x, int count, const item *items, bool all) {
  static model m;
  tg_index_item given[MOST_ITEMS];
  solve(&m, x, count, items);
  TG_SCOPE {
    to_items(count, items, given);
    check_read(&m, (tg_index)(numbered(x, false), count, given));
    if (all && m.count && tg_numel(numbered(x, false))) {
      check_gradient(&m, x, count, given);
      check_write(&m, x, count, given);
    }
  }
}
#define ITEM_COUNT(...) (int)(sizeof((item[]){__VA_ARGS__}) / sizeof(item))
#define CHECK_INDEX(x, ...) check_index((x), ITEM_COUNT(__VA_ARGS__), (item[]){__VA_ARGS__}, true)

static item at(int64_t i) { return (item){.kind = AT, .start = i}; }
static item range(int64_t a, int64_t b, int64_t s) {
  return (item){.kind = RANGE, .start = a, .stop = b, .step = s};
}
static item new_axis(void) { return (item){.kind = NEW}; }
static item rest(void) { return (item){.kind = REST}; }
static item by(int64_t a, int64_t b, int64_t c) {
  return (item){.kind = BY, .ndim = 1, .shape = {3}, .values = {a, b, c}, .dtype = TG_INT64};
}
static item single(int64_t a) {
  return (item){.kind = BY, .values = {a}, .dtype = TG_INT64};
}
static item column(int64_t a, int64_t b) {
  return (item){.kind = BY, .ndim = 2, .shape = {2, 1}, .values = {a, b}, .dtype = TG_INT32};
}

/* ---- cases by name */

TEST(index_numbers_and_ranges) {
  tg_shape x = TG_SHAPE(5, 6, 4);
  CHECK_INDEX(x, at(2));
  CHECK_INDEX(x, at(-1), at(0), at(-4));
  CHECK_INDEX(x, range(1, 4, 1), range(TG_NONE, TG_NONE, 2), range(-3, -1, 1));
  CHECK_INDEX(x, range(TG_NONE, TG_NONE, -1), range(4, 0, -2), range(9, -9, -3));
  CHECK_INDEX(x, range(3, 3, 1));
  CHECK_INDEX(x, range(4, 1, 1), at(1));
  CHECK_INDEX(x, range(-99, 99, 3), new_axis(), rest(), at(1));
  CHECK_INDEX(x, new_axis(), rest(), new_axis());
  CHECK_INDEX(x, rest(), range(0, 1, 7));
}

TEST(index_tensors) {
  tg_shape x = TG_SHAPE(5, 6, 4);
  CHECK_INDEX(x, by(0, -1, 2));
  CHECK_INDEX(x, by(0, 0, 0), by(1, 1, -1));
  CHECK_INDEX(x, range(TG_NONE, TG_NONE, 1), by(5, 3, -6));
  CHECK_INDEX(x, range(0, 4, 2), by(5, 3, -6), by(0, 1, 2));
  CHECK_INDEX(x, rest(), column(3, -4), by(0, 1, 2));
  CHECK_INDEX(x, column(1, 2), range(TG_NONE, TG_NONE, -1), by(0, 1, 2)); /* apart: in front */
  CHECK_INDEX(x, range(1, 3, 1), at(2), by(0, 1, 2));   /* a number is gone before */
  CHECK_INDEX(x, at(2), range(1, 3, 1), by(0, 1, 2));
  CHECK_INDEX(x, by(0, 1, 2), at(2), by(0, 1, 2));      /* and does not keep them apart */
  CHECK_INDEX(x, by(0, 1, 2), rest(), by(0, 1, 2), by(3, 2, 1));
  CHECK_INDEX(x, single(2), range(1, 3, 1), by(0, 1, 2)); /* an array of no axes is one */
  CHECK_INDEX(x, by(0, 1, 2), single(-1), by(0, 1, 2));
  CHECK_INDEX(x, single(0), single(1), single(-1));
  CHECK_INDEX(x, new_axis(), by(4, 4, 4), new_axis(), range(0, 2, 1));
  CHECK_INDEX(x, by(1, 2, 3), new_axis(), by(1, 2, 3));
}

TEST(index_masks) {
  tg_shape x = TG_SHAPE(2, 3, 2);
  item one = {.kind = MASK, .ndim = 1, .shape = {2}, .values = {0, 1}};
  item two = {.kind = MASK, .ndim = 2, .shape = {2, 3}, .values = {1, 0, 0, 1, 1, 0}};
  item none = {.kind = MASK, .ndim = 2, .shape = {3, 2}};
  CHECK_INDEX(x, one);
  CHECK_INDEX(x, two);
  CHECK_INDEX(x, two, at(1));
  CHECK_INDEX(x, range(TG_NONE, TG_NONE, -1), none);
  CHECK_INDEX(x, two, by(0, 1, 1));
  CHECK_INDEX(x, rest(), one);
}

TEST(index_nothing) {
  CHECK_INDEX(TG_SHAPE(0, 3), range(TG_NONE, TG_NONE, 1), at(1));
  CHECK_INDEX(TG_SHAPE(3), (item){.kind = BY, .ndim = 1, .shape = {0}, .dtype = TG_INT64});
  tg_tensor *x = tg_scalar(7);
  CHECK_CLOSE(tg_item(tg_index(x, TG_REST)), 7, 0, 0);
  CHECK_INT(tg_ndim(tg_index(x, TG_NEW_AXIS, TG_REST)), 1);
  CHECK_CLOSE(tg_item((tg_index)(x, 0, NULL)), 7, 0, 0);
}

/* A mask of no axes makes an axis; as an index into it it meets the others. */
TEST(index_choices) {
  tg_tensor *yes = tg_scalar(1, .dtype = TG_BOOL), *no = tg_scalar(0, .dtype = TG_BOOL);
  tg_tensor *x = numbered(TG_SHAPE(3, 4, 5), false), *at = tg_cast(tg_arange(0, 3), TG_INT64);
  CHECK(shape_is(tg_index(x, TG_BY(yes)), TG_SHAPE(1, 3, 4, 5)));
  CHECK(shape_is(tg_index(x, TG_ALL, TG_BY(no)), TG_SHAPE(3, 0, 4, 5)));
  CHECK(shape_is(tg_index(x, TG_ALL, TG_BY(yes), TG_BY(at)), TG_SHAPE(3, 3, 5)));
  CHECK(shape_is(tg_index(x, TG_BY(yes), TG_ALL, TG_BY(at)), TG_SHAPE(3, 3, 5)));
  CHECK(shape_is(tg_index(x, TG_BY(yes), TG_BY(yes)), TG_SHAPE(1, 3, 4, 5)));
  CHECK(tg_set_index(x, tg_scalar(-1), TG_BY(no)) == x);
  CHECK_CLOSE(tg_item(tg_min(x)), 0, 0, 0);
  CHECK(tg_set_index(x, tg_scalar(-1), TG_BY(yes), TG_AT(1)) == x);
  CHECK_CLOSE(tg_item(tg_sum(tg_index(x, TG_AT(1)))), -20, 0, 0);
}

/* ---- random indices */

static uint32_t state;
static int64_t below(int64_t n) {
  state = state * 1664525u + 1013904223u;
  return n > 0 ? (state >> 8) % n : 0;
}

static item random_item(tg_shape x, int axis, int64_t broadcast) {
  int64_t n = x.dim[axis];
  item it = {.kind = BY, .ndim = (int)below(3), .shape = {broadcast, broadcast}};
  static const tg_dtype dtypes[] = {TG_INT8, TG_UINT8, TG_INT32, TG_INT64};
  switch (below(6)) {
    case 0: return at(below(2 * n) - n);
    case 1: case 2: {
      int64_t bounds[2], steps[] = {1, 2, 3, -1, -2, -3};
      for (int i = 0; i < 2; i++) bounds[i] = below(4) ? below(2 * n + 4) - n - 2 : TG_NONE;
      return range(bounds[0], bounds[1], steps[below(6)]);
    }
    case 3:
      it = (item){.kind = MASK, .ndim = 1, .shape = {n}};
      it.values[below(n)] = 1; /* one alone: it broadcasts with everything */
      return it;
    default: break;
  }
  it.dtype = dtypes[below(4)];
  if (it.ndim == 2 && below(2)) it.shape[below(2)] = 1;
  for (int i = 0; i < 64; i++) it.values[i] = it.dtype == TG_UINT8 ? below(n) : below(2 * n) - n;
  return it;
}

TEST(index_random) {
  state = 1;
  for (int round = 0; round < 400; round++) {
    tg_shape x = {.ndim = (int32_t)(1 + below(4)), .dim = {0}};
    for (int i = 0; i < x.ndim; i++) x.dim[i] = 1 + below(5);
    item items[MOST_ITEMS];
    int count = 0, axis = 0, rests = 0;
    int64_t broadcast = 1 + below(3);
    while (axis < x.ndim && count < MOST_ITEMS - 2 && below(8)) {
      if (!below(5)) items[count++] = new_axis();
      if (!rests && !below(4)) {
        items[count++] = rest(), rests = 1;
        axis += (int)below(x.ndim - axis);
      }
      items[count++] = random_item(x, axis++, broadcast);
    }
    while (rests && axis < x.ndim && count < MOST_ITEMS) items[count++] = range(0, 9, 1), axis++;
    if (axis == x.ndim || !rests) check_index(x, count, items, round % 4 == 0);
  }
}

/* ---- errors */

TEST(index_errors) {
  tg_tensor *x = numbered(TG_SHAPE(3, 4), false);
  tg_tensor *index = tg_cast(tg_arange(0, 4), TG_INT64);
  CHECK_NULL(tg_index(x, TG_AT(3)), "index 3 is out of range for axis 0 of (3, 4); use -3 to 2");
  CHECK_NULL(tg_index(x, TG_AT(0), TG_AT(-5)), "index -5 is out of range for axis 1");
  CHECK_NULL(tg_index(x, TG_AT(0), TG_AT(0), TG_AT(0)), "names 3 axes but shape (3, 4) has 2");
  CHECK_NULL(tg_index(x, TG_REST, TG_REST), "one TG_REST");
  CHECK_NULL(tg_index(x, TG_RANGE(0, 1, 0)), "step of 0");
  CHECK_NULL(tg_index(x, TG_BY(tg_rand(TG_SHAPE(2)))), "must hold integers, not float32");
  CHECK_NULL(tg_index(x, TG_BY(tg_ones(TG_SHAPE(2), .dtype = TG_BOOL))), "does not match (3, 4)");
  CHECK_NULL(tg_index(x, TG_BY(NULL)), "NULL");
  CHECK_NULL(tg_index(x, TG_BY(index), TG_BY(tg_index(index, TG_RANGE(0, 3, 1)))),
             "shapes (4,) and (3,) cannot be broadcast");
  CHECK_NULL(tg_set_index(x, tg_rand(TG_SHAPE(3)), TG_AT(0)), "broadcast");
  CHECK_NULL(tg_set_index(x, tg_rand(TG_SHAPE(2, 4)), TG_AT(0)), "does not fit the (4,)");
  tg_set_requires_grad(x, TG_GRAD_YES);
  CHECK_NULL(tg_set_index(x, tg_scalar(1), TG_AT(0)), "no gradient flows");
}

/* Indices out of range are found when the kernel runs, and none lands in the
 * row beside: 1, 4 of a (3, 4) tensor would be element 2, 0. */
TEST(index_out_of_range) {
  tg_tensor *x = numbered(TG_SHAPE(3, 4), false);
  tg_tensor *rows = tg_from(((int64_t[]){0, 1}), TG_SHAPE(2), .dtype = TG_INT64);
  tg_tensor *wrong = tg_from(((int64_t[]){0, 4}), TG_SHAPE(2), .dtype = TG_INT64);
  tg_tensor *before = tg_from(((int32_t[]){0, -5}), TG_SHAPE(2), .dtype = TG_INT32);
  CHECK_NULL(tg_realize(tg_index(x, TG_BY(wrong))), "index 4 is out of range");
  CHECK_NULL(tg_realize(tg_index(x, TG_BY(rows), TG_BY(wrong))), "index 4 is out of range");
  CHECK_NULL(tg_realize(tg_index(x, TG_BY(rows), TG_BY(before))), "index -5 is out of range");
  CHECK_NULL(tg_realize(tg_take(x, wrong)), "index 4 is out of range");
  CHECK_NULL(tg_realize(tg_set_index(tg_realize(tg_add(x, 0)), tg_scalar(1, .dtype = TG_FLOAT64),
                                     TG_BY(rows), TG_BY(wrong))), "index 4 is out of range");
  tg_tensor *table = tg_reshape(wrong, 1, 2);
  CHECK_NULL(tg_realize(tg_gather(x, table, 1)), "index 4 is out of range");
  CHECK_NULL(tg_realize(tg_scatter(x, 1, table, tg_reshape(x, 2, 6))), "index 4 is out of range");
  CHECK_NULL(tg_realize(tg_gather(x, tg_sub(table, 1), 1)), "index -1 is out of range");
}

/* ---- take, gather, scatter */

TEST(take_rows) {
  tg_tensor *x = numbered(TG_SHAPE(4, 3), true);
  tg_tensor *index = tg_from(((int16_t[]){1, -1, 1, 0}), TG_SHAPE(2, 2), .dtype = TG_INT16);
  tg_tensor *t = tg_take(x, index);
  CHECK(shape_is(t, TG_SHAPE(2, 2, 3)));
  CHECK_VALUES(t, 0, 0, 3, 4, 5, 9, 10, 11, 3, 4, 5, 0, 1, 2);
  CHECK(tg_backward(tg_sum(t)) == 0);
  CHECK_VALUES(tg_grad(x), 0, 0, 1, 1, 1, 2, 2, 2, 0, 0, 0, 1, 1, 1);
  CHECK_NULL(tg_take(x, tg_ones(TG_SHAPE(2))), "must hold integers");
  CHECK_NULL(tg_take(tg_scalar(1), index), "needs an axis");
}

/* Cost: what is touched. 8 rows of a table of 10^5 and their gradient's source. */
TEST(take_touches_rows_only) {
  tg_tensor *x = tg_reshape(tg_arange(0, 3e5), 100000, 3);
  tg_tensor *index = tg_from(((int64_t[]){99999, 5}), TG_SHAPE(2), .dtype = TG_INT64);
  CHECK_VALUES(tg_take(x, index), 0, 0, 299997, 299998, 299999, 15, 16, 17);
}

static void check_elements(int axis, int64_t n0, int64_t n1) {
  tg_tensor *x = numbered(TG_SHAPE(3, 4), false);
  int64_t index[16], size = axis ? 4 : 3, count = n0 * n1;
  double picked[16], put[12], added[12];
  for (int64_t i = 0; i < 12; i++) put[i] = added[i] = (double)i;
  for (int64_t i = 0; i < count; i++) index[i] = below(size);
  for (int64_t i = 0; i < count; i++) {
    int64_t from = axis ? i / n1 * 4 + index[i] : index[i] * 4 + i % n1;
    picked[i] = (double)from;
    put[from] = (double)(i + 100);
    added[from] += (double)(i + 100);
  }
  tg_tensor *by = tg_from(index, TG_SHAPE(n0, n1), .dtype = TG_INT64);
  tg_tensor *src = tg_add(numbered(TG_SHAPE(n0, n1), false), 100);
  tg_tensor *wide = tg_pad(src, TG_INTS(0, 2, 0, 1)); /* may be larger than the index */
  test_values(tg_gather(x, by, axis), picked, count, 0, 0, "gather", __FILE__, __LINE__);
  test_values(tg_scatter(x, axis, by, wide), put, 12, 0, 0, "scatter", __FILE__, __LINE__);
  test_values(tg_scatter_add(x, axis, by, src), added, 12, 0, 0, "add", __FILE__, __LINE__);
}

TEST(gather_and_scatter) {
  state = 7;
  for (int round = 0; round < 10; round++) {
    check_elements(0, 4, 4);
    check_elements(0, 2, 3);
    check_elements(1, 3, 5);
    check_elements(1, 1, 2);
    check_elements(-1, 3, 4);
  }
  tg_tensor *x = numbered(TG_SHAPE(3, 4), false);
  tg_tensor *by = tg_zeros(TG_SHAPE(2, 2), .dtype = TG_INT64);
  CHECK_NULL(tg_gather(x, tg_zeros(TG_SHAPE(2), .dtype = TG_INT64), 0), "does not fit (3, 4)");
  CHECK_NULL(tg_gather(x, tg_zeros(TG_SHAPE(2, 5), .dtype = TG_INT64), 0), "does not fit (3, 4)");
  CHECK_NULL(tg_gather(x, by, 2), "axis 2");
  CHECK_NULL(tg_scatter(x, 0, by, tg_ones(TG_SHAPE(1, 2))), "smaller than the index");
}

static tg_tensor *gather_function(tg_tensor *const *inputs, int count, void *user) {
  (void)count;
  return tg_gather(inputs[0], user, 1);
}
static tg_tensor *scatter_function(tg_tensor *const *inputs, int count, void *user) {
  (void)count;
  return tg_scatter(inputs[0], 1, user, inputs[1]);
}
static tg_tensor *scatter_add_function(tg_tensor *const *inputs, int count, void *user) {
  (void)count;
  return tg_scatter_add(inputs[0], 0, user, inputs[1]);
}

TEST(gather_and_scatter_gradients) {
  tg_tensor *x = numbered(TG_SHAPE(3, 4), true), *src = numbered(TG_SHAPE(3, 4), true);
  static const int64_t order[] = {0, 2, 3, 1, 3, 2, 1, 0, 1, 0, 2, 3};
  tg_tensor *once = tg_from(order, TG_SHAPE(3, 4), .dtype = TG_INT64);
  tg_tensor *twice = tg_minimum(once, 2);
  CHECK(tg_gradcheck(gather_function, TG_LIST(x), .user = once) == 0);
  CHECK(tg_gradcheck(gather_function, TG_LIST(x), .user = twice) == 0);
  CHECK(tg_gradcheck(scatter_function, TG_LIST(x, src), .user = once) == 0);
  CHECK(tg_gradcheck(scatter_add_function, TG_LIST(x, src), .user = twice) == 0);
}

/* An assignment leaves everything else that held the old value alone. */
TEST(set_index_is_private) {
  tg_tensor *x = numbered(TG_SHAPE(4), false), *old = tg_detach(x), *twice = tg_mul(x, 2);
  CHECK(tg_set_index(x, tg_number(9), TG_RANGE(1, 3, 1)) == x);
  CHECK_VALUES(x, 0, 0, 0, 9, 9, 3);
  CHECK_VALUES(old, 0, 0, 0, 1, 2, 3);
  CHECK_VALUES(twice, 0, 0, 0, 2, 4, 6);
  tg_tensor *repeated = tg_from(((int64_t[]){1, 1, 1}), TG_SHAPE(3), .dtype = TG_INT64);
  tg_set_index(x, numbered(TG_SHAPE(3), false), TG_BY(repeated));
  CHECK_VALUES(x, 0, 0, 0, 2, 9, 3); /* the last wins */
  tg_tensor *whole = tg_zeros(TG_SHAPE(3), .dtype = TG_INT32);
  tg_set_index(whole, tg_number(2.75), TG_AT(1)); /* cast to the tensor's dtype */
  CHECK_VALUES(whole, 0, 0, 0, 2, 0);
}
