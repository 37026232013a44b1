/* tests/graphs/run: graphs computed in one way. The work is done in a child process, so
 * that TG_JIT can differ, caches start empty, and one that crashes or hangs is a result
 * like any other; what it found comes back through a file. Graphs advance side by side,
 * so that in the variants with a compiler one schedule, and so one run of the compiler,
 * has the same step of all of them.
 *
 * With `noise`, each operand and result that may be rounded, and each gradient, is
 * multiplied by a number near 1: the results of a few such runs say how far rounding
 * alone can move a result (Monte Carlo arithmetic; Parker 1997). */
#if !defined(_POSIX_C_SOURCE)
#define _POSIX_C_SOURCE 200809L
#endif
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "graphs.h"

const graph_variant graph_variants[GRAPH_VARIANTS] = {
  {"REF, step by step", "REF", "off", true, false, 0},
  {"REF, lazily", "REF", "off", false, false, 0},
  {"CPU built-in, lazily", "CPU", "off", false, false, 0},
  {"CPU built-in, step by step", "CPU", "off", true, false, 0},
  {"CPU generated, lazily", "CPU", "sync", false, true, 0},
  {"CPU generated, step by step", "CPU", "sync", true, true, 0},
};

/* A graph under way. */
typedef struct graph_run {
  const graph *g;
  const graph_variant *v;
  tg_tensor *t[GRAPH_STEPS];
  tg_tensor *out[GRAPH_STEPS + 16];
  graph_result r;
} graph_run;

/* ---- noise */

typedef struct graph_shake {
  uint64_t seed;
  int64_t terms;
  bool forward;
} graph_shake;

/* What a sum of so many terms may lose where they are added up one by one: always on
 * the same side, if they are equal. */
static double long_sum(uint64_t *seed, int64_t count, tg_dtype dtype) {
  double all = graph_epsilon(dtype == TG_FLOAT64 ? dtype : TG_FLOAT32) * (double)count / 8;
  const double part[] = {-1, -0.5, 0.5, 1};
  return count < 32 ? 0 : all * part[graph_below(seed, 4)];
}

/* Times numbers near 1; `terms` were added up for each. */
static tg_tensor *shaken(tg_tensor *x, uint64_t seed, int64_t terms) {
  tg_dtype dtype = tg_dtype_of(x);
  int64_t count = tg_numel(x);
  bool half = tg_dtype_size(dtype) == 2;
  double size = graph_epsilon(dtype) * (half ? 1 : 2), shift = 1 + long_sum(&seed, terms, dtype);
  void *data = calloc((size_t)count + 1, 8);
  for (int64_t i = 0; data && i < count; i++)
    graph_put(data, dtype, i, shift + (double)(graph_below(&seed, 3) - 1) * size);
  tg_tensor *factor = tg_from(data, tg_shape_of(x), .dtype = dtype);
  free(data);
  return tg_mul(x, factor);
}

static tg_tensor *shake_forward(tg_context *context, tg_tensor *const *in, int count) {
  const graph_shake *s = tg_user(context);
  (void)count;
  return s->forward ? shaken(in[0], s->seed, s->terms) : tg_contiguous(in[0]);
}

static int shake_backward(tg_context *context, tg_tensor *grad, tg_tensor **grads) {
  const graph_shake *s = tg_user(context);
  grads[0] = shaken(grad, s->seed + 1, tg_numel(grad));
  return grads[0] ? 0 : -1;
}

static const tg_function shake_function = {"shake", shake_forward, shake_backward, free};

static tg_tensor *shake(tg_tensor *x, uint64_t seed, int64_t terms, bool forward) {
  if (!x || !tg_dtype_is_float(tg_dtype_of(x)) || !tg_numel(x)) return x;
  graph_shake *s = malloc(sizeof *s);
  if (!s) return x;
  *s = (graph_shake){seed, terms, forward};
  return tg_apply(&shake_function, TG_LIST(x), s);
}

/* ---- steps */

static void fail(graph_run *run, int at) {
  graph_result *r = &run->r;
  r->status = 1;
  r->failed_at = at;
  r->failure = (int)tg_failure_kind();
  const char *message = tg_error();
  snprintf(r->error, sizeof r->error, "%s", message ? message : "no message");
  tg_clear_error();
}

/* How many elements of x there are for each of t. */
static int64_t folded(const tg_tensor *x, const tg_tensor *t) {
  return x && tg_numel(t) ? tg_numel(x) / tg_numel(t) : 1;
}

static void do_step(graph_run *run, int i) {
  const graph_step *s = &run->g->step[i];
  bool shakes = run->v->noise && !s->fact.same;
  uint64_t seed = (uint64_t)run->v->noise * 1000003u + (uint64_t)i * 8191u;
  tg_tensor *in[4] = {NULL};
  for (int k = 0; k < s->ins; k++) {
    in[k] = run->t[s->in[k]];
    if (shakes) in[k] = shake(in[k], seed + 17u * (uint64_t)k, tg_numel(in[k]), true);
  }
  tg_tensor *t = graph_ops[s->op].apply(s, in);
  bool real = t && tg_dtype_is_float(tg_dtype_of(t)), leaf = graph_is(s, "leaf");
  if (run->v->noise && !leaf && t) t = shake(t, seed + 99u, folded(in[0], t), shakes);
  else if (run->v->realized && real && !leaf && run->g->grads) t = tg_contiguous_backward(t);
  run->t[i] = t;
  if (!t) fail(run, i);
}

/* Realizes the values, all at once if that can be. */
static void realize_step(graph_run *runs, int count, int i) {
  tg_tensor **list = malloc(((size_t)count + 1) * sizeof(tg_tensor *));
  int64_t n = 0;
  for (int k = 0; list && k < count; k++)
    if (runs[k].r.status == 0 && i < runs[k].g->count) list[n++] = runs[k].t[i];
  bool done = list && n && tg_corealize((tg_list){n, list}) == 0;
  tg_clear_error();
  for (int k = 0; !done && k < count; k++)
    if (runs[k].r.status == 0 && i < runs[k].g->count && !tg_realize(runs[k].t[i]))
      fail(&runs[k], i);
  free(list);
}

static tg_tensor *loss_term(const graph *g, tg_tensor *t) {
  if (!tg_dtype_is_float(tg_dtype_of(t)) || tg_requires_grad(t) != TG_GRAD_YES) return NULL;
  if (tg_dtype_of(t) != TG_FLOAT64) t = tg_cast(t, TG_FLOAT32);
  return g->loss == 1 ? tg_mean(t) : tg_sum(g->loss == 2 ? tg_square(t) : t);
}

static void add_output(graph_run *run, int of, tg_tensor *t) {
  run->r.of[run->r.outs] = of;
  run->out[run->r.outs++] = t;
}

/* What is asked for: the sinks, and the gradients of a loss made of them. */
static void outputs(graph_run *run) {
  const graph *g = run->g;
  int sinks[GRAPH_STEPS], count = graph_sinks(g, sinks);
  tg_tensor *loss = NULL;
  for (int i = 0; i < count; i++) {
    tg_tensor *t = run->t[sinks[i]], *term = g->grads ? loss_term(g, t) : NULL;
    add_output(run, sinks[i], t);
    if (term) loss = loss ? tg_add(loss, term) : term;
  }
  run->r.sinks = count;
  if (loss && tg_backward(loss)) {
    fail(run, g->count);
    return;
  }
  for (int i = 0; loss && i < g->count && run->r.outs < GRAPH_STEPS + 16; i++)
    if (g->step[i].grad && tg_grad(run->t[i])) add_output(run, i, tg_grad(run->t[i]));
}

static void collect(graph_run *run) {
  graph_result *r = &run->r;
  if (r->status == 0 && tg_corealize((tg_list){r->outs, run->out})) fail(run, run->g->count);
  for (int i = 0; r->status == 0 && i < r->outs; i++) {
    r->dtype[i] = tg_dtype_of(run->out[i]);
    r->bytes[i] = tg_nbytes(run->out[i]);
    r->data[i] = malloc((size_t)r->bytes[i] + 1);
    if (tg_to_host(run->out[i], r->data[i], (size_t)r->bytes[i])) fail(run, run->g->count);
  }
}

static void realize_outputs(graph_run *runs, int count) {
  tg_tensor **list = malloc((size_t)count * (GRAPH_STEPS + 16) * sizeof(tg_tensor *));
  int64_t n = 0;
  for (int k = 0; list && k < count; k++)
    for (int i = 0; runs[k].r.status == 0 && i < runs[k].r.outs; i++) list[n++] = runs[k].out[i];
  if (n) tg_corealize((tg_list){n, list});
  tg_clear_error();
  free(list);
}

/* ---- the child */

static void write_result(FILE *to, const graph_result *r) {
  fwrite(r, sizeof *r, 1, to);
  for (int i = 0; i < r->outs && r->status == 0; i++)
    fwrite(r->data[i], 1, (size_t)r->bytes[i], to);
  fflush(to);
}

static bool read_result(FILE *from, graph_result *r) {
  if (fread(r, sizeof *r, 1, from) != 1) return false;
  for (int i = 0; i < r->outs; i++) r->data[i] = NULL;
  for (int i = 0; i < r->outs && r->status == 0; i++) {
    r->data[i] = malloc((size_t)r->bytes[i] + 1);
    if (!r->data[i]) return false;
    if (fread(r->data[i], 1, (size_t)r->bytes[i], from) != (size_t)r->bytes[i]) return false;
  }
  return true;
}

static void compute(graph_run *runs, int count, const graph_variant *v, FILE *to) {
  int most = 0;
  for (int k = 0; k < count; k++) most = runs[k].g->count > most ? runs[k].g->count : most;
  for (int i = 0; i < most; i++) {
    for (int k = 0; k < count; k++)
      if (runs[k].r.status == 0 && i < runs[k].g->count) do_step(&runs[k], i);
    if (v->realized) realize_step(runs, count, i);
  }
  for (int k = 0; k < count; k++)
    if (runs[k].r.status == 0) outputs(&runs[k]);
  if (v->together && count > 1) realize_outputs(runs, count);
  for (int k = 0; k < count; k++) {
    collect(&runs[k]);
    write_result(to, &runs[k].r);
    for (int i = 0; i < runs[k].r.outs; i++) free(runs[k].r.data[i]);
  }
}

static void child(const graph *g, int count, const graph_variant *v, bool together, FILE *to) {
  int each = together ? count : 1;
  graph_run *runs = calloc((size_t)each, sizeof *runs);
  setenv("TG_JIT", v->jit, 1);
  tg_set_default_device(v->device);
  for (int i = 0; runs && i < count; i += each) {
    alarm(together ? 300 : 30);
    memset(runs, 0, (size_t)each * sizeof *runs);
    for (int k = 0; k < each; k++) runs[k].g = &g[i + k], runs[k].v = v;
    TG_SCOPE { compute(runs, each, v, to); }
    tg_clear_error();
  }
  free(runs);
}

/* How many of the graphs were done before the child ended. */
static int in_child(const graph *g, int count, const graph_variant *v, bool together,
                    graph_result *results) {
  FILE *file = tmpfile();
  int done = 0, status = 0;
  tg_stop_threads();
  fflush(stdout), fflush(stderr);
  pid_t pid = file ? fork() : -1;
  if (pid == 0) {
    child(g, count, v, together, file);
    _exit(0);
  }
  if (pid > 0) waitpid(pid, &status, 0);
  if (file) rewind(file);
  while (file && done < count && read_result(file, &results[done])) done++;
  if (file) fclose(file);
  if (done < count) {
    memset(&results[done], 0, sizeof *results);
    results[done].status = 2;
    int sign = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    snprintf(results[done].error, sizeof results->error, "the process ended with signal %d%s", sign,
             sign == SIGALRM ? " (it hung)" : "");
  }
  return done;
}

void graph_evaluate(const graph *g, int count, const graph_variant *v, graph_result *results) {
  int at = 0;
  memset(results, 0, (size_t)count * sizeof *results);
  if (v->together && count > 1) at = in_child(g, count, v, true, results);
  while (at < count) {
    at += in_child(g + at, count - at, v, false, results + at);
    if (at < count) at++; /* this one died */
  }
}

void graph_result_free(graph_result *r) {
  for (int i = 0; i < r->outs; i++) free(r->data[i]);
  r->outs = 0;
}
