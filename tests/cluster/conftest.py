"""One cluster for all tests, with manx installed by its manifest; the servers' logs with each failure."""
import os
import pathlib
import signal
import sys

import pytest

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent), str(pathlib.Path(__file__).resolve().parent.parent)]
import cluster as clusters  # noqa: E402
import lab as labs  # noqa: E402


def pytest_configure(config):
    config.pluginmanager.import_plugin("skips")
    if os.geteuid() != 0:
        pytest.exit("these tests make namespaces: run them as root", returncode=1)
    if not clusters.IMAGE.exists():
        pytest.exit("%s is not built: make image" % clusters.IMAGE, returncode=1)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    labs.isolate()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for cluster in clusters.OPEN:
            report.sections.append(("logs in %s" % cluster.dir, cluster.logs()))


@pytest.fixture(scope="session")
def bare():
    """Three nodes without a network."""
    with clusters.Cluster(3) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def cluster(bare):
    """The same with manx."""
    bare.install_manx()
    yield bare


@pytest.fixture(scope="session")
def two():
    """Another cluster: both families, kube-proxy in iptables mode, a server that cannot stream lists."""
    with clusters.Cluster(2, proxy="iptables", api_args=["--feature-gates=WatchList=false"], dual=True) as cluster:
        cluster.install_manx()
        yield cluster


@pytest.fixture
def objects(cluster):
    """Applies objects that go again after the test."""
    made = []

    def apply(*objs):
        made.extend(objs)
        cluster.apply(*objs)
    yield apply
    if made:
        cluster.delete(*reversed(made))
