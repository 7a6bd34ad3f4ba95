"""What the running city tells its operators: structured logs and Prometheus metrics."""

from __future__ import annotations

import logging
import sys

import structlog
from prometheus_client import Counter, Gauge, Histogram

HTTP_SECONDS = Histogram(
    "sejong_http_request_seconds",
    "Time to answer, by route and status class",
    ["route", "method", "status"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
READINGS = Counter("sejong_readings_total", "Readings by door and outcome", ["door", "outcome"])
DEAD_LETTERS = Counter("sejong_dead_letters_total", "Messages set aside because they were not understood", ["reason"])
BATCH_ROWS = Histogram(
    "sejong_commit_entities", "Entities written per group commit", buckets=(1, 2, 5, 10, 50, 100, 500, 1000, 5000)
)
BATCH_SECONDS = Histogram("sejong_commit_seconds", "Time of one group commit")
NOTIFICATIONS = Counter(
    "sejong_notifications_total", "Attempts to tell a subscriber (sent, failed), and what was not told", ["outcome"]
)
LIVE_VIEWERS = Gauge("sejong_live_viewers", "Browsers watching the live map")


def configure_logs(style: str = "text", level: str = "info") -> None:
    """Send logs to stderr: `json` one object a line for machines, `text` for people."""
    shared = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    last = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if style == "json"
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            # Not the default, which prints local variables: they hold what people sent.
            exception_formatter=structlog.dev.plain_traceback,
        )
    )
    if style != "json":
        shared = shared[:-1]
    structlog.configure(
        processors=[*shared, last],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper(), logging.INFO)),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
