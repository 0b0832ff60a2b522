"""Images to one class, preprocessed by the checkpoint's own processor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.engine.classes import classifier
from verify.engine.image_processor import load_image_processor, processor_settings
from verify.engine.job import Job, Prepared
from verify.engine.load import class_names, model_for
from verify.engine.pictures import picture
from verify.tasks.audio import data_folder
from verify.tasks.data import Examples

IMAGES_PER_BATCH = 32


def prepare(job: Job, examples: Examples, rows: NDArray[np.int64], device: str) -> Prepared:
    """Load the image processor and the model; images are decoded and preprocessed batch by batch."""
    from transformers import AutoModelForImageClassification

    model = model_for(job, AutoModelForImageClassification)
    family, info, columns = classifier(job, class_names(model.config), examples, rows)
    processor = load_image_processor(job.model_folder)
    folder = data_folder(job.task, job.split)
    mode = "L" if getattr(model.config, "num_channels", 3) == 1 else "RGB"

    def collate(positions: Sequence[int]) -> Any:
        chosen = rows[list(positions)].tolist()
        places = [f"{examples.columns['image']!r} in row {row}" for row in chosen]
        images = [
            picture(value, folder, place).convert(mode)
            for value, place in zip(examples.column("image", chosen), places, strict=True)
        ]
        return processor(images=images, return_tensors="pt")

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
