"""Requests to one bucket: what is retried, what an answer must be, and what an error may say.

Messages of the store and of boto3 hold keys and addresses, so only codes are passed on. An answer must have the root
element of its question: a store that doesn't know a question was seen to answer another one, and "no versions" would
then mean nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from threading import Lock
from typing import Any, Final
from urllib.parse import urlsplit

from domicile.errors import BadFile, DomicileError, HostFault, NotPermitted, StoreFault, Unreachable

CONNECT_SECONDS_MAX: Final = 10
READ_SECONDS_MAX: Final = 60
TRIES_MAX: Final = 4
CONNECTIONS_MAX: Final = 32
ROOTS: Final = {
    "GetBucketVersioning": "VersioningConfiguration",
    "ListObjectVersions": "ListVersionsResult",
    "ListMultipartUploads": "ListMultipartUploadsResult",
    "GetObjectLockConfiguration": "ObjectLockConfiguration",
    "GetBucketLifecycleConfiguration": "LifecycleConfiguration",
    "GetBucketReplication": "ReplicationConfiguration",
    "GetBucketLogging": "BucketLoggingStatus",
    "ListBucketInventoryConfigurations": "ListInventoryConfigurationsResult",
}
"""Questions whose answer can be taken for "none" when it answers something else, and the element that answers them."""
BUSY: Final = {"SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable", "Throttling", "OperationAborted"}
REMEDIES: Final = {
    "NoSuchBucket": "its bucket is not there; make it, or mend its name",
    "PermanentRedirect": "its bucket is in another region; set the region",
    "AuthorizationHeaderMalformed": "its bucket is in another region; set the region",
    "RequestTimeTooSkewed": "this machine's clock differs from the store's; set it",
    "InvalidObjectState": "an object is in an archive; have it restored, then run again",
    "EntityTooLarge": "an object is larger than the store takes; move it by hand",
    "QuotaExceeded": "its quota is used up; make room",
}
UNKNOWN_QUESTION: Final = "UnknownQuestion"
DENIED: Final = {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"}
_ELEMENT: Final = re.compile(rb"<([A-Za-z]\w*)")
_ENTRY: Final = re.compile(rb"<(Version|DeleteMarker)[\s>]")


class Refusal(StoreFault):
    """The store answered no; `code` and `status` are its words, for a caller that expected it."""

    def __init__(self, message: str, *, code: str, status: int) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Place:
    """Where a bucket is and who asks; no `repr` shows the credentials. Keys are told without `prefix`."""

    endpoint: str
    bucket: str
    prefix: str = ""
    region: str = "us-east-1"
    key_id: str = field(repr=False)
    secret: str = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse an endpoint that is none, or that holds credentials, which would be shown."""
        try:
            parts = urlsplit(self.endpoint)
            fits = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        except ValueError:
            fits = False
        if not fits or "@" in self.endpoint:
            raise BadFile("the endpoint of an object store is http(s)://HOST[:PORT], without credentials; mend it")


class Requests:
    """The door to one bucket; from several threads, too."""

    def __init__(self, place: S3Place, *, store: str) -> None:
        self._place = place
        self._store = store

    def ask(self, operation: str, **what: object) -> dict[str, Any]:
        """A request that may be repeated, and is. Raises Refusal for a plain no, or another of our errors."""
        with self.naming():
            answer: dict[str, Any] = getattr(self._clients[0], operation)(Bucket=self._place.bucket, **what)
        return answer

    def send(self, operation: str, **what: object) -> dict[str, Any]:
        """A request that is sent once, because a lost answer would double what it did."""
        with self.naming():
            answer: dict[str, Any] = getattr(self._clients[1], operation)(Bucket=self._place.bucket, **what)
        return answer

    def pages(self, operation: str, **what: object) -> Iterator[dict[str, Any]]:
        """Every page of a listing."""
        with self.naming():
            yield from self._clients[0].get_paginator(operation).paginate(Bucket=self._place.bucket, **what)

    @contextmanager
    def naming(self) -> Iterator[None]:
        """Let boto3's errors come out as ours."""
        _boto3(self._store)
        from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped] # noqa: PLC0415
        from botocore.parsers import ResponseParserError  # type: ignore[import-untyped] # noqa: PLC0415

        try:
            yield
        except ClientError as fault:
            raise _refused(fault.response, self._store) from None
        except (BotoCoreError, ResponseParserError) as fault:
            raise _broken(fault, self._store) from None

    @cached_property
    def _clients(self) -> tuple[Any, Any]:
        """One that retries and one that doesn't. The bucket is looked for: some stores make it when written to."""
        pair = self._client(TRIES_MAX), self._client(1)
        for client in pair:
            client.meta.events.register("before-parse.s3.*", self._note)
        try:
            with self.naming():
                pair[0].head_bucket(Bucket=self._place.bucket)
        except Refusal as fault:
            if fault.status == 404:
                raise StoreFault(f"store {self._store}: {REMEDIES['NoSuchBucket']}") from None
            raise
        return pair

    def _client(self, tries: int) -> Any:  # noqa: ANN401 - boto3 makes its clients' classes when it runs
        _boto3(self._store)
        from botocore.config import Config  # type: ignore[import-untyped] # noqa: PLC0415
        from botocore.exceptions import BotoCoreError  # noqa: PLC0415

        place = self._place
        config = Config(
            signature_version="s3v4",
            s3={"addressing_style": "path"},
            max_pool_connections=CONNECTIONS_MAX,
            connect_timeout=CONNECT_SECONDS_MAX,
            read_timeout=READ_SECONDS_MAX,
            retries={"mode": "standard", "total_max_attempts": tries},
            request_checksum_calculation="when_required",  # Content-MD5 is sent, which every store checks
            response_checksum_validation="when_required",
        )
        try:
            with _MAKING:
                return _session().client(
                    "s3",
                    endpoint_url=place.endpoint,
                    aws_access_key_id=place.key_id,
                    aws_secret_access_key=place.secret,
                    region_name=place.region,
                    config=config,
                )
        except (BotoCoreError, ValueError) as fault:
            raise HostFault(
                f"store {self._store}: boto3 can't be set up ({type(fault).__name__}); look at its endpoint, and at "
                "AWS_ variables and files of this machine"
            ) from None

    def _note(self, operation_model: Any, response_dict: Any, customized_response_dict: Any, **_: object) -> None:  # noqa: ANN401
        """Before an answer is read: what it answers, and in which order its entries stand, which boto3 forgets."""
        root = ROOTS.get(operation_model.name)
        if root is None or response_dict["status_code"] >= 300:
            return
        found = _ELEMENT.search(response_dict["body"])
        if found is None or found[1].decode() != root:
            raise Refusal(
                f"store {self._store}: it doesn't know {operation_model.name}, so nothing can be said of it; is it "
                "an S3 endpoint that can keep versions?",
                code=UNKNOWN_QUESTION,
                status=response_dict["status_code"],
            )
        if root == "ListVersionsResult":
            customized_response_dict["Order"] = _ENTRY.findall(response_dict["body"])


_MAKING: Final = Lock()
"""A session is not safe to share while clients are made, clients are."""


@cache
def _session() -> Any:  # noqa: ANN401 - a module without types
    """One for all stores: it reads its models once, so that a second client takes a tenth of the time."""
    return _boto3("").session.Session()


def _boto3(store: str) -> Any:  # noqa: ANN401 - a module without types
    try:
        import boto3  # type: ignore[import-untyped] # noqa: PLC0415 - half a second, and not everybody has it
    except ImportError:
        raise HostFault(f"store {store}: S3 is spoken by boto3, which is not here; install domicile[s3]") from None
    return boto3


def _refused(response: dict[str, Any], store: str) -> DomicileError:
    code = re.sub(r"\W", "", str(response.get("Error", {}).get("Code", "")))[:60]
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code in REMEDIES:
        return Refusal(f"store {store}: {REMEDIES[code]}", code=code, status=status)
    if code in BUSY or status in {429, 500, 502, 503, 504}:
        return Unreachable(f"store {store}: it is busy or failing ({code}, {status}); run again later")
    if code in DENIED or status in {401, 403}:
        return NotPermitted(
            f"store {store}: it denies access ({code}, {status}); check key id and secret, and what their owner may do"
        )
    return Refusal(f"store {store}: it refused a request ({code}, {status}); see its own log", code=code, status=status)


def _broken(fault: Exception, store: str) -> DomicileError:
    from botocore.exceptions import ConnectionError as NoConnection  # noqa: PLC0415
    from botocore.exceptions import HTTPClientError, IncompleteReadError, SSLError  # noqa: PLC0415

    kind = type(fault).__name__
    if isinstance(fault, SSLError):
        return StoreFault(f"store {store}: TLS can't be agreed with its endpoint; check its certificate and CA")
    if isinstance(fault, (NoConnection, HTTPClientError, IncompleteReadError)):
        return Unreachable(f"store {store}: no connection, or it broke off ({kind}); check its endpoint, run again")
    return StoreFault(f"store {store}: a request or its answer is not understood ({kind}); is it an S3 endpoint?")
