"""The tables of the generated world: what there is, what can be said of it, and in which words.

Questions and passages speak differently on purpose. A question asks for the *mayor*; the sources of a world call that
office *steward*, or *reeve*, and which of its terms a world prefers is one of its regularities (`regularities`). No
term stands in a question's wording, in filler, in a name or in a value: a test holds that.

The tables stay in one file, though it is long, because a word may stand in one of them only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from . import small

SIZES = ("full", "small")
TASK_TYPES = ("direct", "attribute", "compare", "multi_hop")

# The year in which every source was written.
PRESENT = 1640


@dataclass(frozen=True, slots=True)
class Relation:
    """One functional relation.

    Attributes:
        name: The word of questions, and the key that a skill bank is asked with.
        subject: Entity type.
        object: Entity type, or ``word``, ``river``, ``year``, ``date``, ``number``.
        terms: What sources may call it; a world prefers one.
        questions: Wordings with ``{S}``.
        phrases: Noun phrases with ``{S}``, for the inside of a multi-hop question.
        sentences: What a source says, with ``{S}``, ``{O}`` and ``{term}``.
        superlatives: For ordered values: the two wordings that ask for the least and the greatest of several.
    """

    name: str
    subject: str
    object: str
    terms: tuple[str, ...]
    questions: tuple[str, ...]
    phrases: tuple[str, ...]
    sentences: tuple[str, ...]
    superlatives: tuple[str, str] | None = None

    @property
    def entity_valued(self) -> bool:
        """Whether its values are entities, so that a chain can go on from them."""
        return self.object in ENTITY_TYPES


ENTITY_TYPES = ("person", "city", "region", "work", "organisation")

# The kinds of sources; which of them states a relation is a regularity.
KINDS = ("register", "chronicle", "gazette", "almanac", "ledger", "codex", "journal", "digest")

_RELATIONS = (
    Relation(
        "birthplace",
        "person",
        "city",
        ("cradle", "nativity", "hometown", "fatherland"),
        ("Where was {S} born?", "In which city was {S} born?", "Which city is the birthplace of {S}?"),
        ("the birthplace of {S}", "the city where {S} was born"),
        (
            "The {term} of {S} was {O}.",
            "{O} is recorded as the {term} of {S}.",
            "As for the {term}, {S} always named {O}.",
        ),
    ),
    Relation(
        "birthdate",
        "person",
        "date",
        ("nameday", "firstlight", "advent", "swaddling"),
        ("When was {S} born?", "What is the birthdate of {S}?", "On what date was {S} born?"),
        (),
        ("The {term} of {S} fell on {O}.", "{S} had {O} as {term}.", "For {S} the {term} is given as {O}."),
        ("Who was born first: {C}?", "Who was born last: {C}?"),
    ),
    Relation(
        "occupation",
        "person",
        "word",
        ("craft", "calling", "livelihood", "metier"),
        ("What is the occupation of {S}?", "What does {S} do for a living?", "What is the profession of {S}?"),
        (),
        ("By {term}, {S} was a {O}.", "The {term} of {S} was that of a {O}.", "{S} took up the {term} of {O}."),
    ),
    Relation(
        "spouse",
        "person",
        "person",
        ("consort", "helpmeet", "companion", "betrothed"),
        ("Who is the spouse of {S}?", "Who is married to {S}?", "To whom is {S} married?"),
        ("the spouse of {S}", "the person married to {S}"),
        ("The {term} of {S} was {O}.", "{O} became the {term} of {S}.", "{S} chose {O} as {term}."),
    ),
    Relation(
        "school",
        "person",
        "organisation",
        ("lyceum", "studium", "seminary", "athenaeum"),
        ("Where did {S} study?", "Which school did {S} attend?", "At which institution was {S} educated?"),
        ("the school of {S}", "the institution where {S} studied"),
        ("The {term} of {S} was {O}.", "{S} entered {O} as {term} of choice.", "{O} is named as the {term} of {S}."),
    ),
    Relation(
        "mentor",
        "person",
        "person",
        ("preceptor", "tutor", "instructor", "guide"),
        ("Who is the mentor of {S}?", "Who taught {S}?", "By whom was {S} taught?"),
        ("the mentor of {S}", "the person who taught {S}"),
        ("The {term} of {S} was {O}.", "{O} acted as {term} to {S}.", "{S} had {O} for a {term}."),
    ),
    Relation(
        "region",
        "city",
        "region",
        ("shire", "canton", "bailiwick", "riding"),
        ("In which region is {S}?", "Which region does {S} belong to?", "What region is {S} a part of?"),
        ("the region of {S}", "the region that {S} belongs to"),
        ("{S} lies in the {term} of {O}.", "The {term} around {S} is {O}.", "{O} is the {term} that holds {S}."),
    ),
    Relation(
        "river",
        "city",
        "river",
        ("stream", "waterway", "torrent", "watercourse"),
        ("Which river flows through {S}?", "On which river does {S} lie?", "What is the river of {S}?"),
        (),
        ("The {term} of {S} is the {O}.", "{S} drinks from the {term} {O}.", "The {O} is the {term} of {S}."),
    ),
    Relation(
        "charter",
        "city",
        "year",
        ("franchise", "patent", "enfeoffment", "incorporation"),
        ("In what year was {S} chartered?", "When did {S} receive its charter?", "Since what year is {S} chartered?"),
        (),
        ("The {term} of {S} dates from {O}.", "{S} received its {term} in {O}.", "In {O} came the {term} of {S}."),
        ("Which was chartered first: {C}?", "Which was chartered last: {C}?"),
    ),
    Relation(
        "population",
        "city",
        "number",
        ("headcount", "census", "souls", "hearths"),
        ("What is the population of {S}?", "How many people live in {S}?", "How many inhabitants has {S}?"),
        (),
        ("The {term} of {S} came to {O}.", "For {S} the {term} is put at {O}.", "{S} has {O} by {term}."),
        ("Which has the fewest inhabitants: {C}?", "Which has the most inhabitants: {C}?"),
    ),
    Relation(
        "mayor",
        "city",
        "person",
        ("steward", "reeve", "provost", "burgomaster"),
        ("Who is the mayor of {S}?", "Who governs {S}?", "By whom is {S} governed?"),
        ("the mayor of {S}", "the person who governs {S}"),
        ("The {term} of {S} is {O}.", "{O} serves as {term} of {S}.", "{S} has {O} for its {term}."),
    ),
    Relation(
        "capital",
        "region",
        "city",
        ("metropolis", "residency", "citadel", "throne"),
        ("What is the capital of {S}?", "Which city is the capital of {S}?", "From which city is {S} ruled?"),
        ("the capital of {S}", "the city from which {S} is ruled"),
        ("The {term} of {S} is {O}.", "{O} is the {term} of {S}.", "{S} keeps its {term} in {O}."),
    ),
    Relation(
        "emblem",
        "region",
        "word",
        ("crest", "sigil", "blazon", "badge"),
        ("What is the emblem of {S}?", "What does the emblem of {S} show?", "Which emblem does {S} carry?"),
        (),
        ("The {term} of {S} shows a {O}.", "{S} bears a {O} as its {term}.", "A {O} is the {term} of {S}."),
    ),
    Relation(
        "creator",
        "work",
        "person",
        ("author", "artificer", "wright", "originator"),
        ("Who created {S}?", "Who is the creator of {S}?", "By whom was {S} made?"),
        ("the creator of {S}", "the person who created {S}"),
        ("The {term} of {S} is {O}.", "{O} is named as {term} of {S}.", "{S} has {O} for its {term}."),
    ),
    Relation(
        "completion",
        "work",
        "year",
        ("vintage", "debut", "colophon", "issuance"),
        ("In what year was {S} completed?", "When was {S} completed?", "In which year was {S} finished?"),
        (),
        ("The {term} of {S} is dated {O}.", "{S} bears {O} as its {term}.", "In {O} falls the {term} of {S}."),
        ("Which was completed first: {C}?", "Which was completed last: {C}?"),
    ),
    Relation(
        "genre",
        "work",
        "word",
        ("idiom", "vein", "mould", "strain"),
        ("What is the genre of {S}?", "Which genre does {S} belong to?", "What genre is {S}?"),
        (),
        ("The {term} of {S} is {O}.", "In {term}, {S} is {O}.", "{S} is {O} by its {term}."),
    ),
    Relation(
        "publisher",
        "work",
        "organisation",
        ("imprint", "printer", "bindery", "stationer"),
        ("Who published {S}?", "Who is the publisher of {S}?", "By whom was {S} published?"),
        ("the publisher of {S}", "the institution that published {S}"),
        ("The {term} of {S} is {O}.", "{O} was the {term} of {S}.", "{S} came out with {O} as {term}."),
    ),
    Relation(
        "setting",
        "work",
        "city",
        ("backdrop", "locale", "scenery", "stage"),
        ("Where is {S} set?", "In which city is {S} set?", "In which city does {S} take place?"),
        ("the setting of {S}", "the city where {S} takes place"),
        ("The {term} of {S} is {O}.", "{S} takes {O} as its {term}.", "{O} gives the {term} of {S}."),
    ),
    Relation(
        "headquarters",
        "organisation",
        "city",
        ("seat", "chambers", "premises", "lodgings"),
        ("Where is {S} based?", "In which city is {S} based?", "Which city holds the headquarters of {S}?"),
        ("the headquarters of {S}", "the city where {S} is based"),
        ("The {term} of {S} is in {O}.", "{S} keeps its {term} in {O}.", "In {O} stands the {term} of {S}."),
    ),
    Relation(
        "founder",
        "organisation",
        "person",
        ("patron", "progenitor", "architect", "instigator"),
        ("Who founded {S}?", "Who is the founder of {S}?", "By whom was {S} founded?"),
        ("the founder of {S}", "the person who founded {S}"),
        ("The {term} of {S} was {O}.", "{O} was the {term} of {S}.", "{S} had {O} as its {term}."),
    ),
    Relation(
        "founding",
        "organisation",
        "year",
        ("inception", "genesis", "commencement", "opening"),
        ("In what year was {S} founded?", "When was {S} founded?", "What is the founding year of {S}?"),
        (),
        ("The {term} of {S} took place in {O}.", "{S} had its {term} in {O}.", "In {O} came the {term} of {S}."),
        ("Which was founded first: {C}?", "Which was founded last: {C}?"),
    ),
    Relation(
        "business",
        "organisation",
        "word",
        ("trade", "commerce", "wares", "dealings"),
        ("What is the business of {S}?", "What business is {S} in?", "What does {S} sell?"),
        (),
        ("The {term} of {S} is {O}.", "{S} lives by its {term} in {O}.", "In {O} lies the {term} of {S}."),
    ),
)

RELATIONS = {relation.name: relation for relation in _RELATIONS}

# Another name of an entity. It is looked up like a relation, but no question asks for it.
BYNAME = Relation(
    "byname",
    "",
    "name",
    ("byname", "epithet", "moniker", "sobriquet"),
    (),
    (),
    ("The {term} of {S} is {O}.", "{S} goes by the {term} {O}.", "{O} is the {term} of {S}."),
)

# How a fact is searched for: the first form that finds its passage is the one that plans name. A tiny model is shown
# one form only.
QUERIES = {
    "full": ("{S} {term} {kind}", "{kind} of {S}: {term}", "{S} {kind} {kind} {term}", "{S} {term} {term} {kind}"),
    "small": ("{kind} {S} {term}",),
}

# What each size has, in the order in which its facts are drawn.
SIZE_RELATIONS = {
    "full": tuple(RELATIONS),
    "small": (
        "birthplace",
        "occupation",
        "mentor",
        "charter",
        "mayor",
        "creator",
        "completion",
        "headquarters",
        "founder",
        "founding",
    ),
}

DIRECT = frozenset({"creator", "founder", "mayor", "capital", "publisher", "charter", "completion", "founding"})


@dataclass(frozen=True, slots=True)
class SizeTable:
    """The numbers of a size.

    Attributes:
        entities: Type -> how many in the world of one split.
        bynames: Types of entities whose sources are filed under by-names; with 0 there are none, and no regularities
            about them.
        spare_bynames: Share of the other entities that have a by-name all the same.
        hops: Fewest and most hops of a multi-hop question.
        arity: Fewest and most candidates of a comparison.
        searches: Searches that a question may need at most.
        sentences: Of a passage, facts and decoys together; more where a source states more facts.
        colliding: Share of persons who share a surname with another.
        filler: Fewest and most sentences of a passage that say nothing at all, on top.
        max_turns: The environment's default.
    """

    entities: dict[str, int]
    bynames: int
    spare_bynames: float
    hops: tuple[int, int]
    arity: tuple[int, int]
    searches: int
    sentences: int
    colliding: float
    filler: tuple[int, int]
    max_turns: int = 6


SIZE_TABLES = {
    "full": SizeTable(
        entities={"person": 160, "city": 60, "region": 12, "work": 100, "organisation": 68},
        bynames=2,
        spare_bynames=0.25,
        hops=(2, 4),
        arity=(3, 4),
        searches=5,
        sentences=3,
        colliding=0.3,
        filler=(0, 2),
    ),
    "small": SizeTable(
        entities={"person": 40, "city": 20, "work": 30, "organisation": 20},
        bynames=0,
        spare_bynames=0.0,
        hops=(2, 2),
        arity=(3, 3),
        searches=5,
        sentences=2,
        colliding=0.0,
        filler=(0, 0),
        # Two hops and no by-names: the official number of turns leaves room enough.
        max_turns=4,
    ),
}


def words(text: str) -> tuple[str, ...]:
    """The words of a text."""
    return tuple(text.split())


# Values that are words. At least 24 of each: guessing the commonest must not pay.
WORDS = {
    "occupation": words(
        "baker brewer carpenter cartographer clockmaker cooper courier dyer engraver falconer ferryman fisher "
        "glazier glover goldsmith herbalist jeweller joiner mason miller miner notary painter potter ropemaker saddler "
        "sailor scribe shepherd smith surgeon surveyor tailor tanner weaver wheelwright"
    ),
    "emblem": words(
        "anchor badger beacon bear beehive boar bridge bull crane eagle elm falcon fox gate harp hart heron key "
        "lantern lion lynx mill oak otter owl plough rose sail salmon stag star swan sword thistle tower wolf"
    ),
    "genre": words(
        "allegory ballad burlesque chorale comedy dialogue eclogue elegy epic epigram epistle fable farce fresco "
        "hymn idyll lament madrigal masque mosaic oratorio parable pastoral pavane psalm requiem romance rondeau "
        "satire serenade sonata sonnet tapestry tragedy triptych woodcut"
    ),
    "business": words(
        "amber barley bells candles canvas carts charcoal cheese cider clay cloth coal copper cordage cork dyes flax "
        "furs glass hops ink iron ivory leather linen lumber oil paper salt silk slate soap spices tea tin wool"
    ),
}

# The nouns that titles of works share, and what organisations are called by what they do.
TITLE_NOUNS = words(
    "Lantern Orchard Winter Mirror Harbour Garden Pilgrim Tower Letter Shadow Summer Voyage Bridge Island Crown Raven"
)
TITLES = ("The {noun} of {word}", "A {noun} in {word}", "{word} and the {noun}", "The {word} {noun}")
ORGANISATIONS = ("{word} Academy", "{word} Press", "{word} Guild", "{word} Company", "{word} House", "{word} Works")

FILLER = (
    "The hand of this entry is steady and the page is undamaged.",
    "A later reader added a note in the margin and struck it out again.",
    "Much of what follows was copied from an older sheet.",
    "The paper is of good make and carries a watermark.",
    "Opinions on the matter differ, and none of them is settled here.",
    "Several lines were rubbed out and can no longer be read.",
    "The writer asks for the patience of those who come after.",
    "A drawing fills the lower half of the page.",
    "Two seals hang from the sheet, both broken.",
    "The rest of the page repeats what everyone knows.",
    "Travellers are said to have brought the account.",
    "The ink has faded, but the words are plain.",
)
DECOYS = (
    "Of the {term} of {S}, {X} would not speak.",
    "What {X} wrote on the {term} of {S} is lost.",
    "{X} asked {S} after the {term} and was sent elsewhere.",
    "A note by {X} on {S} and the {term} was cut out.",
)


def stated_relations(size: str) -> tuple[str, ...]:
    """Everything that sources of a size state: its relations, and by-names where it has any."""
    return (*SIZE_RELATIONS[size], BYNAME.name) if SIZE_TABLES[size].bynames else SIZE_RELATIONS[size]


def relation_of(size: str, name: str) -> Relation:
    """A relation of a size by name, the by-name included: the small world words each in its own way."""
    return _SIZED[size][name]


def values_of(size: str, name: str) -> tuple[str, ...]:
    """The words that a relation's value is one of."""
    return WORDS[name] if size == "full" else words(small.WORDS[name])


def relations_of(size: str, entity_type: str) -> tuple[Relation, ...]:
    """The relations that an entity of this type has."""
    relations = (relation_of(size, name) for name in SIZE_RELATIONS[size])
    return tuple(relation for relation in relations if relation.subject == entity_type)


def small_words() -> frozenset[str]:
    """Every word that the small world uses for something else than names."""
    relations = [relation_of("small", name) for name in SIZE_RELATIONS["small"]]
    texts = [small.DECOY, *KINDS, *ENTITY_TYPES]
    texts += [w for r in relations for w in (r.name, *r.terms, *r.questions, *r.sentences, *(r.superlatives or ()))]
    texts += [value for listed in small.WORDS.values() for value in words(listed)]
    return frozenset(re.findall(r"[a-z]+", " ".join(texts)))


def task_type_of(name: str) -> str:
    """Whether a question about one relation is ``direct`` or ``attribute``."""
    return "direct" if name in DIRECT else "attribute"


def _small(relation: Relation) -> Relation:
    ends = tuple(text.format(name=relation.name, C="{C}") for text in small.SUPERLATIVES)
    return replace(
        relation,
        terms=small.TERMS[relation.name],
        questions=(small.QUESTION.format(name=relation.name, S="{S}"),),
        phrases=(small.PHRASE.format(name=relation.name, S="{S}"),) if relation.entity_valued else (),
        sentences=(small.SENTENCE,),
        superlatives=(ends[0], ends[1]) if relation.superlatives else None,
    )


_SIZED = {
    "full": RELATIONS | {BYNAME.name: BYNAME},
    "small": {name: _small(RELATIONS[name]) for name in SIZE_RELATIONS["small"]},
}
