/* Whether the kernel would do with a connection what the policies say. */
#include "explain.h"

#include <string.h>

#include "base/util.h"

static const struct endpoint *endpoint_of(const struct model *m, const struct party *p)
{
	const struct endpoint *e;

	if (!p->local)
		return NULL;
	table_each(&m->endpoints, e)
		if (strcmp(e->pod, p->name) == 0 && strcmp(e->namespace, p->namespace) == 0)
			return e;
	return NULL;
}

void explain_kernel(const struct model *m, struct nft *n, const struct question *q, bool to_host,
		    const bool allowed[DIRECTIONS], struct str *out)
{
	const struct endpoint *from = endpoint_of(m, q->from), *to = endpoint_of(m, q->to);
	const bool expected = (!from || allowed[EGRESS]) && (!to || allowed[INGRESS]);
	struct nft_packet p = { .from = q->from->ips[q->family], .to = q->to->ips[q->family], .protocol = q->protocol,
				.port = q->port, .to_host = to_host, .iif = from ? from->ifindex : 0, .iifname = from ? from->host_if : "",
				.oifname = to ? to->host_if : "" };
	struct nft_answer answer = { 0 };
	struct err e = { 0 };

	if (!from && !to) {
		str_puts(out, "not asked: neither is a pod of this node");
	} else if (!n || nft_trace(n, &p, &answer, &e) < 0) {
		str_printf(out, "not asked: %s", n ? e.text : "no access");
	} else if (!answer.knows) {
		str_puts(out, answer.differs.s);
	} else if (answer.allows == expected) {
		str_puts(out, "agrees");
	} else {
		str_printf(out, "%s it: %s", answer.allows ? "lets through" : "drops",
			   answer.differs.len ? answer.differs.s : "the rules are as they were made");
	}
	str_free(&answer.differs);
}
