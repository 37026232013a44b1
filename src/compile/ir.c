/* compile/ir: what one can ask of a kernel: is it well formed, is it equal to
 * another, how does it read, is an index affine.
 *
 * The verifier stands between the compiler and every backend, in all builds: it
 * is linear in the kernel and runs once per new kernel. It holds the rules that
 * ir.h states, and one more that catches a wrong rewrite where it was made: an
 * index without a gate must stay inside its slot.
 */
#include "compile/ir.h"

#include <stdio.h>

/* ---- hash and equality */

bool tg_ins_equal(const tg_ins *a, const tg_ins *b) {
  return a->op == b->op && a->dtype == b->dtype && a->slot == b->slot && a->fold == b->fold &&
         a->folded == b->folded && a->value.i == b->value.i &&
         memcmp(a->src, b->src, sizeof a->src) == 0;
}

uint64_t tg_kernel_hash(const tg_kernel *k) {
  const int64_t head[] = {k->count, k->nranges, k->nslots, k->noutputs};
  uint64_t h = tg_hash(TG_HASH_SEED, head, sizeof head);
  for (int i = 0; i < k->nranges; i++) {
    const int64_t range[] = {k->range[i].size, (int64_t)k->range[i].kind};
    h = tg_hash(h, range, sizeof range);
  }
  for (int i = 0; i < k->nslots; i++) {
    const int64_t slot[] = {(int64_t)k->slot[i].dtype, k->slot[i].numel, k->slot[i].finite};
    h = tg_hash(h, slot, sizeof slot);
  }
  for (int32_t i = 0; i < k->count; i++) {
    const tg_ins *in = &k->ins[i];
    const int64_t ins[] = {(int64_t)in->op, (int64_t)in->dtype, in->src[0],
                           in->src[1],      in->src[2],         in->slot,
                           in->value.i,     (int64_t)in->fold,  (int64_t)in->folded};
    h = tg_hash(h, ins, sizeof ins);
  }
  return h;
}

bool tg_kernel_equal(const tg_kernel *a, const tg_kernel *b) {
  if (a->count != b->count || a->nranges != b->nranges || a->nslots != b->nslots ||
      a->noutputs != b->noutputs)
    return false;
  for (int i = 0; i < a->nranges; i++)
    if (a->range[i].size != b->range[i].size || a->range[i].kind != b->range[i].kind) return false;
  for (int i = 0; i < a->nslots; i++)
    if (a->slot[i].dtype != b->slot[i].dtype || a->slot[i].numel != b->slot[i].numel ||
        a->slot[i].finite != b->slot[i].finite)
      return false;
  for (int32_t i = 0; i < a->count; i++)
    if (!tg_ins_equal(&a->ins[i], &b->ins[i])) return false;
  return true;
}

/* ---- affine form */

static bool add_affine(const tg_kernel *k, int32_t ins, int64_t factor, tg_affine *out) {
  for (;;) {
    const tg_ins *in = &k->ins[ins];
    if (in->op == TG_OP_CONST) {
      out->offset += factor * in->value.i;
      return true;
    }
    if (in->op == TG_OP_RANGE) {
      out->stride[in->slot] += factor;
      return true;
    }
    if (in->op == TG_OP_MUL && k->ins[in->src[1]].op == TG_OP_CONST) {
      factor *= k->ins[in->src[1]].value.i;
    } else if (in->op != TG_OP_ADD || !add_affine(k, in->src[1], factor, out)) {
      return false;
    }
    ins = in->src[0];
  }
}

bool tg_affine_of(const tg_kernel *kernel, int32_t ins, tg_affine *out) {
  if (kernel->ins[ins].low == INT64_MIN) return false;
  memset(out, 0, sizeof *out);
  return add_affine(kernel, ins, 1, out);
}

/* ---- text */

typedef struct text {
  char *at;
  int64_t length, room;
  bool failed;
} text;

TG_PRINTF(2, 3)
static void put(text *t, const char *format, ...) {
  char line[256];
  va_list args;
  va_start(args, format);
  int n = vsnprintf(line, sizeof line, format, args);
  va_end(args);
  if (n >= (int)sizeof line) n = (int)sizeof line - 1;
  for (int i = 0; i < n && !t->failed; i++) {
    if (!tg_reserve((void **)&t->at, &t->room, t->length + 1, 1)) t->failed = true;
    else t->at[t->length++] = line[i];
  }
}

static void put_ranges(text *t, uint64_t ranges) {
  for (int i = 0; i < TG_MAX_RANGES; i++)
    if (ranges >> i & 1) put(t, " r%d", i);
}

static void put_ins(text *t, const tg_kernel *k, int32_t i) {
  const tg_ins *in = &k->ins[i];
  put(t, "  %%%-3d %-8s %-9s", i, tg_dtype_name(in->dtype), tg_op_table[in->op].name);
  if (in->op == TG_OP_LOAD || in->op == TG_OP_STORE || in->op == TG_OP_STORE_ADD)
    put(t, " slot%d", in->slot);
  if (in->op == TG_OP_RANGE) put(t, " r%d", in->slot);
  for (int s = 0; s < 3; s++)
    if (in->src[s] >= 0) put(t, " %%%d", in->src[s]);
  if (in->op == TG_OP_CONST && tg_dtype_is_float(in->dtype)) put(t, " %.9g", in->value.f);
  else if (in->op == TG_OP_CONST) put(t, " %lld", (long long)in->value.i);
  if (in->op == TG_OP_CHECK) put(t, " < %lld", (long long)in->value.i);
  if (in->op == TG_OP_REDUCE) {
    put(t, " by %s over", tg_op_table[in->fold].name);
    put_ranges(t, in->folded);
  }
  put(t, "\n");
}

char *tg_kernel_text(const tg_kernel *k) {
  static const char *const kinds[] = {"loop", "fold", "serial"};
  text t = {0};
  put(&t, "kernel %s\n", k->name);
  for (int i = 0; i < k->nslots; i++)
    put(&t, "  slot%d %s[%lld]%s%s%s\n", i, tg_dtype_name(k->slot[i].dtype),
        (long long)k->slot[i].numel, k->slot[i].read ? " read" : "",
        k->slot[i].written ? " written" : "", k->slot[i].finite ? " finite" : "");
  for (int i = 0; i < k->nranges; i++)
    put(&t, "  r%d 0..%lld %s\n", i, (long long)k->range[i].size - 1, kinds[k->range[i].kind]);
  for (int32_t i = 0; i < k->count; i++) put_ins(&t, k, i);
  if (!tg_reserve((void **)&t.at, &t.room, t.length, 1)) t.failed = true;
  if (t.failed) {
    tg_free(t.at);
    return NULL;
  }
  t.at[t.length] = 0;
  return t.at;
}

/* ---- verifier */

static int broken(const tg_kernel *k, int32_t i, const char *rule) {
  tg_fail("internal error: kernel %s, instruction %d (%s): %s", k->name, i,
          tg_op_table[k->ins[i].op].name, rule);
  return -1;
}

static tg_dtype src_dtype(const tg_kernel *k, const tg_ins *in, int s) {
  return k->ins[in->src[s]].dtype;
}

static const char *check_memory(const tg_kernel *k, const tg_ins *in) {
  if (in->slot < 0 || in->slot >= k->nslots) return "names no slot";
  const tg_slot *slot = &k->slot[in->slot];
  if (src_dtype(k, in, 0) != TG_INT64) return "its index is not int64";
  const tg_ins *index = &k->ins[in->src[0]];
  bool gated = in->op == TG_OP_LOAD && in->src[1] >= 0;
  if (gated && src_dtype(k, in, 1) != TG_BOOL) return "its gate is not bool";
  if (!gated && (index->low < 0 || index->high >= slot->numel))
    return "its index may leave the slot";
  if (in->dtype != slot->dtype) return "its dtype is not the slot's";
  if (in->op == TG_OP_LOAD) return slot->read ? NULL : "its slot is not marked as read";
  if (src_dtype(k, in, 1) != in->dtype) return "its value has another dtype";
  return slot->written ? NULL : "its slot is not marked as written";
}

static const char *check_alu(const tg_kernel *k, const tg_ins *in) {
  switch (tg_op_table[in->op].class) {
    case TG_CLASS_UNARY:
      if (in->op == TG_OP_CAST) return NULL;
      if (in->op == TG_OP_BITCAST)
        return tg_dtype_size(in->dtype) == tg_dtype_size(src_dtype(k, in, 0)) ? NULL
                                                                              : "sizes differ";
      return src_dtype(k, in, 0) == in->dtype ? NULL : "its operand has another dtype";
    case TG_CLASS_BINARY:
      if (src_dtype(k, in, 0) != src_dtype(k, in, 1)) return "its operands differ in dtype";
      if (in->op == TG_OP_CMPLT || in->op == TG_OP_CMPEQ)
        return in->dtype == TG_BOOL ? NULL : "a comparison must be bool";
      return src_dtype(k, in, 0) == in->dtype ? NULL : "its operands have another dtype";
    case TG_CLASS_TERNARY:
      if (src_dtype(k, in, 0) != TG_BOOL) return "its condition is not bool";
      return src_dtype(k, in, 1) == in->dtype && src_dtype(k, in, 2) == in->dtype
                 ? NULL : "its operands have another dtype";
    case TG_CLASS_LOAD: case TG_CLASS_REDUCE: case TG_CLASS_MOVE: case TG_CLASS_INDEX:
    case TG_CLASS_IR: break;
  }
  return in->op == TG_OP_CONST ? NULL : "is not an op of kernels";
}

static const char *check_reduce(const tg_kernel *k, const tg_ins *in) {
  if (in->fold != TG_OP_ADD && in->fold != TG_OP_MAX) return "folds by neither ADD nor MAX";
  if (src_dtype(k, in, 0) != in->dtype) return "its value has another dtype";
  if (in->folded & ~k->ins[in->src[0]].ranges) return "folds a range its value does not depend on";
  for (int r = 0; r < k->nranges; r++)
    if (in->folded >> r & 1 && k->range[r].kind != TG_FOLD) return "folds a range that is no FOLD";
  return in->folded ? NULL : "folds nothing";
}

static const char *check_ins(const tg_kernel *k, int32_t i) {
  const tg_ins *in = &k->ins[i];
  int arity = tg_op_table[in->op].arity;
  for (int s = 0; s < 3; s++) {
    bool optional = in->op == TG_OP_LOAD && s == 1;
    if (in->src[s] >= i) return "uses an instruction that comes later";
    if (s < arity && in->src[s] < 0 && !optional) return "lacks an operand";
    if (s >= arity && in->src[s] >= 0) return "has an operand too many";
  }
  switch ((int)in->op) {
    case TG_OP_RANGE:
      return in->slot >= 0 && in->slot < k->nranges && in->dtype == TG_INT64 ? NULL
                                                                             : "names no range";
    case TG_OP_CHECK:
      return in->dtype == TG_INT64 && src_dtype(k, in, 0) == TG_INT64 ? NULL : "is not int64";
    case TG_OP_LOAD: case TG_OP_STORE: case TG_OP_STORE_ADD: return check_memory(k, in);
    case TG_OP_REDUCE: return check_reduce(k, in);
  }
  return check_alu(k, in);
}

/* Sets of ranges folded by any two REDUCEs are equal or disjoint; with[r]: that of
 * which range r is one. */
static const char *check_sets(const tg_kernel *k, const tg_ins *in, uint64_t *with) {
  for (int r = 0; r < k->nranges; r++) {
    if (!(in->folded >> r & 1)) continue;
    if (with[r] && with[r] != in->folded) return "folds a part of what another one folds";
    with[r] = in->folded;
  }
  return NULL;
}

/* after[i]: the sets of ranges that were folded for instruction i, one bit each, that
 * of the first range. REDUCEs of one set share a loop and cannot wait for each other. */
static const char *check_stage(const tg_kernel *k, int32_t i, uint64_t *after) {
  const tg_ins *in = &k->ins[i];
  after[i] = 0;
  for (int s = 0; s < 3; s++)
    if (in->src[s] >= 0) after[i] |= after[in->src[s]];
  uint64_t set = in->folded & (0 - in->folded);
  if (in->op != TG_OP_REDUCE) return NULL;
  if (after[i] & set) return "depends on a REDUCE that folds the same ranges";
  after[i] |= set;
  return NULL;
}

/* STOREs come last in their own way: what they store is folded, and each has a slot
 * of its own. */
static const char *check_store(const tg_kernel *k, int32_t i) {
  for (int r = 0; r < k->nranges; r++)
    if (k->ins[i].ranges >> r & 1 && k->range[r].kind == TG_FOLD)
      return "stores a value that is not folded";
  return NULL;
}

static int verify_all(const tg_kernel *k, uint64_t *after, bool *stored) {
  uint64_t with[TG_MAX_RANGES] = {0};
  for (int32_t i = 0; i < k->count; i++) {
    const tg_ins *in = &k->ins[i];
    const char *rule = check_ins(k, i);
    if (!rule) rule = check_stage(k, i, after);
    if (!rule && in->op == TG_OP_REDUCE) rule = check_sets(k, in, with);
    bool store = in->op == TG_OP_STORE || in->op == TG_OP_STORE_ADD;
    if (!rule && store) rule = stored[in->slot] ? "stores to a slot that has a STORE"
                                                : check_store(k, i);
    if (rule) return broken(k, i, rule);
    if (store) stored[in->slot] = stored[k->nslots] = true;
  }
  if (stored[k->nslots]) return 0;
  tg_fail("internal error: kernel %s stores nothing", k->name);
  return -1;
}

int tg_kernel_verify(const tg_kernel *k) {
  uint64_t *after = tg_alloc((size_t)(k->count + 1) * sizeof *after);
  bool *stored = tg_alloc_zero((size_t)k->nslots + 1);
  int status = after && stored ? verify_all(k, after, stored) : -1;
  tg_free(after);
  tg_free(stored);
  return status;
}
