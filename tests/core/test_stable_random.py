"""Seeded draws must never change, because paid answers are keyed by the prompts that depend on them."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from deepvalues.core import stable_random

KEYS = st.lists(st.one_of(st.integers(), st.text(alphabet="abc. ")), min_size=1, max_size=3)


def test_draws_never_change():
    assert stable_random.integer("a", 1) == 9331952569449725121
    assert stable_random.uniform("a", 1) == 0.5058861624664538
    assert stable_random.shuffled(range(6), "a") == [5, 4, 2, 1, 0, 3]


@given(KEYS)
def test_a_draw_depends_only_on_its_key(key):
    assert stable_random.integer(*key) == stable_random.integer(*key)
    assert 0 <= stable_random.integer(*key) < 2**64
    assert 0 <= stable_random.uniform(*key) < 1
    assert stable_random.integer(*key) != stable_random.integer(*key, 0)


def test_parts_of_a_key_are_separated():
    assert (
        len({stable_random.integer(*key) for key in [("ab", "c"), ("a", "bc"), ("abc",), ("c", "ab")]}) == 4
    )


@given(st.lists(st.integers(), max_size=20), KEYS)
def test_a_shuffle_keeps_all_items_and_its_input(items, key):
    before = list(items)
    assert Counter(stable_random.shuffled(items, *key)) == Counter(items)
    assert items == before
    assert stable_random.shuffled(items, *key) == stable_random.shuffled(tuple(items), *key)


def test_draws_are_uniform():
    drawn = [stable_random.uniform("uniform", number) for number in range(5000)]
    assert stats.kstest(drawn, "uniform").pvalue > 0.01


def test_all_orders_are_equally_likely():
    orders = Counter(tuple(stable_random.shuffled("abc", "order", number)) for number in range(6000))
    assert len(orders) == 6
    assert stats.chisquare(list(orders.values())).pvalue > 0.01
