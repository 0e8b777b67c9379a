"""Vocabularies, without TensorFlow: SentencePiece with mT5's ids, and the bytes of ByT5."""

import dataclasses
import functools
import io
import itertools
import os
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar

import sentencepiece

from xlt_jax.data import cache

PAD_ID, EOS_ID, UNK_ID = 0, 1, 2
_FIRST_BYTE_ID = 3
# Names in Hugging Face folders: T5's family; XLM-R's; the name that newer ones share.
_MODEL_FILES = ("spiece.model", "sentencepiece.bpe.model", "tokenizer.model")
# Arabic, Persian, Devanagari, Bengali, Burmese.
_NATIVE_DIGITS = "٠١٢٣٤٥٦٧٨٩۰۱۲۳۴۵۶۷۸۹०१२३४५६७८९০১২৩৪৫৬৭৮৯၀၁၂၃၄၅၆၇၈၉"


class Vocabulary:
    """A SentencePiece model with pad 0, eos 1, unk 2, and ``extra_ids`` sentinels at the end.

    ``<extra_id_0>`` is the last id, ``<extra_id_1>`` the one before, as in T5. mT5's own model
    file holds its 100 sentinels already: read it with ``extra_ids=0``. umT5's has none and needs
    ``extra_ids=300``.
    """

    pad_id, eos_id, unk_id = PAD_ID, EOS_ID, UNK_ID

    def __init__(self, path: str, extra_ids: int = 0):
        """Reads the model.

        Args:
            path: A model file, local or ``gs://``, or a local Hugging Face folder that holds one.
            extra_ids: Sentinels beyond the model's own pieces.

        Raises:
            ValueError: The file is missing, no SentencePiece model, or has other special ids.
        """
        _check_extra_ids(extra_ids)
        self.path, self.extra_ids = _model_file(str(path)), extra_ids
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
        """Id of ``<extra_id_number>``.

        Raises:
            ValueError: The id is that of an ordinary piece.
        """
        token = self.vocab_size - 1 - number
        if number >= self.extra_ids:
            piece = self._processor.IdToPiece(token) if token >= 0 else "nothing"
            if f"<extra_id_{number - self.extra_ids}>" not in piece:
                raise ValueError(
                    f"{self.path} with extra_ids={self.extra_ids} has no <extra_id_{number}>: id "
                    f"{token} is {piece!r}. Span corruption needs sentinels: mT5's public file "
                    "holds them (extra_ids=0), umT5's needs extra_ids=300."
                )
        return token

    def encode(self, text: str) -> list[int]:
        """Token ids without end-of-sequence."""
        return self._processor.EncodeAsIds(text)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of many texts, on all cores."""
        return self._processor.EncodeAsIds(list(texts), num_threads=os.cpu_count())

    def encode_words(self, words: Sequence[str]) -> list[list[int]]:
        """Token ids of words as they are after a space: put together they are a sentence's."""
        return self.encode_batch(words)

    def encode_places(self, texts: Sequence[str]) -> list[tuple[list[int], list[int]]]:
        """Of each text its token ids, and for each token the place of its last character."""
        found = self._processor.EncodeAsOffsetMapping(list(texts), num_threads=os.cpu_count())
        return [
            (one["ids"], [max(begin, end - 1) for begin, end in one["offsets"]]) for one in found
        ]

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


@dataclasses.dataclass(frozen=True)
class ByteVocabulary:
    """UTF-8: pad 0, eos 1, unk 2, byte b as b + 3, and ``extra_ids`` ids at the end.

    Attributes:
        extra_ids: ``<extra_id_0>`` is the last id in any case. Without extra ids sentinels are the
            last bytes, from 258 down, as in the pretraining of ByT5.

    Raises:
        ValueError: A negative number of extra ids.

    Source: Xue et al. 2022, arXiv:2105.13626, section 3.1.
    """

    extra_ids: int
    pad_id: ClassVar[int] = PAD_ID
    eos_id: ClassVar[int] = EOS_ID
    unk_id: ClassVar[int] = UNK_ID

    def __post_init__(self):
        _check_extra_ids(self.extra_ids)

    @property
    def path(self) -> str:
        """What messages call it: there is no file."""
        return f"byte_vocabulary(extra_ids={self.extra_ids})"

    @property
    def fingerprint(self) -> str:
        """Changes when ids do."""
        return cache.key("bytes", str(self.extra_ids))

    @property
    def vocab_size(self) -> int:
        """Number of ids, sentinels included."""
        return _FIRST_BYTE_ID + 256 + self.extra_ids

    def sentinel_id(self, number: int) -> int:
        """Id of ``<extra_id_number>``."""
        return self.vocab_size - 1 - number

    def encode(self, text: str) -> list[int]:
        """Token ids without end-of-sequence."""
        return [byte + _FIRST_BYTE_ID for byte in text.encode("utf-8")]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of many texts."""
        return [self.encode(text) for text in texts]

    def encode_words(self, words: Sequence[str]) -> list[list[int]]:
        """Token ids of words as they are after a space."""
        return [self.encode(f" {word}") for word in words]

    def encode_places(self, texts: Sequence[str]) -> list[tuple[list[int], list[int]]]:
        """Of each text its token ids, and for each token the place of its character."""
        return [
            (
                self.encode(text),
                [place for place, letter in enumerate(text) for _ in letter.encode("utf-8")],
            )
            for text in texts
        ]

    def decode(self, ids: Iterable[int]) -> str:
        """Text of ids up to the first end-of-sequence, as ``seqio.ByteVocabulary`` gives it.

        Ids that are no bytes are left out, and so are bytes that are no UTF-8: a character cut off
        at the end of an output, or a sentinel among the last bytes.
        """
        until_end = itertools.takewhile(lambda token: token != EOS_ID, ids)
        kept = (int(token) - _FIRST_BYTE_ID for token in until_end)
        return bytes(byte for byte in kept if 0 <= byte < 256).decode("utf-8", errors="ignore")

    def as_seqio(self):
        """The same vocabulary as a ``seqio.ByteVocabulary`` (imports TensorFlow)."""
        import seqio

        return seqio.ByteVocabulary(extra_ids=self.extra_ids)


@functools.cache
def sentence_piece(path: str, extra_ids: int = 0) -> Vocabulary:
    """The vocabulary in a SentencePiece model, read once; see ``Vocabulary`` for both arguments."""
    return Vocabulary(path, extra_ids)


def byte_vocabulary(extra_ids: int = 125) -> ByteVocabulary:
    """ByT5's vocabulary; 125 fills its network's 384 ids, as in Hugging Face's tokenizer."""
    return ByteVocabulary(extra_ids)


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


def _check_extra_ids(extra_ids: int) -> None:
    if not isinstance(extra_ids, int) or extra_ids < 0:
        raise ValueError(f"extra_ids is {extra_ids!r}; give a whole number from 0.")


def _model_file(path: str) -> str:
    """``path``, or the model file in the folder of that name."""
    if not os.path.isdir(path):
        return path
    files = sorted(os.listdir(path))
    found = [name for name in _MODEL_FILES if name in files]
    if not found:
        raise ValueError(
            f"The folder {path} has no SentencePiece model ({', '.join(_MODEL_FILES)}); it holds: "
            f"{', '.join(files) or 'nothing'}. For ByT5 take vocab.byte_vocabulary."
        )
    return os.path.join(path, found[0])


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
