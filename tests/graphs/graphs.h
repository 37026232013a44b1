/* tests/graphs: random graphs, each computed in several ways that must agree.
 *
 * A *graph* is a straight line of steps. Step i makes value i from earlier values: a
 * row of the table in ops.inc, its operands by number, and integer and float arguments;
 * leaves carry their elements. The parts, in the order in which data goes:
 *
 *   values.c   elements of any dtype; what leaves are filled with
 *   ops.c      the table: how a step is done, and how it reads in C
 *   facts.c    what is known of a value: are its bits the same however it is computed?
 *   choose.c, choose_more.c   operands and arguments for each row of the table
 *   make.c     a graph from a seed
 *   run.c      a graph computed in one way (a *variant*), in a child process
 *   compare.c  two ways against each other, with an honest bound
 *   shrink.c   a failing graph, cut down
 *   print.c    a graph as a C program
 *   hunt.c     all of these, batch by batch
 *   fuzz.c     the program build/fuzz-graphs; tests/test_graphs.c does the same in `make test`
 */
#ifndef GRAPHS_H
#define GRAPHS_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "teenygrad/teenygrad.h"

#define GRAPH_STEPS 48
#define GRAPH_ITEMS 6

/* What is known of a value (facts.c). */
typedef struct graph_fact {
  tg_shape shape;
  tg_dtype dtype;
  bool same;      /* the same bits in every variant */
  bool zero_sign; /* the signs of its zeros, too */
  bool known;     /* no NaN in it, whose bits nobody promises */
  double quantum; /* each finite element is a multiple of it (0: of nothing known) ... */
  double most;    /* ... and no larger than this */
} graph_fact;

typedef struct graph_step {
  int op;
  int ins, in[4];
  tg_ints list[2];
  int64_t whole[3];
  double real[3];
  tg_dtype dtype;
  int items;
  int64_t item[GRAPH_ITEMS][4]; /* of an index: kind, start, stop, step; BY: operand */
  void *data;                   /* a leaf's elements, owned */
  bool grad;                    /* a leaf that wants its gradient */
  bool replaced;                /* the value was assigned to: later steps must not use it */
  graph_fact fact;
} graph_step;

typedef struct graph {
  uint64_t seed;
  int count;
  bool grads;
  int loss; /* of the sinks: 0 sums, 1 means, 2 sums of squares */
  graph_step step[GRAPH_STEPS];
} graph;

/* ---- values.c */
uint64_t graph_random(uint64_t *state);
int64_t graph_below(uint64_t *state, int64_t n);
bool graph_chance(uint64_t *state, int percent);
double graph_get(const void *data, tg_dtype dtype, int64_t i);
void graph_put(void *data, tg_dtype dtype, int64_t i, double value);
double graph_epsilon(tg_dtype dtype);
double graph_largest(tg_dtype dtype);
int64_t graph_count(const tg_shape *shape);

typedef enum graph_content {
  GRAPH_SMALL,    /* whole numbers -4 .. 4 */
  GRAPH_EIGHTHS,  /* multiples of 1/8 in -2 .. 2 */
  GRAPH_REALS,    /* any in -3 .. 3 */
  GRAPH_POSITIVE, /* multiples of 1/8 in 1/8 .. 2 */
  GRAPH_WILD,     /* with inf, NaN, 0 and -0 among them */
  GRAPH_EXTREME,  /* the largest, smallest, subnormal */
  GRAPH_BITS,     /* 0 and 1 */
  GRAPH_PLACES,   /* indices below `range`, some negative */
  GRAPH_UPWARD,   /* indices below `range` */
  GRAPH_ONES,
  GRAPH_COUNTING  /* 0 1 2 ... 7 0 1 ... */
} graph_content;
/* New memory, filled; free() it. */
void *graph_fill(uint64_t *state, tg_dtype dtype, int64_t count, graph_content content,
                 int64_t range);

/* ---- ops.c */
typedef struct graph_maker graph_maker;
typedef enum graph_kind {
  GRAPH_LEAF,
  GRAPH_CONST, /* made from numbers */
  GRAPH_DRAW,  /* random bits, the same everywhere */
  GRAPH_MOVE,  /* elements elsewhere, or one of the operands' */
  GRAPH_ADD,
  GRAPH_MUL,
  GRAPH_ARITH, /* other exact arithmetic */
  GRAPH_MAX,   /* maxima and minima: -0 and 0 are equal */
  GRAPH_SUM,   /* sums of elements */
  GRAPH_FUNC,  /* rounds */
  GRAPH_JUMP,  /* jumps: operands must be exact; gives whole numbers */
  GRAPH_WHERE, /* moves operands 1 and 2, jumps with operand 0 */
  GRAPH_CAST,
  GRAPH_BITCAST
} graph_kind;

typedef struct graph_op {
  const char *name, *text;
  graph_kind kind;
  tg_tensor *(*apply)(const graph_step *s, tg_tensor *const *in);
  bool (*choose)(graph_maker *m, graph_step *s);
  unsigned want; /* of the operands: GRAPH_W_ ... */
  int weight;
} graph_op;
extern const graph_op graph_ops[];
extern const int graph_op_count;
int graph_op_named(const char *name);
/* Names of rows whose text print.c writes itself. */
bool graph_is(const graph_step *s, const char *name);

enum {
  GRAPH_W_FLOAT = 1,
  GRAPH_W_WHOLE = 2,  /* integers */
  GRAPH_W_SAME = 4,   /* exact */
  GRAPH_W_SIGNED = 8, /* with the signs of zeros */
  GRAPH_W_AXIS = 16,  /* at least one axis */
  GRAPH_W_SOME = 32,  /* at least one element */
  GRAPH_W_LITTLE = 64, /* few elements */
  GRAPH_W_KNOWN = 128, /* no NaN */
  GRAPH_W_PAIR = 256,  /* at least two axes */
  GRAPH_W_GRID = 512,  /* a quantum is known */
  GRAPH_W_MANY = 1024, /* two elements at least */
  GRAPH_W_PLAIN = 2048 /* the graph has no gradients */
};

/* ---- facts.c */
/* Sets the facts of step i, made as `t`; false when the step jumps with what is not exact. */
bool graph_learn(graph *g, int i, const tg_tensor *t);
/* Builds the whole graph and learns all facts; false when that fails. */
bool graph_learn_all(graph *g);

/* ---- choose.c, choose_more.c, make.c */
struct graph_maker {
  graph *g;
  uint64_t state;
  tg_tensor *value[GRAPH_STEPS];
  bool used[GRAPH_STEPS];
  int big; /* how many large values there are */
};
tg_dtype graph_some_dtype(graph_maker *m, unsigned want);
int graph_pick(graph_maker *m, unsigned want);
int graph_partner(graph_maker *m, int with, unsigned want);
int graph_leaf(graph_maker *m, tg_dtype dtype, const tg_shape *shape, graph_content content,
               int64_t range);
int graph_some_leaf(graph_maker *m, tg_dtype dtype, const tg_shape *shape, unsigned want);
/* Does the step and appends it: its number, or -1. */
int graph_append(graph_maker *m, graph_step *s);
/* The row chosen, its operands too. */
int graph_grow(graph_maker *m, int op);
bool graph_idiom(graph_maker *m, int which);
double graph_some_number(graph_maker *m);
int graph_some_axis(graph_maker *m, int value);
#define GRAPH_CHOOSER(name) bool graph_choose_##name(graph_maker *m, graph_step *s)
#define GRAPH_FACT(m, i) (&(m)->g->step[i].fact)
#define GRAPH_SHAPE(m, i) (&GRAPH_FACT(m, i)->shape)
GRAPH_CHOOSER(one);

/* Seeds from here on give graphs of one idiom alone, seed % GRAPH_IDIOMS. */
#define GRAPH_IDIOM_SEED ((uint64_t)1 << 40)
enum { GRAPH_IDIOMS = 8 };
void graph_make(graph *g, uint64_t seed);
void graph_free(graph *g);
void graph_copy(graph *to, const graph *from);
bool graph_uses(const graph *g, int step, int value);
/* The values nobody uses. */
int graph_sinks(const graph *g, int *sinks);

/* ---- run.c */
typedef struct graph_variant {
  const char *name, *device, *jit;
  bool realized; /* each value is, and each gradient is memory */
  bool together; /* many graphs in one schedule */
  int noise;     /* not 0: rounding errors are put in, with this seed */
} graph_variant;
enum { GRAPH_VARIANTS = 6 };
extern const graph_variant graph_variants[GRAPH_VARIANTS];

typedef struct graph_result {
  int status; /* 0 done, 1 an error, 2 the process died */
  int failed_at, failure;
  char error[200];
  int outs, sinks; /* the sinks' values, then the leaves' gradients */
  int of[GRAPH_STEPS + 16];
  tg_dtype dtype[GRAPH_STEPS + 16];
  int64_t bytes[GRAPH_STEPS + 16];
  void *data[GRAPH_STEPS + 16];
} graph_result;
void graph_evaluate(const graph *g, int count, const graph_variant *v, graph_result *results);
void graph_result_free(graph_result *r);

/* ---- compare.c */
/* Results of a graph with rounding errors put in, made when they are first needed. */
enum { GRAPH_NOISES = 4 };
typedef struct graph_noise {
  bool made;
  graph_result r[GRAPH_NOISES];
} graph_noise;
void graph_noise_free(graph_noise *n);
/* NULL, or what differs between the first variant's result and another's (in static memory). */
const char *graph_differ(const graph *g, const graph_result *base,
                         const graph_result *other, graph_noise *noise);
/* Runs both and compares. */
const char *graph_fails(const graph *g, const graph_variant *v);

/* ---- shrink.c, print.c */
void graph_shrink(graph *g, const graph_variant *v, double seconds);
void graph_print(FILE *to, const graph *g, const graph_variant *v);
double graph_clock(void);

/* ---- hunt.c */
typedef struct graph_tally {
  int64_t graphs, evaluated[GRAPH_VARIANTS], errors, failures, steps;
  int64_t *op, dtype[TG_DTYPE_COUNT];
  double shrink; /* seconds for each failing graph ... */
  int programs;  /* ... of so many; others have one line */
} graph_tally;
/* `count` graphs from `seed` on, in the variants whose bit is set in `which`; failing
 * ones are cut down and printed to `to`. The number of failing ones. */
int graph_hunt(uint64_t seed, int count, unsigned which, FILE *to, graph_tally *tally);

#endif
