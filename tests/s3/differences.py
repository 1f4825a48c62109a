"""Where a server does not respond as S3 does. An entry that no longer holds fails the test of its case.

The HTML pages are S3's: those in https://docs.aws.amazon.com/AmazonS3/latest/API/ (API_*.html, ErrorResponses.html and
RESTCommonResponseHeaders.html) and in https://docs.aws.amazon.com/AmazonS3/latest/userguide/ (all others).
"As recorded" refers to S3's responses in github.com/localstack/localstack, tests/aws/services/s3/*.snapshot.json, which
that project records from S3 itself. The case names the test whose snapshot has them.
"""

from dataclasses import dataclass

from comparing.verdict import UNSAID
from differences_of_moto import MOTO
from differences_of_versitygw import VERSITYGW


@dataclass(frozen=True)
class Difference:
    """`server` differs from S3 in these steps of these cases, in these fields of the response. `*` stands for any text.

    `does` is what the server does, and `s3` what S3 does. `right` is S3's value of the field, for use where neither a
    judge nor the case determines it.
    """

    server: str
    case: str
    steps: str
    fields: str
    does: str
    s3: str
    right: object = UNSAID


DIFFERENCES = [
    # boto3 requests an encoding with every listing.
    Difference("versitygw", "*", "*", "EncodingType", "omits the requested encoding",
               "echoes it: API_ListObjectsV2.html", right="url"),
    *(Difference("moto", *entry) for entry in MOTO),
    *(Difference("versitygw", *entry) for entry in VERSITYGW),
]
