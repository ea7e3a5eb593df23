# A thin front for people in a hurry; CMakePresets.json has the real configurations.

.DEFAULT_GOAL := build
.NOTPARALLEL:
.PHONY: build run chat test format clean help

program := build/release/cachalot
jobs    := $(shell getconf _NPROCESSORS_ONLN)

# What the user typed, untouched: without this make would expand a '$' in it.
override export PROMPT := $(value PROMPT)

# build/release is configured without tests, which need packages that running does not, until `make test` asks for
# them. The test run with -n keeps a build that has nothing to do silent.
build:
	@scripts/quietly build/bootstrap.log 'installing what is missing' scripts/bootstrap
	@test -f build/release/build.ninja || \
	    scripts/quietly build/configure.log 'configuring' cmake --preset release -DCACHALOT_TESTS=OFF
	@ninja -C build/release -n cachalot 2>/dev/null | grep -q 'no work to do' || \
	    scripts/quietly build/build.log 'building, which takes some minutes the first time' \
	    cmake --build build/release --target cachalot

run: build
	@if [ -n "$$PROMPT" ]; then exec $(program) run -p "$$PROMPT" $(ARGS); else exec $(program) chat $(ARGS); fi

chat: run

test:
	@scripts/bootstrap --dev
	@grep -qs '^CACHALOT_TESTS:BOOL=ON' build/release/CMakeCache.txt && test -f build/release/build.ninja || \
	    cmake --preset release
	@cmake --build build/release
	@ctest --preset release -j $(jobs)

format:
	@git ls-files '*.h' '*.cpp' '*.inl' '*.cu' '*.cuh' | xargs clang-format -i

clean:
	@rm -rf build

help:
	@echo 'make                      build the program: $(program)'
	@echo 'make run                  build it and chat'
	@echo 'make run PROMPT="..."     build it and answer one prompt'
	@echo '         ARGS="..."       more arguments for the program, e.g. ARGS="--temp 0"'
	@echo 'make test                 build and run the tests'
	@echo 'make format               format the sources'
	@echo 'make clean                remove build/'
