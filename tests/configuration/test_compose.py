import logging
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from verify.configuration.compose import compose_config, run_multirun, to_yaml, worst
from verify.configuration.schema import VerifyConfig
from verify.errors import HubError, NotComparableError, UsageError


def error_of(*overrides, config_dir=None):
    with pytest.raises(UsageError) as caught:
        compose_config("org/model", overrides, config_dir)
    return str(caught.value)


def test_the_defaults_are_the_schemas():
    assert compose_config(None, []) == VerifyConfig()
    assert compose_config("org/model@main", []).model == "org/model@main"


MODELS = ["./it's here", "a=b", "C:\\models\\x", "org/model@refs/pr/1", "[x]", "${seed}x", "a\\'", "\\${x", "\\"]


@pytest.mark.parametrize("model", [*MODELS, "a,b", " a "])
def test_a_model_is_taken_literally(model):
    assert compose_config(model, []).model == model


@settings(deadline=None, max_examples=30)
@given(st.text("a\\'\"${}[],= ", min_size=1))
def test_any_name_of_a_model_is_taken_literally(model):
    assert compose_config(model, []).model == model


def test_settings_are_composed_in_groups_and_one_by_one():
    config = compose_config(
        "m",
        [
            "policy=strict",
            "engine=cpu",
            "engine.batch_size=8",
            "limit=50",
            "tasks=[sst2,imdb]",
            "seed=3",
            "override.split=test",
            "policy.tolerance=1e-3",
            "results='my results'",
        ],
    )
    assert (config.policy.name, config.policy.probe_share, config.policy.tolerance) == ("strict", 1.0, 0.001)
    assert (config.engine.device, config.engine.batch_size) == ("cpu", 8)
    assert (config.limit, config.tasks, config.seed) == (50, ["sst2", "imdb"], 3)
    assert (config.override.split, config.results) == ("test", "my results")


def test_a_budget_and_the_ways_to_run_are_settings():
    config = compose_config("m", ["budget=2.5", "engine.precision=adaptive", "engine.processes=2"])
    assert (config.budget, config.engine.precision, config.engine.processes) == (2.5, "adaptive", 2)
    assert compose_config("m", ["budget=null", "engine.device_map=sequential"]).engine.device_map == "sequential"
    assert compose_config("m", ["budget=1"]).budget == 1.0


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["budget=0"], "budget=0.0: must be a number of minutes above 0"),
        (["budget=-1"], "budget=-1.0: must be a number of minutes above 0"),
        (["budget=inf"], "above 0"),
        (["budget=nan"], "above 0"),
        (["budget=ten"], "budget=ten: must be a number"),
        (["engine.precision=adaptiv"], 'Did you mean "adaptive"? Allowed: adaptive, exact.'),
        (["engine.precision=bf16"], "Allowed: adaptive, exact."),
        (["engine.precision=adaptive", "engine.dtype=bfloat16"], "leave engine.dtype=bfloat16 out"),
        (["engine.precision=adaptive", "engine.device_map=auto"], "leave engine.device_map out"),
        (["engine.device_map=cuda"], "Allowed: auto, balanced, balanced_low_0, sequential."),
        (["engine.device_map=auto", "engine.processes=2"], "leave engine.processes=1"),
    ],
)
def test_ways_to_run_that_do_not_exist_or_do_not_go_together_are_refused(overrides, words):
    message = error_of(*overrides)
    assert words in message
    assert "\n" not in message


def test_memory_is_given_to_devices_by_number_and_by_name():
    config = compose_config("m", ["engine.device_map=auto", "engine.max_memory={0:20GiB,1:7.5GB,cpu:60GiB}"])
    assert config.engine.max_memory == {0: "20GiB", 1: "7.5GB", "cpu": "60GiB"}
    assert "engine.device_map=auto" in error_of("engine.max_memory={0:20GiB}")


@pytest.mark.parametrize("memory", ["3", "[a]", "{0:5}", "{gpu:2GB}", "{cpu:{a:b}}", "cpu:60GiB"])
def test_memory_that_is_no_size_of_a_device_is_refused(memory):
    message = error_of("engine.device_map=auto", f"engine.max_memory={memory}")
    assert message.startswith("engine.max_memory=")
    assert "'engine.max_memory={0:20GiB,cpu:60GiB}'" in message


def test_the_built_in_suite():
    suite = compose_config(None, ["suite=sentiment"]).suite
    assert suite.models
    assert suite.tasks == ["sst2"]


def test_a_folder_of_ones_own_is_searched_beside_the_built_in_one(tmp_path):
    folder = tmp_path / "it's my conf"
    (folder / "suite").mkdir(parents=True)
    (folder / "policy").mkdir()
    (folder / "suite" / "mine.yaml").write_text("models: [org/a, ./b]\n")
    (folder / "policy" / "loose.yaml").write_text("tolerance: 0.01\n")
    config = compose_config(None, ["suite=mine", "policy=loose", "engine=cpu"], str(folder))
    assert (config.suite.models, config.suite.tasks) == (["org/a", "./b"], None)
    assert (config.policy.tolerance, config.policy.probe_share) == (0.01, 0.1)
    assert compose_config(None, ["suite=mine", "suite.tasks=[imdb]"], str(folder)).suite.tasks == ["imdb"]
    message = error_of("suite=mina", config_dir=str(folder))
    assert 'Did you mean "mine"? Allowed: folders, hub, list, mine, sentiment.' in message


def test_wrong_files_of_ones_own_are_refused(tmp_path):
    (tmp_path / "suite").mkdir()
    (tmp_path / "suite" / "typo.yaml").write_text("model: [org/a]\n")
    (tmp_path / "suite" / "broken.yaml").write_text("models: [org/a\n")
    (tmp_path / "suite" / "text.yaml").write_text("models: org/a\n")
    assert 'Did you mean "models"?' in error_of("suite=typo", config_dir=str(tmp_path))
    assert "broken.yaml" in error_of("suite=broken", config_dir=str(tmp_path))
    assert "must be a list" in error_of("suite=text", config_dir=str(tmp_path))
    assert "no such folder" in error_of(config_dir=str(tmp_path / "nowhere"))
    for name, text in (("list", "- org/a\n"), ("mapping", "defaults: [schema]\nmodels: {a: 1}\n")):
        (tmp_path / "suite" / f"my-{name}.yaml").write_text(text)
        assert "one of the files has another form" in error_of(f"suite=my-{name}", config_dir=str(tmp_path))


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("limt=1", ["limt=1", 'Did you mean "limit"?', "engine, limit, model"]),
        ("+limt=1", ['Did you mean "limit"?']),
        ("engine.batchsize=2", ["engine.batchsize", 'Did you mean "batch_size"?', "device, device_map, dtype"]),
        ("suite.modles=[a]", ['Did you mean "models"?', "models, tasks"]),
        ("engine.device.x=1", ["engine.device has no parts"]),
        ("policy/strict=1", ["policy/strict"]),
        ("policy={tolerence: 1}", ["policy.tolerence", 'Did you mean "tolerance"?']),
        ("policy=strickt", ["policy=strickt", 'Did you mean "strict"? Allowed: default, screen, strict.']),
        ("engine=gpu", ['Did you mean "cpu"? Allowed: auto, cpu, ray, slurm.']),
        ("suite=nothing", ["there is no such suite", "sentiment"]),
        ("engine=null", ["engine=null", "Allowed: auto, cpu, ray, slurm."]),
        ("policy=5", ["policy=5", "Allowed: default, screen, strict."]),
        ("suite=null", ["Allowed: folders, hub, list, sentiment."]),
        ("suite.models=[a]", ["suite.models=[a]", "suite=NAME"]),
        ("limit=0", ["limit=0", "at least 1"]),
        ("limit=abc", ["limit=abc", "a whole number"]),
        ("limit=1.5", ["limit=1.5", "a whole number"]),
        ("limit=true", ["limit", "a whole number"]),
        ("seed=-1", ["seed=-1", "at least 0"]),
        ("engine.processes=0", ["engine.processes=0", "at least 1"]),
        ("engine.threads=-2", ["engine.threads=-2", "at least 1"]),
        ("engine.token_budget=0", ["engine.token_budget=0"]),
        ("override.max_length=0", ["override.max_length=0"]),
        ("policy.tolerance=abc", ["policy.tolerance=abc", "a number"]),
        ("policy.tolerance=nan", ["policy.tolerance=nan", "fraction from 0 to 1"]),
        ("policy.tolerance=1", ["policy.tolerance=1", "0.001 is a tenth of a point"]),
        ("policy.tolerance=-0.1", ["fraction from 0 to 1"]),
        ("policy.probe_share=2", ["policy.probe_share=2", "fraction from 0 to 1"]),
        ("engine.device=gpu", ["engine.device=gpu", "auto, cpu, cuda, cuda:0, mps"]),
        ("engine.device=cuda:x", ['Did you mean "cuda']),
        ("engine.dtype=float61", ['Did you mean "float16"?', "bfloat16, float16, float32, native"]),
        ("engine.device=null", ["engine.device: must have a value"]),
        ("results=null", ["results: must have a value"]),
        ("results=", ["results: must name a folder"]),
        ("override=null", ["override: must have a value"]),
        ("tasks=sst2", ["tasks: must be a list such as [a,b]"]),
        ("tasks={a: 1}", ["tasks: must be a list"]),
        ("tasks=[null]", ["tasks: must be a list of names"]),
        ("tasks=[[a]]", ["tasks", "a list of names"]),
        ("task_path=./mine", ["task_path: must be a list"]),
        ("override.split=[a]", ["override.split: must be a single name"]),
        ("model=org/x", ["first argument"]),
        ("limit", ["'limit'", "key=value"]),
        ("limit=[", ["'limit=['", "key=value"]),
        ("", ["''", "key=value"]),
        ("=x", ["=x"]),
        ("limit=1,2", ["limit=1,2", "--multirun"]),
        ("limit=???", ["limit"]),
        ("results=${nothing}", ["results", "nothing"]),
        ("results=${oc.env:NO_SUCH_VARIABLE}", ["NO_SUCH_VARIABLE"]),
        ("~limit", ["limit"]),
        ("hydra.nope=1", ["nope"]),
        ("policy=../engine/cpu", ["device"]),
    ],
)
def test_a_wrong_setting_is_one_short_paragraph(override, words):
    message = error_of(override)
    assert all(word in message for word in words), message
    assert "\n" not in message
    assert len(message) < 400


@settings(deadline=None, max_examples=30)
@given(st.text(max_size=12), st.sampled_from(["", "limit=", "tasks=", "engine=", "policy.name=", "suite.", "+", "~"]))
def test_any_text_composes_or_is_a_usage_error(text, start):
    try:
        found = compose_config("m", [start + text])
    except UsageError as error:
        found = error
    assert isinstance(found, VerifyConfig | UsageError)


def test_the_printed_configuration_reads_back_as_itself():
    config = compose_config("org/it's", ["suite=sentiment", "tasks=[a]", "limit=7", "policy.tolerance=0.001"])
    again = OmegaConf.merge(OmegaConf.structured(VerifyConfig), OmegaConf.create(to_yaml(config)))
    assert OmegaConf.to_object(again) == config


class Runs:
    """A job that writes down what it was given and returns the codes in turn."""

    def __init__(self, *codes):
        self.seen, self.own, self.codes = [], [], list(codes)

    def __call__(self, config, own):
        self.own.append(own)
        self.seen.append((config.model, config.limit, config.seed, config.policy.name))
        code = self.codes.pop(0) if self.codes else 0
        if isinstance(code, Exception):
            raise code
        return code


@pytest.fixture
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert list(tmp_path.iterdir()) == []


def test_every_combination_runs_once_in_order_and_leaves_nothing_behind(empty_folder):
    arguments, runs = list(sys.argv), Runs()
    assert run_multirun("org/a,./b", ["limit=1,2", "policy=default,strict", "seed=5"], None, runs) == 0
    assert runs.seen == [
        (model, limit, 5, policy) for model in ("org/a", "./b") for limit in (1, 2) for policy in ("default", "strict")
    ]
    assert sys.argv == arguments
    assert runs.own[0] == ["limit=1", "policy=default", "seed=5"]
    assert runs.own[-1] == ["limit=2", "policy=strict", "seed=5"]


def test_a_multirun_leaves_warnings_as_they_are(empty_folder, caplog, capsys):
    log = logging.getLogger("verify.somewhere")

    def warned(config, own):
        log.warning("run %d", config.limit)
        return 0

    run_multirun("m", ["limit=1,2"], None, warned)
    assert [record.message for record in caplog.records] == ["run 1", "run 2"]
    assert capsys.readouterr() == ("", "")


def test_the_models_of_a_multirun_are_taken_literally(empty_folder):
    runs = Runs()
    run_multirun(",".join(MODELS), [], None, runs)
    assert [model for model, *_ in runs.seen] == MODELS


@pytest.mark.parametrize("sweep", ["seed=0,1,2", "seed=range(0,3)", "seed=choice(0,1,2)", "'seed=0,1,2'"])
def test_the_sweeps_that_hydra_knows(empty_folder, sweep):
    if sweep.startswith("'"):
        with pytest.raises(UsageError):
            run_multirun("m", [sweep], None, Runs())
        return
    runs = Runs()
    run_multirun("m", [sweep], None, runs)
    assert [seed for _, _, seed, _ in runs.seen] == [0, 1, 2]


def test_without_a_sweep_or_a_model_there_is_one_run(empty_folder):
    runs = Runs(3)
    assert run_multirun(None, ["suite=sentiment"], None, runs) == 3
    assert runs.seen == [(None, None, 0, "default")]


@pytest.mark.parametrize(
    ("models", "overrides", "words"),
    [
        ("m", ["limit=1,abc"], "limit=abc"),
        ("m", ["limit=1,2", "nope=3"], "nope=3"),
        ("m", ["policy=default,strickt"], 'Did you mean "strict"'),
        ("m", ["engine=cpu,null"], "engine=null"),
        ("m", ["limit=interval(1,5)"], "limit=a,b"),
        ("m", ["policy=glob(*)"], "policy=a,b"),
        ("m,", ["limit=1,2"], "m,"),
        ("m", ["limit=1,0"], "limit=0"),
    ],
)
def test_all_combinations_are_checked_before_the_first_runs(empty_folder, models, overrides, words):
    runs = Runs()
    with pytest.raises(UsageError) as caught:
        run_multirun(models, overrides, None, runs)
    assert words in str(caught.value)
    assert runs.seen == []


def test_a_failing_run_is_reported_and_the_others_go_on(empty_folder, capsys):
    runs = Runs(HubError("It is gone."), 0, NotComparableError("Other labels."))
    assert run_multirun("org/a,org/b,org/c", [], None, runs) == 4
    assert len(runs.seen) == 3
    captured = capsys.readouterr()
    assert captured.err.splitlines() == ["verify: org/a: It is gone.", "verify: org/c: Other labels."]
    assert captured.out == ""


def test_the_worst_code_is_returned(empty_folder):
    assert run_multirun("a,b,c", [], None, Runs(3, 1, 4)) == 1
    assert worst([]) == worst([0, 0]) == 0
    assert worst([0, 3]) == 3
    assert worst([3, 2]) == 2
    assert worst([2, 4, 0]) == 4
    assert worst([4, 1, 2]) == 1


def test_a_multirun_with_files_of_ones_own(tmp_path):
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy" / "loose.yaml").write_text("name: loose\ntolerance: 0.01\n")
    runs = Runs()
    run_multirun("m", ["policy=strict,loose"], str(tmp_path), runs)
    assert [policy for *_, policy in runs.seen] == ["strict", "loose"]


def test_every_built_in_file_composes():
    conf = Path(__file__).parents[2] / "conf"
    for group in ("policy", "engine", "suite"):
        for file in (conf / group).glob("*.yaml"):
            assert compose_config("m", [f"{group}={file.stem}"])
