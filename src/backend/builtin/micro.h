/* builtin/micro: the inner loop of contractions.
 *
 * A micro-kernel computes a tile of `rows` by `width` results,
 *
 *   c[i * ldc + j] (+)= sum over p < k of a[i][off[p]] * b[p * width + j],
 *
 * in registers. Rows of A are read in place through a table of offsets, so the
 * sliding windows of a convolution need no copy; B is a packed panel.
 */
#ifndef TG_BUILTIN_MICRO_H
#define TG_BUILTIN_MICRO_H

#include <stdbool.h>
#include <stdint.h>

#define BI_MICRO_ROWS 16 /* at most */
#define BI_MICRO_WIDTH 64

typedef void (*bi_micro)(int64_t k, const void *const *a, const int64_t *off, const void *b,
                         void *c, int64_t ldc, bool add);

typedef struct bi_micros {
  int rows;               /* of the largest */
  int width[2];           /* full panels, and half as wide ones for what is left */
  bi_micro kernel[2][BI_MICRO_ROWS + 1]; /* by width and rows */
} bi_micros;

/* For float64 or float32, for this machine. */
const bi_micros *tg_bi_micro_of(bool float64);

#endif
