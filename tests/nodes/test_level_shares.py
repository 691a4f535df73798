"""Sequences are shifted between scenarios until every level has its share, and no further than that."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vln_heatmap.nodes.level_shares import meet_levels

PART = {"a": "one", "b": "one", "c": "two", "d": "two"}
SERVED = {"a": ("even",), "b": ("odd",), "c": ("even", "odd"), "d": ()}


def served_by(counts: dict[str, int], level: str) -> int:
    return sum(n for key, n in counts.items() if level in SERVED[key])


def test_a_plan_that_serves_every_level_is_left_alone() -> None:
    wanted = {"a": 5, "b": 5, "c": 0, "d": 10}
    assert meet_levels(wanted, PART, SERVED, {"even": 0.25, "odd": 0.25}) == wanted


def test_the_missing_sequences_are_shifted_within_their_part() -> None:
    """Of 20, "even" needs 8 and has 5; b and d can give to a and c."""
    found = meet_levels({"a": 5, "b": 5, "c": 0, "d": 10}, PART, SERVED, {"even": 0.4})
    assert served_by(found, "even") == 8  # as few as will do
    assert found["a"] + found["b"] == found["c"] + found["d"] == 10


def test_no_scenario_gives_a_greater_share_of_itself_than_it_must() -> None:
    """x, which serves the level, grows by 6 of 40; so neither y nor z need shrink by more than that share."""
    part = dict.fromkeys("xyz", "one")
    found = meet_levels({"x": 40, "y": 40, "z": 20}, part, {"x": ("l",), "y": (), "z": ()}, {"l": 0.46})
    assert found["x"] == 46
    assert found["y"] >= 40 * (1 - 6 / 40)
    assert found["z"] >= 20 * (1 - 6 / 40)


@given(st.fixed_dictionaries({key: st.integers(0, 40) for key in PART}), st.floats(0, 0.6), st.floats(0, 0.6))
def test_what_comes_out_reaches_every_level_or_nothing_could(
    wanted: dict[str, int], even: float, odd: float
) -> None:
    total = sum(wanted.values())
    need = {"even": int(even * total + 1e-9), "odd": int(odd * total + 1e-9)}
    ones, twos = wanted["a"] + wanted["b"], wanted["c"] + wanted["d"]
    possible = any(a + twos >= need["even"] and (ones - a) + twos >= need["odd"] for a in range(ones + 1))
    try:
        found = meet_levels(wanted, PART, SERVED, {"even": even, "odd": odd})
    except ValueError:
        assert not possible
    else:
        assert possible
        assert (found["a"] + found["b"], found["c"] + found["d"]) == (ones, twos)
        assert min(found.values()) >= 0
        assert all(served_by(found, level) >= count for level, count in need.items())


def test_a_level_out_of_reach_is_refused_with_the_numbers() -> None:
    wanted = {"a": 5, "b": 5, "c": 2, "d": 8}
    served = SERVED | {"a": ("even",), "c": ("odd",)}
    with pytest.raises(
        ValueError, match=r"level 'even' needs 12 of 20 .* in the parts \['one'\], which have 10"
    ):
        meet_levels(wanted, PART, served, {"even": 0.6})
    with pytest.raises(ValueError, match=r"in the parts \[\], which have 0"):
        meet_levels(wanted, PART, served, {"other": 0.05})


def test_levels_that_shut_each_other_out_are_refused_with_the_numbers() -> None:
    served = {"a": ("even",), "b": ("odd",), "c": (), "d": ()}
    with pytest.raises(ValueError, match=r"at once; of 20 .* even 6 \(has 5\), odd 6 \(has 5\)"):
        meet_levels({"a": 5, "b": 5, "c": 5, "d": 5}, PART, served, {"even": 0.3, "odd": 0.3})
