/* What every generated unit begins with. This is C text, not a part of the
 * library: the build turns its lines into strings (prelude.c). It gives the
 * kernels below it three things:
 *
 *   - the structs by which host and kernels talk (the same as in c.h);
 *   - vectors. A kernel computes in lanes: suffix n ("narrow") stands for as many
 *     lanes as 4-byte elements fit a register, w ("wide") for half as many, which
 *     is what kernels with 8-byte elements use. So f32n is a vector of floats, and
 *     all types of one suffix have the same number of lanes. Conditions are masks,
 *     0 or -1 per lane, as wide as the suffix: mn, mw;
 *   - functions on them, named operation_type: load, store, gather; exp, log ...
 *
 * Vector extensions of GCC and clang, so the same text serves every machine; the
 * host writes "#define BYTES n", the bytes of a vector register, above it.
 */
typedef signed char i8;
typedef unsigned char u8;
typedef short i16;
typedef unsigned short u16;
typedef int i32;
typedef unsigned int u32;
typedef __INT64_TYPE__ i64;
typedef __UINT64_TYPE__ u64;
typedef float f32;
typedef double f64;

typedef struct tg_c_call {
  void *const *data;
  char *shared, *own;
  i64 bad_index, bad_bound;
  i32 failed, unfit;
} tg_c_call;
typedef struct tg_c_phase {
  void (*run)(tg_c_call *call, i64 job);
  i64 jobs;
} tg_c_phase;
typedef struct tg_c_kernel {
  const char *name;
  i64 shared, own;
  i32 phases;
  tg_c_phase phase[4];
} tg_c_kernel;
typedef struct tg_c_table {
  i32 abi, count;
  const tg_c_kernel *const *kernel;
} tg_c_table;

#define FN static inline __attribute__((always_inline, unused))
/* A function of its own, which has all registers to itself. */
#define APART static __attribute__((noinline))
#define LANES_n (BYTES / 4)
#define LANES_w (BYTES / 8)
#define UNROLL _Pragma("GCC unroll 16")
/* Keeps a value as it is, in its register: a product in a kernel is rounded before it
 * is added to something, as in C (p - 10 * (0.1 * p) is 0), and in tiles compilers
 * would rather load B once per sum. Sums of products in tiles, and polynomials, are
 * left to fused multiply-add. */
#if defined(__x86_64__)
#define PIN(v) __asm__("" : "+v"(v))
#elif defined(__aarch64__)
#define PIN(v) __asm__("" : "+w"(v))
#else
#define PIN(v) (void)0
#endif
#define MATH(name) __builtin_##name
#define COPY(to, from, n) __builtin_memcpy(to, from, n)

/* ---- vectors: the type T##c of LANES_##c elements, mask m##c */
#define VECTOR(T, c) typedef T T##c __attribute__((vector_size(LANES_##c * sizeof(T))));
#define VECTORS(c) VECTOR(i8, c) VECTOR(u8, c) VECTOR(i16, c) VECTOR(u16, c) VECTOR(i32, c) \
  VECTOR(u32, c) VECTOR(i64, c) VECTOR(u64, c) VECTOR(f32, c) VECTOR(f64, c)
VECTORS(n)
VECTORS(w)
typedef i32n mn;
typedef i64w mw;
#define TO(type, x) __builtin_convertvector(x, type)

FN mn lanes_n(void) { mn v; UNROLL for (int l = 0; l < LANES_n; l++) v[l] = l; return v; }
FN mw lanes_w(void) { mw v; UNROLL for (int l = 0; l < LANES_w; l++) v[l] = l; return v; }
FN mn hidden_n(mn v) { PIN(v); return v; }
FN mw hidden_w(mw v) { PIN(v); return v; }
FN mn splat_mn(_Bool x) { return (mn){0} - (i32)x; }
FN mw splat_mw(_Bool x) { return (mw){0} - (i64)x; }

/* v with lanes l and l ^ h exchanged */
#ifdef __clang__
#define SWAPPED(T, c, B, v, h) ({                                                                \
    T##c t_;                                                                                     \
    UNROLL for (int l = 0; l < LANES_##c; l++) t_[l] = v[l ^ h];                                 \
    t_;                                                                                          \
  })
#else
#define SWAPPED(T, c, B, v, h) __builtin_shuffle(v, TO(B##c, lanes_##c() ^ h))
#endif

/* B: an integer vector as wide as T##c. gather: elements `step` apart; _part: the
 * first `count` lanes, the others 0; _if: lanes whose mask is set, the others 0. */
#define MOVES(T, c, B)                                                                           \
  FN T##c splat_##T##c(T x) { return x - (T##c){0}; }                                            \
  FN T##c load_##T##c(const T *p) { T##c v; COPY(&v, p, sizeof v); return v; }                   \
  FN T##c load_part_##T##c(const T *p, int count) {                                              \
    T##c v = {0};                                                                                \
    UNROLL for (int l = 0; l < count; l++) v[l] = p[l];                                          \
    return v;                                                                                    \
  }                                                                                              \
  FN T##c load_if_##T##c(const T *p, m##c m) {                                                   \
    T##c v = {0};                                                                                \
    UNROLL for (int l = 0; l < LANES_##c; l++) if (m[l]) v[l] = p[l];                            \
    return v;                                                                                    \
  }                                                                                              \
  FN T##c gather_##T##c(const T *p, i64 step, int count) {                                       \
    T##c v = {0};                                                                                \
    UNROLL for (int l = 0; l < count; l++) v[l] = p[l * step];                                   \
    return v;                                                                                    \
  }                                                                                              \
  FN T##c gather_if_##T##c(const T *p, i64 step, m##c m) {                                       \
    T##c v = {0};                                                                                \
    UNROLL for (int l = 0; l < LANES_##c; l++) if (m[l]) v[l] = p[l * step];                     \
    return v;                                                                                    \
  }                                                                                              \
  FN void store_##T##c(T *p, T##c v) { COPY(p, &v, sizeof v); }                                  \
  FN void store_part_##T##c(T *p, T##c v, int count) {                                           \
    COPY(p, &v, (unsigned)count * sizeof(T));                                                    \
  }                                                                                              \
  FN void scatter_##T##c(T *p, i64 step, T##c v, int count) {                                    \
    UNROLL for (int l = 0; l < count; l++) p[l * step] = v[l];                                   \
  }                                                                                              \
  FN T##c select_##T##c(m##c m, T##c x, T##c y) {                                                \
    B##c b = TO(B##c, m);                                                                        \
    return (T##c)(((B##c)x & b) | ((B##c)y & ~b));                                               \
  }                                                                                              \
  FN m##c less_##T##c(T##c x, T##c y) { return TO(m##c, x < y); }                                \
  FN m##c equal_##T##c(T##c x, T##c y) { return TO(m##c, x == y); }                              \
  FN T sum_##T##c(T##c v) {                                                                      \
    UNROLL for (int h = LANES_##c / 2; h > 0; h /= 2) v = v + SWAPPED(T, c, B, v, h);            \
    return v[0];                                                                                 \
  }
#define MOVES_OF(c) MOVES(i8, c, i8) MOVES(u8, c, i8) MOVES(i16, c, i16) MOVES(u16, c, i16)      \
  MOVES(i32, c, i32) MOVES(u32, c, i32) MOVES(f32, c, i32)
MOVES_OF(n)
MOVES_OF(w)
MOVES(i64, w, i64)
MOVES(u64, w, i64)
MOVES(f64, w, i64)

/* A square of vectors, transposed; rows are ld elements apart. */
#define TURN(T, c)                                                                               \
  FN void turn_##T##c(const T *from, i64 ld, T *to, i64 to_ld) {                                 \
    for (int i = 0; i < LANES_##c; i++)                                                          \
      UNROLL for (int l = 0; l < LANES_##c; l++) to[i * to_ld + l] = from[l * ld + i];           \
  }
TURN(f64, w)

/* The lanes at positions `at` of an index vector of type I. */
#define INDEXED(T, c, I)                                                                         \
  FN T##c at_##T##c##_##I(const T *p, I##c at, m##c m) {                                         \
    T##c v = {0};                                                                                \
    UNROLL for (int l = 0; l < LANES_##c; l++) if (m[l]) v[l] = p[at[l]];                        \
    return v;                                                                                    \
  }
#define INDEXED_OF(c, I) INDEXED(i8, c, I) INDEXED(u8, c, I) INDEXED(i16, c, I)                  \
  INDEXED(u16, c, I) INDEXED(i32, c, I) INDEXED(u32, c, I) INDEXED(f32, c, I)
INDEXED_OF(n, i32)
INDEXED_OF(w, i32)
INDEXED_OF(w, i64)
INDEXED(i64, w, i64) INDEXED(u64, w, i64) INDEXED(f64, w, i64)
INDEXED(i64, w, i32) INDEXED(u64, w, i32) INDEXED(f64, w, i32)

/* bool is a byte 0 or 1 in memory, a mask in lanes */
#define BOOLS(c)                                                                                 \
  FN m##c load_b##c(const u8 *p) { return TO(m##c, load_u8##c(p)) != 0; }                        \
  FN m##c load_part_b##c(const u8 *p, int n) { return TO(m##c, load_part_u8##c(p, n)) != 0; }    \
  FN m##c load_if_b##c(const u8 *p, m##c m) { return TO(m##c, load_if_u8##c(p, m)) != 0; }       \
  FN m##c gather_b##c(const u8 *p, i64 s, int n) { return TO(m##c, gather_u8##c(p, s, n)) != 0; }\
  FN m##c gather_if_b##c(const u8 *p, i64 s, m##c m) {                                           \
    return TO(m##c, gather_if_u8##c(p, s, m)) != 0;                                              \
  }                                                                                              \
  FN m##c at_b##c##_i32(const u8 *p, i32##c at, m##c m) {                                        \
    return TO(m##c, at_u8##c##_i32(p, at, m)) != 0;                                              \
  }                                                                                              \
  FN void store_b##c(u8 *p, m##c v) { store_u8##c(p, TO(u8##c, v & 1)); }                        \
  FN void store_part_b##c(u8 *p, m##c v, int n) { store_part_u8##c(p, TO(u8##c, v & 1), n); }    \
  FN void scatter_b##c(u8 *p, i64 s, m##c v, int n) { scatter_u8##c(p, s, TO(u8##c, v & 1), n); }\
  FN m##c select_b##c(m##c m, m##c x, m##c y) { return (x & m) | (y & ~m); }                     \
  FN m##c less_b##c(m##c x, m##c y) { return ~x & y; }                                           \
  FN m##c equal_b##c(m##c x, m##c y) { return ~(x ^ y); }                                        \
  FN m##c max_b##c(m##c x, m##c y) { return x | y; }                                             \
  FN _Bool max_of_b##c(m##c v) {                                                                 \
    _Bool any = 0;                                                                               \
    UNROLL for (int l = 0; l < LANES_##c; l++) any |= v[l] != 0;                                 \
    return any;                                                                                  \
  }                                                                                              \
  FN m##c first_##c(int count) { return lanes_##c() < count; }                                   \
  FN _Bool any_##c(m##c v) { return max_of_b##c(v); }
BOOLS(n)
BOOLS(w)
FN mw at_bw_i64(const u8 *p, i64w at, mw m) { return TO(mw, at_u8w_i64(p, at, m)) != 0; }

#if defined(__AVX2__) && BYTES == 32 /* one instruction where there is one */
#define load_if_f32n(p, m) ((f32n)__builtin_ia32_maskloadps256((const f32n *)(const void *)(p), m))
#define load_part_f32n(p, count) load_if_f32n(p, first_n(count))
#ifdef __clang__
#define SHUFFLE(x, y, ...) __builtin_shufflevector(x, y, __VA_ARGS__)
#else
#define SHUFFLE(x, y, ...) __builtin_shuffle(x, y, (i32n){__VA_ARGS__})
#endif
#define permute_f32n(v, at) ((f32n)__builtin_ia32_permvarsf256(v, at))
#define even_f32n(p) SHUFFLE(load_f32n(p), load_f32n((p) + 7), 0, 2, 4, 6, 9, 11, 13, 15)
#define gather_f32n(p, step, count) \
  ((step) == 2 && (count) == LANES_n ? even_f32n(p) : gather_f32n(p, step, count))
/* Pairs of rows interleaved, then pairs of pairs, then halves. */
FN void turn_f32n(const f32 *from, i64 ld, f32 *to, i64 to_ld) {
  f32n r[8], pair[8], four[8];
  UNROLL for (int i = 0; i < 8; i++) r[i] = load_f32n(from + i * ld);
  UNROLL for (int i = 0; i < 8; i += 2) {
    pair[i] = SHUFFLE(r[i], r[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
    pair[i + 1] = SHUFFLE(r[i], r[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
  }
  UNROLL for (int i = 0; i < 8; i += 4) UNROLL for (int k = 0; k < 2; k++) {
    four[i + 2 * k] = SHUFFLE(pair[i + k], pair[i + k + 2], 0, 1, 8, 9, 4, 5, 12, 13);
    four[i + 2 * k + 1] = SHUFFLE(pair[i + k], pair[i + k + 2], 2, 3, 10, 11, 6, 7, 14, 15);
  }
  UNROLL for (int k = 0; k < 4; k++) {
    store_f32n(to + k * to_ld, SHUFFLE(four[k], four[k + 4], 0, 1, 2, 3, 8, 9, 10, 11));
    store_f32n(to + (k + 4) * to_ld, SHUFFLE(four[k], four[k + 4], 4, 5, 6, 7, 12, 13, 14, 15));
  }
}
#elif defined(__AVX512DQ__) && BYTES == 64
#define BITS(m) ((unsigned short)__builtin_ia32_cvtd2mask512(m))
#define ASM512(op, x, y) ({                                                                      \
    f32n r_;                                                                                     \
    __asm__(op " %2, %1, %0" : "=v"(r_) : "v"(x), "v"(y));                                       \
    r_;                                                                                          \
  })
FN f32n load_bits(const f32 *p, unsigned bits) {
  return (f32n)__builtin_ia32_loadups512_mask((const void *)p, (f32n){0}, (unsigned short)bits);
}
FN void store_bits(f32 *p, f32n v, unsigned bits) {
  __builtin_ia32_storeups512_mask((void *)p, v, (unsigned short)bits);
}
/* A whole line past the caches: it is not read first, and pushes nothing out. */
FN void stream_f32n(f32 *p, f32n v) {
  if ((u64)p % 64) store_f32n(p, v);
  else __asm__ volatile("vmovntps %1, %0" : "=m"(*(f32(*)[16])p) : "v"(v));
}
#define DRAIN() __builtin_ia32_sfence() /* before another thread reads it */
#define load_if_f32n(p, m) load_bits(p, BITS(m))
#define load_part_f32n(p, count) load_bits(p, (1u << (count)) - 1)
#define store_part_f32n(p, v, count) store_bits(p, v, (1u << (count)) - 1)
#define at_f32n_i32(p, at, m) \
  ((f32n)__builtin_ia32_gathersiv16sf((f32n){0}, (const void *)(p), at, BITS(m), 4))
#define permute_f32n(v, at) ASM512("vpermps", at, v)
#ifdef __clang__
#define SHUFFLE(x, y, ...) __builtin_shufflevector(x, y, __VA_ARGS__)
#else
#define SHUFFLE(x, y, ...) __builtin_shuffle(x, y, (i32n){__VA_ARGS__})
#endif
FN f32n even_f32n(const f32 *p, int count) {
  f32n low = count < 8 ? load_part_f32n(p, 2 * count - 1) : load_f32n(p), high = {0};
  if (count > 8) high = load_bits(p + 16, (1u << (2 * count - 17)) - 1);
  return SHUFFLE(low, high, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
}
#define gather_f32n(p, step, count) \
  ((step) == 2 ? even_f32n(p, count) : gather_f32n(p, step, count))
/* Four times: of two rows h apart, h columns of each go into the other. */
#define SWAP_512(h, low, high)                                                                   \
  UNROLL for (int i = 0; i < 16; i++) if (!(i & h)) {                                            \
    f32n x = r[i], y = r[i + h];                                                                 \
    r[i] = SHUFFLE(x, y, low);                                                                   \
    r[i + h] = SHUFFLE(x, y, high);                                                              \
  }
#define LOW_8 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23
#define HIGH_8 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31
#define LOW_4 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27
#define HIGH_4 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31
#define LOW_2 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29
#define HIGH_2 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31
#define LOW_1 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30
#define HIGH_1 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31
FN void turn_f32n(const f32 *from, i64 ld, f32 *to, i64 to_ld) {
  f32n r[16];
  UNROLL for (int i = 0; i < 16; i++) r[i] = load_f32n(from + i * ld);
  SWAP_512(8, LOW_8, HIGH_8)
  SWAP_512(4, LOW_4, HIGH_4)
  SWAP_512(2, LOW_2, HIGH_2)
  SWAP_512(1, LOW_1, HIGH_1)
  UNROLL for (int i = 0; i < 16; i++) store_f32n(to + i * to_ld, r[i]);
}
#else
TURN(f32, n)
#endif
/* Elements that lie side by side, some more than once: positions `at` do not fall, nor
 * rise by more than 1 from lane to lane. The memory holds `size`. */
#ifdef permute_f32n
FN f32n near_f32n(const f32 *p, i32n at, mn m, i32 size) {
  const i32 first = at[0];
  const mn there = (mn)((u32n)(lanes_n() + first) < (u32n){0} + (u32)size);
  return (f32n)((i32n)permute_f32n(load_if_f32n(p + first, there), at - first) & m);
}
#else
#define near_f32n(p, at, m, size) at_f32n_i32(p, at, m)
#endif
/* The first `count` rows of the turned square go to rows to_ld apart. */
#define TURN_PART(T, c)                                                                          \
  FN void turn_part_##T##c(const T *from, T *to, i64 to_ld, int count) {                         \
    T s[LANES_##c * LANES_##c];                                                                  \
    if (count == LANES_##c) {                                                                    \
      turn_##T##c(from, LANES_##c, to, to_ld);                                                   \
      return;                                                                                    \
    }                                                                                            \
    turn_##T##c(from, LANES_##c, s, LANES_##c);                                                  \
    UNROLL for (int l = 0; l < count; l++)                                                       \
      store_##T##c(to + l * to_ld, load_##T##c(s + l * LANES_##c));                              \
  }
TURN_PART(f32, n)
TURN_PART(f64, w)

/* ---- arithmetic: scalars f, vectors below with the same meaning (ops.def) */
#define SCALAR(T)                                                                                \
  FN T max_##T(T x, T y) { return x > y || x != x ? x : y; }
SCALAR(i8) SCALAR(u8) SCALAR(i16) SCALAR(u16) SCALAR(i32) SCALAR(u32) SCALAR(i64) SCALAR(u64)
SCALAR(f32) SCALAR(f64)

/* above: x > y ? x : y, below: x < y ? x : y; both y where either is NaN */
#define BOUNDS(T, c)                                                                             \
  FN T##c above_##T##c(T##c x, T##c y) { return select_##T##c(TO(m##c, x > y), x, y); }          \
  FN T##c below_##T##c(T##c x, T##c y) { return select_##T##c(TO(m##c, x < y), x, y); }
#define BOUNDS_OF(c) BOUNDS(i8, c) BOUNDS(u8, c) BOUNDS(i16, c) BOUNDS(u16, c) BOUNDS(i32, c)     \
  BOUNDS(u32, c)
BOUNDS_OF(n)
BOUNDS_OF(w)
BOUNDS(i64, w)
BOUNDS(u64, w)
#if defined(__AVX2__) && BYTES == 32
#define above_f32n(x, y) ((f32n)__builtin_ia32_maxps256(x, y))
#define below_f32n(x, y) ((f32n)__builtin_ia32_minps256(x, y))
#define above_f32w(x, y) ((f32w)__builtin_ia32_maxps(x, y))
#define below_f32w(x, y) ((f32w)__builtin_ia32_minps(x, y))
#define above_f64w(x, y) ((f64w)__builtin_ia32_maxpd256(x, y))
#define below_f64w(x, y) ((f64w)__builtin_ia32_minpd256(x, y))
#else
#ifdef ASM512
#define above_f32n(x, y) ASM512("vmaxps", x, y)
#define below_f32n(x, y) ASM512("vminps", x, y)
#else
BOUNDS(f32, n)
#endif
BOUNDS(f32, w)
BOUNDS(f64, w)
#endif

#define ORDER(T, c, B)                                                                           \
  FN T##c max_##T##c(T##c x, T##c y) {                                                           \
    return select_##T##c(TO(m##c, x != x), x, above_##T##c(x, y));                               \
  }                                                                                              \
  FN T max_of_##T##c(T##c v) {                                                                   \
    UNROLL for (int h = LANES_##c / 2; h > 0; h /= 2) v = max_##T##c(v, SWAPPED(T, c, B, v, h)); \
    return v[0];                                                                                 \
  }
#define ORDERS(c) ORDER(i8, c, i8) ORDER(u8, c, i8) ORDER(i16, c, i16) ORDER(u16, c, i16)        \
  ORDER(i32, c, i32) ORDER(u32, c, i32) ORDER(f32, c, i32)
ORDERS(n)
ORDERS(w)
ORDER(i64, w, i64)
ORDER(u64, w, i64)
ORDER(f64, w, i64)

#ifdef ASM512 /* NaN is looked for once, and not at each step */
FN f32 most_of_f32n(f32n v) {
  f32n most = v;
  UNROLL for (int h = LANES_n / 2; h > 0; h /= 2)
    most = above_f32n(most, SWAPPED(f32, n, i32, most, h));
  return BITS(v != v) ? __builtin_nanf("") : most[0];
}
#define max_of_f32n(v) most_of_f32n(v)
#endif

/* Division and remainder of integers round down; by 0 they give 0. */
#define DIVISION(T)                                                                              \
  FN T div_##T(T x, T y) {                                                                       \
    if (y == 0) return 0;                                                                        \
    if ((T)-1 < 0 && y == (T)-1) return (T)(0 - (u64)x);                                         \
    T q = (T)(x / y);                                                                            \
    return (T)(q - (x % y != 0 && (x < 0) != (y < 0)));                                          \
  }                                                                                              \
  FN T mod_##T(T x, T y) {                                                                       \
    if (y == 0 || ((T)-1 < 0 && y == (T)-1)) return 0;                                           \
    T r = (T)(x % y);                                                                            \
    return (T)(r != 0 && (r < 0) != (y < 0) ? r + y : r);                                        \
  }
DIVISION(i8) DIVISION(u8) DIVISION(i16) DIVISION(u16) DIVISION(i32) DIVISION(u32)
DIVISION(i64) DIVISION(u64)

/* Lane by lane, for what has no vector instruction. */
#define EACH1(name, R, T, c)                                                                     \
  FN R##c name##_##T##c(T##c x) {                                                                \
    R##c v;                                                                                      \
    UNROLL for (int l = 0; l < LANES_##c; l++) v[l] = name##_##T(x[l]);                          \
    return v;                                                                                    \
  }
#define EACH2(name, T, c)                                                                        \
  FN T##c name##_##T##c(T##c x, T##c y) {                                                        \
    T##c v;                                                                                      \
    UNROLL for (int l = 0; l < LANES_##c; l++) v[l] = name##_##T(x[l], y[l]);                    \
    return v;                                                                                    \
  }
#define DIVISIONS(T, c) EACH2(div, T, c) EACH2(mod, T, c)
#define DIVISIONS_OF(c) DIVISIONS(i8, c) DIVISIONS(u8, c) DIVISIONS(i16, c) DIVISIONS(u16, c)    \
  DIVISIONS(i32, c) DIVISIONS(u32, c)
DIVISIONS_OF(n)
DIVISIONS_OF(w)
DIVISIONS(i64, w)
DIVISIONS(u64, w)

FN f32 sin_f32(f32 x) { return MATH(sinf)(x); }
FN f32 sqrt_f32(f32 x) { return MATH(sqrtf)(x); }
FN f32 trunc_f32(f32 x) { return MATH(truncf)(x); }
FN f32 pow_f32(f32 x, f32 y) { return MATH(powf)(x, y); }
FN f64 exp_f64(f64 x) { return MATH(exp)(x); }
FN f64 log_f64(f64 x) { return MATH(log)(x); }
FN f64 sin_f64(f64 x) { return MATH(sin)(x); }
FN f64 sqrt_f64(f64 x) { return MATH(sqrt)(x); }
FN f64 trunc_f64(f64 x) { return MATH(trunc)(x); }
FN f64 pow_f64(f64 x, f64 y) { return MATH(pow)(x, y); }
EACH1(exp, f64, f64, w) EACH1(log, f64, f64, w) EACH1(sin, f64, f64, w)
EACH1(sqrt, f64, f64, w) EACH1(trunc, f64, f64, w) EACH2(pow, f64, w)
EACH2(pow, f32, n) EACH2(pow, f32, w)
EACH1(trunc, f32, f32, n) EACH1(trunc, f32, f32, w) EACH1(sqrt, f32, f32, w)
#if defined(__AVX2__) && BYTES == 32
#define sqrt_f32n(x) ((f32n)__builtin_ia32_sqrtps256(x))
#elif defined(ASM512)
FN f32n sqrt_f32n(f32n x) { __asm__("vsqrtps %0, %0" : "+v"(x)); return x; }
#else
EACH1(sqrt, f32, f32, n)
#endif

/* e^x = 4^k e^r, |r| <= ln 2, by a polynomial (minimax, 1.5e-8). k ends up in the low
 * bits of t, from where a shift makes 2^k of it; applied twice, so that subnormal
 * results and overflow come out right. ln x = k ln 2
 * + ln m, m in [sqrt 1/2, sqrt 2) (Cephes logf). sin x = (-1)^k sin r, reduced in
 * double precision for |x| up to 2^20, by libm beyond. */
#define TRANSCENDENT(c)                                                                          \
  FN f32##c exp_f32##c(f32##c x) {                                                               \
    f32##c z = above_f32##c(splat_f32##c(-105.0f), x);                                           \
    z = below_f32##c(splat_f32##c(90.0f), z);                                                    \
    f32##c t = z * 0.72134752044448170f + 12583039.0f, k = t - 12583039.0f;                      \
    f32##c r = z - k * 1.38671875f;                                                              \
    r = r - k * -4.24388880e-4f;                                                                 \
    f32##c p = 1.961160015e-4f * r + 1.410447061e-3f;                                            \
    p = p * r + 8.336103521e-3f;                                                                 \
    p = p * r + 4.166126996e-2f;                                                                 \
    p = p * r + 1.666661352e-1f;                                                                 \
    p = p * r + 5.000003576e-1f;                                                                 \
    p = p * r + 1.0f;                                                                            \
    p = p * r + 1.0f;                                                                            \
    f32##c root = (f32##c)((u32##c)t << 23);                                                     \
    return p * root * root;                                                                      \
  }                                                                                              \
  FN f32##c log_f32##c(f32##c x) {                                                               \
    f32##c zero = {0}, one = zero + 1.0f, inf = zero + __builtin_inff();                         \
    m##c tiny = TO(m##c, x < 1.17549435e-38f);                                                   \
    f32##c scaled = x * select_f32##c(tiny, zero + 8388608.0f, one);                             \
    i32##c shifted = (i32##c)scaled - 0x3f3504f3, k = shifted >> 23;                             \
    f32##c m = (f32##c)((shifted & 0x7fffff) + 0x3f3504f3) - 1.0f;                               \
    f32##c e = TO(f32##c, k) - select_f32##c(tiny, zero + 23.0f, zero), s = m * m;               \
    f32##c p = 7.0376836292e-2f * m - 1.1514610310e-1f;                                          \
    p = p * m + 1.1676998740e-1f;                                                                \
    p = p * m - 1.2420140846e-1f;                                                                \
    p = p * m + 1.4249322787e-1f;                                                                \
    p = p * m - 1.6668057665e-1f;                                                                \
    p = p * m + 2.0000714765e-1f;                                                                \
    p = p * m - 2.4999993993e-1f;                                                                \
    p = p * m + 3.3333331174e-1f;                                                                \
    p = p * m * s + e * -2.12194440e-4f - 0.5f * s;                                              \
    f32##c v = m + p + e * 0.693359375f;                                                         \
    v = select_f32##c(TO(m##c, x == inf), inf, v);                                               \
    v = select_f32##c(TO(m##c, x == zero), -inf, v);                                             \
    return select_f32##c(TO(m##c, x >= zero), v, zero + __builtin_nanf(""));                     \
  }                                                                                              \
  FN f32##c sin_f32##c(f32##c x) {                                                               \
    f32##c v;                                                                                    \
    UNROLL for (int l = 0; l < LANES_##c; l++) v[l] = near_sin(x[l]);                            \
    return v;                                                                                    \
  }
FN f32 near_sin(f32 x) {
  if (!(x < 1048576.0f && x > -1048576.0f)) return MATH(sinf)(x);
  f64 shifted = (f64)x * 0.318309886183790672 + 6755399441055744.0;
  f64 k = shifted - 6755399441055744.0, w = (f64)x - k * 3.14159265160560607910;
  u64 bits;
  COPY(&bits, &shifted, 8);
  f32 r = (f32)(w - k * 1.98418714791870343106e-9), s = r * r;
  f32 p = 2.6083159809786593541503e-6f * s - 1.981069071916863322258e-4f;
  p = p * s + 8.33307858556509017944e-3f;
  p = p * s - 1.6666659712791442871e-1f;
  p = p * s * r + r;
  return x == 0.0f ? x : bits & 1 ? -p : p;
}
TRANSCENDENT(n)
TRANSCENDENT(w)
/* Between two passes over a row: a call would cost the registers of both. */
FN f32 exp_f32(f32 x) { return exp_f32n(splat_f32n(x))[0]; }
FN f32 log_f32(f32 x) { return log_f32n(splat_f32n(x))[0]; }

FN i32 nearest_i32(i64 x) {
  return x > 2147483647 ? 2147483647 : x < -2147483647 - 1 ? -2147483647 - 1 : (i32)x;
}
/* Floats to integers: what does not fit becomes the minimum; narrow integers go by
 * way of int32, uint32 by way of int64. */
FN i32 i32_of(f64 x) { return x >= -2147483648.0 && x < 2147483648.0 ? (i32)x : -2147483647 - 1; }
FN i64 i64_of(f64 x) { return x >= -0x1p63 && x < 0x1p63 ? (i64)x : -0x7fffffffffffffff - 1; }
FN u64 u64_of(f64 x) { return !(x >= 0x1p63) ? (u64)i64_of(x) : x < 0x1p64 ? (u64)x : 0; }
#define CONVERT(R, T, by) FN R R##_of_##T(T x) { return (R)by((f64)x); }
#define CONVERTS(T) CONVERT(i8, T, i32_of) CONVERT(u8, T, i32_of) CONVERT(i16, T, i32_of)        \
  CONVERT(u16, T, i32_of) CONVERT(i32, T, i32_of) CONVERT(u32, T, i64_of)                        \
  CONVERT(i64, T, i64_of) CONVERT(u64, T, u64_of)
CONVERTS(f32)
CONVERTS(f64)
#define CONVERT_EACH(R, T, c)                                                                    \
  FN R##c R##_of_##T##c(T##c x) {                                                                \
    R##c v;                                                                                      \
    UNROLL for (int l = 0; l < LANES_##c; l++) v[l] = R##_of_##T(x[l]);                          \
    return v;                                                                                    \
  }
#define CONVERTS_EACH(T, c) CONVERT_EACH(i8, T, c) CONVERT_EACH(u8, T, c) CONVERT_EACH(i16, T, c)\
  CONVERT_EACH(u16, T, c) CONVERT_EACH(i32, T, c) CONVERT_EACH(u32, T, c)
CONVERTS_EACH(f32, n)
CONVERTS_EACH(f32, w)
CONVERT_EACH(i64, f32, w) CONVERT_EACH(u64, f32, w)
CONVERTS_EACH(f64, w) CONVERT_EACH(i64, f64, w) CONVERT_EACH(u64, f64, w)

/* An index must lie in 0 .. bound-1; else the kernel fails, and 0 stands for it. */
FN i64 check(tg_c_call *call, i64 x, i64 bound) {
  if (x >= 0 && x < bound) return x;
  if (!call->failed) call->failed = 1, call->bad_index = x, call->bad_bound = bound;
  return 0;
}
#define CHECKS(T, c)                                                                             \
  FN T##c check_##T##c(tg_c_call *call, T##c x, i64 bound, int count) {                          \
    T##c v = {0};                                                                                \
    UNROLL for (int l = 0; l < count; l++) v[l] = (T)check(call, x[l], bound);                   \
    return v;                                                                                    \
  }
CHECKS(i32, n)
CHECKS(i32, w)
CHECKS(i64, w)

/* Threefry 2x32, 20 rounds (Salmon et al. 2011); low words come first. */
FN u64 threefry_u64(u64 counter, u64 key) {
  u32 k[3] = {(u32)key, (u32)(key >> 32), 0};
  u32 x = (u32)counter + k[0], y = (u32)(counter >> 32) + k[1];
  const int by[8] = {13, 15, 26, 6, 17, 29, 16, 24};
  k[2] = k[0] ^ k[1] ^ 0x1BD11BDAu;
#pragma GCC unroll 20
  for (int round = 0; round < 20; round++) {
    x += y;
    y = (y << by[round % 8] | y >> (32 - by[round % 8])) ^ x;
    if (round % 4 != 3) continue;
    u32 s = (u32)round / 4 + 1;
    x += k[s % 3];
    y += k[(s + 1) % 3] + s;
  }
  return (u64)y << 32 | x;
}
FN u64w threefry_u64w(u64w counter, u64w key) {
  u64w low = (u64w){0} + 0xffffffffu, k[3] = {key & low, key >> 32, key};
  u64w x = ((counter & low) + k[0]) & low, y = ((counter >> 32) + k[1]) & low;
  const int by[8] = {13, 15, 26, 6, 17, 29, 16, 24};
  k[2] = (k[0] ^ k[1] ^ 0x1BD11BDAu) & low;
#pragma GCC unroll 20
  for (int round = 0; round < 20; round++) {
    x = (x + y) & low;
    y = ((y << by[round % 8] | y >> (32 - by[round % 8])) & low) ^ x;
    if (round % 4 != 3) continue;
    u64 s = (u64)round / 4 + 1;
    x = (x + k[s % 3]) & low;
    y = (y + k[(s + 1) % 3] + s) & low;
  }
  return y << 32 | x;
}

#define LATER static __attribute__((noinline, unused))

/* Is a block of sums finite? x * 0 is 0, or NaN. */
LATER _Bool finite_sums(const f32 *sums, i64 rows, i64 columns, i64 ld) {
  f32n found = {0};
  for (i64 i = 0; i < rows; i++, sums += ld) {
    i64 j = 0;
    for (; j + LANES_n <= columns; j += LANES_n) found += load_f32n(sums + j) * 0;
    for (; j < columns; j++) found[0] += sums[j] * 0;
  }
  return sum_f32n(found) == 0;
}

/* ---- Sums over a sliding window by their values at 6 points (winograd.c) */

/* An image h x w, its channels `apart`, its rows `down`, as H x W x C, zeros beyond. */
LATER void winograd_image(const f32 *from, i64 apart, i64 down, i64 C, i64 h, i64 w, f32 *to,
                          i64 H, i64 W) {
  if (h < H || w < W) __builtin_memset(to, 0, (u64)(H * W * C) * sizeof *to);
  for (i64 y = 0; y < h; y++, from += down, to += W * C)
    for (i64 c = 0; c < C; c += LANES_n)
      for (i64 x = 0; x < w; x += LANES_n) {
        if (c + LANES_n <= C && x + LANES_n <= w) {
          turn_f32n(from + c * apart + x, apart, to + x * C + c, C);
          continue;
        }
        for (i64 i = x; i < w && i < x + LANES_n; i++)
          for (i64 k = c; k < C && k < c + LANES_n; k++) to[i * C + k] = from[k * apart + i];
      }
}

/* The points are 0, +-ROOT / 2, +-ROOT and infinity: of those with cheap sums the ones
 * whose powers stay nearest to 1, so rounding errors stay small. */
#define ROOT 1.41421356237309505f

/* 6 numbers of the image: the polynomial whose products with windows are results. */
FN void winograd_values(const f32n *d, f32n *v) {
  const f32n even = d[4] - 2 * d[2], odd = ROOT / 2 * (d[3] - 2 * d[1]);
  const f32n even2 = d[4] - 0.5f * d[2], odd2 = ROOT * (d[3] - 0.5f * d[1]);
  v[0] = d[0] - 2.5f * d[2] + d[4];
  v[1] = even + odd;
  v[2] = even - odd;
  v[3] = even2 + odd2;
  v[4] = even2 - odd2;
  v[5] = d[1] - 2.5f * d[3] + d[5];
}

/* A row of tiles, `out` apart, of the image W x C at x: values of point q of tile t
 * at v + q * plane + t * C. line: room for 6 rows. */
LATER void winograd_tiles(const f32 *x, i64 W, i64 C, i64 out, i64 tiles, f32 *line, f32 *v,
                          i64 plane) {
  const i64 row = W * C, room = row + LANES_n;
  f32n d[6], u[6];
  for (i64 i = 0; i < row; i += LANES_n) {
    UNROLL for (int k = 0; k < 6; k++) d[k] = load_f32n(x + k * row + i);
    winograd_values(d, u);
    UNROLL for (int k = 0; k < 6; k++) store_f32n(line + k * room + i, u[k]);
  }
  for (i64 i = 0; i < 6; i++, line += room, v += 6 * plane)
    for (i64 t = 0; t < tiles; t++)
      for (i64 c = 0; c < C; c += LANES_n) {
        UNROLL for (int k = 0; k < 6; k++) d[k] = load_f32n(line + (t * out + k) * C + c);
        winograd_values(d, u);
        UNROLL for (int k = 0; k < 6; k++) store_f32n(v + k * plane + t * C + c, u[k]);
      }
}

/* r taps of a window at the points, with the factors that interpolation needs. */
FN void winograd_taps(const f32n *g, int r, f32n *u) {
  f32n even = g[0] + 0.5f * g[2], odd = g[1], even2 = g[0] + 2 * g[2], odd2 = g[1];
  if (r > 3) odd += 0.5f * g[3], odd2 += 2 * g[3];
  if (r > 4) even += 0.25f * g[4], even2 += 4 * g[4];
  odd *= ROOT / 2;
  odd2 *= ROOT;
  u[0] = g[0];
  u[1] = (even + odd) * (-2 / 3.0f);
  u[2] = (even - odd) * (-2 / 3.0f);
  u[3] = (even2 + odd2) * (1 / 6.0f);
  u[4] = (even2 - odd2) * (1 / 6.0f);
  u[5] = g[r - 1];
}

/* A panel of windows: point q of channel c at to + (q * C + c) * panel. */
#define WINDOW(r)                                                                                \
  LATER void winograd_window_##r(const f32 *g, i64 down, i64 right, i64 apart, i64 C, i64 panel, \
                                 f32 *to) {                                                      \
    f32n row[6][6], tap[6], u[6];                                                                \
    for (i64 c = 0; c < C; c++, g += apart)                                                      \
      for (i64 n = 0; n < panel; n += LANES_n) {                                                 \
        for (int x = 0; x < r; x++) {                                                            \
          UNROLL for (int y = 0; y < r; y++) tap[y] = load_f32n(g + y * down + x * right + n);   \
          winograd_taps(tap, r, row[x]);                                                         \
        }                                                                                        \
        for (int y = 0; y < 6; y++) {                                                            \
          UNROLL for (int x = 0; x < r; x++) tap[x] = row[x][y];                                 \
          winograd_taps(tap, r, u);                                                              \
          UNROLL for (int x = 0; x < 6; x++)                                                     \
            store_f32n(to + ((y * 6 + x) * C + c) * panel + n, u[x]);                            \
        }                                                                                        \
      }                                                                                          \
  }
WINDOW(3)
WINDOW(4)
WINDOW(5)

/* Results from the values of their polynomial. */
FN void winograd_interpolate(const f32n *v, int out, f32n *y) {
  const f32n even = v[1] + v[2], even2 = v[3] + v[4];
  const f32n odd = ROOT / 2 * (v[1] - v[2]), odd2 = ROOT * (v[3] - v[4]);
  y[0] = v[0] + even + even2;
  y[1] = odd + odd2;
  if (out > 2) y[2] = 0.5f * even + 2 * even2;
  if (out > 3) y[3] = 0.5f * odd + 2 * odd2;
  y[out - 1] += v[5];
}

/* A row of tiles, each out x out results of `panel` filters, into rows of W results
 * that are ld numbers each; of the tiles' rows only `rows` count. Are all finite? */
#define RESULTS(out)                                                                             \
  LATER _Bool winograd_results_##out(const f32 *v, i64 plane, i64 tiles, i64 panel, f32 *to,     \
                                     i64 ld, i64 W, i64 rows) {                                  \
    f32n d[6], half[out][6], y[out], found = {0}; /* x * 0 is 0, or NaN */                       \
    for (i64 t = 0; t < tiles; t++)                                                              \
      for (i64 n = 0; n < panel; n += LANES_n) {                                                 \
        for (int x = 0; x < 6; x++) {                                                            \
          UNROLL for (int k = 0; k < 6; k++)                                                     \
            d[k] = load_f32n(v + (k * 6 + x) * plane + t * panel + n);                           \
          winograd_interpolate(d, out, y);                                                       \
          UNROLL for (int k = 0; k < out; k++) half[k][x] = y[k];                                \
        }                                                                                        \
        for (int k = 0; k < out && k < rows; k++) {                                              \
          winograd_interpolate(half[k], out, y);                                                 \
          for (int l = 0; l < out && t * out + l < W; l++) {                                     \
            store_f32n(to + (k * W + t * out + l) * ld + n, y[l]);                               \
            found += y[l] * 0;                                                                   \
          }                                                                                      \
        }                                                                                        \
      }                                                                                          \
    return sum_f32n(found) == 0;                                                                 \
  }
RESULTS(2)
RESULTS(3)
RESULTS(4)
