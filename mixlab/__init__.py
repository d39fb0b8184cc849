"""mixlab: find the data mixture and the model size that are compute-optimal at a FLOP budget.

What `import mixlab` offers is named here and imported when it is used, so that the import itself costs next to nothing.
`__init__.pyi` has the types.
"""

from typing import Any

from mixlab.upward import resolve

__version__ = "0.1.0"

_FACE = {
    "new_study": "mixlab.study.new:new_study",
    "open_study": "sweeps.study:open_study",
    "read_runs": "mixlab.runs.read:read_runs",
    "fit": "mixlab.api.fit:fit",
    "fit_isoflop": "mixlab.api.other_fits:fit_isoflop",
    "fit_task": "mixlab.api.other_fits:fit_task",
    "recommend": "mixlab.api.recommend:recommend",
    "propose": "mixlab.api.propose:propose",
    "frontier": "mixlab.api.frontier:frontier",
    "trade_off": "mixlab.api.tradeoff:trade_off",
    "suggest_mixture": "sweeps.optuna_sampler:suggest_mixture",
    "predict_task": "mixlab.api.tasks:predict_task",
    "backtest": "analysis.backtest.face:backtest",
    "export": "mixlab.api.export:export",
    "plot": "analysis.report.draw:plot",
    "report": "analysis.report.draw:report",
    "plot_isoflop": "analysis.plots.face:plot_isoflop",
    "plot_curve": "analysis.plots.face:plot_curve",
    "plot_mixture": "analysis.plots.face:plot_mixture",
    "plot_domains": "analysis.plots.face:plot_domains",
    "plot_backtest": "analysis.plots.face:plot_backtest",
    "plot_frontier": "analysis.plots.face:plot_frontier",
    "plot_tradeoff": "analysis.plots.face:plot_tradeoff",
    "plot_task": "analysis.plots.face:plot_task",
    "Study": "sweeps.study:Study",
    "Runs": "mixlab.runs.table:Runs",
    "Fit": "mixlab.api.fit:Fit",
    "Frontier": "mixlab.api.frontier:Frontier",
    "TradeOff": "mixlab.api.tradeoff:TradeOff",
    "Proposals": "mixlab.api.proposals:Proposals",
    "Recommendation": "mixlab.search.recommendation:Recommendation",
    "MixtureSampler": "sweeps.optuna_sampler:MixtureSampler",
    "MixlabError": "mixlab.errors:MixlabError",
}

__all__ = [*_FACE, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _FACE:
        raise AttributeError(f"module `mixlab` has no attribute `{name}`")
    value = globals()[name] = resolve(_FACE[name])
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
