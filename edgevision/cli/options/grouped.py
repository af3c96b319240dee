"""``--help`` with options under headings."""

from __future__ import annotations

import click

from edgevision.analytics.options import AnalyticsOptions
from edgevision.contract.session import SessionOptions
from edgevision.pipeline.options import PipelineOptions
from edgevision.service.config.settings import ModelSettings, PageSettings
from edgevision.settings.setting import settings_of
from edgevision.sinks.addresses import SinkOptions
from edgevision.sources.options import CameraOptions

OUTPUTS = ("--output", "--jsonl", "--csv", "--show", "--mqtt", "--webhook", "--webhook-results", "--events")
GROUPS: tuple[tuple[str, tuple[type, ...], tuple[str, ...]], ...] = (
    ("Model", (ModelSettings, SessionOptions), ("--threshold",)),
    ("Live sources", (CameraOptions,), ("--name",)),
    ("Analytics", (AnalyticsOptions,), ()),
    ("Batches and latency", (PipelineOptions,), ()),
    ("Outputs", (SinkOptions,), OUTPUTS),
    ("Page", (PageSettings,), ()),
)
"""Headings in their order: whose settings stand under each, and which other options."""


class GroupedCommand(click.Command):
    """A command whose help lists options by what they concern; others come last, under "Options"."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a section for each heading."""
        sections: dict[str, list[tuple[str, str]]] = {heading: [] for heading, _, _ in GROUPS}
        sections["Options"] = []
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
            if record is not None:
                sections[_heading(parameter)].append(record)
        for heading, records in sections.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)


def _heading(parameter: click.Parameter) -> str:
    for heading, tables, others in GROUPS:
        names = {found.option for table in tables for found in settings_of(table)} | set(others)
        if names & set(parameter.opts):
            return heading
    return "Options"
