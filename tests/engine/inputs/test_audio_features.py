"""Which architectures may pad: those whose padded and masked batches equal single recordings."""

import numpy as np
import pytest
import torch
import transformers
from helpers.recordings import RATE, scatter_biases, structs, tone, wav2vec2_sizes

from engine.driving import examples_of, task_of
from verify.engine.inputs.audio import Recordings
from verify.engine.inputs.audio_features import collator, frames, over_groups, pads_exactly
from verify.engine.job import logits_of

WAVES = [tone(seconds, seed=i) for i, seconds in enumerate((0.31, 0.5, 0.8, 0.5, 1.3))]
PADDING = ("Wav2Vec2", "Hubert", "WavLM", "UniSpeech", "UniSpeechSat")
APART = ("SEW", "Data2VecAudio", "Wav2Vec2Conformer")


def model_of(name: str, norm: str, head: str = "ForSequenceClassification", **more):
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(num_labels=4, vocab_size=12, **wav2vec2_sizes(norm), **more)
    model = getattr(transformers, f"{name}{head}")(config).eval()
    scatter_biases(model)
    return model


@pytest.mark.filterwarnings("ignore:Support for mismatched:UserWarning")
@pytest.mark.parametrize("norm", ["group", "layer"])
@pytest.mark.parametrize("name", [*PADDING, *APART])
def test_a_batch_gives_what_single_recordings_give(name, norm):
    model, extractor = model_of(name, norm), transformers.Wav2Vec2FeatureExtractor()
    assert pads_exactly(model) is (name in PADDING and norm == "layer")
    task = task_of("audio-classification", {"audio": "audio", "label": "label"})
    examples = examples_of(task, {"audio": structs(WAVES), "label": [0] * len(WAVES)})
    recordings = Recordings(examples, np.arange(len(WAVES)), RATE)
    with torch.inference_mode():
        alone = [model(**extractor(wave, sampling_rate=RATE, return_tensors="pt")).logits[0].numpy() for wave in WAVES]
        batch = collator(model, extractor)(recordings, range(len(WAVES)))
        together = over_groups(logits_of, model, batch)
    np.testing.assert_allclose(together, alone, rtol=0, atol=2e-5)


@pytest.mark.parametrize("name", APART)
def test_the_others_would_not_stand_padding(name):
    """If this fails, the architecture has learnt to mask, and may join those that pad."""
    model, extractor = model_of(name, "layer"), transformers.Wav2Vec2FeatureExtractor()
    inputs = extractor(WAVES, sampling_rate=RATE, padding=True, return_attention_mask=True, return_tensors="pt")
    with torch.inference_mode():
        padded = model(**inputs).logits[0]
        alone = model(**extractor(WAVES[0], sampling_rate=RATE, return_tensors="pt")).logits[0]
    assert float((padded - alone).abs().max()) > 1e-3


@pytest.mark.parametrize(
    ("name", "more"), [("Wav2Vec2", {"add_adapter": True}), ("Hubert", {"conv_pos_batch_norm": True})]
)
def test_variants_with_layers_that_ignore_the_mask_do_not_pad(name, more):
    config = getattr(transformers, f"{name}Config")(**wav2vec2_sizes("layer"), **more)
    assert not pads_exactly(type("Model", (), {"config": config}))


def test_every_recording_costs_at_least_a_frame():
    assert frames(np.array([1, 319, 320, 16_000])).tolist() == [1, 1, 1, 50]
