"""A tiny BERT with random weights on sequences of many lengths, padded by a collator of
transformers' and trained to its own loss, as transformers' run_glue_no_trainer.py does."""

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch import Tensor
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DataCollatorWithPadding,
    PreTrainedTokenizerFast,
    get_scheduler,
)

from batchfront import Examples, Goal, Log, Metric, Splits, TorchOptimizer, TorchSchedule, Workload

WORDS, LONGEST = 64, 16

VOCABULARY = {"[PAD]": 0, "[UNK]": 1} | {f"w{n}": 2 + n for n in range(WORDS)}
TOKENIZER = PreTrainedTokenizerFast(
    tokenizer_object=Tokenizer(WordLevel(VOCABULARY, unk_token="[UNK]")), pad_token="[PAD]"
)


def sequences(count: int, seed: int) -> list[dict[str, list[int]]]:
    """Random words, 4 to 16; the label says whether most are of the vocabulary's first half."""
    draw = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(count):
        length = int(torch.randint(4, LONGEST + 1, (), generator=draw))
        words = torch.randint(WORDS, (length,), generator=draw)
        label = int((words < WORDS // 2).sum() * 2 > length)
        ids = (2 + words).tolist()
        found.append({"input_ids": ids, "attention_mask": [1] * length, "labels": label})
    return found


def bert() -> BertForSequenceClassification:
    config = BertConfig(
        vocab_size=2 + WORDS,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=LONGEST,
    )
    return BertForSequenceClassification(config)


# What takes the place of the loop:

pad = DataCollatorWithPadding(TOKENIZER)


def data() -> Splits:
    train, held_out = sequences(4_096, seed=0), sequences(512, seed=1)
    return Splits(Examples.of(train, collate=pad), Examples.of(held_out, collate=pad))


def adamw(named_parameters, *, learning_rate, weight_decay=0.01):
    spared = [p for name, p in named_parameters if name.endswith(("bias", "LayerNorm.weight"))]
    others = [p for name, p in named_parameters if not name.endswith(("bias", "LayerNorm.weight"))]
    groups = [{"params": others}, {"params": spared, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, learning_rate, weight_decay=weight_decay)


def linear(optimizer, *, warmup_steps=0, step_budget):
    return get_scheduler("linear", optimizer, warmup_steps, step_budget)


def wrong(outputs, batch) -> Tensor:
    return outputs.logits.argmax(1) != batch["labels"]


def loss(model, batch) -> Tensor:
    return model(**batch).loss


bert_padded = Workload(
    name="majority/bert_padded/adamw",
    data=data,
    model=bert,
    loss=loss,
    algorithm=TorchOptimizer("adamw", adamw),
    schedule=TorchSchedule(linear),
    goal=Goal(Metric("error rate", wrong, "lower", low=0.0, high=1.0), 0.15),
    search_space={"learning_rate": Log(1e-4, 1e-2)},
    step_budget=1_000,
    batch_sizes=(8, 32, 128, 512),
)
