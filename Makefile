# teenygrad: one Makefile for everything.
#
#   make            libteenygrad.a, libteenygrad.so and the example programs
#   make mnist      trains on MNIST and tests on its 10,000 test images
#   make test       every test that needs a C compiler and make alone
#   make help       all other targets
#
# It reads from top to bottom: what can be set, what is found in the folders,
# how files are made, and the targets. The library is every .c file of the
# rooms under src/; nothing is listed by hand. Everything made goes to $(BUILD),
# so variants (sanitizers, another compiler) live side by side:
#
#   make CC=clang BUILD=build/clang CFLAGS='-O3 -march=native' ZLIB=0

# ------------------------------------------------------------- to be set ----
CC       ?= cc
CXX      ?= c++
CFLAGS   ?= -O2 -g
BUILD    ?= build
PREFIX   ?= /usr/local
DESTDIR  ?=
WARNINGS ?= -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wswitch-enum
# ARGS goes to the program that `make mnist` runs, SUITES to the tests (all: none).
ARGS     ?=
SUITES   ?=
# How long `make fuzz-graphs` goes on, and the seed of its first graph.
SECONDS  ?= 60
SEED     ?= 1
# zlib is used where it is found: the IDX reader then reads .gz and the .npz
# reader compressed arrays.
ifndef ZLIB
ZLIB     := $(shell echo 'int main(void) { return !zlibVersion(); }' | $(CC) -include zlib.h \
              -x c - -o /dev/null -lz 2>/dev/null && echo 1 || echo 0)
endif

VERSION  := $(shell sed -n 's/^\#define TG_VERSION "\(.*\)"/\1/p' include/teenygrad/teenygrad.h)
SONAME   := libteenygrad.so.$(firstword $(subst ., ,$(VERSION)))
LIBS     := $(if $(filter 1,$(ZLIB)),-lz) -lm -ldl -pthread
# V=1 shows the commands in full.
Q        := $(if $(V),,@)
SAY       = $(if $(V),,@echo '$(1)')
COMPILE   = $(CC) -std=c11 $(CFLAGS) $(WARNINGS) -fPIC -pthread -Iinclude -Isrc -I$(BUILD)/gen \
            $(if $(filter 1,$(ZLIB)),-DTG_ZLIB) $(CPPFLAGS)

# ----------------------------------------------------- what the folders hold --
SOURCES  := $(sort $(wildcard src/*/*.c src/*/*/*.c))
OBJECTS  := $(SOURCES:src/%.c=$(BUILD)/obj/%.o)
EXAMPLES := $(patsubst %.c,$(BUILD)/%,$(sort $(wildcard examples/*.c)))
BENCHES  := $(patsubst %.c,$(BUILD)/%,$(sort $(wildcard bench/*.c)))
TESTS    := $(patsubst %.c,$(BUILD)/obj/%.o,$(sort tests/main.c $(wildcard tests/test_*.c tests/oracle/*.c)))
GRAPHS   := $(patsubst %.c,$(BUILD)/obj/%.o,$(sort $(wildcard tests/graphs/*.c)))
TESTS    += $(filter-out %/fuzz.o,$(GRAPHS))
FUZZERS  := $(patsubst tests/fuzz/%.c,$(BUILD)/%,$(wildcard tests/fuzz/*.c))
MNIST    := $(patsubst %.gz,$(BUILD)/%,$(wildcard data/mnist/*.gz))
LIBRARY  := $(BUILD)/libteenygrad.a
SHARED   := $(BUILD)/libteenygrad.so

.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: all lib examples data mnist beautiful_mnist tests check test sanitize tsan valgrind hostile \
        fuzz-graphs test-python install uninstall amalgamation bench bench-quick loc style clean help FORCE

all: lib examples
lib: $(LIBRARY) $(SHARED) $(BUILD)/teenygrad.pc
examples: $(EXAMPLES)
tests: $(BUILD)/tests $(FUZZERS)
data: $(MNIST)

# -------------------------------------------------------- how files are made --
# The text that generated kernels begin with, as C strings.
$(BUILD)/gen/prelude.inc: src/backend/c/prelude.h tools/strings.sh
	@mkdir -p $(@D)
	@tools/strings.sh $< > $@
$(BUILD)/obj/backend/c/prelude.o: $(BUILD)/gen/prelude.inc

# An object depends on its source, on the headers it read last time (the .d
# files) and on the command line that made it ($(BUILD)/flags).
$(BUILD)/obj/%.o: src/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call SAY,cc $<)
	$(Q)$(COMPILE) -MMD -MP -c $< -o $@

$(BUILD)/obj/tests/%.o: tests/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call SAY,cc $<)
	$(Q)$(COMPILE) -Itests -DTG_TEST_DATA='"$(BUILD)/data"' -MMD -MP -c $< -o $@

$(BUILD)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(subst ','\'',$(COMPILE))' | cmp -s - $@ || echo '$(subst ','\'',$(COMPILE))' > $@

$(LIBRARY): $(OBJECTS)
	@rm -f $@
	$(call SAY,ar $@)
	$(Q)$(AR) rcs $@ $^

# The shared library shows what the public header declares and nothing else.
$(BUILD)/exports: include/teenygrad/teenygrad.h $(BUILD)/flags
	@{ echo '{ global:'; $(CC) -std=c11 -E -P $< | grep -oE '\btg_[a-z0-9_A-Z]+\(' | \
	  sed 's/($$/;/' | sort -u; echo 'local: *; };'; } > $@

$(SHARED): $(OBJECTS) $(BUILD)/exports
	$(call SAY,ld $@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -shared -Wl,-soname,$(SONAME) -Wl,--version-script=$(BUILD)/exports \
	  $(OBJECTS) -o $@ $(LIBS)
	@ln -sf $(@F) $(BUILD)/$(SONAME)

$(BUILD)/teenygrad.pc: Makefile include/teenygrad/teenygrad.h FORCE
	@printf '%s\n' 'prefix=$(PREFIX)' 'includedir=$${prefix}/include' 'libdir=$${prefix}/lib' '' \
	  'Name: teenygrad' 'Description: tensors, autograd and training in C' 'Version: $(VERSION)' \
	  'Cflags: -I$${includedir}' 'Libs: -L$${libdir} -lteenygrad' 'Libs.private: $(LIBS)' > $@

$(BUILD)/examples/%: examples/%.c $(LIBRARY) $(BUILD)/flags
	@mkdir -p $(@D)
	$(call SAY,cc $<)
	$(Q)$(COMPILE) -MMD -MP $< -o $@ $(LDFLAGS) $(LIBRARY) $(LIBS)

$(BUILD)/bench/%: bench/%.c $(LIBRARY) $(BUILD)/flags
	@mkdir -p $(@D)
	$(call SAY,cc $<)
	$(Q)$(COMPILE) -MMD -MP $< -o $@ $(LDFLAGS) $(LIBRARY) $(LIBS)

$(BUILD)/tests: $(TESTS) $(LIBRARY)
	$(call SAY,ld $@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $(TESTS) -o $@ $(LIBRARY) $(LIBS)

$(BUILD)/fuzz-graphs: $(GRAPHS) $(LIBRARY)
	$(call SAY,ld $@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $(GRAPHS) -o $@ $(LIBRARY) $(LIBS)

$(FUZZERS): $(BUILD)/%: tests/fuzz/%.c $(LIBRARY) $(BUILD)/flags
	$(call SAY,cc $<)
	$(Q)$(COMPILE) -MMD -MP $< -o $@ $(LDFLAGS) $(LIBRARY) $(LIBS)

$(BUILD)/data/mnist/%: data/mnist/%.gz
	@mkdir -p $(@D)
	$(call SAY,gzip -d $<)
	$(Q)gzip -dc $< > $@.part && mv $@.part $@

-include $(OBJECTS:.o=.d) $(TESTS:.o=.d) $(GRAPHS:.o=.d) $(EXAMPLES:=.d) $(BENCHES:=.d) $(FUZZERS:=.d)

# -------------------------------------------------------------------- programs --
mnist: $(BUILD)/examples/mnist data
	$< --data $(BUILD)/data/mnist $(ARGS)

beautiful_mnist: $(BUILD)/examples/beautiful_mnist data
	$< --data $(BUILD)/data/mnist $(ARGS)

# ROWS="tiny8 matmul512/1" measures some rows; ARGS are options of bench/run.py.
bench: $(BENCHES) $(SHARED) examples data
	python3 bench/run.py --build $(BUILD) $(ARGS) $(ROWS)

bench-quick: $(BENCHES)
	TG_JIT=$${TG_JIT:-sync} $(BUILD)/bench/bench quick $(ROWS)

# ----------------------------------------------------------------------- tests --
# check: the test program alone. test: that, the programs, the documents, the
# installed files and the amalgamation; the last line is the sum of all.
check: $(BUILD)/tests data
	$(CHECKER) $(BUILD)/tests $(SUITES)

test: all tests data $(BENCHES)
	@BUILD='$(BUILD)' CC='$(CC)' CXX='$(CXX)' MAKE='$(MAKE_COMMAND)' TG_LIBS='$(LIBS)' \
	  tools/test.sh

sanitize:
	$(MAKE) check BUILD=build/asan CFLAGS='-O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined \
	  -fno-sanitize-recover=all'
tsan:
	$(MAKE) check BUILD=build/tsan CFLAGS='-O1 -g -fsanitize=thread'
valgrind:
	$(MAKE) check BUILD=build/valgrind CFLAGS='-O1 -g' CPPFLAGS=-DTG_PLAIN_MALLOC \
	  CHECKER='valgrind -q --leak-check=full --errors-for-leak-kinds=definite,indirect,possible \
	  --error-exitcode=99'
# Tables, tiles and blocks so small that every edge path runs.
hostile:
	$(MAKE) check BUILD=build/hostile CPPFLAGS=-DTG_HOSTILE

# Random graphs, the variants of each against one another (tests/graphs/graphs.h).
fuzz-graphs: $(BUILD)/fuzz-graphs
	TG_CACHE_DIR='$(abspath $(BUILD))/cache-fuzz' $< --seconds $(SECONDS) --seed $(SEED) $(ARGS)

# The Python package, in a virtual environment of its own under $(BUILD), against PyTorch.
test-python: data
	@BUILD='$(BUILD)' python/test.sh $(ARGS)

style: lib
	BUILD='$(BUILD)' tools/check_style.sh

# --------------------------------------------------------------------- to others --
install: lib
	install -d '$(DESTDIR)$(PREFIX)/include/teenygrad' '$(DESTDIR)$(PREFIX)/lib/pkgconfig'
	install -m 644 include/teenygrad/teenygrad.h '$(DESTDIR)$(PREFIX)/include/teenygrad'
	install -m 644 $(LIBRARY) '$(DESTDIR)$(PREFIX)/lib'
	install -m 755 $(SHARED) '$(DESTDIR)$(PREFIX)/lib/libteenygrad.so.$(VERSION)'
	ln -sf libteenygrad.so.$(VERSION) '$(DESTDIR)$(PREFIX)/lib/$(SONAME)'
	ln -sf $(SONAME) '$(DESTDIR)$(PREFIX)/lib/libteenygrad.so'
	install -m 644 $(BUILD)/teenygrad.pc '$(DESTDIR)$(PREFIX)/lib/pkgconfig'

uninstall:
	rm -f '$(DESTDIR)$(PREFIX)'/include/teenygrad/teenygrad.h '$(DESTDIR)$(PREFIX)'/lib/libteenygrad.* \
	  '$(DESTDIR)$(PREFIX)'/lib/pkgconfig/teenygrad.pc
	-rmdir '$(DESTDIR)$(PREFIX)'/include/teenygrad

# The library as one .c and one .h; build with: cc -O2 -c teenygrad.c
amalgamation:
	tools/amalgamate.sh build/amalgamation

loc:
	@tools/loc.sh

clean:
	rm -rf build $(BUILD)

help:
	@sed -n 's/^#   \(make.*\)/\1/p' Makefile
	@echo 'make beautiful_mnist  the larger network (98 %)'
	@echo 'make check            the test program alone; SUITES="name name" for some of it'
	@echo 'make fuzz-graphs      random graphs for SECONDS=60 from SEED=1: backends against one another'
	@echo 'make test-python      the Python package, against PyTorch, in a virtual environment of its own'
	@echo 'make sanitize|tsan|valgrind|hostile   check under that tool, in a build folder of its own'
	@echo 'make install|uninstall  PREFIX=/usr/local DESTDIR='
	@echo 'make amalgamation     the library as build/amalgamation/teenygrad.c and teenygrad.h'
	@echo 'make bench            this library and other frameworks, installed from PyPI into build/bench-venv'
	@echo 'make bench-quick      this library alone; ROWS="tiny8 mlp1" for some rows of either'
	@echo 'make loc              lines per room'
	@echo 'make style            the checks of habits that CI runs'
	@echo 'make clean            removes the build folder'
