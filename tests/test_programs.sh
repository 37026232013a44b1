#!/bin/sh
# Runs the programs in examples/ as a user would, and checks what they print,
# their exit status, and the files they leave. Usage: tests/test_programs.sh [BUILD]
# from the root, after `make` and `make data`; BUILD is the build folder, CFLAGS
# what the library was built with where that matters (sanitizers).
# TG_TEST_SLOW=1 also trains beautiful_mnist in full.
build=${1:-${BUILD:-build}}
bin=$build/examples
libs="$build/libteenygrad.a $(sed -n 's/^Libs.private: //p' "$build/teenygrad.pc")"
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM
passed=0
failed=0
export TG_JIT=off

# check WHAT COMMAND...: the command must succeed.
check() {
  what=$1
  shift
  if "$@" >/dev/null 2>&1; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "FAIL $what"
    sed 's/^/  | /' "$tmp/out" "$tmp/err" 2>/dev/null | tail -n 12
  fi
}

# run STATUS COMMAND...: runs it into $tmp/out and $tmp/err, expects STATUS.
run() {
  want=$1
  shift
  "$@" >"$tmp/out" 2>"$tmp/err"
  got=$?
  check "exit status $got instead of $want: $*" test "$got" -eq "$want"
}

says() { check "no '$1' on standard output" grep -q -e "$1" "$tmp/out"; }
warns() { check "no '$1' on standard error" grep -q -e "$1" "$tmp/err"; }

# ---- the course
run 0 "$bin/01_tensors"
says 'sum of all'
says 'as it should, this failed: tg_add'
says 'tensors alive at the end: 0'
run 0 "$bin/02_gradients"
says "f(2) = 4, f'(2) = 10"
run 0 "$bin/03_network"
says 'step 1000'
run 0 "$bin/04_function"
says 'the gradient is right'
says 'wrong: found out'
run 0 "$bin/05_save_and_load" "$tmp/course.npz"
says 'loaded, after 20 more steps'
says 'as it should, this failed: tg_load_npz'
run 0 "$bin/06_jit"
says 'step 2000  loss'
says 'the C code of the step ran 2 times'

# ---- mnist: the main job
data=$build/data/mnist
run 0 "$bin/mnist" --data "$data" --save "$tmp/a.npz"
says '^test accuracy '
says 'read wrongly'
accuracy=$(sed -n 's/^test accuracy \(.*\) %/\1/p' "$tmp/out")
check "accuracy $accuracy is not above 93" awk "BEGIN { exit !($accuracy + 0 > 93) }"
echo "mnist: test accuracy $accuracy %, $(cat "$tmp/err")"

# With plain vectors, which every machine has; a set it does not have is an error.
TG_ISA=base "$bin/mnist" --data "$data" >"$tmp/out" 2>"$tmp/err"
check 'mnist fails with TG_ISA=base' test $? -eq 0
plain=$(sed -n 's/^test accuracy \(.*\) %/\1/p' "$tmp/out")
check "accuracy $plain is not above 93" awk "BEGIN { exit !($plain + 0 > 93) }"
TG_ISA=abacus "$bin/mnist" --data "$data" >"$tmp/out" 2>"$tmp/err"
check 'mnist runs with TG_ISA=abacus' test $? -ne 0
check 'no word on TG_ISA' grep -q 'TG_ISA is abacus, and this machine has: base' "$tmp/err"

# The same with generated C, which takes over while it trains.
TG_JIT=async TG_CACHE_DIR=$tmp/cache "$bin/mnist" --data "$data" >"$tmp/out" 2>"$tmp/err"
check 'mnist fails with TG_JIT=async' test $? -eq 0
generated=$(sed -n 's/^test accuracy \(.*\) %/\1/p' "$tmp/out")
check "accuracy $generated is not above 93" awk "BEGIN { exit !($generated + 0 > 93) }"

# Saved weights classify as well as the trained ones did.
run 0 "$bin/mnist" --data "$data" --load "$tmp/a.npz"
check 'loaded weights give another accuracy' grep -q "^test accuracy $accuracy %" "$tmp/out"

# The compressed files will do where zlib is built in; elsewhere the message helps.
if nm "$bin/mnist" 2>/dev/null | grep -q inflateInit2_; then
  run 0 "$bin/mnist" --data data/mnist --load "$tmp/a.npz"
  says "^test accuracy $accuracy %"
else
  run 1 "$bin/mnist" --data data/mnist --load "$tmp/a.npz"
  warns 'gunzip'
fi

# Memory: under 200 MB, where GNU time can tell.
if env time -f %M true >/dev/null 2>&1; then
  run 0 env time -f 'peak %M KB' "$bin/mnist" --data "$data" --steps 3 --save "$tmp/t.npz"
  peak=$(sed -n 's/^peak \(.*\) KB/\1/p' "$tmp/err")
  check "mnist needs $peak KB" test "$peak" -lt 200000
fi

# The same seed gives the same bits for any number of threads.
for threads in 1 2 3; do
  run 0 env TG_THREADS=$threads "$bin/mnist" --data "$data" --steps 12 --save "$tmp/t.npz"
  mv "$tmp/out" "$tmp/out$threads"
  mv "$tmp/t.npz" "$tmp/t$threads.npz"
done
: >"$tmp/out"
check 'two threads print other numbers' cmp "$tmp/out1" "$tmp/out2"
check 'three threads print other numbers' cmp "$tmp/out1" "$tmp/out3"
check 'two threads make other weights' cmp "$tmp/t1.npz" "$tmp/t2.npz"
check 'three threads make other weights' cmp "$tmp/t1.npz" "$tmp/t3.npz"
run 0 "$bin/mnist" --data "$data" --steps 12 --seed 2 --save "$tmp/t.npz"
check 'another seed gives the same weights' sh -c "! cmp -s '$tmp/t.npz' '$tmp/t1.npz'"

# ---- a small data set, for what needs no accuracy: 600 and 500 images
small=$tmp/small
mkdir "$small"
# cut NAME OFFSET BYTES HEADER: the first BYTES after the header, under a new one
cut_file() {
  { printf "$4"; tail -c +"$(($2 + 1))" "$data/$1" | head -c "$3"; } >"$small/$1"
}
cut_file train-images-idx3-ubyte 16 470400 '\0\0\010\003\0\0\002\130\0\0\0\034\0\0\0\034'
cut_file train-labels-idx1-ubyte 8 600 '\0\0\010\001\0\0\002\130'
cut_file t10k-images-idx3-ubyte 16 392000 '\0\0\010\003\0\0\001\364\0\0\0\034\0\0\0\034'
cut_file t10k-labels-idx1-ubyte 8 500 '\0\0\010\001\0\0\001\364'
for optimizer in sgd adam adamw lamb; do
  run 0 "$bin/mnist" --data "$small" --steps 3 --optimizer $optimizer --lr 0.0001 \
    --save "$tmp/s.npz"
  says '^test accuracy '
done
run 0 "$bin/beautiful_mnist" --data "$small" --steps 2 --batch 16 --save "$tmp/b.npz"
says '^test accuracy '
accuracy=$(grep '^test accuracy' "$tmp/out")
run 0 "$bin/beautiful_mnist" --data "$small" --load "$tmp/b.npz"
check 'beautiful_mnist: loaded weights give another accuracy' grep -q "^$accuracy" "$tmp/out"

# ---- what goes wrong is said, and leaves what was there
run 0 "$bin/mnist" --help
says '--optimizer'
run 2 "$bin/mnist" --stepz 3
warns 'no such option'
run 2 "$bin/mnist" --steps
warns 'a value is missing'
run 2 "$bin/mnist" --steps ten
run 2 "$bin/mnist" --batch 0
run 2 "$bin/mnist" --lr -1
run 2 "$bin/mnist" --optimizer rmsprop
run 1 "$bin/mnist" --data "$tmp/nowhere"
warns "$tmp/nowhere"
run 1 "$bin/mnist" --data "$small" --load "$tmp/nowhere.npz"
warns 'nowhere.npz'
run 1 "$bin/mnist" --data "$small" --load "$tmp/b.npz"
warns 'tg_load_npz'
run 1 "$bin/mnist" --data "$small" --steps 1 --save "$tmp/nowhere/a.npz"
warns 'nowhere'
head -c 1000 "$data/t10k-images-idx3-ubyte" >"$small/t10k-images-idx3-ubyte"
run 1 "$bin/mnist" --data "$small"
warns 'truncated'
if [ -w /dev/full ]; then
  "$bin/mnist" --help >"$tmp/out" 2>"$tmp/err"
  "$bin/01_tensors" >/dev/null 2>&1
  "$bin/mnist" --data "$data" --load "$tmp/a.npz" >/dev/full 2>"$tmp/err"
  check 'a full standard output goes unnoticed' test $? -ne 0
fi

# ---- interrupted: a message, its own status, the old weights whole, no litter
cp "$tmp/a.npz" "$tmp/before.npz"
run 130 timeout --preserve-status -s INT 3 "$bin/mnist" --data "$data" --steps 1000000 \
  --save "$tmp/a.npz"
warns 'interrupted after'
check 'the interrupted run changed the weights' cmp "$tmp/a.npz" "$tmp/before.npz"
check 'a run left a partial file' sh -c "! ls '$tmp'/*.part"

# ---- numpy reads the weights, where there is numpy
if python3 -c 'import numpy' 2>/dev/null; then
  run 0 python3 -c "import numpy; f = numpy.load('$tmp/a.npz'); print(f['c1'].shape, f['l1'].dtype)"
  says '(8, 1, 3, 3) float32'
fi

# ---- C++, where there is a compiler for it
for cxx in g++ clang++; do
  command -v $cxx >/dev/null 2>&1 || continue
  for std in c++11 c++20; do
    run 0 $cxx -std=$std $CFLAGS -Wall -Wextra -Wpedantic -Werror -Iinclude tests/cpp.cpp $libs \
      -o "$tmp/cpp"
    run 0 "$tmp/cpp"
    says ' 0 failed'
  done
done

# ---- hostile files
run 0 ${CC:-cc} -std=c11 -O1 $CFLAGS -Iinclude tests/fuzz/fuzz_io.c $libs -o "$tmp/fuzz_io"
run 0 "$tmp/fuzz_io" 3000

if [ "${TG_TEST_SLOW:-0}" != 0 ]; then
  run 0 "$bin/beautiful_mnist" --data "$data" --save "$tmp/b.npz"
  accuracy=$(sed -n 's/^test accuracy \(.*\) %/\1/p' "$tmp/out")
  check "accuracy $accuracy is not 98 or more" awk "BEGIN { exit !($accuracy + 0 >= 98) }"
  echo "beautiful_mnist: test accuracy $accuracy %, $(cat "$tmp/err")"
fi

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
