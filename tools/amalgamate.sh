#!/bin/sh
# tools/amalgamate.sh [FOLDER]: the library as one teenygrad.c and one teenygrad.h.
#
# The .c files follow each other, rooms from the ground up. A header of the
# library is put in where it is first included and left out afterwards; .def and
# .inc files are put in every time, for they are meant to be read several times.
# #include <...> stays as it is. Every file starts with a banner that names it.
#
# All files share one namespace then, so static functions, types and macros need
# names of their own; tests/test_amalgamation.sh compiles the result with -Werror,
# which finds two of one name.
cd "$(dirname "$0")/.." || exit 1
out=${1:-build/amalgamation}
mkdir -p "$out" || exit 1
# What the Makefile makes from another file is made here too.
gen=$(mktemp -d) || exit 1
trap 'rm -rf "$gen"' EXIT
tools/strings.sh src/backend/c/prelude.h >"$gen/prelude.inc" || exit 1

sources=$(for room in base graph compile backend runtime autograd tensor nn io; do
  find src/$room -name '*.c' | LC_ALL=C sort
done)
missing=$(find src -name '*.c' | grep -c .)
[ "$(echo "$sources" | grep -c .)" -eq "$missing" ] || {
  echo "amalgamate: a room of src/ is missing in the list in $0" >&2
  exit 1
}

# shellcheck disable=SC2086
awk '
  # Where an include leads: beside the including file, in src/, or made here.
  function find(name, from,    dir, path, line) {
    dir = from
    sub(/[^\/]*$/, "", dir)
    path = dir name
    if ((getline line < path) >= 0) { close(path); return path }
    path = "src/" name
    if ((getline line < path) >= 0) { close(path); return path }
    path = "'"$gen"'/" name
    if ((getline line < path) >= 0) { close(path); return path }
    print "amalgamate: " from " includes " name ", which is nowhere" > "/dev/stderr"
    failed = 1
    exit 1
  }
  function banner(path) {
    sub(/.*\/prelude\.inc$/, "prelude.inc (src/backend/c/prelude.h by tools/strings.sh)", path)
    printf "\n/* ======== %s ======== */\n", path
  }
  function put(path,    line, name, target) {
    banner(path)
    while ((getline line < path) > 0) {
      if (line !~ /^[ \t]*#[ \t]*include[ \t]*"/) { print line; continue }
      name = line
      sub(/^[^"]*"/, "", name)
      sub(/".*/, "", name)
      if (name == "teenygrad/teenygrad.h") continue
      target = find(name, path)
      if (target ~ /\.h$/ && target in seen) continue
      seen[target] = 1
      put(target)
      printf "/* ======== back in %s ======== */\n", path
    }
    close(path)
  }
  BEGIN {
    print "/* teenygrad '"$(sed -n 's/^#define TG_VERSION "\(.*\)"/\1/p' include/teenygrad/teenygrad.h)"', the whole library in one file."
    print " *"
    print " * Made by tools/amalgamate.sh from the files named in the banners. Build it with"
    print " *"
    print " *     cc -O2 -c teenygrad.c"
    print " *"
    print " * and link with -lm -ldl -pthread; -DTG_ZLIB and -lz add reading of .gz files. */"
    print "#ifndef _POSIX_C_SOURCE"
    print "#define _POSIX_C_SOURCE 200809L"
    print "#endif"
    print "#include \"teenygrad.h\""
    for (i = 1; i < ARGC; i++) put(ARGV[i])
    exit failed
  }' $sources >"$out/teenygrad.c" || exit 1
cp include/teenygrad/teenygrad.h "$out/teenygrad.h"

echo "$out/teenygrad.c: $(wc -l <"$out/teenygrad.c") lines, made of $(echo "$sources" | wc -l) files"
