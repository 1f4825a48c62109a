"""Where a server does not answer as S3 does. An entry that no longer holds fails the test of its case."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Difference:
    """`server` differs from S3 in these steps of a case, in these fields of the answer: `*` stands for any."""

    server: str
    case: str
    steps: str
    fields: str
    does: str
    s3: str


DIFFERENCES = [
    Difference("versitygw", "*", "*", "StorageClass", "answers STANDARD",
               "sends x-amz-storage-class for other classes than STANDARD only (API_GetObject.html)"),
    Difference("versitygw", "*", "*", "EncodingType", "leaves out which encoding was asked for",
               "echoes it (API_ListObjectsV2.html)"),
]
