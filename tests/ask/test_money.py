"""Money: costs of usage, plans, and that a maximum is never exceeded."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepvalues.ask.money import NO_USAGE, Ledger, Plan, Usage, total
from deepvalues.ask.registry import Price

PRICE = Price(input=2.0, cached=0.5, output=8.0, date="2025-05")
amounts = st.floats(0, 1e6)


def test_cost_by_hand():
    # 600 fresh tokens at $2, 400 cached at $.50, 100 written at $8, per million.
    assert Usage(1000, 400, 100).cost(PRICE) == pytest.approx((600 * 2 + 400 * 0.5 + 100 * 8) / 1e6)


@given(amounts, st.floats(0, 1), amounts)
def test_a_cache_never_costs_more(tokens, share, written):
    usage = Usage(tokens, tokens * share, written)
    assert usage.cost(PRICE) <= usage.uncached().cost(PRICE) + 1e-12
    assert usage.uncached().cached == 0


def test_total_of_nothing_is_nothing():
    assert total([]) == NO_USAGE
    assert total([Usage(1, 2, 3), Usage(4, 5, 6)]) == Usage(5, 7, 9)


def test_a_plan_names_requests_tokens_cost_and_date():
    text = "\n".join(Plan("m", 1200, Usage(2e6, 1e6, 12_000), PRICE).lines())
    assert "m: 1,200 requests" in text and "2,000,000 tokens in (1,000,000" in text
    assert "$2.60 with prefix caching, $4.10 without (prices of 2025-05)" in text


def test_a_plan_without_a_price_says_so():
    assert "cost unknown" in "\n".join(Plan("m", 1, Usage(1, 0, 1), None).lines())


def test_the_first_replies_correct_the_estimate():
    ledger = Ledger(PRICE, max_cost=10.0)
    assert ledger.correction == 1.0
    ledger.settle(ledger.reserve(Usage(100, 0, 10)), Usage(100, 0, 10), Usage(130, 0, 2))
    assert ledger.correction == pytest.approx(1.3)
    assert ledger.used == Usage(130, 0, 2)


def test_savings_of_the_cache():
    ledger = Ledger(PRICE)
    ledger.settle(ledger.reserve(NO_USAGE), NO_USAGE, Usage(1000, 1000, 0))
    assert ledger.spent == pytest.approx(0.0005)
    assert ledger.used.saved_by_caching(PRICE) == pytest.approx(0.0015)


def test_without_price_or_maximum_nothing_is_rejected():
    for ledger in (Ledger(None, 1.0), Ledger(PRICE, None)):
        assert ledger.reserve(Usage(1e12, 0, 1e12)) == 0.0


def test_a_failed_request_costs_nothing():
    ledger = Ledger(PRICE, 1.0)
    ledger.settle(ledger.reserve(Usage(100, 0, 10)), Usage(100, 0, 10), None)
    assert ledger.spent == 0 and ledger.reserved == 0 and ledger.unsettled == 0


@given(
    st.lists(st.tuples(st.floats(1, 1e4), st.floats(0.2, 1.9), st.integers(0, 10)), max_size=80),
    st.floats(0.001, 0.5),
    st.integers(1, 8),
)
def test_spending_never_exceeds_the_maximum(requests, most, in_flight):
    """Estimates are wrong by up to a factor of 1.9, with several requests in flight."""
    ledger = Ledger(PRICE, most)
    open_requests = []
    factor = None
    for tokens, off, written in requests:
        factor = factor or off  # an endpoint's tokenizer is off by the same factor throughout
        estimate = Usage(tokens, 0, 10)
        reserved = ledger.reserve(estimate)
        if reserved is not None:
            open_requests.append((reserved, estimate, Usage(tokens * factor, 0, written)))
        if len(open_requests) >= in_flight or reserved is None:
            for settled in open_requests:
                ledger.settle(*settled)
            open_requests.clear()
        assert ledger.spent <= most + 1e-9
    assert not math.isnan(ledger.spent)
