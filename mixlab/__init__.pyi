from analysis.backtest.face import backtest as backtest
from analysis.plots.face import plot_backtest as plot_backtest
from analysis.plots.face import plot_curve as plot_curve
from analysis.plots.face import plot_domains as plot_domains
from analysis.plots.face import plot_frontier as plot_frontier
from analysis.plots.face import plot_isoflop as plot_isoflop
from analysis.plots.face import plot_mixture as plot_mixture
from analysis.plots.face import plot_task as plot_task
from analysis.report.draw import plot as plot
from analysis.report.draw import report as report
from mixlab.api.export import export as export
from mixlab.api.fit import Fit as Fit
from mixlab.api.fit import fit as fit
from mixlab.api.frontier import Frontier as Frontier
from mixlab.api.frontier import frontier as frontier
from mixlab.api.other_fits import fit_isoflop as fit_isoflop
from mixlab.api.other_fits import fit_task as fit_task
from mixlab.api.recommend import recommend as recommend
from mixlab.api.tasks import predict_task as predict_task
from mixlab.errors import MixlabError as MixlabError
from mixlab.runs.read import read_runs as read_runs
from mixlab.runs.table import Runs as Runs
from mixlab.search.recommendation import Recommendation as Recommendation
from mixlab.study.new import new_study as new_study
from sweeps.study import Study as Study
from sweeps.study import open_study as open_study

__version__: str
