"""``python -m tests.peers``: run every script against every proxy that is installed, and write ``TABLE.md``."""

import sys
from pathlib import Path

from tests.peers.contenders import (
    CONTENDERS,
    SCRIPTS,
    Outcome,
    find_program,
    is_optional,
    is_varnishtest_here,
    serving,
    title_of,
    version_of,
)

TABLE = Path(__file__).with_name("TABLE.md")

HEAD = """\
# Who does what on the wire

Each row is a script of `tests/peers/scripts`, run unchanged against every proxy by `varnishtest`; `make peers-table`
runs them and writes this file. The configurations are in `tests/peers/configs`: plain ones, everything to one model.
Other settings may give other results.

✓ as the row says, with the statuses that the client got · ✗ not so; what happened instead stands below · – not so, and
the RFC leaves it open
"""


def main() -> None:
    """Run all, say each result as it comes, write the table."""
    if not is_varnishtest_here():
        sys.exit("varnishtest is not installed (Debian: apt-get install varnish)")
    columns: dict[str, list[Outcome]] = {}
    for contender in CONTENDERS:
        program = find_program(contender)
        if program is None:
            sys.stderr.write(f"{contender.name} is not installed; its column is left out\n")
            continue
        name = f"{contender.name} {version_of(contender, program)}"
        with serving(contender, program) as running:
            columns[name] = [running.play(script) for script in SCRIPTS]
        sys.stderr.write(f"{name}: {sum(each.is_passed for each in columns[name])} of {len(SCRIPTS)}\n")
    text = build_table(columns)
    TABLE.write_text(text)
    sys.stdout.write(text)


def build_table(columns: dict[str, list[Outcome]]) -> str:
    """Return the table, and below it what each proxy did where it did otherwise."""
    lines = [HEAD, f"| case | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    for row, script in enumerate(SCRIPTS):
        cells = [_cell(outcomes[row], is_optional(script)) for outcomes in columns.values()]
        lines.append(f"| **{script.stem}** {title_of(script)} | {' | '.join(cells)} |")
    for name, outcomes in columns.items():
        different = [
            f"- {script.stem}: {outcome.reason}"
            for script, outcome in zip(SCRIPTS, outcomes, strict=True)
            if not outcome.is_passed
        ]
        if different:
            lines += ["", f"## {name}", "", *different]
    return "\n".join(lines) + "\n"


def _cell(outcome: Outcome, optional: bool) -> str:
    mark = "✓" if outcome.is_passed else "–" if optional else "✗"
    return " ".join([mark, *outcome.statuses])


if __name__ == "__main__":
    main()
