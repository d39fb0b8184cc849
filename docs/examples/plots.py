# %% [markdown]
# # Plots in a notebook
#
# Each `plot_*` draws into your axes, or makes new ones, and returns them. None of them touches matplotlib's backend.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import mixlab

# %% [markdown]
# Runs of one text: six sizes at each of five budgets, made from the law of Hoffmann et al. (2022).

# %%
E, A, B, alpha, beta = 1.8172, 482.01, 2085.43, 0.3478, 0.3658
rng = np.random.default_rng(1)
rows = [
    {"flops": flops, "params": params, "tokens": flops / 6 / params}
    for flops in (1e17, 3e17, 1e18, 3e18, 1e19)
    for params in np.sqrt(flops / 120) * np.geomspace(0.3, 3, 6)
]
table = pd.DataFrame(rows)
table["loss"] = E + A * table["params"] ** -alpha + B * table["tokens"] ** -beta
table["loss"] *= np.exp(0.001 * rng.standard_normal(len(table)))

# %%
fit = mixlab.fit(table, law="chinchilla", bootstrap=50)
fit  # in a notebook this is a table

# %%
print({name: round(value, 3) for name, value in fit.params.items()})
assert abs(fit.params["E"] - E) < 0.1

# %% [markdown]
# ## Two plots side by side

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(13, 4.5), layout="constrained")
fit.plot_isoflop(ax=left)
answer = mixlab.recommend(fit, flops="1e21")
mixlab.plot_curve(fit, ax=right, recommendation=answer)
figure.savefig("plots.png", dpi=120)

# %% [markdown]
# ## How the best size grows with the budget

# %%
panels = mixlab.plot_frontier(fit, flops=1e21)
panels[0].figure.savefig("frontier.png", dpi=120)

# %%
for one in mixlab.frontier(fit, ["1e19", "1e20", "1e21"]):
    print(f"{one.flops:.0e} FLOPs: {one.params:.3g} parameters on {one.tokens:.3g} tokens, loss {one.loss['mean']:.3f}")
