"""The Python functions from a real Jupyter kernel."""

import queue
import shutil
import time

import pytest
from helpers.builders import DEMO
from jupyter_client.manager import KernelManager

CELL = f"""
import verify
report = verify.check("digits-vit", task_path=[{str(DEMO / "tasks")!r}], engine={{"device": "cpu"}})
print(len(report.to_frame()))
report
"""


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    shutil.copytree(DEMO / "digits-vit", tmp_path / "digits-vit")
    monkeypatch.setenv("PYTHONPATH", str(DEMO.parents[1]))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(cwd=str(tmp_path))
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=120)
    yield client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def test_a_check_in_a_notebook_shows_a_table_and_prints_nothing(kernel):
    streams, shown = run(kernel, CELL)
    assert streams == "6\n"
    assert "<table" in shown["text/html"]
    assert shown["text/plain"].startswith("<Report on digits-vit")


def run(client, code):
    """What a cell prints, and what it shows at its end, by type."""
    asked, printed, shown, deadline = client.execute(code), "", {}, time.monotonic() + 240
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
        elif kind == "execute_result":
            shown = content["data"]
        elif kind == "error":
            raise AssertionError("\n".join(content["traceback"]))
        elif kind == "status" and content["execution_state"] == "idle":
            return printed, shown
    raise AssertionError(f"The kernel did not answer in time; it printed {printed!r}.")
