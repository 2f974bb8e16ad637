"""Reads a run's TensorBoard events with TensorFlow and compares them with the run's log.

RUN, its argument, is a folder that `inception train` made; `peers/tensorboard` makes one.
"""

import json
import pathlib
import sys

import tensorflow as tf

EVENTS = "events.out.tfevents"


def main():
    run = pathlib.Path(sys.argv[1])
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    # TensorFlow's reader checks both sums of every record and stops with an error at a wrong one.
    events = list(tf.compat.v1.train.summary_iterator(str(run / EVENTS)))
    assert events[0].file_version == "brain.Event:2", events[0]
    steps = [event.step for event in events]
    assert steps == sorted(steps), "steps go back"
    scalars, histograms = {}, {}
    for event in events:
        for value in event.summary.value:
            kind = value.WhichOneof("value")
            into = scalars if kind == "simple_value" else histograms
            into.setdefault(value.tag, []).append((event.step, getattr(value, kind)))
    for name in log[0].keys() - {"epoch"}:
        expected = [epoch[name] for epoch in log if epoch[name] is not None]
        found = [value for _, value in scalars.get(f"epoch/{name}", [])]
        assert len(found) == len(expected), f"{name}: {len(found)} instead of {len(expected)}"
        for a, b in zip(found, expected):
            assert abs(a - b) <= 1e-6 * abs(b), f"{name}: {a} instead of {b}"
    for tag, found in histograms.items():
        assert len(found) == len(log), f"{tag}: {len(found)} instead of {len(log)}"
        for _, histogram in found:
            assert sum(histogram.bucket) == histogram.num, tag
            assert len(histogram.bucket) == len(histogram.bucket_limit), tag
            assert list(histogram.bucket_limit) == sorted(histogram.bucket_limit), tag
            assert histogram.bucket_limit[-1] == histogram.max, tag
    print(f"{len(events)} events to step {steps[-1]}: {len(log)} epochs as in the log,")
    print(f"{len(scalars['step/objective'])} steps, {len(histograms)} histograms an epoch")


main()
