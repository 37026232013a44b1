/* builtin: the backend of device "CPU": chooses how each kernel runs.
 *
 * Sums of products go to contract.c, what runs tile by tile to block.c. A kernel
 * that neither takes (REDUCEs that fold within the loop of another) is left to the
 * reference interpreter: slow, but right. The compiler makes none for common
 * graphs; the tests count them. Of a kernel of several nests each is a program of its
 * own, and they run one after the other.
 */
#include "backend/builtin/builtin.h"
#include "backend/isa.h"

static _Atomic int64_t interpreted;

int64_t tg_bi_interpreted(void) { return atomic_load(&interpreted); }

typedef struct builtin_program builtin_program;
struct builtin_program {
  bi_code *code;
  bi_contract *contract;
  bi_block *block;
  void *literal;
  builtin_program *next; /* the next nest */
};

static void builtin_release(void *program) {
  for (builtin_program *p = program, *next; p; p = next) {
    next = p->next;
    tg_bi_contract_free(p->contract);
    tg_bi_block_free(p->block);
    if (p->literal) tg_backend_reference.release(p->literal);
    tg_bi_code_free(p->code);
    tg_free(p);
  }
}

static bool builtin_prepare(builtin_program *p, const tg_kernel *kernel) {
  bool suits = false;
  p->code = tg_bi_code_new(kernel, false);
  if (!p->code) return false;
  p->contract = tg_bi_contract_new(p->code, &suits);
  if (suits) return p->contract;
  p->block = tg_bi_block_new(p->code, &suits);
  if (suits) return p->block;
  atomic_fetch_add(&interpreted, 1);
  p->literal = tg_backend_reference.compile(kernel);
  return p->literal;
}

static builtin_program *builtin_nest(const tg_kernel *kernel) {
  builtin_program *p = tg_alloc_zero(sizeof *p);
  if (p && !builtin_prepare(p, kernel)) {
    builtin_release(p);
    return NULL;
  }
  return p;
}

static void *builtin_compile(const tg_kernel *kernel) {
  tg_kernel **parts;
  if (!tg_isa_check()) return NULL;
  builtin_program *first = NULL, **at = &first;
  int count = tg_kernel_split(kernel, &parts);
  if (count < 2) return count < 0 ? NULL : builtin_nest(kernel);
  bool done = true;
  for (int n = 0; done && n < count; n++) {
    *at = builtin_nest(parts[n]);
    done = *at != NULL;
    if (done) at = &(*at)->next;
  }
  tg_kernel_split_free(parts, count);
  if (done) return first;
  builtin_release(first);
  return NULL;
}

static int builtin_run_nest(const builtin_program *p, void *const *data) {
  if (p->contract) return tg_bi_contract_run(p->contract, data);
  if (p->block) return tg_bi_block_run(p->block, data);
  return tg_backend_reference.run(p->literal, data);
}

static int builtin_run(const void *program, void *const *data) {
  int status = 0;
  for (const builtin_program *p = program; p && status == 0; p = p->next)
    status = builtin_run_nest(p, data);
  return status;
}

const tg_backend tg_backend_builtin = {
    .device = "CPU",
    .compile = builtin_compile,
    .run = builtin_run,
    .release = builtin_release,
};
