/* graph: the op table, lazy nodes, shapes and movement.
 *
 * A node says what an array is: an op, its operands, a shape and a dtype. It
 * holds no data until the runtime realizes it: then it becomes a BUFFER and
 * lets its operands go. Nodes are immutable otherwise and counted by reference.
 *
 * A function that makes a node gives it to the thread's pool: the caller may
 * pass it on to further constructors at once, and whoever wants to keep it
 * retains it before tg_pool_drain. So an expression of nodes is written like
 * an expression of numbers. Constructors return NULL, with a message, when
 * memory is short, and hand NULL operands on. They trust shapes and dtypes:
 * the tensor room has checked them.
 */
#ifndef TG_GRAPH_H
#define TG_GRAPH_H

#include "base/base.h"

typedef enum tg_op_class {
  TG_CLASS_LOAD, TG_CLASS_UNARY, TG_CLASS_BINARY, TG_CLASS_TERNARY,
  TG_CLASS_REDUCE, TG_CLASS_MOVE, TG_CLASS_INDEX, TG_CLASS_IR
} tg_op_class;

typedef enum tg_op {
#define TG_OP(name, class, arity, cost, formula) TG_OP_##name,
#include "graph/ops.def"
  TG_OP_COUNT
} tg_op;

typedef struct tg_op_info {
  const char *name;
  tg_op_class class;
  int arity;
  int cost;
  const char *formula;
} tg_op_info;
extern const tg_op_info tg_op_table[TG_OP_COUNT];

static inline bool tg_op_is_alu(tg_op op) {
  tg_op_class c = tg_op_table[op].class;
  return c == TG_CLASS_UNARY || c == TG_CLASS_BINARY || c == TG_CLASS_TERNARY;
}

/* Memory on a device, shared by reference. */
typedef struct tg_buffer {
  _Atomic int64_t refs;
  void *data;
  size_t size;
  void (*release)(void *data, void *user); /* borrowed memory; else NULL */
  void *user;
  bool borrowed;
} tg_buffer;
tg_buffer *tg_buffer_new(size_t size);
tg_buffer *tg_buffer_borrow(void *data, size_t size, void (*release)(void *, void *), void *user);
tg_buffer *tg_buffer_retain(tg_buffer *buffer);
void tg_buffer_release(tg_buffer *buffer);

/* A constant: which member counts follows from the dtype. */
typedef union tg_value {
  int64_t i; /* integers (uint64 by its bits) and bool */
  double f;  /* floats */
} tg_value;

typedef struct tg_node tg_node;
struct tg_node {
  _Atomic int64_t refs;
  tg_op op;
  tg_dtype dtype;
  int device;
  int ndim;
  int nargs;
  tg_node *src[3];
  tg_buffer *buffer;    /* op BUFFER only */
  int64_t numel;
  tg_value value;       /* CONST */
  tg_node *next;        /* while being freed */
  uint64_t graph;       /* the graph it was last collected into, */
  int32_t entry;        /* and where there; never for a BUFFER */
  int64_t data[];       /* the shape, then the arguments */
};
static inline const int64_t *tg_node_shape(const tg_node *n) { return n->data; }
static inline const int64_t *tg_node_args(const tg_node *n) { return n->data + n->ndim; }
static inline int tg_node_arity(const tg_node *n) { return tg_op_table[n->op].arity; }

tg_node *tg_node_retain(tg_node *node);
void tg_node_release(tg_node *node); /* iterative: any depth */

/* Gives a BUFFER that nobody shares another memory of the same size. */
void tg_node_swap_buffer(tg_node *node, tg_buffer *buffer);

/* The pool: everything made since the mark is released by drain. */
int64_t tg_pool_mark(void);
void tg_pool_drain(int64_t mark);
/* The caller's own reference to a node: the pool's, if it was made last, since the
 * mark, and nobody goes on with it; else one more. */
tg_node *tg_pool_claim(int64_t mark, tg_node *node);

/* ---- constructors */
tg_node *tg_node_buffer(tg_buffer *buffer, tg_dtype dtype, int device, int ndim,
                        const int64_t *shape);
tg_node *tg_node_const(tg_dtype dtype, int device, int ndim, const int64_t *shape, tg_value value);
/* The same with the shape, dtype and device of `like`; f is cast to the dtype. */
tg_node *tg_node_const_like(tg_node *like, double f);
tg_node *tg_node_empty(tg_dtype dtype, int device, int ndim, const int64_t *shape);
tg_node *tg_node_iota(int device, int ndim, const int64_t *shape, int axis);
tg_node *tg_node_copy(tg_node *x, int device);
tg_node *tg_node_contiguous(tg_node *x);

tg_node *tg_node_cast(tg_node *x, tg_dtype dtype);
tg_node *tg_node_bitcast(tg_node *x, tg_dtype dtype);
tg_node *tg_node_unary(tg_op op, tg_node *x);
tg_node *tg_node_binary(tg_op op, tg_node *x, tg_node *y); /* equal shapes, dtypes */
tg_node *tg_node_where(tg_node *condition, tg_node *x, tg_node *y);

/* Reduces the axes whose bit is set in `axes`; they stay with size 1. */
tg_node *tg_node_reduce(tg_op op, tg_node *x, uint32_t axes);

tg_node *tg_node_reshape(tg_node *x, int ndim, const int64_t *shape);
tg_node *tg_node_expand(tg_node *x, const int64_t *shape);  /* same ndim */
tg_node *tg_node_permute(tg_node *x, const int64_t *order);
tg_node *tg_node_pad(tg_node *x, const int64_t *pads);      /* 2 per axis, >= 0 */
tg_node *tg_node_shrink(tg_node *x, const int64_t *bounds); /* 2 per axis: start, end */
tg_node *tg_node_flip(tg_node *x, const int64_t *flags);    /* 1 per axis: 0 or 1 */
/* [.., I, ..] -> [.., O, .., K]: O = (I - dilation * (K - 1) - 1) / stride + 1. */
tg_node *tg_node_window(tg_node *x, int axis, int64_t kernel, int64_t stride, int64_t dilation);
/* [.., O, .., K] -> [.., I, .., K]; its sum over K is the adjoint of window. */
tg_node *tg_node_unwindow(tg_node *x, int axis, int64_t size, int64_t stride, int64_t dilation);
/* x [V, R...], index [I...] int64 -> [I..., R...]. */
tg_node *tg_node_gather(tg_node *x, tg_node *index);
/* base [V, R...], index [I...], src [I..., R...] -> [V, R...]. */
tg_node *tg_node_scatter(tg_node *base, tg_node *index, tg_node *src, bool add);

/* A scalar of a dtype from a double, rounded and wrapped as a cast would. */
tg_value tg_value_of(tg_dtype dtype, double f);
tg_value tg_value_cast(tg_value value, tg_dtype from, tg_dtype to);

#endif
