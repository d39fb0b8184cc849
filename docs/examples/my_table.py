# %% [markdown]
# # My table of runs
#
# A CSV of training runs, with its own column names and units, becomes a fit, a prediction and a recommendation.
# Every cell runs as it stands: the table here is made from a known law, so that the answers can be checked.

# %%
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

import mixlab

folder = Path(tempfile.mkdtemp())

# %% [markdown]
# Sixteen mixtures of three domains, each at three sizes and four token counts. Code is worth most, web least.


# %%
def loss(params, tokens, code, math, web):
    return 1.5 + 200 * params**-0.35 + 400 * (tokens * (1.0 * code + 0.6 * math + 0.3 * web)) ** -0.3


rng = np.random.default_rng(0)
rows = []
for number, (code, math, web) in enumerate(rng.dirichlet([1, 1, 1], 16)):
    for params in (1e6, 3e6, 1e7):
        for tokens in (1e8, 4e8, 1.6e9, 6.4e9):
            measured = loss(params, tokens, code, math, web) * np.exp(0.002 * rng.standard_normal())
            rows.append(
                {
                    "name": f"mix{number}-{params:.0e}",
                    "model.n_params": params,
                    "tokens_seen_B": tokens / 1e9,
                    "val/loss": measured,
                    "data.weights.code": code,
                    "data.weights.math": math,
                    "data.weights.web": web,
                }
            )
pd.DataFrame(rows).to_csv(folder / "wandb.csv", index=False)

# %% [markdown]
# ## Read it
#
# `columns` says what our columns are called there, and the size of their unit; `mixture` is the pattern of the weights.

# %%
runs = mixlab.read_runs(
    folder / "wandb.csv",
    columns={
        "run_id": "name",
        "params": "model.n_params",
        "tokens": ("tokens_seen_B", 1e9),
        "loss": "val/loss",
    },
    mixture="data.weights.*",
)
print(runs.summary())

# %% [markdown]
# ## Fit it, and ask for a loss
#
# `law="auto"`, the default, tries all laws that the runs can carry; one law by name is faster.

# %%
fit = mixlab.fit(runs, law="effective-data", bootstrap=50)
print(fit)
predicted = fit.predict(mix={"code": 0.5, "web": 0.5}, params="100M", tokens="2B")
print(predicted.T)
assert abs(predicted["loss"][0] / loss(1e8, 2e9, 0.5, 0.0, 0.5) - 1) < 0.01

# %% [markdown]
# ## Would it have predicted the largest runs?

# %%
print(mixlab.backtest(runs, "tokens > 2e9", law="effective-data", continue_runs=True, baselines=False).summary())

# %% [markdown]
# ## Ask for the best mixture and size
#
# There are 3B tokens of code, and nobody wants more than 60% of it.

# %%
answer = mixlab.recommend(fit, flops="1e19", max={"code": 0.6}, supply={"code": "3B"}, max_epochs=4)
print(answer.summary())
assert abs(answer.mixture["code"] - 0.6) < 1e-3

# %%
print(mixlab.export(answer, to="olmo-core", data={name: f"/data/{name}" for name in answer.mixture}))
