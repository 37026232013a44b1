/* isa: which vector instructions kernels are made of, in one place for the built-in
 * loops and micro-kernels and for generated C: the best this machine has, or what TG_ISA
 * says. Asked for once per process. */
#ifndef TG_BACKEND_ISA_H
#define TG_BACKEND_ISA_H

#include <stdbool.h>

/* BASE: what every processor of the architecture has (SSE2, NEON). */
typedef enum tg_isa { TG_ISA_BASE, TG_ISA_AVX2, TG_ISA_AVX512, TG_ISA_COUNT } tg_isa;

tg_isa tg_isa_get(void);
/* false and a message: TG_ISA names none that this machine has. */
bool tg_isa_check(void);
bool tg_isa_given(void); /* by TG_ISA, a valid one */
int tg_isa_vector_bytes(void);

#endif
