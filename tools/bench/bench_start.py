"""What a learner waits for before the first cell: a kernel, and the imports. Each time in a new process."""

import subprocess
import sys
import time

from jupyter_client import KernelManager

from tools.bench.table import row
from utils import data

ROUNDS = 3


def seconds(function, *arguments):
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def python(code):
    subprocess.run([sys.executable, "-c", code], cwd=data.FOLDER.parent, capture_output=True, check=True)


def kernel():
    """Start a kernel, and wait until it has answered."""
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    client = manager.client()
    try:
        client.start_channels()
        client.wait_for_ready(timeout=60)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def rows():
    """All rows of this file."""
    modules = ("keras_lab", "torch_lab")
    taken = {module: [seconds(python, f"from utils import {module}") for _ in range(ROUNDS)] for module in modules}
    kernel()
    return [
        *(row(f"import utils.{module}, from an empty Python", values, "s") for module, values in taken.items()),
        row("a kernel starts and answers", [seconds(kernel) for _ in range(ROUNDS)], "s"),
    ]
