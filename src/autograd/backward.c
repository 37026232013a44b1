/* The backward pass.
 *
 * The tensors that the loss was computed from are put into an order in which
 * each comes before its inputs (a depth-first walk with its own stack, so depth
 * is no limit). Then each hands its gradient to its Function's backward, which
 * gives the gradients of the inputs; these add up in the field `partial`, as
 * nodes. At the end leaves that require a gradient, and tensors that retain
 * theirs, get the sum as a tensor, added to what they had.
 *
 * Nothing outside changes before everything has succeeded; then all records
 * are freed. Gradients are lazy like everything else.
 */
#include "autograd/functions.h"

/* One step of the walk: a tensor, and which of its inputs comes next. */
typedef struct walk_step {
  tg_tensor *tensor;
  int next;
} walk_step;

typedef struct backward_walk {
  tg_tensor **order; /* inputs before results; each retained */
  int64_t count, room;
  walk_step *stack;
  int64_t depth, stack_room;
} backward_walk;

/* ---- the order */

static bool walk_push(backward_walk *w, tg_tensor *t) {
  if (t->visited || t->requires_grad != TG_GRAD_YES) return true;
  if (t->spent) {
    tg_fail("tg_backward: a part of what the loss was computed from has been through "
            "tg_backward, which frees the record; compute it again, or add the losses and call "
            "once");
    return false;
  }
  void *items = w->stack;
  if (!tg_reserve(&items, &w->stack_room, w->depth, sizeof *w->stack)) return false;
  w->stack = items;
  w->stack[w->depth++] = (walk_step){t, 0};
  t->visited = true;
  t->partial = NULL;
  return true;
}

static bool walk_finish(backward_walk *w, tg_tensor *t) {
  void *items = w->order;
  if (!tg_reserve(&items, &w->room, w->count, sizeof *w->order)) return false;
  w->order = items;
  w->order[w->count++] = tg_retain(t);
  return true;
}

static bool walk_graph(backward_walk *w, tg_tensor *loss) {
  if (!walk_push(w, loss)) return false;
  while (w->depth) {
    walk_step *step = &w->stack[w->depth - 1];
    tg_context *c = step->tensor->context;
    if (!c || step->next == c->count) {
      if (!walk_finish(w, step->tensor)) return false;
      w->depth--;
    } else {
      int i = step->next++;
      if (tg_needs_grad(c, i) && !walk_push(w, c->inputs[i])) return false;
    }
  }
  return true;
}

static void walk_end(backward_walk *w) {
  for (int64_t i = 0; i < w->depth; i++) w->stack[i].tensor->visited = false;
  for (int64_t i = 0; i < w->count; i++) {
    w->order[i]->visited = false;
    w->order[i]->partial = NULL;
    tg_release(w->order[i]);
  }
  tg_free(w->order);
  tg_free(w->stack);
}

/* ---- one Function backward */

static const char *context_name(const tg_context *c) {
  return c->row ? c->row->name : c->user->name;
}

/* The user's gradient for input i as a node, checked. */
static tg_node *user_grad_node(const tg_context *c, int i, const tg_tensor *grad) {
  const tg_tensor *x = c->inputs[i];
  if (tg_rank(x) != tg_rank(grad) || x->node->device != grad->node->device ||
      memcmp(tg_dims(x), tg_dims(grad), (size_t)tg_rank(x) * sizeof(int64_t)))
    return tg_fail("%s: backward gave input %d a gradient of shape %s on %s, but the input is %s "
                   "on %s", context_name(c), i, tg_text_of(grad), tg_device(grad),
                   tg_text_of(x), tg_device(x));
  return tg_node_cast(grad->node, x->node->dtype);
}

/* Runs the user's backward. Its tensors live until the whole pass is over, in
 * the scope that tg_backward has opened, and so do their nodes. */
static bool user_backward(tg_context *c, tg_node *grad, tg_node **grads) {
  if (!c->user->backward) {
    tg_fail("tg_backward: %s has no gradient; give the Function a backward, or tg_detach its "
            "inputs", c->user->name);
    return false;
  }
  tg_tensor *g = tg_tensor_new(grad);
  tg_tensor **given = tg_alloc_zero((size_t)c->count * sizeof *given + 1);
  bool fine = g && given;
  if (fine && c->user->backward(c, g, given)) {
    tg_fail("%s: backward failed without a message", c->user->name);
    fine = false;
  }
  for (int i = 0; fine && i < c->count; i++)
    if (given[i] && tg_needs_grad(c, i))
      fine = (grads[i] = user_grad_node(c, i, given[i])) != NULL;
  tg_free(given);
  return fine;
}

/* Adds grads[i] to what input i has so far. */
static bool spread_grads(const tg_context *c, tg_node **grads) {
  for (int i = 0; i < c->count; i++) {
    tg_tensor *x = c->inputs[i];
    if (!tg_needs_grad(c, i) || !x->visited) continue;
    if (!grads[i]) {
      if (c->row) return false; /* a row always gives one, unless memory is short */
      continue;
    }
    x->partial = x->partial ? tg_n_add(x->partial, grads[i]) : grads[i];
    if (!x->partial) return false;
  }
  return true;
}

#define FEW_INPUTS 8

static bool step_back(tg_tensor *t) {
  tg_context *c = t->context;
  if (!c || !t->partial) return true;
  tg_node *few[FEW_INPUTS] = {0}, **grads = few;
  if (c->count > FEW_INPUTS &&
      !(grads = tg_alloc_zero((size_t)c->count * sizeof *grads)))
    return false;
  bool fine = true;
  if (c->count) c->in.dim = tg_dims(c->inputs[0]);
  if (c->row) c->row->backward(c, t->partial, grads);
  else fine = user_backward(c, t->partial, grads);
  fine = fine && spread_grads(c, grads);
  if (grads != few) tg_free(grads);
  return fine;
}

static bool walk_back(const backward_walk *w, tg_tensor *loss) {
  loss->partial = tg_node_const_like(loss->node, 1);
  if (!loss->partial) return false;
  for (int64_t i = w->count; i-- > 0;)
    if (!step_back(w->order[i])) return false;
  return true;
}

/* ---- the result */

static bool keeps_grad(const tg_tensor *t) {
  return t->partial && (!t->context || t->retain_grad);
}

/* Makes every gradient that is to be kept, as a new handle in the list. */
static bool make_grads(const backward_walk *w, tg_tensor **made) {
  for (int64_t i = 0; i < w->count; i++) {
    tg_tensor *t = w->order[i];
    if (!keeps_grad(t)) continue;
    if (t->grad) tg_note(t->grad);
    tg_node *sum = t->grad ? tg_n_add(t->grad->node, t->partial) : t->partial;
    made[i] = tg_tensor_new_owned(sum);
    if (!made[i]) return false;
    made[i]->requires_grad = TG_GRAD_NO;
  }
  return true;
}

/* From here on nothing can fail. A gradient that was there keeps its handle. */
static void hand_out(const backward_walk *w, tg_tensor **made) {
  for (int64_t i = 0; i < w->count; i++) {
    tg_tensor *t = w->order[i];
    if (!made[i]) continue;
    if (t->grad) {
      tg_tensor_rebind(t->grad, made[i]->node);
      continue;
    }
    t->grad = made[i];
    made[i] = NULL;
  }
}

static void free_records(const backward_walk *w) {
  for (int64_t i = w->count; i-- > 0;) {
    tg_tensor *t = w->order[i];
    tg_context *c = t->context;
    if (!c) continue;
    t->context = NULL;
    t->spent = true;
    tg_context_free(c, NULL, NULL);
  }
}

static bool keep_results(backward_walk *w) {
  tg_tensor **made = tg_alloc_zero((size_t)w->count * sizeof *made);
  if (!made) return false;
  bool fine = make_grads(w, made);
  if (fine) hand_out(w, made);
  for (int64_t i = 0; i < w->count; i++) tg_release(made[i]);
  tg_free(made);
  if (fine) free_records(w);
  return fine;
}

static bool loss_fits(const tg_tensor *loss) {
  if (tg_is_null("tg_backward", loss)) return false;
  if (loss->spent)
    tg_fail("tg_backward: this loss has been through tg_backward already, which frees the record "
            "of how it was made; compute it again");
  else if (tg_rank(loss))
    tg_fail("tg_backward: the loss has shape %s, but only a scalar () has a gradient; reduce it "
            "with tg_sum or tg_mean", tg_text_of(loss));
  else if (loss->requires_grad != TG_GRAD_YES && loss->cut)
    tg_fail("tg_backward: the loss depends on tensors that require a gradient only through %s, "
            "and %s has no gradient; use a function that has one", loss->cut, loss->cut);
  else if (loss->requires_grad != TG_GRAD_YES)
    tg_fail("tg_backward: the loss depends on no tensor that requires a gradient; set "
            ".requires_grad = true on one, and compute outside of no_grad");
  else
    return true;
  return false;
}

int tg_backward(tg_tensor *loss) {
  if (!loss_fits(loss)) return -1;
  backward_walk w = {0};
  tg_scope inside;
  int64_t mark = tg_pool_mark();
  bool old = tg_set_no_grad(true);
  tg_compose_begin(&inside);
  bool fine = walk_graph(&w, loss) && walk_back(&w, loss) && keep_results(&w);
  walk_end(&w);
  tg_compose_end(&inside, NULL);
  tg_set_no_grad(old);
  tg_pool_drain(mark);
  return fine ? 0 : -1;
}
