"""Files, variables and settings, and the access key id that botocore finds in them (None: it finds none, or fails).

In texts, {folder} stands for a folder with the files, which is also the home directory, and {url} for the server that
plays AWS (support/aws.py)."""

import hashlib
import json
from dataclasses import dataclass, field

ROLE = "arn:aws:iam::123456789012:role/"
LATER = "2199-01-01T00:00:00Z"


@dataclass
class Case:
    """One situation."""

    name: str
    expected: str | None
    config: str | bytes | None = None
    credentials: str | bytes | None = None
    # Besides the files, by name.
    files: dict = field(default_factory=dict)
    variables: dict = field(default_factory=dict)
    # The profile that the settings name.
    profile: str | None = None
    # With the type `profile`, only what the profile itself has counts.
    type: str = "default"


def keys(name, **more):
    lines = [f"aws_access_key_id = {name}", "aws_secret_access_key = s"]
    return "\n".join(lines + [f"{key} = {value}" for key, value in more.items()]) + "\n"


def section(name, *parts, **settings):
    return f"[{name}]\n" + "".join(parts) + "".join(f"{key} = {value}\n" for key, value in settings.items())


def document(name, **more):
    return json.dumps({"Version": 1, "AccessKeyId": name, "SecretAccessKey": "s", **more})


def token(access_token, expires_at=LATER, **more):
    return json.dumps({"accessToken": access_token, "expiresAt": expires_at, **more})


def cached(name):
    return f".aws/sso/cache/{hashlib.sha1(name.encode()).hexdigest()}.json"


ENV = {"AWS_ACCESS_KEY_ID": "ENV", "AWS_SECRET_ACCESS_KEY": "s"}
IRSA = {"AWS_ROLE_ARN": ROLE + "IRSA", "AWS_WEB_IDENTITY_TOKEN_FILE": "{folder}/token"}
TOKEN = {"token": "a.b.c"}
CONTAINER = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "{url}/container"}
IMDS = {"AWS_EC2_METADATA_DISABLED": "", "AWS_EC2_METADATA_SERVICE_ENDPOINT": "{url}"}
DEFAULT = section("default", keys("DEFAULT"))
SHARED = section("default", keys("SHARED"))
PROCESS = 'cat "{folder}/process out.json"'
OUTPUT = {"process out.json": document("PROCESS")}
BOTO = {"boto.cfg": section("Credentials", keys("BOTO"))}
AT_BOTO = {"BOTO_CONFIG": "{folder}/boto.cfg"}
BASE = section("profile base", keys("BASE"))
LEGACY = {"sso_start_url": "https://start", "sso_region": "eu-west-1", "sso_account_id": "1", "sso_role_name": "R"}
SESSION = section("sso-session s", sso_start_url="https://start", sso_region="eu-west-1")
OF_SESSION = {"sso_session": "s", "sso_account_id": "1", "sso_role_name": "R"}
SSO = {cached("s"): token("tok")}
RENEWAL = {"clientId": "c", "clientSecret": "s", "refreshToken": "refresh", "registrationExpiresAt": LATER}


def role(name, **settings):
    return "".join(f"{key} = {value}\n" for key, value in {"role_arn": ROLE + name, **settings}.items())


PRECEDENCE = [
    Case("keys of the environment before everything", "ENV", DEFAULT, SHARED, TOKEN, {**ENV, **IRSA, **CONTAINER}),
    Case("role of the profile before a web identity", "ROLEBYBASE",
         section("default", role("ROLE", source_profile="base")) + BASE, SHARED, TOKEN, IRSA),
    Case("web identity before SSO", "IRSABYTOKEN", section("default", **OF_SESSION) + SESSION, None,
         {**TOKEN, **SSO}, IRSA),
    Case("SSO before shared keys", "SSOR1BYtok", section("default", **OF_SESSION) + SESSION, SHARED, SSO),
    Case("shared keys before credential_process", "SHARED", section("default", credential_process=PROCESS), SHARED, OUTPUT),
    Case("credential_process before keys of the config file", "PROCESS",
         section("default", keys("DEFAULT"), credential_process=PROCESS), None, OUTPUT),
    Case("keys of the config file before boto2", "DEFAULT", DEFAULT, None, BOTO, AT_BOTO),
    Case("boto2 before a container", "BOTO", None, None, BOTO, {**AT_BOTO, **CONTAINER}),
    Case("boto2 in the home directory", "BOTO", None, None, {".boto": BOTO["boto.cfg"]}),
    Case("boto2 uses one section only", None, None, None, {"boto.cfg": section("default", keys("BOTO"))}, AT_BOTO),
    Case("a container before instance metadata", "CONTAINER", None, None, {}, {**CONTAINER, **IMDS}),
    Case("instance metadata last", "INSTANCE", None, None, {}, IMDS),
    Case("the URL of instance metadata in the profile", "INSTANCE", section("default", ec2_metadata_service_endpoint="{url}"),
         None, {}, {"AWS_EC2_METADATA_DISABLED": ""}),
    Case("instance metadata that is disabled", None, None, None, {}, {**IMDS, "AWS_EC2_METADATA_DISABLED": "TRUE"}),
    Case("nothing anywhere", None),
    Case("a role in the credentials file", "ROLEBYBASE", BASE, section("default", role("ROLE", source_profile="base"))),
    Case("settings of both files are merged", "ROLEBYBASE", section("default", role_arn=ROLE + "ROLE") + BASE,
         section("default", source_profile="base")),
    Case("the credentials file wins over the config file", "SHARED", DEFAULT, SHARED),
]

VARIABLES = [
    Case("AWS_PROFILE names the profile", "A", section("profile a", keys("A")) + DEFAULT, None, {}, {"AWS_PROFILE": "a"}),
    Case("AWS_DEFAULT_PROFILE names the profile", "A", section("profile a", keys("A")) + DEFAULT, None, {},
         {"AWS_DEFAULT_PROFILE": "a"}),
    Case("AWS_DEFAULT_PROFILE before AWS_PROFILE", "B", section("profile a", keys("A")) + section("profile b", keys("B")),
         None, {}, {"AWS_PROFILE": "a", "AWS_DEFAULT_PROFILE": "b"}),
    Case("keys of the environment before AWS_PROFILE", "ENV", section("profile a", keys("A")), None, {},
         {**ENV, "AWS_PROFILE": "a"}),
    Case("a profile in the settings before keys of the environment", "A", section("profile a", keys("A")), None, {}, ENV,
         profile="a"),
    Case("a profile in the settings before a web identity of the environment", "A", section("profile a", keys("A")), None,
         TOKEN, IRSA, profile="a"),
    Case("a missing profile is an error", None, DEFAULT, SHARED, {}, {"AWS_PROFILE": "typo"}),
    Case("a missing profile is an error even with keys of the environment", None, DEFAULT, None, {},
         {**ENV, "AWS_PROFILE": "typo"}),
    Case("a missing profile in the settings", None, DEFAULT, SHARED, {}, {}, profile="typo"),
    Case("a profile without credentials falls through to a container", "CONTAINER", section("profile a", region="x"),
         None, {}, {**CONTAINER, "AWS_PROFILE": "a"}),
    Case("an empty key id counts as unset", "DEFAULT", DEFAULT, None, {}, {**ENV, "AWS_ACCESS_KEY_ID": ""}),
    Case("a secret without an id counts as unset", "DEFAULT", DEFAULT, None, {}, {"AWS_SECRET_ACCESS_KEY": "s"}),
    Case("an id without a secret is an error", None, DEFAULT, None, {}, {"AWS_ACCESS_KEY_ID": "ENV"}),
    Case("a token for long-lived keys", "ENV", None, None, {}, {**ENV, "AWS_SECURITY_TOKEN": "t"}),
    Case("keys of the environment with an expiry", "ENV", None, None, {}, {**ENV, "AWS_CREDENTIAL_EXPIRATION": LATER}),
    Case("keys of the environment that have expired", None, None, SHARED, {},
         {**ENV, "AWS_CREDENTIAL_EXPIRATION": "2020-01-01T00:00:00Z"}),
    Case("keys of the environment with an expiry that is no time", None, None, SHARED, {},
         {**ENV, "AWS_CREDENTIAL_EXPIRATION": "soon"}),
    Case("two tokens", "ENV", None, None, {}, {**ENV, "AWS_SECURITY_TOKEN": "old", "AWS_SESSION_TOKEN": "new"}),
    Case("one token", "ENV", None, None, {}, {**ENV, "AWS_SESSION_TOKEN": "new"}),
    Case("variables in the paths of variables", "DEFAULT", None, None, {"x/cfg": DEFAULT},
         {"WHERE": "x", "AWS_CONFIG_FILE": "$HOME/${WHERE}/cfg"}),
    Case("a home directory in the paths of variables", "DEFAULT", None, None, {"cfg": DEFAULT},
         {"AWS_CONFIG_FILE": "~/cfg"}),
    Case("a missing token file of a web identity ends the search", None, DEFAULT, SHARED, {}, IRSA),
    Case("a web identity without a role ends the search", None, DEFAULT, SHARED, TOKEN,
         {"AWS_WEB_IDENTITY_TOKEN_FILE": "{folder}/token"}),
    Case("a role in the environment without a token", "SHARED", None, SHARED, {}, {"AWS_ROLE_ARN": ROLE + "IRSA"}),
    Case("a token of the environment and a role of the profile", "PODBYTOKEN",
         section("default", role("POD", web_identity_token_file="{folder}/none")), None, TOKEN,
         {"AWS_WEB_IDENTITY_TOKEN_FILE": "{folder}/token"}),
    Case("a role of the environment and a token of the profile", "IRSABYTOKEN",
         section("default", role("POD", web_identity_token_file="{folder}/token")), None, TOKEN,
         {"AWS_ROLE_ARN": ROLE + "IRSA"}),
    Case("a session name of the environment", "IRSABYTOKENmy-session", None, None, TOKEN,
         {**IRSA, "AWS_ROLE_SESSION_NAME": "my-session"}),
    Case("a container's token in a file", "CONTAINER", None, None, {"token": "secret"},
         {**CONTAINER, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "{folder}/token"}),
    Case("a container's token file that is missing", None, None, None, {},
         {**CONTAINER, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "{folder}/token", **IMDS}),
    Case("a container's endpoint on another host", None, None, None, {},
         {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://192.0.2.1/x", **IMDS}),
    Case("a container's endpoint that fails", None, None, None, {},
         {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "{url}/none", **IMDS}),
    Case("an invalid timeout for instance metadata", None, None, None, {}, {**IMDS, "AWS_METADATA_SERVICE_TIMEOUT": "x"}),
    Case("an invalid URL of instance metadata", None, None, None, {}, {**IMDS, "AWS_EC2_METADATA_SERVICE_ENDPOINT": "a b"}),
]

FILES = [
    Case("[default] in the config file", "DEFAULT", DEFAULT),
    Case("[profile default] in the config file", "D", section("profile default", keys("D"))),
    Case("the later of [default] and [profile default]", "D", DEFAULT + section("profile default", keys("D"))),
    Case("the later of [profile default] and [default]", "DEFAULT", section("profile default", keys("D")) + DEFAULT),
    Case("[profile x] is no profile x in the credentials file", None, None, section("profile a", keys("A")), {},
         {"AWS_PROFILE": "a"}),
    Case("a profile of the config file without the word", None, section("a", keys("A")), None, {}, {"AWS_PROFILE": "a"}),
    Case("a quoted name", "TWO", section("profile 'two words'", keys("TWO")), None, {}, {"AWS_PROFILE": "two words"}),
    Case("a name in double quotes", "TWO", section('profile "two words"', keys("TWO")), None, {},
         {"AWS_PROFILE": "two words"}),
    Case("two words without quotes", None, section("profile two words", keys("TWO")), None, {},
         {"AWS_PROFILE": "two words"}),
    Case("a quote without an end", None, section("profile 'a", keys("A")), None, {}, {"AWS_PROFILE": "a"}),
    Case("spaces inside the brackets", None, section(" default ", keys("A"))),
    Case("several spaces after the word", "A", section("profile   a", keys("A")), None, {}, {"AWS_PROFILE": "a"}),
    Case("names of profiles are case-sensitive", None, section("profile A", keys("A")), None, {}, {"AWS_PROFILE": "a"}),
    Case("names of keys are not case-sensitive", "A", "[default]\nAWS_Access_Key_ID=A\nAWS_SECRET_ACCESS_KEY=s\n"),
    Case("colons, tabs and carriage returns", "A",
         "[default]\r\naws_access_key_id:\tA\r\n\r\naws_secret_access_key : s\r\n"),
    Case("comments, also after a section", "A",
         "# c\n; c\n[default] # c\n# aws_access_key_id = B\n" + keys("A") + "  # c\n"),
    Case("no comments within a value", "A #c", "[default]\naws_access_key_id = A #c\naws_secret_access_key = s\n",
         type="profile", profile="default"),
    Case("indented settings", "A", "[default]\n  aws_access_key_id = A\n  aws_secret_access_key = s\n"),
    Case("an indented section", "B", "[other]\nx = y\n\n  [default]\n" + keys("A") + "[default2]\n", SHARED.replace("SHARED", "B")),
    Case("settings below s3", "A", "[default]\ns3 =\n  addressing_style = path\n  aws_access_key_id = B\n" + keys("A")),
    Case("a text below s3 that is no setting", None, "[default]\ns3 =\n  hush\n" + keys("A")),
    Case("a key id on the next line", None, "[default]\naws_access_key_id =\n  A\naws_secret_access_key = s\n"),
    Case("a section twice", None, DEFAULT + "[default]\nregion = x\n"),
    Case("a section twice in the credentials file", None, None, SHARED + SHARED),
    Case("a key twice", None, "[default]\naws_access_key_id = B\n" + keys("A")),
    Case("inherited settings", "A", section("DEFAULT", keys("A")) + section("profile a", region="x"), None, {},
         {"AWS_PROFILE": "a"}),
    Case("a setting before any section", None, keys("A") + DEFAULT),
    Case("garbage in the config file", None, "garbage\n", SHARED),
    Case("garbage in the config file, with keys of the environment and a profile", None, "garbage\n", None, {},
         {**ENV, "AWS_PROFILE": "a"}),
    Case("garbage in the credentials file", None, DEFAULT, "[default]\ngarbage\n"),
    Case("a file that is not UTF-8", None, b"[default]\naws_access_key_id = \xff\naws_secret_access_key = s\n"),
    Case("an empty file", "SHARED", "", SHARED),
    Case("a folder instead of a file", "SHARED", None, SHARED, {}, {"AWS_CONFIG_FILE": "{folder}"}),
    Case("a device instead of a file", "SHARED", None, SHARED, {}, {"AWS_CONFIG_FILE": "/dev/null"}),
    Case("an id without a secret", None, "[default]\naws_access_key_id = A\n", None, {}, CONTAINER),
    Case("a secret without an id", "CONTAINER", "[default]\naws_secret_access_key = s\n", None, {}, CONTAINER),
    Case("two tokens in a file", "A", section("default", keys("A", aws_session_token="new", aws_security_token="old"))),
    Case("a token in a file", "A", None, section("default", keys("A", aws_session_token="t"))),
    Case("an id in one file and a secret in the other", None, "[default]\naws_secret_access_key = s\n",
         "[default]\naws_access_key_id = A\n"),
]

ROLES = [
    Case("a role with a source", "RBYBASE", section("profile r", role("R", source_profile="base")) + BASE, profile="r",
         type="profile"),
    Case("an external id", "REXTBYBASE",
         section("profile r", role("R", source_profile="base", external_id="EXT")) + BASE, profile="r", type="profile"),
    Case("a session name", "RBYBASEmy-session",
         section("profile r", role("R", source_profile="base", role_session_name="my-session")) + BASE, profile="r",
         type="profile"),
    Case("a chain of roles", "QBYRBYBASE",
         section("profile q", role("Q", source_profile="r")) + section("profile r", role("R", source_profile="base")) + BASE,
         profile="q", type="profile"),
    Case("a chain of four", "PBYQBYRBYBASE",
         section("profile p", role("P", source_profile="q")) + section("profile q", role("Q", source_profile="r"))
         + section("profile r", role("R", source_profile="base")) + BASE, profile="p", type="profile"),
    Case("a cycle", None,
         section("profile q", role("Q", source_profile="r")) + section("profile r", role("R", source_profile="q")),
         profile="q", type="profile"),
    Case("a cycle that does not begin with the profile", None,
         section("profile p", role("P", source_profile="q")) + section("profile q", role("Q", source_profile="r"))
         + section("profile r", role("R", source_profile="q")), profile="p", type="profile"),
    Case("its own source", "RBYOWN", section("profile r", keys("OWN"), role("R", source_profile="r")), profile="r",
         type="profile"),
    Case("its own source, with keys in the credentials file", "RBYOWN", section("profile r", role("R", source_profile="r")),
         section("r", keys("OWN")), profile="r", type="profile"),
    Case("its own source without keys", None, section("profile r", role("R", source_profile="r")), profile="r",
         type="profile"),
    Case("a source with keys and a role", "RBYOWN",
         section("profile r", role("R", source_profile="q")) + section("profile q", keys("OWN"), role("Q", source_profile="base"))
         + BASE, profile="r", type="profile"),
    Case("a source in the credentials file", "RBYBASE", section("profile r", role("R", source_profile="base")),
         section("base", keys("BASE")), profile="r", type="profile"),
    Case("a source that does not exist", None, section("default", role("R", source_profile="none")), SHARED),
    Case("a source without credentials", None, section("default", role("R", source_profile="a")) + section("profile a", region="x"),
         SHARED),
    Case("a source that is default", "RBYDEFAULT", section("profile r", role("R", source_profile="default")) + DEFAULT,
         profile="r", type="profile"),
    Case("a source with a command", "RBYPROCESS",
         section("profile r", role("R", source_profile="p")) + section("profile p", credential_process=PROCESS), None, OUTPUT,
         profile="r", type="profile"),
    Case("a source with a web identity", "RBYPODBYTOKEN",
         section("profile r", role("R", source_profile="pod"))
         + section("profile pod", role("POD", web_identity_token_file="{folder}/token")), None, TOKEN, profile="r",
         type="profile"),
    Case("a source with a web identity does not use that of the environment", "RBYPODBYTOKEN",
         section("default", role("R", source_profile="pod"))
         + section("profile pod", role("POD", web_identity_token_file="{folder}/token")), None, TOKEN, IRSA),
    Case("a source with SSO", "RBYSSOR1BYtok",
         section("profile r", role("R", source_profile="a")) + section("profile a", **OF_SESSION) + SESSION, None, SSO,
         profile="r", type="profile"),
    Case("source_profile and credential_source", None,
         section("default", role("R", source_profile="base", credential_source="Environment")) + BASE, SHARED),
    Case("neither source_profile nor credential_source", None, section("default", role("R")), SHARED),
    Case("a role without a source, but with keys", None, section("default", role("R"), keys("A"))),
    Case("an empty role_arn", None, section("default", keys("A"), role_arn="", source_profile="base") + BASE),
    Case("the source Environment", "RBYENV", section("profile r", role("R", credential_source="Environment")), None, {}, ENV,
         profile="r", type="profile"),
    Case("the source Environment without keys", None, section("default", role("R", credential_source="Environment")), SHARED),
    Case("the source EcsContainer", "RBYCONTAINER", section("default", role("R", credential_source="EcsContainer")), SHARED,
         {}, CONTAINER),
    Case("the source EcsContainer without an endpoint", None, section("default", role("R", credential_source="EcsContainer")),
         SHARED),
    Case("the source Ec2InstanceMetadata", "RBYINSTANCE",
         section("default", role("R", credential_source="Ec2InstanceMetadata")), SHARED, {}, IMDS),
    Case("the source Ec2InstanceMetadata, which is disabled", None,
         section("default", role("R", credential_source="Ec2InstanceMetadata")), SHARED, {},
         {**IMDS, "AWS_EC2_METADATA_DISABLED": "true"}),
    Case("another credential_source", None, section("default", role("R", credential_source="environment")), SHARED, {}, IMDS),
    Case("mfa_serial", None,
         section("default", role("R", source_profile="base", mfa_serial="arn:aws:iam::1:mfa/me")) + BASE, SHARED),
    Case("a web identity in the profile", "PODBYTOKEN",
         section("profile pod", role("POD", web_identity_token_file="{folder}/token")), None, TOKEN, profile="pod",
         type="profile"),
    Case("a web identity in the profile without a role", None, section("default", web_identity_token_file="{folder}/token"),
         SHARED, TOKEN),
    Case("a web identity in the profile wins over a source", "PODBYTOKEN",
         section("default", role("POD", web_identity_token_file="{folder}/token", source_profile="base")) + BASE, None, TOKEN),
    Case("an empty web_identity_token_file", "SHARED", section("default", role("POD", web_identity_token_file="")), SHARED),
    Case("the URL of STS in the profile", "RBYBASE",
         section("default", role("R", source_profile="base"), endpoint_url="{url}") + BASE, None, {},
         {"AWS_ENDPOINT_URL_STS": ""}),
    Case("the URL of STS in a services section", "RBYBASE",
         section("default", role("R", source_profile="base"), services="mine", endpoint_url="http://127.0.0.1:1") + BASE
         + "[services mine]\nsts =\n  endpoint_url = {url}\n", None, {}, {"AWS_ENDPOINT_URL_STS": ""}),
    Case("a services section that does not exist", None,
         section("default", role("R", source_profile="base"), services="none") + BASE, None, {},
         {"AWS_ENDPOINT_URL_STS": ""}),
]

PROCESSES = [
    Case("the output of a command", "PROCESS", section("default", credential_process=PROCESS), None, OUTPUT),
    Case("a command that fails ends the search", None, section("default", keys("A"), credential_process="false"), None, {},
         CONTAINER),
    Case("a command that does not exist", None, section("default", keys("A"), credential_process="no-such-command"), None, {},
         CONTAINER),
    Case("a command that prints no JSON", None, section("default", keys("A"), credential_process="echo x")),
    Case("a command that prints another version", None, section("default", credential_process=PROCESS), None,
         {"process out.json": document("PROCESS").replace("1", "2")}),
    Case("a command that prints no version", None, section("default", credential_process=PROCESS), None,
         {"process out.json": document("PROCESS").replace('"Version": 1, ', "")}),
    Case("a command that prints no secret", None, section("default", credential_process=PROCESS), None,
         {"process out.json": '{"Version": 1, "AccessKeyId": "PROCESS"}'}),
    Case("a command that prints credentials with an expiry", "PROCESS", section("default", credential_process=PROCESS), None,
         {"process out.json": document("PROCESS", Expiration=LATER, SessionToken="t")}),
    Case("a command that prints expired credentials", None, section("default", credential_process=PROCESS), None,
         {"process out.json": document("PROCESS", Expiration="2020-01-01T00:00:00Z")}),
    Case("a command runs without a shell", None, section("default", credential_process=PROCESS + " | cat"), None, OUTPUT),
    Case("a command with # in an argument", "PROCESS",
         section("default", credential_process="sh -c 'cat \"$0\"' '{folder}/#out.json'"), None,
         {"#out.json": document("PROCESS")}),
    Case("a command with a word that begins with #", None,
         section("default", credential_process="cat {folder}/out.json #none"), None, {"out.json": document("PROCESS")}),
    Case("a quote without an end in a command", None, section("default", credential_process="cat 'x"), None, {}, CONTAINER),
    Case("an empty command", None, section("default", credential_process=""), None, {}, CONTAINER),
]

SINGLE_SIGN_ON = [
    Case("SSO with a session", "SSOR1BYtok", section("profile a", **OF_SESSION) + SESSION, None, SSO, profile="a",
         type="profile"),
    Case("SSO without a session", "SSOR1BYold", section("profile a", **LEGACY), None, {cached("https://start"): token("old")},
         profile="a", type="profile"),
    Case("SSO with an old form of time", "SSOR1BYold", section("profile a", **LEGACY), None,
         {cached("https://start"): token("old", "2199-01-01T00:00:00UTC")}, profile="a", type="profile"),
    Case("SSO with a quoted session", "SSOR1BYtok",
         section("profile a", **{**OF_SESSION, "sso_session": "my s"}) + SESSION.replace("-session s", "-session 'my s'"),
         None, {cached("my s"): token("tok")}, profile="a", type="profile"),
    Case("SSO without a token", None, section("default", **OF_SESSION) + SESSION, SHARED),
    Case("SSO with an expired token", None, section("default", **OF_SESSION) + SESSION, SHARED,
         {cached("s"): token("tok", "2020-01-01T00:00:00Z")}),
    Case("SSO without a session, with an expired token that could be renewed", None, section("default", **LEGACY), SHARED,
         {cached("https://start"): token("tok", "2020-01-01T00:00:00Z", **RENEWAL)}),
    Case("SSO with a token that is renewed", "SSOR1BYrenewed", section("default", **OF_SESSION) + SESSION, SHARED,
         {cached("s"): token("tok", "2020-01-01T00:00:00Z", **RENEWAL)}),
    Case("SSO with an expired registration", None, section("default", **OF_SESSION) + SESSION, SHARED,
         {cached("s"): token("tok", "2020-01-01T00:00:00Z", **{**RENEWAL, "registrationExpiresAt": "2020-01-01T00:00:00Z"})}),
    Case("SSO with a rejected token", None, section("default", **OF_SESSION) + SESSION, SHARED, {cached("s"): token("revoked")}),
    Case("SSO with a token file that is garbage", None, section("default", **OF_SESSION) + SESSION, SHARED, {cached("s"): "x"}),
    Case("SSO with a token file without an expiry", None, section("default", **OF_SESSION) + SESSION, SHARED,
         {cached("s"): '{"accessToken": "tok"}'}),
    Case("SSO without a section for its session", None, section("default", **OF_SESSION), SHARED, SSO),
    Case("SSO without an account", None, section("default", sso_session="s", sso_role_name="R") + SESSION, SHARED, SSO),
    Case("SSO without a region", None, section("default", **OF_SESSION) + SESSION.replace("sso_region", "x"), SHARED, SSO),
    Case("SSO settings that differ from those of the session", None,
         section("default", sso_region="us-east-1", **OF_SESSION) + SESSION, SHARED, SSO),
    Case("SSO settings that repeat those of the session", "SSOR1BYtok",
         section("default", sso_region="eu-west-1", **OF_SESSION) + SESSION, SHARED, SSO),
    Case("a session without a role is not for S3", "SHARED", section("default", sso_session="s") + SESSION, SHARED, SSO),
    Case("the URL of SSO in the profile", "SSOR1BYtok", section("default", endpoint_url="{url}", **OF_SESSION) + SESSION, None,
         SSO, {"AWS_ENDPOINT_URL_SSO": ""}),
]

CASES = PRECEDENCE + VARIABLES + FILES + ROLES + PROCESSES + SINGLE_SIGN_ON
