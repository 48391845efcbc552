"""How well `translation-seq2seq` translates sentences: BLEU on Multi30k's test of 2016.

    python benchmarks/translation_quality.py --root ../shared/data/text/multi30k/raw
    python benchmarks/translation_quality.py --minutes 15 --set epochs=6 --set precision=bf16
    python benchmarks/translation_quality.py --short                       # sentences made here

Corpus BLEU by sacrebleu, greedy and with a beam, beside the nearest training sentence's
translation. The epoch is chosen on validation. All 29,000 pairs want a GPU or an hour: `--train`
takes fewer, and with `--minutes` a training ends with its time, and the same command goes on.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd
from sacrebleu.metrics import BLEU

from changes import read_changes
from hour9.engine.settings import Source, load_settings
from hour9.task import without_test
from hour9.transformers.seq2seq import load_translator
from hour9.transformers.settings import Seq2SeqSettings
from hour9.transformers.translation import TASK, nearest, pairs_of
from limited import finished, limited, options

CHANGES = {
    "pieces": 4000,
    "channels": 256,
    "layers": 3,
    "dropout": 0.2,
    "smoothing": 0.1,
    "learning_rate": 1e-3,
    "batch_size": 64,
    "max_tokens": 64,
    "epochs": 15,
    "patience": 15,
}


def main() -> None:
    """Train once and print BLEU."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], parents=[options()])
    parser.add_argument("--root", default="../shared/data/text/multi30k/raw")
    parser.add_argument("--name", default="en-de")
    parser.add_argument("--test", default="test_2016_flickr", help="which test file")
    parser.add_argument("--train", type=int, default=29_000, help="training pairs at most")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--beam", type=int, default=5)
    parser.add_argument("--short", action="store_true", help="seconds, on sentences made here")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        changes = CHANGES
        if asked.short:
            asked.root, asked.test, asked.state = write_small(Path(scratch)), "test", Path(scratch)
            changes = CHANGES | {"pieces": 300, "channels": 16, "layers": 1, "epochs": 1}
        measure(asked, changes | read_changes(asked.set))


def measure(asked: argparse.Namespace, changes: dict[str, Any]) -> None:
    tables = TASK.ingest(Source(kind="path", root=asked.root, name=asked.name))
    data = pairs_of(tables)
    unused = data.query("split == 'train'")["case"].sample(frac=1, random_state=0)[asked.train :]
    tables = {name: table[~table["case"].isin(unused)] for name, table in tables.items()}
    data = pairs_of(tables)
    test = data["case"].str.startswith(f"{asked.test}:")
    print(f"{(data['split'] == 'train').sum()} training pairs, {test.sum()} of {asked.test}")
    print(f"nearest training sentence: {bleu(pd.Series(nearest(data))[test], data[test])}")
    section = load_settings("translation-seq2seq").model_dump() | changes
    run = limited(asked, Seq2SeqSettings(**section), without_test(tables), asked.state)
    started = time.process_time()
    TASK.train(run)
    print(f"trained for {time.process_time() - started:.0f} CPU s of this start")
    translator, texts = load_translator(run.folder), data["text"][test].tolist()
    for beam in (1, asked.beam):
        found = pd.Series(translator.translate(texts, beam))
        print(f"beam {beam}: {bleu(found, data[test])}", flush=True)
    print(f"e.g. {texts[0]} → {found[0]}")
    finished(run)


def bleu(found: pd.Series, data: pd.DataFrame) -> str:
    """The score, with the share of its n-grams."""
    return BLEU().corpus_score(found.tolist(), [data["target"].tolist()]).format()


def write_small(folder: Path) -> str:
    """Forty sentences, to see that everything runs."""
    people, things = ("a dog", "a man", "two cats"), ("sleeps", "runs", "plays in the snow")
    lines = [f"{one} {other}." for one in people for other in things] * 5
    for split in ("train", "val", "test"):
        (folder / f"{split}.en").write_text("\n".join(lines))
        (folder / f"{split}.de").write_text("\n".join(line.upper() for line in lines))
    return str(folder)


if __name__ == "__main__":
    main()
