"""A guest: Debian's kernel of an architecture under qemu, build/ARCH/guest.cpio as its root.

It is emulated (-accel tcg) whatever the host has, so that it behaves the same everywhere, and it
has no way out: its network card ends in qemu.
"""
import pathlib
import re
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from lab import ROOT, die_with_parent  # noqa: E402

SCRIPT = pathlib.Path(__file__).with_name("guest.sh")
LIMIT = 300     # seconds from qemu's start to its end
MACHINES = {
    "x86_64": (["qemu-system-x86_64"], "ttyS0"),
    "aarch64": (["qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a53"], "ttyAMA0"),
}
OPTIONS = ["-accel", "tcg", "-smp", "1", "-m", "256", "-nodefaults", "-no-user-config", "-no-reboot",
           "-display", "none", "-monitor", "none", "-serial", "stdio",
           "-netdev", "user,id=net,restrict=on", "-device", "virtio-net-pci,netdev=net,romfile="]
COMMAND_LINE = ("console=%s quiet panic=-1 hostname=guest ip=10.0.2.15/24,10.0.2.2 ip=2001:db8:2::15/64 "
                'manx.set="datastore=file /var/lib/manx/objects"')
VERDICT = re.compile(r"(ok|not ok) (\w+) ([\d.]+)(?:: (.*))?$")


def names():
    """Of the tests that a guest runs."""
    return subprocess.run(["sh", str(SCRIPT), "--list"], stdout=subprocess.PIPE, text=True, check=True).stdout.split()


class Guest:
    """boot() runs it to its end; then there are verdicts, facts and the console."""

    def __init__(self, arch):
        self.arch = arch
        self.verdicts, self.facts, self.console = {}, {}, []
        self.complete, self.seconds = False, 0.0

    def files(self):
        return [ROOT / "build" / "kernels" / self.arch / "vmlinuz", ROOT / "build" / self.arch / "guest.cpio"]

    def argv(self):
        machine, tty = MACHINES[self.arch]
        kernel, root = map(str, self.files())
        return [*machine, *OPTIONS, "-kernel", kernel, "-initrd", root, "-append", COMMAND_LINE % tty]

    def boot(self):
        begun = time.monotonic()
        qemu = subprocess.Popen(self.argv(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, preexec_fn=die_with_parent)
        limit = threading.Timer(LIMIT, qemu.kill)
        limit.start()
        try:
            for line in qemu.stdout:
                self.line(line.decode(errors="replace").rstrip(), time.monotonic() - begun)
        finally:
            limit.cancel()
            qemu.kill()
            qemu.wait()
            qemu.stdout.close()
        self.seconds = time.monotonic() - begun
        return self

    def line(self, text, at):
        self.console.append("%7.2f %s" % (at, text))
        verdict, words = VERDICT.match(text), text.split(None, 2)
        if verdict:
            self.verdicts[verdict.group(2)] = verdict
        elif len(words) == 3 and words[0] == "fact":
            self.facts[words[1]] = words[2]
        elif text == "done":
            self.complete = True

    def told(self, name):
        """What the console had between the verdict before this one and it."""
        text = []
        for line in self.console:
            if VERDICT.match(line[8:]):
                if VERDICT.match(line[8:]).group(2) == name:
                    break
                text = []
            else:
                text.append(line)
        return "\n".join(text)
