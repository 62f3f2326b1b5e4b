"""A test that CI skips without leave is a failure (tests/skips.py)."""
import os
import pathlib
import subprocess
import sys

TESTS = pathlib.Path(__file__).resolve().parent.parent
SKIPPED = "import pytest\n\ndef test_a():\n    pytest.skip('no such kernel')\n\ndef test_b():\n    pass\n"


def outcome(tmp_path, text=SKIPPED, **env):
    (tmp_path / "test_one.py").write_text(text)
    env = {**{k: v for k, v in os.environ.items() if k != "CI"}, "PYTHONPATH": str(TESTS), "PYTHONDONTWRITEBYTECODE": "1", **env}
    return subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "skips", str(tmp_path)],
                          env=env, stdout=subprocess.PIPE, text=True, timeout=60)


def test_a_skip_without_leave_fails_in_ci(tmp_path):
    done = outcome(tmp_path, CI="true")
    assert done.returncode == 1 and "1 failed, 1 passed" in done.stdout
    assert "tests/skips has no line for" in done.stdout and "no such kernel" in done.stdout


def test_elsewhere_a_skip_is_a_skip(tmp_path):
    done = outcome(tmp_path)
    assert done.returncode == 0 and "1 passed, 1 skipped" in done.stdout


def test_a_file_that_skips_itself_fails_in_ci(tmp_path):
    text = SKIPPED + "\npytest.skip('no such machine', allow_module_level=True)\n"
    done = outcome(tmp_path, text, CI="true")
    assert done.returncode not in (0, 5) and "skipped whole (Skipped: no such machine)" in done.stdout
