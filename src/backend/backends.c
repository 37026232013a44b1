/* backend/backends: the device table; the first row is the default device. */
#include "backend/backend.h"

const tg_backend *const tg_backends[TG_DEVICES] = {&tg_backend_builtin, &tg_backend_reference};
