/* Contexts: applying a Function, and remembering that it was applied.
 *
 * tg_call runs a forward on the nodes of its inputs with a context on the C
 * stack. Only when some input requires a gradient (and no_grad is off) is the
 * context copied to the heap, with references to the inputs and to the nodes
 * that the forward saved; the result owns it. So inference costs no record.
 *
 * The result requires a gradient when an input does; else it is unset when an
 * input is, else no (teenygrad's rule). A Function without gradient gives a
 * result that requires none and remembers who cut the path, so that tg_backward
 * can say so.
 *
 * Then the Functions of the user: the same record around callbacks.
 */
#include "autograd/functions.h"

/* ---- records */

/* A context like `model` with room for its inputs (one pointer and one bit
 * each) and arguments. */
static tg_context *context_new(const tg_context *model) {
  size_t words = ((size_t)model->count + 63) / 64;
  size_t inputs = (size_t)model->count * sizeof(tg_tensor *);
  size_t args = (size_t)model->nargs * sizeof(int64_t);
  tg_context *c = tg_alloc(sizeof *c + inputs + words * sizeof(uint64_t) + args);
  if (!c) return NULL;
  *c = *model;
  c->needs = (uint64_t *)(void *)((char *)c->inputs + inputs);
  memset(c->needs, 0, words * sizeof(uint64_t));
  c->args = (int64_t *)(void *)(c->needs + words);
  if (args) memcpy(c->needs + words, model->args, args);
  return c;
}

static void context_hold(tg_context *c, tg_tensor *const *inputs) {
  for (int i = 0; i < c->count; i++) {
    c->inputs[i] = tg_retain(inputs[i]);
    if (inputs[i]->requires_grad == TG_GRAD_YES) c->needs[i / 64] |= UINT64_C(1) << i % 64;
  }
}

static void release_tensor(tg_tensor *t, void *user) {
  (void)user;
  tg_release(t);
}

void tg_context_free(tg_context *c, void (*drop)(tg_tensor *t, void *user), void *user) {
  if (!c) return;
  if (!drop) drop = release_tensor;
  for (int i = 0; i < TG_CONTEXT_SAVED; i++) tg_node_release(c->saved[i]);
  for (int i = 0; i < c->count; i++) drop(c->inputs[i], user);
  for (int64_t i = 0; i < c->user_count; i++) drop(c->user_saved[i], user);
  tg_free(c->user_saved);
  if (c->user && c->user->destroy) c->user->destroy(c->user_data);
  tg_free(c);
}

/* Follows tensors that have one owner: all of it goes when `t` goes. */
void tg_visit_users(const tg_tensor *t, void (*visit)(void *user, void *arg), void *arg) {
  enum { VISIT_PENDING = 64, VISIT_STEPS = 512 };
  const tg_tensor *pending[VISIT_PENDING];
  int count = 0;
  if (t && visit) pending[count++] = t;
  for (int steps = 0; count && steps < VISIT_STEPS; steps++) {
    t = pending[--count];
    const tg_context *c = atomic_load(&t->refs) == 1 ? t->context : NULL;
    if (c && c->user) visit(c->user_data, arg);
    for (int i = 0; c && i < c->count && count < VISIT_PENDING; i++)
      pending[count++] = c->inputs[i];
  }
}

bool tg_needs_grad(const tg_context *c, int input) {
  if (!c || input < 0 || input >= c->count) return false;
  return c->needs && (c->needs[input / 64] >> input % 64 & 1);
}

/* ---- what the result requires */

static bool any_requires(int count, tg_tensor *const *inputs) {
  for (int i = 0; i < count; i++)
    if (inputs[i]->requires_grad == TG_GRAD_YES) return !tg_no_grad();
  return false;
}

/* The state of a result without a record: never yes. */
static void inherit_state(tg_tensor *t, int count, tg_tensor *const *inputs) {
  t->requires_grad = TG_GRAD_NO;
  for (int i = 0; i < count; i++) {
    if (inputs[i]->requires_grad != TG_GRAD_NO) t->requires_grad = TG_GRAD_UNSET;
    if (inputs[i]->cut && !t->cut) t->cut = inputs[i]->cut;
  }
}

/* ---- the library's own Functions */

enum { CALL_ROOM = 48 };

/* The call that users know a Function by: ContiguousBackward as
 * tg_contiguous_backward. */
static const char *call_of(const char *name, char text[CALL_ROOM]) {
  size_t n = 2;
  memcpy(text, "tg", n);
  for (; *name && n + 2 < CALL_ROOM; name++) {
    bool capital = *name >= 'A' && *name <= 'Z';
    if (capital) text[n++] = '_';
    text[n++] = (char)(capital ? *name - 'A' + 'a' : *name);
  }
  text[n] = 0;
  return text;
}

static bool inputs_fit(const char *name, int count, tg_tensor *const *inputs) {
  char call[CALL_ROOM];
  for (int i = 0; i < count; i++) {
    if (!inputs[i]) return !tg_is_null(call_of(name, call), NULL);
    if (inputs[i]->node->device == inputs[0]->node->device) continue;
    tg_fail("%s: the operands are on %s and %s; move one with tg_to", call_of(name, call),
            tg_device(inputs[0]), tg_device(inputs[i]));
    return false;
  }
  return true;
}

static void context_start(tg_context *c, const tg_function_row *row, int count,
                          const tg_node *first, int nargs, const int64_t *args) {
  c->row = row;
  c->count = count;
  c->nargs = nargs;
  c->args = args;
  c->in.ndim = first->ndim;
  c->in.dim = tg_node_shape(first);
  c->in_dtype = first->dtype;
  c->in_device = first->device;
}

/* A heap copy of the record that holds what it names. */
static tg_context *context_keep(const tg_context *c, tg_tensor *const *inputs) {
  tg_context *kept = context_new(c);
  if (!kept) return NULL;
  for (int i = 0; i < TG_CONTEXT_SAVED; i++) tg_node_retain(kept->saved[i]);
  context_hold(kept, inputs);
  return kept;
}

/* The result, with its record or without. */
static tg_tensor *call_result(const tg_context *c, int64_t mark, tg_node *node,
                              tg_tensor *const *inputs) {
  tg_tensor *t = tg_tensor_claim(mark, node);
  if (!t) return NULL;
  bool wanted = any_requires(c->count, inputs);
  bool cut = wanted && (!c->row->backward || !tg_dtype_is_float(node->dtype));
  if (!wanted || cut) {
    inherit_state(t, c->count, inputs);
    if (cut) t->cut = c->row->name;
    return t;
  }
  t->context = context_keep(c, inputs);
  if (!t->context) return NULL;
  t->requires_grad = TG_GRAD_YES;
  return t;
}

#define FEW_INPUTS 8

tg_tensor *tg_call(const tg_function_row *row, int count, tg_tensor *const *inputs, int nargs,
                   const int64_t *args) {
  if (!inputs_fit(row->name, count, inputs)) return NULL;
  tg_node *few[FEW_INPUTS], **nodes = few;
  if (count > FEW_INPUTS && !(nodes = tg_alloc((size_t)count * sizeof *nodes))) return NULL;
  for (int i = 0; i < count; i++) {
    tg_note(inputs[i]);
    nodes[i] = inputs[i]->node;
  }
  tg_context c = {0};
  context_start(&c, row, count, nodes[0], nargs, args);
  int64_t mark = tg_pool_mark();
  tg_tensor *t = call_result(&c, mark, row->forward(&c, nodes), inputs);
  tg_pool_drain(mark);
  if (nodes != few) tg_free(nodes);
  return t;
}

/* ---- the user's own Functions */

int tg_save_for_backward(tg_context *c, tg_tensor *t) {
  if (!c) tg_fail("tg_save_for_backward: the context is NULL; give the one that forward got");
  if (!c || tg_is_null("tg_save_for_backward", t)) return -1;
  void *items = c->user_saved;
  if (!tg_reserve(&items, &c->user_room, c->user_count, sizeof(tg_tensor *))) return -1;
  c->user_saved = items;
  c->user_saved[c->user_count++] = tg_retain(t);
  return 0;
}

tg_tensor *tg_saved(const tg_context *c, int i) {
  if (c && i >= 0 && i < c->user_count) return c->user_saved[i];
  return tg_fail("tg_saved: there is no saved tensor %d; forward saved %d", i,
                 c ? (int)c->user_count : 0);
}

void *tg_user(const tg_context *c) { return c ? c->user_data : NULL; }

/* The forward computes with an own copy of the result's handle: whatever it
 * returns, be it an input, the result is a new tensor. */
static tg_tensor *user_forward(tg_context *c) {
  bool old = tg_set_no_grad(true);
  tg_scope inside;
  tg_compose_begin(&inside);
  tg_tensor *out = c->user->forward(c, c->inputs, c->count);
  tg_tensor *result = out ? tg_tensor_new(out->node) : NULL;
  tg_compose_end(&inside, result);
  tg_set_no_grad(old);
  if (!out) tg_fail("%s: forward returned NULL without a message", c->user->name);
  return result;
}

static tg_tensor *user_result(tg_context *c) {
  bool wanted = any_requires(c->count, c->inputs);
  tg_tensor *t = user_forward(c);
  bool cut = wanted && t && !tg_dtype_is_float(t->node->dtype);
  if (t && wanted && !cut) {
    t->context = c;
    t->requires_grad = TG_GRAD_YES;
    return t;
  }
  if (t) inherit_state(t, c->count, c->inputs);
  if (cut) t->cut = c->user->name;
  tg_context_free(c, NULL, NULL);
  return t;
}

tg_tensor *tg_apply(const tg_function *function, tg_list inputs, void *user) {
  if (!function || !function->forward || !function->name)
    return tg_fail("tg_apply: the Function has no name or no forward");
  bool ready = tg_is_list(function->name, inputs);
  tg_context model = {.user = function, .user_data = user, .count = (int)inputs.count};
  tg_context *c = ready ? context_new(&model) : NULL;
  if (!c) {
    if (function->destroy) function->destroy(user);
    return NULL;
  }
  context_hold(c, inputs.items);
  return user_result(c);
}
