"""A small encoder that learns to classify from the training texts alone, its vocabulary too.

What it lacks beside bert.py is what BERT read before: here a word that training never showed means
nothing.
"""

from collections.abc import Sequence

from hour9.engine.device import prepare_threads
from hour9.engine.randomness import seed_all
from hour9.engine.run import Run
from hour9.transformers.batches import train_tokenizer
from hour9.transformers.classifier import EncoderClassifier, EncoderHead, train_classifier
from hour9.transformers.layers import LayerShape, Transformer, TransformerShape
from hour9.transformers.settings import EncoderSettings

WIDER = 4  # the feed-forward network's features, in channels (Vaswani et al. 2017, table 3)


def train_from_scratch(run: Run, labels: Sequence[str]) -> None:
    """Learn the word pieces, then the model, from the split `train`; write the model's folder."""
    settings: EncoderSettings = run.settings
    seed_all(settings.seed)
    prepare_threads(settings.threads)
    cases = run.tables["cases"]
    train = cases.loc[cases["split"] == "train", "case"]
    sentences = run.tables["sentences"]
    texts = sentences.loc[sentences["case"].isin(train), "text"].tolist()
    tokenizer = train_tokenizer(texts, settings.words, settings.max_tokens)
    shape = TransformerShape(
        words=tokenizer.get_vocab_size(),
        context=settings.max_tokens,
        layers=settings.layers,
        layer=LayerShape(
            channels=settings.channels,
            heads=settings.heads,
            hidden=WIDER * settings.channels,
            dropout=settings.dropout,
        ),
        causal=False,
    )
    model = EncoderHead(Transformer(shape), len(labels))
    train_classifier(run, EncoderClassifier(model, tokenizer, tuple(labels)))
