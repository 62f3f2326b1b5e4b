"""The route reconciler alone against this kernel: route_kernel.c, in a namespace that it makes itself."""
import subprocess

from lab import built


def test_route_kernel():
    done = subprocess.run([built("build/unit/route_kernel")], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
