"""The cells: counted by hand, and that the committed file is what the code builds."""

from collections import Counter
from dataclasses import replace

import pytest
import yaml

from deepvalues.core import paths
from deepvalues.core.errors import UserError
from deepvalues.studies.dvb.stimuli.design import balanced_order, build_design, load_design, write_design

SEEDS = (20251102, 1, 2)


@pytest.fixture(scope="module")
def built(bank):
    """Designs of several seeds, the paper's first."""
    return {seed: build_design(bank, seed) for seed in SEEDS}


@pytest.fixture(params=SEEDS)
def cells(built, request):
    return built[request.param].cells


def directed(cell):
    return cell.dimension, cell.direction


def test_400_cells_with_ids_and_users_of_their_own(cells):
    assert [cell.id for cell in cells] == [f"c{number:03d}" for number in range(400)]
    assert len({cell.user for cell in cells}) == 400


def test_all_50_ordered_pairs_inside_the_two_sets_in_all_8_domains(cells, bank):
    pairs = Counter((cell.v1, cell.v2) for cell in cells)
    assert len(pairs) == 6 * 5 + 5 * 4
    assert set(pairs.values()) == {8}
    assert len({(cell.v1, cell.v2, cell.domain) for cell in cells}) == 400
    assert {cell.domain for cell in cells} == set(bank.domains)
    assert all(v1 != v2 and bank.values[v1].group == bank.values[v2].group for v1, v2 in pairs)


def test_every_directed_dimension_in_exactly_10_cells(cells, bank):
    counts = Counter(map(directed, cells))
    assert set(counts) == {(name, way) for name in bank.dimensions for way in ("forward", "reversed")}
    assert set(counts.values()) == {10}


def test_directed_dimensions_are_spread_over_domains(cells):
    """10 cells in 8 domains: in each domain once or twice."""
    counts = Counter((directed(cell), cell.domain) for cell in cells)
    assert len(counts) == 40 * 8
    assert Counter(counts.values()) == {1: 40 * 6, 2: 40 * 2}


def test_directed_dimensions_are_spread_over_value_sets(cells, bank):
    """240 cells have a Ross duty and 160 a Schwartz value: 6 and 4 for each of 40."""
    counts = Counter((directed(cell), bank.values[cell.v1].group) for cell in cells)
    sizes = {"ross_duty": 6, "schwartz_social": 4}
    assert len(counts) == 80
    assert all(count == sizes[group] for (_, group), count in counts.items())


def test_no_directed_dimension_meets_a_preferred_value_twice(cells):
    assert max(Counter((directed(cell), cell.v1) for cell in cells).values()) == 1


def test_no_directed_dimension_meets_a_rejected_value_more_than_twice(cells):
    assert max(Counter((directed(cell), cell.v2) for cell in cells).values()) <= 2


# ---- the balanced order ----


@pytest.fixture(scope="module")
def orders(built):
    return {seed: [each.cells[place] for place in balanced_order(each)] for seed, each in built.items()}


def test_the_balanced_order_has_every_cell_once_and_depends_on_its_design_alone(built, orders):
    for seed, order in orders.items():
        assert Counter(cell.id for cell in order) == Counter(cell.id for cell in built[seed].cells)
        assert [built[seed].cells[place] for place in balanced_order(built[seed])] == order
    assert len({tuple(cell.id for cell in order) for order in orders.values()}) == len(SEEDS)


@pytest.mark.parametrize("seed", SEEDS)
def test_beginnings_of_the_balanced_order_are_balanced(orders, seed, bank):
    """Of 50, 100 and 200 cells, the sizes of the sets: value pairs evenly, the rest to within a few."""
    for count in (50, 100, 200):
        part = orders[seed][:count]
        pairs = Counter((cell.v1, cell.v2) for cell in part)
        assert len(pairs) == min(50, count)
        assert max(pairs.values()) - min(pairs.values()) <= (1 if count < 200 else 2)
        domains = Counter(cell.domain for cell in part)
        assert set(domains) == set(bank.domains)
        assert max(domains.values()) - min(domains.values()) <= 3
        dimensions = Counter(map(directed, part))
        assert max(dimensions.values()) <= count / 40 + 2
        assert len(dimensions) >= min(40, count) * 0.8
        assert sum(bank.values[cell.v1].group == "ross_duty" for cell in part) == pytest.approx(
            0.6 * count, abs=3
        )


def test_a_design_depends_on_its_seed_alone(built, bank):
    again = build_design(bank, SEEDS[1])
    assert again == built[SEEDS[1]]
    assert len({tuple(map(directed, design.cells)) for design in built.values()}) == len(SEEDS)


def test_the_committed_design_is_what_the_code_builds(built, design, bank):
    assert design == built[design.seed]
    assert design.bank == bank.version


def test_the_committed_file_is_rewritten_to_the_byte(design, bank, tmp_path):
    write_design(design, tmp_path / "designs.yml")
    assert (tmp_path / "designs.yml").read_bytes() == paths.DESIGNS.read_bytes()
    assert load_design(tmp_path / "designs.yml", bank) == design


def changed(entry, **cell):
    entry["cells"][7].update(cell)


def without(entry, *keys):
    for key in keys[:-1]:
        entry = entry[key]
    del entry[keys[-1]]


FAULTS = [
    (lambda entry: changed(entry, v1="courage"), "cell c007: unknown value courage"),
    (lambda entry: changed(entry, v2="courage"), "cell c007: unknown value courage"),
    (lambda entry: changed(entry, domain="farming"), "cell c007: unknown domain farming"),
    (lambda entry: changed(entry, dimension="colour"), "cell c007: unknown dimension colour"),
    (lambda entry: changed(entry, direction="backward"), "cell c007: unknown direction backward"),
    (lambda entry: entry.update(bank="v2"), "made for bank v2, but the bank read is v1"),
    (lambda entry: entry.update(seed="many"), "not a design"),
    (lambda entry: changed(entry, colour="red"), r"not a design .*'colour'"),
    (lambda entry: without(entry, "seed"), r"not a design .*'seed'"),
    (lambda entry: without(entry, "bank"), r"not a design .*'bank'"),
    (lambda entry: without(entry, "cells"), r"not a design .*'cells'"),
    (lambda entry: without(entry, "cells", 7, "user"), r"not a design .*'user'"),
]


@pytest.mark.parametrize(("change", "message"), FAULTS)
def test_a_fault_in_the_file_is_named(bank, design, tmp_path, change, message):
    path = tmp_path / "designs.yml"
    write_design(replace(design, cells=design.cells[:10]), path)
    entry = yaml.safe_load(path.read_text(encoding="utf-8"))
    change(entry)
    path.write_text(yaml.safe_dump(entry), encoding="utf-8")
    with pytest.raises(UserError, match=rf"designs\.yml: {message}"):
        load_design(path, bank)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "the file is empty"), (b"cells: [", "not valid YAML"), (b"\xff", "not valid YAML")],
)
def test_a_malformed_file_is_named(bank, tmp_path, content, message):
    (tmp_path / "designs.yml").write_bytes(content)
    with pytest.raises(UserError, match=rf"designs\.yml: {message}"):
        load_design(tmp_path / "designs.yml", bank)


def test_a_missing_file_is_named(bank, tmp_path):
    with pytest.raises(UserError, match=r"none\.yml: file not found"):
        load_design(tmp_path / "none.yml", bank)
