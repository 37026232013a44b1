/* tests/oracle: cases and values that make_values.py made with PyTorch in
 * double precision. An input is not stored: its elements follow from its number
 * and its shape (oracle_element), here as there. */
#ifndef ORACLE_H
#define ORACLE_H

#include "test.h"

typedef struct oracle_shape {
  int ndim, dim[8];
} oracle_shape;

/* kind: f float, r whole number as float, i int64, b bool, x and y given values
 * (float, int64) at `given`. view: how the tensor is seen: - as made, t with
 * its axes reversed, f flipped, s cut out of a larger one, e expanded. */
typedef struct oracle_input {
  char kind, view;
  oracle_shape shape;
  double low, high;
  int given;
} oracle_input;

/* flags: g with gradients, h also in 16 bits, c gradient check. At `at` the
 * elements of the result, then of the gradient of each float input. */
typedef struct oracle_case {
  const char *name;
  int number;
  struct { int count, item[12]; } args;
  int ninputs;
  oracle_input input[6];
  oracle_shape out;
  char dtype; /* of the result: f like the inputs, i int64, b bool */
  const char *flags;
  int at;
} oracle_case;

typedef struct oracle_number {
  int64_t i; /* integers (uint64 by its bits) and bool */
  double f;  /* floats */
} oracle_number;
/* A value of dtype `from` and what it becomes in each of the 13 dtypes. */
typedef struct oracle_cast {
  int from;
  oracle_number value, result[13];
} oracle_cast;

extern const oracle_case oracle_cases[];
extern const int oracle_case_count;
extern const double oracle_values[];
extern const oracle_cast oracle_casts[];
extern const int oracle_cast_count;

double oracle_element(const oracle_input *input, int number, int64_t i);
/* Runs all cases of that name in every dtype; counts as checks. */
typedef tg_tensor *(*oracle_op)(tg_tensor *const *x, const oracle_case *c);
void oracle_run(const char *name, oracle_op op);

#endif
