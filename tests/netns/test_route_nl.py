"""The route reconciler alone against this kernel: builds route_kernel.c and runs it in a namespace that it makes itself."""
import glob
import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BASE = "arena digest err fs hash log loop mac prefix str table util".split()
MODEL = "model tunnel config config_value".split()


def test_route_kernel(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    sources = sorted(glob.glob(f"{ROOT}/src/route/*.c") + glob.glob(f"{ROOT}/src/nl/*.c"))
    sources += [f"{ROOT}/src/base/{name}.c" for name in BASE] + [f"{ROOT}/src/model/{name}.c" for name in MODEL]
    program = tmp_path / "route_kernel"
    subprocess.run(["cc", "-std=gnu11", "-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-I",
                    f"{ROOT}/src", "-o", program, f"{ROOT}/tests/netns/route_kernel.c", *sources, "-lmnl", "-lbearssl"],
                   check=True, timeout=300)
    done = subprocess.run([program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
