/* Optimizers: SGD, Adam, AdamW, LAMB.
 *
 * A step is ordinary tensor arithmetic in no-grad mode: from each parameter, its
 * gradient and its state come lazy new values; one tg_corealize computes all of
 * them (with the loss, if the caller names it) in one schedule; only then do the
 * parameters and the state take the new values over, which cannot fail. So a
 * step that fails leaves everything as it was.
 *
 * What changes from step to step (step count, learning rate) is a tensor and
 * not a constant in the graph: every step has the same structure, and the
 * runtime replays the first one's plan.
 *
 * Adam and AdamW are LAMB with a trust ratio of 1. float16 and bfloat16
 * parameters compute and keep their state in float32.
 */
#include "tensor/tensor.h"

#include <float.h>
#include <stdio.h>

typedef enum optim_kind { OPTIM_SGD, OPTIM_ADAM, OPTIM_ADAMW, OPTIM_LAMB } optim_kind;

/* A parameter with its state; what the kind does not use is NULL. */
typedef struct optim_slot {
  tg_tensor *param, *m, *v, *momentum;
} optim_slot;

struct tg_optimizer {
  optim_kind kind;
  const char *call; /* the function that made it, for messages */
  double momentum, weight_decay, b1, b2, eps;
  bool nesterov;
  int64_t count;
  optim_slot *slots;
  tg_tensor *lr, *step; /* [] */
};

/* ------------------------------------------------------------- making -- */

static void optim_free(void *object) {
  tg_optimizer *o = object;
  if (!o) return;
  for (int64_t i = 0; i < o->count; i++) {
    tg_release(o->slots[i].param);
    tg_release(o->slots[i].m);
    tg_release(o->slots[i].v);
    tg_release(o->slots[i].momentum);
  }
  tg_release(o->lr);
  tg_release(o->step);
  tg_free(o->slots);
  tg_free(o);
}

static int optim_bad(const char *call, const char *name, double value, const char *range) {
  tg_fail("%s: %s is %g; it must be %s", call, name, value, range);
  return -1;
}

static int optim_check_options(const tg_optimizer *o, double lr) {
  if (!(lr >= 0 && lr <= DBL_MAX)) return optim_bad(o->call, ".lr", lr, "0 or more");
  if (!(o->momentum >= 0 && o->momentum <= DBL_MAX))
    return optim_bad(o->call, ".momentum", o->momentum, "0 or more");
  if (!(o->weight_decay >= 0 && o->weight_decay <= DBL_MAX))
    return optim_bad(o->call, ".weight_decay", o->weight_decay, "0 or more");
  if (!(o->b1 >= 0 && o->b1 < 1)) return optim_bad(o->call, ".b1", o->b1, "in [0, 1)");
  if (!(o->b2 >= 0 && o->b2 < 1)) return optim_bad(o->call, ".b2", o->b2, "in [0, 1)");
  if (!(o->eps >= 0 && o->eps <= DBL_MAX)) return optim_bad(o->call, ".eps", o->eps, "0 or more");
  if (o->nesterov && o->momentum == 0)
    return optim_bad(o->call, ".momentum", 0, "more than 0 with .nesterov");
  return 0;
}

/* "c1, of shape (8, 1, 3, 3)" or "0, of shape ..." without a name. */
static const char *optim_title(const tg_tensor *p, int64_t i, char *out, size_t size) {
  const char *name = tg_name(p);
  if (name) snprintf(out, size, "%.60s, of shape %s,", name, tg_text_of(p));
  else snprintf(out, size, "%lld, of shape %s,", (long long)i, tg_text_of(p));
  return out;
}

static int optim_check_param(const char *call, const tg_tensor *p, int64_t i,
                             const tg_tensor *first) {
  char title[200];
  if (tg_is_null(call, p)) return -1;
  if (!tg_is_floating_point(p)) {
    tg_fail("%s: parameter %s is of dtype %s; only floats can be trained", call,
            optim_title(p, i, title, sizeof title), tg_dtype_name(tg_dtype_of(p)));
    return -1;
  }
  if (p->context) {
    tg_fail("%s: parameter %s is the result of an operation; pass it through tg_detach first",
            call, optim_title(p, i, title, sizeof title));
    return -1;
  }
  if (p->node->device != first->node->device) {
    tg_fail("%s: parameter %s is on device %s, the first one on %s; move it with tg_to", call,
            optim_title(p, i, title, sizeof title), tg_device(p), tg_device(first));
    return -1;
  }
  return 0;
}

static bool optim_holds(const tg_optimizer *o, const tg_tensor *p) {
  for (int64_t i = 0; i < o->count; i++)
    if (o->slots[i].param == p) return true;
  return false;
}

/* Takes the parameters that can be trained, each once. */
static int optim_take_params(tg_optimizer *o, tg_list params) {
  if (!tg_is_list(o->call, params)) return -1;
  o->slots = tg_alloc_zero((size_t)(params.count + 1) * sizeof *o->slots);
  if (!o->slots) return -1;
  for (int64_t i = 0; i < params.count; i++) {
    tg_tensor *p = params.items[i];
    if (optim_check_param(o->call, p, i, params.items[0]) != 0) return -1;
    if (p->requires_grad == TG_GRAD_NO || optim_holds(o, p)) continue;
    o->slots[o->count++].param = tg_retain(p);
  }
  if (o->count > 0) return 0;
  tg_fail("%s: none of %lld parameters can be trained; give at least one whose requires_grad is "
          "not false", o->call, (long long)params.count);
  return -1;
}

/* The dtype in which a parameter's update is computed and its state kept. */
static tg_dtype optim_dtype(const tg_tensor *p) { return tg_dtype_wide(tg_dtype_of(p)); }

/* A state tensor of zeros that the optimizer owns, named after its parameter. */
static tg_tensor *optim_state(const tg_tensor *p, int64_t i, const char *suffix) {
  tg_tensor *t = tg_take_ownership(
      tg_zeros(tg_shape_of(p), .dtype = optim_dtype(p), .device = tg_device(p),
               .requires_grad = TG_GRAD_NO));
  size_t room = (p->name ? strlen(p->name) : 24) + strlen(suffix) + 1;
  char *name = t ? tg_alloc(room) : NULL;
  if (name) {
    if (p->name) snprintf(name, room, "%s%s", p->name, suffix);
    else snprintf(name, room, "param%lld%s", (long long)i, suffix);
  }
  bool named = name && tg_set_name(t, name);
  tg_free(name);
  if (named) return t;
  tg_release(t);
  return NULL;
}

static int optim_make_state(tg_optimizer *o) {
  for (int64_t i = 0; i < o->count; i++) {
    optim_slot *s = &o->slots[i];
    if (o->kind == OPTIM_SGD) {
      if (o->momentum != 0 && !(s->momentum = optim_state(s->param, i, ".momentum"))) return -1;
    } else {
      if (!(s->m = optim_state(s->param, i, ".m"))) return -1;
      if (!(s->v = optim_state(s->param, i, ".v"))) return -1;
    }
  }
  return 0;
}

/* A scalar that changes between steps. */
static tg_tensor *optim_scalar(const tg_optimizer *o, double value, tg_dtype dtype,
                               const char *name) {
  return tg_take_ownership(tg_scalar(value, .dtype = dtype, .device = tg_device(o->slots[0].param),
                                     .requires_grad = TG_GRAD_NO, .name = name));
}

static int optim_make_scalars(tg_optimizer *o, double lr) {
  tg_dtype dtype = tg_default_dtype() == TG_FLOAT64 ? TG_FLOAT64 : TG_FLOAT32;
  for (int64_t i = 0; i < o->count; i++)
    if (tg_dtype_of(o->slots[i].param) == TG_FLOAT64) dtype = TG_FLOAT64;
  o->lr = optim_scalar(o, lr, dtype, "lr");
  if (!o->lr) return -1;
  if (o->kind == OPTIM_SGD) return 0;
  o->step = optim_scalar(o, 0, TG_FLOAT64, "step");
  return o->step ? 0 : -1;
}

/* A growing list with room for all that an optimizer holds, and `more`. */
static tg_tensor **optim_list(const tg_optimizer *o, int64_t more) {
  return tg_alloc_zero((size_t)(o->count * 5 + 2 + more) * sizeof(tg_tensor *));
}

/* Parameters and state become memory now, so that the first step has the same
 * graph as all others. */
static int optim_realize(tg_optimizer *o) {
  tg_tensor **all = optim_list(o, 0);
  int64_t count = 0;
  if (!all) return -1;
  for (tg_tensor *t; (t = tg_optimizer_state(o, count)); count++) all[count] = t;
  all[count++] = o->lr;
  int status = tg_corealize((tg_list){count, all});
  tg_free(all);
  return status;
}

static int optim_fill(tg_optimizer *o, tg_list params, double lr) {
  if (optim_check_options(o, lr) != 0 || optim_take_params(o, params) != 0) return -1;
  if (optim_make_state(o) != 0 || optim_make_scalars(o, lr) != 0) return -1;
  return optim_realize(o);
}

static tg_optimizer *optim_new(const char *call, optim_kind kind, tg_list params,
                               const tg_optim_opts *given) {
  tg_optim_opts none = {0};
  const tg_optim_opts *opts = given ? given : &none;
  tg_optimizer *o = tg_alloc_zero(sizeof *o);
  if (!o) return NULL;
  o->kind = kind;
  o->call = call;
  o->momentum = opts->momentum;
  o->weight_decay = tg_opt(opts->weight_decay, kind == OPTIM_ADAMW ? 0.01 : 0);
  o->nesterov = opts->nesterov;
  o->b1 = tg_opt(opts->b1, 0.9);
  o->b2 = tg_opt(opts->b2, 0.999);
  o->eps = tg_opt(opts->eps, kind == OPTIM_LAMB ? 1e-6 : 1e-8);
  if (optim_fill(o, params, tg_opt(opts->lr, 0.001)) != 0 ||
      tg_scope_own(o, optim_free) != 0) {
    optim_free(o);
    return NULL;
  }
  for (int64_t i = 0; i < o->count; i++) o->slots[i].param->requires_grad = TG_GRAD_YES;
  return o;
}

tg_optimizer *(tg_sgd)(tg_list params, const tg_optim_opts *o) {
  return optim_new("tg_sgd", OPTIM_SGD, params, o);
}
tg_optimizer *(tg_adam)(tg_list params, const tg_optim_opts *o) {
  return optim_new("tg_adam", OPTIM_ADAM, params, o);
}
tg_optimizer *(tg_adamw)(tg_list params, const tg_optim_opts *o) {
  return optim_new("tg_adamw", OPTIM_ADAMW, params, o);
}
tg_optimizer *(tg_lamb)(tg_list params, const tg_optim_opts *o) {
  return optim_new("tg_lamb", OPTIM_LAMB, params, o);
}

/* ------------------------------------------------------ other owners -- */

tg_optimizer *tg_take_optimizer(tg_optimizer *o) {
  if (o) tg_scope_disown(o);
  return o;
}

void tg_free_optimizer(tg_optimizer *o) { optim_free(o); }

/* ------------------------------------------------------------ stepping -- */

/* Old tensors and the values that they are about to take over. */
typedef struct optim_update {
  tg_tensor **old, **value; /* value has room for more to be computed with it */
  int64_t count;
} optim_update;

static void optim_put(optim_update *u, tg_tensor *old, tg_tensor *value) {
  u->old[u->count] = old;
  u->value[u->count++] = value;
}

/* p - lr g, in the parameter's own dtype. */
static tg_tensor *optim_moved(const tg_optimizer *o, const tg_tensor *p, tg_tensor *wide,
                              tg_tensor *g) {
  tg_tensor *lr = tg_cast(o->lr, tg_dtype_of(wide));
  return tg_cast(tg_sub(wide, tg_mul(lr, g)), tg_dtype_of(p));
}

static void optim_step_sgd(const tg_optimizer *o, const optim_slot *s, tg_tensor *p, tg_tensor *g,
                           optim_update *u) {
  if (o->weight_decay != 0) g = tg_add(g, tg_mul(p, o->weight_decay));
  if (s->momentum) {
    tg_tensor *b = tg_add(tg_mul(s->momentum, o->momentum), g);
    optim_put(u, s->momentum, b);
    g = o->nesterov ? tg_add(g, tg_mul(b, o->momentum)) : b;
  }
  optim_put(u, s->param, optim_moved(o, s->param, p, g));
}

/* |p| / |up|, or 1 where one of them is 0. */
static tg_tensor *optim_trust(tg_tensor *p, tg_tensor *up) {
  tg_tensor *r1 = tg_sqrt(tg_sum(tg_square(p)));
  tg_tensor *r2 = tg_sqrt(tg_sum(tg_square(up)));
  return tg_where(tg_gt(r1, 0), tg_where(tg_gt(r2, 0), tg_div(r1, r2), 1.0), 1.0);
}

/* What every parameter of a step shares: the corrections of m and v for their
 * start at 0, 1 / (1 - b1^t) and 1 / sqrt(1 - b2^t). */
typedef struct optim_bias {
  tg_tensor *m, *v;
} optim_bias;

static void optim_step_lamb(const tg_optimizer *o, const optim_slot *s, tg_tensor *p, tg_tensor *g,
                            const optim_bias *bias, optim_update *u) {
  tg_dtype dtype = tg_dtype_of(p);
  tg_tensor *m = tg_add(tg_mul(s->m, o->b1), tg_mul(g, 1 - o->b1));
  tg_tensor *v = tg_add(tg_mul(s->v, o->b2), tg_mul(tg_square(g), 1 - o->b2));
  tg_tensor *root = tg_mul(tg_sqrt(v), tg_cast(bias->v, dtype));
  tg_tensor *up = tg_div(tg_mul(m, tg_cast(bias->m, dtype)), tg_add(root, o->eps));
  if (o->weight_decay != 0) up = tg_add(up, tg_mul(p, o->weight_decay));
  if (o->kind == OPTIM_LAMB) up = tg_mul(optim_trust(p, up), up);
  optim_put(u, s->m, m);
  optim_put(u, s->v, v);
  optim_put(u, s->param, optim_moved(o, s->param, p, up));
}

static int optim_check_grads(const tg_optimizer *o) {
  char title[200];
  for (int64_t i = 0; i < o->count; i++) {
    const tg_tensor *p = o->slots[i].param;
    if (p->grad) continue;
    tg_fail("tg_step: parameter %s has no gradient; call tg_backward on a loss that depends on "
            "it, or leave it out of the optimizer", optim_title(p, i, title, sizeof title));
    return -1;
  }
  return 0;
}

/* The new values of everything, lazy. */
static void optim_build(const tg_optimizer *o, optim_update *u) {
  optim_bias bias = {NULL, NULL};
  if (o->step) {
    tg_tensor *t = tg_add(o->step, 1);
    optim_put(u, o->step, t);
    /* contiguous: computed once, not again for every element */
    bias.m = tg_contiguous(tg_reciprocal(tg_sub(1, tg_pow(o->b1, t))));
    bias.v = tg_contiguous(tg_rsqrt(tg_sub(1, tg_pow(o->b2, t))));
  }
  for (int64_t i = 0; i < o->count; i++) {
    const optim_slot *s = &o->slots[i];
    tg_dtype dtype = optim_dtype(s->param);
    tg_tensor *p = tg_cast(tg_detach(s->param), dtype);
    tg_tensor *g = tg_cast(tg_detach(s->param->grad), dtype);
    if (o->kind == OPTIM_SGD) optim_step_sgd(o, s, p, g, u);
    else optim_step_lamb(o, s, p, g, &bias, u);
  }
}

/* Computes the new values, the gradients (wanted anyway, and so the graph behind
 * them is let go) and `also` in one schedule; then hands the values over. */
static int optim_run(const tg_optimizer *o, optim_update *u, tg_list also) {
  int64_t count = u->count;
  for (int64_t i = 0; i < count; i++)
    if (!u->value[i]) return -1;
  for (int64_t i = 0; i < o->count; i++) u->value[count++] = o->slots[i].param->grad;
  for (int64_t i = 0; i < also.count; i++) u->value[count++] = also.items[i];
  if (tg_corealize((tg_list){count, u->value}) != 0) return -1;
  for (int64_t i = 0; i < u->count; i++) tg_tensor_rebind(u->old[i], u->value[i]->node);
  return 0;
}

static int optim_step(const char *call, tg_optimizer *o, tg_list also) {
  if (!o) {
    tg_null_argument(call);
    return -1;
  }
  if (!tg_is_list(call, also) || optim_check_grads(o) != 0) return -1;
  optim_update u = {optim_list(o, 0), optim_list(o, also.count), 0};
  int status = -1;
  if (u.old && u.value) {
    tg_scope scope;
    tg_compose_begin(&scope);
    bool no_grad = tg_set_no_grad(true);
    optim_build(o, &u);
    status = optim_run(o, &u, also);
    tg_set_no_grad(no_grad);
    tg_compose_end(&scope, NULL);
  }
  tg_free(u.old);
  tg_free(u.value);
  return status;
}

int tg_step(tg_optimizer *optimizer) {
  return optim_step("tg_step", optimizer, (tg_list){0, NULL});
}

int tg_step_with(tg_optimizer *optimizer, tg_list also) {
  return optim_step("tg_step_with", optimizer, also);
}

int tg_zero_grad(tg_optimizer *o) {
  if (!o) {
    tg_null_argument("tg_zero_grad");
    return -1;
  }
  for (int64_t i = 0; i < o->count; i++) tg_set_grad(o->slots[i].param, NULL);
  return 0;
}

/* -------------------------------------------------------------- looking -- */

tg_tensor *tg_lr(tg_optimizer *o) {
  if (!o) tg_null_argument("tg_lr");
  return o ? o->lr : NULL;
}

int tg_set_lr(tg_optimizer *o, double lr) {
  if (!o) {
    tg_null_argument("tg_set_lr");
    return -1;
  }
  if (!(lr >= 0 && lr <= DBL_MAX)) return optim_bad("tg_set_lr", "lr", lr, "0 or more");
  /* From memory, not a constant: no kernel, and no plan of its own per value. */
  float narrow = (float)lr;
  bool wide = tg_dtype_of(o->lr) == TG_FLOAT64;
  tg_scope scope;
  tg_compose_begin(&scope);
  tg_tensor *value = tg_from(wide ? (const void *)&lr : &narrow, TG_SCALAR,
                             .dtype = tg_dtype_of(o->lr), .device = tg_device(o->lr));
  if (value) tg_tensor_rebind(o->lr, value->node);
  tg_compose_end(&scope, NULL);
  return value ? 0 : -1;
}

tg_tensor *tg_optimizer_state(tg_optimizer *o, int64_t i) {
  if (!o || i < 0) return NULL;
  int64_t group = i / o->count;
  const optim_slot *s = &o->slots[i % o->count];
  if (group == 0) return s->param;
  if (o->kind != OPTIM_SGD) {
    if (group == 1) return s->m;
    if (group == 2) return s->v;
    return i == 3 * o->count ? o->step : NULL;
  }
  return group == 1 ? s->momentum : NULL;
}
