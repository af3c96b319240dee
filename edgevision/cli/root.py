"""The command group: it names its commands and imports each only when it is called."""

from __future__ import annotations

import importlib

import click

import edgevision as package

COMMANDS = {
    "adopt": "Give somebody else's ONNX model the contract: uint8 frames in, answers out.",
    "bench": "Time every stage and report percentiles, frames/s and the device's facts.",
    "build": "Build TensorRT engines for this machine's GPU, or for others.",
    "demo": "The main job in one go: export, verify, run, benchmark.",
    "deploy": "Run the cameras, sinks and page that a TOML file describes, as a service.",
    "doctor": "Say what works on this machine, what does not, and what mends it.",
    "eval": "Measure accuracy on labelled images, on exactly the graph that runs.",
    "export": "Turn a checkpoint into a verified bundle.",
    "explain": "Show which parts of an image an answer rests on.",
    "inspect": "Show what a bundle or an ONNX file holds.",
    "live": "Show cameras, and what a bundle finds in them, on a web page.",
    "models": "List the bundles that come with the package; run them by name.",
    "quantize": "Make FP16 and INT8 graphs that keep a budget of accuracy, or say no.",
    "run": "Run a bundle on images, folders, videos or a camera.",
    "train": "Train a recipe's model on your own data.",
    "verify": "Check a bundle's files and its answers against the source model's.",
}


class LazyGroup(click.Group):
    """Finds command NAME in `edgevision.cli.NAME`, or `NAME_` where Python has taken the name."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        """All names, without importing any."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import the one that is wanted."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"edgevision.cli.commands.{cmd_name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Help from the table, so that `--help` imports nothing heavy."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package.__version__, prog_name="edgevision")
def edgevision() -> None:
    """Trained PyTorch checkpoints to verified engines on live cameras.

    Exit codes: 0 good, 1 a mistake in the call or a bad file, 2 a verification that failed, 70 an unexpected error, 130
    Ctrl-C. --traceback, anywhere, shows where an error was raised.
    """
