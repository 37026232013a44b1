/* autograd: Functions, each a forward and a backward on nodes.
 *
 * A forward gets the nodes of the inputs and returns the node of the result;
 * what its backward will need it puts into context->saved. A backward gets the
 * gradient by the result and fills grads[i], the gradient by input i, in the
 * input's shape and dtype; NULL: none. tg_call checks, runs the forward, makes
 * the tensor, and keeps the context when some input requires a gradient and
 * no_grad is off.
 *
 * Inputs have been broadcast and promoted before; forwards trust them. Every
 * input of one call must live on one device (tg_call checks that).
 */
#ifndef TG_FUNCTIONS_H
#define TG_FUNCTIONS_H

#include "tensor/tensor.h"

typedef struct tg_function_row {
  const char *name;
  tg_node *(*forward)(tg_context *c, tg_node *const *x);
  /* NULL: no gradient, and asking for one is an error that names the row. */
  void (*backward)(tg_context *c, tg_node *grad, tg_node **grads);
} tg_function_row;

#define TG_CONTEXT_SAVED 3

/* How a tensor was made. Small, since a deep graph has one per tensor: `args`
 * and `needs` lie behind the inputs, and `in` is looked up, not stored. */
struct tg_context {
  const tg_function_row *row;  /* a built-in Function, or */
  const tg_function *user;     /* the caller's own */
  void *user_data;
  int count;                   /* inputs */
  tg_node *saved[TG_CONTEXT_SAVED];
  int nargs;
  const int64_t *args;
  struct {
    int ndim;
    const int64_t *dim;
  } in;                        /* the shape of input 0, in forward and backward */
  tg_dtype in_dtype;
  int in_device;
  tg_tensor **user_saved;      /* tg_save_for_backward */
  int64_t user_count, user_room;
  uint64_t *needs;             /* one bit per input */
  tg_tensor *inputs[];         /* retained */
};

/* Applies a Function. `args` may be NULL. */
tg_tensor *tg_call(const tg_function_row *row, int count, tg_tensor *const *inputs,
                   int nargs, const int64_t *args);
static inline tg_tensor *tg_call1(const tg_function_row *row, tg_tensor *x) {
  return tg_call(row, 1, &x, 0, NULL);
}
static inline tg_tensor *tg_call1_with(const tg_function_row *row, tg_tensor *x, int nargs,
                                       const int64_t *args) {
  return tg_call(row, 1, &x, nargs, args);
}
static inline tg_tensor *tg_call2(const tg_function_row *row, tg_tensor *x, tg_tensor *y) {
  tg_tensor *const inputs[] = {x, y};
  return tg_call(row, 2, inputs, 0, NULL);
}
static inline tg_tensor *tg_call3(const tg_function_row *row, tg_tensor *x, tg_tensor *y,
                                  tg_tensor *z) {
  tg_tensor *const inputs[] = {x, y, z};
  return tg_call(row, 3, inputs, 0, NULL);
}
/* Releases a context: its inputs and saved nodes. `drop` gets each input. */
void tg_context_free(tg_context *context, void (*drop)(tg_tensor *t, void *user), void *user);

/* The rows; args in brackets. Shapes are those of nodes: Sum and Max keep the
 * reduced axes with size 1, Expand keeps ndim. */
extern const tg_function_row
    tg_fn_contiguous, tg_fn_contiguous_backward, tg_fn_cast /* [dtype] */, tg_fn_zero,
    tg_fn_neg, tg_fn_sin, tg_fn_relu, tg_fn_log, tg_fn_exp, tg_fn_sqrt, tg_fn_sigmoid,
    tg_fn_less, tg_fn_add, tg_fn_sub, tg_fn_mul, tg_fn_div, tg_fn_where,
    tg_fn_sum /* [axis mask] */, tg_fn_max /* [axis mask] */,
    tg_fn_expand /* shape */, tg_fn_reshape /* [ndim, shape...] */,
    tg_fn_permute /* order */, tg_fn_pad /* pads */, tg_fn_shrink /* bounds */,
    tg_fn_flip /* flags */;
/* What real use adds to teenygrad's 25. */
extern const tg_function_row
    tg_fn_equal, tg_fn_pow, tg_fn_maximum, tg_fn_minimum, tg_fn_trunc /* gradient 0 */,
    tg_fn_bitcast /* [dtype], no gradient */, tg_fn_copy /* [device] */,
    tg_fn_window /* [axis, kernel, stride, dilation] */,
    tg_fn_gather /* x, index int64: rows of x */,
    tg_fn_scatter /* base, index int64, src; [add] */,
    tg_fn_cat /* n inputs; [axis] */,
    tg_fn_idiv /* integers: floor(x / y), no gradient */, tg_fn_mod, tg_fn_and, tg_fn_or,
    tg_fn_xor;
/* Over rows (normalize.c). */
extern const tg_function_row
    tg_fn_softmax /* [axis mask, 1: empty rows give zeros] */, tg_fn_log_softmax /* [axis mask] */,
    tg_fn_layer_norm /* [axis mask, eps as the bits of a double] */,
    tg_fn_row_loss /* x [N, C], label int64 [N]; [axis mask 2] */;

/* The node of a conversion of a grad to the shape before a broadcast: sums the
 * axes where `shape` has 1. */
tg_node *tg_n_unexpand(tg_node *grad, int ndim, const int64_t *shape);

#endif
