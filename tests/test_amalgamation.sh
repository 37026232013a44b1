#!/bin/sh
# Makes the library as one .c and one .h, reads it with warnings as errors (two
# files with one static name show here), compiles it alone as the README says, and
# runs a program of the course with it. BUILD and CC as in the Makefile.
cd "$(dirname "$0")/.." || exit 1
build=${BUILD:-build}
cc=${CC:-cc}
dir=$build/amalgamation
passed=0
failed=0
export TG_JIT=off

check() { # WHAT COMMAND ...
  what=$1
  shift
  if "$@" >"$dir/log" 2>&1; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "FAIL $what: $*"
    grep -E 'error|warning|amalgamate' "$dir/log" | sed 's/^/  | /' | head -n 20
  fi
}

mkdir -p "$dir"
check 'it is made' tools/amalgamate.sh "$dir"
alone() { (cd "$dir" && rm -f teenygrad.o && "$cc" "$@" -c teenygrad.c); }
check 'it has no warnings' alone -fsyntax-only -std=c11 -Wall -Wextra -Wpedantic \
  -Wswitch-enum -Werror
check 'it compiles alone' alone -O2
check 'a program with it' "$cc" -O2 -I"$dir" -Iinclude -Iexamples examples/02_gradients.c \
  "$dir/teenygrad.o" -lm -ldl -pthread -o "$dir/02_gradients"
"$dir/02_gradients" >"$dir/out" 2>&1
check 'the program runs' test "$?" = 0
"$build/examples/02_gradients" >"$dir/want" 2>&1
check 'it prints the same as with the library' cmp "$dir/out" "$dir/want"

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
