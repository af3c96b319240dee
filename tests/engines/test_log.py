"""TensorRT's messages as the user sees them."""

from __future__ import annotations

from edgevision.engines.tensorrt.library import Library
from edgevision.engines.tensorrt.log import Messages, logger, warned
from edgevision.engines.tensorrt.versions import dialect
from tests.builder.recorded import RecordedModule, working


def test_the_first_error_is_the_cause_and_each_attempt_has_its_own() -> None:
    module = RecordedModule("tensorrt-10.3.0", working("tensorrt-10.3.0"))
    messages = Messages()
    log = logger(Library("tensorrt", "10.3.0", dialect("tensorrt", "10.3.0"), module), messages)
    for number in range(30):
        log.log(module.ILogger.Severity.ERROR, f"error {number}")
    assert messages.reason() == "error 0; error 1; error 2"
    messages.forget_errors()
    log.log(module.ILogger.Severity.INTERNAL_ERROR, "another")
    assert messages.reason() == "another"


def test_warnings_list_missing_ranges_first() -> None:
    missing = [
        f"Missing scale and zero-point for tensor t{n}, expect fall back to non-int8" for n in range(30)
    ]
    text = warned(("a kernel is slow", *missing, "b", "c", "d"))
    assert text == (
        "no INT8 range for 30 tensors, whose layers do not run in INT8; a kernel is slow; b (and 2 more)"
    )
