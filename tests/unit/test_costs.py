"""What a month costs: the arithmetic, and that every price says where it is from."""

import pytest

from deployment.costs import IDLE, MONTHS, PRICES, dollars, kept, main, requests


def test_an_amount_costs_its_price():
    """A million requests at 0.40, and a hundred thousand seconds of one vCPU at 2.40."""
    amounts = {"request": 1e6, "vCPU second": 100_000}

    assert dollars(amounts, free_shares=False) == pytest.approx(2.80)


def test_free_shares_are_taken_off_once_and_never_below_nothing():
    """Of four schedules three are free; of one secret six are."""
    assert dollars({"schedule": 4, "secret": 1}, free_shares=True) == pytest.approx(0.10)


def test_requests_take_an_instance_for_their_time():
    """A request of 100 ms on one vCPU with 2 GiB, of which Google bills both; and 2 kB of log lines."""
    taken = requests(10, 0.1, 2)

    assert taken["vCPU second"] == pytest.approx(1)
    assert taken["GiB second"] == pytest.approx(2)
    assert taken["request"] == 10
    assert taken["GiB of logs"] == pytest.approx(20_000 / 2**30)


def test_a_result_that_is_kept_is_one_more_request_one_write_and_two_reads():
    """It goes through Pub/Sub in and out, to store-result, to Firestore, and each night to nightly and export."""
    taken = kept(1e6)

    assert (taken["request"], taken["document written"], taken["document read"]) == (1e6, 1e6, 2e6)
    assert taken["GiB through Pub/Sub"] == pytest.approx(2e9 / 2**30)


def test_a_month_with_predictions_costs_the_idle_month_and_them():
    """By list price; free shares are spent on both together."""
    both = dollars(MONTHS["with a million, each on its own"], free_shares=False)

    assert both == pytest.approx(dollars(IDLE, free_shares=False) + dollars(requests(1e6, 0.1, 1), free_shares=False))


@pytest.mark.parametrize("title", MONTHS)
def test_a_month_is_made_of_what_has_a_price(title):
    """And free shares never make it dearer."""
    assert MONTHS[title].keys() <= PRICES.keys()
    assert 0 < dollars(MONTHS[title], free_shares=True) <= dollars(MONTHS[title], free_shares=False)


def test_every_price_is_printed_with_where_it_was_read(capsys):
    """What is not from a page of Google's says so."""
    main()

    printed = capsys.readouterr().out
    for name, (_, _, source) in PRICES.items():
        assert any(line.startswith(name) and line.endswith(source) for line in printed.splitlines())
