"""How the reward compares words: fuzzy token sets, colours reduced to base words, and the nouns of titles.

The comparisons are the original's, quirks included, because scores are only comparable that way: ``x-large`` satisfies
``large``, ``dark grey`` equals ``dark green``. Where that is not wanted, `reward` has a strict mode.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

from rapidfuzz import fuzz, utils

from ..bounded_cache import remembered
from .analysis import STOP_WORDS

# Two texts are the same when their token set ratio, in whole percent, is above this.
SAME_ABOVE = 85

# The colours of the original, in its order: the first one that a value contains replaces the whole value.
_COLOR_WORDS = """
alabaster apricot aqua ash asphalt azure banana beige black blue blush bordeaux bronze brown burgundy camel
camo caramel champagne charcoal cheetah chestnut chocolate christmas coffee cognac copper coral cranberry
cream crystal dark denim eggplant elephant espresso fuchsia gold granite grape graphite grass gray green grey
heather indigo ivory ivy khaki lavender lemon leopard light lilac lime magenta maroon mauve merlot midnight
mint mocha multicolor mushroom mustard natural navy nude olive orange peach pewter pink plum purple rainbow
red rose royal rust sand sapphire seashell silver skull slate steel stone stonewash sunflower tan taupe teal
tiger turquoise violet walnut wheat white wine yellow
"""
COLORS = tuple(_COLOR_WORDS.split())

# Words of titles that are no nouns, beyond the stop words: without a tagger, shared ones would count as kinship.
_OTHER_WORDS = """
above about across after all also any around back before best better between big both bright can classic clean
clear compact complete cool custom daily deep different down dry durable each easy eco elegant every everyday
extra fashionable fast fine firm fit fits fitted flat flexible foldable free fresh friendly from front fun
gentle genuine good great hand handmade hard healthy heavy her high his hot how large lightweight little long
loose low made many max mini modern more most multi mutual my natural new nice non off old one only open
organic original other our out outdoor over own perfect personalized plus portable premium pro professional
pure quick quiet real removable reusable rich right round safe seamless set sexy sharp short simple single
slim small smart smooth soft solid special spare strong stylish super sweet thick thin tiny top traditional
trendy two ultra under unique universal up upgraded use used vintage warm washable waterproof we well wide
wild wireless without you your
"""
NOT_NOUNS = STOP_WORDS | frozenset(_OTHER_WORDS.split())
_TITLE_WORD = re.compile(r"(?<!\w)[^\W\d_]\w*")

# The nouns of a title, in lower case, as often as they stand in it: the original divides by all of them.
TitleTokens = Callable[[str], Collection[str]]


@remembered(1 << 22)
def similar(one: str, other: str) -> bool:
    """Whether two texts count as the same: token set ratio above 85, letters of ASCII only, case ignored."""
    return round(fuzz.token_set_ratio(_comparable(one), _comparable(other))) > SAME_ABOVE


@remembered(1 << 21)
def _comparable(text: str) -> str:
    return utils.default_process(text.encode("ascii", "ignore").decode())


@remembered(1 << 21)
def base_color(value: str) -> str:
    """The value, or the first colour word that it contains, anywhere: ``standard`` becomes ``tan``."""
    return next((color for color in COLORS if color in value), value)


@remembered(1 << 21)
def title_nouns(title: str) -> tuple[str, ...]:
    """The words of a title that are taken for nouns, in lower case, in order, as often as they occur.

    The original asks a part-of-speech tagger, see `tagger.py`. Titles are lists of nouns in the main, so words that are
    not known to be something else stand for them where there is none.
    """
    return tuple(word for found in _TITLE_WORD.findall(title) if (word := found.lower()) not in NOT_NOUNS)
