"""The benchmark runs; what it measures is no matter of a test."""

import sys

import pytest

from deepvalues.core import paths


def test_measure_gives_rates_and_ratios(monkeypatch):
    if not (paths.ROOT / "benchmarks").exists():
        pytest.skip("the benchmarks are not part of this copy")
    monkeypatch.syspath_prepend(str(paths.ROOT / "benchmarks"))
    import bench

    # Whatever else is installed here: the test asks this project's own clients only.
    monkeypatch.setattr(sys.modules["others"], "clients", lambda texts, concurrency: {})
    table = bench.measure(latency=0.0, number=50, concurrency=8, rounds=1)
    assert list(table.columns) == ["client", "requests per second", "of raw aiohttp"]
    assert list(table["client"])[:2] == ["raw aiohttp", "this engine"]
    assert (table["requests per second"] > 0).all()
    assert table["of raw aiohttp"].iloc[0] == 1
