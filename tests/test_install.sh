#!/bin/sh
# Installs into a folder of its own and builds a program there as a user would:
# from C, static and shared, by pkg-config where there is one. Checks what the
# shared library shows to others. BUILD, CC and MAKE as in the Makefile.
cd "$(dirname "$0")/.." || exit 1
build=${BUILD:-build}
cc=${CC:-cc}
make=${MAKE:-make}
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
passed=0
failed=0

check() { # WHAT COMMAND ...
  what=$1
  shift
  if "$@" >"$tmp/log" 2>&1; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "FAIL $what: $*"
    sed 's/^/  | /' "$tmp/log" | head -n 20
  fi
}

# The make inside this test keeps the settings of the one around it (so nothing
# is built again), not its job slots.
MAKEFLAGS=$(echo "$MAKEFLAGS" | sed 's/ *-j[0-9]*//; s/ *--jobserver-[a-z]*=[^ ]*//')
export MAKEFLAGS TG_JIT=off
install() { $make install BUILD="$build" CC="$cc" "$@"; }

prefix=$tmp/usr
check 'install' install PREFIX="$prefix"
check 'install with DESTDIR' install PREFIX=/usr DESTDIR="$tmp/dest"
for file in include/teenygrad/teenygrad.h lib/libteenygrad.a lib/libteenygrad.so \
  lib/pkgconfig/teenygrad.pc; do
  check "$file is there" test -f "$prefix/$file"
  check "$file is there under DESTDIR" test -f "$tmp/dest/usr/$file"
done
check 'the .pc file names where it will be' grep -qx 'prefix=/usr' \
  "$tmp/dest/usr/lib/pkgconfig/teenygrad.pc"

cat >"$tmp/program.c" <<'END'
#include <stdio.h>
#include <teenygrad/teenygrad.h>
int main(void) {
  TG_SCOPE {
    tg_tensor *x = tg_ones(TG_SHAPE(3), .requires_grad = true);
    tg_tensor *loss = tg_sum(tg_mul(x, x));
    tg_backward(loss);
    printf("%g %g\n", tg_item(loss), tg_item(tg_sum(tg_grad(x))));
  }
  tg_shutdown();
  return tg_error() != NULL;
}
END
private=$(sed -n 's/^Libs.private: //p' "$prefix/lib/pkgconfig/teenygrad.pc")
# shellcheck disable=SC2086
check 'a program with the static library' $cc -std=c11 -Wall -Wextra -Wpedantic -Werror \
  -I"$prefix/include" "$tmp/program.c" "$prefix/lib/libteenygrad.a" $private -o "$tmp/static"
check 'a program with the shared library' $cc -I"$prefix/include" "$tmp/program.c" \
  -L"$prefix/lib" -lteenygrad -Wl,-rpath,"$prefix/lib" -o "$tmp/shared"
for kind in static shared; do
  "$tmp/$kind" >"$tmp/out" 2>&1
  check "the $kind program prints 3 6" grep -qx '3 6' "$tmp/out"
done
if command -v pkg-config >/dev/null 2>&1; then
  export PKG_CONFIG_PATH="$prefix/lib/pkgconfig"
  # shellcheck disable=SC2046
  check 'a program by pkg-config' $cc "$tmp/program.c" $(pkg-config --cflags --libs teenygrad) \
    -o "$tmp/pc"
  # shellcheck disable=SC2046
  check 'a static program by pkg-config' $cc "$tmp/program.c" \
    $(pkg-config --cflags teenygrad) -L"$prefix/lib" -l:libteenygrad.a \
    $(pkg-config --static --libs-only-l teenygrad | sed 's/-lteenygrad//') -ldl -pthread -o "$tmp/pcs"
fi

# What the shared library shows is what the header declares: no more, no less.
nm -D --defined-only "$prefix/lib/libteenygrad.so" | awk '$2 != "A" { print $NF }' |
  sed 's/@.*//' | sort -u >"$tmp/shown"
$cc -std=c11 -E -P include/teenygrad/teenygrad.h | tr '\n' ' ' | sed 's/;/;\n/g' |
  grep -vE '^ *(static|typedef)|\}' | grep -oE '\btg_[a-zA-Z0-9_]+ ?\(' | tr -d ' (' |
  sort -u >"$tmp/declared"
check 'the header declares functions' test -s "$tmp/declared"
comm -13 "$tmp/declared" "$tmp/shown" >"$tmp/more"
comm -23 "$tmp/declared" "$tmp/shown" >"$tmp/less"
check "the library shows nothing else: $(tr '\n' ' ' <"$tmp/more")" test ! -s "$tmp/more"
check "the library has all: $(tr '\n' ' ' <"$tmp/less")" test ! -s "$tmp/less"

check 'uninstall' $make uninstall BUILD="$build" PREFIX="$prefix"
check 'uninstall leaves nothing' test -z "$(find "$prefix" -name '*teenygrad*')"

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
