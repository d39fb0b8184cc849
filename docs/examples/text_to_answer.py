# %% [markdown]
# # From text to an answer
#
# Three kinds of text, a handful of models of a few thousand parameters, and the mixture that is best for one of the
# kinds. It takes about a minute on two cores. With text of your own, `mixlab.new_study` writes a study.yaml to edit.

# %%
import json
import random
from pathlib import Path

import mixlab

# %% [markdown]
# The texts: recipes, stock lists, and noise that teaches nothing.

# %%
rng = random.Random(0)
FOODS = ["rice", "beans", "onion", "pepper", "lemon", "fish"]
VERBS = ["boil", "fry", "bake", "mix", "cool"]
TOOLS = ["pan", "pot", "oven"]


def recipe() -> str:
    return " ".join(f"{rng.choice(VERBS)} the {rng.choice(FOODS)} in the {rng.choice(TOOLS)}." for _ in range(12))


def stock() -> str:
    return " ".join(f"{rng.choice(FOODS)}: {rng.randrange(100)} kg," for _ in range(25))


def noise() -> str:
    return "".join(chr(rng.randrange(97, 123)) for _ in range(350))


texts = Path("texts")
texts.mkdir(exist_ok=True)
for name, write in {"recipes": recipe, "stock": stock, "noise": noise}.items():
    lines = (json.dumps({"text": write()}) for _ in range(1500))
    (texts / f"{name}.jsonl").write_text("\n".join(lines))

# %% [markdown]
# The study: what the model is for, which sizes and budgets the proxies have, and the budget that is asked about.

# %%
Path("study.yaml").write_text(
    """
name: kitchen
domains: {recipes: texts/recipes.jsonl, stock: texts/stock.jsonl, noise: texts/noise.jsonl}
objective: {recipes: 0.7, stock: 0.3}
proxies: {sizes: [6K, 14K, 26K], context: 64, eval_tokens: 4K}
sweep: {budgets: [2e9, 4e9, 8e9, 1.6e10], mixtures: 9}
target: {flops: 6.4e10}
"""
)
study = mixlab.open_study(".")
study.prepare()  # the table of what is in the corpus

# %%
study.status()  # what the sweep will train, and how long that will take

# %%
study.sweep()

# %% [markdown]
# What to train at the target's budget. Noise should get next to nothing.

# %%
answer = study.recommend()
print(answer.summary())
assert answer.mixture["noise"] < 0.1

# %% [markdown]
# Is it true? The answer and the baselines are trained at the target's budget, four times the largest of the sweep.

# %%
proof = study.verify(seeds=2)
print(proof.summary())

# %%
print(study.report())
