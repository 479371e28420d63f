"""The words of the small world: few, short, one wording for each thing; a tiny model reads every token at full price.

Every relation has terms of its own here, every value is one short word or an era, and nobody has a second name.
"""

from __future__ import annotations

QUESTION = "what is the {name} of {S}?"
PHRASE = "the {name} of {S}"
SENTENCE = "the {term} is {O}."
SUPERLATIVES = ("which has the first {name}: {C}?", "which has the last {name}: {C}?")
TERMS = {
    "birthplace": ("crib", "nest", "root", "home"),
    "occupation": ("craft", "task", "toil", "duty"),
    "mentor": ("tutor", "sage", "coach", "dean"),
    "charter": ("deed", "writ", "bull", "seal"),
    "mayor": ("reeve", "lord", "boss", "chief"),
    "creator": ("maker", "hand", "pen", "bard"),
    "completion": ("issue", "debut", "dawn", "mint"),
    "headquarters": ("seat", "hall", "base", "den"),
    "founder": ("sire", "host", "head", "patron"),
    "founding": ("start", "birth", "rise", "onset"),
}
WORDS = {
    "occupation": (
        "actor baker clerk cook diver dyer guard judge mason miller miner monk nurse piper poet potter rider sailor "
        "scout smith tailor tanner tiler weaver"
    ),
}

# A term that is mentioned without a value.
DECOY = "{X} knew no {term}."
