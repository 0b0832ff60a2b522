"""Transcripts against plain transformers loops over single recordings, for every size of batch."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch
from helpers.builders import SHARED, needs_shared
from helpers.recordings import (
    LETTERS,
    RATE,
    letters,
    scatter_biases,
    structs,
    tone,
    wav2vec2_ctc,
    wav2vec2_sizes,
    whisper,
)
from safetensors.torch import save_file
from transformers import (
    BertConfig,
    GenerationConfig,
    SpeechEncoderDecoderConfig,
    SpeechEncoderDecoderModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
    Wav2Vec2ForSequenceClassification,
)

from engine.driving import drive, examples_of, job_for, task_of
from verify.engine.kinds.speech_recognition import prepare
from verify.engine.stub import save_stub
from verify.errors import BlockedError, DataError, EngineError, NotComparableError
from verify.store.predictions import Family, TextPredictions

COLUMNS = {"audio": "audio", "text": "text"}
SECONDS = [0.5, 1.3, 0.8, 1.3, 2.1, 0.31, 1.3, 0.8]
WAVES = [tone(seconds, seed=i) for i, seconds in enumerate(SECONDS)]
TEXTS = [f"text {i}" for i in range(len(WAVES))]


def prepared_on(folder, waves=WAVES, device="cpu", **settings):
    task = task_of("automatic-speech-recognition", COLUMNS, **settings)
    examples = examples_of(task, {"audio": structs(waves), "text": [f"text {i}" for i in range(len(waves))]})
    return prepare(job_for(task, folder), examples, np.arange(len(waves)), device)


def plain_ctc(model, extractor, tokenizer, waves=WAVES):
    """Texts, and the smallest gap between the two likeliest tokens of a frame."""
    found, gaps = [], []
    for wave in waves:
        with torch.inference_mode():
            logits = model(**extractor(wave, sampling_rate=RATE, return_tensors="pt")).logits
        found += tokenizer.batch_decode(logits.argmax(dim=-1))
        ordered = logits[0].sort(dim=-1).values
        gaps.append(float((ordered[:, -1] - ordered[:, -2]).min()))
    return found, gaps


def plain_whisper(model, extractor, tokenizer, waves, **settings):
    found = []
    for wave in waves:
        long = {"truncation": False, "padding": "longest", "return_attention_mask": True}
        options = long if len(wave) > extractor.n_samples else {}
        features = extractor(wave, sampling_rate=RATE, return_tensors="pt", **options)
        with torch.inference_mode():
            found.append(tokenizer.decode(model.generate(**features, **settings)[0], skip_special_tokens=True))
    return found


def calls_of(model):
    """The batch sizes of the model's forward passes from now on."""
    sizes = []
    model.register_forward_hook(lambda module, args, kwargs, output: sizes.append(len(output.logits)), with_kwargs=True)
    return sizes


@pytest.mark.parametrize("norm", ["group", "layer"])
def test_ctc_transcripts_are_those_of_a_plain_loop_whatever_the_batch(tmp_path: Path, norm):
    parts = wav2vec2_ctc(tmp_path, norm)
    expected, gaps = plain_ctc(*parts)
    assert len(set(expected)) == len(expected)
    prepared = prepared_on(tmp_path)
    assert prepared.family is Family.TRANSCRIPTS
    for batch_size in (1, 3, 8):
        columns = drive(prepared, len(WAVES), batch_size)
        assert columns["texts"] == expected
        np.testing.assert_allclose(columns["row_margins"], gaps, atol=1e-4)
    assert columns["references"] == [[text] for text in TEXTS]
    assert {"example", *columns} == set(TextPredictions.COLUMNS)
    np.testing.assert_array_equal(prepared.lengths, [len(wave) // 320 for wave in WAVES])


def test_zeros_at_the_end_would_change_what_a_model_with_group_norm_hears(tmp_path: Path):
    model, extractor, tokenizer = wav2vec2_ctc(tmp_path, "group")
    expected, _ = plain_ctc(model, extractor, tokenizer)
    inputs = extractor(WAVES, sampling_rate=RATE, padding=True, return_tensors="pt")
    with torch.inference_mode():
        together = tokenizer.batch_decode(model(**inputs).logits.argmax(dim=-1))
    assert together != expected


@pytest.mark.parametrize(("norm", "passes"), [("group", [1, 3, 2, 1, 1]), ("layer", [8])])
def test_only_recordings_that_may_share_a_pass_do(tmp_path: Path, norm, passes):
    wav2vec2_ctc(tmp_path, norm)
    prepared = prepared_on(tmp_path)
    sizes = calls_of(prepared.model)
    drive(prepared, len(WAVES), batch_size=8)
    assert sorted(sizes) == sorted(passes)


def test_letters_that_stand_twice_are_kept(tmp_path: Path):
    """The blank between two equal letters must outlive the merging of repeats."""
    tokenizer = wav2vec2_ctc(tmp_path, "group")[2]
    frames = [LETTERS.index(letter) for letter in ("A", "A", "<pad>", "A", "|", "B", "<unk>")]
    prepared = prepared_on(tmp_path)
    columns = prepared.rows(np.array([0]), [[(frames, 0.0)]])
    assert columns["texts"] == [tokenizer.batch_decode([frames])[0]] == ["AA B<unk>"]


def test_a_language_model_beside_the_acoustic_one_is_not_used_and_that_is_said(tmp_path: Path):
    parts = wav2vec2_ctc(tmp_path, "layer")
    assert prepared_on(tmp_path).notes == ()
    (tmp_path / "language_model").mkdir()
    (tmp_path / "alphabet.json").write_text('{"labels": ["A"], "is_bpe": false}')
    configuration = json.loads((tmp_path / "preprocessor_config.json").read_text())
    configuration["processor_class"] = "Wav2Vec2ProcessorWithLM"
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(configuration))
    prepared = prepared_on(tmp_path)
    assert "language-model decoder is not used" in prepared.notes[0]
    assert drive(prepared, len(WAVES))["texts"] == plain_ctc(*parts)[0]


def many_languages(folder: Path) -> None:
    """A checkpoint with a vocabulary and an adapter for each language, as those of MMS."""
    from transformers import Wav2Vec2CTCTokenizer

    folder.mkdir(exist_ok=True)
    vocabulary = {
        "eng": {letter: i for i, letter in enumerate(LETTERS)},
        "deu": {letter: i for i, letter in enumerate([*LETTERS[:5], *"STUVW"])},
    }
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    Wav2Vec2CTCTokenizer(str(folder / "vocab.json"), target_lang="eng").save_pretrained(folder)
    Wav2Vec2FeatureExtractor(return_attention_mask=True).save_pretrained(folder)
    torch.manual_seed(0)
    sizes = wav2vec2_sizes("layer") | {"adapter_attn_dim": 4, "pad_token_id": 0}
    model = Wav2Vec2ForCTC(Wav2Vec2Config(vocab_size=len(LETTERS), **sizes)).eval()
    model.save_pretrained(folder)
    for language, ids in vocabulary.items():
        adapter = {name: torch.randn_like(value) for name, value in model._get_adapters().items()}
        adapter["lm_head.weight"], adapter["lm_head.bias"] = torch.randn(len(ids), 16), torch.randn(len(ids))
        save_file(adapter, folder / f"adapter.{language}.safetensors", {"format": "pt"})


def test_the_adapter_and_the_letters_of_the_language_asked_for_are_loaded(tmp_path: Path):
    from transformers import AutoTokenizer

    many_languages(tmp_path)
    texts = {}
    for language in ("deu", "eng"):
        tokenizer = AutoTokenizer.from_pretrained(tmp_path)
        tokenizer.set_target_lang(language)
        model = Wav2Vec2ForCTC.from_pretrained(tmp_path)
        model.load_adapter(language)
        texts[language], _ = plain_ctc(model, Wav2Vec2FeatureExtractor.from_pretrained(tmp_path), tokenizer)
        prepared = prepared_on(tmp_path, language=language)
        assert drive(prepared, len(WAVES), batch_size=4)["texts"] == texts[language]
        assert prepared.settings["language"] == language
    assert texts["deu"] != texts["eng"]
    with pytest.raises(EngineError, match=r"no language 'fra'.*deu, eng"):
        prepared_on(tmp_path, language="fra")
    (tmp_path / "adapter.deu.safetensors").unlink()
    with pytest.raises(EngineError, match=r"hold adapter\.deu\.safetensors"):
        prepared_on(tmp_path, language="deu")


def test_whisper_transcripts_are_those_of_a_plain_loop_whatever_the_batch(tmp_path: Path):
    """Windows of two seconds: shorter recordings share a batch, longer ones are transcribed in steps."""
    waves = [tone(seconds, seed=i) for i, seconds in enumerate((0.5, 1.9, 2.0, 3.5, 1.0, 3.5))]
    parts = whisper(tmp_path, window=2)
    prepared = prepared_on(tmp_path, waves, language="de")
    expected = plain_whisper(*parts, waves, language="de", task="transcribe")
    assert len(set(expected)) == len(expected)
    for batch_size in (1, 6):
        assert drive(prepared, len(waves), batch_size)["texts"] == expected
    assert prepared.settings["language"] == "de"
    assert prepared.settings["task"] == "transcribe"
    assert prepared.lengths.tolist() == [100, 100, 100, 200, 100, 200]


def test_whisper_detects_the_language_where_none_is_stated_and_says_so(tmp_path: Path):
    waves = [tone(1.0, seed=i) for i in range(6)]
    for seed in range(20):  # until the language makes a difference to a model of random weights
        parts = whisper(tmp_path, window=2, seed=seed)
        expected = plain_whisper(*parts, waves, task="transcribe")
        if expected != plain_whisper(*parts, waves, task="transcribe", language="de"):
            break
    else:
        pytest.fail("no model writes otherwise in German")
    prepared = prepared_on(tmp_path, waves)
    assert drive(prepared, len(waves), batch_size=6)["texts"] == expected
    assert "detects the language" in prepared.notes[0]


@pytest.mark.parametrize("forced", [[[1, None], [2, "transcribe"]], [[1, "de"], [2, "transcribe"]]])
def test_languages_forced_by_older_checkpoints_stand(tmp_path: Path, forced):
    waves = [tone(1.0, seed=i) for i in range(4)]
    model, *parts = whisper(tmp_path, window=2)
    ids = {**model.generation_config.task_to_id, "de": model.generation_config.lang_to_id["<|de|>"], None: None}
    file = tmp_path / "generation_config.json"
    file.write_text(
        json.dumps(
            json.loads(file.read_text()) | {"forced_decoder_ids": [[place, ids[name]] for place, name in forced]}
        )
    )
    model.generation_config = GenerationConfig.from_pretrained(tmp_path)
    prepared = prepared_on(tmp_path, waves)
    assert drive(prepared, len(waves), batch_size=4)["texts"] == plain_whisper(model, *parts, waves)
    assert bool(prepared.notes) is (forced[0][1] is None)


def test_a_whisper_of_one_language_is_not_told_any(tmp_path: Path):
    waves = [tone(1.0 + i / 10, seed=i) for i in range(5)]
    parts = whisper(tmp_path, is_multilingual=False, window=2)
    prepared = prepared_on(tmp_path, waves, language="en")
    columns = drive(prepared, len(waves), batch_size=5)
    assert columns["texts"] == plain_whisper(*parts, waves)
    assert prepared.notes == ()
    assert "language" not in prepared.settings


def test_the_spellings_that_a_whisper_unifies_are_kept_for_its_normaliser(tmp_path: Path):
    whisper(tmp_path, window=2)
    assert "spelling" not in prepared_on(tmp_path, [tone(1.0)]).info
    (tmp_path / "normalizer.json").write_text('{"colour": "color"}')
    assert prepared_on(tmp_path, [tone(1.0)]).info["spelling"] == {"colour": "color"}


def test_beams_and_length_are_those_of_the_task(tmp_path: Path):
    waves = [tone(1.0 + i / 10, seed=i) for i in range(5)]
    parts = whisper(tmp_path, is_multilingual=False, window=2)
    prepared = prepared_on(tmp_path, waves, num_beams=3, max_new_tokens=12)
    expected = plain_whisper(*parts, waves, num_beams=3, max_new_tokens=12)
    assert expected != plain_whisper(*parts, waves, num_beams=1, max_new_tokens=12)
    assert drive(prepared, len(waves), batch_size=5)["texts"] == expected
    assert prepared.settings["generation"]["num_beams"] == 3
    assert prepared.settings["generation"]["max_new_tokens"] == 12


def test_a_recording_is_not_heard_in_an_unknown_language(tmp_path: Path):
    whisper(tmp_path, window=2)
    prepared = prepared_on(tmp_path, [tone(1.0)], language="klingon")
    with pytest.raises(EngineError, match="klingon"):
        drive(prepared, 1)


def encoder_decoder(folder: Path, seed: int = 0):
    torch.manual_seed(seed)
    tokenizer = letters(folder)
    extractor = Wav2Vec2FeatureExtractor(return_attention_mask=True)
    decoder = BertConfig(
        vocab_size=len(LETTERS),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        is_decoder=True,
        add_cross_attention=True,
        initializer_range=0.5,
    )
    config = SpeechEncoderDecoderConfig.from_encoder_decoder_configs(
        Wav2Vec2Config(**wav2vec2_sizes("layer")), decoder, decoder_start_token_id=1, pad_token_id=0, eos_token_id=2
    )
    model = SpeechEncoderDecoderModel(config=config).eval()
    scatter_biases(model)
    model.generation_config = GenerationConfig(decoder_start_token_id=1, pad_token_id=0, eos_token_id=2)
    extractor.save_pretrained(folder)
    model.save_pretrained(folder)
    return model, extractor, tokenizer


def test_an_encoder_decoder_writes_until_it_ends_not_just_20_tokens(tmp_path: Path):
    waves = WAVES[:3]
    for seed in range(20):  # until one of random weights does not end at once
        model, extractor, tokenizer = encoder_decoder(tmp_path, seed)
        expected, longest = [], 0
        for wave in waves:
            with torch.inference_mode():
                ids = model.generate(**extractor(wave, sampling_rate=RATE, return_tensors="pt"), max_new_tokens=256)[0]
            expected.append(tokenizer.decode(ids, skip_special_tokens=True))
            longest = max(longest, len(ids))
        if longest > 21:
            break
    assert longest > 21
    prepared = prepared_on(tmp_path, waves)
    assert drive(prepared, len(waves), batch_size=3)["texts"] == expected
    assert prepared.settings["generation"]["max_new_tokens"] == 256


def test_a_model_for_something_else_is_refused(tmp_path: Path):
    letters(tmp_path)
    Wav2Vec2FeatureExtractor().save_pretrained(tmp_path)
    Wav2Vec2ForSequenceClassification(Wav2Vec2Config(**wav2vec2_sizes("layer"))).save_pretrained(tmp_path)
    with pytest.raises(BlockedError, match="lm_head"):
        prepared_on(tmp_path)
    BertConfig().save_pretrained(tmp_path)
    with pytest.raises(EngineError, match=r"bert is not a speech recogniser .* whisper"):
        prepared_on(tmp_path)


@pytest.mark.parametrize("missing", ["preprocessor_config.json", "config.json"])
def test_a_repository_without_a_part_is_refused(tmp_path: Path, missing):
    wav2vec2_ctc(tmp_path, "layer")
    (tmp_path / missing).unlink()
    with pytest.raises(EngineError, match=missing.replace(".", r"\.")):
        prepared_on(tmp_path)


def test_a_recording_too_short_for_one_frame_is_named(tmp_path: Path):
    wav2vec2_ctc(tmp_path, "layer")
    with pytest.raises(DataError, match=r"row 1 has 160 samples at 16000 Hz, and the model needs 165"):
        prepared_on(tmp_path, [tone(1.0), tone(0.01)])
    columns = drive(prepared_on(tmp_path, [tone(1.0), tone(165 / RATE)]), 2)
    assert len(columns["texts"]) == 2


def test_damaged_weights_give_an_error_and_no_transcript(tmp_path: Path):
    model, *_ = wav2vec2_ctc(tmp_path, "layer")
    with torch.no_grad():
        model.lm_head.bias[3] = torch.nan
    model.save_pretrained(tmp_path)
    with pytest.raises(EngineError, match="not finite"):
        drive(prepared_on(tmp_path), len(WAVES))


def test_a_missing_transcript_and_a_secret_split_are_refused(tmp_path: Path):
    wav2vec2_ctc(tmp_path, "layer")
    task = task_of("automatic-speech-recognition", COLUMNS)
    rows = np.arange(2)
    data = {"audio": structs(WAVES[:2]), "text": ["one", None]}
    with pytest.raises(DataError, match="'text' holds NoneType in row 1"):
        prepare(job_for(task, tmp_path), examples_of(task, data), rows, "cpu")
    with pytest.raises(NotComparableError, match="kept secret"):
        prepare(job_for(task, tmp_path), examples_of(task, data, is_labelled=False), rows, "cpu")


def test_a_stub_fits_the_data_and_runs(tmp_path: Path):
    task = task_of("automatic-speech-recognition", COLUMNS)
    data = {"audio": structs(WAVES), "text": ["Über Maß", "a|b", *TEXTS[2:]]}
    examples = examples_of(task, data)
    save_stub(task.kind, examples, tmp_path)
    prepared = prepare(job_for(task, tmp_path), examples, np.arange(len(WAVES)), "cpu")
    tokens = set(json.loads((tmp_path / "vocab.json").read_text()))
    assert set("ÜberMaßab|") <= tokens
    columns = drive(prepared, len(WAVES), batch_size=8)
    assert columns["texts"] == drive(prepared, len(WAVES))["texts"]
    assert columns["references"][0] == ["Über Maß"]


def transcript(file: Path) -> dict:
    return json.loads(file.read_text().splitlines()[0])


@pytest.fixture
def speech(tmp_path: Path):
    """A table of one real recording, named by its path, and its samples."""
    folder = SHARED / "data" / "speech_sample"
    samples, rate = soundfile.read(folder / "jfk.flac", dtype="float32")
    row = transcript(folder / "transcripts.jsonl")
    return {"audio": [str(folder / row["file"])], "text": [row["text"]]}, samples, rate


@needs_shared
@pytest.mark.parametrize("kind", ["ctc", "whisper"])
def test_real_speech_in_stereo_at_another_rate_is_transcribed_as_a_plain_loop_does(tmp_path: Path, speech, kind):
    data, samples, rate = speech
    assert samples.shape == (485_100, 2)
    wave = soxr.resample(samples.mean(axis=1), rate, RATE, quality="HQ")
    parts = wav2vec2_ctc(tmp_path, "layer") if kind == "ctc" else whisper(tmp_path, is_multilingual=False)
    task = task_of("automatic-speech-recognition", COLUMNS)
    prepared = prepare(job_for(task, tmp_path), examples_of(task, data), np.arange(1), "cpu")
    columns = drive(prepared, 1)
    assert columns["texts"] == (plain_ctc(*parts, [wave])[0] if kind == "ctc" else plain_whisper(*parts, [wave]))
    assert len(columns["texts"][0]) > 5
    assert columns["references"][0][0].startswith("And so my fellow Americans")
    assert prepared.lengths.tolist() == [550 if kind == "ctc" else 1500]
