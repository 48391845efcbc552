import os
from pathlib import Path

import numpy as np
import pytest

from hour9.sources.moleculenet import read_arrays, read_molecules
from hour9.sources.smiles import read_smiles
from hour9.sources.tudataset import BadFile

SETS = Path(os.environ.get("HOUR9_SHARED", "../shared")) / "data/moleculenet"
CSV, NPZ = SETS / "esol/raw/delaney-processed.csv", SETS / "graphs_npz/esol.npz"


def write(folder: Path, text: str) -> Path:
    path = folder / "toy.csv"
    path.write_text(text)
    return path


def test_a_table_of_molecules_is_read_and_one_written_twice_stays_in_one_split(tmp_path):
    path = write(tmp_path, "name,smiles,expt\nethanol,CCO,1.5\nmethane,C,-0.9\nagain,OCC,1.25\n")
    arrays = read_smiles(path)
    assert arrays["group"].tolist() == [0, 1, 0]
    tables = read_molecules(arrays, seed=0)
    assert tables["cases"]["target"].tolist() == [1.5, -0.9, 1.25]
    assert tables["edges"][["case", "source", "target"]].to_numpy().tolist() == [
        ["0", 0, 1],
        ["0", 1, 2],
        ["2", 0, 1],
        ["2", 1, 2],
    ]
    assert tables["nodes"]["element.O"].tolist() == [0, 0, 1, 0, 1, 0, 0]


@pytest.mark.skipif(not (CSV.exists() and NPZ.exists()), reason=f"{CSV} or {NPZ} is missing")
def test_esol_as_published_is_esol_as_arrays():
    read, kept = read_smiles(CSV), read_arrays(NPZ)
    for name in ("x", "edge_index", "edge_attr", "node_ptr", "edge_ptr", "group"):
        assert np.array_equal(read[name], kept[name]), name
    assert read["y"] == pytest.approx(kept["y"], abs=1e-6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("smiles,target\nCCO,1.0\nC((,2.0\nnone,3.0\n", "no molecule .* in line 3, 4; take"),
        ("smiles,target\nCCO,1.0\n '',2.0\n", "no molecule .* in line 3"),
        ("smiles,target\n*[U](F)(F)(F)(F)(F)(F)(F)(F)(F)(F)(F)F,1\n", "no molecule .* in line 2"),
        ("smiles,target\nCCO,1.0\nC,\n", "column target: nothing stands in line 3"),
        ("smiles,target\nCCO,1.0\n,2.0\n", "column smiles: nothing stands in line 3"),
        ("formula,target\nCCO,1.0\n", "needs a column smiles or mol; it has formula, target"),
        ("smiles,price\nCCO,1.0\n", "needs a column target or measured .*; it has smiles, price"),
        ("smiles,target\nCCO,1.0\n\n\nXX,2.0\n", "no molecule .* in line 5"),
        (f"smiles,target\n{'C' * 30_000},1.0\n", "no molecule .* in line 2"),
        ("smiles,target\n", "holds no molecules"),
        ("", "is no table: No columns"),
        ("smiles,target\nCC,1,2\nCO,2,3\n", "line 2 has more fields than line 1 has names"),
        ("smiles,target\nCC,1\nCO,2,3\n", "line 3, saw 3"),
    ],
)
def test_a_broken_table_is_refused_with_the_lines(tmp_path, text, message, capfd):
    with pytest.raises(BadFile, match=message):
        read_smiles(write(tmp_path, text))
    assert capfd.readouterr().err == ""


def test_of_a_hundred_lines_one_that_is_no_molecule_is_left_out_aloud(tmp_path, capsys):
    lines = ["C" * n for n in range(1, 100)]
    text = "".join(
        f"{line},{number}.5\n" for number, line in enumerate([*lines[:9], "C((", *lines[9:]])
    )
    tables = read_molecules(read_smiles(write(tmp_path, "SMILES,Target\n" + text)), seed=0)
    cases = tables["cases"].set_index("case")["target"]
    assert len(cases) == 99
    assert "9" not in cases.index
    assert (cases == cases.index.astype(int) + 0.5).all()
    atoms = tables["nodes"].groupby("case").size()
    assert (atoms["8"], atoms["10"]) == (9, 10)
    assert "left out line 11 (RDKit reads no molecule there)" in capsys.readouterr().err


def test_a_small_target_stays_what_it_is(tmp_path):
    path = write(tmp_path, "smiles,target\nCCO,3.21e-8\nC,-1.5e-9\n")
    assert read_molecules(read_smiles(path), seed=0)["cases"]["target"].tolist() == [
        3.21e-8,
        -1.5e-9,
    ]


@pytest.mark.parametrize("labels", [("1", "0"), ("yes", "no")])
def test_whole_numbers_and_words_are_classes(tmp_path, labels):
    path = write(tmp_path, f"smiles,target\nCCO,{labels[0]}\nC,{labels[1]}\n")
    found = read_molecules(read_smiles(path), seed=0)["cases"]["target"]
    assert found.tolist() == [f"class {label}" for label in labels]
