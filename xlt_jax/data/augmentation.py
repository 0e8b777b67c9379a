"""What a run makes of its rows before they are trained on: perturbed copies, views, masked pairs.

Gin binds these to AUGMENTATIONS; of a benchmark the first that applies is taken, by both engines.
"""

import bisect
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from xlt_jax.data import alignment, cache, noising, substitution
from xlt_jax.data.vocab import Vocabulary
from xlt_jax.registry.benchmarks import Benchmark, Example, Row

Prompt = Callable[[Iterable[Row]], Sequence[Example]]  # a benchmark's, of rows of one task

HEADS = ("encoder", "decoder")
SENTINELS = 100
# A word, or a character of a script that has no spaces between words, or a mark.
_WORDS = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u3040-\u30ff\u3400-\u9fff]|\w+|[^\w\s]")


@dataclass(frozen=True)
class Copies:
    """Rows replaced by copies of themselves with words replaced: RS-DA, code-switching.

    Attributes:
        substitution: Draws the words.
        copies: Of every row; 3 on XNLI and 10 on PAWS-X in RS-DA.
        languages: Of the tasks whose rows are perturbed.

    Source: Huang et al. 2021, arXiv:2104.08645, and its released code.
    """

    substitution: substitution.Substitution
    copies: int = 3
    languages: tuple[str, ...] = ("en",)
    training_only: ClassVar[bool] = True  # validation and test rows stay as they are
    features: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self):
        _check_copies(self.copies)

    @property
    def fingerprint(self) -> str:
        """Changes when the rows do."""
        return cache.key(type(self).__name__, self.substitution.fingerprint, str(self.copies))

    def applies(self, benchmark: Benchmark, language: str) -> bool:
        """Whether rows of the task are perturbed."""
        return language in self.languages and substitution.applies(benchmark)

    def examples(self, task: str, rows: Iterable[Row], prompt: Prompt) -> list[dict]:
        """The copies of every prompted row, one after the other."""
        return [
            self._made(example, task, copy)
            for example in prompt(rows)
            for copy in range(self.copies)
        ]

    def _made(self, example: Example, task: str, copy: int) -> dict:
        return self.substitution.example(example, task, copy)

    def noise(self, vocabulary: Vocabulary) -> None:
        """None: nothing is drawn while training."""


class Views(Copies):
    """Rows that keep their inputs and get a perturbed version of them, for two-stream objectives.

    Every row is there ``copies`` times, each with a version of its own.
    """

    features = ("views",)

    def _made(self, example: Example, task: str, copy: int) -> dict:
        perturbed = self.substitution.example(example, task, copy)
        return {**example, "view": perturbed["inputs"]}


@dataclass(frozen=True)
class MaskedPairs:
    """Parallel pairs with masked tokens in place of translation: TLM, and word exchange (WEAM).

    Attributes:
        rate: Share of the tokens that is masked. 0.15 in TLM; 0.3 is recalled for WEAM.
        aligned: WEAM: also the aligned word of each masked one is predicted.
        head: "encoder": masked tokens are predicted at their places by the encoder; "decoder":
            text-to-text, masked spans or words are written out.
        joint: Both sentences stand in one input, as in TLM. False, of the encoder only: one of them
            at a time, so that no attention can look an aligned token up (not known of the paper).
        random_share: Of the masked tokens, those replaced by a random one (encoder only).
        kept_share: Of the masked tokens, those that stay (encoder only).
        symmetrisation: Of word alignments that rows do not bring; see ``alignment.fast_align``.

    Raises:
        ValueError: An option is out of range.

    Source: Lample and Conneau 2019, arXiv:1901.07291, section 3.3 (TLM); Yang et al. 2021,
        arXiv:2106.01732 (WEAM), in which both predictions are made at masked tokens. Which token of
        an aligned word is predicted, and the symmetrisation, are ours.
    """

    rate: float = 0.15
    aligned: bool = False
    head: str = "encoder"
    joint: bool = True
    random_share: float = 0.1
    kept_share: float = 0.1
    symmetrisation: str = "grow-diag-final-and"
    training_only: ClassVar[bool] = False

    def __post_init__(self):
        shares = {
            "rate": self.rate, "random_share": self.random_share, "kept_share": self.kept_share,
        }  # fmt: skip
        for name, share in shares.items():
            if not 0 <= share <= 1 or (name == "rate" and not share):
                raise ValueError(f"{name} is {share}: give a share of the tokens up to 1.")
        if self.random_share + self.kept_share > 1:
            raise ValueError("random_share and kept_share together exceed 1.")
        if self.head not in HEADS or (self.head == "decoder" and not self.joint):
            raise ValueError(
                f"head is {self.head!r} and joint {self.joint}; give one of {HEADS}, and joint "
                "False for the encoder only."
            )

    @property
    def features(self) -> tuple[str, ...]:
        """Names of what its rows have beside inputs and targets."""
        if self.head == "decoder":
            return ()
        return ("masked", "aligned") if self.aligned else ("masked",)

    @property
    def fingerprint(self) -> str:
        """Changes when what is stored of a row does: masks are drawn later."""
        return cache.key(
            "pairs", str(self.aligned), self.symmetrisation, cache.file_fingerprint(alignment.align)
        )

    def applies(self, benchmark: Benchmark, language: str) -> bool:
        """Whether it is a set of parallel pairs."""
        return benchmark.kind == "parallel"

    def examples(self, task: str, rows: Iterable[Row], prompt: Prompt) -> list[dict]:
        """Each pair once, as its row has it: both sentences with their words, and word links.

        Raises:
            ValueError: A row lacks ``source`` or ``target``.
        """
        made = []
        for number, row in enumerate(rows):
            if not row.get("source") or not row.get("target"):
                raise ValueError(
                    f"Row {number} of {task} has {', '.join(row)}; parallel pairs need 'source' "
                    "and 'target'."
                )
            sides = {}
            for side in ("source", "target"):
                sides[f"{side}_words"] = row.get(f"{side}_tokens") or words(row[side])
            links = row.get("alignment")
            made.append(
                {
                    "id": str(row.get("id", number)),
                    "inputs": row["source"],
                    "targets": row["target"],
                    "references": row["target"],
                    **sides,
                    "links": None if links is None else [tuple(link) for link in links],
                }
            )
        if self.aligned and any(one["links"] is None for one in made):
            pairs = [(one["source_words"], one["target_words"]) for one in made]
            found = alignment.fast_align(pairs, symmetrisation=self.symmetrisation)
            made = [{**one, "links": list(links)} for one, links in zip(made, found)]
        return [{**one, "links": one["links"] or []} for one in made]

    def noise(self, vocabulary: Vocabulary) -> noising.Noise:
        """Draws masks."""
        first_sentinel = vocabulary.sentinel_id(0)
        if self.head == "decoder":
            return noising.PairSpans(self.rate, first_sentinel, vocabulary.eos_id, self.aligned)
        return noising.PairMasks(
            rate=self.rate,
            mask_id=first_sentinel,
            eos_id=vocabulary.eos_id,
            random_ids=(vocabulary.unk_id + 1, first_sentinel - SENTINELS + 1),
            random_share=self.random_share,
            kept_share=self.kept_share,
            joint=self.joint,
            aligned=self.aligned,
        )


Augmentation = Copies | MaskedPairs


def of_task(
    augmentations: Sequence[Augmentation], benchmark: Benchmark, language: str, split: str
) -> Augmentation | None:
    """The first that applies, None if none does."""
    for one in augmentations:
        if one.applies(benchmark, language) and (split == "train" or not one.training_only):
            return one
    return None


def words(text: str) -> list[str]:
    """Words and marks of a sentence; of a script without spaces between words, its characters."""
    return _WORDS.findall(text)


def word_numbers(text: str, words: Sequence[str], places: Sequence[int], first: int) -> list[int]:
    """Number of the word that each token belongs to.

    Args:
        text: A sentence.
        words: Its words, as they stand in it one after the other.
        places: A character of each token of the sentence. Spaces belong to the word after them, all
            after the last word to that.
        first: Number of the first word.

    Raises:
        ValueError: A word does not stand in the text after the one before it.
    """
    ends, place = [], 0
    for word in words:
        start = text.find(word, place)
        if start < 0:
            raise ValueError(f"The word {word!r} does not follow in {text!r}.")
        place = start + len(word)
        ends.append(place)
    last = len(ends) - 1
    return [first + min(bisect.bisect_right(ends, place), last) for place in places]


def extra_features(augmentations: Sequence[Augmentation]) -> tuple[str, ...]:
    """What rows have beside inputs and targets."""
    return tuple(dict.fromkeys(name for one in augmentations for name in one.features))


def _check_copies(copies: int) -> None:
    if copies < 1:
        raise ValueError(f"copies is {copies}: give 1 or more of every row.")
