"""Which checkpoints are ready: settled, readable, and new or changed."""

from entangle_cli.runs.watch.arrivals import Arrivals


def due_times(arrivals, looks, *, opened=True):
    """At which seconds each name is due, with ``looks`` one look a second."""
    found = []
    for now, seen in enumerate(looks):
        for name in arrivals.look(seen, float(now)):
            found.append((name, now))
            if opened:
                arrivals.take(name)
            else:
                arrivals.refuse(name, float(now))
    return found


def test_a_file_is_due_once_it_has_settled_and_only_once():
    looks = [{"a": 1}, {"a": 2}, {"a": 3}, {"a": 3}, {"a": 3}, {"a": 3}, {"a": 3}]
    assert due_times(Arrivals(settle=2), looks) == [("a", 4)]


def test_a_file_that_keeps_growing_is_never_due():
    assert due_times(Arrivals(settle=2), [{"a": size} for size in range(50)]) == []


def test_other_content_under_the_same_name_is_due_again():
    looks = [{"a": 1}] * 4 + [{"a": 2}] * 4
    assert due_times(Arrivals(settle=2), looks) == [("a", 2), ("a", 6)]


def test_a_name_that_goes_and_comes_back_is_new():
    looks = [{"a": 1}] * 4 + [{}] + [{"a": 1}] * 4
    assert due_times(Arrivals(settle=2), looks) == [("a", 2), ("a", 7)]


def test_files_settle_each_by_itself_and_come_in_the_given_order():
    looks = [{"b": 1, "a": 1}, {"b": 1, "a": 1}, {"b": 1, "a": 1, "c": 1}] + 3 * [
        {"c": 1, "b": 1, "a": 1}
    ]
    assert due_times(Arrivals(settle=2), looks) == [("b", 2), ("a", 2), ("c", 4)]


def test_what_cannot_be_read_is_tried_ever_more_rarely():
    looks = [{"a": 1}] * 60
    arrivals = Arrivals(settle=2, patience=20)
    assert due_times(arrivals, looks, opened=False) == [
        ("a", 2), ("a", 4), ("a", 8), ("a", 16), ("a", 20),
    ]  # fmt: skip
    assert not arrivals.pending


def test_the_end_of_patience_is_told_once_and_again_after_a_change():
    arrivals = Arrivals(settle=1, patience=5)
    told = []
    for now in range(60):
        due = arrivals.look({"a": now // 30}, float(now))
        told += [now for name in due if arrivals.refuse(name, float(now))]
    assert told == [5, 35]


def test_asking_again_needs_no_change():
    arrivals = Arrivals(settle=1)
    assert due_times(arrivals, [{"a": 1}] * 3) == [("a", 1)]
    arrivals.again("a", 3.0)
    arrivals.again("gone", 3.0)
    assert arrivals.look({"a": 1}, 3.0) == ["a"]


def test_news_is_the_last_change_seen():
    arrivals = Arrivals(settle=1)
    assert arrivals.last_change is None
    arrivals.look({"a": 1}, 3.0)
    arrivals.look({"a": 1, "b": 1}, 7.0)
    arrivals.look({"a": 1, "b": 1}, 9.0)
    assert arrivals.last_change == 7.0
    assert arrivals.pending
