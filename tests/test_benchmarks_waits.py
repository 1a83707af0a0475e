"""How long somebody waits for a core, read out of what the scheduler tells."""

from benchmarks.waits import Switch, Waits, parse, waits_of

WORKER, OBSERVER, STRANGER = 7, 8, 99

STORY = """
[001] 10.000100: sched:sched_wakeup: comm=python pid=7 prio=120 target_cpu=000
[001] 10.000150: sched:sched_switch: prev_comm=a b prev_pid=5 prev_prio=120 prev_state=S ==> next_comm=c next_pid=6 next_prio=120
[000] 10.000200: sched:sched_switch: prev_comm=python prev_pid=8 prev_prio=120 prev_state=R ==> next_comm=python next_pid=7 next_prio=120
[000] 10.000300: sched:sched_switch: prev_comm=python prev_pid=7 prev_prio=120 prev_state=R+ ==> next_comm=other next_pid=99 next_prio=120
[000] 10.000900: sched:sched_switch: prev_comm=other prev_pid=99 prev_prio=120 prev_state=S ==> next_comm=python next_pid=7 next_prio=120
[000] 10.001000: sched:sched_switch: prev_comm=python prev_pid=7 prev_prio=120 prev_state=S ==> next_comm=swapper/0 next_pid=0 next_prio=120
[000] 10.002000: sched:sched_wakeup: comm=python pid=7 prio=120 target_cpu=000
[000] 10.002004: sched:sched_switch: prev_comm=swapper/0 prev_pid=0 prev_prio=120 prev_state=R ==> next_comm=python next_pid=7 next_prio=120
"""  # noqa: E501


def test_waits_are_read_from_what_perf_tells() -> None:
    """Behind the observer and on an idle core a wait is ours, behind a stranger it is not."""
    waits = waits_of(WORKER, frozenset({WORKER, OBSERVER}), parse(STORY.splitlines(), 0))
    assert [round(each) for each in waits.ours] == [100, 4]
    assert waits.others == 1


def test_a_wake_up_of_who_runs_already_is_no_wait() -> None:
    """Nor is one that comes again while the first still waits."""
    story = [
        Switch(100, WORKER, OBSERVER),
        Switch(110, WORKER),
        Switch(200, OBSERVER, WORKER),
        Switch(300, WORKER),
        Switch(320, WORKER),
        Switch(350, WORKER, OBSERVER),
    ]
    assert waits_of(WORKER, frozenset({WORKER, OBSERVER}), story).ours == [50]


def test_percentiles() -> None:
    """They are of all waits that are ours; of none they are 0."""
    assert Waits().percentile(0.99) == 0
    assert Waits(list(map(float, range(100)))).percentile(0.99) == 99
