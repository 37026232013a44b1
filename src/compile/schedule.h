/* compile/schedule: which nodes become memory, and which kernels compute them. */
#ifndef TG_SCHEDULE_H
#define TG_SCHEDULE_H

#include "compile/ir.h"

/* The unrealized graph below some targets, operands before their users. */
typedef struct tg_entry {
  tg_node *node;
  int32_t src[3];    /* entries, or -1 */
  int32_t uses;      /* by nodes of this graph */
  bool target;       /* asked for */
  bool external;     /* someone outside this graph holds it */
  bool stored;       /* becomes memory of its own */
  bool shared;       /* needed in more than one place of the kernels */
  int32_t space;     /* where it is needed: see schedule.c */
  int32_t places;    /* more spaces that it is needed in */
  int32_t reduce;    /* a reduce that its expression contains, or -1 */
  bool sum_chain;    /* its expression is movement over a sum */
  bool epilogue;     /* its expression may follow that reduce in one kernel */
  bool by_row;       /* all its reduces fold the rows of one array: see rows.c */
  bool spread;       /* and it has an element for each element of the rows */
  int32_t stage;     /* reduces that wait for one another below it, at most */
  int32_t reduces;   /* how many, at most */
  int32_t ops, cost, loads, depth; /* of its expression, down to memory */
  int32_t wide;      /* those loads that are not of few elements, expanded */
  int32_t work;      /* what its reduces cost per element */
  int64_t widest;    /* elements of the largest memory it reads */
  int32_t seen;      /* the count that has counted it */
  /* rows.c */
  int32_t row_of, spread_of; /* the reduce whose rows it is about, or -1 */
  bool reads, reduced, heavy; /* memory; after a reduce; more than movement and casts */
  bool rooted;       /* surely stored, or movement over what is */
  bool joins;        /* an expansion that may stay with its reduce */
  bool alone;        /* needed where nothing else goes over its rows */
  int32_t axes;      /* the entry whose axes the loops can follow at best, or -1 */
  int32_t common;    /* the same for all its users, when it is shared */
  int32_t rows[2], other[2]; /* of the spaces it owns: the reduce; the space beside */
  int32_t over[2];   /* and how often a kernel goes over the rows there */
  int32_t counted;   /* the space last counted so for a shared entry */
  int32_t npasses;
  uint64_t passes;   /* over the rows, in which it is needed */
} tg_entry;

typedef struct tg_graph {
  tg_entry *entry;
  int64_t count, room;
  uint64_t id;       /* what its nodes are marked with */
  int32_t *table;    /* buffer -> entry + 1, by hash of the pointer */
  int64_t table_size, buffers;
  int32_t stamp;     /* of the last count */
} tg_graph;

/* Collects the graph. 0, or -1 and nothing to free. Linear, iterative. */
int tg_graph_collect(tg_graph *graph, tg_node *const *targets, int64_t count);
void tg_graph_free(tg_graph *graph);

/* Where each entry is needed (rows.c). Two entries in one space of a kernel share
 * their evaluation. */
void tg_schedule_spaces(tg_graph *graph);
bool tg_schedule_is_memory(const tg_entry *entry); /* by nature: always stored */
/* Whether a sum of this node's sum may be one sum: not if it is rounded in between. */
bool tg_schedule_sums_on(const tg_node *sum);
/* Whether two reduces, or a reduce and an expansion, are about the same rows. */
bool tg_schedule_same_rows(const tg_node *a, const tg_node *b);
/* Whether all kernels that need a shared entry can follow the rows of its reduces. */
bool tg_schedule_followed(const tg_graph *graph, const tg_entry *entry);
/* Whether rows as long as this reduce's are worth going over again. */
bool tg_schedule_rows_fit(const tg_node *reduce, int64_t loads);

/* Whether loops over the axes of `node` can follow the rows of a reduce. */
bool tg_schedule_rows_seam(const tg_node *reduce, const tg_node *node);

/* Sets `stored` on every entry that becomes memory. */
void tg_schedule(tg_graph *graph);

/* Memory that an entry shares instead of computing: a reshape of stored memory.
 * Gives the entry it is the same memory as, or -1. */
int32_t tg_schedule_alias(const tg_graph *graph, int32_t entry);

/* Which stored entries are computed together (group.c): kernel k computes
 * member[first[k]] .. member[first[k + 1] - 1], in an order that can run. Members of
 * equal `base` run in one nest of loops, those over the axes of entry `base`. */
typedef struct tg_groups {
  int32_t *of, *base; /* by entry; -1: no kernel, an input or nothing to do */
  bool *written;      /* by entry; a stored one that is not stays within its kernel */
  bool *one_pass;     /* by base: the reduces of its nest fold the same ranges */
  int32_t *member;
  int64_t *first;
  int64_t count, members;
} tg_groups;
int tg_group(const tg_graph *graph, tg_groups *out); /* 0, or -1 and nothing to free */
void tg_groups_free(tg_groups *groups);

/* A kernel of the groups. inputs[i] is the entry behind slot i; the first `noutputs`
 * are the members. A scatter takes two kernels: `part` 0 copies its base, part 1
 * scatters. 0, or -1. */
typedef struct tg_lowered {
  tg_kernel *kernel;
  tg_kernel *exact;  /* if that assumes slots to be finite: the same without, else NULL */
  int32_t *inputs;
  int64_t input_room;
} tg_lowered;
int tg_lower(const tg_graph *graph, const tg_groups *groups, int64_t kernel, int part,
             tg_lowered *out);

#endif
