"""BUCC 2018: sentences of two corpora that translate each other (Zweigenbaum et al. 2018).

Nothing is trained on it. Most sentences have no translation, so every pair needs a score: a
prediction is ``ID SCORE``, the English sentence and how sure it is, or nothing where the sentence
has no partner. An id alone has the score 0. Scores come from ``decoding.embed.mutual``.

What is reported is F1 at the threshold that is best on the very set that is scored: an upper bound
of what a threshold tuned elsewhere gives. XTREME tunes it on the development set: ``threshold`` is
among the metrics there, and ``at_threshold`` scores the test set with it.
"""

from collections.abc import Sequence

from xlt_jax.data import formats, prompts
from xlt_jax.metrics import mining
from xlt_jax.metrics.classification import check_lengths
from xlt_jax.registry import xtreme
from xlt_jax.registry.benchmarks import Benchmark, Download, Example, Files, Request, register

_LANGUAGES = xtreme.task("bucc2018").languages
_CITATION = "Zweigenbaum, Sharoff and Rapp 2018"
_LICENCE = "none stated by the organisers"
_URL = "https://comparable.limsi.fr/bucc2018"


def read_sentences(path, language: str):
    """Sentences with the ids of their translations, joined by spaces, mostly none.

    Raises:
        ValueError: The file of gold pairs is not there. XTREME's script deletes that of the test
            set, which the original archive has.
    """
    partners: dict[str, list[str]] = {}
    for line in formats.lines(formats.sibling(path, ".gold")):
        own, _, english = line.partition("\t")
        partners.setdefault(own.strip(), []).append(english.strip())
    for row in _numbered(path):
        yield row | {"english": " ".join(partners.get(row["id"], ()))}


def read_english(path, language: str):
    """The sentences of the English corpus beside the file."""
    return _numbered(formats.sibling(path, ".en"))


def _numbered(path):
    for line in formats.lines(path):
        row_id, _, sentence = line.partition("\t")
        yield {"id": row_id.strip(), "sentence": sentence.strip()}


# -------------------------------------------------------------------------------------- scoring
def best_f1(references: Sequence[str], predictions: Sequence[str]) -> dict[str, float]:
    """F1, precision and recall of the pairs at the threshold that is best on these very rows.

    ``threshold`` is what it was. See ``at_threshold`` for one that comes from other rows.
    """
    scores, gold = _scored_pairs(predictions), _gold_pairs(references, predictions)
    threshold = mining.best_threshold(scores, gold).value
    return _at_best(mining.pair_f1(gold, mining.kept_pairs(scores, threshold)), threshold)


def at_threshold(
    references: Sequence[str], predictions: Sequence[str], threshold: float
) -> dict[str, float]:
    """``f1``, ``precision``, ``recall`` of the pairs whose score is at least ``threshold``."""
    gold = _gold_pairs(references, predictions)
    return mining.pair_f1(gold, mining.kept_pairs(_scored_pairs(predictions), threshold))


def _at_best(found: dict[str, float], threshold: float) -> dict[str, float]:
    return {f"{name}_at_best_threshold": value for name, value in found.items()} | {
        "threshold": threshold
    }


def pair_counts(reference: str, prediction: str) -> tuple[int, int, int]:
    """(right, predicted, wanted) of one sentence, whatever the score: F1 without a threshold."""
    gold, given = set(reference.split()), set(prediction.split()[:1])
    return len(gold & given), len(given), len(gold)


def above_threshold(examples: Sequence[Example], predictions: Sequence[str]) -> list[str]:
    """Predictions as XTREME's files have them: ids of the pairs above the best threshold."""
    references = [example["references"] for example in examples]
    scores, gold = _scored_pairs(predictions), _gold_pairs(references, predictions)
    kept = dict(mining.kept_pairs(scores, mining.best_threshold(scores, gold).value))
    return [kept.get(str(row), "") for row in range(len(predictions))]


def _gold_pairs(references: Sequence[str], predictions: Sequence[str]) -> set[mining.Pair]:
    check_lengths(references, predictions)
    return {(str(row), one) for row, ids in enumerate(references) for one in ids.split()}


def _scored_pairs(predictions: Sequence[str]) -> dict[mining.Pair, float]:
    """(row, id) -> score.

    Raises:
        ValueError: A prediction is not ``ID SCORE``.
    """
    scores = {}
    for row, prediction in enumerate(predictions):
        if not prediction.strip():
            continue
        partner, *score = prediction.split()
        try:
            (scores[str(row), partner],) = map(float, score or [0.0])
        except ValueError as error:
            raise ValueError(
                f"Prediction {prediction!r} of row {row} is not `ID SCORE`: write the id of one "
                "English sentence and a number, or nothing."
            ) from error
    return scores


def _files(read) -> tuple[Files, ...]:
    xtreme_names, original_names = (
        {"validation": "dev", "test": "test"},
        {"validation": "sample", "test": "training"},
    )
    return (
        Files("bucc2018/{language}-en.{split}.{language}", read, xtreme_names),
        Files(
            "bucc2018/{language}-en/{language}-en.{split}.{language}",
            read,
            original_names,
        ),
    )


ENGLISH = register(
    Benchmark(
        name="bucc2018_english",
        description="The English corpora that BUCC's sentences are searched in.",
        languages=_LANGUAGES,
        source=_files(read_english),
        prompt=lambda row: {"inputs": row["sentence"], "targets": ""},
        request=Request.CANDIDATES,
        kind="retrieval",
        citation=_CITATION,
        licence=_LICENCE,
    )
)
BENCHMARK = register(
    Benchmark(
        name="bucc2018",
        description="Which sentences of a corpus have a translation in an English one, and which?",
        languages=_LANGUAGES,
        source=_files(read_sentences),
        prompt=lambda row: {"inputs": row["sentence"], "targets": row["english"]},
        request=Request.EMBED,
        candidates=ENGLISH.name,
        mined=True,
        kind="retrieval",
        metric=best_f1,
        example_counts=pair_counts,
        main_metric="f1_at_best_threshold",
        chance=prompts.no_answer,
        export=above_threshold,
        english_training=("squad.en",),
        citation=_CITATION,
        licence=_LICENCE,
        downloads=tuple(
            Download(
                f"{_URL}/bucc2018-{code}-en.{part}-gold.tar.bz2",
                f"bucc2018-{code}-en.{part}-gold.tar.bz2",
                unpack=True,
            )
            for code in _LANGUAGES
            for part in ("sample", "training")
        ),
    )
)
