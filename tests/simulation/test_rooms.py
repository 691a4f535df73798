"""Which room a floor point is in, on several storeys."""

import pytest

from vln_heatmap.simulation.scene import Room, room_at

ROOMS = (Room("hall", (0, 0, 4, 4)), Room("landing", (0, 0, 2, 4), 2.8), Room("bath", (2.2, 0, 4, 4), 2.8))


@pytest.mark.parametrize(
    ("point", "room"),
    [
        ((1, 0.0, 1), 0),
        ((1, 1.4, 1), 0),  # half way up the stairs
        ((1, 2.8, 1), 1),
        ((1, 2.4, 1), 1),  # a step below the landing
        ((3, 2.8, 1), 2),
        ((2.1, 2.8, 1), -1),  # in the doorway upstairs, over the hall
        ((5, 0.0, 1), -1),
    ],
)
def test_a_point_is_in_a_room_of_its_own_storey(point: tuple[float, float, float], room: int) -> None:
    x, y, z = point
    assert room_at(ROOMS, x, z, y) == room
