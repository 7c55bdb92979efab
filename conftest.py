"""Two repairs to nbval 0.11.0, so that a notebook gives the same outputs in the tests as in JupyterLab.

They stand here and not in tests/ because pytest must load them for notebooks/ too. Both replace inner parts of nbval,
so its version is pinned in requirements.txt: look at them again when the pin moves.
"""

import os

from nbval.kernel import RunningKernel
from nbval.plugin import IPyNbFile

start_kernel = IPyNbFile.setup


def start_kernel_outside_pytest(notebook):
    """Start the notebook's kernel without PYTEST_CURRENT_TEST: ipykernel, seeing it, drops what C code and child
    processes print, and a cell that shows such output fails the comparison."""
    current_test = os.environ.pop("PYTEST_CURRENT_TEST", None)
    try:
        start_kernel(notebook)
    finally:
        if current_test is not None:
            os.environ["PYTEST_CURRENT_TEST"] = current_test


def execute_with_history(kernel, source, allow_stdin=None):
    """Send a cell as every front end does, to be stored in the history: without it a trailing `;` silences nothing
    and `_` and `In` stay empty (nbval issue 194). Returns the message's id."""
    return kernel.kc.execute(source, store_history=True, allow_stdin=allow_stdin, stop_on_error=False)


os.environ |= {"FREEZING_PROGRESS": "off"}  # no test writes the learner's own progress
IPyNbFile.setup = start_kernel_outside_pytest
RunningKernel.execute_cell_input = execute_with_history
