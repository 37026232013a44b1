/* graph/node: the life of nodes and buffers, and the pool.
 *
 * Nodes are counted by reference. Releasing the last reference of a node
 * releases its operands; that walk keeps its own list (the field `next`), so
 * that a graph 100,000 nodes deep is freed without recursion. The pool is a
 * stack per thread of nodes made and not yet claimed: see graph.h.
 */
#include "graph/graph.h"

/* Drops one reference; true for the last. Whoever holds the only one need not say so
 * to anybody: nobody can be taking another. */
static bool drop_ref(_Atomic int64_t *refs) {
  return atomic_load_explicit(refs, memory_order_acquire) == 1 ||
         atomic_fetch_sub_explicit(refs, 1, memory_order_acq_rel) == 1;
}

/* ---- buffers */

static void count_data(int64_t bytes) {
  int64_t now = atomic_fetch_add(&tg_count.buffer_bytes, bytes) + bytes;
  int64_t peak = atomic_load(&tg_count.peak_buffer_bytes);
  while (now > peak && !atomic_compare_exchange_weak(&tg_count.peak_buffer_bytes, &peak, now)) {
  }
}

tg_buffer *tg_buffer_borrow(void *data, size_t size, void (*release)(void *, void *),
                            void *user) {
  tg_buffer *b = tg_alloc_zero(sizeof *b);
  if (!b) return NULL;
  atomic_init(&b->refs, 1);
  b->data = data;
  b->size = size;
  b->release = release;
  b->user = user;
  b->borrowed = true;
  atomic_fetch_add(&tg_count.buffers, 1);
  return b;
}

tg_buffer *tg_buffer_new(size_t size) {
  void *data = NULL;
  if (size && !(data = tg_alloc_data(size))) return NULL;
  tg_buffer *b = tg_buffer_borrow(data, size, NULL, NULL);
  if (!b) {
    tg_free_data(data);
    return NULL;
  }
  b->borrowed = false;
  count_data((int64_t)size);
  return b;
}

tg_buffer *tg_buffer_retain(tg_buffer *b) {
  if (b) atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
  return b;
}

void tg_buffer_release(tg_buffer *b) {
  if (!b || !drop_ref(&b->refs)) return;
  if (b->borrowed) {
    if (b->release) b->release(b->data, b->user);
  } else {
    tg_free_data(b->data);
    atomic_fetch_sub(&tg_count.buffer_bytes, (int64_t)b->size);
  }
  atomic_fetch_sub(&tg_count.buffers, 1);
  tg_free(b);
}

/* ---- nodes */

tg_node *tg_node_retain(tg_node *n) {
  if (n) atomic_fetch_add_explicit(&n->refs, 1, memory_order_relaxed);
  return n;
}

/* Drops one reference; a node without any goes on the list of the dead. */
static void drop(tg_node *n, tg_node **dead) {
  if (!n || !drop_ref(&n->refs)) return;
  n->next = *dead;
  *dead = n;
}

void tg_node_release(tg_node *node) {
  tg_node *dead = NULL;
  drop(node, &dead);
  while (dead) {
    tg_node *n = dead;
    dead = n->next;
    for (int i = 0; i < 3 && n->src[i]; i++) drop(n->src[i], &dead);
    tg_buffer_release(n->buffer);
    tg_count_own(TG_COUNT_NODES, -1);
    tg_free(n);
  }
}

void tg_node_become_buffer(tg_node *n, tg_buffer *buffer) {
  tg_node *src[3];
  memcpy(src, n->src, sizeof src);
  memset(n->src, 0, sizeof n->src);
  n->op = TG_OP_BUFFER;
  n->nargs = 0;
  n->buffer = tg_buffer_retain(buffer);
  for (int i = 0; i < 3; i++) tg_node_release(src[i]);
}

void tg_node_swap_buffer(tg_node *n, tg_buffer *buffer) {
  tg_buffer *old = n->buffer;
  n->buffer = tg_buffer_retain(buffer);
  tg_buffer_release(old);
}

int64_t tg_pool_mark(void) { return tg_this_thread()->pool_count; }

void tg_pool_drain(int64_t mark) {
  tg_thread *t = tg_this_thread();
  while (t->pool_count > mark) tg_node_release(t->pool[--t->pool_count]);
}

tg_node *tg_pool_claim(int64_t mark, tg_node *node) {
  tg_thread *t = tg_this_thread();
  if (!node || t->pool_count <= mark || t->pool[t->pool_count - 1] != node)
    return tg_node_retain(node);
  t->pool_count--;
  return node;
}

/* Says why there is no tensor of that shape, unless it has no elements after all: then
 * the other sizes may be anything. */
static int64_t too_many(tg_dtype dtype, int ndim, const int64_t *shape) {
  int64_t numel = 1, most = INT64_MAX / 4 / tg_dtype_size(dtype);
  for (int i = 0; i < ndim; i++)
    if (shape[i] == 0) return 0;
  for (int i = 0; i < ndim; i++) {
    if (!__builtin_mul_overflow(numel, shape[i], &numel) && numel <= most) continue;
    tg_fail("it takes a tensor of shape %s, which has more elements than memory can hold",
            tg_shape_text(shape, ndim));
    return -1;
  }
  return numel;
}

/* The elements of that shape, or -1 and a message: more than memory can hold. Functions
 * check what they are given; this is for what comes of it on the way. */
static int64_t count_elements(tg_dtype dtype, int ndim, const int64_t *shape) {
  int64_t numel = 1;
  bool wraps = false;
  for (int i = 0; i < ndim; i++) wraps |= __builtin_mul_overflow(numel, shape[i], &numel);
  bool few = !wraps && numel <= INT64_MAX / 32; /* of any dtype */
  return few ? numel : too_many(dtype, ndim, shape);
}

tg_node *tg_node_new(tg_op op, tg_dtype dtype, int device, int ndim, const int64_t *shape,
                     int nargs, const int64_t *args) {
  tg_thread *t = tg_this_thread();
  if (!tg_reserve((void **)&t->pool, &t->pool_room, t->pool_count, sizeof *t->pool))
    return NULL;
  int64_t numel = count_elements(dtype, ndim, shape);
  if (numel < 0) return NULL;
  size_t extra = (size_t)(ndim + nargs) * sizeof(int64_t);
  tg_node *n = tg_alloc_zero(sizeof *n + extra);
  if (!n) return NULL;
  atomic_init(&n->refs, 1);
  n->op = op;
  n->dtype = dtype;
  n->device = device;
  n->ndim = ndim;
  n->nargs = nargs;
  n->numel = numel;
  for (int i = 0; i < ndim; i++) n->data[i] = shape[i];
  for (int i = 0; i < nargs; i++) n->data[ndim + i] = args[i];
  tg_count_own(TG_COUNT_NODES, 1);
  t->pool[t->pool_count++] = n;
  return n;
}
