/* c/unit: kernels as one translation unit, found in the cache or compiled, loaded.
 *
 * All new kernels of a schedule go into one text and one run of the compiler, whose
 * start costs more than a kernel. The name of a unit is the hash of that text and of
 * what turns it into code, so a unit in the cache is right by its name alone.
 */
#if !defined(_POSIX_C_SOURCE)
#define _POSIX_C_SOURCE 200809L
#endif
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "backend/c/unit.h"

tg_unit *tg_unit_new(void) {
  tg_unit *u = tg_alloc_zero(sizeof *u);
  if (!u) return NULL;
  atomic_init(&u->refs, 1);
  tg_text_add(&u->text, "#define BYTES %d\n", tg_isa_vector_bytes());
  for (int i = 0; tg_c_prelude[i]; i++) tg_text_add(&u->text, "%s", tg_c_prelude[i]);
  return u;
}

tg_c_rendered tg_unit_add(tg_unit *u, const tg_kernel *kernel, int number) {
  return tg_c_render(kernel, number, &u->text);
}

void tg_unit_retain(tg_unit *u) { atomic_fetch_add(&u->refs, 1); }

void tg_unit_release(tg_unit *u) {
  if (!u || atomic_fetch_sub(&u->refs, 1) != 1) return;
  tg_text_free(&u->text);
  if (u->handle) dlclose(u->handle);
  tg_free(u);
}

bool tg_unit_seal(tg_unit *u, int count, tg_c_why *why) {
  static const char digits[] = "0123456789abcdef";
  unsigned char hash[32];
  tg_sha256 s;
  tg_text_add(&u->text, "static const tg_c_kernel *const all[] = {");
  for (int i = 0; i < count; i++) tg_text_add(&u->text, "&k%d, ", i);
  tg_text_add(&u->text, "};\nconst tg_c_table tg_c_unit = {%d, %d, all};\n", TG_C_ABI, count);
  tg_sha256_begin(&s);
  if (u->text.failed) tg_c_no_memory(why);
  if (u->text.failed || !tg_c_compiler_identity(&s, why)) return false;
  tg_sha256_add(&s, u->text.at, (size_t)u->text.count);
  tg_sha256_end(&s, hash);
  for (int i = 0; i < 64; i++) u->name[i] = digits[i % 2 ? hash[i / 2] & 15 : hash[i / 2] >> 4];
  u->name[64] = 0;
  return true;
}

/* What is whole but cannot be used would be found again and again: it goes. */
static bool unit_load(tg_unit *u, const char *path, tg_c_why *why) {
  u->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!u->handle) {
    const char *text = dlerror();
    tg_c_because(why, "cannot be loaded: %.200s", text ? text : path);
    unlink(path);
    return false;
  }
  const tg_c_table *table = dlsym(u->handle, "tg_c_unit");
  if (!table || table->abi != TG_C_ABI) {
    tg_c_because(why, "%.200s is no unit of this version", path);
    dlclose(u->handle);
    u->handle = NULL;
    unlink(path);
    return false;
  }
  u->table = table;
  tg_text_free(&u->text);
  return true;
}

bool tg_unit_find(tg_unit *u, tg_c_why *why) {
  char path[TG_C_PATH];
  if (!tg_c_cache_find(u->name, path)) return false;
  if (!unit_load(u, path, why)) return false;
  atomic_fetch_add(&tg_count.units_cached, 1);
  return true;
}

static bool unit_write(const tg_unit *u, const char *path) {
  int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  FILE *f = fd >= 0 ? fdopen(fd, "w") : NULL;
  if (!f && fd >= 0) close(fd);
  if (!f) return false;
  bool good = fwrite(u->text.at, 1, (size_t)u->text.count, f) == (size_t)u->text.count;
  return fclose(f) == 0 && good;
}

bool tg_unit_build(tg_unit *u, bool background, tg_c_why *why) {
  static _Atomic int number;
  char source[TG_C_PATH], object[TG_C_PATH], path[TG_C_PATH];
  tg_c_why unsafe = {0};
  const char *folder = tg_c_cache_folder(&unsafe);
  if (!folder) {
    *why = unsafe;
    return false;
  }
  int made = atomic_fetch_add(&number, 1);
  long long process = (long long)getpid();
  snprintf(source, sizeof source, "%s/making-%lld-%d.c", folder, process, made);
  snprintf(object, sizeof object, "%s/making-%lld-%d.so", folder, process, made);
  unlink(source);
  bool good = unit_write(u, source);
  if (!good) tg_c_because(why, "%.150s cannot be written: is the disk full?", source);
  good = good && tg_c_compile(source, object, background, &u->stop, why) &&
         tg_c_cache_keep(object, u->name, path, why) && unit_load(u, path, why);
  unlink(source);
  unlink(object);
  return good;
}
