"""The single-stage baseline: English target training right after pre-training, then zero-shot."""

from xlt_jax.recipes.study import Arm, Study

STUDY = Study(
    name="single_stage",
    question="How well does English target training alone transfer to other languages?",
    arms=(Arm("none", (), (), "No intermediate training."),),
    comparisons=(),
)
