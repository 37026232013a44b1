/* builtin/contract: not yet. */
#include "backend/builtin/builtin.h"
bi_contract *bi_contract_new(const bi_code *code, bool *suits) { (void)code; *suits = false; return NULL; }
int bi_contract_run(const bi_contract *c, void *const *data) { (void)c, (void)data; return -1; }
void bi_contract_free(bi_contract *c) { (void)c; }
