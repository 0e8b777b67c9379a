"""Records of how well languages are aligned inside an encoder, as evaluation leaves them."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from etils import epath

from xlt_jax import files

FILE = "alignment.jsonl"
# What is shown, of all names of ``Measure``.
SHOWN = {
    "accuracy_cosine": "sentences found",
    "accuracy_csls": "by CSLS",
    "mrr_cosine": "MRR",
    "cka": "CKA",
    "svcca": "SVCCA",
    "aer": "AER",
    "word_accuracy": "words found",
}


@dataclass(frozen=True)
class Measure:
    """One number of one language and layer.

    Attributes:
        task: Of parallel pairs.
        language: Whose alignment with the other side's language it is.
        layer: Encoder layers behind the states, 0 being the token vectors.
        name: ``accuracy_cosine``, ``accuracy_csls`` and ``mrr_cosine`` of finding each sentence's
            translation among all, both directions' mean; ``cka``, debiased, and ``svcca`` of mean
            vectors; ``aer``, ``precision``, ``recall``, ``f1`` of word links by mutual argmax, and
            ``word_accuracy`` of finding a word's translation among all linked words, by mean vector
            in context, where rows bring word links.
        value: Of the measure, all but ``cka`` from 0 to 1.
        n: Sentence pairs, or words, behind it.
    """

    task: str
    language: str
    layer: int
    name: str
    value: float
    n: int


def write(folder: str | os.PathLike, found: Sequence[Measure]) -> None:
    """``folder/alignment.jsonl``, a line for each."""
    lines = (json.dumps(asdict(one)) for one in found)
    files.write_text(epath.Path(folder) / FILE, "".join(f"{line}\n" for line in lines))


def read(folder: str | os.PathLike) -> list[Measure]:
    """What ``write`` wrote; none if there is no such file."""
    path = epath.Path(folder) / FILE
    if not path.exists():
        return []
    return [Measure(**json.loads(line)) for line in path.read_text().splitlines()]
