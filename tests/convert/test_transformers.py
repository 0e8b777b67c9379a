"""The same weights in transformers and here: logits, loss, scores, greedy output, gradients."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from xlt_jax.convert import __main__ as convert
from xlt_jax.convert import names, restore
from xlt_jax.decoding import rank, search
from xlt_jax.models import mt5
from xlt_jax.objectives import lm
from xlt_jax.training import state, step
from xlt_jax.training.partition import Partitioner

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
safetensors_torch = pytest.importorskip("safetensors.torch")

# model_type -> class, and what differs from the sizes below
FAMILIES = {
    "mt5": ("MT5", {}),
    "byt5": ("T5", {"vocab_size": 384, "num_layers": 3, "num_decoder_layers": 1}),
    "umt5": ("UMT5", {"vocab_size": 300}),
}
SIZES = dict(
    vocab_size=250,
    d_model=48,
    d_kv=8,
    d_ff=64,
    num_layers=2,
    num_decoder_layers=3,
    num_heads=5,
    feed_forward_proj="gated-gelu",
    tie_word_embeddings=False,
    dropout_rate=0.0,
)
ROWS, SOURCE, TARGET = 200, 15, 9


class Pair:
    """One random network, in transformers and here."""

    def __init__(self, family, folder):
        name, changes = FAMILIES[family]
        config = getattr(transformers, f"{name}Config")(**(SIZES | changes))
        torch.manual_seed(0)
        model = getattr(transformers, f"{name}ForConditionalGeneration")(config)
        # A configuration ties the output layer to the table; a folder with both loads untied.
        arrays = {}
        for parameter, value in model.state_dict().items():
            if parameter in ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight"):
                continue
            fan_in = value.shape[-1] if value.ndim > 1 and parameter != "shared.weight" else 1
            if parameter.endswith(".q.weight"):
                fan_in *= config.d_kv  # as T5's initialiser: attention itself does not scale
            shift = 1.0 if "layer_norm" in parameter else 0.0
            noise = torch.randn(value.shape) * (0.3 if shift else 1.0)
            arrays[parameter] = shift + noise / fan_in**0.5
        folder.mkdir(parents=True)
        safetensors_torch.save_file(arrays, folder / "model.safetensors", metadata={"format": "pt"})
        stored = json.loads(config.to_json_string()) | {"tie_word_embeddings": False}
        stored["architectures"] = [type(model).__name__]
        (folder / "config.json").write_text(json.dumps(stored))
        self.folder, self.kind = folder, type(model)
        self.model = self.load(folder)

        opened = restore.open_weights(folder)
        sizes = names.network_sizes(opened.tensors)
        self.network = mt5.Transformer(mt5.T5Config(**sizes, dropout_rate=0.0))
        partitioner = Partitioner(1, devices=jax.devices()[:1])
        described = state.describe(self.network, optax.identity(), partitioner)
        self.params = restore.restore_params(opened, described.params)

        rng = np.random.default_rng(1)
        vocab_size = sizes["vocab_size"]

        def tokens(length):
            ids = rng.integers(2, vocab_size, (ROWS, length)).astype(np.int32)
            lengths = rng.integers(1, length + 1, (ROWS, 1))
            ids[np.arange(length) == lengths - 1] = 1
            return ids * (np.arange(length) < lengths)

        self.inputs, self.targets = tokens(SOURCE), tokens(TARGET)
        self.shifted = np.pad(self.targets, ((0, 0), (1, 0)))[:, :-1]

    def load(self, folder):
        model, report = self.kind.from_pretrained(folder, output_loading_info=True)
        assert not report["missing_keys"] and not report["unexpected_keys"], report
        model.config.tie_word_embeddings = False  # or UMT5 scales what enters the output layer
        return model.eval()

    @functools.cached_property
    def theirs(self):
        """Logits, and gradients of the mean loss over real target tokens."""
        labels = torch.from_numpy(np.where(self.targets > 0, self.targets, -100)).long()
        output = self.model(
            input_ids=torch.from_numpy(self.inputs).long(),
            attention_mask=torch.from_numpy(self.inputs > 0).long(),
            decoder_input_ids=torch.from_numpy(self.shifted).long(),
            labels=labels,
        )
        output.loss.backward()
        gradients = {k: v.grad.numpy() for k, v in self.model.named_parameters()}
        return output.logits.detach().numpy(), output.loss.item(), gradients

    @functools.cached_property
    def batch(self):
        return {
            "encoder_input_tokens": self.inputs,
            "decoder_input_tokens": self.shifted,
            "decoder_target_tokens": self.targets,
            "decoder_loss_weights": (self.targets > 0).astype(np.float32),
        }

    @functools.cached_property
    def ours(self):
        forward = step.make_forward(self.network)

        def mean_loss(params):
            loss = lm.objective(forward, params, self.batch, None)
            return loss.total / loss.weight

        logits = jax.jit(lambda params: forward(params, self.batch, None).logits)(self.params)
        loss, gradients = jax.jit(jax.value_and_grad(mean_loss))(self.params)
        flat = {
            jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf)
            for path, leaf in jax.tree_util.tree_leaves_with_path(gradients)
        }
        return np.asarray(logits), float(loss), flat


@pytest.fixture(scope="module", params=FAMILIES)
def pair(request, tmp_path_factory):
    return Pair(request.param, tmp_path_factory.mktemp(request.param) / "theirs")


def relative_error(ours, theirs):
    return np.abs(ours - theirs).max() / np.abs(theirs).max()


def test_logits(pair):
    real = pair.targets > 0
    ours, theirs = pair.ours[0][real], pair.theirs[0][real]
    print(f"{relative_error(ours, theirs):.2e}")
    assert relative_error(ours, theirs) <= 1e-5
    assert np.ptp(theirs) > 1  # logits that could differ


def test_loss_with_padding(pair):
    np.testing.assert_allclose(pair.ours[1], pair.theirs[1], rtol=1e-5)


def test_gradients_of_every_parameter(pair):
    ours, theirs = pair.ours[2], pair.theirs[2]
    pairs = names.to_huggingface(ours)
    assert len(pairs) == len(theirs)
    for name, gradient in ours.items():
        expected = theirs[pairs[name].theirs]
        expected = expected.T if pairs[name].transposed else expected
        assert relative_error(gradient, expected) <= 2e-5, name


def test_score_of_every_token(pair):
    expected = torch.log_softmax(torch.from_numpy(pair.theirs[0]), dim=-1).numpy()
    expected = np.take_along_axis(expected, pair.targets[..., None], axis=-1)[..., 0]
    expected = (expected * (pair.targets > 0)).sum(axis=1)
    scores = jax.jit(rank.rank, static_argnums=0)(
        pair.network, pair.params, jnp.asarray(pair.inputs), jnp.asarray(pair.targets)[:, None]
    )
    np.testing.assert_allclose(np.asarray(scores)[:, 0], expected, rtol=1e-5, atol=1e-4)


def test_greedy_output(pair):
    theirs = pair.model.generate(
        input_ids=torch.from_numpy(pair.inputs).long(),
        attention_mask=torch.from_numpy(pair.inputs > 0).long(),
        max_new_tokens=TARGET,
        decoder_start_token_id=0,
        num_beams=1,
        do_sample=False,
        use_cache=False,  # theirs has as many places as the encoder has layers
    ).numpy()[:, 1:]
    theirs = np.pad(theirs, ((0, 0), (0, TARGET - theirs.shape[1])))
    ours = jax.jit(search.greedy, static_argnums=0, static_argnames="max_decode_len")(
        pair.network, pair.params, jnp.asarray(pair.inputs), max_decode_len=TARGET
    )
    np.testing.assert_array_equal(np.asarray(ours), theirs)
    assert len(np.unique(theirs, axis=0)) > ROWS // 4  # outputs that could differ


def test_round_trip_is_bit_equal(pair, tmp_path):
    """Theirs -> ours (stacked layers, too) -> theirs: the files hold the same bits."""
    start = safetensors_torch.load_file(pair.folder / "model.safetensors")
    model_type = json.loads((pair.folder / "config.json").read_text())["model_type"]
    for scan in (False, True):
        run, back = tmp_path / f"run{scan}", tmp_path / f"back{scan}"
        arguments = ["import", str(pair.folder), str(run), "--step", "3"]
        convert.main(arguments + ["--scan_layers"] * scan)
        convert.main(["export", str(run), str(back), "--model_type", model_type])
        end = safetensors_torch.load_file(back / "model.safetensors")
        assert end.keys() == start.keys()
        for name, value in start.items():
            assert torch.equal(end[name], value), name
        again = pair.load(back)
        for name, value in pair.model.state_dict().items():
            assert torch.equal(again.state_dict()[name], value), name
