"""UD-POS: part-of-speech tags of Universal Dependencies in 38 languages (Nivre et al.).

Words as XTREME has them: a multiword token stands for its parts, with the tag of their head. The
prompt is ours: each word is followed by its tag.
"""

from collections.abc import Sequence

from tasks import downloads
from xlt_jax.data import formats, prompts
from xlt_jax.metrics import tagging
from xlt_jax.registry import xtreme
from xlt_jax.registry.benchmarks import Benchmark, Files, Request, Row, Tfds, register

TAGS = tuple(
    "ADJ ADP ADV AUX CCONJ DET INTJ NOUN NUM PART PRON PROPN PUNCT SCONJ SYM VERB X _".split()
)
_LANGUAGES = xtreme.task("udpos").languages
_XTREME = xtreme.task("udpos", "xtreme").languages
_SPLITS = {"train": "train", "validation": "dev", "test": "test"}
# TFDS's xtreme_pos_ta reads the Tagalog treebanks and xtreme_pos_tl the Tamil ones; its globs for
# the others take treebanks that XTREME leaves out, and some languages are missing altogether.
_TFDS_TREEBANKS = {
    "lt": "lt_alksnis",
    "pl": "pl_pdb",
    "uk": "uk_iu",
    "wo": "wo_wtb",
    "ro": "ro_rrt",
}
_TFDS_SWAPPED = {"ta": "tl", "tl": "ta"}
# Which part of a multiword token lends it its tag where several are equally high in the tree.
_HEADS = {
    "es": "VERB AUX PRON ADP DET",
    "fr": "VERB AUX PRON NOUN ADJ ADV ADP DET PART SCONJ CONJ",
    "it": "VERB AUX ADV PRON ADP DET INTJ",
}
_HEADS_ELSEWHERE = "VERB NOUN PROPN PRON ADJ NUM ADV INTJ AUX ADP DET PART CCONJ SCONJ X PUNCT"
_xtreme = formats.tagged_words()


def read_conllu(path, language: str):
    """Sentences of a treebank, words joined as XTREME joins them."""
    order = _HEADS.get(language, _HEADS_ELSEWHERE).split()
    for block in formats.blocks(path):
        words, joined = [], []
        for line in block:
            columns = line.split("\t")
            if line.startswith("#") or "." in columns[0]:  # comments, words that are not written
                continue
            if len(columns) != 10:
                raise ValueError(
                    f"{path} is not CoNLL-U: {len(columns)} columns and not 10 in {line[:80]!r}."
                )
            if "-" in columns[0]:
                first, last = map(int, columns[0].split("-"))
                joined.append((first, last, columns[1]))
            else:
                further = (head.split(":")[0] for head in columns[8].split("|"))
                heads = {columns[6], *filter(str.isdigit, further)}
                words.append((columns[1], columns[3], heads))
        row = _row(words, joined, order)
        empty = sum(token == "_" for token in row["tokens"])
        if row["tokens"] and (not empty or empty < len(row["tokens"]) - 1):
            yield row


def _row(
    words: Sequence[tuple[str, str, set[str]]],
    joined: Sequence[tuple[int, int, str]],
    order: list[str],
) -> Row:
    """Tokens and tags; ``words`` are (form, tag, heads), ``joined`` (first, last, form) from 1."""
    inside = {place: span for span in joined for place in range(span[0], span[1] + 1)}
    tokens, tags = [], []
    for place, (form, tag, _) in enumerate(words, start=1):
        if place not in inside:
            tokens.append(form)
            tags.append(tag)
        elif place == inside[place][0]:
            first, last, form = inside[place]
            above = {part: _words_above(words, part) for part in range(first, last + 1)}
            highest = [part for part in above if above[part] == min(above.values())]
            rank = [words[part - 1][1] for part in highest]
            best = min(
                range(len(rank)), key=lambda i: order.index(rank[i]) if rank[i] in order else 99
            )
            tokens.append(form)
            tags.append(rank[best])
    # Zero-width non-joiners and spaces inside words are left out.
    tokens = ["".join(token.strip().replace("\u200c", "").split(" ")) for token in tokens]
    return {"tokens": tokens, "tags": tags}


def _words_above(words: Sequence[tuple[str, str, set[str]]], place: int) -> int:
    """Words from which one can walk down to this one; in trees, its steps from the root.

    Not in the tree alone: XTREME's tool walks the enhanced dependencies of a treebank too, where
    the subject of a second verb has more words above it than in the tree.
    """
    found, unread = set(), [str(place)]
    while unread:
        word = unread.pop()
        heads = words[int(word) - 1][2] if word.isdigit() and word != "0" else set()
        unread.extend(heads - found)
        found |= heads
    return len(found - {str(place)})


def named_tags(row: Row, language: str) -> Row:
    """TFDS's row with the names of its tags."""
    tokens = ["".join(token.strip().replace("\u200c", "").split(" ")) for token in row["tokens"]]
    return {"tokens": tokens, "tags": [TAGS[tag] for tag in row["upos"]]}


BENCHMARK = register(
    Benchmark(
        name="udpos",
        description="Which part of speech is each word?",
        languages=_LANGUAGES,
        source=(
            Files("udpos/{language}_*-ud-{split}.conllu", read_conllu, _SPLITS),
            Files(
                "ud-treebanks-v2.5/UD_*/{language}_*-ud-{split}.conllu",
                read_conllu,
                _SPLITS,
                {code: code for code in _XTREME},
            ),
            Files(
                "ud-treebanks-v2.7/UD_*/{language}_*-ud-{split}.conllu",
                read_conllu,
                _SPLITS,
                {code: code for code in _LANGUAGES if code not in _XTREME},
            ),
            Files("udpos/{split}-{language}.tsv", _xtreme, _SPLITS),
            Tfds(
                "xtreme_pos/xtreme_pos_{language}:1.0.0",
                _SPLITS,
                {code: _TFDS_SWAPPED.get(code, code) for code in _XTREME},
                named_tags,
            ),
            Tfds("universal_dependencies/{language}:1.0.1", _SPLITS, _TFDS_TREEBANKS, named_tags),
        ),
        prompt=lambda row: prompts.tagged_words("pos", row["tokens"], row["tags"]),
        parse=prompts.tagged_words_parser(TAGS, otherwise="O"),
        constraint=prompts.tagged_words_constraint(TAGS[:-1]),
        request=Request.GENERATE,
        kind="tagging",
        metric=tagging.pos_f1,
        example_counts=tagging.pos_counts,
        main_metric="f1",
        chance=prompts.no_answer,
        max_target_tokens=1024,
        english_training=("udpos.en",),
        citation="Universal Dependencies 2.5 (XTREME's languages) and 2.7 (lt pl uk wo ro)",
        licence="of each treebank, most CC BY-SA 4.0",
        downloads=(
            downloads.known(
                "https://lindat.mff.cuni.cz/repository/xmlui/bitstream/handle/11234/1-3105/"
                "ud-treebanks-v2.5.tgz",
                "ud-treebanks-v2.5.tgz",
                unpack=True,
            ),
            downloads.known(
                "https://lindat.mff.cuni.cz/repository/xmlui/bitstream/handle/11234/1-3424/"
                "ud-treebanks-v2.7.tgz",
                "ud-treebanks-v2.7.tgz",
                unpack=True,
            ),
        ),
    )
)
