"""The rounds of a sweep as it goes: what is decided, what is planned, what is over.

What comes next follows from the study file, the kept rounds and the ledger alone. So the same command goes on where it
stopped, and the final table is that of an uninterrupted sweep, on any number of workers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from mixlab.mixture import Mixture
from mixlab.objective import Objective
from mixlab.runs.records import records_to_table
from mixlab.runs.specs import RunRecord, RunSpec
from mixlab.runs.table import Runs
from mixlab.study.folder import StudyFolder
from sweeps.executors.work import Job
from sweeps.ledger import Ledger
from sweeps.optuna_view import OptunaView
from sweeps.plan import Plan, round_specs, without_parts
from sweeps.proposals import first_round, first_specs, later_round
from sweeps.rounds import Ask


class Course:
    """Rounds, one after the other or overlapping.

    A round is proposed from what the one before told; where they overlap, from what the one before that told, while
    the last runs of the one between are still made, so that no worker waits for them.

    Args:
        plan: the study's facts.
        folder: of the study.
        ledger: of its runs.
        view: of Optuna, told as rounds end.
        begin: called with the runs of each round as it begins; gives the jobs that are to be made of them.
        note: called with why the sweep stops early.
    """

    def __init__(
        self,
        plan: Plan,
        folder: StudyFolder,
        ledger: Ledger,
        view: OptunaView,
        begin: Callable[[Sequence[RunSpec]], Sequence[Job]],
        note: Callable[[str], None],
    ) -> None:
        self._plan, self._folder, self._ledger, self._view = plan, folder, ledger, view
        self._begin, self._note = begin, note
        self._rounds: list[list[RunSpec]] = []
        self._asks: list[Sequence[Ask]] = []
        self._mixtures: list[Mixture] = []
        self._trials: dict[Mixture, str] = {}  # run id by mixture, of those trained where mixtures are compared
        self._told = 0  # rounds that the table and the view know

    def jobs(self, over: Callable[[RunSpec], bool]) -> Iterator[Job | None]:
        """The jobs of all rounds; None while the next round waits for runs that are being made.

        Args:
            over: whether a run is over.
        """
        sweep = self._plan.config.sweep
        for number in range(sweep.rounds):
            needed = max(1, number - 1) if sweep.overlap else number
            while not all(over(spec) for one in self._rounds[:needed] for spec in one):
                yield None
            specs = self._decide(number, min(needed, number))
            if specs is None:
                break
            yield from self._begin(specs)

    @property
    def records(self) -> tuple[RunRecord, ...]:
        """Of all runs of the sweep, in plan order."""
        return self._records(len(self._rounds))

    def tell(self) -> None:
        """Write the table of all rounds, which are over, and tell the view."""
        self._tell(len(self._rounds))

    def _decide(self, number: int, told: int) -> Sequence[RunSpec] | None:
        """The runs of a round, by what the first `told` rounds told; None where the sweep stops."""
        plan = self._plan
        asks: Sequence[Ask] = ()
        if number == 0:
            fresh, specs = first_round(plan), first_specs(plan)
        else:
            table = self._tell(told)
            planned = without_parts([spec for one in self._rounds for spec in one])
            under_way = [ask for one in self._asks[told:] for ask in one]
            decided = later_round(
                plan, number, self._folder, table, self._mixtures, planned, self._view, under_way=under_way
            )
            if decided.stop is not None:
                self._note(decided.stop)
                return None
            asks = decided.asks
            fresh, specs = list(dict.fromkeys(ask.mixture for ask in asks)), round_specs(plan, asks)
        compared = {mixture: plan.spec(mixture, plan.reference).run_id for mixture in fresh}
        asked = {spec.run_id for spec in specs}
        trials = {mixture: run_id for mixture, run_id in compared.items() if run_id in asked}
        self._trials |= trials
        self._view.follow(dict.fromkeys(trials))
        self._rounds.append(list(specs))
        self._asks.append(asks)
        self._mixtures += fresh
        return specs

    def _tell(self, rounds: int) -> Runs:
        """The table of the first rounds, written before anything else, whatever becomes of the next."""
        table = study_table(self._plan, self._records(rounds))
        if rounds > self._told:
            table.write(self._folder.runs)
            known = {spec.run_id for one in self._rounds[:rounds] for spec in one}
            losses = {
                mixture: objective_loss(self._plan, self._ledger.records[run_id])
                for mixture, run_id in self._trials.items()
                if run_id in known
            }
            self._view.follow(losses)
            self._told = rounds
        return table

    def _records(self, rounds: int) -> tuple[RunRecord, ...]:
        planned = without_parts([spec for one in self._rounds[:rounds] for spec in one])
        return tuple(self._ledger.records[spec.run_id] for spec in planned)


def study_table(plan: Plan, records: Iterable[RunRecord]) -> Runs:
    """The run table of a study's records; runs without a point are left out and counted by the table's notes.

    Raises:
        RunTableError: when no run has finished.
    """
    unique = {domain.name: domain.unique_tokens for domain in plan.inventory.domains}
    return records_to_table(records, plan.facts.objective, unique, plan.config.mixtures.evaluation_only)


def objective_loss(plan: Plan, record: RunRecord) -> float:
    """The objective at the record's largest budget; NaN when the run did not get there."""
    if record.status != "done":
        return float("nan")
    objective: Objective = plan.facts.objective
    return objective.of_evals(record.points[-1].losses)
