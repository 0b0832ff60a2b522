"""Images to one class, preprocessed by the checkpoint's own processor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.engine.classes import classifier
from verify.engine.job import Job, Prepared
from verify.engine.load import class_names, model_for
from verify.errors import DataError, EngineError
from verify.tasks.data import Examples

IMAGES_PER_BATCH = 32


def prepare(job: Job, examples: Examples, rows: NDArray[np.int64], device: str) -> Prepared:
    """Load the image processor and the model; images are decoded and preprocessed batch by batch."""
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    model = model_for(job, AutoModelForImageClassification)
    family, info, columns = classifier(job, class_names(model.config), examples, rows)
    try:
        processor = AutoImageProcessor.from_pretrained(
            job.model_folder, local_files_only=True, trust_remote_code=False, use_fast=True
        )
    except Exception as error:
        raise EngineError(
            f"The image processor could not be loaded: {type(error).__name__}: {' '.join(str(error).split())[:300]} "
            "The repository must hold a preprocessor_config.json that this version of transformers knows."
        ) from error
    mode = "L" if getattr(model.config, "num_channels", 3) == 1 else "RGB"

    def collate(positions: Sequence[int]) -> Any:
        images = examples.column("image", rows[list(positions)].tolist())
        if any(not hasattr(image, "convert") for image in images):
            raise DataError(
                f"The column {examples.columns['image']!r} holds no images. Correct columns.image in the task file."
            )
        return processor(images=[image.convert(mode) for image in images], return_tensors="pt")

    settings = {
        name: getattr(processor, name, None) for name in ("size", "crop_size", "do_center_crop", "crop_pct", "resample")
    }
    return Prepared(
        family=family,
        model=model,
        lengths=np.ones(len(rows), dtype=np.int64),
        collate=collate,
        rows=columns,
        token_budget=IMAGES_PER_BATCH,
        settings={
            "processor": type(processor).__name__,
            "mode": mode,
            **{name: _plain(value) for name, value in settings.items() if value is not None},
        },
        info=info,
    )


def _plain(value: Any) -> str:
    """A processor's setting as text, without the parts that it leaves unset."""
    if is_dataclass(value) and not isinstance(value, type):
        return str({name: part for name, part in asdict(value).items() if part is not None})
    return str(value)
