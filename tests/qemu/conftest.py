"""The guests must have been built; what they measured comes after the tests."""
import pathlib
import signal
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import guest  # noqa: E402


def pytest_configure(config):
    config.pluginmanager.import_plugin("skips")
    config.guests = []
    for arch in guest.MACHINES:
        for path in guest.Guest(arch).files():
            if not path.exists():
                pytest.exit("%s is not there: make check-qemu" % path, returncode=1)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def pytest_terminal_summary(terminalreporter, config):
    for one in config.guests:
        facts = " ".join("%s=%s" % fact for fact in one.facts.items())
        terminalreporter.write_line("%s: %.1f s, %s" % (one.arch, one.seconds, facts))
