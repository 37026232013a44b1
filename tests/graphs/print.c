/* tests/graphs/print: a graph as a C program that a developer compiles and runs: it
 * computes the graph as the first variant does and as the one that differs, and prints
 * what both give. Steps are the text of ops.inc with its letters filled in. */
#include "graphs.h"

/* ---- numbers */

static void print_real(FILE *to, double x) {
  char text[40];
  if (isnan(x)) snprintf(text, sizeof text, "NAN");
  else if (isinf(x)) snprintf(text, sizeof text, x > 0 ? "INFINITY" : "-INFINITY");
  else snprintf(text, sizeof text, "%.17g", x);
  bool whole = strspn(text, "-0123456789") == strlen(text);
  fprintf(to, "%s%s", text, whole ? ".0" : "");
}

static void print_whole(FILE *to, int64_t x) {
  if (x == INT64_MIN) fprintf(to, "INT64_MIN");
  else fprintf(to, "%lld", (long long)x);
}

static void print_list(FILE *to, const tg_ints *l) {
  if (!l->ndim) fprintf(to, "TG_SCALAR");
  for (int i = 0; i < l->ndim; i++) {
    fprintf(to, i ? ", " : "TG_INTS(");
    print_whole(to, l->dim[i]);
  }
  if (l->ndim) fprintf(to, ")");
}

static void print_dtype(FILE *to, tg_dtype dtype) {
  fprintf(to, "TG_");
  for (const char *c = tg_dtype_name(dtype); *c; c++)
    fputc(*c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c, to);
}

/* ---- leaves: 16-bit floats are bits */

static const char *element_type(tg_dtype d) {
  switch (d) {
    case TG_BOOL:
    case TG_UINT8: return "uint8_t";
    case TG_INT8: return "int8_t";
    case TG_INT16: return "int16_t";
    case TG_UINT16:
    case TG_FLOAT16:
    case TG_BFLOAT16: return "uint16_t";
    case TG_INT32: return "int32_t";
    case TG_UINT32: return "uint32_t";
    case TG_INT64: return "int64_t";
    case TG_UINT64: return "uint64_t";
    case TG_FLOAT32: return "float";
    case TG_FLOAT64: return "double";
    case TG_DEFAULT_DTYPE: break;
  }
  return "?";
}

static void print_element(FILE *to, const graph_step *s, int64_t i) {
  if (s->dtype == TG_FLOAT32 || s->dtype == TG_FLOAT64)
    print_real(to, graph_get(s->data, s->dtype, i));
  else if (s->dtype == TG_FLOAT16 || s->dtype == TG_BFLOAT16)
    fprintf(to, "0x%04x", ((const uint16_t *)s->data)[i]);
  else if (s->dtype == TG_UINT64)
    fprintf(to, "%lluu", (unsigned long long)((const uint64_t *)s->data)[i]);
  else if (s->dtype == TG_INT64) print_whole(to, ((const int64_t *)s->data)[i]);
  else print_whole(to, (int64_t)graph_get(s->data, s->dtype, i));
}

/* All the same: one range (GNU C). */
static bool print_range(FILE *to, const graph_step *s, int64_t count) {
  size_t size = (size_t)tg_dtype_size(s->dtype);
  if (count < 17 || memcmp(s->data, (char *)s->data + size, size * (size_t)(count - 1)))
    return false;
  fprintf(to, "[0 ... %lld] = ", (long long)count - 1);
  print_element(to, s, 0);
  return true;
}

static void print_leaf(FILE *to, const graph_step *s, int i) {
  int64_t count = graph_count(&s->list[0]);
  bool half = s->dtype == TG_FLOAT16 || s->dtype == TG_BFLOAT16;
  fprintf(to, "  static const %s d%d[] = {", element_type(s->dtype), i);
  bool range = print_range(to, s, count);
  for (int64_t k = 0; k < count && !range; k++) {
    fprintf(to, k ? k % 12 ? ", " : ",\n    " : "");
    print_element(to, s, k);
  }
  fprintf(to, count ? "};" : "0};");
  for (int64_t k = 0; half && k < count && k < 12; k++)
    fprintf(to, "%s%g", k ? ", " : " /* ", graph_get(s->data, s->dtype, k));
  fprintf(to, half && count ? " */\n" : "\n");
  fprintf(to, "  tg_tensor *v%d = tg_from(d%d, ", i, i);
  print_list(to, &s->list[0]);
  fprintf(to, ", .dtype = ");
  print_dtype(to, s->dtype);
  fprintf(to, s->grad ? ", .requires_grad = true);\n" : ");\n");
}

/* ---- steps */

static void print_items(FILE *to, const graph_step *s) {
  for (int i = 0; i < s->items; i++) {
    const int64_t *it = s->item[i];
    if (it[0] == TG_ITEM_AT) fprintf(to, ", TG_AT(%lld)", (long long)it[1]);
    if (it[0] == TG_ITEM_NEW_AXIS) fprintf(to, ", TG_NEW_AXIS");
    if (it[0] == TG_ITEM_REST) fprintf(to, ", TG_REST");
    if (it[0] == TG_ITEM_BY) fprintf(to, ", TG_BY(v%d)", s->in[it[1]]);
    if (it[0] != TG_ITEM_RANGE) continue;
    fprintf(to, ", TG_RANGE(");
    for (int k = 1; k < 4; k++) {
      if (it[k] == TG_NONE) fprintf(to, "TG_NONE");
      else print_whole(to, it[k]);
      fprintf(to, k < 3 ? ", " : ")");
    }
  }
}

static void print_special(FILE *to, const graph_step *s) {
  if (graph_is(s, "chunk")) {
    fprintf(to, "part(v%d, %lld, %lld, %lld)", s->in[0], (long long)s->whole[0],
            (long long)s->whole[1], (long long)s->whole[2]);
    return;
  }
  if (graph_is(s, "index")) fprintf(to, "tg_index(v%d", s->in[0]);
  else if (graph_is(s, "set_index")) fprintf(to, "tg_set_index(tg_detach(v%d), tg_detach(v%d)",
                                             s->in[0], s->in[1]);
  else fprintf(to, "tg_set_index(v%d, tg_detach(v%d)", s->in[0], s->in[1]);
  print_items(to, s);
  fprintf(to, ")");
}

/* The text, with A .. D, L0, I0, R0, DT and their kind filled in. */
static void print_call(FILE *to, const graph_step *s) {
  for (const char *c = graph_ops[s->op].text; *c; c++) {
    size_t length = strspn(c, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789");
    int number = length == 2 && c[1] >= '0' && c[1] <= '2' ? c[1] - '0' : -1;
    if (length == 1 && *c >= 'A' && *c <= 'D') fprintf(to, "v%d", s->in[*c - 'A']);
    else if (number >= 0 && *c == 'L') print_list(to, &s->list[number]);
    else if (number >= 0 && *c == 'I') print_whole(to, s->whole[number]);
    else if (number >= 0 && *c == 'R') print_real(to, s->real[number]);
    else if (length == 2 && !strncmp(c, "DT", 2)) print_dtype(to, s->dtype);
    else fprintf(to, "%.*s", length ? (int)length : 1, c);
    if (length) c += length - 1;
  }
}

static void print_step(FILE *to, const graph *g, int i) {
  const graph_step *s = &g->step[i];
  if (graph_is(s, "leaf")) {
    print_leaf(to, s, i);
    return;
  }
  fprintf(to, "  tg_tensor *v%d = step(", i);
  if (!strcmp(graph_ops[s->op].text, "graph_special(s, in)")) print_special(to, s);
  else print_call(to, s);
  fprintf(to, ");\n");
}

/* ---- the program */

static void print_loss(FILE *to, const graph *g, const int *sinks, int count) {
  const char *kinds[] = {"tg_sum(%s)", "tg_mean(%s)", "tg_sum(tg_square(%s))"};
  fprintf(to, "  tg_tensor *loss = NULL;\n");
  for (int i = 0; i < count; i++) {
    char value[60];
    tg_dtype d = g->step[sinks[i]].fact.dtype;
    if (!tg_dtype_is_float(d)) continue;
    snprintf(value, sizeof value, d == TG_FLOAT64 ? "v%d" : "tg_cast(v%d, TG_FLOAT32)", sinks[i]);
    fprintf(to, "  if (tg_requires_grad(v%d) == TG_GRAD_YES)\n    loss = plus(loss, ", sinks[i]);
    fprintf(to, kinds[g->loss], value);
    fprintf(to, ");\n");
  }
  fprintf(to, "  if (loss && tg_backward(loss)) puts(tg_error());\n");
}

static void print_head(FILE *to, const graph *g) {
  fprintf(to, "#include \"teenygrad/teenygrad.h\"\n#include <math.h>\n#include <stdio.h>\n"
              "#include <stdlib.h>\n\nstatic bool realized;\n"
              "static tg_tensor *step(tg_tensor *t) {\n"
              "  if (!t) puts(tg_error());\n");
  if (g->grads)
    fprintf(to, "  if (realized && tg_is_floating_point(t)) t = tg_contiguous_backward(t);\n");
  fprintf(to, "  if (realized && t && !tg_realize(t)) puts(tg_error());\n  return t;\n}\n"
              "static void show(const char *name, tg_tensor *t) {\n  char text[2000] = \"\";\n"
              "  if (tg_to_string(t, text, sizeof text) < 0) puts(tg_error());\n"
              "  printf(\"%%s = %%s\\n\", name, text);\n}\n");
  bool chunk = false, layer = false;
  for (int i = 0; i < g->count; i++) {
    chunk = chunk || graph_is(&g->step[i], "chunk");
    layer = layer || graph_is(&g->step[i], "sequential");
  }
  if (chunk)
    fprintf(to, "static tg_tensor *part(tg_tensor *x, int count, int axis, int which) {\n"
                "  tg_tensor *parts[16];\n  int64_t n = tg_chunk(x, count, axis, parts);\n"
                "  return n > 0 ? parts[which %% n] : NULL;\n}\n");
  if (layer)
    fprintf(to, "static tg_tensor *graph_layer(tg_tensor *x, void *user) {\n  (void)user;\n"
                "  return tg_add(tg_mul(x, x), x);\n}\n");
  if (g->grads)
    fprintf(to, "static tg_tensor *plus(tg_tensor *a, tg_tensor *b) {\n"
                "  return a ? tg_add(a, b) : b;\n}\n");
}

static void print_run(FILE *to, const graph_variant *v) {
  fprintf(to, "  puts(\"%s\");\n  setenv(\"TG_JIT\", \"%s\", 1);\n"
              "  tg_set_default_device(\"%s\");\n  realized = %s;\n"
              "  TG_SCOPE { run(); }\n",
          v->name, v->jit, v->device, v->realized ? "true" : "false");
}

static bool is_idle(const graph *g, int at) {
  for (int i = at + 1; i < g->count; i++)
    if (graph_uses(g, i, at)) return false;
  return graph_is(&g->step[at], "leaf") && g->count > 1;
}

void graph_print(FILE *to, const graph *g, const graph_variant *v) {
  int sinks[GRAPH_STEPS], count = graph_sinks(g, sinks);
  fprintf(to, "/* Graph %llu of make fuzz-graphs, cut down. Both must print the same. Build with\n"
              " * cc -std=gnu11 -Iinclude this.c build/libteenygrad.a -lz -lm -ldl -pthread */\n",
          (unsigned long long)g->seed);
  print_head(to, g);
  fprintf(to, "\nstatic void run(void) {\n");
  for (int i = 0; i < g->count; i++)
    if (!is_idle(g, i)) print_step(to, g, i);
  if (g->grads) print_loss(to, g, sinks, count);
  for (int i = 0; i < count; i++) fprintf(to, "  show(\"v%d\", v%d);\n", sinks[i], sinks[i]);
  for (int i = 0; i < g->count; i++)
    if (g->step[i].grad && !is_idle(g, i))
      fprintf(to, "  if (tg_grad(v%d)) show(\"gradient of v%d\", tg_grad(v%d));\n", i, i, i);
  fprintf(to, "}\n\nint main(void) {\n  tg_set_training(true);\n");
  print_run(to, &graph_variants[0]);
  print_run(to, v);
  fprintf(to, "  tg_shutdown();\n  return 0;\n}\n");
}
