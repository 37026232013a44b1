#!/bin/sh
# tools/test.sh: what `make test` runs after building, in the order in which a
# failure tells most: the test program on the default device, its cheap suites on
# the reference device, the programs, the documents, an installation, the
# amalgamation. The last line is the sum. Needs a C compiler, make and a shell.
# BUILD, CC, CXX, MAKE and TG_LIBS come from the Makefile.
cd "$(dirname "$0")/.." || exit 1
BUILD=${BUILD:-build}
. tools/tally.sh
# The tests set what they need themselves.
unset TG_DEVICE TG_THREADS TG_GRAPH DEBUG TG_CC TG_CC_TIMEOUT TG_CACHE_MB
# What a test sees must not depend on when a compiler is done; test_c and the run
# of mnist that is about it set other modes.
export TG_JIT=off
case $BUILD in /*) export TG_CACHE_DIR="$BUILD/cache" ;; *) export TG_CACHE_DIR="$PWD/$BUILD/cache" ;; esac

piece 'tests' "$BUILD/tests"
# shellcheck disable=SC2086
piece 'tests on the reference device' env TG_DEVICE=REF "$BUILD/tests" \
  ${REF_SUITES:-dtype_ op_ ops_ index_ random_ autograd_ optim_sgd optim_adam optim_lamb}
piece 'programs' tests/test_programs.sh "$BUILD"
piece 'benchmark' tests/test_bench.sh "$BUILD"
piece 'documents' tests/test_docs.sh
piece 'parity' tests/test_parity.sh
piece 'install' tests/test_install.sh
piece 'amalgamation' tests/test_amalgamation.sh
tally
