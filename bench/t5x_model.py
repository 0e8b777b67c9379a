"""T5X's model and Adafactor as shipped, around one of its networks."""

from typing import Any

import seqio
from t5x import adafactor, models, utils

from bench import shapes


def model_of(module: Any, model_class: type = models.EncoderDecoderModel) -> Any:
    """The network with a vocabulary of its ids, and the optimizer that T5X's recipes take."""
    vocabulary = seqio.PassThroughVocabulary(module.config.vocab_size, eos_id=shapes.EOS_ID)
    return model_class(
        module=module,
        input_vocabulary=vocabulary,
        output_vocabulary=vocabulary,
        optimizer_def=adafactor.Adafactor(
            decay_rate=0.8,
            step_offset=0,
            logical_factor_rules=adafactor.standard_logical_factor_rules(),
        ),
        z_loss=shapes.Z_LOSS,
        label_smoothing=0.0,
    )


def batch_shapes(rows: int, inputs: int, targets: int) -> dict[str, tuple[int, int]]:
    """Of every feature."""
    return {
        "encoder_input_tokens": (rows, inputs),
        "decoder_input_tokens": (rows, targets),
        "decoder_target_tokens": (rows, targets),
        "decoder_loss_weights": (rows, targets),
    }


def initializer_of(
    model: Any, partitioner: Any, lengths: dict[str, tuple[int, int]]
) -> utils.TrainStateInitializer:
    """Makes or describes the state."""
    return utils.TrainStateInitializer(
        optimizer_def=model.optimizer_def,
        init_fn=model.get_initial_variables,
        input_shapes=lengths,
        partitioner=partitioner,
    )
