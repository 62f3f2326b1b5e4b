"""A process under strace: what it calls, and calls that fail, dawdle or kill it."""
import contextlib
import re
import subprocess

from spaces import die_with_parent, wait_for

SILENT = ("-qq", "-o", "/dev/null", "-e")


def inject(name, what, n=None):
    """strace's words for the n-th call of that name, or each of them: error=ENOSPC, signal=KILL, delay_enter=1000 ..."""
    return (*SILENT, "inject=%s:%s%s" % (name, what, ":when=%d" % n if n else ""))


def tracer_of(thread):
    """0: none; None: there is no such thread any more, but for its parent."""
    with contextlib.suppress(OSError), open("/proc/%d/status" % thread) as f:
        fields = dict(line.split(":", 1) for line in f if ":" in line)
        return None if fields["State"].split()[0] in "ZX" else int(fields["TracerPid"])


@contextlib.contextmanager
def traced(thread, *options):
    """That thread meanwhile; with -f all threads of a process."""
    tracer = subprocess.Popen(["strace", "-qq", *options, "-p", str(thread)], preexec_fn=die_with_parent)
    try:
        wait_for("strace is there", lambda: tracer_of(thread) in (tracer.pid, None), step=0.001)
        yield
    finally:
        tracer.terminate()
        tracer.wait(10)


def system_calls(path):
    """(name, how many of that name until then) of each line that strace wrote."""
    count, calls = {}, []
    for name in re.findall(r"(?m)^(?:\d+ +)?(\w+)\(", path.read_text()):
        if name != "exit_group":
            count[name] = count.get(name, 0) + 1
            calls.append((name, count[name]))
    return calls
