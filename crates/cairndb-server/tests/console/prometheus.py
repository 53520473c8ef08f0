"""Reads /metrics with Prometheus's own client, in both formats, and looks at what it read.

    prometheus.py HTTP_PORT PASSWORD
"""

import math
import sys
import urllib.request

from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_open_metrics
from prometheus_client.parser import text_string_to_metric_families as read_text

port, password = sys.argv[1:]


def ask(accept):
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics")
    request.add_header("Authorization", f"Bearer {password}")
    request.add_header("Accept", accept)
    with urllib.request.urlopen(request, timeout=10) as response:
        return response.headers["Content-Type"], response.read().decode()


def check(families):
    names = [family.name for family in families]
    assert len(names) == len(set(names)), "a family is told twice"
    for family in families:
        assert family.documentation, f"{family.name} has no help"
        assert family.type in ("counter", "gauge", "histogram"), f"{family.name} is {family.type}"
        seen = set()
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in seen, f"{key} is told twice"
            seen.add(key)
            assert not math.isnan(sample.value), sample.name
            if family.type == "counter":
                assert sample.name.endswith("_total") and sample.value >= 0, sample
        if family.type == "histogram":
            check_histogram(family)


def check_histogram(family):
    by_labels = {}
    for sample in family.samples:
        labels = dict(sample.labels)
        end = labels.pop("le", None)
        told = by_labels.setdefault(tuple(sorted(labels.items())), {"buckets": []})
        if end is None:
            told[sample.name.removeprefix(family.name)] = sample.value
        else:
            told["buckets"].append((float(end), sample.value))
    for labels, told in by_labels.items():
        ends = [end for end, _ in told["buckets"]]
        counts = [count for _, count in told["buckets"]]
        assert ends == sorted(set(ends)) and ends[-1] == math.inf, (family.name, labels)
        assert counts == sorted(counts) and counts[-1] == told["_count"], (family.name, labels)
        assert (told["_count"] == 0) == (told["_sum"] == 0), (family.name, labels)


kind, text = ask("text/plain")
assert kind == "text/plain; version=0.0.4; charset=utf-8", kind
plain = list(read_text(text))
check(plain)
kind, text = ask("application/openmetrics-text; version=1.0.0")
assert kind.startswith("application/openmetrics-text; version=1.0.0"), kind
# This reader is strict: names and units, the order of things, the end.
opened = list(read_open_metrics(text))
check(opened)
assert [family.name for family in plain] == [family.name for family in opened]
for family in opened:
    for unit in ("seconds", "bytes"):
        assert family.unit == (unit if family.name.endswith(f"_{unit}") else "") or unit not in family.name, family
samples = {(s.name, tuple(s.labels.values())): s.value for family in opened for s in family.samples}
assert samples[("cairn_http_requests_total", ("GET", "200"))] >= 1, "the first request was counted"
assert samples[("process_resident_memory_bytes", ())] > 1 << 20
assert ("cairn_sync_seconds_count", ("wal",)) in samples
print(f"prometheus: {len(opened)} families, {len(samples)} samples, in both formats")
