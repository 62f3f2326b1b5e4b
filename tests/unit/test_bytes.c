/* links: src/base/server.c src/base/loop.c src/base/str.c src/base/err.c src/base/util.c src/base/log.c src/base/prefix.c src/nl/nl_attr.c src/nl/nl.c */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/prefix.h"
#include "base/server.h"
#include "nl/nl.h"

/* Bytes that leave this machine or come from it are the same on every machine; and no read is misaligned. */

static void a_frame_has_the_same_bytes_everywhere(void **state)
{
	static const uint8_t wire[FRAME_HEADER] = { 1, 2, 75, 0, 0x00, 0x01, 0x02, 0x03 };
	uint8_t out[FRAME_HEADER], kind, status;
	uint32_t length;
	(void)state;

	frame_header(out, FRAME_CTL, 75, 0x010203);
	assert_memory_equal(out, wire, sizeof wire);
	assert_int_equal(frame_read_header(wire, &kind, &status, &length), 0);
	assert_int_equal(kind, FRAME_CTL);
	assert_int_equal(status, 75);
	assert_int_equal(length, 0x010203);
}

static void a_frame_of_another_version_or_too_long_is_refused(void **state)
{
	static const uint8_t other[FRAME_HEADER] = { 2, 1 }, huge[FRAME_HEADER] = { 1, 1, 0, 0, 0x00, 0x20, 0x00, 0x01 },
			     most[FRAME_HEADER] = { 1, 1, 0, 0, 0x00, 0x20, 0x00, 0x00 };
	uint8_t kind, status;
	uint32_t length;
	(void)state;

	assert_int_equal(frame_read_header(other, &kind, &status, &length), -EPROTO);
	assert_int_equal(frame_read_header(huge, &kind, &status, &length), -EFBIG);
	assert_int_equal(frame_read_header(most, &kind, &status, &length), 0);
}

static void an_address_is_in_network_order(void **state)
{
	static const uint8_t v4[4] = { 10, 42, 1, 2 }, v6[16] = { 0xfd, 0, 0, 0x42, [15] = 9 };
	struct addr a;
	(void)state;

	assert_int_equal(addr_parse(&a, "10.42.1.2", NULL), 0);
	assert_memory_equal(a.b, v4, sizeof v4);
	assert_int_equal(addr_parse(&a, "fd00:42::9", NULL), 0);
	assert_memory_equal(a.b, v6, sizeof v6);
}

/* In a process of its own, which is to die of it. */
static int status_of(uint32_t (*read)(const uint8_t *at), const uint8_t *at)
{
	static const struct rlimit none = { 0 };
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		setrlimit(RLIMIT_CORE, &none);
		close(STDERR_FILENO);
		_exit(read(at) == 0);	/* the bytes are not all zero */
	}
	assert_true(waitpid(pid, &status, 0) == pid);
	return status;
}

static uint32_t by_pointer(const uint8_t *at)
{
	return *(const volatile uint32_t *)(const void *)at;
}

static uint32_t by_copy(const uint8_t *at)
{
	uint32_t v;

	memcpy(&v, at, sizeof v);
	return v;
}

static void a_misaligned_read_kills_a_test(void **state)
{
	static const union { uint8_t b[8]; uint32_t align; } bytes = { { 1, 2, 3, 4, 5, 6, 7, 8 } };
	(void)state;

	assert_int_equal(status_of(by_pointer, bytes.b), 0);
	assert_int_not_equal(status_of(by_pointer, bytes.b + 1), 0);
	assert_int_equal(status_of(by_copy, bytes.b + 1), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_frame_has_the_same_bytes_everywhere),
		cmocka_unit_test(a_frame_of_another_version_or_too_long_is_refused),
		cmocka_unit_test(an_address_is_in_network_order),
		cmocka_unit_test(a_misaligned_read_kills_a_test),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
