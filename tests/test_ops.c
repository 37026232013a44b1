/* Every operation, one line each: OP(name, expression of x[0], x[1] ... and of
 * the case's integers A(0), A(1) ...). The line runs all cases `name` of
 * tests/oracle/make_values.py, where the same operation stands in PyTorch:
 * forward and gradients in float32 and float64 against its values, in float16
 * and bfloat16 against float32, and a gradient check. */
#include "oracle/oracle.h"

#define OP(name, expression)                                                  \
  static tg_tensor *op_##name(tg_tensor *const *x, const oracle_case *c) {    \
    (void)x, (void)c;                                                         \
    return expression;                                                        \
  }                                                                           \
  TEST(op_##name) { oracle_run(#name, op_##name); }

#define A(i) (c->args.item[i])
#define Q(i) (c->args.item[i] / 4.0) /* an option in quarters */
#define N (c->args.count)
#define REST(i) list(c, (i), c->args.count - (i))

/* n integers of the case from number `from` on. */
static tg_ints list(const oracle_case *c, int from, int n) {
  tg_ints out = {.ndim = n};
  for (int i = 0; i < n; i++) out.dim[i] = c->args.item[from + i];
  return out;
}

/* ---- data */
OP(cast_float, tg_cast(tg_cast(x[0], TG_FLOAT64), tg_dtype_of(x[0])))
OP(contiguous, tg_contiguous(x[0]))
OP(contiguous_backward, tg_contiguous_backward(x[0]))

/* ---- unary */
OP(neg, tg_neg(x[0]))
OP(log, tg_log(x[0]))
OP(log2, tg_log2(x[0]))
OP(exp, tg_exp(x[0]))
OP(exp2, tg_exp2(x[0]))
OP(relu, tg_relu(x[0]))
OP(sigmoid, tg_sigmoid(x[0]))
OP(sin, tg_sin(x[0]))
OP(cos, tg_cos(x[0]))
OP(tan, tg_tan(x[0]))
OP(sqrt, tg_sqrt(x[0]))
OP(rsqrt, tg_rsqrt(x[0]))
OP(trunc, tg_trunc(x[0]))
OP(ceil, tg_ceil(x[0]))
OP(floor, tg_floor(x[0]))
OP(square, tg_square(x[0]))
OP(clip, tg_clip(x[0], Q(0), Q(1)))
OP(abs, tg_abs(x[0]))
OP(sign, tg_sign(x[0]))
OP(reciprocal, tg_reciprocal(x[0]))
OP(elu, tg_elu(x[0], Q(0)))
OP(celu, tg_celu(x[0], Q(0)))
OP(swish, tg_swish(x[0]))
OP(silu, tg_silu(x[0]))
OP(relu6, tg_relu6(x[0]))
OP(hardswish, tg_hardswish(x[0]))
OP(tanh, tg_tanh(x[0]))
OP(sinh, tg_sinh(x[0]))
OP(cosh, tg_cosh(x[0]))
OP(atanh, tg_atanh(x[0]))
OP(asinh, tg_asinh(x[0]))
OP(acosh, tg_acosh(x[0]))
OP(hardtanh, tg_hardtanh(x[0], Q(0), Q(1)))
OP(gelu, tg_gelu(x[0]))
OP(quick_gelu, tg_quick_gelu(x[0]))
OP(leakyrelu, tg_leakyrelu(x[0], Q(0)))
OP(mish, tg_mish(x[0]))
OP(softplus, tg_softplus(x[0], Q(0)))
OP(softsign, tg_softsign(x[0]))

/* ---- binary and ternary */
OP(add, tg_add(x[0], x[1]))
OP(sub, tg_sub(x[0], x[1]))
OP(mul, tg_mul(x[0], x[1]))
OP(div, tg_div(x[0], x[1]))
OP(pow, tg_pow(x[0], x[1]))
OP(maximum, tg_maximum(x[0], x[1]))
OP(minimum, tg_minimum(x[0], x[1]))
OP(lt, tg_lt(x[0], x[1]))
OP(gt, tg_gt(x[0], x[1]))
OP(ge, tg_ge(x[0], x[1]))
OP(le, tg_le(x[0], x[1]))
OP(ne, tg_ne(x[0], x[1]))
OP(eq, tg_eq(x[0], x[1]))
OP(add_number, tg_add(x[0], Q(0)))
OP(number_add, tg_add(Q(0), x[0]))
OP(sub_number, tg_sub(x[0], Q(0)))
OP(number_sub, tg_sub(Q(0), x[0]))
OP(mul_number, tg_mul(x[0], Q(0)))
OP(number_mul, tg_mul(Q(0), x[0]))
OP(div_number, tg_div(x[0], Q(0)))
OP(number_div, tg_div(Q(0), x[0]))
OP(pow_number, tg_pow(x[0], Q(0)))
OP(number_pow, tg_pow(Q(0), x[0]))
OP(maximum_number, tg_maximum(x[0], Q(0)))
OP(number_maximum, tg_maximum(Q(0), x[0]))
OP(minimum_number, tg_minimum(x[0], Q(0)))
OP(number_minimum, tg_minimum(Q(0), x[0]))
OP(lt_number, tg_lt(x[0], 1))
OP(number_lt, tg_lt(1, x[0]))
OP(gt_number, tg_gt(x[0], 1))
OP(number_gt, tg_gt(1, x[0]))
OP(ge_number, tg_ge(x[0], 1))
OP(number_ge, tg_ge(1, x[0]))
OP(le_number, tg_le(x[0], 1))
OP(number_le, tg_le(1, x[0]))
OP(ne_number, tg_ne(x[0], 1.0f))
OP(number_ne, tg_ne(1.0, x[0]))
OP(eq_number, tg_eq(x[0], Q(0)))
OP(number_eq, tg_eq(Q(0), x[0]))
OP(where, tg_where(x[0], x[1], x[2]))
OP(where_float, tg_where(x[0], x[1], x[2]))
OP(where_number, tg_where(x[0], x[1], 2.5))
OP(number_where, tg_where(x[0], 2.5, x[1]))
OP(where_numbers, tg_mul(tg_where(x[0], 2.5, -1.0), x[1]))

/* ---- reduce: keepdim, then the axes */
OP(sum, tg_sum(x[0], .axis = REST(1), .keepdim = A(0)))
OP(mean, tg_mean(x[0], .axis = REST(1), .keepdim = A(0)))
OP(max, tg_max(x[0], .axis = REST(1), .keepdim = A(0)))
OP(min, tg_min(x[0], .axis = REST(1), .keepdim = A(0)))
OP(std, tg_std(x[0], .axis = REST(2), .keepdim = A(0), .correction = A(1) ? A(1) : TG_ZERO))
OP(softmax, tg_softmax(x[0], .axis = REST(0)))
OP(log_softmax, tg_log_softmax(x[0], .axis = REST(0)))
OP(argmax, tg_argmax(x[0], .axis = REST(1), .keepdim = A(0)))
OP(argmin, tg_argmin(x[0], .axis = REST(1), .keepdim = A(0)))
OP(cumsum, tg_cumsum(x[0], A(0)))
OP(triu, tg_triu(x[0], A(0)))
OP(tril, tg_tril(x[0], A(0)))

/* ---- movement and indexing by tensors */
static tg_tensor *chunks(tg_tensor *x, int64_t count, int axis) {
  tg_tensor *part[8];
  int64_t n = tg_chunk(x, count, axis, part);
  for (int64_t i = 0; i < n; i++) part[i] = tg_mul(part[i], i + 1);
  return n < 0 ? NULL : tg_cat(((tg_list){n, part}), .axis = axis);
}

OP(reshape, tg_reshape_to(x[0], REST(0)))
OP(expand, tg_expand_to(x[0], REST(0)))
OP(permute, tg_permute_to(x[0], REST(0)))
OP(flip, tg_flip_axes(x[0], REST(0)))
OP(shrink, tg_shrink_to(x[0], REST(0)))
OP(pad, tg_pad(x[0], REST(1), .value = Q(0)))
OP(pad2d, tg_pad2d(x[0], REST(1), .value = Q(0)))
OP(slice, tg_slice(x[0], REST(1), .value = Q(0)))
OP(transpose, tg_transpose(x[0], A(0), A(1)))
OP(T, tg_T(x[0]))
OP(flatten, tg_flatten(x[0], .start_dim = A(0)))
OP(squeeze, tg_squeeze(x[0], .axis = REST(0)))
OP(unsqueeze, tg_unsqueeze(x[0], A(0)))
OP(repeat, tg_repeat_by(x[0], REST(0)))
OP(chunk, chunks(x[0], A(0), A(1)))
OP(cat, tg_cat(((tg_list){c->ninputs, x}), .axis = A(0)))
OP(stack, tg_stack(((tg_list){c->ninputs, x}), .axis = A(0)))
OP(gather, tg_gather(x[0], x[1], A(0)))
OP(scatter, tg_scatter(x[0], A(0), x[1], x[2]))
OP(scatter_add, tg_scatter_add(x[0], A(0), x[1], x[2]))
OP(take, tg_take(x[0], x[1]))

/* ---- linear algebra and nn */
OP(dot, tg_dot(x[0], x[1]))
OP(matmul, tg_matmul(x[0], x[1]))
OP(linear, tg_linear(x[0], x[1], .bias = x[2]))
/* axes, groups, strides, dilations, number of paddings, paddings */
OP(conv2d, tg_conv2d(x[0], x[1], .bias = x[2], .groups = A(1), .stride = list(c, 2, A(0)),
                     .dilation = list(c, 2 + A(0), A(0)), .padding = REST(3 + 2 * A(0))))
/* axes, groups, stride, dilation, padding, output_padding */
OP(conv_transpose2d, tg_conv_transpose2d(x[0], x[1], .bias = x[2], .groups = A(1),
                                         .stride = TG_INTS(A(2)), .dilation = TG_INTS(A(3)),
                                         .padding = TG_INTS(A(4)), .output_padding = TG_INTS(A(5))))

/* axes (0: no options), kernel, stride (0: the kernel), dilation */
static tg_ints pool_stride(const oracle_case *c) {
  tg_ints stride = list(c, 1 + A(0), A(0)), none = {0};
  return stride.ndim && stride.dim[0] ? stride : none;
}
OP(avg_pool2d, A(0) ? tg_avg_pool2d(x[0], .kernel = list(c, 1, A(0)), .stride = pool_stride(c))
                    : tg_avg_pool2d(x[0]))
OP(max_pool2d, A(0) ? tg_max_pool2d(x[0], .kernel = list(c, 1, A(0)), .stride = pool_stride(c),
                                    .dilation = list(c, 1 + 2 * A(0), A(0)))
                    : tg_max_pool2d(x[0]))
OP(layernorm, tg_layernorm(x[0], .axis = REST(0)))
OP(batchnorm, tg_batchnorm(x[0], x[3], x[4], x[1], x[2]))
OP(attention, tg_scaled_dot_product_attention(x[0], x[1], x[2], .mask = x[3], .causal = A(0)))
OP(attention_bool, tg_scaled_dot_product_attention(x[0], x[1], x[2], .mask = tg_ne(x[3], 0)))
OP(binary_crossentropy, tg_binary_crossentropy(x[0], x[1]))
OP(binary_crossentropy_logits, tg_binary_crossentropy_logits(x[0], x[1]))
OP(crossentropy, tg_sparse_categorical_crossentropy(x[0], x[1], .ignore_index = REST(0)))

/* ---- casts, dropout outside training, indexing */
OP(cast_half, tg_cast(tg_half(x[0]), tg_dtype_of(x[0])))
OP(cast_bfloat, tg_cast(tg_cast(x[0], TG_BFLOAT16), tg_dtype_of(x[0])))
OP(cast_int, tg_mul(tg_cast(tg_cast(x[0], TG_INT32), tg_dtype_of(x[0])), x[0]))
OP(dropout, tg_dropout(x[0], 0.5))
/* axes, groups, then stride, dilation, padding, output_padding per axis */
OP(conv_transpose2d_axes,
   tg_conv_transpose2d(x[0], x[1], .bias = x[2], .groups = A(1), .stride = list(c, 2, A(0)),
                       .dilation = list(c, 2 + A(0), A(0)), .padding = list(c, 2 + 2 * A(0), A(0)),
                       .output_padding = list(c, 2 + 3 * A(0), A(0))))

static tg_tensor *mod3(tg_tensor *j) { return tg_where(tg_ge(j, 3), tg_sub(j, 3), j); }

/* The same numbers as in INDEXED of make_values.py; i, j: index tensors, m: a mask. */
static tg_tensor *indexed(int number, tg_tensor *x, tg_tensor *i, tg_tensor *j, tg_tensor *m) {
  tg_index_item back = TG_RANGE(TG_NONE, TG_NONE, -1), all = TG_ALL;
  switch (number) {
    case 0: return tg_index(x, TG_AT(1));
    case 1: return tg_index(x, TG_AT(-1), TG_AT(0));
    case 2: return tg_index(x, TG_RANGE(1, 4, 2), TG_NEW_AXIS, TG_REST, TG_AT(2));
    case 3: return tg_index(x, TG_REST, TG_RANGE(1, 3, 1));
    case 4: return tg_index(x, TG_BY(i));
    case 5: return tg_index(x, all, TG_BY(j));
    case 6: return tg_index(x, TG_BY(i), TG_BY(j));
    case 7: return tg_index(x, TG_BY(i), all, TG_BY(mod3(j)));
    case 8: return tg_index(x, all, TG_BY(j), TG_BY(mod3(j)));
    case 9: return tg_index(x, TG_AT(1), all, TG_BY(mod3(j)));
    case 10: return tg_index(x, TG_BY(m));
    case 11: return tg_index(x, back, all, back);
    case 12: return tg_index(x, TG_RANGE(TG_NONE, 1, -2));
    case 13: return tg_index(x, TG_BY(tg_unsqueeze(i, 1)), TG_BY(j));
    case 14: return tg_index(x, TG_BY(i), TG_BY(tg_argmax(tg_index(m, TG_AT(0)))));
    default: return tg_fail("no such index");
  }
}
OP(index, indexed(A(0), x[0], x[1], x[2], x[3]))

static tg_tensor *counting(tg_tensor *like, int a, int b, int n) {
  tg_shape shape = {.ndim = n, .dim = {a, b}};
  return tg_reshape_to(tg_arange(0, a * (double)b, .dtype = tg_dtype_of(like)), shape);
}
static tg_tensor *assigned(int number, tg_tensor *x, tg_tensor *m) {
  tg_tensor *t = tg_contiguous(x);
  tg_tensor *by = tg_from(((int64_t[]){4, 0, 2}), TG_SHAPE(3), .dtype = TG_INT64);
  int count = (int)tg_item_int(tg_sum(m));
  switch (number) {
    case 0: return tg_set_index(t, counting(x, 4, 3, 2), TG_AT(1));
    case 1: return tg_set_index(t, counting(x, 2, 4, 2), TG_RANGE(1, 4, 2), TG_ALL, TG_AT(2));
    case 2: return tg_set_index(t, tg_reshape(counting(x, 36, 1, 1), 3, 4, 3), TG_BY(by));
    case 3: return tg_set_index(t, counting(x, count, 3, 2), TG_BY(m));
    case 4: return tg_set_index(t, tg_reshape(counting(x, 40, 1, 1), 5, 4, 2), TG_REST,
                                TG_RANGE(0, 2, 1));
    default: return tg_fail("no such assignment");
  }
}
OP(set_index, assigned(A(0), x[0], x[3]))

/* ---- what belongs together */
static tg_tensor *relu_layer(tg_tensor *x, void *user) { return tg_relu(tg_add(x, user)); }
static tg_tensor *dot_layer(tg_tensor *x, void *user) { return tg_dot(x, user); }
static tg_tensor *log_softmax_layer(tg_tensor *x, void *user) {
  (void)user;
  return tg_log_softmax(x);
}
static tg_tensor *mlp(tg_tensor *const *x) {
  static const tg_layer layers[4] = {dot_layer, relu_layer, dot_layer, log_softmax_layer};
  void *user[4] = {x[1], x[2], x[3], NULL};
  return tg_sequential(x[0], 4, layers, user);
}
static tg_tensor *shared(tg_tensor *x) {
  tg_tensor *e = tg_exp(x), *sum = tg_sum(tg_add(e, x), .axis = TG_INTS(0), .keepdim = true);
  return tg_sub(tg_mul(sum, e), tg_mean(x));
}
static tg_tensor *conv_net(tg_tensor *const *x) {
  tg_tensor *y = tg_max_pool2d(tg_relu(tg_conv2d(x[0], x[1])));
  return tg_log_softmax(tg_dot(tg_flatten(y, .start_dim = 1), x[2]));
}
static tg_tensor *norm(tg_tensor *x, tg_tensor *w) {
  tg_tensor *d = tg_sub(x, tg_mean(x, .axis = TG_INTS(0)));
  tg_tensor *var = tg_mean(tg_square(d), .axis = TG_INTS(0));
  return tg_mul(tg_mul(d, tg_rsqrt(tg_add(var, 1e-5))), w);
}
OP(compose_mlp, mlp(x))
OP(compose_shared, shared(x[0]))
OP(compose_conv, conv_net(x))
OP(compose_norm, norm(x[0], x[1]))

/* Every name that the oracle has is an OP line above, whether or not it is among the
 * chosen (and an OP line that it does not have fails: it checks nothing). */
TEST(ops_all_cases_exist) {
  for (int i = 0; i < oracle_case_count; i++) {
    char name[100];
    snprintf(name, sizeof name, "op_%s", oracle_cases[i].name);
    test_check(test_exists(name), __FILE__, __LINE__, "no OP line runs %s", oracle_cases[i].name);
  }
  CHECK(oracle_case_count > 0);
}
