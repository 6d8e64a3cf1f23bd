"""A topic that keeps failing is left alone, longer each time, and tried by one caller at a time."""

from functions.predict.pauses import Pauses


class Clock:
    """Seconds that a test moves."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def paused(clock, failures=3):
    """Return pauses after some failures in a row."""
    pauses = Pauses(clock)
    for _ in range(failures):
        pauses.failed()
    return pauses


def test_two_failures_pause_nothing():
    """One bad moment is not an outage."""
    assert paused(Clock(), failures=2).allow()


def test_a_success_between_failures_begins_the_count_anew():
    """Only failures in a row count."""
    pauses = paused(Clock(), failures=2)

    pauses.succeeded()

    assert [pauses.failed(), pauses.failed(), pauses.failed()] == [None, None, 1.0]


def test_after_the_third_failure_nobody_tries_for_a_second_and_then_one():
    """The others go on being skipped until that one has its answer."""
    clock = Clock()
    pauses = paused(clock)

    clock.now += 0.99
    early = pauses.allow()
    clock.now += 0.01
    due = [pauses.allow() for _ in range(3)]

    assert not early
    assert due == [True, False, False]


def test_one_that_never_says_how_it_went_is_followed_by_another():
    """A caller that found something else wrong does not stop the trying."""
    clock = Clock()
    pauses = paused(clock)

    tries = []
    for _ in range(3):
        clock.now += 1
        tries.append(pauses.allow())

    assert tries == [True, True, True]


def test_each_further_failure_doubles_the_pause_up_to_half_a_minute():
    """1, 2, 4, 8, 16, 30, 30 seconds."""
    clock = Clock()
    pauses = paused(clock)

    lengths = []
    for seconds in (1, 2, 4, 8, 16, 30):
        clock.now += seconds
        assert pauses.allow()
        lengths.append(pauses.failed())

    assert lengths == [2, 4, 8, 16, 30, 30]


def test_those_who_were_trying_when_the_pause_began_make_it_no_longer():
    """Sixteen that time out together are one outage."""
    clock = Clock()
    pauses = paused(clock)

    clock.now += 0.1
    late = [pauses.failed() for _ in range(13)]
    clock.now += 0.9

    assert late == [None] * 13
    assert pauses.allow()


def test_a_success_ends_the_pause():
    """Everybody tries again, and a new outage begins with a short pause."""
    clock = Clock()
    pauses = paused(clock)
    clock.now += 1
    pauses.allow()

    pauses.succeeded()

    assert [pauses.allow(), pauses.allow()] == [True, True]
    assert [pauses.failed(), pauses.failed(), pauses.failed()] == [None, None, 1.0]
