"""What secrets look like in command lines: names that hold them, shapes that they have.

Programs whose short options take a secret are listed one by one, because `-p` is a password here
and a port there. Everything is matched in time linear in the text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_STRONG = (  # a secret wherever it stands in a name, between its ends, `-`, `_`, `.` or case
    r"(?:pass(?:word|wd|wort|phrase|code)s?|secrets?|token|credentials?|authtoken|authorization|"
    r"(?:api|app|access|secret|private|signing|encryption|encrypt|master|account|shared|license|"
    r"client|service|session|storage|user|auth|webhook|ssh|rsa|aes|hmac|jwt)[-_.]?keys?|"
    r"apikeys?|authkeys?)"
)
_WEAK = r"(?:pass|pwd|pw|psk|auth|bearer|otp|cookie|sshpass|requirepass|masterauth|signature|sig)"
_BEGIN = r"(?:^|[-_.:/]|(?-i:[a-z])(?=(?-i:[A-Z])))"
SECRET_NAME = re.compile(
    rf"{_BEGIN}{_STRONG}[0-9]{{0,2}}(?:$|[-_.]|(?=(?-i:[A-Z])))"
    rf"|{_BEGIN}{_WEAK}[0-9]{{0,2}}$"
    r"|[a-z](?:password|passwd|passphrase|secret|token)$"
    r"|^(?:pg|mysql|redis|ldap|smtp|db|ftp|mongo|root|admin|user|new|old|my|bind|key|store|trust|"
    r"src|dest|sql)(?:pass|pwd|pw)$",
    re.IGNORECASE,
)
# Of such names, those whose value is no secret: a place, a way, a number, a switch.
HARMLESS_NAME = re.compile(
    r"(?:files?|path|dir|directory|fd|stdin|prompt|command|cmd|env|names?|types?|methods?|"
    r"mode|length|len|limit|count|ttl|timeout|expiry|expires|expiration|age|duration|policy|"
    r"algorithm|algo|urls?|uri|endpoint|issuer|audience|hosts?|port|provider|plugin|class|ids?|"
    r"format|header|field|claim|scheme|enabled|disabled|required|ref|location|version|jar|"
    r"min|max|size|bits|rounds|iterations|interval|domain|realm|servers?|backend|helper|list|"
    r"authentication|engine|manager|reset|rotation)$"
    r"|^(?:no|ask|use|without|disable|enable|skip|require|allow|max|min|num|n|prompt|"
    r"get|show|print|list|verify|validate|check)[-_.]"
    r"|^(?-i:(?:OLD)?PWD)$",
    re.IGNORECASE,
)
SECRET_ID = re.compile(r"(?:^|[-_.])secret[-_]?id$", re.IGNORECASE)  # of Vault: no id, a secret
HARMLESS_VALUE = re.compile(
    r"(?:true|false|yes|no|on|off|none|null|ask|prompt|auto|disabled|enabled|0|1|"
    r"\$\{?[A-Za-z_][A-Za-z0-9_]*\}?|(?:env|file|fd):[A-Za-z0-9_./-]*)?[\"']?",
    re.IGNORECASE,
)

# Shapes of well-known tokens; what follows one without a blank belongs to it. They stand whole:
# a token that is cut off is still found by its head.
TOKENS = re.compile(
    r"eyJ[A-Za-z0-9_-]{6,}[A-Za-z0-9_.=-]*"  # JWT
    r"|\b(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{8,}"  # AWS key ids
    r"|\b(?:gh[pousr]_|github_pat_)[A-Za-z0-9_]{8,}"
    r"|\bgl(?:pat|dt|rt|cbt|ptt|ft|soat|agent)-[A-Za-z0-9_.-]{8,}"
    r"|\bx(?:ox[a-z]|app)-[A-Za-z0-9.-]{6,}"  # Slack
    r"|\b(?:[sr]k|pk|whsec)_(?:live_|test_)?[A-Za-z0-9]{12,}"  # Stripe
    r"|\bAIza[A-Za-z0-9_-]{16,}|\bya29\.[A-Za-z0-9_.-]{8,}|\bGOCSPX-[A-Za-z0-9_-]{8,}"  # Google
    r"|\bsk-[A-Za-z0-9_-]{16,}"  # OpenAI, Anthropic
    r"|\bhf_[A-Za-z0-9]{16,}"
    r"|\bnpm_[A-Za-z0-9]{16,}|\bpypi-[A-Za-z0-9_-]{16,}|\bdckr_(?:pat|oat)_[A-Za-z0-9_-]{8,}"
    r"|\b(?:hv[sbr]|s)\.[A-Za-z0-9_-]{20,}"  # HashiCorp Vault
    r"|\b[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_=-]{8,}"  # Terraform Cloud
    r"|\bdo[opr]_v1_[a-f0-9]{8,}"  # DigitalOcean
    r"|\bSG\.[A-Za-z0-9_-]{8,}[A-Za-z0-9_.-]*"  # SendGrid
    r"|\bkey-[a-f0-9]{32}"  # Mailgun
    r"|\bgl(?:sa|c)_[A-Za-z0-9_=+/-]{16,}"  # Grafana
    r"|\bNRAK-[A-Z0-9]{16,}|\bdapi[a-f0-9]{24,}|\bshp(?:at|ss|ca|pa)_[a-fA-F0-9]{16,}"
    r"|\bhpe?_[0-9a-f]{8}_[A-Za-z0-9_.-]{8,}"  # hostpulse: keys and enrolment tokens
    r"|\b[0-9]{8,10}:AA[A-Za-z0-9_-]{24,}"  # Telegram
    r"|\bAGE-SECRET-KEY-1[A-Z0-9]{8,}"
)
WEBHOOKS = re.compile(
    r"(hooks\.slack\.com/(?:services|workflows)/|discord(?:app)?\.com/api/webhooks/|"
    r"outlook\.office\.com/webhook/|api\.telegram\.org/bot)[^\s\"']+",
    re.IGNORECASE,
)
PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----[\s\S]*")
SCHEMES = re.compile(
    r"\b(bearer|basic|digest|negotiate|token|apikey|aws4-hmac-sha256)([ :=]\s{0,4})"
    r"(?=[A-Za-z0-9+/_.~=:,-]{8})[^\s\"']+",
    re.IGNORECASE,
)
HEADER = re.compile(
    r"^(\s{0,4}[\"']?(?:proxy-)?(?:authorization|x-[a-z0-9-]*(?:token|key|auth|secret|password)"
    r"|cookie|set-cookie|api-?key|apikey|private-token|job-token|deploy-token"
    r"|ocp-apim-subscription-key|dd-api-key|circle-token|x-auth-[a-z]*|access-token)[\"']?\s{0,4}:)"
    r"[\s\S]+",
    re.IGNORECASE,
)
OPENSSL_PASS = re.compile(r"^(pass:)[\s\S]+")

# scheme://user:password@host; a password may hold `@` and, wrongly, `/`.
URL_PASSWORD = re.compile(
    r"([A-Za-z][A-Za-z0-9+.-]{0,30}://[^\s:/@?#\"']*:)(?![0-9]{1,5}(?:[/?#\s\"']|$))"
    r"[^\s\"'?#@]*@(?:[^\s\"'/?#@]*@)*"
)
URL_TOKEN = re.compile(r"(https?://)[A-Za-z0-9_~.%+-]{16,}@", re.IGNORECASE)

JSON_PAIR = re.compile(
    r"([\"'])([A-Za-z0-9_.\-]{1,80})\1(\s{0,4}:\s{0,4})(\"(?:[^\"\\]|\\.)*\"?|'[^']*'?|[^\s,}\]\"']+)"
)
LOOSE_PAIR = re.compile(
    r"\b([A-Za-z0-9_.\-]{1,80})(\s{1,4}=>?\s{1,4}|:\s{1,4})"
    r"((?:(?i:bearer|basic|digest|token)\s{1,4})?(?:\"[^\"]*\"?|'[^']*'?|[^\s;,]+))"
)
SQL_PASSWORD = re.compile(
    r"\b((?:identified\s{1,4}(?:with\s{1,4}\S{1,40}\s{1,4})?by|password)\s{1,4}(?:=\s{0,4})?)"
    r"('[^']*'?|\"[^\"]*\"?)",
    re.IGNORECASE,
)
# KEY=VALUE, and what stands before it: that says where the value ends.
ASSIGNED = re.compile(
    r"(^|[\s,;&?{(|'\"=:]|--|-[A-Za-z]|/[a-z]:)([A-Za-z0-9_.\-\[\]]{1,80}?)"
    r"([\"']?\]?(?:=|:(?!//)))"
)
VALUE_ENDS = {"&": "&#", "?": "&#", ",": ",", ";": ";", "{": ",}", "(": ",)", "|": "|"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """The options of a program that take a secret.

    Attributes:
        following: The secret is the next argument: `-w SECRET`.
        attached: The secret is the rest of the argument: `-pSECRET`.
        pair: As `following`, of `user:SECRET`.
        separators: What stands between the two.
        positions: Words after which the secret stands, so many further.
        subcommand: Without this word, none of that counts.
        last_with: With a switch of this letter, the last argument is a secret.
        slashed: `user/SECRET@database` is a login.
    """

    following: frozenset[str] = frozenset()
    attached: tuple[str, ...] = ()
    pair: frozenset[str] = frozenset()
    separators: str = ":"
    positions: tuple[tuple[str, int], ...] = ()
    subcommand: str = ""
    last_with: str = ""
    slashed: bool = False


NO_PROGRAM = Program()
_MYSQL = Program(attached=("-p",))
_LDAP = Program(following=frozenset({"-w"}), attached=("-w",))
_MONGO = Program(following=frozenset({"-p"}), attached=("-p",))
_SMB = Program(pair=frozenset({"-U", "--user"}), separators="%")
_LOGIN = Program(
    following=frozenset({"-p"}),
    pair=frozenset({"--creds", "--src-creds", "--dest-creds"}),
    subcommand="login",
)
_CAPITAL_P = Program(following=frozenset({"-P"}), attached=("-P",))
_ARCHIVE = Program(attached=("-hp", "-p"))
_SLASHED = Program(slashed=True)

_BY_NAMES: Mapping[str, Program] = {
    "mysql mysqldump mysqladmin mysqlimport mysqlcheck mysqlshow mysqlslap mysqlpump mysqlbinlog "
    "mysqlsh mariadb mariadb-dump mariadb-admin mariadb-backup mariadb-check mariadb-import "
    "xtrabackup innobackupex mydumper myloader pt-query-digest pt-table-checksum": _MYSQL,
    "curl": Program(
        pair=frozenset({"-u", "--user", "-U", "--proxy-user", "-E", "--cert"}),
        following=frozenset({"-b", "--cookie"}),
    ),
    "http https httpie xh xhs": Program(pair=frozenset({"-a", "--auth"})),
    "redis-cli redis-benchmark valkey-cli valkey-benchmark keydb-cli": Program(
        following=frozenset({"-a"})
    ),
    "mongo mongosh mongodump mongorestore mongoexport mongoimport mongostat mongotop mongofiles": (
        _MONGO
    ),
    "ldapsearch ldapadd ldapmodify ldapdelete ldapmodrdn ldapcompare ldapwhoami ldapexop": _LDAP,
    "ldappasswd": Program(following=frozenset({"-w", "-s", "-a"}), attached=("-w", "-s", "-a")),
    "smbclient smbget rpcclient net smbcacls smbtree winexe": _SMB,
    "sshpass": Program(following=frozenset({"-p"}), attached=("-p",)),
    "docker podman nerdctl buildah skopeo helm oras": _LOGIN,
    "openssl": Program(following=frozenset({"-k", "-K"})),
    "zip unzip sqlcmd bcp isql osql ipmitool": _CAPITAL_P,
    "mosquitto_pub mosquitto_sub mosquitto_rr": Program(following=frozenset({"-P"})),
    "7z 7za 7zr 7zz rar unrar": _ARCHIVE,
    "useradd usermod cqlsh xmrig ncftp ncftpget ncftpput cypher-shell": Program(
        following=frozenset({"-p"})
    ),
    "htpasswd": Program(last_with="b"),
    "sqlplus sqlldr exp imp expdp impdp rman": _SLASHED,
    "snmpwalk snmpget snmpset snmpbulkwalk snmpgetnext snmptrap snmptable": Program(
        following=frozenset({"-A", "-X", "-c"})
    ),
    "lftp": Program(pair=frozenset({"-u", "--user"}), separators=","),
    "influx": Program(following=frozenset({"-t"})),
    "nsupdate": Program(pair=frozenset({"-y"})),
    "rabbitmqctl": Program(
        positions=(("add_user", 2), ("change_password", 2), ("authenticate_user", 2))
    ),
    "wpa_passphrase": Program(positions=(("wpa_passphrase", 2),)),
    "rclone": Program(
        positions=(("obscure", 1), ("reveal", 1), ("pass", 1), ("password", 1), ("token", 1))
    ),
    "ssh-keygen": Program(following=frozenset({"-N", "-P"})),
    "az": Program(following=frozenset({"-p"}), subcommand="login"),
    "etcdctl": Program(pair=frozenset({"--user"})),
    "mc": Program(positions=(("set", 4), ("add", 4))),
    "ngrok": Program(positions=(("authtoken", 1), ("add-authtoken", 1))),
    "pulumi": Program(positions=(("--secret", 2),)),
    "vault": Program(positions=(("login", 1), ("unseal", 1))),
    "nmcli": Program(positions=(("password", 1), ("wifi-sec.psk", 1), ("psk", 1))),
    "aws": Program(positions=(("aws_secret_access_key", 1), ("aws_session_token", 1))),
    # They end the rules of the program that runs them: their `-p` is a port.
    "ssh scp sftp rsync psql pg_dump pg_restore": NO_PROGRAM,
}
PROGRAMS: Mapping[str, Program] = {
    name: program for names, program in _BY_NAMES.items() for name in names.split()
}


def is_secret(name: str) -> bool:
    """Whether the value of something with this name is a secret."""
    bare = name.lstrip("-")
    if SECRET_NAME.search(bare) is None:
        return False
    return HARMLESS_NAME.search(bare) is None or SECRET_ID.search(bare) is not None
