# demo: Pre-trains a tiny mT5 on CLDR text in 49 languages, trains it on an intermediate mixture, fine-tunes on English tasks, and scores it zero-shot in all languages.

# pretrain
python -m xlt_jax.train \
    --gin_file=gin/pretrain.gin \
    --gin_file=gin/local.gin \
    --gin.MODEL_DIR="'runs/demo/pretrain'"

# english_intermediate.seed0, after pretrain
python -m xlt_jax.train \
    --gin_file=gin/intermediate.gin \
    --gin_file=gin/local.gin \
    --gin.MIXTURE_OR_TASK_NAME="'cldr_english_intermediate'" \
    --gin.TRAIN_STEPS_RELATIVE=600 \
    --gin.FORGETTING="('cldr_pretrain',)" \
    --gin.RANDOM_SEED=0 \
    --gin.INITIAL_CHECKPOINT_PATH="'runs/demo/pretrain'" \
    --gin.MODEL_DIR="'runs/demo/english_intermediate.seed0'"

# english_finetune.seed0, after english_intermediate.seed0
python -m xlt_jax.train \
    --gin_file=gin/finetune.gin \
    --gin_file=gin/local.gin \
    --gin.MIXTURE_OR_TASK_NAME="'cldr_english_target'" \
    --gin.FORGETTING="('cldr_pretrain', 'cldr_english_intermediate')" \
    --gin.RANDOM_SEED=0 \
    --gin.INITIAL_CHECKPOINT_PATH="'runs/demo/english_intermediate.seed0'" \
    --gin.MODEL_DIR="'runs/demo/english_finetune.seed0'"

# english_zero_shot.seed0, after english_finetune.seed0
python -m xlt_jax.evaluate \
    --gin_file=gin/zero_shot_eval.gin \
    --gin_file=gin/local.gin \
    --gin.MIXTURE_OR_TASK_NAME="'cldr_target'" \
    --gin.CHECKPOINT_PATH="'runs/demo/english_finetune.seed0'" \
    --gin.EVAL_OUTPUT_DIR="'runs/demo/english_zero_shot.seed0'" \
    --alignment=cldr_parallel

# multitask_intermediate.seed0, after pretrain
python -m xlt_jax.train \
    --gin_file=gin/intermediate.gin \
    --gin_file=gin/local.gin \
    --gin.MIXTURE_OR_TASK_NAME="'cldr_multitask_intermediate'" \
    --gin.TRAIN_STEPS_RELATIVE=600 \
    --gin.FORGETTING="('cldr_pretrain',)" \
    --gin.RANDOM_SEED=0 \
    --gin.INITIAL_CHECKPOINT_PATH="'runs/demo/pretrain'" \
    --gin.MODEL_DIR="'runs/demo/multitask_intermediate.seed0'"

# multitask_finetune.seed0, after multitask_intermediate.seed0
python -m xlt_jax.train \
    --gin_file=gin/finetune.gin \
    --gin_file=gin/local.gin \
    --gin.MIXTURE_OR_TASK_NAME="'cldr_english_target'" \
    --gin.FORGETTING="('cldr_pretrain', 'cldr_multitask_intermediate')" \
    --gin.RANDOM_SEED=0 \
    --gin.INITIAL_CHECKPOINT_PATH="'runs/demo/multitask_intermediate.seed0'" \
    --gin.MODEL_DIR="'runs/demo/multitask_finetune.seed0'"

# multitask_zero_shot.seed0, after multitask_finetune.seed0
python -m xlt_jax.evaluate \
    --gin_file=gin/zero_shot_eval.gin \
    --gin_file=gin/local.gin \
    --gin.MIXTURE_OR_TASK_NAME="'cldr_target'" \
    --gin.CHECKPOINT_PATH="'runs/demo/multitask_finetune.seed0'" \
    --gin.EVAL_OUTPUT_DIR="'runs/demo/multitask_zero_shot.seed0'" \
    --alignment=cldr_parallel

# none_finetune.seed0, after pretrain
python -m xlt_jax.train \
    --gin_file=gin/finetune.gin \
    --gin_file=gin/local.gin \
    --gin.MIXTURE_OR_TASK_NAME="'cldr_english_target'" \
    --gin.FORGETTING="('cldr_pretrain',)" \
    --gin.RANDOM_SEED=0 \
    --gin.INITIAL_CHECKPOINT_PATH="'runs/demo/pretrain'" \
    --gin.MODEL_DIR="'runs/demo/none_finetune.seed0'"

# none_zero_shot.seed0, after none_finetune.seed0
python -m xlt_jax.evaluate \
    --gin_file=gin/zero_shot_eval.gin \
    --gin_file=gin/local.gin \
    --gin.MIXTURE_OR_TASK_NAME="'cldr_target'" \
    --gin.CHECKPOINT_PATH="'runs/demo/none_finetune.seed0'" \
    --gin.EVAL_OUTPUT_DIR="'runs/demo/none_zero_shot.seed0'" \
    --alignment=cldr_parallel

# report
python -m xlt_jax.report runs/demo
