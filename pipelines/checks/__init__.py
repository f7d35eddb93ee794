"""质检（批次之外）: what can only be seen beyond one batch. Checks report; they accept, hold and reject nothing.

across: other datasets of the release candidate · agreement: sources and parts of one dataset · history: a batch and those
dated before it · timeliness: delivered in time · publication: decisions sent in time · conformity: as the contract says · values: codes never seen before · signals: leads of made-up data.
They run in the release step, over the states about to be published, and by `python -m pipelines checks`. Results depend on
what is accepted, never on the order in which it came. Only a rule of severity `block` has a consequence: the release stops.
"""
from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import sqlalchemy as sa

from pipelines import failures, ledger_tables as tables, trouble
from pipelines.batch import batch_date as resolve_date
from pipelines.checks import across, agreement, conformity, history, profiles, publication, results, signals, timeliness
from pipelines.checks.across import ReleaseStopped
from pipelines.checks.candidate import Candidate, candidate
from pipelines.committing import derive
from pipelines.compiler import Plan
from pipelines.contract import datasets
from pipelines.current import Current
from pipelines.desk import Desk
from pipelines.ledger import today as today_by_the_clock
from pipelines.locks import writer
from pipelines.settings import WrongUse

__all__ = ["ReleaseStopped", "judge", "run", "stop_release"]
log = logging.getLogger(__name__)
AT_ONCE = 50      # datasets whose results are entered together: no check reads those of another dataset or kind


def run(desk: Desk | None = None, dataset_ids: list[str] | None = None, as_of: str | None = None) -> list[dict[str, Any]]:
    """Run the checks of some datasets, or of all, over their present states.

    Args:
        dataset_ids: default: every dataset that is no draft.
        as_of: ISO date at which deliveries count as late; default: today in Asia/Shanghai.

    Returns:
        The newest result of every check of these datasets, as rows of `ledger_checks`.

    Raises:
        WrongUse: there is no such dataset; a rule's examples do not come out as declared.
    """
    desk = desk or Desk.open()
    known = [d.id for d in datasets(desk.project) if d.status != "draft"]
    unknown = sorted(set(dataset_ids or ()) - set(known))
    if unknown:
        raise WrongUse(f"There is no dataset {', '.join(unknown)}. Contracts exist for: {', '.join(known)}.")
    plans, states = {}, {}
    with writer(desk.lake, "release"):
        for one in known:
            plans[one] = desk.plan(one)
            with writer(desk.lake, one):
                state = derive(desk, plans[one])
            if state.facts["batches"]:
                states[one] = state
        return judge(desk, plans, states, dataset_ids or known, as_of)


def judge(desk: Desk, plans: dict[str, Plan], states: dict[str, Current], dataset_ids: list[str] | None = None,
          as_of: str | None = None) -> list[dict[str, Any]]:
    """Run the checks over given states. The caller holds the lock `release`; see `run`.

    A check that raises is logged and leaves its earlier results; only one that can stop the release stops it.
    """
    today = resolve_date(as_of) if as_of else today_by_the_clock()
    wanted = dataset_ids or list(plans)
    with candidate(desk, plans, states) as found:
        for at in range(0, len(wanted), AT_ONCE):
            some, made = [plans[dataset] for dataset in wanted[at:at + AT_ONCE]], []
            _profile(found, some)
            for plan in some:
                for kind, judged in ((across.KIND, across.judge), (agreement.KIND, agreement.judge), (history.KIND, history.judge),
                                     (publication.KIND, publication.judge), (conformity.KIND, conformity.judge)):
                    made += _attempt(plan, kind, partial(judged, found, plan))
                made += _attempt(plan, timeliness.KIND, partial(timeliness.judge, found, plan, today))
            results.record(desk.ledger, made, (across.KIND, agreement.KIND, conformity.KIND))
    return newest(desk, wanted)


def _attempt(plan: Plan, kind: str, work: Callable[[], Any]) -> list[Any]:
    """What the work finds; what is neither the machine's trouble nor wrong use must not decide whether a release appears."""
    try:
        made = work()
    except (WrongUse, trouble.MachineTrouble):
        raise
    except Exception as error:
        trouble.let_pass(error)
        if failures.may_pass(error):
            raise
        log.error("%s: checks of kind %s did not finish: %s", plan.dataset.id, kind, failures.tell(error))
        return []
    return made if isinstance(made, list) else [made] if made else []


def _profile(found: Candidate, plans: list[Plan]) -> None:
    """Profiles of new batches and the leads in them, entered together: a batch that has a profile is never looked at again."""
    made = [one for plan in plans for one in _attempt(plan, "profiles", partial(_seen, found, plan))]
    if made:
        with found.desk.ledger.transaction() as con:
            signals.enter(con, [lead for leads, _ in made for lead in leads])
            profiles.enter(con, [profile for _, several in made for profile in several])


def _seen(found: Candidate, plan: Plan) -> list[tuple[list[signals.Leads], list[profiles.Profile]]]:
    fresh, beside = profiles.pending(found, plan)
    return [(signals.judge(found, plan, beside), profiles.made(found, plan, fresh))] if fresh else []


def newest(desk: Desk, dataset_ids: list[str]) -> list[dict[str, Any]]:
    """The newest result of every (dataset, rule, source), in this order."""
    c = tables.checks
    rows = desk.ledger.rows(sa.select(c).where(c.c.dataset.in_(dataset_ids)).order_by(c.c.dataset, c.c.rule, c.c.source, c.c.as_of))
    return list({(r["dataset"], r["rule"], r["source"]): r for r in rows}.values())


def stop_release(desk: Desk, plans: dict[str, Plan]) -> None:
    """Stop when a rule of severity `block` fails on the newest candidate.

    Raises:
        ReleaseStopped: one message per rule and source.
    """
    declared = {(d, rule.rule) for d, plan in plans.items() for rule in plan.across if rule.severity == "block"}
    if declared:
        across.stop_release([r for r in newest(desk, list(plans)) if (r["dataset"], r["rule"]) in declared])
