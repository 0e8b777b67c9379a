"""Vocabularies: bytes as seqio has them, folders, sentinels, and what does not belong together."""

import copy
import io
import shutil

import pytest
import sentencepiece
from sentencepiece import sentencepiece_model_pb2

from xlt_jax.data import vocab

T5_IDS = dict(pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
TEXTS = ["", "yes", "Ünïcode 漢字 \U0001f600", "नमस्ते\tدنیا\n", "\x00\x7f"]


def char_model(**special_ids):
    """A SentencePiece model of a few characters, as bytes."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.Train(
        sentence_iterator=iter(["a few words"] * 20),
        model_writer=model,
        model_type="char",
        vocab_size=12,
        minloglevel=2,
        **special_ids,
    )
    return model.getvalue()


@pytest.fixture
def model(tmp_path):
    """A SentencePiece model file of 12 pieces with T5's special ids."""
    path = tmp_path / "toy.model"
    path.write_bytes(char_model(**T5_IDS))
    return str(path)


@pytest.mark.parametrize("extra_ids", [0, 125])
def test_bytes_equal_seqio(extra_ids):
    ours = vocab.byte_vocabulary(extra_ids)
    theirs = ours.as_seqio()
    assert ours.vocab_size == theirs.vocab_size == 259 + extra_ids
    assert (ours.pad_id, ours.eos_id, ours.unk_id) == (theirs.pad_id, theirs.eos_id, theirs.unk_id)
    assert ours.encode_batch(TEXTS) == [list(theirs.encode(text)) for text in TEXTS]
    for ids in [
        *(theirs.encode(text) for text in TEXTS),
        ours.encode("漢字")[:-1],  # cut within a character
        [ours.sentinel_id(0), *ours.encode("a"), ours.sentinel_id(1), *ours.encode("b")],
        [0, *ours.encode("a"), 2, 1, *ours.encode("after the end")],
        range(2, 259 + extra_ids),
    ]:
        assert ours.decode(ids) == theirs.decode(ids)


def test_byte_sentinels_count_down_from_the_last_id():
    assert vocab.byte_vocabulary().vocab_size == 384
    assert [vocab.byte_vocabulary().sentinel_id(n) for n in (0, 1, 124)] == [383, 382, 259]
    assert vocab.byte_vocabulary(0).sentinel_id(0) == 258


def test_equal_vocabularies_have_equal_fingerprints(model):
    vocabularies = [vocab.byte_vocabulary(n) for n in (0, 125)]
    vocabularies += [vocab.Vocabulary(model, n) for n in (0, 100)]
    assert len({vocabulary.fingerprint for vocabulary in vocabularies}) == len(vocabularies)
    assert len(set(vocabularies)) == len(vocabularies)
    again = [vocab.byte_vocabulary(0), vocab.byte_vocabulary(125), vocab.Vocabulary(model, 0)]
    assert vocabularies[:3] == again
    for vocabulary in vocabularies:
        assert copy.deepcopy(vocabulary) == vocabulary
        assert str(vocabulary.extra_ids) in vocabulary.path or vocabulary.path == model


@pytest.mark.parametrize("name", ["spiece.model", "sentencepiece.bpe.model", "tokenizer.model"])
def test_a_hugging_face_folder_stands_for_its_model(name, model, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    shutil.copy(model, folder / name)
    (folder / "config.json").write_text("{}")
    found = vocab.Vocabulary(str(folder))
    assert found == vocab.Vocabulary(model)
    assert found.path == str(folder / name)  # what seqio opens
    assert found.as_seqio().vocab_size == 12


def test_a_folder_without_a_model_is_described(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "config.json").write_text("{}")
    message = r"no SentencePiece model \(spiece\.model, .*it holds: config\.json, tokenizer\.json"
    with pytest.raises(ValueError, match=message):
        vocab.sentence_piece(str(tmp_path))


def test_sentinels_must_exist(model):
    with pytest.raises(ValueError, match=r"extra_ids=0 has no <extra_id_0>: id 11 is"):
        vocab.Vocabulary(model).sentinel_id(0)
    vocabulary = vocab.Vocabulary(model, 100)
    assert [vocabulary.sentinel_id(n) for n in (0, 99)] == [111, 12]
    with pytest.raises(ValueError, match="has no <extra_id_100>"):
        vocabulary.sentinel_id(100)


def test_sentinels_inside_the_model_are_found(tmp_path):
    """As in mT5's file: the last pieces, counting down, with the mark of a word's beginning."""
    proto = sentencepiece_model_pb2.ModelProto.FromString(char_model(**T5_IDS))
    for number in (2, 1, 0):
        proto.pieces.add(piece=f"▁<extra_id_{number}>", type=proto.SentencePiece.USER_DEFINED)
    path = tmp_path / "inside.model"
    path.write_bytes(proto.SerializeToString())
    vocabulary = vocab.Vocabulary(str(path))
    assert vocabulary.sentinel_id(0) == vocabulary.vocab_size - 1
    assert vocabulary.sentinel_id(2) == vocabulary.vocab_size - 3
    with pytest.raises(ValueError, match="no <extra_id_3>"):
        vocabulary.sentinel_id(3)


@pytest.mark.parametrize("extra_ids", [-1, 2.5, None])
def test_bad_numbers_of_extra_ids_are_refused(extra_ids, model):
    for make in (vocab.byte_vocabulary, lambda extra_ids: vocab.Vocabulary(model, extra_ids)):
        with pytest.raises(ValueError, match=f"extra_ids is {extra_ids}"):
            make(extra_ids)


def test_other_special_ids_are_refused(tmp_path):
    """XLM-R's model has no pad and begins with <unk>."""
    (tmp_path / "sentencepiece.bpe.model").write_bytes(char_model())
    with pytest.raises(ValueError, match=r"pad, eos, unk = \(-1, 2, 0\)"):
        vocab.sentence_piece(str(tmp_path))


def test_words_put_together_are_the_sentence():
    words = ["Mira", "kèk", "1702", "東京", "."]
    bytes_ = vocab.byte_vocabulary()
    ids = [token for word in bytes_.encode_words(words) for token in word]
    assert bytes_.decode(ids) == " " + " ".join(words)
    pieces = vocab.trained(lambda: [" ".join(words)] * 9, 425)
    ids = [token for word in pieces.encode_words(words) for token in word]
    assert ids == pieces.encode(" ".join(words))
