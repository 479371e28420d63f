"""Rows of the core, of our own variants of it, and of the controls that tell what a teacher's knowledge is worth."""

from __future__ import annotations

from .method import Method, gate, live_gap, register

register(
    Method(
        name="grpo",
        summary="Group-relative policy optimisation: advantages from siblings of one task, clipped ratio, no teacher.",
        gradient="-A r / N inside the clip, 0 where it binds",
        source="arXiv 2402.03300; dual clip arXiv 1912.09729",
        fidelity="code",
        group="core",
    )
)
register(
    Method(
        name="sdar",
        summary=(
            "Self-distilled agentic RL: the same weights, reading privileged text, say how much each sampled token is "
            "raised, by a sigmoid gate on the gap, on top of GRPO."
        ),
        gradient="that of grpo, and -lambda sigmoid(beta (T - S)) / N: raises every sampled token, by lambda/N at most",
        source="arXiv 2605.15155 and its published code",
        fidelity="code",
        group="core",
        teacher_views=("teacher",),
        signal=live_gap,
        weight=gate,
        injection="aux",
        coef=0.01,
        needs=frozenset({"privileged"}),
    )
)
