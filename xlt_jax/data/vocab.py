"""Vocabularies: SentencePiece with mT5's ids, without TensorFlow."""

import functools
import io
import os
import pathlib
from collections.abc import Callable, Iterable, Sequence

import sentencepiece

from xlt_jax.data import cache

PAD_ID, EOS_ID, UNK_ID = 0, 1, 2
# Arabic, Persian, Devanagari, Bengali, Burmese.
_NATIVE_DIGITS = "٠١٢٣٤٥٦٧٨٩۰۱۲۳۴۵۶۷۸۹०१२३४५६७८९০১২৩৪৫৬৭৮৯၀၁၂၃၄၅၆၇၈၉"


class Vocabulary:
    """A SentencePiece model with pad 0, eos 1, unk 2, and ``extra_ids`` sentinels at the end.

    ``<extra_id_0>`` is the last id, ``<extra_id_1>`` the one before, as in T5. mT5's own model
    file holds its 100 sentinels already: read it with ``extra_ids=0``.
    """

    pad_id, eos_id, unk_id = PAD_ID, EOS_ID, UNK_ID

    def __init__(self, path: str, extra_ids: int = 0):
        """Reads the model.

        Raises:
            ValueError: The file is missing, no SentencePiece model, or has other special ids.
        """
        self.path, self.extra_ids = str(path), extra_ids
        if self.path.startswith("gs://"):
            model = _read_remote(self.path)
        elif os.path.isfile(self.path):
            model = pathlib.Path(self.path).read_bytes()
        else:
            raise ValueError(
                f"Vocabulary file {self.path} does not exist. Give the path of a SentencePiece "
                "model, or add --gin_file=gin/local.gin to use the embedded one."
            )
        self._processor = sentencepiece.SentencePieceProcessor()
        try:
            self._processor.LoadFromSerializedProto(model)
        except RuntimeError as error:
            raise ValueError(f"{self.path} is not a SentencePiece model ({error}).") from error
        ids = (self._processor.pad_id(), self._processor.eos_id(), self._processor.unk_id())
        if ids != (PAD_ID, EOS_ID, UNK_ID):
            raise ValueError(
                f"{self.path} has pad, eos, unk = {ids}; mT5's networks need 0, 1, 2. "
                "Take the vocabulary that belongs to the checkpoint."
            )
        self.fingerprint = cache.key(model.hex(), str(extra_ids))

    @property
    def vocab_size(self) -> int:
        """Number of ids, sentinels included."""
        return self._processor.GetPieceSize() + self.extra_ids

    def sentinel_id(self, number: int) -> int:
        """Id of ``<extra_id_number>``."""
        return self.vocab_size - 1 - number

    def encode(self, text: str) -> list[int]:
        """Token ids without end-of-sequence."""
        return self._processor.EncodeAsIds(text)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of many texts, on all cores."""
        return self._processor.EncodeAsIds(list(texts), num_threads=os.cpu_count())

    def decode(self, ids: Iterable[int]) -> str:
        """Text of ids up to the first end-of-sequence; sentinels and padding are left out."""
        kept = []
        for token in ids:
            if token == EOS_ID:
                break
            if PAD_ID < token < self._processor.GetPieceSize():
                kept.append(int(token))
        return self._processor.DecodeIds(kept)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and other.fingerprint == self.fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __deepcopy__(self, memo) -> "Vocabulary":
        return self  # gin copies bound arguments; the model is immutable

    def as_seqio(self):
        """The same vocabulary as a ``seqio.SentencePieceVocabulary`` (imports TensorFlow)."""
        import seqio

        return seqio.SentencePieceVocabulary(self.path, extra_ids=self.extra_ids)


@functools.cache
def sentence_piece(path: str, extra_ids: int = 0) -> Vocabulary:
    """The vocabulary in a SentencePiece model file, local or ``gs://``, read once."""
    return Vocabulary(path, extra_ids)


@functools.cache
def trained(corpus: Callable[[], Iterable[str]], size: int, extra_ids: int = 100) -> Vocabulary:
    """A vocabulary of ``size`` ids in all, trained on ``corpus()`` once into the cache folder.

    Byte-pair encoding with byte fall-back, not the unigram model of mT5: its counts are integers,
    so that every machine gets the same model; sums of the unigram model depend on the C library.

    Args:
        corpus: Function that returns the text, line by line, in a fixed order.
        size: Ids including pad, eos, unk, 256 bytes and the sentinels.
        extra_ids: Sentinels for span corruption.
    """
    name = cache.key("bpe-2", cache.code_fingerprint(corpus), str(size), str(extra_ids))

    def build(folder: pathlib.Path) -> None:
        print(f"Training a SentencePiece vocabulary of {size:,} ids (once) ...", flush=True)
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.Train(
            sentence_iterator=iter(corpus()),
            model_writer=model,
            model_type="bpe",
            vocab_size=size - extra_ids,
            byte_fallback=True,
            character_coverage=0.9995,
            # Text is NFKC already, and the default rule would lose joiners that Telugu needs.
            normalization_rule_name="identity",
            # One token for each digit, so that numbers compare; the option knows ASCII only.
            split_digits=True,
            user_defined_symbols=[*_NATIVE_DIGITS],
            pad_id=PAD_ID,
            eos_id=EOS_ID,
            unk_id=UNK_ID,
            bos_id=-1,
            num_threads=1,
            minloglevel=2,
        )
        (folder / "sentencepiece.model").write_bytes(model.getvalue())

    folder = cache.build_once(cache.cache_dir() / "vocabularies" / name, build)
    return sentence_piece(str(folder / "sentencepiece.model"), extra_ids)


def _read_remote(path: str) -> bytes:
    """Bytes of a gs:// file."""
    from etils import epath

    try:
        return epath.Path(path).read_bytes()
    except Exception as error:  # every file system raises its own
        raise ValueError(
            f"Cannot read the vocabulary {path} ({type(error).__name__}: {error}). Without network "
            "add --gin_file=gin/local.gin, which uses embedded data and a tiny model."
        ) from error
