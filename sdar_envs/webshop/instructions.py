"""How requests are worded: sixteen phrasings, half of them as the official synthetic goals speak, half as people do."""

from __future__ import annotations

# {a} is the article with a blank, {thing} "retro cotton shirt", {kind} "shirt", {cues} "retro cotton"; {is_} is or are.
PHRASINGS = (
    "Find me {a}{thing} for {use}, {attribute}",
    "Find me {attribute} {thing} for {use}",
    "Show me {a}{thing}, {attribute}, for {use}",
    "Get me {a}{thing} for {use} that {is_} {attribute}",
    "I need {a}{thing} for {use}, {attribute}",
    "I want {attribute} {thing} for {use}",
    "I need {a}{thing} that {is_} {attribute} and for {use}",
    "Show me {attribute} {thing} for {use}",
    "i am looking for {a}{thing} that {is_} {attribute}, for {use}",
    "i want {a}{thing} for {use}, and it should be {attribute}",
    "i'm looking for {a}{thing} for {use}; it should be {attribute}",
    "could you find {a}{thing} for {use}? {attribute} please",
    "please find me {a}{thing} for {use}, {attribute} if possible",
    "my sister wants {a}{thing} for {use} that {is_} {attribute}",
    "please show me {a}{thing}, {attribute}, for {use}",
    "i need {a}{thing} for {use} and want it {attribute}",
)
HUMAN = range(8, 16)

# How an option beside the style is asked for, in the two ways of speaking.
_OFFICIAL_OPTION = " with {group}: {value}"
_HUMAN_OPTION = ", in {value}"


def word_request(
    phrasing: int,
    *,
    article: str,
    kind: str,
    style: str,
    material: str,
    use: str,
    attribute: str,
    extra: tuple[str, ...],
) -> str:
    """A request without its price clause.

    Args:
        phrasing: Which of `PHRASINGS`.
        article: ``a`` or ``a pair of``.
        kind: The kind of thing.
        style: Wanted of one of its parts.
        material: What it is made of.
        use: What it is for.
        attribute: What tells it from its lookalikes.
        extra: Group and value of a further option, or nothing.
    """
    text = PHRASINGS[phrasing].format(
        a=f"{article} ",
        thing=f"{style} {material} {kind}",
        use=use,
        attribute=attribute,
        is_="are" if article == "a pair of" else "is",
    )
    if not extra:
        return text
    group, value = extra
    return text + (_HUMAN_OPTION if phrasing in HUMAN else _OFFICIAL_OPTION).format(group=group, value=value)
