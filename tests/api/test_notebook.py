"""The Python functions from a real Jupyter kernel."""

import os
import queue
import shutil
import time

import psutil
import pytest
from helpers.builders import DEMO
from jupyter_client.manager import KernelManager

SETTINGS = f"task_path=[{str(DEMO / 'tasks')!r}], engine={{'device': 'cpu'}}"
CHECK = f"""
import verify
report = verify.check("digits-vit", {SETTINGS})
print(len(report.to_frame()))
report
"""
INTERRUPTED = f"""
import verify
verify.check("digits-vit", {SETTINGS}, results="other", progress=lambda event: print(event["event"]))
"""
SWEEP = f"""
found = verify.sweep(["digits-vit"], {SETTINGS}, limit=20, results="other", sweep={{"workers": 1}})
print(set(found.to_frame().model))
found
"""
LIST = """
try:
    verify.sweep("list")
except verify.errors.UsageError as error:
    print("standard input" in str(error))
"""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    """A kernel and what speaks with it, in a folder with the demo's model."""
    folder = tmp_path_factory.mktemp("notebook")
    shutil.copytree(DEMO / "digits-vit", folder / "digits-vit")
    manager = KernelManager(kernel_name="python3")
    environment = {**os.environ, "PYTHONPATH": str(DEMO.parents[1]), "IPYTHONDIR": str(folder / "ipython")}
    manager.start_kernel(cwd=str(folder), env=environment)
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=120)
    yield manager, client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def test_a_check_in_a_notebook_shows_a_table_and_prints_nothing(kernel):
    printed, shown, _ = run(kernel, CHECK)
    assert printed == "6\n"
    assert "<table" in shown["text/html"]
    assert shown["text/plain"].startswith("<Report on digits-vit")


def test_a_cell_that_is_interrupted_leaves_no_worker_and_the_next_one_runs(kernel):
    _, _, raised = run(kernel, INTERRUPTED, interrupt_at="block")
    assert raised == "KeyboardInterrupt"
    left = psutil.Process(kernel[0].provisioner.pid).children(recursive=True)
    assert not [one for one in left if "verify.engine.running.worker" in one.cmdline()]
    printed, shown, raised = run(kernel, SWEEP)
    assert (printed, raised) == ("{'digits-vit'}\n", None)
    assert "<table" in shown["text/html"]


def test_a_suite_that_is_read_from_standard_input_is_refused_at_once(kernel):
    assert run(kernel, LIST)[0] == "True\n"


def run(kernel, code, interrupt_at=None):
    """What a cell prints, what it shows at its end, by type, and what it raises; Ctrl-C once it prints that word."""
    manager, client = kernel
    asked, printed, shown, raised = client.execute(code), "", {}, None
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        try:
            message = client.get_iopub_msg(timeout=5)
        except queue.Empty:
            continue
        if message["parent_header"].get("msg_id") != asked:
            continue
        kind, content = message["msg_type"], message["content"]
        if kind == "stream":
            printed += content["text"]
            if interrupt_at is not None and interrupt_at in printed:
                manager.interrupt_kernel()
                interrupt_at = None
        elif kind == "execute_result":
            shown = content["data"]
        elif kind == "error":
            raised = content["ename"]
            assert raised == "KeyboardInterrupt", "\n".join(content["traceback"])
        elif kind == "status" and content["execution_state"] == "idle":
            return printed, shown, raised
    raise AssertionError(f"The kernel did not answer in time; it printed {printed!r}.")
