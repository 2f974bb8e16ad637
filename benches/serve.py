"""One peer in a process of its own: serve.py ENGINE NETWORK.onnx PICTURES SHAPE THREADS

PICTURES is a file of preprocessed pictures, plain little-endian float32 in (picture, channel, row, column) order; SHAPE
says how many there are of each, as in 8x3x299x299. Reads commands, one a line, and answers each with a line, as our
engine's `inference_server` does:

- `infer`: computes the logits of all pictures; the seconds that it took.
- `logits FILE`: computes them and writes them to FILE, plain little-endian float32; `written`.
- `about`: what the engine says of the instructions that it uses, if it can be asked.

Each engine starts from and ends with plain arrays in memory, laid out as it likes best.
"""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass
class Engine:
    """A network that is ready to run."""

    run: Callable[[], np.ndarray]
    about: Callable[[], str] = lambda: "not known"


def openvino(hint: str) -> Callable[[Path, np.ndarray, int], Engine]:
    def prepare(path: Path, pictures: np.ndarray, threads: int) -> Engine:
        import openvino

        # Each parallel request gets the same share of the pictures.
        wanted = min(threads, len(pictures)) if hint == "THROUGHPUT" else 1
        shares = np.split(pictures, next(n for n in range(wanted, 0, -1) if len(pictures) % n == 0))
        core = openvino.Core()
        model = core.read_model(path)
        model.reshape(shares[0].shape)
        options = {
            # Its default precision is bf16 where the processor has that.
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": hint,
            "PERFORMANCE_HINT_NUM_REQUESTS": len(shares),
            "INFERENCE_NUM_THREADS": threads,
        }
        compiled = core.compile_model(model, "CPU", options)
        requests = [compiled.create_infer_request() for _ in shares]
        for request, share in zip(requests, shares):
            request.set_input_tensor(openvino.Tensor(share, shared_memory=True))

        def run() -> np.ndarray:
            for request in requests:
                request.start_async()
            for request in requests:
                request.wait()
            return np.concatenate([request.get_output_tensor().data for request in requests])

        def about() -> str:
            kernels = {op.get_rt_info()["primitiveType"].astype(str) for op in compiled.get_runtime_model().get_ops()}
            streams = compiled.get_property("NUM_STREAMS")
            return f"{streams} streams, {len(requests)} requests; kernels {', '.join(sorted(kernels))}"

        return Engine(run, about)

    return prepare


def onnx_runtime(path: Path, pictures: np.ndarray, threads: int) -> Engine:
    about = "not known"
    if os.environ.get("BENCHES_ISA") == "avx2":
        import without_avx512

        about = without_avx512.prepare("onnxruntime")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_free_dimension_override_by_name("N", len(pictures))
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: pictures}
    return Engine(lambda: session.run(None, feed)[0], lambda: about)


def pytorch(
    compiled: bool, channels_last: bool = False, double: bool = False
) -> Callable[[Path, np.ndarray, int], Engine]:
    def prepare(path: Path, pictures: np.ndarray, threads: int) -> Engine:
        # Compiling in this process: no others that would stay beside it.
        os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
        import torch

        import graph
        import in_torch

        torch.set_num_threads(threads)
        torch.set_num_interop_threads(1)
        dtype = torch.float64 if double else torch.float32
        layout = torch.channels_last if channels_last else torch.contiguous_format
        module = in_torch.Network(graph.read(path), dtype).eval().to(memory_format=layout)
        x = torch.from_numpy(pictures).to(dtype).contiguous(memory_format=layout)
        if compiled:
            import torch._inductor.config

            torch._inductor.config.freezing = True
            if os.environ.get("ATEN_CPU_CAPABILITY") == "avx2":
                torch._inductor.config.cpp.simdlen = 256
            module = torch.compile(module)

        def run() -> np.ndarray:
            # Inductor freezes weights only where no gradient can be asked for.
            with torch.no_grad():
                return module(x).numpy()

        return Engine(run, lambda: f"ATen {torch.backends.cpu.get_cpu_capability()}")

    return prepare


def tensorflow(path: Path, pictures: np.ndarray, threads: int) -> Engine:
    import tensorflow

    import graph
    import in_tensorflow

    tf = tensorflow.compat.v1
    config = tf.ConfigProto(intra_op_parallelism_threads=threads, inter_op_parallelism_threads=1)
    channels_last = np.ascontiguousarray(pictures.transpose(0, 2, 3, 1))
    frozen = tf.Graph()
    with frozen.as_default():
        x = tf.placeholder(tf.float32, channels_last.shape)
        y = in_tensorflow.logits(graph.read(path), x)
        session = tf.Session(config=config)
    # A callable saves the lookups that `Session.run` makes each time.
    call = session.make_callable(y, [x])
    return Engine(lambda: call(channels_last))


ENGINES = {
    "openvino-latency": openvino("LATENCY"),
    "openvino-throughput": openvino("THROUGHPUT"),
    "onnxruntime": onnx_runtime,
    "pytorch-compiled": pytorch(compiled=True),
    "pytorch-compiled-cl": pytorch(compiled=True, channels_last=True),
    "pytorch-eager": pytorch(compiled=False),
    "pytorch-eager-cl": pytorch(compiled=False, channels_last=True),
    "tensorflow": tensorflow,
    "exact": pytorch(compiled=False, double=True),
}
"""`cl` is channels last. `exact` is PyTorch in float64, what all others are compared with."""


def serve(engine: Engine) -> None:
    for line in sys.stdin:
        match line.split():
            case ["infer"]:
                start = time.perf_counter()
                engine.run()
                answer = str(time.perf_counter() - start)
            case ["logits", file]:
                engine.run().astype("<f4").tofile(file)
                answer = "written"
            case ["about"]:
                answer = engine.about()
            case _:
                raise SystemExit(f"unknown command: {line}")
        print(answer, flush=True)


def main() -> None:
    name, path, pictures, shape, threads = sys.argv[1:]
    values = np.fromfile(pictures, "<f4").reshape([int(size) for size in shape.split("x")])
    serve(ENGINES[name](Path(path), values, int(threads)))


if __name__ == "__main__":
    main()
