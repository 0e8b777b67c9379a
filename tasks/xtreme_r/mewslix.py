"""Mewsli-X: which entity does a mention in the news link to? (Ruder et al. 2021, arXiv:2104.07412)

A million entities described in 50 languages; files as its released extraction writes them.
"""

from tasks import families
from xlt_jax.data import formats
from xlt_jax.registry import xtreme
from xlt_jax.registry.benchmarks import Benchmark, Files, Request, Row, register

_SPLITS = {"validation": "dev", "test": "test"}
_PAIRS = {"train": "train", "validation": "dev"}
_CITATION = "Ruder et al. 2021; Botha et al. 2020 (arXiv:2011.02690)"
_LICENCE = "CC BY-SA 3.0 (Wikipedia), CC BY 2.5 (WikiNews)"
_MANUAL = (
    "Run get-mewsli-x.sh in dense_representations_for_entity_retrieval/mel of the repository "
    "google-research, and name its output folder mewslix."
)


def read_mentions(path, language: str):
    """One row for each mention of the documents in that language."""
    for document in formats.json_lines(path):
        for mention in document["mentions"] if document["context"]["language"] == language else ():
            yield mention | {"id": mention["example_id"], "document": document["context"]}


def read_pairs(path, language: str):
    """Mentions of Wikipedia pages with the entity that they link to."""
    for row in formats.json_lines(path):
        mention = row["contextual_mention"]["mention"]
        document = row["contextual_mention"]["context"]
        yield mention | {
            "id": mention["example_id"],
            "document": document,
            "entity": row["entity"],
        }


def read_entities(path, language: str):
    """Entities; a row's id is its Wikidata number."""
    for row in formats.json_lines(path):
        yield row | {"id": row["entity_id"]}


def query(row: Row) -> dict | None:
    """``mention: left { mention } right``: the sentence of the mention, in its own words.

    A mention without its entity is dropped: XTREME's script takes those of the test set out.
    """
    text, span = row["document"]["text"], row["mention_span"]
    start, end = span["start"], span["end"]
    sentence = next(
        (
            (one["start"], one["end"])
            for one in row["document"]["sentence_spans"]
            if one["start"] <= start and end <= one["end"]
        ),
        (0, len(text)),
    )
    left, right = text[sentence[0] : start].strip(), text[end : sentence[1]].strip()
    marked = " ".join(filter(None, (left, "{", text[start:end], "}", right)))
    inputs = f"{text[start:end]}: {marked}"
    made = {"inputs": inputs, "texts": (text[slice(*sentence)],)}
    if "entity" in row:  # training pairs
        return made | {"targets": entity(row["entity"])["inputs"]}
    return made | {"targets": row["entity_id"]} if row["entity_id"] else None


def entity(row: Row) -> dict:
    """Title and description."""
    return {"inputs": f"{row['title']}: {row['description']}", "targets": ""}


CANDIDATES = register(
    Benchmark(
        name="mewslix_candidates",
        description="The million entities, in 50 languages, that mentions are searched among.",
        languages=("en",),  # one file of all languages
        source=(
            Files(
                "mewslix/candidate_set_entities.jsonl",
                read_entities,
                {"validation": "", "test": ""},
            ),
        ),
        prompt=entity,
        request=Request.CANDIDATES,
        kind="retrieval",
        citation=_CITATION,
        licence=_LICENCE,
        manual=_MANUAL,
    )
)
PAIRS = register(
    Benchmark(
        name="mewslix_pairs",
        description="English mentions with their entities, to train a dual encoder.",
        languages=("en",),
        source=(Files("mewslix/wikipedia_pairs-{split}.jsonl", read_pairs, _PAIRS),),
        prompt=query,
        request=Request.TRAIN_ONLY,
        kind="retrieval",
        citation=_CITATION,
        licence=_LICENCE,
        manual=_MANUAL,
    )
)
BENCHMARK = register(
    Benchmark(
        name="mewslix",
        description="Which of a million entities does the mention link to?",
        languages=xtreme.task("mewslix").languages,
        source=(
            Files("mewslix/wikinews_mentions-{split}.jsonl", read_mentions, _SPLITS),
            Files("mewslix/wikinews_mentions/{split}-{language}.jsonl", read_mentions, _SPLITS),
        ),
        prompt=query,
        **families.RANKINGS,
        candidates=CANDIDATES.name,
        domain="news",
        english_training=("mewslix_pairs.en",),
        citation=_CITATION,
        licence=_LICENCE,
        manual=_MANUAL,
    )
)
