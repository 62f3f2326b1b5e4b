#include "reload.h"

#include "base/log.h"
#include "notify.h"

static void log_refused(void *ctx, const char *text)
{
	(void)ctx;
	log_err("agent", "SIGHUP: %s", text);
}

void reload(struct agent *a)
{
	autostr struct str restart = { 0 };
	struct config now;

	notify_reloading();
	if (a->reread(&now, log_refused, NULL) < 0) {
		log_warn("agent", "SIGHUP: the configuration stays as it was");
	} else {
		config_take(a->config, &now, &restart);
		log_init(a->config->log_level);
		if (restart.len)
			log_warn("agent", "SIGHUP: these keys need a restart: %s", restart.s);
		else
			log_info("agent", "SIGHUP: configuration read");
	}
	if (a->ready)
		notify_ready(-1);
}
