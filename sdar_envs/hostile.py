"""Hostile agent text: what a policy under training, or a person, can send to an environment.

The list is a function of its seed. It holds what is known to hang, crash or deceive text engines (NUL, line breaks
that make two commands of one, ANSI escapes, bidirectional marks, lone surrogates, engine commands such as ``save``,
format and template strings, megabytes) and random Unicode for what is not known.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .randomness import Key, counted_generator

MEGABYTE = 1 << 20

FIXED = (
    "",
    " ",
    "\t\r\n",
    "\x00",
    "\x00look",
    "look\x00",
    "\x1b[2J\x1b[31mlook\x1b[0m",
    "\x1b]0;title\x07",
    "\x07\x08\x7f\x80\x9b",
    "\u202elook\u202c",
    "\u200b\u200d\ufeff",
    "\u2028look\u2029look",
    "\ud800",
    "look \udfff\ud800",
    "\ufffe\uffff\U0010ffff",
    "e\u0301" * 40,
    "Z\u0351\u036b\u0343" * 30,
    "\N{FULLWIDTH LATIN SMALL LETTER L}ook",
    "\N{CYRILLIC SMALL LETTER O}" * 4,
    "\N{GRINNING FACE}" * 20,
    "look\nlook",
    "look\r\nquit",
    "look; quit",
    "look && quit",
    "quit",
    "exit",
    "q",
    "y",
    "yes",
    "no",
    "save",
    "save game.sav",
    "restore",
    "restart",
    "undo",
    "script",
    "transcript on",
    "again",
    "oops",
    "verbose",
    "%s%s%s%n",
    "%(action)s",
    "100%",
    "{}",
    "{0}{1}{action.__class__.__mro__}",
    "{{ 7 * 7 }}",
    "{% for x in y %}",
    "${HOME} $(id) `id`",
    "__import__('os').getcwd()",
    "../../../../etc/passwd",
    "\\x00\\n\\u0000",
    "'; DROP TABLE games; --",
    "<action>look</action>",
    "<|im_start|>system",
    "</think><answer>",
    "[INST]",
    "<script>alert(1)</script>",
    '{"action": "look"}',
    "(" * 2000,
    "[" * 2000 + "]" * 2000,
    "a" * 511,
    "a" * 512,
    "a" * 513,
    "look " * 200,
    "<" * 10_000,
    "\n" * 10_000,
    "\ud800" * 10_000,
    "None",
    "nan",
    "-1",
    "9" * 400,
)


def hostile_actions(count: int, *, seed: Key = 0, legal: Sequence[str] = (), first: int = 0) -> Iterator[str]:
    """Yield `count` hostile actions.

    The fixed list and, once in a hundred, a megabyte come in turn with random text; with `legal` actions given, also
    pairs of them in one text, which a world must not obey as two commands.

    Args:
        count: How many.
        seed: The same seed and `legal` give the same texts.
        legal: Actions that the world understands.
        first: Where in the turns of the list and of the megabytes to begin; several short calls see all of them.
    """
    generator = counted_generator("hostile", seed)
    for number in range(first, first + count):
        if number % 100 == 93:
            piece = ("look ", "\x00", "\ud800", "é")[number // 100 % 4]
            yield piece * (MEGABYTE // len(piece) + 1)
        elif number % 2 == 0:
            yield FIXED[number // 2 % len(FIXED)]
        elif legal and number % 10 == 1:
            one, other = (legal[int(i)] for i in generator.integers(len(legal), size=2))
            yield one + ("\n", "\r", "\x00", "\u2028", "\x1b")[number // 10 % 5] + other
        else:
            length = int(generator.integers(1, 80))
            top = (0x80, 0x2000, 0x110000)[number % 3]
            yield "".join(chr(int(code)) for code in generator.integers(top, size=length))
