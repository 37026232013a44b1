/* compile/split: a kernel of several nests as several kernels.
 *
 * STOREs that share no range, not even by way of others, are independent nests; those
 * without any range are one together. A backend that has no better way to run a kernel
 * of several nests compiles the parts one by one. Each part has all slots of the whole,
 * so that it runs on the same memory; where a slot is not used it is simply not touched.
 */
#include "compile/ir.h"

static bool split_is_store(const tg_ins *in) {
  return in->op == TG_OP_STORE || in->op == TG_OP_STORE_ADD;
}

/* reach[i]: the ranges of all that instruction i is computed from. */
static void split_reach(const tg_kernel *k, uint64_t *reach) {
  for (int32_t i = 0; i < k->count; i++) {
    const tg_ins *in = &k->ins[i];
    reach[i] = in->ranges | in->folded;
    for (int s = 0; s < 3; s++)
      if (in->src[s] >= 0) reach[i] |= reach[in->src[s]];
  }
}

/* The ranges of each nest, disjoint; gives how many. */
static int split_nests(const tg_kernel *k, const uint64_t *reach, uint64_t *nest) {
  int count = 0;
  bool without = false;
  for (int32_t i = 0; i < k->count; i++) {
    if (!split_is_store(&k->ins[i])) continue;
    uint64_t ranges = reach[i];
    int kept = 0;
    for (int n = 0; n < count; n++)
      if (nest[n] & ranges) ranges |= nest[n];
      else nest[kept++] = nest[n];
    count = kept;
    if (ranges) nest[count++] = ranges;
    else without = true;
  }
  if (without) nest[count++] = 0;
  return count;
}

/* Gives the instructions of one nest their new numbers; -1: not of it. */
static int32_t split_number(const tg_kernel *k, const uint64_t *reach, uint64_t nest, int32_t *to) {
  int32_t used = 0;
  memset(to, 0, (size_t)k->count * sizeof *to);
  for (int32_t i = k->count - 1; i >= 0; i--) {
    if (split_is_store(&k->ins[i])) to[i] = nest ? (reach[i] & nest) != 0 : !reach[i];
    for (int s = 0; to[i] && s < 3; s++)
      if (k->ins[i].src[s] >= 0) to[k->ins[i].src[s]] = 1;
  }
  for (int32_t i = 0; i < k->count; i++) to[i] = to[i] ? used++ : -1;
  return used;
}

static uint64_t split_bits(uint64_t bits, const int32_t *range) {
  uint64_t out = 0;
  for (; bits; bits &= bits - 1) out |= UINT64_C(1) << range[__builtin_ctzll(bits)];
  return out;
}

static void split_copy(const tg_kernel *k, uint64_t nest, const int32_t *to, tg_kernel *part) {
  int32_t range[TG_MAX_RANGES] = {0};
  for (uint64_t left = nest; left; left &= left - 1) {
    int r = __builtin_ctzll(left);
    range[r] = part->nranges;
    part->range[part->nranges++] = k->range[r];
  }
  for (int32_t i = 0; i < k->count; i++) {
    if (to[i] < 0) continue;
    tg_ins in = k->ins[i];
    for (int s = 0; s < 3; s++) in.src[s] = in.src[s] >= 0 ? to[in.src[s]] : -1;
    if (in.op == TG_OP_RANGE) in.slot = range[in.slot];
    in.ranges = split_bits(in.ranges, range);
    in.folded = split_bits(in.folded, range);
    part->ins[part->count++] = in;
  }
}

static tg_kernel *split_part(const tg_kernel *k, const uint64_t *reach, uint64_t nest,
                             int32_t *to) {
  tg_kernel *part = tg_alloc_zero(sizeof *part);
  if (!part) return NULL;
  size_t used = (size_t)split_number(k, reach, nest, to);
  part->ins = tg_alloc(used * sizeof *part->ins + 1);
  part->slot = tg_alloc((size_t)k->nslots * sizeof *part->slot + 1);
  if (!part->ins || !part->slot) {
    tg_kernel_free(part);
    return NULL;
  }
  memcpy(part->slot, k->slot, (size_t)k->nslots * sizeof *part->slot);
  memcpy(part->name, k->name, sizeof part->name);
  part->nslots = k->nslots;
  part->noutputs = k->noutputs;
  split_copy(k, nest, to, part);
  return part;
}

void tg_kernel_split_free(tg_kernel **parts, int count) {
  for (int n = 0; parts && n < count; n++) tg_kernel_free(parts[n]);
  tg_free(parts);
}

static bool split_all(const tg_kernel *k, const uint64_t *reach, const uint64_t *nest, int count,
                      tg_kernel ***parts) {
  int32_t *to = tg_alloc((size_t)k->count * sizeof *to + 1);
  *parts = tg_alloc_zero((size_t)count * sizeof **parts);
  bool done = to && *parts;
  for (int n = 0; done && n < count; n++)
    done = ((*parts)[n] = split_part(k, reach, nest[n], to)) != NULL;
  tg_free(to);
  if (!done) tg_kernel_split_free(*parts, count);
  return done;
}

int tg_kernel_split(const tg_kernel *k, tg_kernel ***parts) {
  uint64_t nest[TG_MAX_RANGES + 1];
  uint64_t *reach = tg_alloc((size_t)k->count * sizeof *reach + 1);
  *parts = NULL;
  if (!reach) return -1;
  split_reach(k, reach);
  int count = split_nests(k, reach, nest);
  bool done = count < 2 || split_all(k, reach, nest, count, parts);
  tg_free(reach);
  return done ? count : -1;
}
