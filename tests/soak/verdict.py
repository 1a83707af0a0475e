"""Whether all books agree: a list of checks, each with what was expected and what was found.

Where nothing was killed every count is exact. A killed worker makes some requests uncertain: those whose connection it
held at that moment may or may not have been counted before. These, and nobody else, are the difference between the
lower and the upper bounds.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tests.soak.books import Attempt, Books, End, Entry, Kill
from tests.soak.excuses import Judge, is_right
from tests.soak.growth import Growth
from tests.soak.messages import GOODBYE
from tests.soak.mix import Kind
from tests.soak.records import Records

__all__ = [
    "SHADOW_PROCESS",
    "Bounds",
    "Check",
    "Counts",
    "bounds_of",
    "check_clients",
    "check_counts",
    "check_faults",
    "check_growth",
    "check_models",
    "check_records",
    "check_shadows",
]

SHADOW_PROCESS: Mapping[str, str] = {"shade": "shade", "v3-copy": "v3"}
"""Which server stands behind each shadow model."""

CANCEL_NS = 1_500_000_000
"""A model must learn within this time that its client has left: milliseconds, but the soak keeps its machine busy."""

RSS_GROWN_BYTES = 8 * 1024 * 1024
RSS_WARMING_BYTE_SECONDS = 1800 * 1024 * 1024
"""Memory follows the fullest moment so far, as when copies pile up before a model that is away, and a short look sees
more of that than of leaks: divided by the length of the look, this is allowed besides."""
FILES_GROWN, FILES_GROWN_SHARE = 8.0, 0.5
"""Pools breathe with the load: so many files, or this share of the median if that is more."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold."""

    name: str
    expected: str
    got: str
    holds: bool
    examples: tuple[str, ...] = ()


class Counts:
    """The samples of ``/metrics``."""

    def __init__(self, samples: Mapping[tuple[str, ...], float]) -> None:
        self._samples = samples

    def total(self, name: str, **labels: str) -> int:
        """Return the sum of all samples of ``name`` that have these labels."""
        wanted = {f"{label}={value}" for label, value in labels.items()}
        return int(sum(v for key, v in self._samples.items() if key[0] == name and wanted <= set(key)))

    def codes(self, **labels: str) -> Counter[int]:
        """Return the finished requests by status."""
        wanted = {f"{label}={value}" for label, value in labels.items()}
        found: Counter[int] = Counter()
        for key, value in self._samples.items():
            if key[0] == "modelproxy_requests_total" and wanted <= set(key):
                code = next(part for part in key if part.startswith("code="))
                found[int(code.removeprefix("code="))] += int(value)
        return found


def _equal(name: str, expected: int, got: int) -> Check:
    return Check(name, str(expected), str(got), expected == got)


def _within(name: str, low: int, high: int, got: int) -> Check:
    shown = str(low) if low == high else f"{low}–{high}"
    return Check(name, shown, str(got), low <= got <= high)


def _none(name: str, found: Sequence[str]) -> Check:
    return Check(name, "0", str(len(found)), not found, tuple(found[:10]))


@dataclass(slots=True)
class Bounds:
    """How often each status must have been counted, by what clients and models saw."""

    least: Counter[int] = field(default_factory=Counter)
    loose: Counter[int] = field(default_factory=Counter)
    """So many more of a status are possible. Key 0: of any status."""
    surely: int = 0
    """Requests that were counted, finished or lost."""
    perhaps: int = 0
    lost_least: int = 0
    lost_most: int = 0

    def check(self, code: int, got: int) -> Check:
        """Return the check of one status."""
        low = self.least[code]
        return _within(f"requests counted with {code}", low, low + self.loose[code] + self.loose[0], got)

    def add_killed(self, entry: Entry, kill: Kill, tried: Sequence[Attempt]) -> None:
        """Take in a request whose connection was held by a worker that was killed."""
        if entry.began_ns > kill.stopped_ns:
            return  # sent to nobody
        seen = any(attempt.seen_ns < kill.stopped_ns for attempt in tried)
        self.surely += seen
        self.perhaps += not seen
        self.lost_most += 1
        if any(a.seen_ns < kill.stopped_ns < (a.ended_ns or kill.stopped_ns + 1) for a in tried):
            self.lost_least += 1  # the model was still at it: the worker cannot have finished
        else:
            self.loose[0] += 1

    def add_left(self, tried: Sequence[Attempt]) -> None:
        """Take in a request whose client left before a head came."""
        self.surely += bool(tried)
        self.perhaps += not tried
        if any(attempt.outcome == "G" for attempt in tried):
            self.least[499] += 1
            return
        for code in (499, 200, 502, 503, 504):
            self.loose[code] += 1


def bounds_of(entries: Iterable[Entry], judge: Judge, attempts: Mapping[str, Sequence[Attempt]]) -> Bounds:
    """Return what the proxy must have counted."""
    bounds = Bounds()
    for entry in entries:
        tried = [attempt for attempt in attempts.get(entry.order.identity, ()) if not attempt.is_copy]
        kill = judge.kill_of(entry, left_behind=True)
        if entry.end is End.WHOLE or (kill is None and (entry.end is End.CUT or entry.status)):
            bounds.least[entry.status] += 1
            bounds.surely += 1
        elif kill is not None:
            bounds.add_killed(entry, kill, tried)
        elif entry.end is End.LEFT:
            bounds.add_left(tried)
        elif entry.end is End.BROKEN:
            bounds.perhaps += 1
            bounds.loose[0] += 1
    return bounds


def check_clients(entries: Sequence[Entry], judge: Judge) -> list[Check]:
    """Check that nobody was failed by the proxy."""
    failed, wrong = [], []
    for entry in entries:
        if entry.wrong:
            wrong.append(f"{_shown(entry)}: {entry.wrong}")
        elif not is_right(entry) and judge.excuse(entry) is None:
            failed.append(_shown(entry))
    return [_none("failed requests without an excuse", failed), _none("wrong answers", wrong)]


def _shown(entry: Entry) -> str:
    order = entry.order
    took_ms = (entry.ended_ns - entry.began_ns) / 1e6
    return (
        f"{order.identity} {order.kind.value} {order.route or '-'}: {entry.end.value} {entry.status} {entry.variant} "
        f"at {entry.began_ns / 1e9:.3f} s, {took_ms:.0f} ms"
    )


def check_counts(books: Books, bounds: Bounds, counts: Counts) -> list[Check]:
    """Check the proxy's counts of requests against the clients'."""
    codes = counts.codes()
    lost = counts.total("modelproxy_upstream_faults_total", kind="lost")
    checks = [bounds.check(code, codes[code]) for code in sorted({*codes, *bounds.least})]
    total = sum(codes.values()) + lost
    lines = {(e.port, e.opened_ns): e.end is End.WHOLE for e in books.entries if e.port}
    tunnels = [(e.order.tunnelled, e.end is End.WHOLE and e.status == 101) for e in books.entries]
    whole = [size for size, is_whole in tunnels if is_whole]
    lines |= {(e.port, e.opened_ns): True for e in books.entries if e.end is End.WHOLE}
    return [
        *checks,
        _within("finished + lost", bounds.surely, bounds.surely + bounds.perhaps, total),
        _equal(
            "lost = under way in killed workers", sum(kill.open_counts["lost"] for kill in books.kills), lost
        ),
        _within("lost, as clients saw it", bounds.lost_least, bounds.lost_most, lost),
        _equal("in flight at the end", 0, counts.total("modelproxy_in_flight_requests")),
        _equal("connections open at the end", 0, counts.total("modelproxy_connections")),
        _within(
            "connections opened",
            sum(lines.values()),
            len(lines),
            counts.total("modelproxy_connections_opened_total"),
        ),
        *(
            _within(
                f"bytes through tunnels, {direction}",
                sum(whole) + goodbye * len(whole),
                sum(size + goodbye for size, _ in tunnels if size),
                counts.total("modelproxy_tunnel_bytes_total", direction=direction),
            )
            for direction, goodbye in (("received", 0), ("sent", len(GOODBYE)))
        ),
        _equal("reloads", books.reloads + books.refused, counts.total("modelproxy_config_reloads_total")),
        _equal("reloads refused", books.refused, counts.total("modelproxy_config_reloads_refused_total")),
    ]


def check_faults(entries: Sequence[Entry], judge: Judge, counts: Counts) -> list[Check]:
    """Check the faults of the model that nothing but its orders and killed workers disturbs."""
    mine = [entry for entry in entries if entry.order.route == "flaky"]
    killed = sum(judge.kill_of(entry) is not None for entry in mine)
    done = Counter(entry.order.kind for entry in mine if is_right(entry) and judge.kill_of(entry) is None)
    expected = {
        "timeout": done[Kind.STALL],
        "protocol": done[Kind.GARBAGE],
        "reset": done[Kind.RESET] + done[Kind.CUT],
        "connect": 0,
    }
    return [
        _within(
            f"faults of the flaky model: {kind}",
            number,
            number + killed,
            counts.total("modelproxy_upstream_faults_total", model="flaky", kind=kind),
        )
        for kind, number in expected.items()
    ]


def check_models(books: Books, counts: Counts) -> list[Check]:
    """Check what reached the models against what clients asked for and got."""
    known = {entry.order.identity for entry in books.entries}
    primary = [attempt for attempt in books.attempts.values() if not attempt.is_copy]
    unknown = [a.identity for a in books.attempts.values() if a.identity not in known]
    tries = Counter(attempt.identity for attempt in primary)
    again = sum(number - 1 for number in tries.values())
    allowed = counts.total("modelproxy_upstream_retries_total") + counts.total("modelproxy_fallbacks_total")
    unmatched, unnoted, working_on = [], [], []
    for entry in books.entries:
        if entry.end is End.WHOLE and entry.variant:
            attempt = books.attempts.get(entry.attempt)
            if (
                attempt is None
                or attempt.identity != entry.order.identity
                or attempt.status != (entry.status if attempt.outcome else 0)
                or attempt.model != ("flaky" if entry.variant == "only" else entry.variant)
                or attempt.is_copy
            ):
                unmatched.append(f"{_shown(entry)}: attempt {entry.attempt!r}")
            elif not attempt.outcome:
                unnoted.append(attempt)
    left = {e.order.identity: e for e in books.entries if e.order.leaves and e.end is End.LEFT}
    for attempt in primary:
        entry_left = left.get(attempt.identity)
        if entry_left is None:
            continue
        late = attempt.ended_ns - entry_left.ended_ns
        if attempt.outcome and late > CANCEL_NS:
            working_on.append(
                f"{attempt.name} for {attempt.identity}: {attempt.outcome}, {late / 1e6:.0f} ms"
            )
    return [
        _none("requests at models that no client made", unknown),
        _none("answers that no model wrote", unmatched),
        # A model writes its answer, then its note, without a pause between: a kill can part one such pair.
        _within("answers whose model was killed before its note", 0, len(books.downs), len(unnoted)),
        Check("requests sent again", f"≤ {allowed}", str(again), again <= allowed),
        _none("models that worked on for nobody", working_on),
    ]


def check_shadows(books: Books, counts: Counts) -> list[Check]:
    """Check the copies, and the sums that the README promises."""
    checks = []
    for model, process in SHADOW_PROCESS.items():
        copies = [a for a in books.attempts.values() if a.is_copy and a.model == process]
        doubled = [i for i, number in Counter(a.identity for a in copies).items() if number > 1]

        def outcome(word: str, model: str = model) -> int:
            return counts.total("modelproxy_shadow_requests_total", model=model, outcome=word)

        answered = sum(a.outcome == "A" for a in copies)
        given_up = sum(a.outcome in ("G", "") for a in copies)
        killed = sum(kill.open_counts.get(f"failed:{model}", 0) for kill in books.kills)
        results = {
            result: counts.total("modelproxy_comparisons_total", model=model, result=result)
            for result in ("agree", "disagree")
        }
        sent, failed = outcome("sent"), outcome("failed")
        ended = outcome("compared") + outcome("uncomparable") + outcome("comparison_dropped")
        checks += [
            _none(f"{model}: requests copied twice", doubled),
            _equal(f"{model}: eligible = sent + dropped", outcome("eligible"), sent + outcome("dropped")),
            _equal(f"{model}: sent = answered + failed", sent, outcome("answered") + failed),
            _equal(
                f"{model}: answered = compared + uncomparable + comparison_dropped",
                outcome("answered"),
                ended,
            ),
            _equal(f"{model}: compared = agree + disagree", outcome("compared"), sum(results.values())),
            _within(f"{model}: copies that arrived", sent - failed, sent, len(copies)),
            _within(f"{model}: copies answered", answered - killed, answered + given_up, outcome("answered")),
            Check(f"{model}: failed with killed workers", f"≥ {killed}", str(failed), failed >= killed),
        ]
    return checks


def check_records(books: Books, counts: Counts, records: Records) -> list[Check]:
    """Check the payload log against the counts and the clients."""
    name = "modelproxy_payload_records_total"
    said = {word: counts.total(name, outcome=word) for word in ("sampled", "written", "dropped", "failed")}
    finished = sum(sum(counts.codes(route=route).values()) for route in ("wine", "chat"))
    unwritten = said["dropped"] + said["failed"]
    due = {
        e.order.identity for e in books.entries if e.end is End.WHOLE and e.order.route in ("wine", "chat")
    }
    spare = unwritten if books.observer_kills else 0
    return [
        _equal("sampled = written + dropped + failed", said["sampled"], said["written"] + unwritten),
        _within("sampled: all that finished", finished - len(books.kills), finished, said["sampled"]),
        _within("lines in the payload log", said["written"], said["written"] + spare, records.lines),
        _within("answered requests without a record", 0, unwritten, len(due - records.identities)),
        _none("records written twice", records.doubled),
        _none("records of requests that nobody made", records.unknown),
        _none("records that say something else than clients saw", records.untrue),
        _none(f"comparisons with the wrong result (of {records.judged})", records.misjudged),
        _none("units that moved under one table", records.moved),
        Check("comparisons in records", "> 0", str(records.judged), records.judged > 0),
    ]


def check_growth(grown: Sequence[Growth], wanted: Sequence[str]) -> list[Check]:
    """Check that memory and open files of the long-lived processes are flat."""
    checks = [
        _none("long-lived processes that were not", sorted(set(wanted) - {each.role for each in grown}))
    ]
    for each in grown:
        most = RSS_GROWN_BYTES + RSS_WARMING_BYTE_SECONDS / each.seconds
        most_files = max(FILES_GROWN, FILES_GROWN_SHARE * each.open_files)
        checks += [
            Check(
                f"{each.role}: memory grown in {each.seconds:.0f} s (of {each.rss_bytes / 2**20:.0f} MiB)",
                f"≤ {most / 2**20:.1f} MiB",
                f"{each.rss_grown_bytes / 2**20:+.2f} MiB",
                each.rss_grown_bytes <= most,
            ),
            Check(
                f"{each.role}: open files grown (of {each.open_files:.0f})",
                f"≤ {most_files:.0f}",
                f"{each.open_files_grown:+.1f}",
                each.open_files_grown <= most_files,
            ),
        ]
    return checks
