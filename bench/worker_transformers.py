"""Jobs of Hugging Face transformers' MT5 in PyTorch, on CPU."""

import itertools
import time

import torch
import transformers
from transformers.optimization import Adafactor

from bench import machine, shapes
from bench.process import serve

# The best on two cores of 8, 32, 64 and 128 for the tiny shape; its own default rule elsewhere.
EVAL_BATCH_SIZES = {("tiny", "pairs"): 128, ("tiny", "qa"): 64}
EVAL_BATCH_SIZE = 32

_training = {}
_evaluation = {}


def train_setup(shape: str) -> dict:
    """Makes the model and takes two steps."""
    shape = shapes.SHAPES[shape]
    model = _model(shape).train()
    _training["model"] = model
    _training["optimizer"] = Adafactor(
        model.parameters(),
        lr=shapes.LEARNING_RATE,
        scale_parameter=True,
        relative_step=False,
        warmup_init=False,
    )
    _training["batches"] = itertools.cycle(
        [
            {name: torch.from_numpy(ids).long() for name, ids in batch.items()}
            for batch in shapes.train_batches(shape)
        ]
    )
    train(2)
    return {"parameters": sum(parameter.numel() for parameter in model.parameters())}


def train(steps: int) -> dict:
    """Seconds of so many steps."""
    model, optimizer = _training["model"], _training["optimizer"]
    start = time.perf_counter()
    for _ in range(steps):
        batch = next(_training["batches"])
        optimizer.zero_grad()
        loss = model(
            input_ids=batch["encoder_input_tokens"],
            decoder_input_ids=batch["decoder_input_tokens"],
            labels=batch["decoder_target_tokens"],
        ).loss
        loss.backward()
        optimizer.step()
    last = float(loss.detach())
    return {"seconds": time.perf_counter() - start, "loss": last}


class ForcedLength(transformers.LogitsProcessor):
    """Ends every generated answer at the length that the first input id carries."""

    def __init__(self, inputs_BL: torch.Tensor):
        self._answer_tokens_B1 = inputs_BL[:, :1] - shapes.FIRST_LENGTH_ID

    def __call__(self, input_ids, scores):
        """The logits of the next token."""
        position = input_ids.shape[1] - 1  # the first id is the decoder's start
        is_eos_V = torch.arange(scores.shape[1]) == shapes.EOS_ID
        ends_B1 = self._answer_tokens_B1 == position
        return torch.where(is_eos_V == ends_B1, scores, shapes.FORBIDDEN)


def evaluate_setup(shape: str, quick: bool) -> dict:
    """Makes the model and the sets, sorted by length over all tasks, and runs one batch of each."""
    _evaluation["model"] = _model(shapes.SHAPES[shape]).eval()
    sizes = {}
    for spec in shapes.eval_specs(shape, quick):
        size = sizes[spec.name] = EVAL_BATCH_SIZES.get((shape, spec.name), EVAL_BATCH_SIZE)
        examples = [example for task in shapes.eval_set(spec) for example in task]
        examples.sort(key=lambda example: -len(example.inputs))
        chunks = [examples[start : start + size] for start in range(0, len(examples), size)]
        _evaluation[spec.name] = (spec, chunks)
        _generate(spec, chunks[-1])
    return {"batch_size": sizes}


def evaluate(name: str) -> dict:
    """Seconds of generating for the set."""
    spec, chunks = _evaluation[name]
    start = time.perf_counter()
    answer_tokens = sum(_generate(spec, chunk) for chunk in chunks)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "examples": spec.examples, "answer_tokens": answer_tokens}


def load(folder: str) -> dict:
    """Seconds of loading a folder, all of it touched: a mapped file is read when it is used."""
    start = time.perf_counter()
    model = transformers.MT5ForConditionalGeneration.from_pretrained(folder)
    total = sum(float(parameter.detach().sum()) for parameter in model.parameters())
    return {"seconds": time.perf_counter() - start, "sum": total}


@torch.inference_mode()
def _generate(spec: shapes.SetSpec, examples: list[shapes.Example]) -> int:
    """Tokens of the answers, end-of-sequence not counted."""
    longest = max(len(example.inputs) for example in examples)
    inputs_BL = torch.zeros(len(examples), longest, dtype=torch.long)
    for row, example in enumerate(examples):
        inputs_BL[row, : len(example.inputs)] = torch.from_numpy(example.inputs)
    ids_BT = _evaluation["model"].generate(
        input_ids=inputs_BL,
        attention_mask=inputs_BL > 0,
        max_new_tokens=spec.decode_length,
        do_sample=False,
        num_beams=1,
        logits_processor=transformers.LogitsProcessorList([ForcedLength(inputs_BL)]),
    )
    generated_BT = ids_BT[:, 1:]
    # Word 0 is a possible answer of random weights: count up to the end, not what is not padding.
    return int((generated_BT == shapes.EOS_ID).int().argmax(dim=1).sum())


def _model(shape: shapes.Shape):
    config = transformers.MT5Config(
        vocab_size=shape.vocab_size,
        d_model=shape.emb_dim,
        d_kv=shape.head_dim,
        num_heads=shape.num_heads,
        num_layers=shape.num_layers,
        num_decoder_layers=shape.num_layers,
        d_ff=shape.mlp_dim,
        dropout_rate=shapes.DROPOUT_RATE,
        feed_forward_proj="gated-gelu",
        pad_token_id=0,
        eos_token_id=shapes.EOS_ID,
        decoder_start_token_id=0,
    )
    torch.manual_seed(0)
    model = transformers.MT5ForConditionalGeneration(config)
    # A model made from a configuration ties its output to the token table; mT5's is its own.
    model.lm_head = torch.nn.Linear(shape.emb_dim, shape.vocab_size, bias=False)
    return model


if __name__ == "__main__":
    torch.set_num_threads(machine.cores())
    serve(
        {
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "threads": torch.get_num_threads(),
        },
        {job.__name__: job for job in (train_setup, train, evaluate_setup, evaluate, load)},
    )
