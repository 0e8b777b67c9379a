"""Folders of Hugging Face: every format gives the same parameters, faults are named."""

import json
import os
import pickle
import zipfile

import jax
import ml_dtypes
import numpy as np
import pytest
import random_folders
import safetensors.numpy

from xlt_jax.convert import huggingface, names, restore, weights

ARRAYS = random_folders.pytorch_arrays()


def load(folder, params):
    return jax.device_get(restore.restore_params(restore.open_weights(folder), params))


def flat(tree):
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


@pytest.mark.parametrize("form", ["one file", "three files", "flax", "pytorch"])
def test_every_form_gives_the_same_parameters(form, tmp_path, describe_params):
    if form == "flax":
        random_folders.write_flax(tmp_path, ARRAYS)
    elif form == "pytorch":
        torch = pytest.importorskip("torch")
        random_folders.write_config(tmp_path)
        state = {name: torch.from_numpy(array) for name, array in ARRAYS.items()}
        torch.save(state, tmp_path / "pytorch_model.bin")
    else:
        random_folders.write_safetensors(tmp_path, ARRAYS, shards=1 if form == "one file" else 3)
    params = load(tmp_path, describe_params())
    np.testing.assert_array_equal(params["token_embedder"]["embedding"], ARRAYS["shared.weight"])
    np.testing.assert_array_equal(
        params["decoder"]["layers_2"]["encoder_decoder_attention"]["out"]["kernel"],
        ARRAYS["decoder.block.2.layer.1.EncDecAttention.o.weight"].T,
    )
    np.testing.assert_array_equal(
        params["encoder"]["relpos_bias"]["rel_embedding"],
        ARRAYS["encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"].T,
    )
    assert len(flat(params)) == len(ARRAYS)


def test_every_parameter_of_the_network_has_a_name_there(describe_params):
    ours = flat(jax.tree.map(lambda leaf: np.empty(leaf.shape, np.int8), describe_params()))
    theirs = {pair.theirs for pair in names.to_huggingface(ours).values()}
    assert theirs == set(ARRAYS)
    back = names.from_huggingface(theirs)
    assert {pair.ours for pair in back.values()} == set(ours)


def test_bfloat16_is_read_bit_for_bit(tmp_path, describe_params):
    rounded = {name: array.astype(ml_dtypes.bfloat16) for name, array in ARRAYS.items()}
    random_folders.write_safetensors(tmp_path, rounded)
    params = load(tmp_path, describe_params())
    expected = rounded["lm_head.weight"].T.astype(np.float32)
    np.testing.assert_array_equal(params["decoder"]["logits_dense"]["kernel"], expected)


def test_copies_of_the_table_are_left_out(tmp_path, describe_params):
    more = ARRAYS | {"encoder.embed_tokens.weight": ARRAYS["shared.weight"]}
    random_folders.write_safetensors(tmp_path, more)
    assert len(flat(load(tmp_path, describe_params()))) == len(ARRAYS)


def test_what_is_written_is_what_was_read(tmp_path):
    random_folders.write_safetensors(tmp_path / "first", ARRAYS)
    opened = restore.open_weights(tmp_path / "first")
    huggingface.write(
        restore.epath.Path(tmp_path / "second"),
        opened.tensors,
        model_type="mt5",
        vocabulary={"spiece.model": b"x"},
        max_shard_bytes=4000,
    )
    files = sorted((tmp_path / "second").glob("model-*.safetensors"))
    assert len(files) > 2
    read = {}
    for file in files:
        read |= safetensors.numpy.load_file(file)
    assert read.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(read[name], array)
    config = json.loads((tmp_path / "second" / "config.json").read_text())
    assert config.items() >= random_folders.CONFIG.items()
    assert not list(tmp_path.glob(".*"))


def broken(folder, how):
    """A folder with one fault; what the error must say."""
    arrays = dict(ARRAYS)
    if how == "unknown parameter":
        arrays["encoder.block.0.layer.0.Adapter.up.weight"] = np.zeros((2, 2), np.float32)
    elif how == "missing parameter":
        del arrays["decoder.block.1.layer.2.DenseReluDense.wo.weight"]
    elif how == "tied":
        del arrays["lm_head.weight"]
    elif how == "integers":
        arrays["shared.weight"] = np.zeros((40, 16), np.int8)
    elif how == "not a number":
        arrays["shared.weight"] = np.full((40, 16), np.nan, np.float32)
    elif how == "shape":
        arrays["shared.weight"] = np.zeros((41, 16), np.float32)
    shards = 3 if how in ("lost part", "leads out", "cut index") else 1
    random_folders.write_safetensors(folder, arrays, shards=shards)
    index, whole = folder / "model.safetensors.index.json", folder / "model.safetensors"
    if how == "cut":
        random_folders.cut(whole)
    elif how == "cut header":
        random_folders.cut(whole, 0.001)
    elif how == "lost part":
        (folder / "model-00002-of-00003.safetensors").unlink()
    elif how == "leads out":
        index.write_text(index.read_text().replace("model-00002", "../model-00002"))
    elif how == "cut index":
        random_folders.cut(index)
    elif how == "cut config":
        random_folders.cut(folder / "config.json")
    elif how == "another architecture":
        changed = random_folders.CONFIG | {"model_type": "bert", "architectures": ["BertModel"]}
        (folder / "config.json").write_text(json.dumps(changed))
    elif how == "no weights":
        whole.unlink()
    elif how == "zip":
        whole.unlink()
        with zipfile.ZipFile(whole, "w") as archive:
            archive.writestr("x", "y")


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("unknown parameter", r"Unknown parameter encoder\.block\.0\.layer\.0\.Adapter\.up"),
        ("missing parameter", r"decoder/layers_1/mlp/wo/kernel: missing in the checkpoint"),
        ("tied", r"no lm_head\.weight: its output layer is tied"),
        ("integers", r"token_embedder/embedding .* is of type int"),
        ("not a number", r"token_embedder/embedding .* NaN or infinite"),
        ("shape", r"token_embedder/embedding: 41x16 in the checkpoint, 40x16 in this run"),
        ("cut", r"model\.safetensors cannot be read: it is damaged or cut short"),
        ("cut header", r"model\.safetensors cannot be read: it is damaged or cut short"),
        ("lost part", r"lacks model-00002-of-00003\.safetensors"),
        ("leads out", r"names '\.\./model-00002.*must lie in its own folder"),
        ("cut index", r"index\.json cannot be read: it is damaged"),
        ("cut config", r"config\.json cannot be read: it is damaged"),
        ("another architecture", r"model_type 'bert'.*readable are t5"),
        ("no weights", r"no weights: none of model\.safetensors"),
        ("zip", r"model\.safetensors cannot be read"),
    ],
)
def test_a_fault_is_named(how, words, tmp_path, describe_params):
    broken(tmp_path, how)
    with pytest.raises(ValueError, match=words):
        load(tmp_path, describe_params())


def test_a_pickle_that_runs_code_is_refused(tmp_path, describe_params):
    pytest.importorskip("torch")
    random_folders.write_config(tmp_path)
    witness = tmp_path / "ran"

    class Harmful:
        def __reduce__(self):
            return os.mkdir, (str(witness),)

    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps({"shared.weight": Harmful()}))
    with pytest.raises(ValueError, match="weights-only loading refused"):
        load(tmp_path, describe_params())
    assert not witness.exists()


def test_a_writing_that_fails_leaves_no_folder(tmp_path):
    bad = ARRAYS | {"shared.weight": np.full((40, 16), np.inf, np.float32)}
    random_folders.write_safetensors(tmp_path / "first", bad)
    opened = restore.open_weights(tmp_path / "first")
    target = restore.epath.Path(tmp_path / "second")
    with pytest.raises(ValueError, match="NaN or infinite"):
        huggingface.write(target, opened.tensors, model_type="mt5", vocabulary={})
    assert not target.exists()


def test_biases_in_every_layer_are_umt5(tmp_path):
    config = random_folders.CONFIG | {
        "model_type": "umt5",
        "architectures": ["UMT5ForConditionalGeneration"],
    }
    arrays = random_folders.pytorch_arrays(config)
    random_folders.write_safetensors(tmp_path, arrays, config=config)
    tensors = restore.open_weights(tmp_path).tensors
    name = "decoder.block.2.layer.0.SelfAttention.relative_attention_bias.weight"
    np.testing.assert_array_equal(
        tensors["decoder/layers_2/relpos_bias/rel_embedding"].whole(), arrays[name].T
    )
    stacks = weights.stacks(tensors)
    stacked = stacks["decoder/decoder/relpos_bias/rel_embedding"]
    assert stacked.shape == (3, 3, 32)
    back = weights.unstacked(stacks)
    assert back.keys() == tensors.keys()
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(back[name].whole(), tensor.whole())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("relative_attention_max_distance", 64),
        ("relative_attention_num_buckets", 16),
        ("layer_norm_epsilon", 1e-5),
        ("feed_forward_proj", "gated-silu"),
    ],
)
def test_settings_that_our_network_lacks_are_refused(name, value, tmp_path):
    random_folders.write_safetensors(tmp_path, ARRAYS)
    random_folders.write_config(tmp_path, random_folders.CONFIG | {name: value})
    with pytest.raises(ValueError, match=f"{name} is {value!r}"):
        restore.open_weights(tmp_path)
