"""The loop where memory is short: batches are halved, and what is done is kept."""

import numpy as np
import pytest
import torch

from engine.running.loop_work import CPU_IS_FULL, Work, over, stored
from verify.errors import EngineError

OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError(CPU_IS_FULL),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    MemoryError(),
]


@pytest.mark.parametrize("where", ["collate", "forward"])
@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=["gpu", "cpu", "cublas", "python"])
def test_a_batch_that_does_not_fit_is_halved_and_later_ones_are_cut_in_time(tmp_path, error, where):
    work = Work([2] * 30, lengths=np.full(60, 10))
    failures, original = [], getattr(work, where)

    def limited(*arguments):
        units = arguments[0] if where == "collate" else arguments[1]["kept"]
        if len(units) > 3:
            failures.append(len(units))
            raise error
        return original(*arguments)

    setattr(work, where, limited)
    finished, _ = over(work.loop(tmp_path), batch_size=12)
    assert finished
    assert stored(tmp_path) == work.expected()
    assert max(map(len, work.batches)) == 3
    ahead = 0 if where == "forward" else 5  # batches made in advance fail before it is known what fits
    assert failures.count(12) <= 1 + ahead
    assert failures.count(6) == 1


def test_other_errors_are_not_taken_for_a_lack_of_memory(tmp_path):
    work = Work([1] * 8)

    def broken(model, inputs):
        raise RuntimeError("The size of tensor a (9) must match the size of tensor b (8)")

    work.forward = broken
    with pytest.raises(RuntimeError, match="tensor a"):
        over(work.loop(tmp_path))


@pytest.mark.parametrize("where", ["collate", "forward"])
def test_one_example_alone_that_does_not_fit_says_what_helps(tmp_path, where):
    work = Work([1] * 9, lengths=np.full(9, 10))
    original = getattr(work, where)

    def limited(*arguments):
        units = arguments[0] if where == "collate" else arguments[1]["kept"]
        if 8 in units:
            raise RuntimeError(CPU_IS_FULL)
        return original(*arguments)

    setattr(work, where, limited)
    with pytest.raises(EngineError, match=r"One example alone .* cpu.*engine\.device_map=auto.*override\.max_length"):
        over(work.loop(tmp_path), batch_size=3)
    assert len(stored(tmp_path)) == 6
