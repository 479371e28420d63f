"""What kinds of rooms, receptacles and objects there are, and what goes where: data, no behaviour.

Names are ALFWorld's in lower case. Counts are rounded from its 120 published floor plans (scenes that have the
receptacle out of 30; fewest, mean and most instances in those); where the plans say little the figure is a guess of
ours. Containment is our own table, in the spirit of ALFRED's: it lists what an observer would call a sensible place.

The file is long because it is tables, and one because they name each other's rows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

TASK_TYPES = ("place", "two", "light", "clean", "heat", "cool")
ROOM_KINDS = ("kitchen", "living", "bedroom", "bathroom")
SIZES = ("full", "medium", "small", "short")

# What the task's sentence says of where the thing has to go: its kind of receptacle, as ALFWorld's do, or only that it
# goes where it belongs.
INSTRUCTIONS = ("named", "habit")

# Fixed by the domain: the receptacle type whose presence lets a verb be done.
APPLIANCES: dict[str, str] = {"heat": "microwave", "cool": "fridge", "clean": "sinkbasin"}

# What the domain calls the result of each verb.
PROCESSED_PREDICATES: dict[str, str] = {"heat": "ishot", "cool": "iscool", "clean": "isclean"}

OPENABLE = frozenset({"fridge", "cabinet", "microwave", "drawer", "safe"})
LAMPS = ("desklamp", "floorlamp")

# Types that hold nothing anybody would look for, so they are nobody's home.
NEVER_HOME = frozenset({"garbagecan", "toaster", "coffeemachine", "microwave", "cart", "safe"})


class ReceptacleCount(NamedTuple):
    """How often a receptacle type stands in a room kind: scenes out of 30, then instances where it stands."""

    scenes: int
    fewest: int
    mean: float
    most: int


def _one(scenes: int = 30) -> ReceptacleCount:
    return ReceptacleCount(scenes, 1, 1.0, 1)


FULL_ROOMS: dict[str, dict[str, ReceptacleCount]] = {
    "kitchen": {
        "cabinet": ReceptacleCount(30, 2, 11.4, 28),
        "coffeemachine": _one(),
        "countertop": ReceptacleCount(30, 1, 2.3, 4),
        "diningtable": ReceptacleCount(16, 1, 1.1, 2),
        "drawer": ReceptacleCount(25, 1, 5.8, 27),
        "fridge": _one(),
        "garbagecan": _one(),
        "microwave": _one(),
        "safe": _one(1),
        "shelf": ReceptacleCount(5, 2, 2.5, 3),
        "sidetable": _one(3),
        "sinkbasin": _one(),
        "stoveburner": ReceptacleCount(30, 4, 4.0, 4),
        "toaster": _one(),
    },
    "living": {
        "armchair": ReceptacleCount(27, 1, 1.7, 4),
        "cabinet": ReceptacleCount(4, 2, 4.0, 8),
        "coffeetable": ReceptacleCount(25, 1, 1.1, 2),
        "diningtable": ReceptacleCount(14, 1, 1.1, 2),
        "drawer": ReceptacleCount(23, 1, 5.0, 19),
        "dresser": ReceptacleCount(10, 1, 1.1, 2),
        "garbagecan": _one(),
        "ottoman": _one(4),
        "safe": _one(2),
        "shelf": ReceptacleCount(12, 2, 6.8, 14),
        "sidetable": ReceptacleCount(24, 1, 2.0, 5),
        "sofa": ReceptacleCount(30, 1, 1.3, 2),
        "tvstand": _one(12),
    },
    "bedroom": {
        "armchair": _one(6),
        "bed": ReceptacleCount(30, 1, 1.1, 2),
        "cabinet": ReceptacleCount(5, 1, 2.5, 6),
        "desk": ReceptacleCount(19, 1, 1.2, 2),
        "diningtable": _one(5),
        "drawer": ReceptacleCount(29, 1, 5.7, 14),
        "dresser": ReceptacleCount(15, 1, 1.1, 2),
        "garbagecan": _one(),
        "laundryhamper": _one(8),
        "ottoman": _one(3),
        "safe": _one(5),
        "shelf": ReceptacleCount(20, 1, 4.2, 12),
        "sidetable": ReceptacleCount(19, 1, 1.5, 3),
    },
    "bathroom": {
        "bathtubbasin": _one(20),
        "cabinet": ReceptacleCount(15, 1, 4.2, 10),
        "cart": _one(2),
        "countertop": ReceptacleCount(25, 1, 1.2, 2),
        "drawer": ReceptacleCount(15, 1, 5.2, 12),
        "garbagecan": _one(),
        "handtowelholder": ReceptacleCount(30, 1, 1.4, 2),
        "shelf": ReceptacleCount(8, 1, 2.5, 5),
        "sinkbasin": ReceptacleCount(30, 1, 1.5, 2),
        "toilet": _one(),
        "toiletpaperhanger": _one(),
        "towelholder": ReceptacleCount(30, 1, 1.2, 2),
    },
}

# Small rooms: every type stands at least once, so a home is never missing; the spread gives 8 to 12 in all.
SMALL_ROOMS: dict[str, dict[str, ReceptacleCount]] = {
    "kitchen": {
        "cabinet": ReceptacleCount(30, 1, 1.6, 3),
        "countertop": ReceptacleCount(30, 1, 1.4, 2),
        "diningtable": _one(),
        "drawer": ReceptacleCount(30, 1, 1.6, 3),
        "fridge": _one(),
        "microwave": _one(),
        "shelf": ReceptacleCount(30, 1, 1.6, 3),
        "sinkbasin": _one(),
    },
    "living": {
        "armchair": ReceptacleCount(30, 1, 1.6, 3),
        "coffeetable": ReceptacleCount(30, 1, 1.2, 2),
        "drawer": ReceptacleCount(30, 1, 2.0, 3),
        "dresser": _one(),
        "shelf": ReceptacleCount(30, 1, 1.8, 3),
        "sidetable": ReceptacleCount(30, 1, 1.4, 2),
        "sofa": ReceptacleCount(30, 1, 1.2, 2),
    },
    "bedroom": {
        "bed": ReceptacleCount(30, 1, 1.2, 2),
        "desk": ReceptacleCount(30, 1, 1.5, 2),
        "drawer": ReceptacleCount(30, 1, 2.2, 4),
        "dresser": ReceptacleCount(30, 1, 1.3, 2),
        "shelf": ReceptacleCount(30, 1, 2.0, 3),
        "sidetable": ReceptacleCount(30, 1, 1.5, 2),
    },
    "bathroom": {
        "cabinet": ReceptacleCount(30, 1, 2.2, 4),
        "countertop": ReceptacleCount(30, 1, 1.4, 2),
        "drawer": ReceptacleCount(30, 1, 2.2, 4),
        "shelf": ReceptacleCount(30, 1, 1.8, 3),
        "sinkbasin": ReceptacleCount(30, 1, 1.2, 2),
        "toilet": _one(),
    },
}

# Between the two: the kinds of things of the small house in rooms with more kinds of receptacles, 14 to 20 in all. More
# of the same kind would not do: a skill statement would then leave most of the search to be done.
MEDIUM_ROOMS: dict[str, dict[str, ReceptacleCount]] = {
    "kitchen": {
        "cabinet": ReceptacleCount(30, 1, 1.8, 3),
        "coffeemachine": _one(),
        "countertop": ReceptacleCount(30, 1, 1.4, 2),
        "diningtable": _one(),
        "drawer": ReceptacleCount(30, 1, 1.8, 3),
        "fridge": _one(),
        "garbagecan": _one(),
        "microwave": _one(),
        "shelf": ReceptacleCount(30, 1, 1.6, 3),
        "sidetable": ReceptacleCount(30, 1, 1.3, 2),
        "sinkbasin": _one(),
        "stoveburner": ReceptacleCount(30, 1, 1.8, 3),
        "toaster": _one(),
    },
    "living": {
        "armchair": ReceptacleCount(30, 1, 1.6, 3),
        "cabinet": ReceptacleCount(30, 1, 1.4, 2),
        "coffeetable": ReceptacleCount(30, 1, 1.3, 2),
        "diningtable": _one(),
        "drawer": ReceptacleCount(30, 1, 1.8, 3),
        "dresser": _one(),
        "garbagecan": _one(),
        "ottoman": _one(),
        "shelf": ReceptacleCount(30, 1, 1.8, 3),
        "sidetable": ReceptacleCount(30, 1, 1.6, 3),
        "sofa": ReceptacleCount(30, 1, 1.4, 2),
        "tvstand": _one(),
    },
    "bedroom": {
        "armchair": ReceptacleCount(30, 1, 1.3, 2),
        "bed": ReceptacleCount(30, 1, 1.3, 2),
        "cabinet": ReceptacleCount(30, 1, 1.4, 2),
        "desk": ReceptacleCount(30, 1, 1.4, 2),
        "diningtable": _one(),
        "drawer": ReceptacleCount(30, 1, 1.8, 3),
        "dresser": ReceptacleCount(30, 1, 1.3, 2),
        "garbagecan": _one(),
        "laundryhamper": _one(),
        "ottoman": _one(),
        "shelf": ReceptacleCount(30, 1, 1.8, 3),
        "sidetable": ReceptacleCount(30, 1, 1.6, 3),
    },
    "bathroom": {
        "bathtubbasin": _one(),
        "cabinet": ReceptacleCount(30, 1, 1.8, 3),
        "cart": _one(),
        "countertop": ReceptacleCount(30, 1, 1.5, 2),
        "drawer": ReceptacleCount(30, 1, 1.8, 3),
        "garbagecan": _one(),
        "handtowelholder": ReceptacleCount(30, 1, 1.4, 2),
        "shelf": ReceptacleCount(30, 1, 1.8, 3),
        "sinkbasin": ReceptacleCount(30, 1, 1.3, 2),
        "toilet": _one(),
        "toiletpaperhanger": _one(),
        "towelholder": ReceptacleCount(30, 1, 1.3, 2),
    },
}


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_FOOD = _words("countertop diningtable fridge garbagecan microwave sidetable sinkbasin")
_DISH = _words("cabinet coffeetable countertop diningtable fridge microwave shelf sidetable sinkbasin")
_CUTLERY = _words("countertop diningtable drawer sidetable sinkbasin")
_BOTTLE = _words("cabinet countertop diningtable fridge garbagecan shelf sidetable")
_COOKWARE = _words("cabinet countertop diningtable fridge sinkbasin stoveburner")
_SPICE = _words("cabinet countertop diningtable drawer shelf sidetable")
_ORNAMENT = _words("cabinet coffeetable countertop desk diningtable dresser safe shelf sidetable tvstand")
_VALUABLE = _words(
    "armchair bed coffeetable countertop desk diningtable drawer dresser ottoman safe shelf sidetable sofa tvstand"
)
_STATIONERY = _words("bed desk diningtable drawer dresser garbagecan shelf sidetable")
_READING = _words("armchair bed cabinet coffeetable desk diningtable drawer dresser ottoman shelf sidetable sofa")
_SPORTS = _words("armchair bed desk dresser ottoman sidetable sofa")
_TOILETRY = _words("bathtubbasin cabinet cart countertop drawer garbagecan shelf sidetable sinkbasin toilet")

CONTAINMENT: dict[str, tuple[str, ...]] = {
    "alarmclock": _words("bed desk dresser shelf sidetable"),
    "apple": _FOOD,
    "baseballbat": _SPORTS,
    "basketball": _SPORTS,
    "book": _READING,
    "bowl": (*_DISH, "desk", "dresser"),
    "box": _words("armchair cabinet coffeetable desk diningtable dresser ottoman shelf sidetable sofa"),
    "bread": _FOOD,
    "butterknife": _CUTLERY,
    "candle": (*_TOILETRY, "coffeetable", "desk", "dresser"),
    "cd": _words("desk drawer dresser garbagecan safe shelf sidetable"),
    "cellphone": _VALUABLE,
    "cloth": _words(
        "bathtubbasin bed cabinet cart countertop drawer dresser laundryhamper shelf sidetable sinkbasin toilet"
    ),
    "creditcard": _VALUABLE,
    "cup": _DISH,
    "desklamp": _words("coffeetable desk dresser shelf sidetable"),
    "dishsponge": _words("bathtubbasin cabinet cart countertop drawer garbagecan shelf sidetable sinkbasin toilet"),
    "egg": _FOOD,
    "floorlamp": _words("armchair coffeetable dresser sidetable sofa tvstand"),
    "fork": _CUTLERY,
    "glassbottle": _BOTTLE,
    "handtowel": _words("bathtubbasin cabinet countertop handtowelholder sinkbasin towelholder"),
    "kettle": _words("cabinet countertop diningtable shelf sinkbasin stoveburner"),
    "keychain": _VALUABLE,
    "knife": _CUTLERY,
    "ladle": (*_CUTLERY, "cabinet"),
    "laptop": _words("armchair bed coffeetable desk diningtable dresser ottoman sidetable sofa"),
    "lettuce": _words("countertop diningtable fridge garbagecan sidetable sinkbasin"),
    "mug": (*_DISH, "coffeemachine", "desk", "dresser"),
    "newspaper": (*_READING, "garbagecan"),
    "pan": _COOKWARE,
    "pen": _STATIONERY,
    "pencil": _STATIONERY,
    "peppershaker": _SPICE,
    "pillow": _words("armchair bed ottoman sofa"),
    "plate": _DISH,
    "plunger": _words("bathtubbasin cabinet cart shelf toilet"),
    "pot": _COOKWARE,
    "potato": _FOOD,
    "remotecontrol": _words(
        "armchair coffeetable desk diningtable drawer dresser ottoman shelf sidetable sofa tvstand"
    ),
    "saltshaker": _SPICE,
    "scrubbrush": _words("bathtubbasin cabinet cart shelf toilet"),
    "soapbar": _TOILETRY,
    "soapbottle": _TOILETRY,
    "spatula": _CUTLERY,
    "spoon": _CUTLERY,
    "spraybottle": _TOILETRY,
    "statue": _ORNAMENT,
    "teddybear": _SPORTS,
    "tennisracket": _SPORTS,
    "tissuebox": _words("cabinet cart coffeetable countertop desk diningtable drawer dresser shelf sidetable toilet"),
    "toiletpaper": _words("bathtubbasin cabinet cart countertop drawer shelf toilet toiletpaperhanger"),
    "tomato": _FOOD,
    "towel": _words("bathtubbasin cabinet handtowelholder towelholder"),
    "vase": _ORNAMENT,
    "watch": _VALUABLE,
    "wateringcan": _words("coffeetable drawer shelf sidetable"),
    "winebottle": _BOTTLE,
}

# Room kind -> (kinds of object that are always about, kinds that sometimes are).
FULL_OBJECTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "kitchen": (
        _words(
            "apple bowl bread butterknife cup dishsponge egg fork knife lettuce mug pan peppershaker plate pot potato "
            "saltshaker soapbottle spatula spoon tomato"
        ),
        _words("book cellphone creditcard glassbottle kettle ladle statue vase winebottle"),
    ),
    "living": (
        _words("box creditcard floorlamp keychain laptop pillow remotecontrol"),
        _words("book cellphone desklamp newspaper plate statue tissuebox vase watch wateringcan"),
    ),
    "bedroom": (
        _words("alarmclock book cd cellphone creditcard keychain laptop pen pencil pillow"),
        _words("baseballbat basketball bowl cloth desklamp mug teddybear tennisracket tissuebox"),
    ),
    "bathroom": (
        _words("candle cloth handtowel plunger scrubbrush soapbar soapbottle spraybottle toiletpaper towel"),
        _words("dishsponge tissuebox"),
    ),
}

SMALL_OBJECTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "kitchen": ((), _words("apple bread cup egg knife mug plate potato tomato")),
    "living": ((), _words("book creditcard floorlamp laptop pillow remotecontrol")),
    "bedroom": ((), _words("book cd cellphone desklamp pen")),
    "bathroom": ((), _words("candle cloth soapbar soapbottle toiletpaper")),
}

MEDIUM_OBJECTS = SMALL_OBJECTS

# Predicates of the domain that a kind of object satisfies, apart from `pickupable`.
AFFORDANCES: dict[str, frozenset[str]] = {
    "heatable": frozenset(_words("apple bread cup egg mug plate potato tomato")),
    "coolable": frozenset(_words("apple bowl bread cup egg lettuce mug pan plate pot potato tomato winebottle")),
    "cleanable": frozenset(
        _words(
            "apple bowl butterknife cloth cup dishsponge egg fork kettle knife ladle lettuce mug pan plate pot potato "
            "soapbar spatula spoon tomato"
        )
    ),
    "sliceable": frozenset(_words("apple bread egg lettuce potato tomato")),
    "toggleable": frozenset(LAMPS),
}

# Objects that the domain calls receptacles themselves; nothing is put into them in the six tasks.
MOVABLE_RECEPTACLES = frozenset({"bowl", "box", "cup", "mug", "pan", "plate", "pot"})

# Types that the domain's actions name, so every problem declares them.
DOMAIN_RECEPTACLE_TYPES = ("fridge", "microwave", "sinkbasin")
DOMAIN_OBJECT_TYPES = ("butterknife", "knife")

# Task type -> the affordance its target needs (none: anything that can be picked up).
REQUIRED_AFFORDANCE: dict[str, str] = {"heat": "heatable", "cool": "coolable", "clean": "cleanable"}

# Task type -> room kinds, each as often as it is named.
TASK_ROOMS: dict[str, tuple[str, ...]] = {
    "place": ROOM_KINDS,
    "two": ROOM_KINDS,
    "light": ("living", "bedroom"),
    "clean": ("kitchen", "kitchen", "bathroom"),
    "heat": ("kitchen",),
    "cool": ("kitchen",),
}

# ALFWorld's two sentences per task type.
TASK_SENTENCES: dict[str, tuple[str, str]] = {
    "place": ("put a {object} in {receptacle}.", "put some {object} on {receptacle}."),
    "two": ("put two {object} in {receptacle}.", "find two {object} and put them in {receptacle}."),
    "light": ("look at {object} under the {lamp}.", "examine the {object} with the {lamp}."),
    "clean": ("put a clean {object} in {receptacle}.", "clean some {object} and put it in {receptacle}."),
    "heat": ("put a hot {object} in {receptacle}.", "heat some {object} and put it in {receptacle}."),
    "cool": ("put a cool {object} in {receptacle}.", "cool some {object} and put it in {receptacle}."),
}

# The same tasks when the sentence keeps to itself where the thing has to go; these are ours, not ALFWorld's. In `light`
# tasks nothing is put anywhere, so their sentences stay as they are.
HABIT_SENTENCES: dict[str, tuple[str, str]] = {
    "place": ("put a {object} where it belongs.", "put some {object} where it belongs."),
    "two": ("put two {object} where they belong.", "find two {object} and put them where they belong."),
    "clean": ("put a clean {object} where it belongs.", "clean some {object} and put it where it belongs."),
    "heat": ("put a hot {object} where it belongs.", "heat some {object} and put it where it belongs."),
    "cool": ("put a cool {object} where it belongs.", "cool some {object} and put it where it belongs."),
}

# Paid once, at the step that wins; nothing else is paid.
WIN_REWARD = 1.0


@dataclass(frozen=True, slots=True)
class SizeTable:
    """What distinguishes the sizes of houses; ranges are inclusive.

    `habit_horizon` is the horizon of the tasks whose sentence does not name the destination.
    """

    rooms: Mapping[str, Mapping[str, ReceptacleCount]]
    objects: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]
    receptacles: tuple[int, int]
    horizon: int
    habit_horizon: int
    duplicates: tuple[int, int]
    duplicates_two: tuple[int, int]
    copies: tuple[int, int]
    sometimes: tuple[int, int]


SIZE_TABLES: dict[str, SizeTable] = {
    "full": SizeTable(
        rooms=FULL_ROOMS,
        objects=FULL_OBJECTS,
        receptacles=(5, 60),
        horizon=50,
        habit_horizon=50,
        duplicates=(1, 4),
        duplicates_two=(2, 4),
        copies=(1, 3),
        sometimes=(0, 5),
    ),
    "medium": SizeTable(
        rooms=MEDIUM_ROOMS,
        objects=MEDIUM_OBJECTS,
        receptacles=(14, 20),
        horizon=14,
        habit_horizon=19,
        duplicates=(1, 2),
        duplicates_two=(2, 3),
        copies=(1, 1),
        sometimes=(2, 5),
    ),
    "small": SizeTable(
        rooms=SMALL_ROOMS,
        objects=SMALL_OBJECTS,
        receptacles=(8, 12),
        horizon=10,
        habit_horizon=13,
        duplicates=(1, 2),
        duplicates_two=(2, 3),
        copies=(1, 1),
        sometimes=(2, 5),
    ),
}
# Small rooms in which what anyone knows of houses is not enough: what is particular to the house decides.
SIZE_TABLES["short"] = dataclasses.replace(SIZE_TABLES["small"], horizon=9, habit_horizon=11)


def horizon(size: str, instruction: str = "named") -> int:
    """Steps until truncation where an environment gets no `horizon`, and the longest plan of a generated task."""
    table = SIZE_TABLES[size]
    return table.habit_horizon if instruction == "habit" else table.horizon


def sentences(task_type: str, instruction: str = "named") -> tuple[str, str]:
    """The two sentences of a task type, with the fields ``{object}``, ``{receptacle}`` and ``{lamp}``."""
    told = HABIT_SENTENCES if instruction == "habit" else {}
    return told.get(task_type, TASK_SENTENCES[task_type])


def room_objects(size: str, kind: str) -> tuple[str, ...]:
    """All kinds of object that can be about in a room kind, sorted."""
    always, sometimes = SIZE_TABLES[size].objects[kind]
    return tuple(sorted({*always, *sometimes}))


def object_types(size: str) -> tuple[str, ...]:
    """All kinds of object of a size, sorted."""
    return tuple(sorted({name for kind in ROOM_KINDS for name in room_objects(size, kind)}))


def receptacle_types(size: str) -> tuple[str, ...]:
    """All receptacle types of a size, sorted."""
    return tuple(sorted({name for room in SIZE_TABLES[size].rooms.values() for name in room}))
