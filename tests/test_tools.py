"""The programs beside the tests, which no other test runs, at least start."""

import pytest


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bench", "bench_keras", "chaos", "round_trip", "scale"])
def test_a_tool_explains_itself(name: str, run_script) -> None:
    assert "usage" in run_script(f"tests/{name}.py", "--help").stdout.lower()
