"""With CI in the environment, a skipped test that the file `skips` does not name is a failure."""
import os
import pathlib

import pytest

HERE = pathlib.Path(__file__).resolve().parent


def allowed():
    lines = [line.split(None, 1) for line in (HERE / "skips").read_text().splitlines() if line and line[0] != "#"]
    assert all(len(line) == 2 for line in lines), "tests/skips: a test without a reason"
    return {name for name, _ in lines}


def name(item):
    path = pathlib.Path(str(item.fspath))
    inside = path.relative_to(HERE.parent) if HERE.parent in path.parents else path
    return "%s::%s" % (inside, getattr(item, "originalname", item.name))


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if not os.environ.get("CI") or not report.skipped or hasattr(report, "wasxfail") or name(item) in allowed():
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
    report.outcome = "failed"
    report.longrepr = "skipped (%s), and tests/skips has no line for %s" % (reason, name(item))


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report(collector):
    """A file that skips itself names no test, so there is no leave for it."""
    outcome = yield
    report = outcome.get_result()
    if os.environ.get("CI") and report.skipped:
        report.outcome = "failed"
        report.longrepr = "skipped whole (%s), and tests/skips names tests alone" % report.longrepr[2]
