# demo: Pre-trains a tiny mT5 on CLDR text in 49 languages, trains it on an intermediate mixture, fine-tunes on English tasks, and scores it zero-shot in all languages.

# pretrain
python -m t5x.train \
    --gin_file=gin/pretrain.gin \
    --gin_file=gin/local.gin \
    --gin.MODEL_DIR="'runs/demo/pretrain'"

# english_intermediate, after pretrain
python -m t5x.train \
    --gin_file=gin/english_intermediate.gin \
    --gin_file=gin/local.gin \
    --gin.INITIAL_CHECKPOINT_PATH="'runs/demo/pretrain'" \
    --gin.MODEL_DIR="'runs/demo/english_intermediate'"

# english_finetune, after english_intermediate
python -m t5x.train \
    --gin_file=gin/finetune.gin \
    --gin_file=gin/local.gin \
    --gin.INITIAL_CHECKPOINT_PATH="'runs/demo/english_intermediate'" \
    --gin.MODEL_DIR="'runs/demo/english_finetune'"

# english_zero_shot, after english_finetune
python -m t5x.eval \
    --gin_file=gin/zero_shot_eval.gin \
    --gin_file=gin/local.gin \
    --gin.CHECKPOINT_PATH="'runs/demo/english_finetune'" \
    --gin.EVAL_OUTPUT_DIR="'runs/demo/english_zero_shot'"

# multitask_intermediate, after pretrain
python -m t5x.train \
    --gin_file=gin/multitask_intermediate.gin \
    --gin_file=gin/local.gin \
    --gin.INITIAL_CHECKPOINT_PATH="'runs/demo/pretrain'" \
    --gin.MODEL_DIR="'runs/demo/multitask_intermediate'"

# multitask_finetune, after multitask_intermediate
python -m t5x.train \
    --gin_file=gin/finetune.gin \
    --gin_file=gin/local.gin \
    --gin.INITIAL_CHECKPOINT_PATH="'runs/demo/multitask_intermediate'" \
    --gin.MODEL_DIR="'runs/demo/multitask_finetune'"

# multitask_zero_shot, after multitask_finetune
python -m t5x.eval \
    --gin_file=gin/zero_shot_eval.gin \
    --gin_file=gin/local.gin \
    --gin.CHECKPOINT_PATH="'runs/demo/multitask_finetune'" \
    --gin.EVAL_OUTPUT_DIR="'runs/demo/multitask_zero_shot'"

# none_finetune, after pretrain
python -m t5x.train \
    --gin_file=gin/finetune.gin \
    --gin_file=gin/local.gin \
    --gin.INITIAL_CHECKPOINT_PATH="'runs/demo/pretrain'" \
    --gin.MODEL_DIR="'runs/demo/none_finetune'"

# none_zero_shot, after none_finetune
python -m t5x.eval \
    --gin_file=gin/zero_shot_eval.gin \
    --gin_file=gin/local.gin \
    --gin.CHECKPOINT_PATH="'runs/demo/none_finetune'" \
    --gin.EVAL_OUTPUT_DIR="'runs/demo/none_zero_shot'"

# report
python -m xlt_jax.report runs/demo
