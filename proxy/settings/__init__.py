"""YAML text → typed settings, or every problem at once. Pure but for :func:`load`.

The way of a file: :mod:`~proxy.settings.document` (YAML, places, variables) → :mod:`~proxy.settings.schema`,
:mod:`~proxy.settings.traffic` and :mod:`~proxy.settings.rollout` (types and ranges) with
:mod:`~proxy.settings.rules` (what no single field can say) → :class:`Settings`, frozen. Beside it
:mod:`~proxy.settings.advice` (warnings), :mod:`~proxy.settings.changes` (what a reload cannot do) and
:mod:`~proxy.settings.editor` (JSON Schema).
"""

from proxy.durations import format_duration, parse_duration
from proxy.errors import ConfigError, Problem
from proxy.settings.advice import warnings
from proxy.settings.changes import restart_needed
from proxy.settings.comparing import Compare
from proxy.settings.document import Source
from proxy.settings.editor import json_schema
from proxy.settings.load import (
    load,
    load_with_source,
    parse,
    parse_with_source,
)
from proxy.settings.recording import Log, Redaction
from proxy.settings.rollout import (
    EVENT_METRICS,
    Announced,
    Budget,
    Guardrail,
    Inconclusive,
    Metric,
    Rollout,
    Webhook,
)
from proxy.settings.schema import Limits, ObserverSettings, PayloadLog, Settings, Timeouts, Tls, Tracing
from proxy.settings.sinks import PayloadSink
from proxy.settings.traffic import (
    Health,
    Match,
    Model,
    ModelTls,
    Outlier,
    Route,
    Shadow,
    Variant,
)
from proxy.settings.units import (
    Address,
    UnitSource,
    format_size,
    parse_address,
    parse_size,
)

__all__ = [
    "EVENT_METRICS",
    "Address",
    "Announced",
    "Budget",
    "Compare",
    "ConfigError",
    "Guardrail",
    "Health",
    "Inconclusive",
    "Limits",
    "Log",
    "Match",
    "Metric",
    "Model",
    "ModelTls",
    "ObserverSettings",
    "Outlier",
    "PayloadLog",
    "PayloadSink",
    "Problem",
    "Redaction",
    "Rollout",
    "Route",
    "Settings",
    "Shadow",
    "Source",
    "Timeouts",
    "Tls",
    "Tracing",
    "UnitSource",
    "Variant",
    "Webhook",
    "format_duration",
    "format_size",
    "json_schema",
    "load",
    "load_with_source",
    "parse",
    "parse_address",
    "parse_duration",
    "parse_size",
    "parse_with_source",
    "restart_needed",
    "warnings",
]
