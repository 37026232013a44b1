/* c/contract: the plan of a sum of products, made by contract.c and image.c (lanes
 * along an image), written by panel.c (operands), winograd.c (windows) and tile.c (the
 * rest). */
#ifndef TG_C_CONTRACT_H
#define TG_C_CONTRACT_H

#include "backend/c/render.h"

/* Ranges read as one index, outermost first. */
typedef struct ct_space {
  int count, range[TG_MAX_RANGES];
  int64_t size[TG_MAX_RANGES], stride[TG_MAX_RANGES]; /* of each in the index */
  int64_t total;
} ct_space;

/* A coordinate of a staged operand: ranges along which it moves alike. */
typedef struct ct_axis {
  int range;          /* the one that loops stand for */
  uint64_t ranges;    /* all of them; the others are 0 while it is staged */
  int64_t low, size;  /* values of that range's variable: from low on */
  bool part;          /* M's first range: the copy holds only the job's part of it */
  int64_t stride;     /* in the copy */
} ct_axis;

typedef struct ct_side {
  int32_t value;      /* the instruction */
  bool in_place;      /* a load that can be read where it lies */
  int slot;
  ct_space space;     /* M or N */
  int axes;           /* staged: the copy */
  ct_axis axis[TG_MAX_RANGES];
  int64_t copy;       /* its elements */
  int64_t *row;       /* along which the tile reads: of the memory, or of the copy */
} ct_side;

/* Sums over a window of taps x taps that slides (winograd.c). */
typedef struct ct_winograd {
  int taps, out;         /* results per tile and direction; 0: summed plainly */
  int y, x, c;           /* the inner folds: along M's ranges, and the channels */
  int64_t channels;
  int64_t across;        /* tiles side by side */
  int64_t at_once, tiles; /* rows of tiles; their tiles, filled up to whole products */
  int64_t high, wide;    /* of the job's image */
  int64_t plane;         /* from one point's tiles to the next's */
  int64_t at_rows, at_image, at_line, at_tiles, at_sums, at_window;
} ct_winograd;

/* Where lanes run (image.c for the last two). */
typedef enum ct_lanes {
  CT_ALONG_N,      /* along panels of B */
  CT_ALONG_IMAGE,  /* along N, which are rows and columns of an image: over its copy */
  CT_ALONG_K       /* along K: each sum is a vector until the job's end */
} ct_lanes;

typedef struct ct_plan {
  tg_dtype dtype;
  ct_lanes lanes;
  int64_t pitch;          /* from row to row of the image's copy, and of what goes along */
  int64_t n;              /* lanes along N: its total, or those of the image's rows */
  int32_t reduce;
  ct_side side[2];        /* 0: A, broadcast along M; 1: B, vectors along N */
  ct_space batch, outer, inner; /* the folds: one step of `outer` after the other */
  int rows, vectors, panel; /* of a tile; panel = vectors * width */
  int64_t cut, cuts;        /* a panel is used cut by cut of its first fold */
  int64_t width, ld;      /* lanes; row length of the block of sums */
  int64_t across;         /* N, filled up to whole panels */
  int64_t chunk, chunks;  /* of M's first range, per block */
  int64_t panels, parts;  /* panels of B per block; blocks along N */
  int64_t block, padded;  /* rows of a block; with those that fill up tiles */
  int64_t pieces, per_piece; /* of the outer folds */
  bool shared;            /* B is packed once, by jobs of its own */
  int lane;               /* of the epilogue */
  bool turned;            /* its lanes run along M: the block is transposed */
  int64_t at_rows, at_sums, at_turned, at_copy, at_panel, at_image; /* own scratch */
  int64_t at_shared, at_pieces;                           /* shared scratch */
  int64_t work;           /* multiplications */
  int64_t row_memory[2][TG_MAX_RANGES + 1];
  bool *needed, *epilogue;
  int64_t at_columns, at_dots, length; /* lanes along K: own scratch; a row's elements */
  ct_winograd winograd;
} ct_plan;

bool tg_c_contract_plan(c_render *r, ct_plan *p, c_kernel *k);
void tg_c_contract_write(c_render *r, ct_plan *p, c_kernel *k);
/* Fewer multiplications for a window? How many times fewer; 0: no. Then what it needs of
 * the job's scratch. */
double tg_c_winograd_plan(const c_render *r, ct_plan *p);
void tg_c_winograd_layout(ct_plan *p, c_kernel *k, int64_t (*take)(int64_t *at, int64_t bytes),
                          int64_t *own);
/* The plan of its tile; code that evaluates a panel of B, and that fills `sums` from `a`. */
void tg_c_winograd_tile(const ct_plan *p, ct_plan *tile);
void tg_c_winograd_window(c_render *r, const ct_plan *p);
void tg_c_winograd_sums(c_render *r, const ct_plan *p);
/* Lanes along an image, where that costs less than `plain` nanoseconds per multiplication,
 * or along K, for few sums of many terms. false: it is not better; the plan is as before. */
bool tg_c_image_plan(const bi_code *code, ct_plan *p, double plain);
bool tg_c_dots_plan(const bi_code *code, ct_plan *p);
void tg_c_dots_layout(ct_plan *p, int64_t (*take)(int64_t *at, int64_t bytes), int64_t *own);
void tg_c_dots_function(c_render *r, const ct_plan *p); /* the tile, k<number>_tile */
/* Before the outer folds; for one step of them, from `a` and `image`; after them. */
void tg_c_dots_begin(c_render *r, const ct_plan *p);
void tg_c_dots_tiles(c_render *r, const ct_plan *p);
void tg_c_dots_sums(c_render *r, const ct_plan *p);
/* Helpers of contract.c. tg_c_copy plans the copy of a staged side; pitch: between the
 * two innermost axes, if it is more than the inner one's size. */
int64_t tg_c_up(int64_t n, int64_t to);
int tg_c_registers(void); /* sums that a tile holds in registers */
void tg_c_swap(ct_plan *p); /* the sides */
const int64_t *tg_c_store_row(const bi_code *code); /* of the first STORE */
const int64_t *tg_c_load_row(const bi_code *code, const ct_side *side); /* NULL: no affine load */
void tg_c_space_of(const bi_code *code, uint64_t ranges, const int64_t *row, ct_space *s);
void tg_c_copy(const bi_code *code, ct_plan *p, ct_side *side, bool parts, int64_t pitch);
const int64_t *tg_c_main_row(const bi_code *code, const ct_side *side, bool *needed);
/* Code that fills the copy of side s (`copy` of A, `image` of B), or panel j of B at `to`. */
void tg_c_stage(c_render *r, const ct_plan *p, int s);
void tg_c_pack(c_render *r, const ct_plan *p);
/* The folded index of a space as text, times `factor`: "i0 * 24 + i1". */
c_expr tg_c_index(const c_render *r, const ct_space *space, int64_t factor);
/* Variables for a space's ranges from the index in variable `from`. */
void tg_c_split(c_render *r, const ct_space *space, const char *from);
uint64_t tg_c_ranges(const ct_space *space);
/* A row, of which only some ranges count. */
c_expr tg_c_row_of(const c_render *r, const int64_t *row, uint64_t ranges, bool offset);
/* `body` for the vectors of `lane`, whose variable goes from low to high; the last
 * is partial by size %% width. */
void tg_c_lanes(c_render *r, int lane, int64_t size, const char *low, const char *high,
                void (*body)(c_render *r, const ct_plan *p), const ct_plan *p);

#endif
