"""Certificates and revocation lists, made by openssl."""

import datetime
import shutil
import subprocess

CONFIG = """
[ca]
default_ca = own
[own]
database = {folder}/index
new_certs_dir = {folder}
serial = {folder}/serial
crlnumber = {folder}/crlnumber
crl_extensions = list
certificate = {folder}/ca.crt
private_key = {folder}/ca.key
default_md = sha256
default_days = 1
default_crl_days = 1
policy = any
copy_extensions = none
[any]
commonName = optional
[list]
authorityKeyIdentifier = keyid
[request]
distinguished_name = names
[names]
"""


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


class Authority:
    """A CA with a database of the certificates that it has issued."""

    def __init__(self, folder, name="ca"):
        self.folder = folder
        folder.mkdir()
        self.certificate, self.key = folder / "ca.crt", folder / "ca.key"
        self.config = folder / "config"
        self.config.write_text(CONFIG.format(folder=folder))
        (folder / "index").touch()
        (folder / "serial").write_text("1000\n")
        (folder / "crlnumber").write_text("01\n")
        openssl("req", "-x509", "-config", self.config, "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-keyout", self.key, "-out", self.certificate, "-days", "1", "-subj", f"/CN={name}",
                "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    def intermediate(self, name, seconds=3600):
        """Returns a CA whose certificate this one issues."""
        lower = Authority(self.folder / f"{name}-ca", name)
        issued = self.issue(name, [], seconds=seconds, is_ca=True)
        shutil.copy(issued.cert, lower.certificate)
        shutil.copy(issued.key, lower.key)
        return lower

    def issue(self, name, sans, common_name="", seconds=3600, is_ca=False):
        """Issues a certificate with these names, such as `DNS:a.internal`, that is valid until `seconds` from now."""
        files = Pair(self.folder / f"{name}.crt", self.folder / f"{name}.key")
        request, extensions = self.folder / f"{name}.csr", self.folder / f"{name}.ext"
        constraints = "critical,CA:TRUE\nsubjectKeyIdentifier=hash" if is_ca else "CA:FALSE"
        extensions.write_text(f"basicConstraints={constraints}\n" + (f"subjectAltName={','.join(sans)}\n" if sans else ""))
        openssl("req", "-new", "-config", self.config, "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-keyout", files.key, "-out", request, "-subj", f"/CN={common_name or name}")
        now = datetime.datetime.now(datetime.timezone.utc)
        start, end = now - datetime.timedelta(days=1), now + datetime.timedelta(seconds=seconds)
        openssl("ca", "-batch", "-notext", "-config", self.config, "-in", request, "-out", files.cert,
                "-extfile", extensions, "-startdate", start.strftime("%Y%m%d%H%M%SZ"), "-enddate", end.strftime("%Y%m%d%H%M%SZ"))
        return files

    def revoke(self, files):
        openssl("ca", "-config", self.config, "-revoke", files.cert)

    def revocation_list(self, der=False):
        """Returns the contents of a new revocation list."""
        path = self.folder / "crl"
        openssl("ca", "-config", self.config, "-gencrl", "-out", path)
        if der:
            openssl("crl", "-in", path, "-outform", "DER", "-out", path)
        return path.read_bytes()


class Pair:
    """The files of a certificate and its key."""

    def __init__(self, cert, key):
        self.cert, self.key = cert, key

    def read(self):
        return self.key.read_bytes(), self.cert.read_bytes()
