"""Webhook sink: results and events by HTTP POST."""

from __future__ import annotations

import hashlib
import hmac
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import urllib3
from urllib3.exceptions import HTTPError, InvalidHeader

import edgevision
from edgevision.errors import SinkError, first_line
from edgevision.sinks.frame_result import FrameResult
from edgevision.sinks.record import event_records, json_of, record_of
from edgevision.sinks.sink import BusyError, RefusedError, Sink, without_image
from edgevision.sinks.waiting import has_events

CONNECT_S = 3.0
READ_S = 5.0
BATCH = 50
MORE_LATER = (408, 425, 429)
"""Status codes of the 400s that mean: retry later."""
SMALL_BODY_BYTES = 4096
"""Maximum size of a response body that is read completely, so that the connection can be reused."""


@dataclass(frozen=True, slots=True)
class Hook:
    """Address and credentials of a webhook."""

    url: str
    """Without user and password."""
    public_name: str
    user_password: str | None = field(default=None, repr=False)
    """``user:password`` for basic authentication."""
    token: str | None = field(default=None, repr=False)
    """For ``Authorization: Bearer``."""
    secret: str | None = field(default=None, repr=False)
    """Key of the signature."""


class WebhookSink(Sink):
    """Posts ``{"created_at": ..., "events": [...]}``; with `every_result` ``"results"``, one per frame, instead.

    Queued results are posted together, up to `BATCH` frames. Status codes of the 200s are success. Connection errors,
    408, 425, 429 and the 500s are retried, not before ``Retry-After``. Everything else, including redirects, loses the
    batch. A retry has the same body and the same ``Idempotency-Key``, and each event its own `event_id`. With a secret,
    ``Edgevision-Signature: sha256=...`` is the body's HMAC.
    """

    batch_size = BATCH
    takes_images = False

    def __init__(
        self, hook: Hook, *, every_result: bool = False, connect_s: float = CONNECT_S, read_s: float = READ_S
    ) -> None:
        self._hook = hook
        self._every_result = every_result
        self._run = uuid.uuid4()
        self._request: tuple[list[FrameResult], bytes, str] | None = None
        """The current batch, its body and its key."""
        headers = urllib3.make_headers(
            user_agent=f"edgevision/{edgevision.__version__}", basic_auth=hook.user_password
        )
        if hook.token is not None:
            headers["Authorization"] = f"Bearer {hook.token}"
        # The library does not retry, because its delays could not be interrupted.
        self._pool = urllib3.connection_from_url(
            hook.url,
            maxsize=1,
            headers={**headers, "Content-Type": "application/json"},
            timeout=urllib3.Timeout(connect=connect_s, read=read_s),
            retries=False,
        )
        self._target = urllib3.util.parse_url(hook.url).request_uri

    @property
    def public_name(self) -> str:
        """The address without secrets."""
        return self._hook.public_name

    def write(self, processed: FrameResult) -> None:
        """Post one frame's result."""
        if has_events(processed) or self._every_result:
            self.deliver([processed])

    def keep(self, processed: FrameResult) -> FrameResult | None:
        """Keep everything except the image."""
        return without_image(processed) if self._every_result or has_events(processed) else None

    def deliver(self, batch: Sequence[FrameResult]) -> None:
        """Post a batch; a repeated batch gives the same request."""
        known = self._request
        if (
            known is None
            or len(known[0]) != len(batch)
            or any(a is not b for a, b in zip(known[0], batch, strict=True))
        ):
            self._request = (list(batch), self._body(batch), str(uuid.uuid4()))
        assert self._request is not None
        _, body, key = self._request
        self._post(body, key)
        self._request = None
        self.written += len(batch)

    def close(self) -> None:
        """Close the connection."""
        self._pool.close()

    def _body(self, batch: Sequence[FrameResult]) -> bytes:
        content: dict[str, Any] = {"created_at": round(time.time(), 3)}
        if self._every_result:
            content["results"] = [record_of(processed) for processed in batch]
        else:
            content["events"] = [event for each in batch for event in event_records(each, self._run)]
        return json_of(content)

    def _post(self, body: bytes, key: str) -> None:
        headers = {**self._pool.headers, "Idempotency-Key": key}
        if self._hook.secret is not None:
            digest = hmac.new(self._hook.secret.encode(), body, hashlib.sha256).hexdigest()
            headers["Edgevision-Signature"] = f"sha256={digest}"
        try:
            response = self._pool.request(
                "POST", self._target, body=body, headers=headers, redirect=False, preload_content=False
            )
        except (HTTPError, OSError) as error:
            raise SinkError(f"{self.public_name}: {_reason(error)}") from error
        try:
            self._judge(response)
        finally:
            _finish(response)

    def _judge(self, response: urllib3.BaseHTTPResponse) -> None:
        status = response.status
        if 200 <= status < 300:
            return
        message = f"{self.public_name}: status {status}"
        if status >= 500 or status in MORE_LATER:
            raise BusyError(message, _retry_after_s(response))
        if 300 <= status < 400:
            raise RefusedError(f"{message}, a redirect, which is not followed; use the address of its target")
        raise RefusedError(f"{message}; the batch is not sent again")


def _retry_after_s(response: urllib3.BaseHTTPResponse) -> float:
    """Seconds from a ``Retry-After`` header of either form; 0 if it is missing or invalid."""
    header = response.headers.get("Retry-After")
    if header is None:
        return 0.0
    try:
        return urllib3.Retry().parse_retry_after(header)
    except InvalidHeader:
        return 0.0


def _finish(response: urllib3.BaseHTTPResponse) -> None:
    """Read a small response completely, and close the connection on any other, which might never end."""
    length = response.headers.get("Content-Length", "")
    try:
        if length.isdecimal() and int(length) <= SMALL_BODY_BYTES:
            response.drain_conn()
            response.release_conn()
        else:
            response.close()
    except (HTTPError, OSError):
        response.close()


def _reason(error: Exception) -> str:
    """Reason of an error without the pool's name, which contains the whole address."""
    if isinstance(error, urllib3.exceptions.NameResolutionError):
        return "the host name cannot be resolved"
    if isinstance(error, urllib3.exceptions.NewConnectionError):  # a sub-class of the library's time-outs
        return f"no connection: {first_line(error).rpartition(': ')[2]}"
    if isinstance(error, urllib3.exceptions.ConnectTimeoutError):
        return "no connection in time"
    if isinstance(error, urllib3.exceptions.ReadTimeoutError):
        return "no answer in time"
    if isinstance(error, urllib3.exceptions.ProtocolError):
        return "the connection broke"
    return first_line(error)
