"""Seeded draws: pinned, because paid answers are keyed by the prompts that they make."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from deepvalues import draw

KEYS = st.lists(st.one_of(st.integers(), st.text(alphabet="abc. ")), min_size=1, max_size=3)


def test_draws_are_those_of_the_first_release():
    assert draw.integer("a", 1) == 9331952569449725121
    assert draw.uniform("a", 1) == 0.5058861624664538
    assert draw.shuffled(range(6), "a") == [5, 4, 2, 1, 0, 3]


@given(KEYS)
def test_a_draw_depends_on_its_key_alone(key):
    assert draw.integer(*key) == draw.integer(*key)
    assert 0 <= draw.integer(*key) < 2**64
    assert 0 <= draw.uniform(*key) < 1
    assert draw.integer(*key) != draw.integer(*key, 0)


def test_the_border_between_parts_of_a_key_counts():
    assert len({draw.integer(*key) for key in [("ab", "c"), ("a", "bc"), ("abc",), ("c", "ab")]}) == 4


@given(st.lists(st.integers(), max_size=20), KEYS)
def test_a_shuffle_keeps_all_items_and_leaves_its_input_alone(items, key):
    before = list(items)
    assert Counter(draw.shuffled(items, *key)) == Counter(items)
    assert items == before
    assert draw.shuffled(items, *key) == draw.shuffled(tuple(items), *key)


def test_draws_are_uniform():
    drawn = [draw.uniform("uniform", number) for number in range(5000)]
    assert stats.kstest(drawn, "uniform").pvalue > 0.01


def test_all_orders_are_equally_likely():
    orders = Counter(tuple(draw.shuffled("abc", "order", number)) for number in range(6000))
    assert len(orders) == 6
    assert stats.chisquare(list(orders.values())).pvalue > 0.01
