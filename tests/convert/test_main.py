"""The commands as a user types them."""

import json

import numpy as np
import pytest
import random_folders
import sentencepiece

from xlt_jax.convert import __main__ as convert
from xlt_jax.convert import restore


@pytest.fixture
def folder(tmp_path):
    return random_folders.write_safetensors(tmp_path / "hf", random_folders.pytorch_arrays())


def test_inspect_shows_sizes_and_parameters(folder, capsys):
    convert.main(["inspect", str(folder), "--all_values"])
    text = capsys.readouterr().out
    number = sum(array.size for array in random_folders.pytorch_arrays().values())
    assert f"{number:,} in " in text and "Hugging Face mt5, model.safetensors" in text
    assert "  num_decoder_layers = 3" in text and "  relative_bias = 'shared'" in text
    line = next(line for line in text.splitlines() if "token_embedder/embedding" in line)
    mean = random_folders.pytorch_arrays()["shared.weight"].mean()
    assert "40x16" in line and f"mean {mean:+.3e}" in line


def test_import_and_its_second_call(folder, tmp_path, capsys):
    run = tmp_path / "run"
    convert.main(["import", str(folder), str(run), "--step", "4"])
    assert "Start from it: --gin.INITIAL_CHECKPOINT_PATH" in capsys.readouterr().out
    assert restore.open_weights(run).step == 4
    with pytest.raises(SystemExit):
        convert.main(["import", str(folder), str(run), "--step", "4"])
    assert "checkpoint_4 exists: choose another folder" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["import", "export"])
def test_a_value_that_is_not_finite_leaves_nothing(command, tmp_path, capsys):
    arrays = random_folders.pytorch_arrays()
    arrays["encoder.final_layer_norm.weight"][3] = np.nan
    source = random_folders.write_safetensors(tmp_path / "hf", arrays)
    with pytest.raises(SystemExit):
        convert.main([command, str(source), str(tmp_path / "out")])
    assert "encoder/encoder_norm/scale" in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("*"))


TEXTS = [f"the small word number {n} is here" for n in range(50)]


@pytest.fixture
def model(tmp_path):
    """A SentencePiece model of ``TEXTS``."""
    sentencepiece.SentencePieceTrainer.Train(
        sentence_iterator=iter(TEXTS),
        model_prefix=str(tmp_path / "model"),
        vocab_size=38,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    return tmp_path / "model.model"


def test_export_with_a_vocabulary(folder, model, tmp_path, capsys):
    out = tmp_path / "out"
    convert.main(["export", str(folder), str(out), "--vocabulary", str(model)])
    assert (out / "spiece.model").read_bytes() == model.read_bytes()
    config = json.loads((out / "tokenizer_config.json").read_text())
    assert config["tokenizer_class"] == "T5Tokenizer" and config["extra_ids"] == 0
    with pytest.raises(SystemExit):
        options = (f"--vocabulary={model}", "--extra_ids=300")
        convert.main(["export", str(folder), str(tmp_path / "two"), *options])
    assert "does not belong to it" in capsys.readouterr().err
    assert not (tmp_path / "two").exists()


def test_the_exported_tokenizer_gives_our_ids(folder, model, tmp_path):
    transformers = pytest.importorskip("transformers")
    out = tmp_path / "out"
    convert.main(["export", str(folder), str(out), "--vocabulary", str(model)])
    tokenizer = transformers.AutoTokenizer.from_pretrained(out)
    processor = sentencepiece.SentencePieceProcessor(model_file=str(model))
    for text in TEXTS[:10]:
        assert tokenizer(text)["input_ids"] == [*processor.EncodeAsIds(text), 1]
