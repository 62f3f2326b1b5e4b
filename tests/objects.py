"""Objects that agents write, held against the golden files of tests/golden/objects."""
import json
import os
import re

from lab import ROOT

GOLDEN = ROOT / "tests" / "golden" / "objects"
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
GO_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)? \+0000 UTC")


def object_name(cidr):
    """Calico's name of a block."""
    return re.sub("[.:/]", "-", cidr)


def plain(value, names):
    """A value with times and the given names replaced by words."""
    if isinstance(value, dict):
        return {plain(k, names): plain(v, names) for k, v in value.items()}
    if isinstance(value, list):
        return [plain(v, names) for v in value]
    if isinstance(value, str):
        for what, word in names.items():
            value = value.replace(what, word)
        return RFC3339.sub("<time>", GO_TIME.sub("<go time>", value))
    return value


def normalised(obj, names):
    obj = json.loads(json.dumps(obj))
    meta, spec = obj["metadata"], obj.get("spec", {})
    for key in ("resourceVersion", "uid", "creationTimestamp"):
        if key in meta:
            assert isinstance(meta[key], str)
            meta[key] = "<%s>" % key
    if "sequenceNumber" in spec:
        now = spec["sequenceNumber"]
        assert isinstance(now, int)
        spec["sequenceNumber"] = "<sequence>"
        spec["sequenceNumberForAllocation"] = {
            ordinal: "<sequence - %d>" % (now - at) for ordinal, at in spec["sequenceNumberForAllocation"].items()}
    return plain(obj, names)


def compare(name, obj, names):
    """Key by key; WRITE_GOLDEN=1 writes the file instead, to be read before it is kept."""
    path, text = GOLDEN / (name + ".json"), json.dumps(normalised(obj, names), indent=1, sort_keys=True) + "\n"
    if os.environ.get("WRITE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert json.loads(text) == json.loads(path.read_text()), name
