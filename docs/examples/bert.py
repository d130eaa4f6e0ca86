"""A tiny BERT with random weights, fine-tuned by a transformers Trainer to tell sequences apart."""

from pathlib import Path

import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

from batchfront import Goal, Log
from batchfront.integrations import transformers

WORDS, LENGTH = 64, 16


def sequences(count: int, seed: int) -> list[dict[str, torch.Tensor]]:
    """Random words; the label says whether the first half of the vocabulary is in the majority."""
    draw = torch.Generator().manual_seed(seed)
    ids = torch.randint(WORDS, (count, LENGTH), generator=draw)
    labels = ((ids < WORDS // 2).sum(dim=1) > LENGTH // 2).long()
    return [{"input_ids": i, "labels": label} for i, label in zip(ids, labels, strict=True)]


def make_trainer(
    *, batch_size: int, learning_rate: float, seed: int, step_budget: int, directory: Path
) -> Trainer:
    config = BertConfig(
        vocab_size=WORDS,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=LENGTH,
    )
    arguments = TrainingArguments(
        output_dir=str(directory),
        per_device_train_batch_size=batch_size,
        per_device_eval_batch_size=256,
        learning_rate=learning_rate,
        lr_scheduler_type="constant",
        max_steps=step_budget,
        seed=seed,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
    )
    return Trainer(
        model=BertForSequenceClassification(config),
        args=arguments,
        train_dataset=sequences(4_096, seed=0),
        eval_dataset=sequences(512, seed=1),
    )


bert = transformers.loop(
    make_trainer,
    name="majority/bert_tiny/adamw",
    goal=Goal("eval_loss", 0.3, better="lower"),
    search_space={"learning_rate": Log(1e-4, 1e-2)},
    step_budget=1_000,
    batch_sizes=(8, 32, 128, 512),
)
