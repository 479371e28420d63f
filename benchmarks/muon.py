"""What Muon's precision costs a warm start on this processor: CPU seconds of a step in bfloat16 over float32's.

    python -m benchmarks.muon [--widths 64 128 256] [--json]

PyTorch's Muon orthogonalises in bfloat16; `trainers.warm_start.muon` does so in float32, for processors without
instructions for bfloat16. A step here is over the seven matrices of one layer, of queries, keys, values, output and of
the three that widen to three times the width, with random gradients.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from trainers.warm_start.muon import Float32Muon

from .measure import emit, measure, parser, table


def matrices(width: int) -> list[torch.nn.Parameter]:
    """The matrices of a layer with as many key and value heads as half of its heads, with gradients."""
    wide = 3 * width
    shapes = [(width, width), (width // 2, width), (width // 2, width), (width, width)]
    shapes += [(wide, width), (wide, width), (width, wide)]
    generator = torch.Generator().manual_seed(width)
    made = [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]
    for parameter in made:
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    return made


def main() -> None:
    """Measure and print."""
    options = parser("muon", str(__doc__).partition("\n")[0])
    options.add_argument("--widths", type=int, nargs="+", default=[64, 128, 256], help="of the layer")
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    works: dict[str, Callable[[], object]] = {}
    for width in chosen.widths:
        works[f"bfloat16, {width}"] = torch.optim.Muon(matrices(width), lr=1e-4, weight_decay=0.0).step
        works[f"float32, {width}"] = Float32Muon(matrices(width), lr=1e-4, weight_decay=0.0).step
    timings = measure(works, repeats=chosen.repeats)
    figures = {}
    for width in chosen.widths:
        rounded, exact = (1000 * timings[f"{name}, {width}"].median for name in ("bfloat16", "float32"))
        figures[str(width)] = {"bfloat16_ms": rounded, "float32_ms": exact, "ratio": rounded / exact}
    text = table(
        ["width of the layer", "bfloat16, CPU ms a step", "float32", "ratio"],
        [[width, *own.values()] for width, own in figures.items()],
    )
    emit("muon", figures, [text], as_json=chosen.json)


if __name__ == "__main__":
    main()
