"""Any S3-compatible bucket, over boto3 (ADR 0029), which is an extra: `domicile[s3]`. Loaded when first asked."""

from domicile.stores.objects.s3.requests import S3Place
from domicile.stores.objects.s3.store import S3Objects

__all__ = ["S3Objects", "S3Place"]
