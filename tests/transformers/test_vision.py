"""The task `vision`, from tables to answers."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hour9.engine.checkpoint import Checkpoint
from hour9.engine.run import Run
from hour9.engine.settings import Source, load_settings
from hour9.evaluate import gather
from hour9.params import read_params
from hour9.sources.digits import load_images
from hour9.task import without_test
from hour9.transformers.settings import VitSettings
from hour9.transformers.vision import TASK, pixels_of
from hour9.validate import DataRejected, check, deal_splits

SETTINGS = VitSettings(
    task="vision",
    topic="transformers",
    parent="data/vision",
    device="cpu",
    epochs=2,
    patch=4,
    channels=8,
    layers=2,
    heads=2,
    learning_rate=1e-2,
)


@pytest.fixture(scope="module")
def tables():
    """Three hundred digits."""
    source = Source(root="src/hour9/sources/digits.py", size=300)
    return deal_splits(TASK.ingest(source))


def train(tables, folder: Path, settings=SETTINGS) -> Path:
    TASK.train(
        Run(settings, without_test(tables), folder, folder / "model", Checkpoint(folder / "c", 1e9))
    )
    return folder / "model"


@pytest.fixture(scope="module")
def model(tables, tmp_path_factory):
    return train(tables, tmp_path_factory.mktemp("vision"))


def test_an_embedded_image_is_the_digit_it_came_from(tables):
    data, pixels = pixels_of(tables)
    originals, labels = load_images()
    number = int(data["case"][7].removeprefix("digit-"))
    np.testing.assert_allclose(pixels[7].ravel() / 255, originals[number] / 16, atol=0.002)
    assert data["target"][7] == str(labels[number])


def test_a_source_of_graphs_is_refused():
    with pytest.raises(ValueError, match="vision reads embedded and path"):
        TASK.ingest(Source(kind="planetoid", root="x"))


def test_the_digits_keep_their_contract(tables):
    check(TASK, tables)


@pytest.mark.parametrize(
    ("name", "column", "value"),
    [
        ("images", "height", 9),  # one image of another shape
        ("images", "width", 0),
        ("images", "colours", 4),
        ("images", "pixels", bytes(63)),
        ("images", "pixels", None),
        ("images", "case", None),
        ("cases", "case", "digit-9999"),  # no such image
        ("cases", "target", None),
        ("cases", "target", " "),
        ("cases", "target", "ten"),  # a class that train lacks
        ("cases", "split", "held"),
    ],
)
def test_a_wrong_cell_breaks_the_contract(tables, name, column, value):
    table = tables[name].copy()
    row = table.index[tables["cases"]["split"] == "test"][0]
    table[column] = table[column].astype(object)
    table.at[row, column] = value
    with pytest.raises(DataRejected, match=rf"{name}\.{column}"):
        check(TASK, {**tables, name: table.infer_objects()})


def test_the_candidate_of_params_is_no_worse_than_logistic_regression(tmp_path):
    """Within a minute, beyond chance: two standard errors of the paired gain on test."""
    tables = deal_splits(TASK.ingest(Source(**read_params()["tasks"]["vision"]["source"])))
    folder = train(tables, tmp_path, load_settings("vision-vit"))
    test = gather(TASK, folder, tables).query("split == 'test'")
    gain = test["score"] - test["baseline"]
    assert gain.mean() > 2 * gain.sem()
    assert test["baseline.neighbours"].mean() > test["baseline"].mean()


def test_the_baselines_learn_nothing_from_test(tables):
    cases = tables["cases"]
    test = cases["split"] == "test"
    lied = {**tables, "cases": cases.assign(target=cases["target"].mask(test, "no digit"))}
    honest, after = TASK.baseline(tables), TASK.baseline(lied)
    assert list(honest) == ["case", "score", "baseline.neighbours"]
    assert honest[~test].equals(after[~test])
    assert after.loc[test, ["score", "baseline.neighbours"]].to_numpy().max() == 0


def test_the_labels_of_test_images_change_nothing(tables, model, tmp_path):
    cases = tables["cases"].copy()
    cases.loc[cases["split"] == "test", "target"] = "0"
    again = train({**tables, "cases": cases}, tmp_path)
    for path in model.iterdir():
        assert (again / path.name).read_bytes() == path.read_bytes()


def test_a_score_says_whether_the_answer_is_the_target(tables, model):
    data, pixels = pixels_of(tables)
    scores = TASK.score(model, tables)
    answers = TASK.answer(model)(pd.DataFrame({"pixels": list(pixels.reshape(len(data), -1))}))
    assert ((scores["score"] == 1) == (answers["label"] == data["target"])).all()
    np.testing.assert_allclose(scores["confidence"], answers["confidence"], rtol=1e-5)
    assert scores["confidence"].between(0.1, 1).all()  # the likeliest of ten


@pytest.mark.parametrize(
    "pixels",
    [[0] * 63, [[0] * 8] * 8, [256] * 64, [-1] * 64, [0.5] * 64, [np.nan] * 64, "black", None, 7],
)
def test_what_is_no_such_image_gets_a_clear_error(model, pixels):
    requests = pd.DataFrame({"pixels": [[0] * 64, pixels]})
    with pytest.raises(ValueError, match=r"rows \[1\] hold no such image; send 64 whole numbers"):
        TASK.answer(model)(requests)


def test_a_request_without_pixels_is_refused(model):
    with pytest.raises(ValueError, match="needs the column 'pixels'; got image"):
        TASK.answer(model)(pd.DataFrame({"image": [[0] * 64]}))


def test_the_example_can_be_answered_and_nothing_too(tables, model):
    example = TASK.example(tables)
    assert list(TASK.answer(model)(example)) == ["label", "confidence"]
    assert TASK.answer(model)(example.head(0)).empty


def test_the_same_model_gives_the_same_pictures(tables, model, tmp_path):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        TASK.draw(model, tables, tmp_path / name)
    first = sorted((tmp_path / "first").iterdir())
    assert len(first) == 3
    for path in first:
        assert path.read_bytes() == (tmp_path / "second" / path.name).read_bytes()


def test_a_perturbed_image_is_near_the_one_that_it_was(tables):
    worse = TASK.perturb(tables, 0)
    before, after = (pixels_of(t)[1].astype(float) for t in (tables, worse))
    assert before.shape == after.shape
    distance = np.abs(before - after).mean(axis=(1, 2, 3))
    assert (distance > 0).all()
    assert distance.mean() < np.abs(before - before[::-1]).mean() / 2
    assert not worse["images"].equals(TASK.perturb(tables, 1)["images"])


def test_validation_chooses_the_epoch_and_teaches_nothing(tables, tmp_path):
    """Of one epoch there is no choice: with other labels the same weights, and another score."""
    cases = tables["cases"]
    targets = cases["target"].mask(cases["split"] == "validation", "0")
    runs = []
    for name, its in (("honest", cases), ("lied", cases.assign(target=targets))):
        settings, folder = SETTINGS.model_copy(update={"epochs": 1}), tmp_path / name
        known = without_test({**tables, "cases": its})
        runs.append(Run(settings, known, folder, folder, Checkpoint(folder / "c", 1e9)))
        TASK.train(runs[-1])
    honest, lied = ((run.folder / "model.safetensors").read_bytes() for run in runs)
    assert honest == lied
    assert runs[0].curve[-1]["validation"] != runs[1].curve[-1]["validation"]


def test_training_images_are_moved_as_far_as_the_settings_say(tables, tmp_path):
    settings = SETTINGS.model_copy(update={"epochs": 1})
    one, other, again = (
        train(tables, tmp_path / name, settings.model_copy(update={"shift": shift}))
        for name, shift in (("one", 0.0), ("other", 2.0), ("again", 2.0))
    )
    one, other, again = ((path / "model.safetensors").read_bytes() for path in (one, other, again))
    assert one != other == again
