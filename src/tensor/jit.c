/* Captured steps: a function is recorded while it runs, and run again without it.
 *
 * Recording. The function runs as always, and three things are written down:
 * what the runtime runs (a tape of plans with the buffer of each entry), which
 * tensors from outside the function meets (tg_note, called wherever an operation
 * looks at its operands), and the counters that random draws take. Afterwards each
 * buffer on the tape is one of: an input, the value that a tensor from outside
 * had, a draw, the result of an earlier run; what is left is a constant.
 *
 * Replaying. The values are filled in anew, the plans run, the results become
 * the outputs and the new values of the tensors that the function had assigned,
 * gradients among them. No node is made, no key is computed. Only what cannot
 * fail happens after the last run, so a call that fails changes nothing.
 *
 * A recording holds for the conditions it was made under: the shapes of outside
 * tensors, whether there were gradients to add to, the modes of the thread.
 * When they have changed the function is recorded once more. Inputs are the
 * caller's promise, so other shapes of inputs are an error.
 */
#include "autograd/functions.h"
#include "runtime/runtime.h"
#include "tensor/tensor.h"

/* What a buffer is seen as. */
typedef struct jit_form {
  tg_dtype dtype;
  int device;
  tg_shape shape;
} jit_form;

typedef enum jit_source { JIT_INPUT, JIT_HANDLE, JIT_DRAW, JIT_CONST, JIT_RESULT } jit_source;

typedef struct jit_value {
  jit_source source;
  int64_t index;       /* which input, handle, draw */
  tg_buffer *buffer;   /* now; a constant's is retained */
} jit_value;

/* What must hold for the gradient of a tensor before a call. */
typedef enum jit_grad { JIT_ANY, JIT_NONE, JIT_SOME, JIT_SAME } jit_grad;

/* A tensor from outside that the function has met. */
typedef struct jit_handle {
  tg_tensor *tensor;   /* retained */
  tg_node *node;       /* retained while recording: before the call */
  tg_tensor *grad;     /* before the call; retained */
  jit_grad rule;
  jit_form form;
  int64_t value;
} jit_handle;

/* After a call `tensor` has that value; or, if `of` is given, `of` has the
 * gradient `tensor`, which may be NULL. */
typedef struct jit_effect {
  tg_tensor *tensor, *of; /* retained */
  int64_t value;
  jit_form form;
  tg_node *node;          /* made for it, in the pool; NULL: its node gets the buffer */
} jit_effect;

typedef struct jit_draw {
  tg_buffer *buffer;   /* retained while recording */
  int64_t count;
} jit_draw;

typedef struct jit_entry {
  int64_t run, entry, value;
} jit_entry;

/* What a recording is made of; also what is kept of it. */
typedef struct tg_recording {
  uint64_t serial;
  tg_tape tape;
  bool failed;
  bool training, no_grad;
  jit_handle *handle;
  jit_draw *draw;
  jit_value *value;
  jit_entry *entry;    /* of all runs, in order */
  jit_effect *effect;
  int64_t handles, draws, values, entries, effects;
  int64_t handle_room, draw_room, value_room, entry_room, effect_room;
  tg_buffer **buffer;  /* room for the entries of the longest run, for every run */
} tg_recording;

typedef struct jit_output {
  int64_t value;
  jit_form form;
} jit_output;

struct tg_jit {
  tg_jit_function function;
  void *user;
  int outputs;
  int64_t inputs;      /* of the recorded call; -1: none yet */
  jit_form *input;
  jit_output *output;
  tg_recording made;
};

atomic_int tg_recordings;

/* ---- forms */

static jit_form form_of(const tg_node *n) {
  jit_form f = {.dtype = n->dtype, .device = n->device, .shape = {.ndim = n->ndim}};
  for (int i = 0; i < n->ndim; i++) f.shape.dim[i] = tg_node_shape(n)[i];
  return f;
}

static bool has_form(const tg_node *n, const jit_form *f) {
  return n->dtype == f->dtype && n->device == f->device && n->ndim == f->shape.ndim &&
         !memcmp(tg_node_shape(n), f->shape.dim, (size_t)n->ndim * sizeof(int64_t));
}

static tg_node *node_of(tg_buffer *buffer, const jit_form *f) {
  return tg_node_buffer(buffer, f->dtype, f->device, f->shape.ndim, f->shape.dim);
}

/* ---- while the function runs: what the other rooms tell */

/* The recording of this thread may not go on: its next run fails. */
static void recording_fails(tg_recording *r) {
  r->failed = true;
  r->tape.broken = true;
}

static bool realize_untaped(tg_node *node) {
  tg_thread *thread = tg_this_thread();
  tg_tape *tape = thread->tape;
  thread->tape = NULL;
  bool done = tg_runtime_realize(&node, 1) == 0;
  thread->tape = tape;
  return done;
}

void tg_note_now(tg_tensor *t) {
  tg_recording *r = tg_this_thread()->recording;
  if (!r || !t || t->recorded == r->serial || t->weak) return;
  t->recorded = r->serial;
  if (!realize_untaped(t->node) ||
      !tg_reserve((void **)&r->handle, &r->handle_room, r->handles, sizeof *r->handle)) {
    recording_fails(r);
    return;
  }
  r->handle[r->handles++] = (jit_handle){.tensor = tg_retain(t), .node = tg_node_retain(t->node),
                                         .grad = tg_retain(t->grad), .form = form_of(t->node)};
}

uint64_t tg_recording_serial(void) {
  tg_recording *r = tg_this_thread()->recording;
  return r ? r->serial : 0;
}

bool tg_note_draw(tg_buffer *buffer, int64_t count) {
  tg_recording *r = tg_this_thread()->recording;
  if (!r) return true;
  if (!tg_reserve((void **)&r->draw, &r->draw_room, r->draws, sizeof *r->draw)) return false;
  r->draw[r->draws++] = (jit_draw){tg_buffer_retain(buffer), count};
  return true;
}

bool tg_recording_refuses(const char *call) {
  tg_recording *r = tg_this_thread()->recording;
  if (!r) return false;
  tg_fail("%s: inside a function that tg_jit_call records: what it gives would be the same in "
          "every later call; make it an output, and do this outside", call);
  recording_fails(r);
  return true;
}

/* ---- letting go */

/* Of what only the recording itself needed. */
static void recording_settle(tg_recording *r) {
  for (int64_t i = 0; i < r->handles; i++) {
    tg_node_release(r->handle[i].node);
    r->handle[i].node = NULL;
  }
  for (int64_t i = 0; i < r->draws; i++) {
    tg_buffer_release(r->draw[i].buffer);
    r->draw[i].buffer = NULL;
  }
  tg_tape_settle(&r->tape);
}

static void recording_free(tg_recording *r) {
  recording_settle(r);
  for (int64_t i = 0; i < r->handles; i++) {
    tg_release(r->handle[i].tensor);
    tg_release(r->handle[i].grad);
  }
  for (int64_t i = 0; i < r->values; i++)
    if (r->value[i].source == JIT_CONST) tg_buffer_release(r->value[i].buffer);
  for (int64_t i = 0; i < r->effects; i++) {
    tg_release(r->effect[i].tensor);
    tg_release(r->effect[i].of);
  }
  tg_tape_free(&r->tape);
  tg_free(r->handle);
  tg_free(r->draw);
  tg_free(r->value);
  tg_free(r->entry);
  tg_free(r->effect);
  tg_free(r->buffer);
  *r = (tg_recording){0};
}

static void jit_forget(tg_jit *jit) {
  recording_free(&jit->made);
  tg_free(jit->input);
  tg_free(jit->output);
  jit->input = NULL;
  jit->output = NULL;
  jit->inputs = -1;
}

static void jit_free(void *object) {
  jit_forget(object);
  tg_free(object);
}

/* ---- after the function has run: what each buffer was */

/* The value that a buffer is, or -1. */
static int64_t value_of(const tg_recording *r, const tg_buffer *buffer) {
  for (int64_t i = 0; i < r->values; i++)
    if (r->value[i].buffer == buffer) return i;
  return -1;
}

static int64_t value_add(tg_recording *r, jit_source source, int64_t index, tg_buffer *buffer) {
  if (!tg_reserve((void **)&r->value, &r->value_room, r->values, sizeof *r->value)) return -1;
  r->value[r->values] = (jit_value){source, index, buffer};
  if (source == JIT_CONST) tg_buffer_retain(buffer);
  return r->values++;
}

/* The value of a buffer that nothing on the tape explains is a constant. */
static int64_t value_found(tg_recording *r, tg_buffer *buffer) {
  int64_t known = value_of(r, buffer);
  return known >= 0 ? known : value_add(r, JIT_CONST, 0, buffer);
}

static bool know_inputs(tg_recording *r, tg_list inputs) {
  for (int64_t i = 0; i < inputs.count; i++)
    if (value_add(r, JIT_INPUT, i, inputs.items[i]->node->buffer) < 0) return false;
  return true;
}

static bool know_handles(tg_recording *r) {
  for (int64_t i = 0; i < r->handles; i++) {
    jit_handle *h = &r->handle[i];
    h->value = value_of(r, h->node->buffer);
    if (h->value < 0) h->value = value_add(r, JIT_HANDLE, i, h->node->buffer);
    if (h->value < 0) return false;
  }
  for (int64_t i = 0; i < r->draws; i++)
    if (value_add(r, JIT_DRAW, i, r->draw[i].buffer) < 0) return false;
  return true;
}

static bool know_run(tg_recording *r, int64_t at) {
  const tg_taped *run = &r->tape.run[at];
  for (int64_t e = 0; e < run->entries; e++) {
    if (!run->buffer[e]) continue;
    int64_t value = value_of(r, run->buffer[e]);
    if (value < 0)
      value = value_add(r, tg_taped_is_result(run, e) ? JIT_RESULT : JIT_CONST, 0, run->buffer[e]);
    if (value < 0 ||
        !tg_reserve((void **)&r->entry, &r->entry_room, r->entries, sizeof *r->entry))
      return false;
    r->entry[r->entries++] = (jit_entry){at, e, value};
  }
  return true;
}

static bool effect_add(tg_recording *r, tg_tensor *tensor, tg_tensor *of) {
  if (!tg_reserve((void **)&r->effect, &r->effect_room, r->effects, sizeof *r->effect))
    return false;
  jit_effect e = {.tensor = tensor, .of = of, .value = -1};
  if (tensor && tensor->node->op == TG_OP_BUFFER) {
    e.form = form_of(tensor->node);
    if ((e.value = value_found(r, tensor->node->buffer)) < 0) return false;
  }
  tg_retain(tensor);
  tg_retain(of);
  r->effect[r->effects++] = e;
  return true;
}

static bool is_handle(const tg_recording *r, const tg_tensor *t) {
  for (int64_t i = 0; t && i < r->handles; i++)
    if (r->handle[i].tensor == t) return true;
  return false;
}

/* What the call has done to a tensor from outside and to its gradient. */
static bool know_effects(tg_recording *r, jit_handle *h) {
  tg_tensor *t = h->tensor;
  if (t->node != h->node && !effect_add(r, t, NULL)) return false;
  if (t->grad != h->grad) {
    h->rule = h->grad ? JIT_SOME : JIT_NONE;
    return effect_add(r, t->grad, t);
  }
  if (is_handle(r, t->grad)) h->rule = JIT_SAME;
  return true;
}

static bool recording_make_room(tg_recording *r) {
  int64_t all = 1;
  for (int64_t i = 0; i < r->tape.count; i++) all += r->tape.run[i].entries;
  r->buffer = tg_alloc_zero((size_t)all * sizeof *r->buffer);
  return r->buffer;
}

static bool know_outputs(tg_jit *jit, tg_recording *r, tg_tensor *const *outputs) {
  jit->output = tg_alloc((size_t)jit->outputs * sizeof *jit->output + 1);
  if (!jit->output) return false;
  for (int i = 0; i < jit->outputs; i++) {
    const tg_node *n = outputs[i]->node;
    jit->output[i] = (jit_output){value_found(r, n->buffer), form_of(n)};
    if (jit->output[i].value < 0) return false;
  }
  return true;
}

static bool know_all(tg_jit *jit, tg_recording *r, tg_list inputs, tg_tensor *const *outputs) {
  bool done = !r->failed && recording_make_room(r) && know_inputs(r, inputs) && know_handles(r);
  for (int64_t i = 0; done && i < r->tape.count; i++) done = know_run(r, i);
  for (int64_t i = 0; done && i < r->handles; i++) done = know_effects(r, &r->handle[i]);
  jit->input = tg_alloc((size_t)inputs.count * sizeof *jit->input + 1);
  done = done && jit->input && know_outputs(jit, r, outputs);
  for (int64_t i = 0; done && i < inputs.count; i++)
    jit->input[i] = form_of(inputs.items[i]->node);
  return done;
}

/* ---- recording */

/* What a call leaves behind becomes memory: outputs, and outside tensors that hold
 * something new, with their gradients. */
static int realize_all(const tg_recording *r, int outputs, tg_tensor *const *output) {
  tg_node **node = tg_alloc((size_t)(outputs + 2 * r->handles + 1) * sizeof *node);
  int64_t count = 0;
  if (!node) return -1;
  for (int i = 0; i < outputs; i++) node[count++] = output[i]->node;
  for (int64_t i = 0; i < r->handles; i++) {
    tg_tensor *t = r->handle[i].tensor;
    node[count++] = t->node;
    if (t->grad && t->grad != r->handle[i].grad) node[count++] = t->grad->node;
  }
  int status = tg_runtime_realize(node, count);
  tg_free(node);
  return status;
}

/* The function gets handles of its own, so that nothing it does reaches the
 * caller's. `own` and `got` have room for all. */
static int call_function(tg_jit *jit, tg_list inputs, tg_tensor **own, tg_tensor **got) {
  for (int64_t i = 0; i < inputs.count; i++) {
    if (!(own[i] = tg_tensor_new(inputs.items[i]->node))) return -1;
    own[i]->requires_grad = inputs.items[i]->requires_grad;
  }
  for (int i = 0; i < jit->outputs; i++) got[i] = NULL;
  if (jit->function((tg_list){inputs.count, own}, got, jit->user)) {
    tg_fail("tg_jit_call: the function failed without a message");
    return -1;
  }
  for (int i = 0; i < jit->outputs; i++)
    if (!got[i]) {
      tg_fail("tg_jit_call: the function has not set output %d of %d", i, jit->outputs);
      return -1;
    }
  return 0;
}

/* Handles without a record on what the function gave, in no scope yet. */
static int take_outputs(const tg_jit *jit, tg_tensor *const *got, tg_tensor **outputs) {
  for (int i = 0; i < jit->outputs; i++) {
    outputs[i] = tg_tensor_new_owned(got[i]->node);
    if (outputs[i]) continue;
    while (i-- > 0) tg_release(outputs[i]);
    return -1;
  }
  return 0;
}

static int run_function(tg_jit *jit, tg_recording *r, tg_list inputs, tg_tensor **outputs) {
  tg_tensor **own = tg_alloc((size_t)(inputs.count + 1) * sizeof *own);
  tg_tensor **got = tg_alloc((size_t)(jit->outputs + 1) * sizeof *got);
  int status = own && got ? call_function(jit, inputs, own, got) : -1;
  if (status == 0) status = realize_all(r, jit->outputs, got);
  if (status == 0) status = take_outputs(jit, got, outputs);
  tg_free(own);
  tg_free(got);
  return status;
}

/* Whatever outside tensors hold since: they go back to what they had. */
static void roll_back(const tg_recording *r) {
  for (int64_t i = 0; i < r->handles; i++) {
    const jit_handle *h = &r->handle[i];
    if (h->tensor->node != h->node) tg_tensor_rebind(h->tensor, h->node);
    if (h->tensor->grad == h->grad) continue;
    tg_release(h->tensor->grad);
    h->tensor->grad = tg_retain(h->grad);
  }
}

/* Runs the function and records it. The call stands also when memory does not
 * suffice to keep the recording: the next one records again. */
static int jit_record(tg_jit *jit, tg_list inputs, tg_tensor **outputs) {
  static _Atomic uint64_t serials;
  tg_thread *thread = tg_this_thread();
  tg_recording *r = &jit->made;
  *r = (tg_recording){.serial = atomic_fetch_add(&serials, 1) + 1, .training = thread->training,
                      .no_grad = thread->no_grad};
  atomic_fetch_add(&tg_recordings, 1);
  thread->recording = r;
  thread->tape = &r->tape;
  int status = run_function(jit, r, inputs, outputs);
  thread->tape = NULL;
  thread->recording = NULL;
  atomic_fetch_sub(&tg_recordings, 1);
  bool unread = tg_has_error();
  bool failed = status || r->failed;
  if (!failed && know_all(jit, r, inputs, outputs)) {
    recording_settle(r);
    jit->inputs = inputs.count;
    return 0;
  }
  for (int i = 0; status == 0 && failed && i < jit->outputs; i++) tg_release(outputs[i]);
  if (failed) {
    tg_fail("tg_jit_call: the function could not be recorded");
    roll_back(r);
  } else if (!unread) {
    tg_clear_error();
  }
  jit_forget(jit);
  return failed ? -1 : 0;
}

/* ---- replaying */

static bool grad_holds(const jit_handle *h) {
  const tg_tensor *grad = h->tensor->grad;
  switch (h->rule) {
    case JIT_ANY: return true;
    case JIT_NONE: return !grad;
    case JIT_SOME: return grad;
    case JIT_SAME: return grad == h->grad;
  }
  return false;
}

/* Whether the recording holds for what is outside now: 1; 0: no; -1: failed. */
static int conditions_hold(tg_recording *r, tg_list inputs) {
  const tg_thread *thread = tg_this_thread();
  for (int64_t i = 0; i < inputs.count; i++) r->value[i].buffer = inputs.items[i]->node->buffer;
  if (thread->training != r->training || thread->no_grad != r->no_grad) return 0;
  for (int64_t i = 0; i < r->handles; i++) {
    const jit_handle *h = &r->handle[i];
    if (!has_form(h->tensor->node, &h->form) || !grad_holds(h)) return 0;
    if (h->tensor->node->op != TG_OP_BUFFER && tg_runtime_realize(&h->tensor->node, 1)) return -1;
    jit_value *v = &r->value[h->value];
    if (v->source == JIT_HANDLE && v->index == i) v->buffer = h->tensor->node->buffer;
    else if (v->buffer != h->tensor->node->buffer) return 0; /* they were one, and part */
  }
  return 1;
}

static bool inputs_hold(const tg_jit *jit, tg_list inputs) {
  if (inputs.count != jit->inputs) {
    tg_fail("tg_jit_call: %lld inputs, but %lld when the function was recorded; give as many, or "
            "make another tg_jit", (long long)inputs.count, (long long)jit->inputs);
    return false;
  }
  for (int64_t i = 0; i < inputs.count; i++) {
    const tg_node *n = inputs.items[i]->node;
    const jit_form *f = &jit->input[i];
    if (has_form(n, f)) continue;
    tg_fail("tg_jit_call: input %lld is %s of %s on %s, but was %s of %s on %s when the function "
            "was recorded; pad it to that, or make another tg_jit", (long long)i,
            tg_shape_text(tg_node_shape(n), n->ndim), tg_dtype_name(n->dtype),
            tg_device_name(n->device), tg_shape_text(f->shape.dim, f->shape.ndim),
            tg_dtype_name(f->dtype), tg_device_name(f->device));
    return false;
  }
  return true;
}

/* New counters for every draw, as the function would take them. */
static bool replay_draws(tg_recording *r) {
  for (int64_t i = 0; i < r->draws; i++)
    if (!(r->draw[i].buffer = tg_draw_counters(r->draw[i].count))) return false;
  for (int64_t i = 0; i < r->values; i++)
    if (r->value[i].source == JIT_DRAW) r->value[i].buffer = r->draw[r->value[i].index].buffer;
  return true;
}

/* Runs the tape. Returns how many runs went well. */
static int64_t replay_runs(tg_recording *r) {
  tg_buffer **buffer = r->buffer;
  int64_t at = 0, done = 0;
  for (; done < r->tape.count; buffer += r->tape.run[done++].entries) {
    const tg_taped *run = &r->tape.run[done];
    int64_t first = at;
    for (; at < r->entries && r->entry[at].run == done; at++)
      if (!tg_taped_is_result(run, r->entry[at].entry))
        buffer[r->entry[at].entry] = r->value[r->entry[at].value].buffer;
    if (tg_taped_run(run, buffer)) break;
    for (int64_t i = first; i < at; i++) {
      jit_value *v = &r->value[r->entry[i].value];
      if (v->source == JIT_RESULT) v->buffer = buffer[r->entry[i].entry];
    }
  }
  return done;
}

static void replay_end(tg_recording *r, int64_t runs) {
  tg_buffer **buffer = r->buffer;
  for (int64_t i = 0; i < runs; buffer += r->tape.run[i++].entries)
    tg_taped_drop(&r->tape.run[i], buffer);
  for (int64_t i = 0; i < r->draws; i++) {
    tg_buffer_release(r->draw[i].buffer);
    r->draw[i].buffer = NULL;
  }
}

/* A node that only this handle holds just gets another buffer. */
static bool takes_buffer(const jit_effect *e) {
  const tg_node *n = e->tensor->node;
  return n->op == TG_OP_BUFFER && atomic_load(&n->refs) == 1 && has_form(n, &e->form);
}

/* Makes what can fail. */
static bool prepare_effects(tg_recording *r) {
  for (int64_t i = 0; i < r->effects; i++) {
    jit_effect *e = &r->effect[i];
    e->node = NULL;
    if (!e->tensor || e->value < 0 || takes_buffer(e)) continue;
    if (!(e->node = node_of(r->value[e->value].buffer, &e->form))) return false;
  }
  return true;
}

static void apply_effects(tg_recording *r) {
  for (int64_t i = 0; i < r->effects; i++) {
    jit_effect *e = &r->effect[i];
    if (e->tensor && e->node) tg_tensor_rebind(e->tensor, e->node);
    else if (e->tensor && e->value >= 0)
      tg_node_swap_buffer(e->tensor->node, r->value[e->value].buffer);
    if (!e->of || e->of->grad == e->tensor) continue;
    tg_release(e->of->grad);
    e->of->grad = tg_retain(e->tensor);
  }
}

static int make_outputs(const tg_jit *jit, tg_tensor **outputs) {
  for (int i = 0; i < jit->outputs; i++) {
    const jit_output *o = &jit->output[i];
    int64_t mark = tg_pool_mark();
    outputs[i] = tg_tensor_claimed_owned(mark, node_of(jit->made.value[o->value].buffer, &o->form));
    if (outputs[i]) continue;
    while (i-- > 0) tg_release(outputs[i]);
    return -1;
  }
  return 0;
}

static int jit_replay(tg_jit *jit, tg_tensor **outputs) {
  tg_recording *r = &jit->made;
  int64_t mark = tg_pool_mark(), runs = 0;
  bool done = replay_draws(r);
  if (done) runs = replay_runs(r);
  done = done && runs == r->tape.count && prepare_effects(r) && make_outputs(jit, outputs) == 0;
  if (done) apply_effects(r);
  tg_pool_drain(mark);
  replay_end(r, runs);
  return done ? 0 : -1;
}

/* ---- the calls */

/* More is a mistake; the callers have an array of that size. */
#define MOST_OUTPUTS (1 << 20)

tg_jit *tg_jit_new(tg_jit_function function, int outputs, void *user) {
  if (!function) return tg_fail("tg_jit_new: the function is NULL");
  if (outputs < 0 || outputs > MOST_OUTPUTS)
    return tg_fail("tg_jit_new: %d outputs; a function has 0 to %d", outputs, MOST_OUTPUTS);
  tg_jit *jit = tg_alloc_zero(sizeof *jit);
  if (!jit) return NULL;
  *jit = (tg_jit){.function = function, .user = user, .outputs = outputs, .inputs = -1};
  if (tg_scope_own(jit, jit_free) == 0) return jit;
  jit_free(jit);
  return NULL;
}

static bool call_fits(const tg_jit *jit, tg_list inputs, tg_tensor **outputs) {
  if (!jit) tg_null_argument("tg_jit_call");
  else if (jit->outputs && !outputs)
    tg_fail("tg_jit_call: outputs is NULL; give room for %d", jit->outputs);
  else
    return tg_is_list("tg_jit_call", inputs);
  return false;
}

/* Inputs are memory, each of its own: that is how they are told apart. */
static bool jit_inputs_fit(tg_list inputs) {
  for (int64_t i = 0; i < inputs.count; i++) {
    if (!tg_realize(inputs.items[i])) return false;
    for (int64_t j = 0; j < i; j++)
      if (inputs.items[i]->node->buffer == inputs.items[j]->node->buffer) {
        tg_fail("tg_jit_call: inputs %lld and %lld are the same memory; give it once",
                (long long)j, (long long)i);
        return false;
      }
  }
  return true;
}

/* Inside another recording the function just runs, as a part of that one. */
static int jit_inside(tg_jit *jit, tg_list inputs, tg_tensor **outputs) {
  tg_scope scope;
  tg_compose_begin(&scope);
  tg_recording none = {0};
  int status = run_function(jit, &none, inputs, outputs);
  tg_compose_end(&scope, NULL);
  return status;
}

static int jit_outside(tg_jit *jit, tg_list inputs, tg_tensor **outputs) {
  if (jit->inputs >= 0) {
    int hold = inputs_hold(jit, inputs) ? conditions_hold(&jit->made, inputs) : -1;
    if (hold < 0) return -1;
    if (hold) return jit_replay(jit, outputs);
  }
  jit_forget(jit);
  tg_scope scope;
  tg_compose_begin(&scope);
  int status = jit_record(jit, inputs, outputs);
  tg_compose_end(&scope, NULL);
  return status;
}

int tg_jit_call(tg_jit *jit, tg_list inputs, tg_tensor **outputs) {
  if (!call_fits(jit, inputs, outputs)) return -1;
  for (int i = 0; i < jit->outputs; i++) outputs[i] = NULL;
  if (!jit_inputs_fit(inputs)) return -1;
  bool inside = tg_this_thread()->recording != NULL;
  int status = inside ? jit_inside(jit, inputs, outputs) : jit_outside(jit, inputs, outputs);
  for (int i = 0; i < jit->outputs; i++) {
    if (status) outputs[i] = NULL;
    else tg_scope_add(tg_current_scope(), outputs[i]);
  }
  return status;
}
