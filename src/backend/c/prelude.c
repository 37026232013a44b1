/* c/prelude: the text every unit begins with, as strings: prelude.inc is made of
 * prelude.h by tools/strings.sh, line by line. */
#include "backend/c/c.h"

const char *const tg_c_prelude[] = {
#include "prelude.inc"
    NULL};
