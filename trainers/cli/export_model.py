"""Write the model of a run as a folder that transformers, peft and vLLM read, with a card of what was measured.

From a run with adapters (--lora): a whole model with the adapters merged in (--merged, the default), or the adapters
alone (--adapter), which need their base model. From a run of whole weights: the model. Nothing is sent anywhere without
--push-to-hub.
"""

from __future__ import annotations

import argparse
from pathlib import Path

USAGE = "RUN --output DIR [--merged|--adapter]"
EPILOGUE = """examples:
  sdar export-model runs/qwen --output exported/qwen
  sdar export-model runs/qwen/checkpoints/step-00000050 --output exported/qwen-50
  sdar export-model runs/qwen --adapter --output exported/qwen-adapter
  sdar export-model runs/qwen --output exported/qwen --push-to-hub OWNER/NAME"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``sdar export-model``."""
    from .flags import add_trust_argument

    parser.add_argument("run", metavar="RUN", help="a run directory, of which the newest checkpoint, or a checkpoint")
    parser.add_argument("--output", metavar="DIR", required=True, help="the folder to write, which must not exist")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--merged", action="store_true", help="a whole model, adapters merged in [the default]")
    kind.add_argument("--adapter", action="store_true", help="the adapters alone, as peft's files")
    parser.add_argument(
        "--push-to-hub",
        metavar="OWNER/NAME",
        help="send the folder to this repository of the Hugging Face Hub [do not]",
    )
    parser.add_argument("--public", action="store_true", help="make the repository public, where it is new [private]")
    add_trust_argument(parser)


def run(options: argparse.Namespace) -> int:
    """Export, and say what was written."""
    from sdar_envs.model_files import adapter_base

    from ..engine.adapters import save_merged
    from ..engine.single import load_model, quiet_transformers
    from ..run.hub import push_folder, require_hub_name
    from ..run.model_card import write_card
    from .players import is_run_directory, quiet_about_files, read_run
    from .terminal import make_console

    if not is_run_directory(options.run):
        raise ValueError(f"expected a run directory or a checkpoint of one, got {options.run}")
    output = Path(options.output)
    if output.exists():
        raise ValueError(f"{output} is there already: remove it, or name another --output")
    if options.push_to_hub is not None:
        require_hub_name(options.push_to_hub)
    elif options.public:
        raise ValueError("--public is about a repository of the Hub: name one with --push-to-hub")
    found = read_run(options.run)
    base = adapter_base(found.model_dir)
    if options.adapter and base is None:
        raise ValueError(f"{options.run} trained whole weights and has no adapters: leave out --adapter")
    quiet_about_files(str(found.model_dir))
    model, tokenizer = load_model(str(found.model_dir), trust_remote_code=options.trust_remote_code)
    with quiet_transformers():
        if options.adapter:
            copy_adapter(found.model_dir, output)
        else:
            save_merged(model, output)
        tokenizer.save_pretrained(output)
    adapters_of = None if base is None or not options.adapter else str(base)
    write_card(output, found.env_id, found.config, found.step, run=found.path, base=adapters_of)
    kind = "adapters" if options.adapter else "a whole model" if base is None else "a whole model, adapters merged in"
    make_console().print(f"{output}: {kind}, of iteration {found.step}", highlight=False)
    if options.push_to_hub is not None:
        sent = push_folder(output, options.push_to_hub, private=not options.public)
        make_console().print(f"sent to {sent}", highlight=False)
    return 0


def copy_adapter(checkpoint: Path, output: Path) -> None:
    """The adapter files of a checkpoint, which has been verified, in a new folder."""
    import shutil

    from ..engine.adapters import BASE, CONFIG, WEIGHTS

    output.mkdir(parents=True)
    for name in (CONFIG, WEIGHTS, BASE):
        shutil.copyfile(checkpoint / name, output / name)
