"""Option groups that several commands share; each is passed on as one object."""

from __future__ import annotations

from edgevision.analytics.options import AnalyticsOptions
from edgevision.benchmark.paired.options import LimitOptions, PairingOptions
from edgevision.benchmark.scenarios.options import ScenarioOptions
from edgevision.cli.options.defined import group_options, options_of
from edgevision.contract.session import SessionOptions
from edgevision.pipeline.options import PipelineOptions
from edgevision.service.config.settings import ModelSettings
from edgevision.service.web.options import PageOptions
from edgevision.sources.options import CameraOptions

analytics_options = group_options(AnalyticsOptions, "analytics")
camera_options = group_options(CameraOptions, "connection")
engine_options = options_of(ModelSettings, "engine", "build")
graph_options = options_of(SessionOptions, "precision", "device", "force")
limit_options = group_options(LimitOptions, "limits")
page_options = group_options(PageOptions, "page")
pairing_options = group_options(PairingOptions, "pairing")
pipeline_options = group_options(PipelineOptions, "pipeline")
scenario_options = group_options(ScenarioOptions, "scenario_settings")
session_options = group_options(SessionOptions, "opening")
