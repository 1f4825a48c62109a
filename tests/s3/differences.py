"""Where a server does not answer as S3 does. An entry that no longer holds fails the test of its case.

The pages of S3 are those of https://docs.aws.amazon.com/AmazonS3/latest/API/ (API_*.html, ErrorResponses.html and
RESTCommonResponseHeaders.html) and https://docs.aws.amazon.com/AmazonS3/latest/userguide/ (the others).
"As recorded": S3's answers in github.com/localstack/localstack, tests/aws/services/s3/*.snapshot.json, which that
project takes from S3 itself; the case names the test that has them.
"""

from dataclasses import dataclass

from comparing.verdict import UNSAID
from differences_of_moto import MOTO
from differences_of_versitygw import VERSITYGW


@dataclass(frozen=True)
class Difference:
    """`server` differs from S3 in these steps of these cases, in these fields of the answer: `*` stands for any.

    `right` is what S3 answers wherever no server judges the field and the case states nothing else.
    """

    server: str
    case: str
    steps: str
    fields: str
    does: str
    s3: str
    right: object = UNSAID


DIFFERENCES = [
    # boto3 asks for it with every list.
    Difference("versitygw", "*", "*", "EncodingType", "leaves out which encoding was asked for",
               "echoes it: API_ListObjectsV2.html", right="url"),
    *(Difference("moto", *entry) for entry in MOTO),
    *(Difference("versitygw", *entry) for entry in VERSITYGW),
]
