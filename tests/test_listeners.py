"""The summary of listening tests: shares with their intervals, and how far listeners agree."""

import dataclasses

import numpy as np
import pytest

from shared.evaluation.listeners import agreement, wilson_interval
from shared.listening.answers import Answer, summarise


def answers(source: str, label: str, answered: list[tuple[str, str]]) -> list[Answer]:
    return [Answer(f"{source}{label}{i}", source, label, *said, 1.0) for i, said in enumerate(answered)]


def test_the_summary_has_a_row_for_each_source_and_class() -> None:
    given = answers("real", "dog", [("dog", "recorded")] * 4) + answers("real", "siren", [("dog", "made")] * 4)
    given += answers("cgan", "dog", [("dog", "made")] * 3 + [("siren", "recorded")])
    said = [" ".join(line.split()) for line in summarise([given]).splitlines()]
    assert said[1] == "real clips 8 50 % (22 to 78) 50 % (22 to 78)"
    assert said[2] == "dog 4 100 % (51 to 100) 100 % (51 to 100)"
    assert said[4] == "made by cgan 4 75 % (30 to 95) 25 % (5 to 70)"
    assert "Recorded and made told apart: 58 % (32 to 81). Guessing gives 50 %." in said
    assert "Guessing names the class right in 50 % of the cases." in said


def test_listeners_are_pooled_by_sound_and_compared() -> None:
    first = answers("cgan", "dog", [("dog", "made"), ("dog", "recorded"), ("dog", "made"), ("dog", "made")])
    second = [dataclasses.replace(answer, origin="made") for answer in first]
    said = summarise([first, second])
    assert "8 100 % (51 to 100) 12 % (1 to 60)" in " ".join(said.split())  # the interval of four sounds
    assert "They agree on recorded or made in 75 % of pairs (Krippendorff's alpha 0.00)." in said
    other = [dataclasses.replace(answer, sound="x" + answer.sound) for answer in second]
    assert "No two of them heard the same sound" in summarise([first, other])


def test_wilson_intervals_agree_with_published_ones() -> None:
    # Newcombe 1998, Statistics in Medicine 17, table I, method 3
    for (r, n), expected in {(81, 263): (0.2553, 0.3662), (15, 148): (0.0624, 0.1605), (0, 20): (0, 0.1611)}.items():
        assert wilson_interval(r / n, n) == pytest.approx(expected, abs=6e-5)
    assert wilson_interval(1.0, 29) == pytest.approx((0.8830, 1.0), abs=6e-5)


def test_alpha_agrees_with_the_published_example() -> None:
    # Krippendorff 2011, Computing Krippendorff's Alpha-Reliability, C: four observers, missing values, alpha .743
    observers = ["123321412...", "1233224125.3", ".3332342251.", "12332441251."]
    units = [[value for value in given if value != "."] for given in zip(*observers, strict=True)]
    assert agreement(units)[1] == pytest.approx(0.743, abs=0.001)


def test_agreement_is_1_for_equal_answers_and_about_0_for_chance() -> None:
    rng = np.random.default_rng(0)
    random = rng.integers(0, 4, size=(4000, 2)).tolist()
    assert agreement([[a, a] for a, _ in random]) == (1.0, 1.0)
    assert agreement(random) == pytest.approx((0.25, 0.0), abs=0.03)
    assert agreement([["a"], ["b"]]) is None and np.isnan(agreement([["a", "a"]])[1])
