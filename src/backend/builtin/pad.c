/* builtin/pad: a masked operand as a copy with zeros around it.
 *
 * The gradient of a convolution by its input reads x[i - k] where that is
 * inside. Such a load is affine but for its gate, a list of bounds on affine
 * coordinates (i - k along each axis). If the index is made of those coordinates
 * and of other ranges, then a copy of the source, wide enough for every value
 * that a coordinate can take and zero where the gate is shut, can be read
 * without the gate: the copy costs as much as its elements, the gate as much as
 * the product of M and K.
 */
#include "backend/builtin/builtin.h"

typedef struct pad_axis {
  const int64_t *along;     /* the coordinate: a gate's row; NULL: one range */
  int range;
  int64_t least, size;      /* of the coordinate, over all positions */
  int64_t low, high;        /* where the gate is open: low <= c < high */
  int64_t from;             /* steps in the source */
} pad_axis;

/* Parallel to the axis: 1, against it: -1, neither: 0. */
static int pad_direction(const bi_code *code, const int64_t *a, const int64_t *b) {
  bool same = true, opposite = true;
  for (int r = 0; r < code->nranges; r++) {
    same = same && a[r] == b[r];
    opposite = opposite && a[r] == -b[r];
  }
  return same ? 1 : opposite ? -1 : 0;
}

/* A gate bounds its coordinate: from below if it runs along it, else above. */
static void pad_bound(pad_axis *axis, int direction, int64_t offset) {
  if (direction > 0 && 1 - offset > axis->low) axis->low = 1 - offset;
  if (direction < 0 && offset < axis->high) axis->high = offset;
}

/* The values of a coordinate, and its step in the source; false: the index is
 * not made of it. */
static bool pad_measure(const bi_code *code, const int64_t *row, pad_axis *axis) {
  int64_t most = 0;
  bool first = true;
  for (int r = 0; r < code->nranges; r++) {
    int64_t step = axis->along[r], far = step * (code->range[r].size - 1);
    if (!step || code->range[r].size < 2) continue;
    if (row[r] % step || (!first && axis->from != row[r] / step)) return false;
    axis->from = row[r] / step;
    first = false;
    *(far < 0 ? &axis->least : &most) += far;
  }
  axis->size = most - axis->least + 1;
  return !first;
}

static int pad_coordinates(const bi_code *code, int64_t *const *gate, int ngates,
                           pad_axis *axis) {
  int count = 0;
  for (int g = 0; g < ngates; g++) {
    int64_t offset = gate[g][code->nranges];
    int a = 0, direction = 0;
    while (a < count && !(direction = pad_direction(code, gate[g], axis[a].along))) a++;
    if (a == count) {
      axis[count++] = (pad_axis){.along = gate[g], .low = INT64_MIN / 2, .high = INT64_MAX / 2};
      direction = 1;
    }
    pad_bound(&axis[a], direction, offset);
  }
  return count;
}

/* All axes of the copy; 0: the load does not fit. */
static int pad_axes(const bi_code *code, const int64_t *row, int64_t *const *gate, int ngates,
                    pad_axis *axis) {
  int count = pad_coordinates(code, gate, ngates, axis);
  uint64_t used = 0;
  for (int a = 0; a < count; a++) {
    if (!pad_measure(code, row, &axis[a])) return 0;
    for (int r = 0; r < code->nranges; r++) {
      if (!axis[a].along[r] || code->range[r].size < 2) continue;
      if (used >> r & 1) return 0;
      used |= UINT64_C(1) << r;
    }
  }
  for (int r = 0; r < code->nranges; r++) {
    int64_t size = code->range[r].size;
    if ((used >> r & 1) || !row[r] || size < 2) continue;
    if (count == BI_PAD_AXES) return 0;
    axis[count++] = (pad_axis){.range = r, .size = size, .high = size, .from = row[r]};
  }
  return count;
}

static int64_t pad_far(const pad_axis *axis) { return axis->from < 0 ? -axis->from : axis->from; }

/* Outermost first: the order of the source. */
static void pad_sort(pad_axis *axis, int count) {
  for (int i = 1; i < count; i++)
    for (int k = i; k > 0 && pad_far(&axis[k - 1]) < pad_far(&axis[k]); k--) {
      pad_axis swap = axis[k];
      axis[k] = axis[k - 1];
      axis[k - 1] = swap;
    }
}

bool tg_bi_pad_make(bi_pad *pad, const bi_code *code, const int64_t *row, int64_t *const *gate,
                 int ngates, int64_t most, int64_t *out) {
  pad_axis axis[BI_PAD_AXES];
  int count = ngates <= BI_PAD_AXES ? pad_axes(code, row, gate, ngates, axis) : 0;
  int64_t step = 1;
  if (!count) return false;
  pad_sort(axis, count);
  memset(out, 0, (size_t)(code->nranges + 1) * sizeof *out);
  pad->count = count;
  pad->base = row[code->nranges];
  for (int a = count - 1; a >= 0; a--) {
    if (axis[a].size > most / step) return false;
    for (int r = 0; r < code->nranges; r++)
      if (axis[a].along ? code->range[r].size > 1 : r == axis[a].range)
        out[r] += (axis[a].along ? axis[a].along[r] : 1) * step;
    out[code->nranges] -= axis[a].least * step;
    pad->base += axis[a].least * axis[a].from;
    pad->size[a] = axis[a].size;
    pad->from[a] = axis[a].from;
    int64_t low = axis[a].low - axis[a].least, high = axis[a].high - axis[a].least;
    pad->low[a] = low < 0 ? 0 : low;
    pad->high[a] = high > axis[a].size ? axis[a].size : high;
    step *= axis[a].size;
  }
  pad->elements = step;
  pad->rows = step / pad->size[count - 1];
  return true;
}

/* Row i of the copy: zeros, the source where the gate is open, zeros. */
void tg_bi_pad_row(const bi_pad *pad, int64_t i, size_t size, const void *source, void *copy) {
  int last = pad->count - 1;
  int64_t n = pad->size[last], low = pad->low[last], high = pad->high[last], at = pad->base;
  char *to = (char *)copy + (size_t)(i * n) * size;
  bool open = low < high;
  for (int a = last - 1; a >= 0; a--) {
    int64_t here = i % pad->size[a];
    i /= pad->size[a];
    open = open && here >= pad->low[a] && here < pad->high[a];
    at += here * pad->from[a];
  }
  if (!open) low = high = n;
  memset(to, 0, (size_t)low * size);
  memset(to + (size_t)high * size, 0, (size_t)(n - high) * size);
  const char *from = source;
  from += (at + (low < n ? low * pad->from[last] : 0)) * (int64_t)size;
  to += (size_t)low * size;
  if (pad->from[last] == 1 && high > low) {
    memcpy(to, from, (size_t)(high - low) * size);
    return;
  }
  for (int64_t k = low; k < high; k++, to += size, from += pad->from[last] * (int64_t)size)
    memcpy(to, from, size);
}
