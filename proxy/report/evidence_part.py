"""The evidence: for each guardrail the verdict in plain words first, then the figures; and how the lot fell."""

from math import log

from proxy.plural import count
from proxy.report.documents import Epoch
from proxy.report.facts import Facts, Judged
from proxy.report.pages import Block, Bullets, Heading, Paragraph, Table
from proxy.report.standing import Standing, figures, meaning, ratio_text, standing
from proxy.report.words import e_value, joined, percent
from proxy.rollout.decide import SRM
from proxy.settings import Metric

__all__ = ["evidence", "since_promotion"]

_MOST_EPOCHS = 8


def evidence(facts: Facts) -> list[Block]:
    """Return the part about the evidence that decides."""
    judged = facts.then
    blocks: list[Block] = [Heading("The evidence")]
    if judged is None or not judged.evidence.guardrails:
        return [*blocks, Paragraph("There is none yet.")]
    found = judged.evidence
    blocks.append(
        Paragraph(
            f"By this moment {facts.canary} had answered {count(found.canary_requests, 'request')} of "
            f"{count(found.canary_units, 'unit')}, {facts.champion} {count(found.champion_requests, 'request')} of "
            f"{count(found.champion_units, 'unit')}."
        )
    )
    blocks += [_verdicts(judged), *_figures(judged), _together(judged)]
    if judged.plan.critical and found.shadow_answered + found.shadow_failures:
        blocks.append(_copies(judged))
    blocks.append(_lot(facts, judged))
    return blocks


def since_promotion(facts: Facts) -> list[Block]:
    """Return what was seen after the promotion, where somebody went on looking."""
    now = facts.now
    if now is None or now is facts.then or not now.state.promoted_ns or not now.evidence.guardrails:
        return []
    if not (now.plan.holdback or now.plan.switch_back_ns):
        return []
    blocks: list[Block] = [Heading("Since the promotion"), _verdicts(now), *_figures(now)]
    if not now.plan.holdback:
        blocks.append(
            Paragraph(
                f"Nobody is left on {facts.champion}: this compares with the time before, when other things may have "
                "been different too."
            )
        )
    return blocks


def _verdicts(judged: Judged) -> Bullets:
    return Bullets(
        tuple(
            f"{each.name}: {standing(judged, each)}. {meaning(judged, each)}"
            + (" It is advisory: it decides nothing." if each.advisory else "")
            for each in judged.evidence.guardrails
        )
    )


def _figures(judged: Judged) -> list[Block]:
    canary, champion = judged.plan.canary.name, judged.plan.champion.name
    rows = tuple(
        (
            each.name,
            *figures(each),
            ratio_text(judged, each),
            e_value(each.harm),
            e_value(each.noninferiority),
        )
        for each in judged.evidence.guardrails
    )
    columns = ("=guardrail", canary, champion, "ratio (95 % limits)", ">e-value: worse", ">e-value: as good")
    notes = [
        (
            f"An e-value of {round(1 / judged.plan.false_rollback):,} for “worse” rolls back; one of "
            f"{round(1 / judged.plan.false_promotion):,} for “as good” is needed in every guardrail for the promotion."
        ),
        "The ratio is the canary's figure divided by the champion's: 1 is the same, 2 is twice as much.",
    ]
    if any(each.metric is Metric.LATENCY for each in judged.evidence.guardrails):
        notes.append(
            "Latencies are p50 / p95 / p99: half, 95 % and 99 % of answers took at most so long; their ratio is "
            "that of p50."
        )
    if any(each.metric is Metric.DISAGREEMENT for each in judged.evidence.guardrails):
        what = (
            "the share itself, of which nobody knows how much is the champion's own noise (compare.noise: 0)"
        )
        if judged.plan.goes_above_noise:
            what = (
                "the share above noise: how much more often the canary differs from the client's answer than the "
                "champion does when it is asked again"
            )
        notes.append(f"Of disagreement the limits are those of {what}; its e-value never rolls back.")
    if any(each.metric is Metric.FEEDBACK for each in judged.evidence.guardrails):
        notes.append(
            "Of feedback those units count on which there was any, for the variant that answered them."
        )
    return [Table(columns, rows), Paragraph(" ".join(notes))]


def _together(judged: Judged) -> Paragraph:
    plan, found = judged.plan, judged.evidence
    several = sum(not each.advisory for each in plan.guardrails) > 1
    text = f"All guardrails together have an e-value of {e_value(found.harm)} for “worse”"
    if not several:
        return Paragraph(f"{text}, with a threshold of {round(1 / plan.false_rollback):,}.")
    text += (
        ", the greatest of theirs times its part of the accepted risk; this is what rolls back, from "
        f"{round(1 / plan.false_rollback):,} on, so that watching several guardrails makes no false alarm likelier"
    )
    worse = [each.name for each in found.guardrails if standing(judged, each) is Standing.WORSE]
    if found.blamed:
        text += (
            f". Named as worse, all names together wrong in at most {percent(plan.false_rollback)} of rollouts "
            f"(e-Holm): {joined(found.blamed)}"
        )
    elif worse:
        text += f". By itself worse, without a name for all together: {joined(worse)}"
    return Paragraph(text + ".")


def _copies(judged: Judged) -> Paragraph:
    found = judged.evidence
    total = found.shadow_answered + found.shadow_failures
    return Paragraph(
        f"Of {count(total, 'copy')} of requests that {judged.plan.canary.name} got besides, it failed "
        f"{found.shadow_failures:,} ({percent(found.shadow_failures / total)})."
    )


def _lot(facts: Facts, judged: Judged) -> Bullets:
    """Say whether requests were divided as the weights say."""
    log_e = judged.evidence.allocation
    if log_e > SRM:
        verdict = (
            f"Requests were not divided as the weights say (e-value {e_value(log_e)}, at most 1,000 is normal): the "
            "comparison cannot be trusted until it is known why, for instance because one variant loses requests."
        )
    elif log_e > log(20):
        verdict = (
            f"Requests may not be divided as the weights say (e-value {e_value(log_e)}; trusted up to 1,000)."
        )
    else:
        verdict = f"Requests were divided as the weights say (e-value {e_value(log_e)}; trusted up to 1,000)."
    shown = facts.document.epochs[-_MOST_EPOCHS:]
    rows = [text for epoch in shown if (text := _division(epoch, facts.canary))]
    if len(facts.document.epochs) > len(shown):
        rows.insert(0, f"{len(facts.document.epochs) - len(shown):,} earlier weights are left out here.")
    problems = [_PROBLEMS.get(each, each) for each in judged.evidence.problems]
    return Bullets((verdict, *rows, *problems))


_PROBLEMS = {
    "counts_backwards": "A counter went backwards: what it counted meanwhile is left out, and nothing is raised for a "
    "while.",
    "no_canary_traffic": "The champion has traffic and the canary, which should, has none.",
    "stray_units": "Units were counted for a variant that has no share.",
    "stale": "The counts had not been read for 30 seconds or more.",
    "clock": "The clock jumped.",
    "feedback_srm": (
        "Feedback came for one variant more often than its share says: what it says of the answers cannot be compared."
    ),
}


def _division(epoch: Epoch, canary: str) -> str:
    found = next((each for each in epoch.variants if each.name == canary), None)
    total = sum(each.units for each in epoch.variants)
    if found is None or not total or not found.share:
        return ""
    got = percent(found.units / total)
    return f"At a weight of {percent(found.share)} {canary} got {got} of {count(total, 'unit')}."
