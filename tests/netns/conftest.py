"""Labs for the tests: one for each file, made when first asked for; logs of the agents with each failure."""
import os
import pathlib
import signal
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import lab as labs  # noqa: E402


def pytest_configure(config):
    config.pluginmanager.import_plugin("skips")
    config.addinivalue_line("markers", "waits: spends its time in a limit that is the program's; make runs these beside the others")
    if os.geteuid() != 0:
        pytest.exit("these tests make network namespaces: run them as root", returncode=1)
    if not os.access(labs.BINARY, os.X_OK):
        pytest.exit("%s is not built: make" % labs.BINARY, returncode=1)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    labs.isolate()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for made_lab in labs.LABS:
            report.sections.append(("agents' logs in %s" % made_lab.dir, made_lab.logs()))


def made(name):
    with labs.Lab(name) as made_lab:
        yield made_lab


@pytest.fixture(scope="module")
def lab(request):
    """The file's lab."""
    yield from made(request.module.__name__.replace("test_", ""))


@pytest.fixture
def own_lab(request):
    """A lab for one test that would disturb the others."""
    yield from made("own")
