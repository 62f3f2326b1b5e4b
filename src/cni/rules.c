/* What the specification says of verbs, versions and names; nothing here asks the kernel or the agent. */
#include <string.h>

#include "base/util.h"
#include "cni/cni_int.h"

const char *const cni_versions[] = { "0.3.1", "0.4.0", "1.0.0", "1.1.0", NULL };

const struct cni_verb cni_verbs[] = {
	{ "ADD", "0.3.1", NEEDS_CONTAINER | NEEDS_NETNS | NEEDS_IFNAME | NEEDS_PATH },
	{ "DEL", "0.3.1", NEEDS_CONTAINER | NEEDS_IFNAME | NEEDS_PATH },
	{ "CHECK", "0.4.0", NEEDS_CONTAINER | NEEDS_NETNS | NEEDS_IFNAME | NEEDS_PATH },
	{ "STATUS", "1.1.0", NEEDS_PATH },
	{ "GC", "1.1.0", NEEDS_PATH },
	{ "VERSION", "0.3.1", 0 },
	{ 0 },
};

const struct cni_verb *cni_verb_named(const char *name)
{
	for (const struct cni_verb *v = cni_verbs; v->name; v++)
		if (name && strcmp(v->name, name) == 0)
			return v;
	return NULL;
}

/* Its place among cni_versions, from 0; -1: not supported. */
static int version_place(const char *version)
{
	for (int i = 0; version && cni_versions[i]; i++)
		if (strcmp(cni_versions[i], version) == 0)
			return i;
	return -1;
}

bool cni_version_known(const char *version)
{
	return version_place(version) >= 0;
}

bool cni_verb_in_version(const struct cni_verb *v, const char *version)
{
	return version_place(version) >= version_place(v->since);
}

/* A letter or digit, then those and "_", ".", "-": so no path can be made of it. */
static bool word_valid(const char *text, size_t max)
{
#define ALNUM "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	size_t len = text ? strlen(text) : 0;

	return len && len <= max && strchr(ALNUM, text[0]) && strspn(text, ALNUM "_.-") == len;
#undef ALNUM
}

bool cni_name_valid(const char *text)
{
	return word_valid(text, 200);
}

bool cni_pod_valid(const char *text)
{
	return word_valid(text, 253);
}

/* What the kernel refuses as a link's name, the last two for their folders in /proc/sys; and "%", which it would replace. */
bool cni_ifname_valid(const char *text)
{
	static const char *const taken[] = { ".", "..", "all", "default" };
	size_t len = text ? strlen(text) : 0;

	for (size_t i = 0; len && i < ARRAY_SIZE(taken); i++)
		if (strcmp(text, taken[i]) == 0)
			return false;
	return len && len < 16 && !strpbrk(text, "/:% \t\n\v\f\r");
}
