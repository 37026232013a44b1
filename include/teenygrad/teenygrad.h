/* teenygrad: tensors, autograd and training in C.
 *
 * A tensor is a handle on a lazy graph. Calling tg_add or tg_conv2d computes
 * nothing: it records a node. tg_realize, tg_item, tg_to_host, tg_data,
 * tg_save_npz and tg_step make the graph run, fused into few kernels.
 *
 * Rules that hold for every function below unless its comment says otherwise:
 *
 *   Lazy       It records a node and returns at once.
 *   Ownership  The result belongs to the innermost open TG_SCOPE of the
 *              calling thread and dies with it; nobody frees a tensor by
 *              hand. tg_keep hands one to the scope outside.
 *   Errors     It returns NULL (or a negative status) and records a message
 *              that tg_error returns. Given a NULL tensor it returns NULL and
 *              leaves the first message as it is, so a whole expression can
 *              be written down and checked once at its end. No call aborts,
 *              exits or prints.
 *   Dtypes     Elementwise results have the promoted dtype of the operands
 *              (tg_promote). A C number as an operand takes the tensor's
 *              dtype, except that a fraction makes an integer tensor float,
 *              and a whole number makes bool int64.
 *              "float" functions (exp, sqrt, mean ...) turn integers into the
 *              default dtype first. Integers wrap. Each function rounds to the
 *              dtype of its result: float16 and bfloat16 are computed in
 *              float32 inside it, and no value depends on what came before
 *              or after it in one kernel.
 *   Axes       An axis counts from the front (0) or from the back (-1).
 *   Threads    Scopes, errors, the default dtype and device, training and
 *              no_grad mode and the random generator are per thread. Threads
 *              may share a tensor for reading once it has been realized.
 *
 * Optional arguments are written as designated initialisers:
 *
 *     tg_conv2d(x, w, .bias = b, .stride = TG_INTS(2, 2))
 *
 * The function behind such a macro has the same name and takes a pointer to
 * the options, NULL for none: (tg_conv2d)(x, w, &options). C++ has overloads
 * that take the options by value: tg_conv2d(x, w, {.bias = b}). A number left
 * out, or 0, takes the default that the comment names; where the default is
 * not 0, TG_ZERO asks for 0 itself.
 *
 * Shapes in comments are written with letters: [N, C, H, W].
 */
#ifndef TEENYGRAD_H
#define TEENYGRAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TG_VERSION "0.1.0"

#if defined(__GNUC__) || defined(__clang__)
#define TG_PRINTF(text, args) __attribute__((format(printf, text, args)))
#else
#define TG_PRINTF(text, args)
#endif

/* ---------------------------------------------------------------- types -- */

/* The most dimensions a tensor can have. */
#define TG_MAX_DIMS 16

typedef struct tg_tensor tg_tensor;
typedef struct tg_scope tg_scope;
typedef struct tg_optimizer tg_optimizer;
typedef struct tg_context tg_context;

/* Element types, in the order of promotion; 0 stands for "the default". */
typedef enum tg_dtype {
  TG_DEFAULT_DTYPE = 0,
  TG_BOOL,
  TG_INT8,
  TG_UINT8,
  TG_INT16,
  TG_UINT16,
  TG_INT32,
  TG_UINT32,
  TG_INT64,
  TG_UINT64,
  TG_FLOAT16,
  TG_BFLOAT16,
  TG_FLOAT32,
  TG_FLOAT64
} tg_dtype;
#define TG_DTYPE_COUNT 14

/* requires_grad has three states. Unset turns into yes when the tensor is put
 * into an optimizer; `true` works for TG_GRAD_YES. */
typedef enum tg_grad_mode {
  TG_GRAD_NO = -1,
  TG_GRAD_UNSET = 0,
  TG_GRAD_YES = 1
} tg_grad_mode;

/* A shape, or any short list of integers. */
typedef struct tg_shape {
  int32_t ndim;
  int64_t dim[TG_MAX_DIMS];
} tg_shape;
typedef tg_shape tg_ints;

/* TG_SHAPE(2, 3): a shape of two dimensions; TG_SCALAR: none at all.
 * TG_INTS(0, -1): a list of integers, for axes, strides, paddings. A list has
 * room for 16, so what takes two numbers per axis (tg_shrink, tg_pad, tg_slice)
 * takes tensors of at most 8 dimensions. */
#ifdef __cplusplus
} /* extern "C" */
template <typename... Ints> inline tg_shape tg_make_shape(Ints... ints) {
  return tg_shape{int32_t(sizeof...(ints)), {int64_t(ints)...}};
}
extern "C" {
#define TG_SHAPE(...) tg_make_shape(__VA_ARGS__)
#define TG_SCALAR (tg_shape{0, {0}})
#else
#define TG_SHAPE(...)                                              \
  ((tg_shape){(int32_t)(sizeof((int64_t[]){__VA_ARGS__}) /         \
                        sizeof(int64_t)), {__VA_ARGS__}})
#define TG_SCALAR ((tg_shape){0, {0}})
#endif
#define TG_INTS(...) TG_SHAPE(__VA_ARGS__)

/* Exactly zero, for an optional number whose default is something else. */
#define TG_ZERO (-0.0)

/* Helpers of the option macros: (f)(x, &options) with what was given. The
 * field tg_ starts every options struct so that giving nothing is legal C. */
#define TG_OPTIONS0(f, T, ...) f(&(T){.tg_ = 0, __VA_ARGS__})
#define TG_OPTIONS1(f, T, x, ...) f((x), &(T){.tg_ = 0, __VA_ARGS__})
#define TG_OPTIONS2(f, T, x, y, ...) f((x), (y), &(T){.tg_ = 0, __VA_ARGS__})
#define TG_OPTIONS3(f, T, x, y, z, ...) \
  f((x), (y), (z), &(T){.tg_ = 0, __VA_ARGS__})

/* Follows every option's name: in C++ it says that leaving it out is meant. */
#if defined(__cplusplus) && __cplusplus >= 201402L
#define TG_UNSET {}
#else
#define TG_UNSET
#endif

/* A list of tensors. TG_LIST(a, b): what tg_cat or an optimizer takes. */
typedef struct tg_list {
  int64_t count;
  tg_tensor *const *items;
} tg_list;
#ifndef __cplusplus
#define TG_LIST(...)                                               \
  ((tg_list){(int64_t)(sizeof((tg_tensor *[]){__VA_ARGS__}) /      \
                       sizeof(tg_tensor *)),                       \
             (tg_tensor *[]){__VA_ARGS__}})
#endif

/* --------------------------------------------- errors, memory, counters -- */

/* The message of the first failure since the last call of tg_error or
 * tg_clear_error on this thread, or NULL. The text stays valid until the next
 * failure on this thread. */
const char *tg_error(void);
void tg_clear_error(void);

/* Records a message as the library does, for user Functions. Returns NULL. */
void *tg_fail(const char *format, ...) TG_PRINTF(1, 2);

/* What kind of failure the first unread message is about, or the one that
 * tg_error returned last: what a binding chooses the type of an exception by. */
typedef enum tg_failure {
  TG_FAILURE_NONE,
  TG_FAILURE_ARGUMENT,    /* something given does not fit: all that is not below */
  TG_FAILURE_INDEX,       /* an axis or an index out of range */
  TG_FAILURE_MEMORY,      /* out of memory */
  TG_FAILURE_INTERRUPTED  /* tg_run_hooks.stop said so */
} tg_failure;
tg_failure tg_failure_kind(void);

/* The functions that all memory comes from. `alloc` gives `size` bytes aligned
 * like malloc's or NULL; `release` frees them. Set it before the first tensor
 * is made, or after tg_shutdown: fails (-1) while anything is allocated. NULL:
 * malloc and free. Both are called from several threads at once. */
typedef struct tg_allocator {
  void *(*alloc)(size_t size, void *user);
  void (*release)(void *memory, size_t size, void *user);
  void *user;
} tg_allocator;
int tg_set_allocator(const tg_allocator *allocator);

/* What is alive now, in all threads, and what has been done since the start.
 * `bytes` counts everything allocated, `buffer_bytes` tensor data alone. */
typedef struct tg_counters {
  int64_t tensors, nodes, buffers;
  int64_t bytes, peak_bytes;
  int64_t buffer_bytes, peak_buffer_bytes;
  int64_t kernels_run, kernels_compiled;
  int64_t kernels_generated;          /* of those compiled: as C, now in use */
  int64_t compiler_runs, units_cached; /* C compilers started; units found in the cache */
  int64_t schedules, schedules_replayed;
} tg_counters;
tg_counters tg_get_counters(void);
/* Sets the peaks to what is in use now. */
void tg_reset_peak(void);

/* For an interpreter with a lock: `leave` is called before kernels run, on the
 * thread that asked for values, and `enter`, with what it returned, afterwards:
 * so other threads of the interpreter go on meanwhile. `stop` is asked now and
 * then in between; when it is true the run ends, and fails with everything as it
 * was. Any may be NULL. Set them while nothing runs; NULL: none. */
typedef struct tg_run_hooks {
  void *(*leave)(void);
  void (*enter)(void *left);
  bool (*stop)(void);
} tg_run_hooks;
void tg_set_run_hooks(const tg_run_hooks *hooks);

/* Stops the library's own threads; they are started again when they are needed. To
 * be called before fork, while no other thread is in the library: a child has none
 * of its parent's threads. */
void tg_stop_threads(void);

/* Frees this thread's root scope and, when no other thread uses the library,
 * all caches and the thread pool. Tensors of this thread must not be used
 * afterwards; the library may be. Kernels that are being compiled may first be
 * finished for the next program, for as long as compiling has taken so far and 3
 * seconds at most (TG_JIT=async). Optional: it makes leak checkers quiet. */
void tg_shutdown(void);

/* --------------------------------------------------------------- scopes -- */

/* TG_SCOPE { ... } frees at its end every tensor made inside, except kept
 * ones. With gcc, clang and C++ that also holds on return, break and goto;
 * elsewhere a scope left early is freed with the scope around it. */
tg_scope *tg_scope_open(void);
void tg_scope_close(tg_scope *scope);
void tg_scope_cleanup(tg_scope **scope);
#if defined(__cplusplus)
} /* extern "C" */
struct tg_scope_guard {
  tg_scope *scope;
  bool once;
  tg_scope_guard() : scope(tg_scope_open()), once(true) {}
  ~tg_scope_guard() { tg_scope_close(scope); }
  tg_scope_guard(const tg_scope_guard &) = delete;
  tg_scope_guard &operator=(const tg_scope_guard &) = delete;
};
#define TG_SCOPE for (tg_scope_guard tg_guard; tg_guard.once; tg_guard.once = false)
extern "C" {
#elif defined(__GNUC__) || defined(__clang__)
#define TG_SCOPE TG_SCOPE_AS_(TG_JOIN_(tg_scope_, __LINE__), TG_JOIN_(tg_once_, __LINE__))
#define TG_SCOPE_AS_(scope, once)                                   \
  for (tg_scope *scope __attribute__((cleanup(tg_scope_cleanup))) = \
           tg_scope_open(), *once = scope;                          \
       once; once = NULL)
#else
#define TG_SCOPE TG_SCOPE_AS_(TG_JOIN_(tg_scope_, __LINE__))
#define TG_SCOPE_AS_(scope) \
  for (tg_scope *scope = tg_scope_open(); scope; tg_scope_close(scope), scope = NULL)
#endif
/* Names of their own, so that one inside another shadows nothing. */
#define TG_JOIN_(a, b) TG_JOIN2_(a, b)
#define TG_JOIN2_(a, b) a##b

/* Moves `t` to the scope around the innermost one. Returns t. */
tg_tensor *tg_keep(tg_tensor *t);

/* For language bindings, whose objects live outside scopes: one more owner,
 * one owner less. The tensor dies with its last owner. */
tg_tensor *tg_retain(tg_tensor *t);
void tg_release(tg_tensor *t);
/* Takes `t` out of its scope: the caller owns that reference and must
 * tg_release it. Returns t. */
tg_tensor *tg_take_ownership(tg_tensor *t);
/* Calls visit(user, arg) for the `user` of each Function of the caller's own
 * (tg_apply) that only `t` keeps alive: for a garbage collector that looks for
 * cycles. Short: where the graph goes on beyond some hundred tensors it stops. */
void tg_visit_users(const tg_tensor *t, void (*visit)(void *user, void *arg), void *arg);

/* ------------------------------------------------------- per-thread state -- */

/* The dtype of new float tensors: float32 unless set. Only float dtypes. */
tg_dtype tg_default_dtype(void);
int tg_set_default_dtype(tg_dtype dtype);

/* The device of new tensors: "CPU" (the built-in backend) unless set here or
 * by TG_DEVICE. "REF" is the scalar reference that the tests compare with. */
const char *tg_default_device(void);
int tg_set_default_device(const char *device);
/* The name of device `i`, or NULL past the last. */
const char *tg_device_name(int i);

/* Training mode: dropout acts only while it is on. Returns the old mode. */
bool tg_training(void);
bool tg_set_training(bool on);

/* No-grad mode: results do not remember how they were made. */
bool tg_no_grad(void);
bool tg_set_no_grad(bool on);
/* TG_NO_GRAD { ... }: no-grad mode inside the braces. */
void tg_restore_no_grad(const bool *old);
#if defined(__GNUC__) || defined(__clang__)
#define TG_NO_GRAD TG_NO_GRAD_AS_(TG_JOIN_(tg_old_, __LINE__), TG_JOIN_(tg_first_, __LINE__))
#define TG_NO_GRAD_AS_(old, once)                                                         \
  for (bool old __attribute__((cleanup(tg_restore_no_grad))) = tg_set_no_grad(true),      \
            once = ((void)old, true);                                                     \
       once; once = false)
#else
#define TG_NO_GRAD TG_NO_GRAD_AS_(TG_JOIN_(tg_old_, __LINE__), TG_JOIN_(tg_first_, __LINE__))
#define TG_NO_GRAD_AS_(old, once)                                                  \
  for (bool old = tg_set_no_grad(true), once = true; once;                         \
       once = false, tg_set_no_grad(old))
#endif

/* Starts this thread's random sequence again: the same seed and the same
 * calls give the same bits on every device and any number of threads.
 * Counter-based Threefry 2x32 (Salmon et al. 2011). */
void tg_manual_seed(uint64_t seed);

/* ------------------------------------------------------------- creation -- */

/* What every creation function accepts beside its own arguments. */
typedef struct tg_create_opts {
  int tg_ TG_UNSET;
  tg_dtype dtype TG_UNSET;             /* the default dtype */
  const char *device TG_UNSET;         /* the default device */
  tg_grad_mode requires_grad TG_UNSET; /* unset */
  const char *name TG_UNSET;           /* none; copied */
  double low TG_UNSET, high TG_UNSET;  /* uniform: -1, 1; randint: 0, 10 (both or none) */
  double mean TG_UNSET, std TG_UNSET;  /* normal: 0, 1 */
  double a TG_UNSET;                   /* kaiming: 0.01, the negative slope */
  double step TG_UNSET;                /* arange: 1 */
} tg_create_opts;

/* A copy of `data`, row-major, of `shape` and `.dtype`. Runs now. */
tg_tensor *tg_from(const void *data, tg_shape shape, const tg_create_opts *o);
#define tg_from(data, ...) TG_OPTIONS2(tg_from, tg_create_opts, data, __VA_ARGS__, )

/* Like tg_from without the copy: `data` must stay alive and unchanged until
 * `release(data, user)` is called (NULL: no call). Assigning to the tensor
 * does not write into `data`. When it fails, nothing is released. */
tg_tensor *tg_borrow(void *data, tg_shape shape, tg_dtype dtype,
                     void (*release)(void *data, void *user), void *user);

/* A scalar tensor []: the constant `value` of the default (or given) dtype. */
tg_tensor *tg_scalar(double value, const tg_create_opts *o);
#define tg_scalar(...) TG_OPTIONS1(tg_scalar, tg_create_opts, __VA_ARGS__, )

/* Memory of that shape whose contents are not set. */
tg_tensor *tg_empty(tg_shape shape, const tg_create_opts *o);
#define tg_empty(...) TG_OPTIONS1(tg_empty, tg_create_opts, __VA_ARGS__, )
/* out[...] = value, 0, 1. */
tg_tensor *tg_full(tg_shape shape, double value, const tg_create_opts *o);
#define tg_full(shape, ...) TG_OPTIONS2(tg_full, tg_create_opts, shape, __VA_ARGS__, )
tg_tensor *tg_zeros(tg_shape shape, const tg_create_opts *o);
#define tg_zeros(...) TG_OPTIONS1(tg_zeros, tg_create_opts, __VA_ARGS__, )
tg_tensor *tg_ones(tg_shape shape, const tg_create_opts *o);
#define tg_ones(...) TG_OPTIONS1(tg_ones, tg_create_opts, __VA_ARGS__, )
/* The same with the shape, dtype and device of `x`. */
tg_tensor *tg_full_like(tg_tensor *x, double value, const tg_create_opts *o);
#define tg_full_like(x, ...) TG_OPTIONS2(tg_full_like, tg_create_opts, x, __VA_ARGS__, )
tg_tensor *tg_zeros_like(tg_tensor *x, const tg_create_opts *o);
#define tg_zeros_like(...) TG_OPTIONS1(tg_zeros_like, tg_create_opts, __VA_ARGS__, )
tg_tensor *tg_ones_like(tg_tensor *x, const tg_create_opts *o);
#define tg_ones_like(...) TG_OPTIONS1(tg_ones_like, tg_create_opts, __VA_ARGS__, )
/* out[i] = start + i * step, for i from 0 while before `stop`:
 * [ceil((stop - start) / step)]. A range of no elements is legal. */
tg_tensor *tg_arange(double start, double stop, const tg_create_opts *o);
#define tg_arange(start, ...) TG_OPTIONS2(tg_arange, tg_create_opts, start, __VA_ARGS__, )
/* out[i][j] = (i == j): [n, n]. */
tg_tensor *tg_eye(int64_t n, const tg_create_opts *o);
#define tg_eye(...) TG_OPTIONS1(tg_eye, tg_create_opts, __VA_ARGS__, )

/* Random tensors. The counter is taken when the tensor is made, so two draws
 * differ. rand: uniform in [0, 1). randn: standard normal (Box-Muller).
 * randint: whole numbers in [low, high), int64 unless .dtype says otherwise.
 * uniform: [low, high). normal: mean + std * randn.
 * scaled_uniform: uniform(-1, 1) / sqrt(numel).
 * glorot_uniform: uniform(-1, 1) * sqrt(6 / (dim[0] + numel / dim[0])).
 * kaiming_uniform: bound sqrt(3) * sqrt(2 / (1 + a^2)) / sqrt(fan_in), with
 * fan_in = numel / dim[0] (He et al. 2015). kaiming_normal: that std. */
tg_tensor *tg_rand(tg_shape shape, const tg_create_opts *o);
#define tg_rand(...) TG_OPTIONS1(tg_rand, tg_create_opts, __VA_ARGS__, )
tg_tensor *tg_randn(tg_shape shape, const tg_create_opts *o);
#define tg_randn(...) TG_OPTIONS1(tg_randn, tg_create_opts, __VA_ARGS__, )
tg_tensor *tg_randint(tg_shape shape, const tg_create_opts *o);
#define tg_randint(...) TG_OPTIONS1(tg_randint, tg_create_opts, __VA_ARGS__, )
tg_tensor *tg_uniform(tg_shape shape, const tg_create_opts *o);
#define tg_uniform(...) TG_OPTIONS1(tg_uniform, tg_create_opts, __VA_ARGS__, )
tg_tensor *tg_normal(tg_shape shape, const tg_create_opts *o);
#define tg_normal(...) TG_OPTIONS1(tg_normal, tg_create_opts, __VA_ARGS__, )
tg_tensor *tg_scaled_uniform(tg_shape shape, const tg_create_opts *o);
#define tg_scaled_uniform(...) TG_OPTIONS1(tg_scaled_uniform, tg_create_opts, __VA_ARGS__, )
tg_tensor *tg_glorot_uniform(tg_shape shape, const tg_create_opts *o);
#define tg_glorot_uniform(...) TG_OPTIONS1(tg_glorot_uniform, tg_create_opts, __VA_ARGS__, )
tg_tensor *tg_kaiming_uniform(tg_shape shape, const tg_create_opts *o);
#define tg_kaiming_uniform(...) TG_OPTIONS1(tg_kaiming_uniform, tg_create_opts, __VA_ARGS__, )
tg_tensor *tg_kaiming_normal(tg_shape shape, const tg_create_opts *o);
#define tg_kaiming_normal(...) TG_OPTIONS1(tg_kaiming_normal, tg_create_opts, __VA_ARGS__, )

/* Draws `samples` category numbers per row of `weights`, [C] or [N, C], with
 * probability weight / sum(weights): [samples] or [N, samples], int64. Without
 * .replacement only one sample is allowed. Weights that are negative, infinite or
 * NaN, and rows that add up to 0, are an error when the draw is realized. */
typedef struct tg_multinomial_opts {
  int tg_ TG_UNSET;
  bool replacement TG_UNSET;
} tg_multinomial_opts;
tg_tensor *tg_multinomial(tg_tensor *weights, int64_t samples, const tg_multinomial_opts *o);
#define tg_multinomial(weights, ...) \
  TG_OPTIONS2(tg_multinomial, tg_multinomial_opts, weights, __VA_ARGS__, )

/* ----------------------------------------------------------------- data -- */

/* What a tensor is. Each gives 0 (NULL) for a NULL tensor. */
const char *tg_device(const tg_tensor *t);
tg_shape tg_shape_of(const tg_tensor *t);
/* Size along `axis`, which may be negative; -1 when there is no such axis. */
int64_t tg_dim(const tg_tensor *t, int axis);
tg_dtype tg_dtype_of(const tg_tensor *t);
int tg_ndim(const tg_tensor *t);
int64_t tg_numel(const tg_tensor *t);
int64_t tg_element_size(const tg_tensor *t);
int64_t tg_nbytes(const tg_tensor *t);
bool tg_is_floating_point(const tg_tensor *t);
bool tg_is_realized(const tg_tensor *t);

/* The name that messages, printing and files show. Copied. Returns t. */
tg_tensor *tg_set_name(tg_tensor *t, const char *name);
const char *tg_name(const tg_tensor *t);

/* Computes `t` now. Returns t, or NULL when that failed (t stays usable). */
tg_tensor *tg_realize(tg_tensor *t);
/* Computes several tensors in one schedule. 0, or -1. NULLs are an error. */
int tg_corealize(tg_list tensors);
/* Copies the elements, row-major, to `out`; `size` must be tg_nbytes(t).
 * Realizes t. 0, or -1. (numpy() in teenygrad.) */
int tg_to_host(tg_tensor *t, void *out, size_t size);
/* The elements in place, row-major, valid while t lives and is not assigned
 * to; NULL on error or for a tensor without elements. Realizes t. */
const void *tg_data(tg_tensor *t);
/* The value of a tensor with one element; NaN (0) and a message on error. */
double tg_item(tg_tensor *t);
int64_t tg_item_int(tg_tensor *t);
/* Writes what t is, and its first elements, as text: at most `size` bytes with
 * the final 0. Returns the length that the whole text has, or -1. Realizes t. */
int64_t tg_to_string(tg_tensor *t, char *out, size_t size);

/* Makes `t` stand for the value of `value` (same shape, dtype and device, no
 * gradient attached). What was computed from t before keeps the old value (but a
 * call that has nothing to do, like a cast to t's own dtype, returned t itself); the
 * old memory is freed when nothing needs it any more, and stays valid when
 * realizing the new value fails. Returns t. */
tg_tensor *tg_assign(tg_tensor *t, tg_tensor *value);
/* The same value, cut off from the gradient. */
tg_tensor *tg_detach(tg_tensor *t);
/* The same value as memory of its own; a kernel ends here. */
tg_tensor *tg_contiguous(tg_tensor *t);
/* The same value; its gradient becomes memory of its own. */
tg_tensor *tg_contiguous_backward(tg_tensor *t);
/* The value in another dtype. Float to int truncates; out of range it wraps or
 * saturates as PyTorch on the CPU does; anything but 0 to bool is true. */
tg_tensor *tg_cast(tg_tensor *t, tg_dtype dtype);
/* The bits read as another dtype of the same size. No gradient. */
tg_tensor *tg_bitcast(tg_tensor *t, tg_dtype dtype);
tg_tensor *tg_float(tg_tensor *t);
tg_tensor *tg_half(tg_tensor *t);
/* The value on another device. */
tg_tensor *tg_to(tg_tensor *t, const char *device);

/* Dtype facts. tg_promote gives the dtype of a result of a and b: the later
 * one in the order of tg_dtype; float16 with bfloat16 gives float32. */
const char *tg_dtype_name(tg_dtype dtype);
int64_t tg_dtype_size(tg_dtype dtype);
bool tg_dtype_is_float(tg_dtype dtype);
tg_dtype tg_promote(tg_dtype a, tg_dtype b);

/* ------------------------------------------------------------- autograd -- */

tg_grad_mode tg_requires_grad(const tg_tensor *t);
/* Only a float tensor can require a gradient. Returns t. */
tg_tensor *tg_set_requires_grad(tg_tensor *t, tg_grad_mode mode);
/* The gradient that tg_backward left, owned by t, or NULL (no error). */
tg_tensor *tg_grad(const tg_tensor *t);
/* Sets the gradient (same shape), or drops it (NULL). Returns t. */
tg_tensor *tg_set_grad(tg_tensor *t, tg_tensor *grad);
/* Keeps the gradient of a tensor that is not a leaf. Returns t. */
tg_tensor *tg_retain_grad(tg_tensor *t);

/* Adds d loss / d t to the gradient of every leaf t that requires one. `loss`
 * must have the shape [] and a gradient. The walk is iterative; it frees the
 * record of how loss was made, so it can run once. 0, or -1. */
int tg_backward(tg_tensor *loss);

/* A Function of your own. `forward` computes with tensors in no-grad mode and
 * returns the result. `backward` fills grads[i] (NULL: none) for each input,
 * given d loss / d output; it returns 0, or -1 after tg_fail. NULL: asking for
 * the gradient is an error. `destroy` frees `user` when the Function's record
 * goes, or at once when tg_apply fails (NULL: nothing to free). Records keep the
 * address of the tg_function, not a copy: let it be static. */
typedef struct tg_function {
  const char *name;
  tg_tensor *(*forward)(tg_context *context, tg_tensor *const *inputs, int count);
  int (*backward)(tg_context *context, tg_tensor *grad, tg_tensor **grads);
  void (*destroy)(void *user);
} tg_function;
tg_tensor *tg_apply(const tg_function *function, tg_list inputs, void *user);
/* Inside forward: save a tensor. Inside backward: get the i-th saved one. */
int tg_save_for_backward(tg_context *context, tg_tensor *t);
tg_tensor *tg_saved(const tg_context *context, int i);
void *tg_user(const tg_context *context);
bool tg_needs_grad(const tg_context *context, int input);

/* Compares the gradient of f at `inputs` (float64 leaves that require one) with
 * central differences (f(x + eps) - f(x - eps)) / (2 eps). f may return any
 * shape; its elements are summed with fixed uneven weights. 0 when
 * |difference| <= atol + rtol * |numeric| everywhere, else -1 and a message
 * that names the input, the element and both values. Runs now. */
typedef tg_tensor *(*tg_gradcheck_function)(tg_tensor *const *inputs, int count, void *user);
typedef struct tg_gradcheck_opts {
  int tg_ TG_UNSET;
  double eps TG_UNSET;                 /* 1e-6 */
  double atol TG_UNSET, rtol TG_UNSET; /* 1e-5, 1e-3 */
  void *user TG_UNSET;
} tg_gradcheck_opts;
int tg_gradcheck(tg_gradcheck_function f, tg_list inputs, const tg_gradcheck_opts *o);
#define tg_gradcheck(f, ...) TG_OPTIONS2(tg_gradcheck, tg_gradcheck_opts, f, __VA_ARGS__, )

/* ------------------------------------------------------------- movement -- */

/* The same elements, row-major, in another shape; one size may be -1. */
tg_tensor *tg_reshape_to(tg_tensor *x, tg_shape shape);
#define tg_reshape(x, ...) tg_reshape_to((x), TG_SHAPE(__VA_ARGS__))
/* Repeats axes of size 1; -1 keeps a size. New axes come in front. */
tg_tensor *tg_expand_to(tg_tensor *x, tg_shape shape);
#define tg_expand(x, ...) tg_expand_to((x), TG_SHAPE(__VA_ARGS__))
/* out.dim[i] = x.dim[order[i]]. */
tg_tensor *tg_permute_to(tg_tensor *x, tg_ints order);
#define tg_permute(x, ...) tg_permute_to((x), TG_INTS(__VA_ARGS__))
/* Reverses the given axes. */
tg_tensor *tg_flip_axes(tg_tensor *x, tg_ints axes);
#define tg_flip(x, ...) tg_flip_axes((x), TG_INTS(__VA_ARGS__))
/* Axis i from bounds[2i] up to bounds[2i + 1]. */
tg_tensor *tg_shrink_to(tg_tensor *x, tg_ints bounds);
#define tg_shrink(x, ...) tg_shrink_to((x), TG_INTS(__VA_ARGS__))
/* Axis i gets pads[2i] elements in front and pads[2i + 1] behind, of .value. */
typedef struct tg_pad_opts {
  int tg_ TG_UNSET;
  double value TG_UNSET; /* 0 */
} tg_pad_opts;
tg_tensor *tg_pad(tg_tensor *x, tg_ints pads, const tg_pad_opts *o);
#define tg_pad(x, ...) TG_OPTIONS2(tg_pad, tg_pad_opts, x, __VA_ARGS__, )
/* Pads the last axes: {left, right, top, bottom ...}; negative values crop. */
tg_tensor *tg_pad2d(tg_tensor *x, tg_ints pads, const tg_pad_opts *o);
#define tg_pad2d(x, ...) TG_OPTIONS2(tg_pad2d, tg_pad_opts, x, __VA_ARGS__, )
/* Axis i from bounds[2i] to bounds[2i + 1], which may lie outside: what is
 * outside is .value. */
tg_tensor *tg_slice(tg_tensor *x, tg_ints bounds, const tg_pad_opts *o);
#define tg_slice(x, ...) TG_OPTIONS2(tg_slice, tg_pad_opts, x, __VA_ARGS__, )
/* Swaps two axes. tg_T: the first two, as teenygrad's T. */
tg_tensor *tg_transpose(tg_tensor *x, int axis1, int axis2);
tg_tensor *tg_T(tg_tensor *x);
/* Merges the axes from .start_dim (0) on into one. */
typedef struct tg_flatten_opts {
  int tg_ TG_UNSET;
  int start_dim TG_UNSET;
} tg_flatten_opts;
tg_tensor *tg_flatten(tg_tensor *x, const tg_flatten_opts *o);
#define tg_flatten(...) TG_OPTIONS1(tg_flatten, tg_flatten_opts, __VA_ARGS__, )
/* Axes of reductions and of squeeze. Without .axis: see each function. */
typedef struct tg_axis_opts {
  int tg_ TG_UNSET;
  tg_ints axis TG_UNSET;
  bool keepdim TG_UNSET;
  double correction TG_UNSET; /* std: 1 */
} tg_axis_opts;
/* Removes axes of size 1: the given one, or all. */
tg_tensor *tg_squeeze(tg_tensor *x, const tg_axis_opts *o);
#define tg_squeeze(...) TG_OPTIONS1(tg_squeeze, tg_axis_opts, __VA_ARGS__, )
/* A new axis of size 1 before `axis`. */
tg_tensor *tg_unsqueeze(tg_tensor *x, int axis);
/* Repeats the whole tensor repeats[i] times along axis i. */
tg_tensor *tg_repeat_by(tg_tensor *x, tg_ints repeats);
#define tg_repeat(x, ...) tg_repeat_by((x), TG_INTS(__VA_ARGS__))
/* Cuts axis `axis` into at most `count` parts of size ceil(n / count), the
 * last one smaller. Fills out[0 ..]; returns the number of parts, or -1. */
int64_t tg_chunk(tg_tensor *x, int64_t count, int axis, tg_tensor **out);
/* Joins along .axis (0): all other sizes must be equal. */
typedef struct tg_cat_opts {
  int tg_ TG_UNSET;
  int axis TG_UNSET;
} tg_cat_opts;
tg_tensor *tg_cat(tg_list tensors, const tg_cat_opts *o);
#define tg_cat(...) TG_OPTIONS1(tg_cat, tg_cat_opts, __VA_ARGS__, )
/* Joins along a new axis: all shapes must be equal. */
tg_tensor *tg_stack(tg_list tensors, const tg_cat_opts *o);
#define tg_stack(...) TG_OPTIONS1(tg_stack, tg_cat_opts, __VA_ARGS__, )

/* ------------------------------------------------------------- indexing -- */

/* One position in an index: x[1, 2:8:2, None, ..., t] is
 * tg_index(x, TG_AT(1), TG_RANGE(2, 8, 2), TG_NEW_AXIS, TG_REST, TG_BY(t)).
 * TG_NONE leaves a bound of TG_RANGE out. */
typedef struct tg_index_item {
  enum { TG_ITEM_AT, TG_ITEM_RANGE, TG_ITEM_NEW_AXIS, TG_ITEM_REST, TG_ITEM_BY } kind;
  int64_t start, stop, step;
  tg_tensor *by;
} tg_index_item;
#define TG_NONE INT64_MIN
#ifndef __cplusplus
#define TG_AT(i) ((tg_index_item){TG_ITEM_AT, (i), 0, 0, NULL})
#define TG_RANGE(start, stop, step) \
  ((tg_index_item){TG_ITEM_RANGE, (start), (stop), (step), NULL})
#define TG_ALL TG_RANGE(TG_NONE, TG_NONE, 1)
#define TG_NEW_AXIS ((tg_index_item){TG_ITEM_NEW_AXIS, 0, 0, 0, NULL})
#define TG_REST ((tg_index_item){TG_ITEM_REST, 0, 0, 0, NULL})
#define TG_BY(t) ((tg_index_item){TG_ITEM_BY, 0, 0, 0, (t)})
#define TG_ITEMS_(...)                                             \
  (int)(sizeof((tg_index_item[]){__VA_ARGS__}) / sizeof(tg_index_item)), \
      (tg_index_item[]){__VA_ARGS__}
#define tg_index(x, ...) tg_index((x), TG_ITEMS_(__VA_ARGS__))
#define tg_set_index(x, value, ...) tg_set_index((x), (value), TG_ITEMS_(__VA_ARGS__))
#endif
/* PyTorch's indexing. Numbers, ranges and new axes are done first, left to right:
 * a number takes its axis away. Index tensors are integers (broadcast against each
 * other, negative counts from the back) or bool masks (made concrete now; a mask of
 * n axes is n index tensors). If those with axes are side by side in what is left,
 * the axes of the index stand in their place, else first: of x [2, 5, 6, 4] and an
 * index [3], x[1, :, t] is [5, 3, 4], and x[t, :, t] is [3, 5, 4]. An index tensor
 * of no axes is a number; a mask of no axes makes a new axis of size 1, or 0. An
 * index out of range is an error when the result is realized. Cost: the elements
 * touched. */
tg_tensor *(tg_index)(tg_tensor *x, int count, const tg_index_item *items);
/* x[items] = value (broadcast; cast to x's dtype): x stands for the changed
 * tensor from now on. Of equal positions the last wins. Returns x. */
tg_tensor *(tg_set_index)(tg_tensor *x, tg_tensor *value, int count,
                          const tg_index_item *items);
/* out[i..., r...] = x[index[i...], r...]: [I..., R...] from [V, R...] and [I...];
 * rows of x by number. Gradient: rows are added into, in order. */
tg_tensor *tg_take(tg_tensor *x, tg_tensor *index);
/* out[i][j] = x[i][index[i][j]] for axis 1, and so on: out has index's shape,
 * which may be smaller than x's outside `axis`. */
tg_tensor *tg_gather(tg_tensor *x, tg_tensor *index, int axis);
/* A copy of x with src[i][j] put at (or added to) x[i][index[i][j]] for axis 1. */
tg_tensor *tg_scatter(tg_tensor *x, int axis, tg_tensor *index, tg_tensor *src);
tg_tensor *tg_scatter_add(tg_tensor *x, int axis, tg_tensor *index, tg_tensor *src);

/* -------------------------------------------------------------- reduce -- */

/* Over .axis (all axes when left out); .keepdim keeps them with size 1.
 * sum: integers and bool give int64. max, min: over no element, an error;
 * their gradient is shared evenly among ties. mean: sum / n. std: square root
 * of sum((x - mean)^2) / (n - .correction). */
tg_tensor *tg_sum(tg_tensor *x, const tg_axis_opts *o);
#define tg_sum(...) TG_OPTIONS1(tg_sum, tg_axis_opts, __VA_ARGS__, )
tg_tensor *tg_max(tg_tensor *x, const tg_axis_opts *o);
#define tg_max(...) TG_OPTIONS1(tg_max, tg_axis_opts, __VA_ARGS__, )
tg_tensor *tg_min(tg_tensor *x, const tg_axis_opts *o);
#define tg_min(...) TG_OPTIONS1(tg_min, tg_axis_opts, __VA_ARGS__, )
tg_tensor *tg_mean(tg_tensor *x, const tg_axis_opts *o);
#define tg_mean(...) TG_OPTIONS1(tg_mean, tg_axis_opts, __VA_ARGS__, )
tg_tensor *tg_std(tg_tensor *x, const tg_axis_opts *o);
#define tg_std(...) TG_OPTIONS1(tg_std, tg_axis_opts, __VA_ARGS__, )
/* exp(x - max) / sum(exp(x - max)) along .axis (-1), and its logarithm. */
tg_tensor *tg_softmax(tg_tensor *x, const tg_axis_opts *o);
#define tg_softmax(...) TG_OPTIONS1(tg_softmax, tg_axis_opts, __VA_ARGS__, )
tg_tensor *tg_log_softmax(tg_tensor *x, const tg_axis_opts *o);
#define tg_log_softmax(...) TG_OPTIONS1(tg_log_softmax, tg_axis_opts, __VA_ARGS__, )
/* Position of the largest (smallest) element along .axis, int64; without
 * .axis, in the flattened tensor. Of equal ones the first. */
tg_tensor *tg_argmax(tg_tensor *x, const tg_axis_opts *o);
#define tg_argmax(...) TG_OPTIONS1(tg_argmax, tg_axis_opts, __VA_ARGS__, )
tg_tensor *tg_argmin(tg_tensor *x, const tg_axis_opts *o);
#define tg_argmin(...) TG_OPTIONS1(tg_argmin, tg_axis_opts, __VA_ARGS__, )
/* out[i] = x[0] + ... + x[i] along `axis`. Integers and bool give int64. */
tg_tensor *tg_cumsum(tg_tensor *x, int axis);
/* The upper (lower) triangle of the last two axes from diagonal k; else 0. */
tg_tensor *tg_triu(tg_tensor *x, int64_t k);
tg_tensor *tg_tril(tg_tensor *x, int64_t k);

/* ------------------------------------------------- linear algebra and nn -- */

/* Matrix product: [K]x[K] -> [], [M,K]x[K,N] -> [M,N], [B...,M,K]x[B...,K,N]
 * -> [B...,M,N] with B... broadcast. The gradient is a matrix product too. */
tg_tensor *tg_dot(tg_tensor *x, tg_tensor *w);
tg_tensor *tg_matmul(tg_tensor *x, tg_tensor *w);
/* x . w + b: [..., I] [I, O] [O] -> [..., O]; w of one axis multiplies
 * elementwise. .bias may be left out. */
typedef struct tg_linear_opts {
  int tg_ TG_UNSET;
  tg_tensor *bias TG_UNSET;
} tg_linear_opts;
tg_tensor *tg_linear(tg_tensor *x, tg_tensor *weight, const tg_linear_opts *o);
#define tg_linear(x, ...) TG_OPTIONS2(tg_linear, tg_linear_opts, x, __VA_ARGS__, )
/* layers[n-1](... layers[0](x, user[0]) ..., user[n-1]); user may be NULL. */
typedef tg_tensor *(*tg_layer)(tg_tensor *x, void *user);
tg_tensor *tg_sequential(tg_tensor *x, int count, const tg_layer *layers, void *const *user);

/* Convolution (cross-correlation) over the last 1 to 3 axes:
 * x [N, G*I, H...], weight [O, I, K...] -> [N, O, Y...] with
 * Y = (H + pads - dilation * (K - 1) - 1) / stride + 1.
 * Lists: one number for all axes or one per axis; padding also as
 * {left, right, top, bottom ...}, where a negative number crops. */
typedef struct tg_conv_opts {
  int tg_ TG_UNSET;
  tg_tensor *bias TG_UNSET;        /* [O] */
  int64_t groups TG_UNSET;         /* 1 */
  tg_ints stride TG_UNSET;         /* 1 */
  tg_ints dilation TG_UNSET;       /* 1 */
  tg_ints padding TG_UNSET;        /* 0 */
  tg_ints output_padding TG_UNSET; /* 0; conv_transpose2d only */
} tg_conv_opts;
tg_tensor *tg_conv2d(tg_tensor *x, tg_tensor *weight, const tg_conv_opts *o);
#define tg_conv2d(x, ...) TG_OPTIONS2(tg_conv2d, tg_conv_opts, x, __VA_ARGS__, )
/* The gradient of conv2d by its input, as an operation: x [N, G*I, H...],
 * weight [G*I, O, K...] -> [N, G*O, (H - 1) * stride - 2 * padding
 * + dilation * (K - 1) + output_padding + 1 ...]. */
tg_tensor *tg_conv_transpose2d(tg_tensor *x, tg_tensor *weight, const tg_conv_opts *o);
#define tg_conv_transpose2d(x, ...) TG_OPTIONS2(tg_conv_transpose2d, tg_conv_opts, x, __VA_ARGS__, )

/* Mean (maximum) over windows of the last axes, [N, C, H...] -> [N, C, Y...]. */
typedef struct tg_pool_opts {
  int tg_ TG_UNSET;
  tg_ints kernel TG_UNSET;   /* 2, 2 */
  tg_ints stride TG_UNSET;   /* the kernel */
  tg_ints dilation TG_UNSET; /* 1; max_pool2d only */
} tg_pool_opts;
tg_tensor *tg_avg_pool2d(tg_tensor *x, const tg_pool_opts *o);
#define tg_avg_pool2d(...) TG_OPTIONS1(tg_avg_pool2d, tg_pool_opts, __VA_ARGS__, )
tg_tensor *tg_max_pool2d(tg_tensor *x, const tg_pool_opts *o);
#define tg_max_pool2d(...) TG_OPTIONS1(tg_max_pool2d, tg_pool_opts, __VA_ARGS__, )

/* (x - mean) / sqrt(var + eps) over .axis (-1); Ba et al. 2016. */
typedef struct tg_layernorm_opts {
  int tg_ TG_UNSET;
  tg_ints axis TG_UNSET;
  double eps TG_UNSET; /* 1e-5 */
} tg_layernorm_opts;
tg_tensor *tg_layernorm(tg_tensor *x, const tg_layernorm_opts *o);
#define tg_layernorm(...) TG_OPTIONS1(tg_layernorm, tg_layernorm_opts, __VA_ARGS__, )
/* (x - mean) * weight * invstd + bias per channel (axis 1); weight and bias may
 * be NULL, the others have C elements; invstd may also be a tensor that broadcasts
 * to x. Ioffe and Szegedy 2015. */
tg_tensor *tg_batchnorm(tg_tensor *x, tg_tensor *weight, tg_tensor *bias,
                        tg_tensor *mean, tg_tensor *invstd);
/* In training mode: zero with probability p, the rest times 1 / (1 - p). */
tg_tensor *tg_dropout(tg_tensor *x, double p);
/* softmax(q . k^T / sqrt(E) + mask) . v: q [..., L, E], k [..., S, E],
 * v [..., S, V] -> [..., L, V]. A bool mask lets true pass, any other is added. */
typedef struct tg_attention_opts {
  int tg_ TG_UNSET;
  tg_tensor *mask TG_UNSET;
  bool causal TG_UNSET;
  double dropout TG_UNSET; /* 0 */
} tg_attention_opts;
tg_tensor *tg_scaled_dot_product_attention(tg_tensor *q, tg_tensor *k, tg_tensor *v,
                                           const tg_attention_opts *o);
#define tg_scaled_dot_product_attention(q, k, ...) \
  TG_OPTIONS3(tg_scaled_dot_product_attention, tg_attention_opts, q, k, __VA_ARGS__, )
/* Mean over all elements of -(y log x + (1 - y) log(1 - x)); the second form
 * takes logits, x = sigmoid(logits), and is stable for large ones. */
tg_tensor *tg_binary_crossentropy(tg_tensor *x, tg_tensor *y);
tg_tensor *tg_binary_crossentropy_logits(tg_tensor *logits, tg_tensor *y);
/* Mean over the labels of -log_softmax(logits)[label]: logits [..., C], labels
 * [...] of an integer dtype. Labels equal to .ignore_index (-1) do not count. */
typedef struct tg_crossentropy_opts {
  int tg_ TG_UNSET;
  tg_ints ignore_index TG_UNSET;
} tg_crossentropy_opts;
tg_tensor *tg_sparse_categorical_crossentropy(tg_tensor *logits, tg_tensor *labels,
                                              const tg_crossentropy_opts *o);
#define tg_sparse_categorical_crossentropy(logits, ...) \
  TG_OPTIONS2(tg_sparse_categorical_crossentropy, tg_crossentropy_opts, logits, __VA_ARGS__, )

/* --------------------------------------------------------------- unary -- */

tg_tensor *tg_neg(tg_tensor *x);        /* -x */
tg_tensor *tg_log(tg_tensor *x);        /* ln x */
tg_tensor *tg_log2(tg_tensor *x);       /* ln x / ln 2 */
tg_tensor *tg_exp(tg_tensor *x);        /* e^x */
tg_tensor *tg_exp2(tg_tensor *x);       /* 2^x */
tg_tensor *tg_relu(tg_tensor *x);       /* max(x, 0); slope 0 at 0 */
tg_tensor *tg_sigmoid(tg_tensor *x);    /* 1 / (1 + e^-x) */
tg_tensor *tg_sin(tg_tensor *x);
tg_tensor *tg_cos(tg_tensor *x);
tg_tensor *tg_tan(tg_tensor *x);
tg_tensor *tg_sqrt(tg_tensor *x);
tg_tensor *tg_rsqrt(tg_tensor *x);      /* 1 / sqrt x */
tg_tensor *tg_trunc(tg_tensor *x);      /* towards 0; gradient 0 */
tg_tensor *tg_ceil(tg_tensor *x);
tg_tensor *tg_floor(tg_tensor *x);
tg_tensor *tg_square(tg_tensor *x);     /* x^2 */
tg_tensor *tg_clip(tg_tensor *x, double low, double high);
tg_tensor *tg_abs(tg_tensor *x);
tg_tensor *tg_sign(tg_tensor *x);       /* -1, 0, 1; gradient 0 */
tg_tensor *tg_reciprocal(tg_tensor *x); /* 1 / x */
tg_tensor *tg_elu(tg_tensor *x, double alpha);  /* x > 0 ? x : alpha (e^x - 1) */
tg_tensor *tg_celu(tg_tensor *x, double alpha); /* max(x,0) + min(0, alpha (e^(x/alpha) - 1)) */
tg_tensor *tg_swish(tg_tensor *x);      /* x sigmoid(x) */
tg_tensor *tg_silu(tg_tensor *x);       /* the same */
tg_tensor *tg_relu6(tg_tensor *x);      /* min(max(x, 0), 6) */
tg_tensor *tg_hardswish(tg_tensor *x);  /* x relu6(x + 3) / 6 */
tg_tensor *tg_tanh(tg_tensor *x);
tg_tensor *tg_sinh(tg_tensor *x);
tg_tensor *tg_cosh(tg_tensor *x);
tg_tensor *tg_atanh(tg_tensor *x);
tg_tensor *tg_asinh(tg_tensor *x);
tg_tensor *tg_acosh(tg_tensor *x);
tg_tensor *tg_hardtanh(tg_tensor *x, double low, double high);
tg_tensor *tg_gelu(tg_tensor *x);       /* tanh form; Hendrycks and Gimpel 2016 */
tg_tensor *tg_quick_gelu(tg_tensor *x); /* x sigmoid(1.702 x) */
tg_tensor *tg_leakyrelu(tg_tensor *x, double slope); /* x > 0 ? x : slope x */
tg_tensor *tg_mish(tg_tensor *x);       /* x tanh(softplus(x)) */
tg_tensor *tg_softplus(tg_tensor *x, double beta); /* ln(1 + e^(beta x)) / beta */
tg_tensor *tg_softsign(tg_tensor *x);   /* x / (1 + |x|) */

/* --------------------------------------------------- binary and ternary -- */

/* Shapes broadcast as in numpy. Either operand may be a C number: in C through
 * the macros below, elsewhere made by tg_number or tg_whole, which give a
 * constant that takes the other operand's dtype. */
tg_tensor *tg_number(double value);
tg_tensor *tg_whole(int64_t value);
tg_tensor *tg_add(tg_tensor *a, tg_tensor *b);     /* a + b */
tg_tensor *tg_sub(tg_tensor *a, tg_tensor *b);     /* a - b */
tg_tensor *tg_mul(tg_tensor *a, tg_tensor *b);     /* a * b */
tg_tensor *tg_div(tg_tensor *a, tg_tensor *b);     /* a / b; integers give floats */
tg_tensor *tg_pow(tg_tensor *a, tg_tensor *b);     /* a^b */
tg_tensor *tg_maximum(tg_tensor *a, tg_tensor *b); /* gradient halved on ties */
tg_tensor *tg_minimum(tg_tensor *a, tg_tensor *b);
/* Comparisons give bool and have no gradient. */
tg_tensor *tg_lt(tg_tensor *a, tg_tensor *b);
tg_tensor *tg_gt(tg_tensor *a, tg_tensor *b);
tg_tensor *tg_ge(tg_tensor *a, tg_tensor *b);
tg_tensor *tg_le(tg_tensor *a, tg_tensor *b);
tg_tensor *tg_ne(tg_tensor *a, tg_tensor *b);
tg_tensor *tg_eq(tg_tensor *a, tg_tensor *b);
/* condition ? a : b; any dtype but 0 counts as true. */
tg_tensor *tg_where(tg_tensor *condition, tg_tensor *a, tg_tensor *b);

#ifndef __cplusplus
static inline tg_tensor *tg_same_(tg_tensor *t) { return t; }
static inline tg_tensor *tg_null_(void *t) { return (tg_tensor *)t; }
#define TG_OPERAND(x)                                                    \
  _Generic((x), tg_tensor *: tg_same_, void *: tg_null_,                 \
           float: tg_number, double: tg_number, long double: tg_number,  \
           default: tg_whole)(x)
#define tg_add(a, b) tg_add(TG_OPERAND(a), TG_OPERAND(b))
#define tg_sub(a, b) tg_sub(TG_OPERAND(a), TG_OPERAND(b))
#define tg_mul(a, b) tg_mul(TG_OPERAND(a), TG_OPERAND(b))
#define tg_div(a, b) tg_div(TG_OPERAND(a), TG_OPERAND(b))
#define tg_pow(a, b) tg_pow(TG_OPERAND(a), TG_OPERAND(b))
#define tg_maximum(a, b) tg_maximum(TG_OPERAND(a), TG_OPERAND(b))
#define tg_minimum(a, b) tg_minimum(TG_OPERAND(a), TG_OPERAND(b))
#define tg_lt(a, b) tg_lt(TG_OPERAND(a), TG_OPERAND(b))
#define tg_gt(a, b) tg_gt(TG_OPERAND(a), TG_OPERAND(b))
#define tg_ge(a, b) tg_ge(TG_OPERAND(a), TG_OPERAND(b))
#define tg_le(a, b) tg_le(TG_OPERAND(a), TG_OPERAND(b))
#define tg_ne(a, b) tg_ne(TG_OPERAND(a), TG_OPERAND(b))
#define tg_eq(a, b) tg_eq(TG_OPERAND(a), TG_OPERAND(b))
#define tg_where(c, a, b) tg_where((c), TG_OPERAND(a), TG_OPERAND(b))
#endif

/* ----------------------------------------------------------- optimizers -- */

/* Optimizers belong to the scope they are made in, like their state. Making one
 * realizes the parameters. They set requires_grad of unset
 * parameters to yes, leave out those with no, and count a parameter given twice
 * once. float16 and bfloat16 parameters are updated in float32. */
typedef struct tg_optim_opts {
  int tg_ TG_UNSET;
  double lr TG_UNSET;              /* 0.001 */
  double momentum TG_UNSET;        /* SGD: 0 */
  double weight_decay TG_UNSET;    /* SGD, Adam, LAMB: 0; AdamW: 0.01 */
  bool nesterov TG_UNSET;          /* SGD: false */
  double b1 TG_UNSET, b2 TG_UNSET; /* 0.9, 0.999 */
  double eps TG_UNSET;             /* Adam, AdamW: 1e-8; LAMB: 1e-6 */
} tg_optim_opts;
/* g = grad + wd p; b = momentum b + g; p -= lr (nesterov ? g + momentum b : b). */
tg_optimizer *tg_sgd(tg_list params, const tg_optim_opts *o);
#define tg_sgd(...) TG_OPTIONS1(tg_sgd, tg_optim_opts, __VA_ARGS__, )
/* m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2; with m', v' = m, v over (1 - b^t):
 * p -= lr (m' / (sqrt v' + eps) + wd p). Kingma and Ba 2014; AdamW: Loshchilov
 * and Hutter 2017. Adam is AdamW without weight decay. */
tg_optimizer *tg_adam(tg_list params, const tg_optim_opts *o);
#define tg_adam(...) TG_OPTIONS1(tg_adam, tg_optim_opts, __VA_ARGS__, )
tg_optimizer *tg_adamw(tg_list params, const tg_optim_opts *o);
#define tg_adamw(...) TG_OPTIONS1(tg_adamw, tg_optim_opts, __VA_ARGS__, )
/* AdamW's step times the trust ratio |p| / |step|; You et al. 2019. */
tg_optimizer *tg_lamb(tg_list params, const tg_optim_opts *o);
#define tg_lamb(...) TG_OPTIONS1(tg_lamb, tg_optim_opts, __VA_ARGS__, )
/* For language bindings: takes the optimizer out of its scope (returns it); the
 * caller must free it. */
tg_optimizer *tg_take_optimizer(tg_optimizer *optimizer);
void tg_free_optimizer(tg_optimizer *optimizer);
/* Drops the gradients. 0, or -1. */
int tg_zero_grad(tg_optimizer *optimizer);
/* Updates the parameters in place from their gradients. Runs now, in one
 * schedule with `also` (tg_step_with), such as the loss. 0, or -1 with every
 * parameter and all state as they were. */
int tg_step(tg_optimizer *optimizer);
int tg_step_with(tg_optimizer *optimizer, tg_list also);
/* The learning rate, a tensor [] that tg_assign or tg_set_lr can change. */
tg_tensor *tg_lr(tg_optimizer *optimizer);
int tg_set_lr(tg_optimizer *optimizer, double lr);
/* Parameters (then m, v, momentum and step count) for saving and loading.
 * tensor `i` of the optimizer's state, NULL past the last (no error). */
tg_tensor *tg_optimizer_state(tg_optimizer *optimizer, int64_t i);

/* ------------------------------------------------------- captured steps -- */

/* A function that is recorded at its first call and afterwards run again without
 * being called: for a training step, or a forward pass, that is the same every
 * time but for its inputs. A replayed call costs little more than its kernels.
 *
 *     static int step(tg_list in, tg_tensor **out, void *user) {
 *       model *m = user;
 *       out[0] = loss_of(m, in.items[0], in.items[1]);
 *       if (tg_zero_grad(m->optimizer) || tg_backward(out[0])) return -1;
 *       return tg_step_with(m->optimizer, TG_LIST(out[0]));
 *     }
 *
 * The function reads its inputs, sets outputs[0 ..] and returns 0, or -1. What it
 * reads or assigns besides (parameters, state of optimizers, gradients) is read and
 * assigned anew in every call, and random numbers go on as they would without.
 * But C code is not run again: C numbers, branches, and data that tg_from brings in
 * stay as they were when the call was recorded. Reading a value inside (tg_item,
 * tg_data, tg_to_string ...) is an error: make it an output. When outside tensors
 * have another shape, or training or no-grad mode changes, the next call is
 * recorded again. */
typedef struct tg_jit tg_jit;
typedef int (*tg_jit_function)(tg_list inputs, tg_tensor **outputs, void *user);
/* Belongs to the innermost scope. It keeps the tensors that the function uses. */
tg_jit *tg_jit_new(tg_jit_function function, int outputs, void *user);
/* Runs now. Each input is realized and must be memory of its own, of the shape, dtype
 * and device it had when recorded. The outputs belong to the innermost scope, are
 * realized and have no gradient. 0, or -1 with outputs NULL and outside tensors as
 * they were. One thread at a time. */
int tg_jit_call(tg_jit *jit, tg_list inputs, tg_tensor **outputs);

/* ---------------------------------------------------------------- files -- */

/* Reads an IDX file (LeCun) of any dtype and rank, plain or, where the library
 * was built with zlib, gzipped. Runs now. */
tg_tensor *tg_load_idx(const char *path);
/* numpy's .npy and .npz: row-major or column-major on reading, little or big
 * endian. bfloat16 is written as uint16 under "name.bf16". Runs now. */
tg_tensor *tg_load_npy(const char *path);
int tg_save_npy(const char *path, tg_tensor *t);
/* Saves tensors under their names into one .npz; written aside, then renamed,
 * so an interrupted run leaves the old file whole. 0, or -1. */
int tg_save_npz(const char *path, tg_list tensors);
/* Assigns to each tensor the array of its name; all or none. Shapes and dtypes
 * must match; arrays nobody asked for are an error. 0, or -1. */
int tg_load_npz(const char *path, tg_list tensors);

/* ------------------------------------------------------------- progress -- */

/* A progress bar on standard error, silent when that is no terminal or CI is
 * set. The only part of the library that prints, and only when called. */
typedef struct tg_progress {
  const char *title;
  int64_t total, done;
  double started, shown;
  bool visible;
} tg_progress;
tg_progress tg_progress_begin(const char *title, int64_t total);
void tg_progress_step(tg_progress *bar, const char *format, ...) TG_PRINTF(2, 3);
void tg_progress_end(tg_progress *bar);

#ifdef __cplusplus
} /* extern "C" */
/* ------------------------------------------------------------------ C++ -- */

/* C++11 and later: overloads that take the options by value take the place of
 * the macros, tg_sum(x) or, from C++20 on, tg_sum(x, {.axis = TG_INTS(0)}); a C++
 * number may stand for either operand, tg_add(x, 1). What TG_LIST gives lives to
 * the end of the statement. */
#include <type_traits>

#undef tg_from
#undef tg_scalar
#undef tg_empty
#undef tg_full
#undef tg_zeros
#undef tg_ones
#undef tg_full_like
#undef tg_zeros_like
#undef tg_ones_like
#undef tg_arange
#undef tg_eye
#undef tg_rand
#undef tg_randn
#undef tg_randint
#undef tg_uniform
#undef tg_normal
#undef tg_scaled_uniform
#undef tg_glorot_uniform
#undef tg_kaiming_uniform
#undef tg_kaiming_normal
#undef tg_multinomial
#undef tg_gradcheck
#undef tg_pad
#undef tg_pad2d
#undef tg_slice
#undef tg_flatten
#undef tg_squeeze
#undef tg_cat
#undef tg_stack
#undef tg_sum
#undef tg_max
#undef tg_min
#undef tg_mean
#undef tg_std
#undef tg_softmax
#undef tg_log_softmax
#undef tg_argmax
#undef tg_argmin
#undef tg_linear
#undef tg_conv2d
#undef tg_conv_transpose2d
#undef tg_avg_pool2d
#undef tg_max_pool2d
#undef tg_layernorm
#undef tg_scaled_dot_product_attention
#undef tg_sparse_categorical_crossentropy
#undef tg_sgd
#undef tg_adam
#undef tg_adamw
#undef tg_lamb

#define TG_OVERLOAD1(R, f, A, O) \
  inline R *f(A a, O o = O()) { return f(a, &o); }
#define TG_OVERLOAD2(R, f, A, B, O) \
  inline R *f(A a, B b, O o = O()) { return f(a, b, &o); }
TG_OVERLOAD2(tg_tensor, tg_from, const void *, tg_shape, tg_create_opts)
TG_OVERLOAD1(tg_tensor, tg_scalar, double, tg_create_opts)
TG_OVERLOAD1(tg_tensor, tg_empty, tg_shape, tg_create_opts)
TG_OVERLOAD1(tg_tensor, tg_zeros, tg_shape, tg_create_opts)
TG_OVERLOAD1(tg_tensor, tg_ones, tg_shape, tg_create_opts)
TG_OVERLOAD1(tg_tensor, tg_rand, tg_shape, tg_create_opts)
TG_OVERLOAD1(tg_tensor, tg_randn, tg_shape, tg_create_opts)
TG_OVERLOAD1(tg_tensor, tg_randint, tg_shape, tg_create_opts)
TG_OVERLOAD1(tg_tensor, tg_uniform, tg_shape, tg_create_opts)
TG_OVERLOAD1(tg_tensor, tg_normal, tg_shape, tg_create_opts)
TG_OVERLOAD1(tg_tensor, tg_scaled_uniform, tg_shape, tg_create_opts)
TG_OVERLOAD1(tg_tensor, tg_glorot_uniform, tg_shape, tg_create_opts)
TG_OVERLOAD1(tg_tensor, tg_kaiming_uniform, tg_shape, tg_create_opts)
TG_OVERLOAD1(tg_tensor, tg_kaiming_normal, tg_shape, tg_create_opts)
TG_OVERLOAD2(tg_tensor, tg_full, tg_shape, double, tg_create_opts)
TG_OVERLOAD2(tg_tensor, tg_full_like, tg_tensor *, double, tg_create_opts)
TG_OVERLOAD1(tg_tensor, tg_zeros_like, tg_tensor *, tg_create_opts)
TG_OVERLOAD1(tg_tensor, tg_ones_like, tg_tensor *, tg_create_opts)
TG_OVERLOAD2(tg_tensor, tg_arange, double, double, tg_create_opts)
TG_OVERLOAD1(tg_tensor, tg_eye, int64_t, tg_create_opts)
TG_OVERLOAD2(tg_tensor, tg_multinomial, tg_tensor *, int64_t, tg_multinomial_opts)
inline int tg_gradcheck(tg_gradcheck_function f, tg_list inputs,
                        tg_gradcheck_opts o = tg_gradcheck_opts()) {
  return tg_gradcheck(f, inputs, &o);
}
TG_OVERLOAD2(tg_tensor, tg_pad, tg_tensor *, tg_ints, tg_pad_opts)
TG_OVERLOAD2(tg_tensor, tg_pad2d, tg_tensor *, tg_ints, tg_pad_opts)
TG_OVERLOAD2(tg_tensor, tg_slice, tg_tensor *, tg_ints, tg_pad_opts)
TG_OVERLOAD1(tg_tensor, tg_flatten, tg_tensor *, tg_flatten_opts)
TG_OVERLOAD1(tg_tensor, tg_squeeze, tg_tensor *, tg_axis_opts)
TG_OVERLOAD1(tg_tensor, tg_sum, tg_tensor *, tg_axis_opts)
TG_OVERLOAD1(tg_tensor, tg_max, tg_tensor *, tg_axis_opts)
TG_OVERLOAD1(tg_tensor, tg_min, tg_tensor *, tg_axis_opts)
TG_OVERLOAD1(tg_tensor, tg_mean, tg_tensor *, tg_axis_opts)
TG_OVERLOAD1(tg_tensor, tg_std, tg_tensor *, tg_axis_opts)
TG_OVERLOAD1(tg_tensor, tg_softmax, tg_tensor *, tg_axis_opts)
TG_OVERLOAD1(tg_tensor, tg_log_softmax, tg_tensor *, tg_axis_opts)
TG_OVERLOAD1(tg_tensor, tg_argmax, tg_tensor *, tg_axis_opts)
TG_OVERLOAD1(tg_tensor, tg_argmin, tg_tensor *, tg_axis_opts)
TG_OVERLOAD1(tg_tensor, tg_cat, tg_list, tg_cat_opts)
TG_OVERLOAD1(tg_tensor, tg_stack, tg_list, tg_cat_opts)
TG_OVERLOAD2(tg_tensor, tg_linear, tg_tensor *, tg_tensor *, tg_linear_opts)
TG_OVERLOAD2(tg_tensor, tg_conv2d, tg_tensor *, tg_tensor *, tg_conv_opts)
TG_OVERLOAD2(tg_tensor, tg_conv_transpose2d, tg_tensor *, tg_tensor *, tg_conv_opts)
TG_OVERLOAD1(tg_tensor, tg_avg_pool2d, tg_tensor *, tg_pool_opts)
TG_OVERLOAD1(tg_tensor, tg_max_pool2d, tg_tensor *, tg_pool_opts)
TG_OVERLOAD1(tg_tensor, tg_layernorm, tg_tensor *, tg_layernorm_opts)
inline tg_tensor *tg_scaled_dot_product_attention(
    tg_tensor *q, tg_tensor *k, tg_tensor *v, tg_attention_opts o = tg_attention_opts()) {
  return tg_scaled_dot_product_attention(q, k, v, &o);
}
TG_OVERLOAD2(tg_tensor, tg_sparse_categorical_crossentropy, tg_tensor *, tg_tensor *,
             tg_crossentropy_opts)
TG_OVERLOAD1(tg_optimizer, tg_sgd, tg_list, tg_optim_opts)
TG_OVERLOAD1(tg_optimizer, tg_adam, tg_list, tg_optim_opts)
TG_OVERLOAD1(tg_optimizer, tg_adamw, tg_list, tg_optim_opts)
TG_OVERLOAD1(tg_optimizer, tg_lamb, tg_list, tg_optim_opts)
#undef TG_OVERLOAD1
#undef TG_OVERLOAD2

/* A list of tensors with its memory. */
template <size_t N> struct tg_array {
  tg_tensor *items[N ? N : 1];
  operator tg_list() const { return tg_list{int64_t(N), items}; }
};
template <typename... T> inline tg_array<sizeof...(T)> tg_make_array(T *...items) {
  return {{items...}};
}
#define TG_LIST(...) tg_make_array(__VA_ARGS__)

/* Numbers as operands. */
template <typename N, typename R = tg_tensor *>
using tg_if_number = typename std::enable_if<std::is_arithmetic<N>::value, R>::type;
template <typename N> inline tg_if_number<N> tg_operand(N n) {
  return std::is_floating_point<N>::value ? tg_number(double(n)) : tg_whole(int64_t(n));
}
#define TG_OVERLOAD_NUMBERS(f)                                                         \
  template <typename N> inline tg_if_number<N> f(tg_tensor *a, N b) {                  \
    return f(a, tg_operand(b));                                                        \
  }                                                                                    \
  template <typename N> inline tg_if_number<N> f(N a, tg_tensor *b) {                  \
    return f(tg_operand(a), b);                                                        \
  }
TG_OVERLOAD_NUMBERS(tg_add)
TG_OVERLOAD_NUMBERS(tg_sub)
TG_OVERLOAD_NUMBERS(tg_mul)
TG_OVERLOAD_NUMBERS(tg_div)
TG_OVERLOAD_NUMBERS(tg_pow)
TG_OVERLOAD_NUMBERS(tg_maximum)
TG_OVERLOAD_NUMBERS(tg_minimum)
TG_OVERLOAD_NUMBERS(tg_lt)
TG_OVERLOAD_NUMBERS(tg_gt)
TG_OVERLOAD_NUMBERS(tg_ge)
TG_OVERLOAD_NUMBERS(tg_le)
TG_OVERLOAD_NUMBERS(tg_ne)
TG_OVERLOAD_NUMBERS(tg_eq)
#undef TG_OVERLOAD_NUMBERS
template <typename N> inline tg_if_number<N> tg_where(tg_tensor *c, tg_tensor *a, N b) {
  return tg_where(c, a, tg_operand(b));
}
template <typename N> inline tg_if_number<N> tg_where(tg_tensor *c, N a, tg_tensor *b) {
  return tg_where(c, tg_operand(a), b);
}
template <typename N, typename M>
inline tg_if_number<N, tg_if_number<M> > tg_where(tg_tensor *c, N a, M b) {
  return tg_where(c, tg_operand(a), tg_operand(b));
}

/* Indexing: tg_index(x, TG_AT(1), TG_ALL, TG_BY(t)). */
#define TG_ITEM_(kind, start, stop, step, by) \
  (tg_index_item{tg_index_item::kind, (start), (stop), (step), (by)})
#define TG_AT(i) TG_ITEM_(TG_ITEM_AT, (i), 0, 0, nullptr)
#define TG_RANGE(start, stop, step) TG_ITEM_(TG_ITEM_RANGE, (start), (stop), (step), nullptr)
#define TG_ALL TG_RANGE(TG_NONE, TG_NONE, 1)
#define TG_NEW_AXIS TG_ITEM_(TG_ITEM_NEW_AXIS, 0, 0, 0, nullptr)
#define TG_REST TG_ITEM_(TG_ITEM_REST, 0, 0, 0, nullptr)
#define TG_BY(t) TG_ITEM_(TG_ITEM_BY, 0, 0, 0, (t))
template <typename... I>
inline tg_tensor *tg_index(tg_tensor *x, tg_index_item first, I... rest) {
  const tg_index_item items[] = {first, rest...};
  return tg_index(x, int(1 + sizeof...(I)), items);
}
template <typename... I>
inline tg_tensor *tg_set_index(tg_tensor *x, tg_tensor *value, tg_index_item first, I... rest) {
  const tg_index_item items[] = {first, rest...};
  return tg_set_index(x, value, int(1 + sizeof...(I)), items);
}
#endif
#endif
