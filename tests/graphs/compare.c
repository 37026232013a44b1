/* tests/graphs/compare: the results of two variants, against one another.
 *
 * What must be the same (facts.c) is compared bit for bit. Elsewhere a difference is held
 * against how far the result moves when rounding errors are put in on purpose (run.c): at
 * most ten times the largest such move, of this element or of the tensor in the mean,
 * and a few units in the last place. An element whose kind (finite, infinite, NaN) is
 * moved by rounding alone proves nothing.
 *
 * In a gradient the sign of an infinity is not looked at: it comes from divisions by
 * zeros whose sign nobody promises. */
#include "graphs.h"

static char verdict[400];

void graph_noise_free(graph_noise *n) {
  for (int k = 0; n->made && k < GRAPH_NOISES; k++) graph_result_free(&n->r[k]);
  n->made = false;
}

static void make_noise(const graph *g, graph_noise *n) {
  for (int k = 0; !n->made && k < GRAPH_NOISES; k++) {
    graph_variant v = graph_variants[0];
    v.noise = k + 1;
    graph_evaluate(g, 1, &v, &n->r[k]);
  }
  n->made = true;
}

/* ---- one element */

static bool equal_kind(double a, double b, bool grad) {
  if (isnan(a) || isnan(b)) return isnan(a) && isnan(b);
  if (isinf(a) && isinf(b)) return grad || (a > 0) == (b > 0);
  return !isinf(a) && !isinf(b);
}

static bool equal_bits(double a, double b, bool zero_sign) {
  if (isnan(a) || isnan(b)) return isnan(a) && isnan(b);
  if (a == 0 && b == 0 && zero_sign) return signbit(a) == signbit(b);
  return a == b;
}

/* How far noise moves element i; infinite when it changes its kind. */
static double moved(const graph_noise *n, int out, tg_dtype dtype, int64_t i, double base) {
  double most = 0;
  for (int k = 0; k < GRAPH_NOISES; k++) {
    const graph_result *r = &n->r[k];
    if (r->status != 0 || out >= r->outs) return INFINITY;
    double x = graph_get(r->data[out], dtype, i);
    if (!equal_kind(x, base, false)) return INFINITY;
    if (isfinite(x) && fabs(x - base) > most) most = fabs(x - base);
  }
  return most;
}

static double mean_move(const graph_noise *n, int out, tg_dtype dtype, int64_t count,
                        const void *base) {
  double sum = 0;
  int64_t finite = 0;
  for (int64_t i = 0; i < count; i++) {
    double move = moved(n, out, dtype, i, graph_get(base, dtype, i));
    if (isfinite(move)) sum += move * move, finite++;
  }
  return finite ? sqrt(sum / (double)finite) : 0;
}

static double tiny(tg_dtype d) {
  return d == TG_FLOAT16 ? 0x1p-22 : d == TG_FLOAT64 ? 1e-300 : 1e-36;
}

/* A gradient through a normalisation is a difference of two equal terms, inside one step
 * where no noise gets: what is left of them is held against the largest result. */
static double cancelled(const graph *g, const graph_result *base) {
  const char *names[] = {"softmax", "log_softmax", "layernorm", "attention", "attention_mask",
                         "std", "std_population", "sparse_crossentropy", "batchnorm",
                         "sparse_crossentropy_but", "bce", "bce_logits"};
  double most = 0;
  for (int i = 0; i < g->count; i++)
    for (int k = 0; k < 12; k++)
      if (graph_is(&g->step[i], names[k])) most = most > 1 ? most : 1;
  for (int out = 0; most > 0 && out < base->outs; out++) {
    tg_dtype dtype = base->dtype[out];
    for (int64_t i = 0; i < base->bytes[out] / tg_dtype_size(dtype); i++) {
      double x = fabs(graph_get(base->data[out], dtype, i));
      if (isfinite(x) && x > most) most = x;
    }
  }
  return most;
}

/* REF adds one term after the other: what a long sum loses that way, inside one step where
 * no noise gets. */
static double lost_in_sums(const graph *g) {
  double terms = 0;
  for (int i = 0; i < g->count; i++) {
    double n = (double)graph_count(&g->step[i].fact.shape);
    if (n > terms) terms = n;
  }
  return terms < 20000 ? 0 : terms * 0x1p-24 / 40;
}

static bool is_near(double a, double b, double move, double mean, tg_dtype dtype, bool grad) {
  double units = tg_dtype_size(dtype) == 2 ? 3 : 8, most = graph_largest(dtype);
  if (isinf(move)) return true;
  if (!equal_kind(a, b, grad)) {
    double finite = isfinite(a) ? a : b;
    return isfinite(finite) && !isnan(a) && !isnan(b) && fabs(finite) > 0.9 * most;
  }
  if (!isfinite(a)) return true;
  double bound = 10 * (move > mean ? move : mean);
  return fabs(a - b) <= bound + units * graph_epsilon(dtype) * fabs(a) + tiny(dtype);
}

/* ---- one result */

static const char *say(const graph *g, const graph_result *r, int out, int64_t i, double a,
                       double b, const char *why) {
  bool grad = out >= r->sinks;
  snprintf(verdict, sizeof verdict, "%s v%d (%s, %s), element %lld: %.17g, not %.17g%s",
           grad ? "the gradient of" : "value", r->of[out],
           graph_ops[g->step[r->of[out]].op].name, tg_dtype_name(r->dtype[out]), (long long)i, b,
           a, why);
  return verdict;
}

static const char *differ_exact(const graph *g, const graph_result *base,
                                const graph_result *other, int out) {
  tg_dtype dtype = base->dtype[out];
  int64_t count = base->bytes[out] / tg_dtype_size(dtype);
  bool sign = g->step[base->of[out]].fact.zero_sign, real = tg_dtype_is_float(dtype);
  const char *a = base->data[out], *b = other->data[out];
  for (int64_t i = 0; i < count; i++) {
    double x = graph_get(a, dtype, i), y = graph_get(b, dtype, i);
    size_t size = (size_t)tg_dtype_size(dtype);
    bool same = real ? equal_bits(x, y, sign) : !memcmp(a + size * (size_t)i, b + size * (size_t)i,
                                                        size);
    if (!same) return say(g, base, out, i, x, y, " (exactly)");
  }
  return NULL;
}

static const char *differ_near(const graph *g, const graph_result *base,
                               const graph_result *other, int out, graph_noise *noise) {
  tg_dtype dtype = base->dtype[out];
  int64_t count = base->bytes[out] / tg_dtype_size(dtype);
  bool grad = out >= base->sinks;
  make_noise(g, noise);
  double mean = mean_move(noise, out, dtype, count, base->data[out]) + lost_in_sums(g);
  if (grad) mean += 4 * graph_epsilon(dtype) * cancelled(g, base);
  for (int64_t i = 0; i < count; i++) {
    double x = graph_get(base->data[out], dtype, i), y = graph_get(other->data[out], dtype, i);
    double move = moved(noise, out, dtype, i, x);
    if (is_near(x, y, move, mean, dtype, grad)) continue;
    char why[100];
    snprintf(why, sizeof why, " (rounding moves it by %.3g, the mean by %.3g)", move, mean);
    return say(g, base, out, i, x, y, why);
  }
  return NULL;
}

static const char *differ_out(const graph *g, const graph_result *base,
                              const graph_result *other, int out, graph_noise *noise) {
  if (base->dtype[out] != other->dtype[out] || base->bytes[out] != other->bytes[out])
    return "the results have another shape or dtype";
  if (!memcmp(base->data[out], other->data[out], (size_t)base->bytes[out])) return NULL;
  if (out < base->sinks && g->step[base->of[out]].fact.same)
    return differ_exact(g, base, other, out);
  return differ_near(g, base, other, out, noise);
}

/* An error must be one in each variant; but what a lazy variant never computes, because
 * nothing asked for has it, is no error there. */
static const char *differ_status(const graph *g, const graph_result *base,
                                 const graph_result *other) {
  int sinks[GRAPH_STEPS], count = graph_sinks(g, sinks);
  bool asked = other->status == 1;
  for (int i = 0; i < count; i++) asked = asked || sinks[i] == base->failed_at;
  const char *a = base->status ? base->error : "no error";
  const char *b = other->status ? other->error : "no error";
  bool same = base->status == other->status && base->failure == other->failure;
  if (same || (base->status == 1 && !asked)) return NULL;
  snprintf(verdict, sizeof verdict, "%.190s, not %.190s", b, a);
  return verdict;
}

const char *graph_differ(const graph *g, const graph_result *base,
                         const graph_result *other, graph_noise *noise) {
  if (other->status == 2 || base->status == 2)
    return snprintf(verdict, sizeof verdict, "%s", other->status == 2 ? other->error : base->error),
           verdict;
  if (base->status || other->status) return differ_status(g, base, other);
  if (base->outs != other->outs) return "there is another number of results";
  for (int out = 0; out < base->outs; out++) {
    const char *what = differ_out(g, base, other, out, noise);
    if (what) return what;
  }
  return NULL;
}

const char *graph_fails(const graph *g, const graph_variant *v) {
  graph_result base, other;
  graph_noise noise = {0};
  graph_evaluate(g, 1, &graph_variants[0], &base);
  graph_evaluate(g, 1, v, &other);
  const char *what = graph_differ(g, &base, &other, &noise);
  graph_result_free(&base);
  graph_result_free(&other);
  graph_noise_free(&noise);
  return what;
}
