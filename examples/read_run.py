"""Read a run directory with pandas: curves, outcomes by kind of task, and the tokens that the gate opened for.

    python read_run.py runs/parcels

Every file is plain: `metrics.jsonl` has a line per iteration, `episodes.jsonl` an episode per line with its turns, and
a few episodes per iteration hold their tokens. Nothing here needs torch. `pip install "sdar-gym[examples]"` brings
pandas.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pandas as pd


def curves(run: Path) -> pd.DataFrame:
    """One row per iteration. Evaluations are made every few iterations, so their columns have gaps."""
    table = pd.read_json(run / "metrics.jsonl", lines=True).groupby("step").last()
    wanted = ["success", "valid/success_rate", "teacher/success_rate", "distill/weight", "kl", "entropy"]
    return table[[name for name in wanted if name in table]]


def episodes(run: Path) -> pd.DataFrame:
    """One row per episode: iteration, phase (train, valid, teacher, test), task, success, return, turns."""
    table = pd.read_json(run / "episodes.jsonl", lines=True)
    table["turn_count"] = table["turns"].map(len)
    return table.drop(columns=["turns"])


def tokens(run: Path) -> pd.DataFrame:
    """One row per sampled token of the training episodes whose tokens were logged."""
    rows: list[dict[str, Any]] = []
    for chunk in pd.read_json(run / "episodes.jsonl", lines=True, chunksize=500):
        for episode in chunk[chunk["phase"] == "train"].to_dict("records"):
            for number, turn in enumerate(episode["turns"]):
                known = turn.get("tokens") or {}
                for place, text in enumerate(known.get("text", ())):
                    columns = {name: values[place] for name, values in known.items() if place < len(values)}
                    rows.append({"iteration": episode["iteration"], "turn": number, **columns, "text": text})
    return pd.DataFrame(rows)


def main(run: Path) -> None:
    """Print the three views."""
    print(curves(run).dropna(subset=["valid/success_rate"]).round(3).to_string())
    played = episodes(run)
    print(played.groupby(["phase", "iteration"])["success"].agg(["mean", "count"]).round(3).tail(8).to_string())
    read = tokens(run)
    if "weight" in read:
        print(
            read.sort_values("weight", ascending=False)[["iteration", "text", "student", "teacher", "weight"]].head(8)
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run directory")
    main(parser.parse_args().run)
