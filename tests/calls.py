"""One call of the plugin, and what it answered."""
import contextlib
import hashlib
import json
import subprocess
import time

from spaces import die_with_parent


class Answer:
    """What a CNI call gave: exit code, stdout, stderr, the JSON of stdout, milliseconds."""

    def __init__(self, argv, code, out, err, ms):
        self.argv, self.code, self.out, self.err, self.ms = argv, code, out, err, ms
        try:
            self.json = json.loads(out) if out.strip() else None
        except ValueError:
            self.json = None

    def ok(self):
        assert self.code == 0, "%s: exit %d: %s %s" % (self.argv, self.code, self.out.strip(), self.err.strip())
        return self

    def refused(self, code, *words):
        """Holds the answer against what the specification wants of an error."""
        assert self.code == 1, "exit %d: %s %s" % (self.code, self.out, self.err)
        assert self.json, "no JSON on stdout: %r (stderr %r)" % (self.out, self.err)
        assert self.json.get("code") == code, self.json
        assert self.json.get("msg"), self.json
        assert isinstance(self.json.get("cniVersion"), str), self.json
        assert len(self.err.strip().splitlines()) == 1, "one line on stderr: %r" % self.err
        text = self.json["msg"] + " " + self.json.get("details", "")
        for word in words:
            assert word in text, "%r is not in %r" % (word, text)
        return self

    def ips(self):
        return [ip["address"] for ip in self.json["ips"]]


class Call:
    """A CNI call under way."""

    def __init__(self, argv, env, text):
        self.argv, self.begun = argv, time.monotonic()
        self.process = subprocess.Popen(argv, env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, preexec_fn=die_with_parent)
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(text)
            self.process.stdin.close()
        self.process.stdin = None

    def finish(self, timeout=30):
        try:
            out, err = self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            out, err = self.process.communicate()
            raise AssertionError("%s: no end after %d s\n%s%s" % (self.argv, timeout, out, err))
        return Answer(self.argv, self.process.returncode, out, err, (time.monotonic() - self.begun) * 1000)

    def kill(self):
        self.process.kill()
        self.process.communicate()


def container_id(text):
    """64 hex digits, as runtimes make them."""
    return hashlib.sha256(text.encode()).hexdigest()
