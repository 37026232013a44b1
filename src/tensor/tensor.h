/* tensor: what the files of the tensor room, and those of autograd and nn,
 * share.
 *
 * A tensor is a handle: a lazy node, how it was made (its context, for the
 * gradient), and its place in a scope. An operation on tensors is written in
 * one of three ways:
 *
 *   1. As a Function (autograd/functions.h), which works on nodes and has a
 *      backward:           return tg_call1(&tg_fn_exp, x);
 *   2. Composed of other operations. TG_COMPOSE opens a scope for what comes
 *      between; only the result reaches the scope of the caller:
 *                          TG_COMPOSE(tg_mul(x, tg_sigmoid(x)));
 *   3. On nodes, without a gradient (random numbers, argmax): take
 *      tg_pool_mark(), build, and return tg_wrap(mark, node).
 *
 * In all three a NULL operand needs no check of its own where it is handed to
 * a function that checks; before looking inside (x->node), check with
 * tg_is_null("tg_name", x).
 */
#ifndef TG_TENSOR_H
#define TG_TENSOR_H

#include <math.h>

#include "graph/graph.h"

/* A C number as an operand takes the dtype of the other one. */
typedef enum tg_weakness { TG_STRONG, TG_WEAK_WHOLE, TG_WEAK_FRACTION } tg_weakness;

struct tg_tensor {
  _Atomic int64_t refs;
  tg_node *node;
  tg_tensor *grad;           /* owned */
  tg_context *context;       /* how it was made, owned; NULL: a leaf, or no gradient */
  const char *cut;           /* the Function without gradient that it came through */
  char *name;                /* owned */
  tg_scope *scope;           /* holds one reference, in a doubly linked list */
  tg_tensor *prev, *next;    /* in the scope; `next` also links the dying */
  tg_node *partial;          /* during tg_backward: its gradient so far (not owned) */
  tg_value number;           /* weak: the exact number */
  uint64_t recorded;         /* the recording (jit.c) it was made in, or that knows it */
  tg_grad_mode requires_grad;
  tg_weakness weak;
  bool retain_grad;
  bool spent;                /* tg_backward has freed the context */
  bool visited;              /* during tg_backward */
};

/* A scope: tensors in order of making, newest first, and other owned objects.
 * Complete here so that an internal scope can live on the C stack. */
struct tg_scope {
  tg_scope *around;
  tg_tensor *tensors;
  struct tg_owned *owned;
  bool heap;                 /* tg_scope_open made it */
  bool failed;               /* an error was recorded before it was opened */
};

/* ---- making tensors (tensor.c) */

/* A tensor in the innermost scope over `node`, which it retains. NULL: NULL. */
tg_tensor *tg_tensor_new(tg_node *node);
/* The same for a node that nobody goes on with but through the tensor. */
tg_tensor *tg_tensor_claim(int64_t mark, tg_node *node);
/* The same, then drains the pool to `mark`: the end of a function on nodes. */
tg_tensor *tg_wrap(int64_t mark, tg_node *node);
/* The same as tg_tensor_new, in no scope: the caller owns the reference. */
tg_tensor *tg_tensor_new_owned(tg_node *node);
/* That, for a node as tg_tensor_claim takes it. */
tg_tensor *tg_tensor_claimed_owned(int64_t mark, tg_node *node);
/* Gives `t` another node (retained). */
void tg_tensor_rebind(tg_tensor *t, tg_node *node);
/* The end of a creation function: wraps, then applies .requires_grad, .name. */
tg_tensor *tg_created(const char *call, int64_t mark, tg_node *node, const tg_create_opts *o);
/* Element i of row-major `data`, as a double or an integer (floats truncate). */
double tg_read_float(tg_dtype dtype, const void *data, int64_t i);
int64_t tg_read_int(tg_dtype dtype, const void *data, int64_t i);
/* True, and a message, when `t` is NULL. */
bool tg_is_null(const char *call, const tg_tensor *t);
/* Whether requires_grad has one of its three values; a message if not. */
bool tg_is_grad_mode(const char *call, tg_grad_mode mode);
/* True when there are `count` tensors, 0 or more; else a message. */
bool tg_is_list(const char *call, tg_list list);

/* ---- scopes (scope.c) */

/* The innermost scope of the thread; the root scope if none is open. */
tg_scope *tg_current_scope(void);
/* An internal scope on the C stack, and its end: what was made inside is
 * released, but `result` moves out (if it was made inside). Returns result. */
void tg_compose_begin(tg_scope *scope);
tg_tensor *tg_compose_end(tg_scope *scope, tg_tensor *result);
#define TG_COMPOSE(expression)                                       \
  do {                                                               \
    tg_scope compose_;                                               \
    tg_compose_begin(&compose_);                                     \
    tg_tensor *composed_ = (expression);                             \
    if (!composed_ && !compose_.failed) tg_error_within(__func__);   \
    return tg_compose_end(&compose_, composed_);                     \
  } while (0)
/* Puts `t`, in no scope yet, into `scope`, which takes over a reference. */
void tg_scope_add(tg_scope *scope, tg_tensor *t);
/* An object other than a tensor (an optimizer) that the innermost scope owns:
 * release(object) is called when it closes. 0, or -1 without memory. */
int tg_scope_own(void *object, void (*release)(void *object));
/* Takes it out of the scope of this thread that owns it: the caller releases it. */
void tg_scope_disown(const void *object);

/* ---- recordings (jit.c) */

/* How many threads record. What follows costs nothing while that is 0. */
extern atomic_int tg_recordings;
uint64_t tg_recording_serial(void);
void tg_note_now(tg_tensor *t);
/* To be called before a tensor's node is looked at, or it is changed. */
static inline void tg_note(tg_tensor *t) {
  if (atomic_load_explicit(&tg_recordings, memory_order_relaxed)) tg_note_now(t);
}
/* A draw of `count` random numbers took its counters into `buffer`. */
bool tg_note_draw(tg_buffer *buffer, int64_t count);
/* The same draw in a later call: new counters (random.c). */
tg_buffer *tg_draw_counters(int64_t count);
/* True, and a message, while this thread records: for what reads values. */
bool tg_recording_refuses(const char *call);

/* ---- options, axes, shapes, devices (tensor.c) */

/* An optional number: 0 means "left out", TG_ZERO means 0. */
static inline double tg_opt(double given, double otherwise) {
  if (given != 0) return given;
  return signbit(given) ? 0 : otherwise;
}
static inline int tg_rank(const tg_tensor *t) { return t->node->ndim; }
static inline const int64_t *tg_dims(const tg_tensor *t) { return tg_node_shape(t->node); }
/* tg_text_of(t): "(2, 3)". */
static inline const char *tg_text_of(const tg_tensor *t) {
  return tg_shape_text(tg_dims(t), tg_rank(t));
}
/* `axis` counted from the front, for `ndim` axes; -1 and a message when there
 * is no such axis. A scalar accepts 0 and -1 and gives 0. */
int tg_axis(const char *call, const tg_tensor *t, int64_t axis);
/* The same for a list, as a bit mask; doubled axes are an error. 0, or -1. An
 * empty list gives all axes. */
int tg_axes(const char *call, const tg_tensor *t, const tg_ints *axes, uint32_t *mask);
/* The element count, or -1 and a message: negative sizes, too many axes, more
 * bytes than int64 counts. */
int64_t tg_check_shape(const char *call, tg_shape shape, tg_dtype dtype);
/* The number of a device by name (NULL: the default), or -1 and a message. */
int tg_device_index(const char *call, const char *name);
int tg_device_now(void);     /* the default device, as nodes hold it */
tg_dtype tg_dtype_or_default(tg_dtype dtype);

/* ---- dtypes and broadcasting (elementwise.c) */

/* `t` as a float tensor: integers and bool become the default dtype. */
tg_tensor *tg_as_float(tg_tensor *t);
/* What a composition computes in: the same, but float32 for the 16-bit floats, which
 * would be rounded at each of its steps. tg_narrowed brings its result back into the
 * dtype that a float function gives for `t`: one rounding for the whole. */
tg_tensor *tg_widened(tg_tensor *t);
tg_tensor *tg_narrowed(tg_tensor *result, const tg_tensor *t);
/* Both operands of a product, in the dtype that it is computed in; gives the dtype of
 * its result. 16-bit floats are summed, and so multiplied, in float32. */
tg_dtype tg_widen_product(tg_tensor **a, tg_tensor **b);
/* The dtype of a float function's result for `t`. */
tg_dtype tg_float_dtype(const tg_tensor *t);
/* The dtype in which a and b meet, weak numbers included. */
tg_dtype tg_common_dtype(const tg_tensor *a, const tg_tensor *b);
/* `t` in `dtype`; a weak number exactly, as a new constant. */
tg_tensor *tg_in_dtype(tg_tensor *t, tg_dtype dtype);
/* The shape that both broadcast to. 0, or -1 and a message. */
int tg_broadcast_shape(const char *call, const tg_tensor *a, const tg_tensor *b,
                       tg_shape *out);
/* `t` reshaped and expanded to `shape`, which it broadcasts to. */
tg_tensor *tg_broadcast_to(tg_tensor *t, tg_shape shape);
/* Checks both operands (NULL, devices), gives them one dtype and one shape:
 * what every binary operation does first. A weak number moves to the device
 * of the other. 0, or -1 and a message. */
int tg_meet(const char *call, tg_tensor **a, tg_tensor **b);

/* ---- node helpers: expressions of nodes with C numbers */
static inline tg_node *tg_n_add(tg_node *a, tg_node *b) { return tg_node_binary(TG_OP_ADD, a, b); }
static inline tg_node *tg_n_sub(tg_node *a, tg_node *b) { return tg_node_binary(TG_OP_SUB, a, b); }
static inline tg_node *tg_n_mul(tg_node *a, tg_node *b) { return tg_node_binary(TG_OP_MUL, a, b); }
static inline tg_node *tg_n_div(tg_node *a, tg_node *b) { return tg_node_binary(TG_OP_DIV, a, b); }
static inline tg_node *tg_n_lt(tg_node *a, tg_node *b) { return tg_node_binary(TG_OP_CMPLT, a, b); }
static inline tg_node *tg_n_eq(tg_node *a, tg_node *b) { return tg_node_binary(TG_OP_CMPEQ, a, b); }
static inline tg_node *tg_n_neg(tg_node *a) { return tg_node_unary(TG_OP_NEG, a); }
/* The constant `f` shaped like `like`. */
static inline tg_node *tg_n_num(tg_node *like, double f) { return tg_node_const_like(like, f); }
/* !condition */
static inline tg_node *tg_n_not(tg_node *c) {
  return tg_node_binary(TG_OP_XOR, c, tg_node_const_like(c, 1));
}
/* The smaller one. MAX of the complement for integers (no overflow). */
tg_node *tg_n_min(tg_node *a, tg_node *b);
/* `index` (int64) itself; a kernel fails where it is not 0 <= index < size
 * (indexing.c). */
tg_node *tg_n_checked(tg_node *index, int64_t size);

#endif
