"""Images to one class, preprocessed by the checkpoint's own processor, which a task's settings may change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.engine.inputs.image_processor import adjusted_image_processor, preprocessed, processor_settings
from verify.engine.inputs.pictures import picture
from verify.engine.job import Job, Prepared
from verify.engine.kinds.classes import classifier
from verify.engine.loading.load import class_names, model_for
from verify.tasks.data import Examples
from verify.tasks.kinds import settings_of
from verify.tasks.places import data_folder

IMAGES_PER_BATCH = 32


def prepare(job: Job, examples: Examples, rows: NDArray[np.int64], device: str) -> Prepared:
    """Load the image processor and the model; images are decoded and preprocessed batch by batch.

    Raises UsageError for settings of the task that the processor cannot follow.
    """
    from transformers import AutoModelForImageClassification

    model = model_for(job, AutoModelForImageClassification)
    family, info, columns = classifier(job, class_names(model.config), examples, rows)
    mode = "L" if getattr(model.config, "num_channels", 3) == 1 else "RGB"
    settings = settings_of(job.task.kind, job.task.settings)
    processor = adjusted_image_processor(job.model_folder, settings, mode, job.task.file)
    folder = data_folder(job.task, job.split)

    def collate(positions: Sequence[int]) -> Any:
        chosen = rows[list(positions)].tolist()
        places = [f"{examples.columns['image']!r} in row {row}" for row in chosen]
        cells = zip(examples.column("image", chosen), places, strict=True)
        return preprocessed(processor, ((picture(value, folder, place).convert(mode), place) for value, place in cells))

    return Prepared(
        family=family,
        model=model,
        lengths=np.ones(len(rows), dtype=np.int64),
        collate=collate,
        rows=columns,
        token_budget=IMAGES_PER_BATCH,
        settings={"mode": mode, **processor_settings(processor)},
        info=info,
    )
