"""Short helpers for multipart uploads."""

import hashlib

MIB = 1024 * 1024
LEAST = 5 * MIB
# Two parts of the minimum size for parts before the last, and a last part. Their contents differ, so that order matters.
FIRST, SECOND, LAST = b"first" * MIB, b"2nd, " * MIB, b"the last"
NO_UPLOAD = "2~nosuchuploadnosuchuploadnosuchup"


def etag_of(*parts):
    """Returns the ETag of an object with these parts."""
    whole = hashlib.md5(b"".join(hashlib.md5(part).digest() for part in parts)).hexdigest()
    return f'"{whole}-{len(parts)}"'


class Upload:
    """A multipart upload of `key`. Each call is a step of the case."""

    def __init__(self, on, key="k", step="create", **arguments):
        self.on = on
        self.key = key
        self.answer = on.create_multipart_upload(step, Key=key, **arguments)
        self.id = self.answer["UploadId"]
        self.etags = {}

    def part(self, number, body=LAST, step=None, **arguments):
        answer = self.on.upload_part(step or f"part {number}", Key=self.key, UploadId=self.id, PartNumber=number,
                                     Body=body, **arguments)
        self.etags[number] = answer.get("ETag", '"none"')
        return answer

    def copied_part(self, number, source, step=None, **arguments):
        answer = self.on.upload_part_copy(step or f"part {number}", Key=self.key, UploadId=self.id, PartNumber=number,
                                          CopySource=source, **arguments)
        self.etags[number] = answer.get("CopyPartResult", {}).get("ETag", '"none"')
        return answer

    def complete(self, step="complete", parts=None, **arguments):
        """`parts` has numbers, (number, ETag) pairs or dicts. By default, it is all parts that were uploaded."""
        listed = [self._listed(part) for part in (sorted(self.etags) if parts is None else parts)]
        return self.on.complete_multipart_upload(
            step, Key=self.key, UploadId=self.id, MultipartUpload={"Parts": listed}, **arguments)

    def _listed(self, part):
        if isinstance(part, dict):
            return {"ETag": self.etags[part["PartNumber"]], **part}
        number, etag = part if isinstance(part, tuple) else (part, self.etags.get(part, '"none"'))
        return {"PartNumber": number, "ETag": etag}

    def abort(self, step="abort"):
        return self.on.abort_multipart_upload(step, Key=self.key, UploadId=self.id)

    def list(self, step="list", **arguments):
        return self.on.list_parts(step, Key=self.key, UploadId=self.id, **arguments)
