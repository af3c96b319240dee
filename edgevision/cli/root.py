"""The command group, which imports a command only when it is called."""

from __future__ import annotations

import importlib

import click

import edgevision as package

COMMANDS = {
    "adopt": "Convert an ONNX model of another exporter to a verified bundle.",
    "bench": "Measure latency and throughput of every stage.",
    "build": "Build TensorRT engines for this machine's GPU, or for others.",
    "compare": "Test whether a build is slower than another, from benchmark records.",
    "demo": "Export, verify, run and benchmark a model in one command.",
    "decode": "Make images of the codes that encode wrote.",
    "deploy": "Run the cameras, sinks and page of a TOML file as a service.",
    "doctor": "Check this machine and print the fix for each problem.",
    "edit": "Fill a region of an image, given by a mask.",
    "encode": "Compress images to codes with an autoencoder.",
    "eval": "Measure the accuracy of a graph on labelled images.",
    "export": "Export a checkpoint as a verified bundle.",
    "explain": "Draw a heat map of the image regions that a result depends on.",
    "fleet": "Run a benchmark on many devices, which Ray connects.",
    "generate": "Make images from noise with a generator's bundle.",
    "inspect": "Show the contents of a bundle or an ONNX file.",
    "interpolate": "Make the images between two images or codes.",
    "live": "Show live cameras and their detections on a web page.",
    "models": "List the included bundles, which run by name.",
    "new-recipe": "Write a recipe for a network of your own, with a test.",
    "profile": "Show the layers that cost most, and how far each is from the machine's limit.",
    "quantize": "Make a graph of lower precision within an accuracy limit.",
    "report": "Make a page, a table or a CSV file from benchmark records.",
    "roofline": "Measure the arithmetic peak and the memory bandwidth of this machine.",
    "run": "Run a bundle on images, folders, videos or cameras.",
    "train": "Train a recipe's model on your own data.",
    "verify": "Check file hashes, and compare every engine and graph with the source model.",
}


FOLDERS = {
    "compare": "records",
    "report": "records",
    "profile": "layers",
    "roofline": "layers",
    "fleet": "fleet",
    "generate": "images",
    "edit": "images",
    "encode": "images",
    "decode": "images",
    "interpolate": "images",
}
"""Subfolders of the commands that have one."""


class LazyGroup(click.Group):
    """Imports command NAME from `edgevision.cli.commands`, or its subfolder, when it is called.

    Hyphens become underscores.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        """All names, without importing any."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import the requested command."""
        if cmd_name not in COMMANDS:
            return None
        parts = (FOLDERS.get(cmd_name), cmd_name.replace("-", "_"))
        path = ".".join(part for part in parts if part)
        module = importlib.import_module(f"edgevision.cli.commands.{path}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the table of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package.__version__, prog_name="edgevision")
def edgevision() -> None:
    """Turn trained PyTorch checkpoints into verified engines on live cameras.

    Exit codes: 0 success, 1 wrong arguments or a bad file, 2 a verification failed or a limit on accuracy or speed was
    not met, 70 an unexpected error, 130 and 143 stopped by Ctrl-C and by SIGTERM. --traceback, anywhere on the line,
    shows where an error was raised.
    """
