/* c/render: a kernel as C.
 *
 * The kernel is analysed as the built-in backend does it (affine indices become
 * rows, ranges merge), then written as parts: functions that run jobs. What is
 * written should read like C that someone wrote for this one kernel: loops over
 * named ranges, one variable per instruction, constants in place. DEBUG=4 shows it.
 */
#include "backend/c/contract.h"

#include <stdio.h>

/* The jobs of a phase: those of its parts, one after the other. */
static void render_phase(c_render *r, const c_kernel *k, int phase) {
  int64_t before = 0;
  tg_c_open(r, "static void k%d_phase%d(tg_c_call *call, i64 job) {", r->number, phase);
  for (int p = 0; p < k->parts; p++) {
    const c_part *part = &k->part[p];
    if (part->phase != phase) continue;
    int64_t end = before + part->jobs;
    bool last = true;
    for (int q = p + 1; q < k->parts; q++) last = last && k->part[q].phase != phase;
    if (last)
      tg_c_line(r, "k%d_part%d(call, job - %lld);", r->number, part->number, (long long)before);
    else tg_c_open(r, "if (job < %lld) {", (long long)end);
    if (!last) {
      tg_c_line(r, "k%d_part%d(call, job - %lld);", r->number, part->number, (long long)before);
      tg_c_line(r, "return;");
      tg_c_close(r);
    }
    before = end;
  }
  tg_c_close(r);
}

static void render_table(c_render *r, const c_kernel *k, const char *name) {
  int phases = 0;
  for (int p = 0; p < k->parts; p++)
    if (k->part[p].phase >= phases) phases = k->part[p].phase + 1;
  for (int phase = 0; phase < phases; phase++) render_phase(r, k, phase);
  tg_text_add(r->out, "static const tg_c_kernel k%d = {\"%s\", %lld, %lld, %d, {", r->number, name,
              (long long)k->shared, (long long)k->own, phases);
  for (int phase = 0; phase < phases; phase++) {
    int64_t jobs = 0;
    for (int p = 0; p < k->parts; p++) jobs += k->part[p].phase == phase ? k->part[p].jobs : 0;
    tg_text_add(r->out, "%s{k%d_phase%d, %lld}", phase ? ", " : "", r->number, phase,
                (long long)jobs);
  }
  tg_text_add(r->out, "}};\n\n");
}

static void render_head(c_render *r, const tg_kernel *kernel) {
  tg_text_add(r->out, "/* %s", kernel->name);
  for (int s = 0; s < kernel->nslots; s++)
    tg_text_add(r->out, "%s p%d %s[%lld]", s ? "," : ":", s, tg_dtype_name(kernel->slot[s].dtype),
                (long long)kernel->slot[s].numel);
  tg_text_add(r->out, " */\n");
}

/* As a sum of products, if it is one. *found: it is, and if this gives false the
 * built-in backend does it better than plain loops would. */
static bool render_contract(c_render *r, c_kernel *k, bool *found) {
  size_t count = (size_t)r->code->count + 1;
  ct_plan *p = tg_alloc_zero(sizeof *p);
  bool *marks = tg_alloc_zero(2 * count), good = p && marks;
  if (!good) r->out->failed = true;
  if (good) {
    p->needed = marks;
    p->epilogue = marks + count;
    good = tg_c_contract_plan(r, p, k);
  }
  if (good) tg_c_contract_write(r, p, k);
  *found = p && p->work > 0;
  tg_free(marks);
  tg_free(p);
  return good;
}

tg_c_rendered tg_c_render(const tg_kernel *kernel, int number, tg_text *out) {
  int64_t before = out->count;
  bi_code *code = tg_bi_code_new(kernel, true);
  c_kernel *k = tg_alloc_zero(sizeof *k);
  c_render r = {.code = code, .out = out, .number = number, .lane = -1, .unroll = 1};
  r.done = code ? tg_alloc_zero((size_t)code->count + 1) : NULL;
  bool memory = code && k && r.done, good = false;
  if (memory) {
    render_head(&r, kernel);
    bool found = false;
    good = render_contract(&r, k, &found);
    if (!good && !found && !out->failed) good = tg_c_nests(&r, k);
    if (good) render_table(&r, k, kernel->name);
  }
  tg_free(r.done);
  tg_free(k);
  tg_bi_code_free(code);
  if (!memory || out->failed) return TG_C_FAILED;
  if (good) return TG_C_DONE;
  out->count = before;
  if (out->at) out->at[before] = 0;
  return TG_C_DECLINED;
}
