"""Recordings to one class: keywords, languages, emotions, speakers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from verify.engine.inputs.audio import Recordings
from verify.engine.inputs.audio_features import (
    check_lengths,
    collator,
    cut_note,
    extractor_settings,
    frame_budget,
    frames,
    load_feature_extractor,
    over_groups,
    pads_exactly,
)
from verify.engine.job import Job, Prepared, logits_of
from verify.engine.kinds.classes import classifier
from verify.engine.loading.load import class_names, model_for
from verify.tasks.data import Examples
from verify.tasks.kinds import settings_of
from verify.tasks.places import data_folder


def prepare(job: Job, examples: Examples, rows: NDArray[np.int64], device: str) -> Prepared:
    """Load the feature extractor and the model; recordings are decoded and cut batch by batch."""
    from transformers import AutoModelForAudioClassification

    model = model_for(job, AutoModelForAudioClassification)
    extractor = load_feature_extractor(job.model_folder)
    model_labels = None if model.config.num_labels == 1 else class_names(model.config)
    family, info, columns = classifier(job, model_labels, examples, rows)

    seconds = settings_of(job.task.kind, job.task.settings)["max_seconds"]
    longest = None if seconds is None else max(round(float(seconds) * extractor.sampling_rate), 1)
    folder = data_folder(job.task, job.split)
    recordings = Recordings(examples, rows, extractor.sampling_rate, folder, longest)
    samples = recordings.durations()
    cut = 0 if longest is None else int((samples > longest).sum())
    used = samples if longest is None else np.minimum(samples, longest)
    check_lengths(model, recordings, used)
    collate = collator(model, extractor)

    return Prepared(
        family=family,
        model=model,
        lengths=frames(used),
        collate=lambda positions: collate(recordings, positions),
        rows=columns,
        token_budget=frame_budget(device),
        settings={**extractor_settings(extractor, pads_exactly(model)), "max_seconds": seconds},
        info=info,
        notes=(
            *((f"{cut} of {len(rows)} recordings were longer than {seconds:g} s and were cut",) if cut else ()),
            *cut_note(extractor, used),
        ),
        forward=lambda model, inputs: over_groups(logits_of, model, inputs),
    )
