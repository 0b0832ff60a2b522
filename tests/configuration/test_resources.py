import verify.configuration.resources
from verify.configuration.resources import built_in


def test_the_built_in_folders_hold_their_files():
    assert (built_in("conf") / "config.yaml").is_file()
    assert (built_in("tasks") / "sequence-classification" / "sst2.yaml").is_file()


def test_the_files_inside_a_wheel_come_first(tmp_path, monkeypatch):
    package = tmp_path / "verify"
    (tmp_path / "conf").mkdir()
    package.mkdir()
    monkeypatch.setattr(verify.configuration.resources, "_PACKAGE", package)
    assert built_in("conf") == tmp_path / "conf"
    (package / "_data" / "conf").mkdir(parents=True)
    assert built_in("conf") == package / "_data" / "conf"
