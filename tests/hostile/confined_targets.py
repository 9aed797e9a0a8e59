"""What tests call in a confined child: hostile things done without any gate before them."""

import os
import socket


def read(path: str) -> str:
    with open(path) as file:
        return file.read()


def write(path: str) -> None:
    with open(path, "w") as file:
        file.write("x")


def connect(port: int) -> None:
    socket.create_connection(("127.0.0.1", port), 1).close()


def execute(path: str) -> None:
    os.execv(path, [path])


def signal_parent() -> None:
    os.kill(os.getppid(), 0)


def environment() -> list[str]:
    return sorted(os.environ)


def allocate(size: int) -> int:
    return len(bytearray(size))


def loop() -> None:
    while True:
        pass


def crash() -> None:
    os.abort()


def chatter() -> str:
    os.write(1, b"noise")
    os.write(2, b"noise")
    return "answer"


def run_script(path: str, shape: list[int]) -> list[int]:
    import torch

    torch.set_num_threads(1)
    return list(torch.jit.load(path)(torch.ones(*shape)).shape)


def run_onnx(path: str, shape: list[int]) -> list[int]:
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (result,) = session.run(None, {"x": np.ones(shape, np.float32)})
    return list(result.shape)
