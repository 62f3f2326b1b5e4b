"""Labs on a real API server; the logs of all with each failure."""
import os
import pathlib
import signal
import sys

import pytest

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent), str(pathlib.Path(__file__).resolve().parent.parent)]
import api as apis  # noqa: E402
import lab as labs  # noqa: E402


def pytest_configure(config):
    config.pluginmanager.import_plugin("skips")
    if os.geteuid() != 0:
        pytest.exit("these tests make namespaces: run them as root", returncode=1)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    labs.isolate()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for made in labs.LABS:
            report.sections.append(("logs in %s" % made.dir, made.logs()))


@pytest.fixture
def lab():
    """An API server for one test: what one leaves in it, the next would count."""
    with apis.ApiLab() as made:
        yield made


@pytest.fixture
def bare_lab():
    """The same without Calico's kinds."""
    with apis.ApiLab(crds=False) as made:
        yield made
