"""The tables that trips are made of: names, sizes, and the numbers that do not change from trip to trip.

Money is counted in cents and time in minutes, as integers. Names of cities and people belong to one split each.
"""

from __future__ import annotations

from dataclasses import dataclass

SIZES = ("full", "small")
TASK_TYPES = ("visit", "clash", "budget")
SPLIT_SIZES = {"train": 100_000, "valid": 2_000, "test": 2_000}
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
HOUR = 60
DAY = 24 * HOUR

AIRPORT = "airport"
BASIC, FLEX = "basic", "flex"
FIRST, LAST = "first", "last"

# Share of the trips that obey a regularity, by default.
REGULARITY = 0.85
# Share of old bookings that show what the person needs and likes.
TELLING = 0.5
# How long before a departure one has to leave for the airport's gate, and how long after an arrival one is at home.
CHECK_IN = 60
HOMEWARD = 45
# Longest way from the hotel to the office, in minutes.
REACH = 15
# What a flight of the airline that the person likes is worth, in cents.
LIKED = 3_000
# What cancelling costs where it is possible, in cents.
FEES = {"flight": 2_500, "hotel": 1_000, "dinner": 0}
# What a person can be asked for.
TOPICS = ("office", "hotel", "food", "airline")


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeTable:
    """What distinguishes a small world from a full one.

    Attributes:
        districts: Of every city.
        cuisines: What restaurants cook.
        features: What a hotel has, one each.
        companies: For whom people travel.
        airlines: All of them.
        route_airlines: How many serve a route.
        flights: Offers of each of them.
        hotels: In each district.
        restaurants: Of each cuisine.
        page: Rows of a page of results.
        answers: Questions that the person answers.
        old_trips: Trips that old bookings show.
        grid: Flights and entries begin at multiples of so many minutes.
        travel: Least and longest way from the airport to a district, in minutes.
        between: The same between two districts.
        margins: How long before a meeting a company wants its people there, in minutes: one of these.
        fares: Which fares a company may allow: one of these.
        nights: Fewest and most nights.
        horizon: Calls.
    """

    districts: tuple[str, ...]
    cuisines: tuple[str, ...]
    features: tuple[str, ...]
    companies: tuple[str, ...]
    airlines: tuple[str, ...]
    route_airlines: int
    flights: int
    hotels: int
    restaurants: int
    page: int
    answers: int
    old_trips: int
    grid: int
    travel: tuple[int, int]
    between: tuple[int, int]
    margins: tuple[int, ...]
    fares: tuple[tuple[str, ...], ...]
    nights: tuple[int, int]
    horizon: int


SIZE_TABLES = {
    "full": SizeTable(
        districts=("river", "museum", "harbour", "station", "garden", "market"),
        cuisines=("thai", "greek", "indian", "mexican", "french", "korean"),
        features=("gym", "desk", "pool", "parking", "kitchen", "balcony"),
        companies=(
            *("nordlys", "tessera", "ombra", "kestrel", "lumen", "quarry"),
            *("sable", "vantage", "wicker", "zephyr"),
        ),
        airlines=("kite", "heron", "swift", "comet", "tern", "condor"),
        route_airlines=3,
        flights=4,
        hotels=5,
        restaurants=4,
        page=4,
        answers=1,
        old_trips=2,
        grid=15,
        travel=(15, 45),
        between=(10, 40),
        margins=(30, 45, 60),
        fares=((BASIC, FLEX), (BASIC, FLEX), (FLEX,)),
        nights=(1, 2),
        horizon=18,
    ),
    "small": SizeTable(
        districts=("river", "museum", "harbour", "station"),
        cuisines=("thai", "greek", "indian", "mexican"),
        features=("gym", "desk", "pool", "parking"),
        companies=("nordlys", "tessera", "ombra", "kestrel"),
        airlines=("kite", "heron", "swift"),
        route_airlines=2,
        flights=2,
        hotels=3,
        restaurants=3,
        page=4,
        answers=1,
        old_trips=2,
        grid=60,
        travel=(10, 30),
        between=(20, 40),
        margins=(30,),
        fares=((BASIC, FLEX),),
        nights=(1, 1),
        horizon=12,
    ),
}

_CITIES = {
    "train": (
        *("aarhus", "basel", "cadiz", "dijon", "essen", "faro", "ghent", "haifa", "izmir", "jena", "kaunas", "leeds"),
        *("malmo", "nantes", "oulu", "porto", "riga", "siena", "turin", "uppsala", "vaasa", "wroclaw"),
    ),
    "valid": ("bergen", "cork", "dresden", "ferrara", "graz", "lyon", "modena", "poznan", "split", "vigo"),
    "test": ("antwerp", "brno", "coimbra", "delft", "genoa", "krakow", "linz", "parma", "tartu", "zagreb"),
}
_PEOPLE = {
    "train": (
        *("ada", "bruno", "clara", "dario", "elin", "felix", "greta", "hugo", "ines", "jonas", "karin", "luca"),
        *("mila", "nils", "olga", "paul", "rosa", "sven", "tilda", "viktor"),
    ),
    "valid": ("agnes", "boris", "celia", "david", "emma", "frida", "georg", "hanna", "ivan", "judit"),
    "test": ("alma", "bela", "carla", "dora", "erik", "fabio", "gina", "henrik", "irma", "jakob"),
}
_SMALL_NAMES = 6


def cities(size: str, split: str) -> tuple[str, ...]:
    """The cities of a split; no other split has any of them."""
    return _CITIES[split][:_SMALL_NAMES] if size == "small" else _CITIES[split]


def people(size: str, split: str) -> tuple[str, ...]:
    """The people of a split; no other split has any of them."""
    return _PEOPLE[split][:_SMALL_NAMES] if size == "small" else _PEOPLE[split]


# What entries of a calendar are called.
MEETING, WRAP_UP = "meeting", "wrap-up"
HOME_ENTRIES = ("dentist", "school play", "choir", "team call", "house viewing", "parents")
VIAS = ("frankfurt", "zurich", "vienna", "munich")
HOTEL_WORDS = (
    ("old", "new", "grand", "quiet", "royal", "little"),
    ("anchor", "bridge", "crown", "lantern", "mill", "rose", "swan", "tower"),
)
TABLE_WORDS = (
    ("blue", "golden", "green", "red", "silver", "white"),
    ("bowl", "fork", "garden", "kettle", "oven", "pepper", "plate", "spoon"),
)
