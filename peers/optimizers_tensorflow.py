"""Records what TensorFlow 1's optimisers, decay, average and clipping do. See README.md.

The counterpart of optimizers_torch.py, in graph and session, which these were written for.
"""

import os
import sys
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf

from optimizers_common import START, STEPS, gradient, rate, walk, write

v1 = tf.compat.v1


def wide(value: float) -> tf.Tensor:
    """Python's numbers become float32 otherwise, 0.9 with them."""
    return tf.constant(value, tf.float64)


def in_tensorflow(make: Callable) -> list[list[float]]:
    seen = []
    with tf.Graph().as_default(), v1.Session() as session:
        weights = v1.get_variable("weights", initializer=tf.constant(START, tf.float64), use_resource=True)
        slope, speed = v1.placeholder(tf.float64, [len(START)]), v1.placeholder(tf.float64, [])
        update = make(speed).apply_gradients([(slope, weights)])
        session.run(v1.global_variables_initializer())
        for step in range(STEPS):
            now = session.run(weights).tolist()
            session.run(update, {slope: gradient(step, now), speed: rate(step)})
            seen.append(session.run(weights).tolist())
    return seen


def optimizers() -> dict[str, list[list[float]]]:
    def momentum(**options) -> list[list[float]]:
        return in_tensorflow(lambda r: v1.train.MomentumOptimizer(r, wide(0.9), **options))

    def rmsprop(epsilon: float) -> list[list[float]]:
        return in_tensorflow(
            lambda r: v1.train.RMSPropOptimizer(r, decay=wide(0.9), momentum=wide(0.9), epsilon=wide(epsilon))
        )

    return {
        "Momentum": momentum(),
        "Momentum nesterov": momentum(use_nesterov=True),
        "RMSProp 1.0": rmsprop(1.0),
        "RMSProp 0.001": rmsprop(1e-3),
    }


def schedules() -> dict[str, list[float]]:
    """One value an epoch."""
    with tf.Graph().as_default(), v1.Session() as session:
        epoch = v1.placeholder(tf.int64, [])
        decayed = v1.train.exponential_decay(wide(0.045), epoch, 2, wide(0.94), staircase=True)
        return {"exponential_decay": [float(session.run(decayed, {epoch: e})) for e in range(STEPS)]}


def averages() -> dict[str, list[list[float]]]:
    seen = []
    with tf.Graph().as_default(), v1.Session() as session:
        weights = v1.get_variable("weights", initializer=tf.constant(START, tf.float64), use_resource=True)
        before, value = v1.placeholder(tf.float32, []), v1.placeholder(tf.float64, [len(START)])
        average = v1.train.ExponentialMovingAverage(0.7, num_updates=before)
        with tf.control_dependencies([v1.assign(weights, value)]):
            update = average.apply([weights])
        session.run(v1.global_variables_initializer())
        for step in range(STEPS):
            session.run(update, {before: step, value: walk(step)})
            seen.append(session.run(average.average(weights)).tolist())
    return {"ExponentialMovingAverage": seen}


def clippings() -> dict[str, list[list[float]]]:
    def clipped(step: int) -> list[float]:
        clipped, _ = tf.clip_by_global_norm([tf.constant(gradient(step, START), tf.float64)], 2.0)
        return clipped[0].numpy().tolist()

    return {"clip_by_global_norm": [clipped(step) for step in range(STEPS)]}


def main() -> int:
    record = {"optimizers": optimizers(), "schedules": schedules(), "averages": averages()}
    write("tensorflow-cpu", record | {"clipping": clippings()})
    return 0


if __name__ == "__main__":
    sys.exit(main())
