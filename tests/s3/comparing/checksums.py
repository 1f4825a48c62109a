"""The five checksums of S3, in the form of its headers.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html
"""

import base64
import functools
import hashlib
import zlib


def _table(polynomial):
    def of_byte(value):
        for _ in range(8):
            value = (value >> 1) ^ (polynomial if value & 1 else 0)
        return value

    return [of_byte(byte) for byte in range(256)]


_CRC32C, _CRC64NVME = _table(0x82F63B78), _table(0x9A6C9329AC4BC9B5)


@functools.cache
def _crc(data, width, table):
    table = _CRC32C if table == "CRC32C" else _CRC64NVME
    value = (1 << width) - 1
    for byte in data:
        value = table[(value ^ byte) & 0xFF] ^ (value >> 8)
    return (value ^ ((1 << width) - 1)).to_bytes(width // 8, "big")


DIGESTS = {
    "CRC32": lambda data: zlib.crc32(data).to_bytes(4, "big"),
    "CRC32C": lambda data: _crc(data, 32, "CRC32C"),
    "CRC64NVME": lambda data: _crc(data, 64, "CRC64NVME"),
    "SHA1": lambda data: hashlib.sha1(data).digest(),
    "SHA256": lambda data: hashlib.sha256(data).digest(),
}
ALGORITHMS = tuple(DIGESTS)
# The checksums that boto3 computes without awscrt.
OF_BOTO3 = ("CRC32", "SHA1", "SHA256")
FIELDS = " ".join(["ChecksumType", *(f"Checksum{name}" for name in ALGORITHMS)])

assert DIGESTS["CRC32C"](b"123456789").hex() == "e3069283"
assert DIGESTS["CRC64NVME"](b"123456789").hex() == "ae8b14860a799888"


def checksum(algorithm, data):
    return base64.b64encode(DIGESTS[algorithm](data)).decode()


def composite(algorithm, parts):
    """Returns the checksum of the parts' checksums."""
    return f"{checksum(algorithm, b''.join(map(DIGESTS[algorithm], parts)))}-{len(parts)}"


def field(algorithm, value):
    """Returns the checksum as an argument of boto3."""
    return {f"Checksum{algorithm}": value}


def header(algorithm):
    return f"x-amz-checksum-{algorithm.lower()}"
