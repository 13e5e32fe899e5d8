# SPDX-License-Identifier: Apache-2.0
#
# The one front door. `make` lists the targets.

CC       ?= cc
CFLAGS   ?= -O2 -g -Wall -Wextra
SOURCES  := $(wildcard Sources/CShm/*.c) $(wildcard Tests/CShmTests/*.c)
HEADERS  := $(wildcard include/*.h include/cshm/*.h Sources/CShm/*.h Tests/CShmTests/*.h)
COMPILE   = $(CC) -std=c17 -D_GNU_SOURCE -Iinclude -ISources/CShm $(CFLAGS)
ASAN      = -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
# CShm with its stores going through the knife: compiled for ThreadSanitizer, linked without it.
KILL_SOURCES := $(wildcard Tests/CShmKill/*.c)
KILL_HEADERS := $(wildcard Tests/CShmKill/*.h) $(HEADERS)
KILL_OBJECTS := $(patsubst Sources/CShm/%.c,build/kill/%.o,$(wildcard Sources/CShm/*.c))
KILL      = -O1 -fno-inline -fno-optimize-sibling-calls -fno-builtin-memcpy -fno-builtin-memset \
            -fsanitize=thread -U__SANITIZE_THREAD__ -DCSHM__SEES_THREADS=1
TSAN      = -fsanitize=thread -fno-omit-frame-pointer

VERSION   = 0.1.0
# Of the same ABI are those of one soname: while the major version is 0, one minor version.
ABI       = 0.1
PREFIX   ?= /usr/local
LIBDIR   ?= $(PREFIX)/lib
OBJECTS  := $(patsubst Sources/CShm/%.c,build/lib/%.o,$(wildcard Sources/CShm/*.c))
PACKAGE   = $(patsubst Install/%.in,build/lib/%,$(wildcard Install/*.in))

# ThreadSanitizer's runtime before GCC 14 refuses the widest address randomisation.
FIXED_ADDRESSES = $(shell setarch -R true 2>/dev/null && echo setarch -R)

.DEFAULT_GOAL := help
.PHONY: help build test test-asan test-tsan release ctest ctest-asan ctest-tsan ctest-kill soak fuzz \
    models lib install uninstall install-test readme-test examples-test compiler-test lint format clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

build: ## build everything, debug
	swift build

test: ## run every test: Swift, and C through Swift
	swift test

release: ## build everything, optimised
	swift build -c release

ctest: build/cshm-tests ## run the C tests, built with cc alone
	build/cshm-tests $(TESTS)

ctest-asan: build/cshm-tests-asan ## run the C tests under AddressSanitizer, leaks included, and UBSan
	build/cshm-tests-asan $(TESTS)

# What a mutex answers to who does not hold it is tested, and is no mistake there.
ctest-tsan: build/cshm-tests-tsan ## run the C tests of one process under ThreadSanitizer
	TSAN_OPTIONS=$${TSAN_OPTIONS-atexit_sleep_ms=0:report_mutex_bugs=0} \
	    $(FIXED_ADDRESSES) build/cshm-tests-tsan --exclude-processes $(TESTS)

ctest-kill: build/cshm-kill ## kill and stop processes at every store to shared memory
	build/cshm-kill $(TESTS)

# The C tests have runs of their own above. Deaths and stops of whole processes are tested without
# sanitizers only: these catch signals, keep memory, and have made such tests wait for ever; so are waits
# whose processes end by exit() within a call, whose arguments are leaks then. lld, as
# gold warns of each local symbol of ASan's.
UNSANITIZED := --skip CSuiteTests --skip PoolDeathTests --skip ProcessDeathTests --skip AsyncWaitTests \
    --skip 'want of memory'

test-asan: ## run the Swift tests under AddressSanitizer, leaks included
	LSAN_OPTIONS=suppressions=$(CURDIR)/Tests/leaks.supp:print_suppressions=0 \
	    swift test --sanitize=address --scratch-path .build-asan -Xswiftc -use-ld=lld \
	    --disable-xctest $(UNSANITIZED)

test-tsan: ## run the Swift tests under ThreadSanitizer
	TSAN_OPTIONS=$${TSAN_OPTIONS-atexit_sleep_ms=0} \
	    swift test --sanitize=thread --scratch-path .build-tsan \
	    --disable-xctest $(UNSANITIZED)

soak: build/cshm-tests ## crowds of 64 processes for a minute each; KILLS=10000 in a pool; then kill and stop for MINUTES=10
	CSHM_TEST_SECONDS=60 CSHM_TEST_FILTER=starves_nobody build/cshm-tests
	SHAREDSTATE_KILLS=$(or $(KILLS),10000) swift test --filter 'after random kills'
	end=$$(($$(date +%s) + 60 * $(or $(MINUTES),10))); \
	while :; do \
	    for tests in crash kill history; do \
	        [ $$(date +%s) -lt $$end ] || exit 0; \
	        CSHM_TEST_FILTER=$$tests build/cshm-tests || exit 1; \
	    done; \
	done

# What it finds is in build/fuzz; build/cshm-fuzz FILE repeats one of these. NOUN=list: lists alone.
fuzz: build/cshm-fuzz ## change words of regions under their users for SECONDS=30
	@mkdir -p build/fuzz
	cd build/fuzz && $(if $(NOUN),CSHM_FUZZ_NOUN=$(NOUN)) ../cshm-fuzz -max_total_time=$(or $(SECONDS),30) -len_control=0 -max_len=400 \
	    -timeout=20 -verbosity=0 -print_final_stats=1 .

models: build/models ## check the models of the algorithms; MODELS=long for the larger ones
	build/models $(if $(filter long,$(MODELS)),--long)

.PHONY: bench cost peers
bench: ## measure everything beside its peers, as a table
	swift run -c release --package-path Benchmarks shmbench

cost: ## measure the rows of the README's table, and write it
	swift build -c release --package-path Benchmarks
	@mkdir -p build
	Benchmarks/.build/release/shmbench run --cost --peers all --format json --output build/cost.json || [ $$? = 2 ]
	Benchmarks/.build/release/shmbench render build/cost.json --into README.md

peers: ## install what the benchmarks' optional peers need
	Benchmarks/Peers/install

lib: build/lib/libcshm.a build/lib/libcshm.so.$(VERSION) ## build the C library, static and shared

install: lib $(PACKAGE) ## install the C library (PREFIX, LIBDIR, DESTDIR)
	install -d $(DESTDIR)$(PREFIX)/include/cshm $(DESTDIR)$(LIBDIR)/pkgconfig \
	    $(DESTDIR)$(LIBDIR)/cmake/cshm
	install -m 644 include/cshm.h $(DESTDIR)$(PREFIX)/include
	install -m 644 include/cshm/*.h $(DESTDIR)$(PREFIX)/include/cshm
	install -m 644 build/lib/libcshm.a $(DESTDIR)$(LIBDIR)
	install -m 755 build/lib/libcshm.so.$(VERSION) $(DESTDIR)$(LIBDIR)
	ln -sf libcshm.so.$(VERSION) $(DESTDIR)$(LIBDIR)/libcshm.so.$(ABI)
	ln -sf libcshm.so.$(ABI) $(DESTDIR)$(LIBDIR)/libcshm.so
	install -m 644 build/lib/cshm.pc $(DESTDIR)$(LIBDIR)/pkgconfig
	install -m 644 build/lib/*.cmake $(DESTDIR)$(LIBDIR)/cmake/cshm

uninstall: ## remove what install installed
	rm -rf $(DESTDIR)$(PREFIX)/include/cshm.h $(DESTDIR)$(PREFIX)/include/cshm \
	    $(DESTDIR)$(LIBDIR)/libcshm.* $(DESTDIR)$(LIBDIR)/pkgconfig/cshm.pc \
	    $(DESTDIR)$(LIBDIR)/cmake/cshm

readme-test: ## compile and run what README.md, cshm/queue.h and Queue's documentation show
	.ci/readme-test

examples-test: ## build the examples and let them talk
	.ci/examples-test

compiler-test: ## see what must not compile, and builds of one program with other layouts
	.ci/compiler-test

install-test: ## install into a temporary prefix, and build and run programs with it
	.ci/install-test

lint: ## check style, headers and links
	.ci/lint

format: ## rewrite Swift and C sources in the project's style
	git ls-files -z '*.swift' | xargs -0 -r swift format format --in-place --parallel
	git ls-files -z '*.c' '*.h' | xargs -0 -r clang-format-19 -i

clean: ## remove what was built
	rm -rf .build .build-asan .build-tsan build

build/lib/%.o: Sources/CShm/%.c $(HEADERS) Makefile
	@mkdir -p build/lib
	$(COMPILE) -fPIC -fvisibility=hidden -c $< -o $@

# One object, so that what is not exported is local in the archive too.
build/lib/libcshm.a: $(OBJECTS)
	$(LD) -r $^ -o build/lib/cshm.o
	objcopy --localize-hidden build/lib/cshm.o
	rm -f $@
	$(AR) rcs $@ build/lib/cshm.o

build/lib/libcshm.so.$(VERSION): $(OBJECTS)
	$(CC) -shared -Wl,-soname,libcshm.so.$(ABI) -Wl,--no-undefined $^ -pthread -o $@

# Always made anew: what is in them depends on PREFIX.
.PHONY: $(PACKAGE)
$(PACKAGE): build/lib/%: Install/%.in
	@mkdir -p build/lib
	sed -e 's|@PREFIX@|$(PREFIX)|; s|@LIBDIR@|$(LIBDIR)|; s|@VERSION@|$(VERSION)|; s|@ABI@|$(ABI)|' \
	    -e "s|@INCLUDE_FROM_LIBDIR@|$$(realpath -ms --relative-to=$(LIBDIR) $(PREFIX)/include)|" $< >$@

build/cshm-tests: $(SOURCES) $(HEADERS) Makefile
	@mkdir -p build
	$(COMPILE) $(SOURCES) -lpthread -o $@

build/cshm-tests-asan: $(SOURCES) $(HEADERS) Makefile
	@mkdir -p build
	$(COMPILE) $(ASAN) $(SOURCES) -lpthread -o $@

build/cshm-tests-tsan: $(SOURCES) $(HEADERS) Makefile
	@mkdir -p build
	$(COMPILE) $(TSAN) $(SOURCES) -lpthread -o $@

build/kill/%.o: Sources/CShm/%.c Tests/CShmKill/points.awk $(HEADERS) Makefile
	@mkdir -p build/kill
	$(COMPILE) $(KILL) -S $< -o build/kill/$*.plain.s
	awk -f Tests/CShmKill/points.awk build/kill/$*.plain.s > build/kill/$*.s
	$(CC) -c build/kill/$*.s -o $@

build/cshm-kill: $(KILL_OBJECTS) $(KILL_SOURCES) $(KILL_HEADERS) Makefile
	$(COMPILE) -ITests/CShmKill $(KILL_SOURCES) $(KILL_OBJECTS) -lpthread -o $@

# With libFuzzer, where the toolchain's clang has it; else with random inputs.
FUZZ_SOURCES := $(wildcard Sources/CShm/*.c) $(filter-out %/driver.c,$(wildcard Tests/CShmFuzz/*.c))
CLANG     = $(wildcard $(dir $(shell readlink -f "$$(command -v swift)"))clang)
LIBFUZZER = -fuse-ld=lld -fsanitize=fuzzer

build/cshm-fuzz: $(FUZZ_SOURCES) Tests/CShmFuzz/driver.c $(HEADERS) Tests/CShmFuzz/fuzz.h Makefile
	@mkdir -p build
	if [ -n "$(CLANG)" ] && echo 'int LLVMFuzzerTestOneInput(void) { return 0; }' | \
	    $(CLANG) -x c - $(LIBFUZZER) -o build/probe 2>/dev/null; then \
	    $(COMPILE:$(CC)%=$(CLANG)%) $(ASAN) $(LIBFUZZER) -Wno-sign-compare $(FUZZ_SOURCES) -pthread -o $@; \
	else \
	    $(COMPILE) $(ASAN) $(FUZZ_SOURCES) Tests/CShmFuzz/driver.c -pthread -o $@; \
	fi

build/models: $(wildcard Tests/Models/*.c Tests/Models/*.h) Makefile
	@mkdir -p build
	$(COMPILE) -O2 $(filter %.c,$^) -o $@
