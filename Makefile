# make                build/manx for this machine; ARCH=aarch64|armv7|armv6|riscv64|x86_64
#                     builds build/<arch>/manx; V=1 shows the commands; SYSROOT=folder: cross/SYSROOT.md
# make deps           only the Debian packages that the build lacks
# make check          all everyday tests (as root); check-unit, check-netns: one part of them
# make check-all      and what takes longer; check-api, check-cluster, check-cross, check-fresh, check-kill, check-load, check-load-api,
#                     check-policy, check-qemu, check-soak: one part
# make image          build/manx-image.tar, the container image that k3s-rke/manx.yaml names
# make cluster        a real Kubernetes cluster on this machine with manx on its three nodes, and a shell there
# make initramfs      build/<arch>/initramfs.gz, the smallest root that boots manx
# make demo           three nodes on this machine, and who reaches whom; KEEP=1 keeps them
# make bench          the benchmarks
# make size           what each directory and library weighs, beside what is recorded in cross/sizes
# make size-record    records it, for every architecture
# make repro          two builds in two folders are the same, for every architecture; repro-<arch>: one
# make fuzz           looks for inputs that break a target: T=target (tests/fuzz), S=seconds
# make analyze        gcc's analyser, clang-tidy, cppcheck: no finding but those in tests/analyze.allow
# make install        the program, manual, unit, licences under DESTDIR and PREFIX (/usr), and
#                     /etc/manx.conf where there is none; make licences: only those, in build/<arch>/licences
# make link-test      the libraries whole against musl, for every architecture

.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules
# A job on each core, unless -j says otherwise; what check-all runs would disturb each other.
ifeq ($(MAKELEVEL)$(filter check-all,$(MAKECMDGOALS)),0)
MAKEFLAGS += -j$(shell nproc)
endif
.PHONY: all deps deps-build deps-run deps-test deps-bench deps-initramfs deps-guest clean size size-record link-test repro \
        install licences image cluster check-install check-size check-given check-api check-cluster check-conformance check-idle bench-cluster deps-cluster \
        analyze deps-analyze fuzz deps-fuzz deps-cross deps-fresh check-fuzz check-cross check-fresh check check-all check-unit check-layers check-headers check-netns check-policy check-kill check-load check-load-api check-soak check-qemu initramfs demo bench FORCE
all:

Q := $(if $(V),,@)
say = $(if $(V),,@printf '%-6s %s\n' '$(1)' '$(strip $(2))')

# --- architecture ---------------------------------------------------------
# Debian's name of it decides, not the kernel's: a 32-bit system may run on a 64-bit one.
ARCHES := x86_64 aarch64 armv7 armv6 riscv64
NATIVE := $(shell dpkg --print-architecture | sed 's/amd64/x86_64/; s/arm64/aarch64/; s/armhf/armv7/; s/armel/armv6/')
ARCH   := $(NATIVE)
ifeq ($(filter $(ARCH),$(ARCHES)),)
$(error no architecture '$(ARCH)'; there are $(ARCHES))
endif

TRIPLET_x86_64  := x86_64-linux-gnu
TRIPLET_aarch64 := aarch64-linux-gnu
TRIPLET_armv7   := arm-linux-gnueabihf
TRIPLET_armv6   := arm-linux-gnueabi
TRIPLET_riscv64 := riscv64-linux-gnu
TRIPLET := $(TRIPLET_$(ARCH))

# tiny: all is within a MiB, so an address takes one instruction; the linker says when it is not.
MACHINE_aarch64 := -mno-outline-atomics -mcmodel=tiny
MACHINE_armv7   := -march=armv7-a+fp -mfloat-abi=hard
MACHINE_armv6   := -march=armv6 -marm -mfloat-abi=soft

# Packed relative relocations: a pointer in a table costs a bit in the file, not 24 bytes.
LINK_x86_64 := -Wl,-z,pack-relative-relocs
# arm64 kernels have pages of 4 to 64 KiB, 32-bit ones have 4.
LINK_armv7  := -Wl,-z,max-page-size=4096
LINK_armv6  := $(LINK_armv7)

OUT     := build/$(ARCH)
CC      := $(TRIPLET)-gcc
STRIP   := $(TRIPLET)-strip
OBJCOPY := $(TRIPLET)-objcopy
SIZE    := $(TRIPLET)-size

# --- packages --------------------------------------------------------------
BUILD_DEPS := $(if $(filter $(ARCH),$(NATIVE)),gcc,gcc-$(subst _,-,$(TRIPLET)))
RUN_DEPS   := python3 iproute2 iputils-ping nftables
TEST_DEPS  := $(RUN_DEPS) gcc libc6-dev python3-pytest strace procps mandoc systemd openssl iptables \
              containernetworking-plugins \
              libcmocka-dev libmnl-dev libbearssl-dev libyaml-dev libjsmn-dev

INITRAMFS_DEPS := cpio kmod xz-utils
GUEST_DEPS := $(INITRAMFS_DEPS) qemu-system-x86 qemu-system-arm

BENCH_DEPS := $(RUN_DEPS) gcc libc6-dev musl-tools containernetworking-plugins

deps: deps-build
deps-build: ; @cross/deps.sh $(BUILD_DEPS)
deps-run:   ; @cross/deps.sh $(RUN_DEPS)
deps-test:  ; @cross/deps.sh $(TEST_DEPS)
deps-bench: ; @cross/deps.sh $(BENCH_DEPS)
deps-guest: ; @cross/deps.sh $(GUEST_DEPS)
deps-initramfs: ; @cross/deps.sh $(INITRAMFS_DEPS)

# --- the program -------------------------------------------------------------
# musl's headers and objects stand in for the compiler's own ones by hand, because
# "musl-gcc -static-pie" quietly links a dynamic program.
# SYSROOT=folder on the command line: see cross/SYSROOT.md.
GIVEN   := $(if $(SYSROOT),$(if $(filter /%,$(SYSROOT)),,$(CURDIR)/)$(SYSROOT))
override SYSROOT := $(OUT)/sysroot
MUSL    := $(subst gnu,musl,$(TRIPLET))
CRT     := $(SYSROOT)/usr/lib/$(MUSL)
LIB     := $(SYSROOT)/usr/lib/$(TRIPLET)
LIBS    := $(LIB)/libbearssl.a $(LIB)/libmnl.a $(LIB)/libyaml.a

SRCS := $(sort $(wildcard src/*.c src/*/*.c))
HDRS := $(sort $(wildcard src/*.h src/*/*.h))
OBJS := $(SRCS:src/%.c=$(OUT)/obj/%.o)

# A table's row may leave out its tail.
WARN   := -Wall -Wextra -Wdate-time -Wshadow -Wmissing-prototypes -Wstrict-prototypes -Wvla -Wformat=2 \
          -Wno-missing-field-initializers -Werror
COMMON := -std=gnu11 -D_GNU_SOURCE $(WARN) -fno-strict-aliasing -Isrc

SYSTEM := -nostdinc -isystem $(SYSROOT)/usr/include/$(MUSL) -isystem $$($(CC) -print-file-name=include) \
          -isystem $(SYSROOT)/usr/$(TRIPLET)/include -isystem $(SYSROOT)/usr/include
CFLAGS := $(COMMON) -Oz -g $(MACHINE_$(ARCH)) -fPIE -fvisibility=hidden -fstack-protector-strong \
          -ffunction-sections -fdata-sections -fno-unwind-tables -fno-asynchronous-unwind-tables \
          -ffile-prefix-map="$$PWD"=. $(SYSTEM)

LDFLAGS := -nostdlib -static -Wl,-pie,--no-dynamic-linker,--gc-sections,--build-id=none \
           -Wl,-z,text,-z,relro,-z,now,-z,noexecstack,-z,noseparate-code $(LINK_$(ARCH))

# link OUTPUT, OBJECTS AND LIBRARIES
link = $(CC) $(LDFLAGS) -o $(1) $(CRT)/rcrt1.o $(CRT)/crti.o \
       -Wl,--start-group $(2) $(CRT)/libc.a $$($(CC) -print-libgcc-file-name) -Wl,--end-group $(CRT)/crtn.o

all: $(OUT)/manx
$(OUT)/manx: $(OUT)/manx.debug
	$(call say,STRIP,$@)
	$(Q)$(STRIP) -s -o $@ $<
	$(Q)cd $(OUT) && $(OBJCOPY) --add-gnu-debuglink=manx.debug manx

$(OUT)/manx.debug: $(OBJS) $(OUT)/link.flags
	$(call say,LINK,$(@:.debug=))
	$(Q)$(call link,$@,$(OBJS) $(LIBS)) -Wl,-Map=$(OUT)/manx.map
	$(Q)cross/assert-static-pie.sh $@

$(OUT)/obj/%.o: src/%.c Makefile $(OUT)/cc.flags $(SYSROOT).done
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<

# Each byte that a server sends goes through it.
$(OUT)/obj/wire/json_check.o: CFLAGS += -O2

-include $(OBJS:.o=.d)
$(OUT)/obj/install.o: config/manx.service config/manx.openrc

# musl's start files carry debug records that Debian 12's linker for riscv64 cannot
# read, the libraries unwind tables that nothing here asks for.
$(SYSROOT).done: cross/pins cross/sysroot.sh cross/given.sh $(OUT)/sysroot.from Makefile | deps-build
	$(call say,$(if $(GIVEN),COPY,FETCH),$(SYSROOT))
	$(Q)$(if $(GIVEN),cross/given.sh "$(GIVEN)" $(ARCH) $(TRIPLET) $(SYSROOT),cross/sysroot.sh $(ARCH) $(SYSROOT))
	$(Q)$(STRIP) -g -R .eh_frame $(CRT)/*.o $(LIBS)
	@touch $@

# A file that changes when the words do, so that other flags or sources build anew.
$(OUT)/cc.flags:   words = $(CC) $(CFLAGS)
$(OUT)/link.flags: words = $(LDFLAGS) $(OBJS) $(LIBS)
$(OUT)/sysroot.from: words = $(GIVEN)
$(OUT)/cc.flags $(OUT)/link.flags $(OUT)/sysroot.from: FORCE
	@mkdir -p $(@D); echo '$(words)' | cmp -s - $@ || echo '$(words)' > $@

# This machine's own program has the short name too.
ifeq ($(ARCH),$(NATIVE))
all: build/manx
build/manx: $(OUT)/manx
	@ln -f $(OUT)/manx.debug build/manx.debug && ln -f $(OUT)/manx build/manx
endif

clean:
	rm -rf build

size: $(OUT)/manx
	@awk -f cross/size.awk $(OUT)/manx.map
	@CC=$(CC) SIZE=$(SIZE) cross/size.sh show $(ARCH) $<

check-size: $(OUT)/manx
	@CC=$(CC) SIZE=$(SIZE) cross/size.sh check $(ARCH) $<

size-record: $(ARCHES:%=size-record-%)
$(ARCHES:%=size-record-%): size-record-%:
	@$(MAKE) --no-print-directory ARCH=$* size-record-one
size-record-one: $(OUT)/manx
	@CC=$(CC) SIZE=$(SIZE) cross/size.sh record $(ARCH) $<
.PHONY: $(ARCHES:%=size-record-%) size-record-one

# --- a sysroot that somebody else made ---------------------------------------------
check-given: $(OUT)/manx
	@MAKE='$(MAKE)' cross/check-given.sh $(ARCH) $(TRIPLET) $(SYSROOT)

# --- the same bytes wherever it is built -----------------------------------------
repro: $(ARCHES:%=repro-%)
$(ARCHES:%=repro-%): repro-%:
	@MAKE='$(MAKE)' cross/repro.sh $*
.PHONY: $(ARCHES:%=repro-%)

# --- installation ------------------------------------------------------------------
DESTDIR :=
PREFIX  := /usr
DOC     := $(DESTDIR)$(PREFIX)/share/doc/manx

licences: $(if $(GIVEN),licences-unknown,$(OUT)/licences.done)
licences-unknown: ; @echo 'licences: of what is in $(GIVEN) only its maker knows them' >&2; exit 1
.PHONY: licences-unknown
$(OUT)/licences.done: cross/licences.sh cross/pins LICENSE $(SYSROOT).done
	$(Q)cross/licences.sh $(ARCH) $(SYSROOT) $(OUT)/licences
	@touch $@

# What names the program names it where it is.
put = sed 's,/usr/bin/,$(PREFIX)/bin/,g' config/$(1) | install -D -m $(2) /dev/stdin "$(3)"

install: all licences
	$(call say,INSTALL,$(DESTDIR)$(PREFIX))
	$(Q)install -D -m 755 $(OUT)/manx "$(DESTDIR)$(PREFIX)/bin/manx"
	$(Q)install -D -m 644 config/man/manx.1 "$(DESTDIR)$(PREFIX)/share/man/man1/manx.1"
	$(Q)install -D -m 644 config/man/manx.conf.5 "$(DESTDIR)$(PREFIX)/share/man/man5/manx.conf.5"
	$(Q)$(call put,manx.service,644,$(DESTDIR)$(PREFIX)/lib/systemd/system/manx.service)
	$(Q)$(call put,manx.run,755,$(DOC)/manx.run)
	$(Q)$(call put,manx.openrc,755,$(DOC)/manx.openrc)
	$(Q)install -d -m 755 "$(DOC)/licences" && install -m 644 $(OUT)/licences/* "$(DOC)/licences"
	$(Q)test -e "$(DESTDIR)/etc/manx.conf" || install -D -m 644 config/manx.conf "$(DESTDIR)/etc/manx.conf"

# --- a container image ---------------------------------------------------------------
# The program and its licences, by the name that the manifest has.
image: $(OUT)/manx-image.tar
$(OUT)/manx-image.tar: $(OUT)/manx $(OUT)/licences.done k3s-rke/manx.yaml cross/image.sh
	$(call say,IMAGE,$@)
	$(Q)rm -rf $(OUT)/image && install -D -m 755 $(OUT)/manx $(OUT)/image/bin/manx
	$(Q)cp -r $(OUT)/licences $(OUT)/image/licences
	$(Q)ARCH=$(ARCH) cross/image.sh $@ $$(sed -n 's/^ *image: //p' k3s-rke/manx.yaml) $(OUT)/image /bin/manx
ifeq ($(ARCH),$(NATIVE))
image: build/manx-image.tar
build/manx-image.tar: $(OUT)/manx-image.tar
	@ln -f $< $@
endif

# --- the libraries whole, for every architecture -------------------------------
link-test: $(ARCHES:%=link-test-%)
	$(call say,RUN,build/$(NATIVE)/whole)
	$(Q)build/$(NATIVE)/whole
$(ARCHES:%=link-test-%): link-test-%:
	@$(MAKE) --no-print-directory ARCH=$* build/$*/whole
.PHONY: $(ARCHES:%=link-test-%)

# Nothing may be collected here: the linker is silent about what a dropped section lacks.
$(OUT)/whole: $(OUT)/obj/shims.o tests/shims/whole.c
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) -c -o $@.o tests/shims/whole.c
	$(Q)$(call link,$@,$@.o $< -Wl$(comma)--whole-archive $(LIBS) -Wl$(comma)--no-whole-archive) -Wl,--no-gc-sections
	$(Q)cross/assert-static-pie.sh $@
comma := ,

# --- tests -----------------------------------------------------------------------
PYTEST := PYTHONDONTWRITEBYTECODE=1 python3 -m pytest -q -p no:cacheprovider
QUICK := check-unit check-fuzz check-layers check-headers check-install check-size
check: all $(QUICK) check-netns
check-all: check check-api check-cluster check-policy check-kill check-load check-load-api check-soak link-test check-given repro check-cross check-fresh analyze check-qemu

# One after the other, whatever -j says: the runner's summary comes last.
check-netns: all $(if $(filter check check-all,$(MAKECMDGOALS)),$(QUICK)) | deps-test
	@$(PYTEST) -m waits tests/netns >build/waits.log 2>&1 & waits=$$!; \
	NETPOL_SCENARIOS=$${NETPOL_SCENARIOS:-60} KILL_POINTS=$${KILL_POINTS:-15} $(PYTEST) -m 'not waits' tests/netns; rc=$$?; \
	wait $$waits || rc=1; cat build/waits.log; exit $$rc

# All random scenarios, of which check-netns runs the first.
check-policy: all | deps-test
	$(PYTEST) -k random_scenarios tests/netns/test_netpol.py

# All system calls at which an agent or a plugin is killed, of which check-netns takes some.
check-kill: all | deps-test
	$(PYTEST) tests/netns/test_kill.py

# Agents and plugins of three nodes are killed under load: KILLS=1000, SEED=n to repeat one.
check-load: all | deps-test
	$(PYTEST) -s tests/netns/load_kills.py

# The same beside a real API server.
check-load-api: all image | deps-cluster
	$(PYTEST) -s tests/cluster/load_kills.py

# A thousand ADDs and DELs a minute: MINUTES=20.
check-soak: all | deps-test
	$(PYTEST) -s tests/netns/load_soak.py

check-layers:
	@awk -f tests/layers.awk $(SRCS) $(HDRS)

check-install: all | deps-test
	@MAKE='$(MAKE)' cross/check-install.sh

# Each header must compile alone.
check-headers: $(HDRS:src/%=$(OUT)/hdr/%.ok)
$(OUT)/hdr/%.ok: src/% $(HDRS) $(OUT)/cc.flags $(SYSROOT).done
	@mkdir -p $(@D)
	$(Q)echo '#include "$*"' | $(CC) $(CFLAGS) -fsyntax-only -x c -
	@touch $@

# A unit test's first line names the sources that it links:
#     /* links: src/base/prefix.c src/base/err.c */
# Built for this machine with its own libraries, and with sanitizers; so are the programs that tests/netns drives.
# gcc drops the check of a pointer's alignment where it has checked the same pointer for null; null dies by itself.
DRIVEN      := $(sort $(wildcard tests/netns/*.c))
UNIT_SRCS   := $(sort $(wildcard tests/unit/test_*.c))
UNITS       := $(UNIT_SRCS:tests/unit/%.c=build/unit/%)
CHECKED     := -fsanitize=undefined -fno-sanitize=null
UNIT_CFLAGS := $(COMMON) -Itests/unit -g -O1 -fsanitize=address $(CHECKED) -fno-sanitize-recover=all -fno-omit-frame-pointer
UNIT_LIBS   := -lcmocka -lbearssl -lmnl -lyaml

# The rules "program: objects" of first lines, for programs and objects in a folder.
unit_links = @mkdir -p $(1) && awk -v to='$(1)' 'FNR == 1 && /^\/\* links:/ { t = FILENAME; sub(/^tests\/[a-z]*/, to, t); sub(/\.c$$/, "", t); \
	for (i = 3; i < NF; i++) { sub(/\.c$$/, ".o", $$i); print t ": " to "/obj/" $$i } }' $(UNIT_SRCS) $(DRIVEN) </dev/null >$(1)/links.mk

check-unit: $(UNITS)
	@awk -f tests/cross/cmocka.awk /usr/include/cmocka.h tests/cross/cmocka.h $(wildcard tests/unit/*.[ch])
	@cross/run-units.sh $(UNITS)

$(UNITS): build/unit/%: build/unit/obj/tests/unit/%.o
$(DRIVEN:tests/netns/%.c=build/unit/%): build/unit/%: build/unit/obj/tests/netns/%.o
$(UNITS) $(DRIVEN:tests/netns/%.c=build/unit/%):
	$(call say,LINK,$@)
	$(Q)gcc $(UNIT_CFLAGS) -o $@ $(filter %.o,$^) $(UNIT_LIBS)

build/unit/obj/%.o: %.c Makefile | deps-test
	@mkdir -p $(@D)
	$(call say,CC,$< (sanitized))
	$(Q)gcc $(UNIT_CFLAGS) -MMD -MP -c -o $@ $<

ifneq ($(filter check% build/unit/%,$(MAKECMDGOALS)),)
build/unit/links.mk: $(UNIT_SRCS) $(DRIVEN) Makefile
	$(call unit_links,build/unit)
include build/unit/links.mk
-include $(shell find build/unit/obj -name '*.d' 2>/dev/null)
endif

# The same units for another machine: static, with musl and an emulator. No sanitizer's library
# is there for it, so what the undefined behaviour checks find is an illegal instruction.
QEMU_aarch64 := qemu-aarch64-static
QEMU_armv7   := qemu-arm-static -cpu cortex-a7
QEMU_armv6   := qemu-arm-static -cpu arm1176
QEMU_riscv64 := qemu-riscv64-static
QEMU := $(if $(filter $(ARCH),$(NATIVE)),,$(QEMU_$(ARCH)))
CROSS_UNITS  := $(UNIT_SRCS:tests/unit/%.c=$(OUT)/unit/%)
CROSS_CFLAGS := $(CFLAGS) -Itests/cross -Itests/unit $(CHECKED) -fsanitize-undefined-trap-on-error

check-cross: $(ARCHES:%=check-cross-%)
$(ARCHES:%=check-cross-%): check-cross-%: | deps-cross
	@$(MAKE) --no-print-directory ARCH=$* check-cross-one
check-cross-one: $(OUT)/manx $(CROSS_UNITS)
	@printf '%-6s %s: ' RUN $(ARCH); $(QEMU) $(OUT)/manx version
	@RUN='$(QEMU)' cross/run-units.sh $(CROSS_UNITS)
	@CC=$(CC) SIZE=$(SIZE) cross/size.sh check $(ARCH) $(OUT)/manx
.PHONY: $(ARCHES:%=check-cross-%) check-cross-one

$(CROSS_UNITS): $(OUT)/unit/%: $(OUT)/unit/obj/tests/unit/%.o $(OUT)/unit/obj/src/shims.o
	$(call say,LINK,$@)
	$(Q)$(call link,$@,$(filter %.o,$^) $(LIBS))
$(OUT)/unit/obj/%.o: %.c Makefile $(SYSROOT).done
	@mkdir -p $(@D)
	$(call say,CC,$< ($(ARCH)$(comma) checked))
	$(Q)$(CC) $(CROSS_CFLAGS) -MMD -MP -c -o $@ $<

ifneq ($(filter check-cross-one,$(MAKECMDGOALS)),)
$(OUT)/unit/links.mk: $(UNIT_SRCS) Makefile
	$(call unit_links,$(OUT)/unit)
include $(OUT)/unit/links.mk
-include $(shell find $(OUT)/unit/obj -name '*.d' 2>/dev/null)
endif

# Fuzz targets: their corpora are replayed like unit tests; "make fuzz" lets libFuzzer look for more.
FUZZ := $(patsubst tests/fuzz/fuzz_%.c,%,$(sort $(wildcard tests/fuzz/fuzz_*.c)))
FUZZ_SRCS := $(filter-out src/main.c src/shims.c,$(SRCS))
FUZZ_CLANG := clang $(COMMON) -w -g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
# Inputs that are there for another reason.
SEEDS_json := tests/golden/objects tests/golden/written
T := json
S := 60

check-fuzz: $(FUZZ:%=build/fuzz/%)
	@for t in $(FUZZ); do \
		timeout 120 build/fuzz/$$t tests/fuzz/corpus/$$t/* >build/fuzz/$$t.log 2>&1 || { tail -50 build/fuzz/$$t.log; exit 1; }; \
		echo "FUZZ   $$t: $$(tail -1 build/fuzz/$$t.log)"; done

$(FUZZ:%=build/fuzz/%): build/fuzz/%: build/unit/obj/tests/fuzz/fuzz_%.o build/unit/obj/tests/fuzz/replay.o build/fuzz/replay.a
	$(call say,LINK,$@)
	$(Q)gcc $(UNIT_CFLAGS) -o $@ $^ $(UNIT_LIBS)
build/fuzz/replay.a: $(FUZZ_SRCS:%.c=build/unit/obj/%.o)
build/fuzz/clang.a: $(FUZZ_SRCS:%.c=build/fuzz/obj/%.o)
build/fuzz/replay.a build/fuzz/clang.a:
	@mkdir -p $(@D) && rm -f $@ && ar rcs $@ $^

fuzz: build/fuzz/clang/$(T)
	@mkdir -p build/fuzz/found/$(T)
	$< -max_total_time=$(S) -max_len=8192 -timeout=10 -artifact_prefix=build/fuzz/ build/fuzz/found/$(T) tests/fuzz/corpus/$(T) $(SEEDS_$(T))
build/fuzz/clang/%: build/fuzz/obj/tests/fuzz/fuzz_%.o build/fuzz/clang.a
	$(call say,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(FUZZ_CLANG) -fsanitize=fuzzer -o $@ $^ $(UNIT_LIBS)
build/fuzz/obj/%.o: %.c Makefile | deps-fuzz
	@mkdir -p $(@D)
	$(call say,CC,$< (fuzzed))
	$(Q)$(FUZZ_CLANG) -fsanitize=fuzzer-no-link -MMD -MP -c -o $@ $<
.PRECIOUS: build/fuzz/obj/%.o
ifneq ($(filter fuzz,$(MAKECMDGOALS)),)
-include $(shell find build/fuzz/obj -name '*.d' 2>/dev/null)
endif

# --- a root of its own, and guests that boot it ---------------------------------------
GUESTS    := x86_64 aarch64
KERNEL    := build/kernels/$(ARCH)
MODULES   := $(if $(filter $(ARCH),$(GUESTS)),--modules $(KERNEL)/modules)
PARTS     := initramfs/build.sh initramfs/init initramfs/modules config/manx.conf $(OUT)/manx $(KERNEL).done

initramfs: $(OUT)/initramfs.gz
$(OUT)/initramfs.gz: $(PARTS)
	$(call say,CPIO,$@)
	$(Q)initramfs/build.sh $(ARCH) $@ $(MODULES)

$(OUT)/guest.cpio: $(PARTS) tests/qemu/guest.sh
	$(call say,CPIO,$@)
	$(Q)initramfs/build.sh $(ARCH) $@ $(MODULES) --test tests/qemu/guest.sh

$(KERNEL).done: initramfs/fetch.sh | deps-initramfs
	$(call say,FETCH,$(KERNEL))
	$(Q)initramfs/fetch.sh $(ARCH) $(KERNEL)
	@touch $@

check-qemu: $(GUESTS:%=guest-%) $(if $(filter check-all,$(MAKECMDGOALS)),check) | deps-test deps-guest
	$(PYTEST) tests/qemu

$(GUESTS:%=guest-%): guest-%:
	@$(MAKE) --no-print-directory ARCH=$* build/$*/guest.cpio
.PHONY: $(GUESTS:%=guest-%)

# --- a real Kubernetes cluster -----------------------------------------------------------
# Made from its Go module at the first time, which takes minutes; see tests/cluster/build.sh.
CLUSTER_DEPS := $(RUN_DEPS) gcc libc6-dev python3-pytest containerd runc openssl procps busybox-static python3-yaml
# Go: Debian's where there is none and that is new enough; else build.sh says what it lacks.
deps-cluster:
	@cross/deps.sh $(CLUSTER_DEPS) $$(command -v go >/dev/null || [ -x /usr/local/go/bin/go ] || \
		apt-cache policy golang-go | sed -n 's/^ *Candidate: 2:1\.\(2[4-9]\|[3-9][0-9]\)\b.*/golang-go/p')

# Ten minutes in which nothing may be written, and a pod's way to its first connection beside ptp's.
check-idle: all image | deps-cluster
	@python3 tests/cluster/idle.py

bench-cluster: all image | deps-cluster
	@python3 tests/cluster/bench.py

check-cluster: all image | deps-cluster
	$(PYTEST) tests/cluster

# A real API server and etcd without kubelets, and servers as no real one is: outages, slow, broken and lying ones. Twenty minutes.
check-api: all | deps-cluster
	$(PYTEST) tests/api

# The upstream end-to-end suite's specs of NetworkPolicy and pod networking: a quarter of an hour.
check-conformance: all image | deps-cluster
	@cross/deps.sh curl netcat-openbsd && python3 tests/cluster/conformance.py

cluster: all image | deps-cluster
	@tests/cluster/cluster.py

# --- what other readers say of the sources ---------------------------------------------
ANALYZE_DEPS := gcc clang-tidy cppcheck
FUZZ_DEPS := clang libclang-rt-dev libmnl-dev libbearssl-dev libyaml-dev libjsmn-dev
CROSS_DEPS := qemu-user-static
FRESH_DEPS := debootstrap
deps-fresh: ; @cross/deps.sh $(FRESH_DEPS)
deps-cross: ; @cross/deps.sh $(CROSS_DEPS)
deps-fuzz: ; @cross/deps.sh $(FUZZ_DEPS)
deps-analyze: ; @cross/deps.sh $(ANALYZE_DEPS)

analyze: $(SYSROOT).done | deps-analyze
	@tests/analyze.sh "$(SYSTEM)"

# --- a new machine: trees of Debian 12 and 13 with next to nothing in them ------------------
RELEASES := bookworm trixie
check-fresh: $(RELEASES:%=check-fresh-%)
$(RELEASES:%=check-fresh-%): check-fresh-%: | deps-fresh
	@tests/fresh.sh $*
.PHONY: $(RELEASES:%=check-fresh-%)

# --- the rest ------------------------------------------------------------------------
demo: all deps-run
	@python3 tests/demo.py

# The policy engine by itself on this kernel, without agents and files: unshare -n build/bench-policy PODS POLICIES PORTS PEERS.
build/bench-policy: tests/bench/policy.c $(wildcard src/*/*.[ch])
	$(call say,LINK,$@)
	$(Q)gcc $(COMMON) -Os -o $@ $< $$(sed -n '1s#/. links:\(.*\) ./#\1#p' tests/unit/test_nft_policy.c) $(filter-out -lcmocka,$(UNIT_LIBS))

bench: all $(OUT)/micro build/bench-policy deps-bench
	@python3 tests/bench/run.py && python3 tests/bench/policy.py && python3 tests/bench/micro.py $(OUT)/micro && python3 tests/bench/start.py

# As small and as static as the program itself.
$(OUT)/micro: tests/bench/micro.c tests/unit/store_world.h
$(OUT)/kube_call: tests/netns/kube_call.c
$(OUT)/micro $(OUT)/kube_call: $(OUT)/manx.debug
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) -c -o $@.o $(filter %.c,$^)
	$(Q)$(call link,$@,$@.o $(filter-out $(OUT)/obj/main.o,$(OBJS)) $(LIBS))
