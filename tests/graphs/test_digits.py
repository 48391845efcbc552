import numpy as np
import pandas as pd
import pytest

from hour9.graphs.digits import (
    LABELLED,
    NEIGHBOURS,
    VALIDATION,
    edge_table,
    load_images,
    read_digits,
    squared_distances,
)
from hour9.task import Source

SOURCE = Source(root="src/hour9/graphs/digits.py", size=1797)


@pytest.fixture(scope="module")
def tables():
    return read_digits(SOURCE)


def test_each_image_is_joined_to_its_nearest_ones(tables):
    """scikit-learn's own search is the oracle: the same distances, whoever wins a tie."""
    from sklearn.neighbors import NearestNeighbors

    pixels, _ = load_images()
    distance, _ = NearestNeighbors(n_neighbors=NEIGHBOURS).fit(pixels).kneighbors()
    edges = tables["edges"]
    both = pd.concat([edges, edges.rename(columns={"source": "target", "target": "source"})])
    nearest = both.groupby("source")["distance"].apply(lambda d: np.sort(d)[:NEIGHBOURS])
    np.testing.assert_allclose(np.stack(nearest), distance / 16)


def test_a_tie_goes_to_the_lower_image():
    """All equally far from one another: everyone is joined to the first few, and to no one else."""
    corners = np.eye(400, dtype=np.int64)
    edges = edge_table(np.arange(400), squared_distances(corners))
    expected = [(low, high) for low in range(NEIGHBOURS) for high in range(low + 1, 400)]
    assert list(zip(edges["source"], edges["target"], strict=True)) == expected


def test_every_class_has_the_same_number_of_training_images(tables):
    cases = tables["cases"]
    assert set(cases.loc[cases["split"] == "train", "target"].value_counts()) == {LABELLED}
    counts = cases["split"].value_counts()
    assert counts.to_dict() == {"train": 200, "validation": VALIDATION, "test": 1797 - 700}


def test_the_same_seed_gives_the_same_tables(tables):
    for name, table in read_digits(SOURCE).items():
        pd.testing.assert_frame_equal(table, tables[name])


def test_another_seed_deals_another_split_of_the_same_graph(tables):
    other = read_digits(SOURCE.model_copy(update={"seed": 1}))
    pd.testing.assert_frame_equal(other["edges"], tables["edges"])
    assert not other["cases"]["split"].equals(tables["cases"]["split"])


def test_a_target_is_the_label_of_its_image(tables):
    _, labels = load_images()
    assert (labels[tables["cases"]["node"]] == tables["cases"]["target"]).all()


def test_a_smaller_graph_keeps_the_numbers_of_its_images():
    small = read_digits(SOURCE.model_copy(update={"size": 400}))
    assert len(small["nodes"]) == 400
    assert small["nodes"]["node"].max() > 400
    assert set(small["edges"]["source"]) <= set(small["nodes"]["node"])


def test_more_images_than_there_are_is_refused():
    with pytest.raises(ValueError, match="at most 1797"):
        read_digits(SOURCE.model_copy(update={"size": 2000}))
