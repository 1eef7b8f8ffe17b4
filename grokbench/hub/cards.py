"""Cards of datasets: what a table is, and what may be trained on."""

from collections.abc import Sequence

from grokbench.tasks import Instance

HOMEPAGE = "https://arxiv.org/abs/2201.02177"
LICENSE = "mit"
CITATION = """\
@article{power2022grokking,
  title = {Grokking: Generalization Beyond Overfitting on Small Algorithmic Datasets},
  author = {Power, Alethea and Burda, Yuri and Edwards, Harri and Babuschkin, Igor and Misra, Vedant},
  journal = {arXiv preprint arXiv:2201.02177},
  year = {2022},
}"""
RULES = (
    "Train on the answers of `train` alone. `test` has the held-out questions: its answers are for marking, and nothing may be "
    "chosen by them. Tune on instances with a salt, because the seeds 0 to 9 without a salt are the official ones of the "
    "leaderboard."
)


def about(instance: Instance) -> str:
    """One paragraph: formula, size, split, symbols, seed and fingerprint."""
    task = instance.task
    drawn = f"seed {instance.seed}" + (f", salt {instance.salt!r}" if instance.salt else "")
    return (
        f"{task.id} of grokbench: {task.formula}. {task.num_questions:,} questions with {task.num_symbols} possible answers. "
        f"The seed draws {task.num_train:,} of them for train; the {task.num_held_out:,} others are in test. Shown symbols are "
        f"the true ones under a permutation that the seed draws. Instance: {drawn}, fingerprint {instance.fingerprint}. {RULES}"
    )


def _size(rows: int) -> str:
    """The Hub's category of a dataset with so many rows."""
    sizes = {1_000: "n<1K", 10_000: "1K<n<10K", 100_000: "10K<n<100K", 1_000_000: "100K<n<1M"}
    return next((name for limit, name in sizes.items() if rows < limit), "1M<n<10M")


def card(instance: Instance, splits: Sequence[str]) -> str:
    """The README of a dataset's folder, with the YAML header by which `datasets.load_dataset` finds the splits."""
    task = instance.task
    files = "\n".join(f"  - split: {split}\n    path: {split}.parquet" for split in splits)
    return f"""---
pretty_name: grokbench {task.name}
license: {LICENSE}
tags:
- grokking
size_categories:
- {_size(task.num_questions)}
configs:
- config_name: default
  data_files:
{files}
---

# {task.id}

| | |
|---|---|
| formula | {task.formula} |
| questions | {task.num_questions:,}, {task.num_symbols} possible answers |
| train | {task.num_train:,} questions, drawn by the seed |
| test | {task.num_held_out:,} held-out questions |
| seed | {instance.seed} |
| salt | {repr(instance.salt) if instance.salt else "none"} |
| fingerprint | `{instance.fingerprint}` |
| source | {task.source} |

{RULES}

A row is a question. `question` is its row in the observation of `grokbench.make("{task.name}")`. Columns whose names begin with
`true_` have true symbols; the others have the symbols that an agent sees.

```bibtex
{CITATION}
```
"""
