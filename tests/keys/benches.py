"""Key services of the tests: files in memory, and tokens of a real SoftHSM; and files encrypted by the real openssl."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Protocol

import pkcs11
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from pkcs11 import Attribute, KeyType, ObjectClass
from pkcs11.util.rsa import decode_rsa_private_key

from domicile.stores.keyservices import KeyService
from domicile.stores.keyservices.files import FileKeys
from domicile.stores.keyservices.tokens import Place, TokenKeys

MODULE: Final = "/usr/lib/softhsm/libsofthsm2.so"
PIN: Final = "1234"
TOKEN: Final = "keys"
REPLICA: Final = "replica"
MEMORY: Final = Path("/dev/shm")
Public = rsa.RSAPublicKey
_POOL: Final[list[rsa.RSAPrivateKey]] = []
_SIGNER: Final = rsa.generate_private_key(65537, 2048)


class Bench(Protocol):
    """A service that keys can be made in; `public` halves come out."""

    service: KeyService

    def make(self, key: str, *, bits: int = 2048) -> Public:
        """Make another generation of a key, as an operator who does all right."""
        ...

    def make_exportable(self, key: str) -> Public:
        """Make one that anybody may copy."""
        ...

    def put_twice(self, key: str) -> Public:
        """Make one and a copy of it under another name, in another place that the service knows."""
        ...

    def lose_a_place(self) -> None:
        """Have one of the places not answer any more."""
        ...

    def unforgetting(self) -> KeyService:
        """The same service, without the operator's word that it forgets."""
        ...


@dataclass(slots=True)
class Files:
    """Two folders in memory."""

    root: Path
    service: KeyService = field(init=False)
    _made: int = 0

    def __post_init__(self) -> None:
        for name in (TOKEN, REPLICA):
            (self.root / name).mkdir()
        self.service = self.opened(forgets=True)

    def opened(self, *, forgets: bool) -> FileKeys:
        return FileKeys("desk", self.root / TOKEN, copies=[self.root / REPLICA], forgets=forgets)

    def rule(self) -> str:
        """The service, as the file has it."""
        return f"{{kind: file, path: {self.root / TOKEN}, copies: [{self.root / REPLICA}], forgets: true}}"

    def unforgetting(self) -> KeyService:
        return self.opened(forgets=False)

    def place(self, key: str, *, at: str = TOKEN) -> Path:
        folder = self.root / at / key
        folder.mkdir(exist_ok=True)
        return folder / f"{len(list(folder.iterdir())) + 1}.pem"

    def make(self, key: str, *, bits: int = 2048) -> Public:
        secret = _pooled(self._made) if bits == 2048 else rsa.generate_private_key(65537, bits)
        self._made += 1
        write(self.place(key), secret)
        return secret.public_key()

    def make_exportable(self, key: str) -> Public:
        public = self.make(key)
        next((self.root / TOKEN / key).iterdir()).chmod(0o644)
        return public

    def put_twice(self, key: str) -> Public:
        secret = _pooled(self._made)
        self._made += 1
        write(self.place(key), secret)
        write(self.place("something-else", at=REPLICA), secret)
        return secret.public_key()

    def lose_a_place(self) -> None:
        shutil.rmtree(self.root / REPLICA)


def _pooled(number: int) -> rsa.RSAPrivateKey:
    """The same keys for each test: to make one takes up to a second."""
    while len(_POOL) <= number:
        _POOL.append(rsa.generate_private_key(65537, 2048))
    return _POOL[number]


def write(path: Path, *secrets: rsa.RSAPrivateKey, passphrase: bytes | None = None, mode: int = 0o600) -> None:
    """Write keys as PEM, long ago."""
    sealing = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    path.write_bytes(b"".join(secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, sealing) for secret in secrets))
    path.chmod(mode)
    os.utime(path, (0, 0))


@dataclass(slots=True)
class Tokens:
    """Two tokens of SoftHSM; one of them can be renamed away."""

    folder: Path
    service: KeyService = field(init=False)
    replica: str = REPLICA

    def __post_init__(self) -> None:
        self.service = self.opened(forgets=True)

    def opened(self, *, forgets: bool, pin: str = PIN) -> TokenKeys:
        place = Place(module=MODULE, token=TOKEN, copies=(self.replica,), pin=pin)
        return TokenKeys("hsm", place, forgets=forgets)

    def rule(self) -> str:
        """The service, as the file has it."""
        return (
            f"{{kind: pkcs11, module: {MODULE}, token: {TOKEN}, pin: env:HSM_PIN, copies: [{REPLICA}], forgets: true}}"
        )

    def unforgetting(self) -> KeyService:
        return self.opened(forgets=False)

    def make(self, key: str, *, bits: int = 2048, **attributes: Any) -> Public:
        template = {Attribute[name]: value for name, value in attributes.items()}
        with session(TOKEN) as opened:
            public, _ = opened.generate_keypair(
                KeyType.RSA, bits, label=key, store=True, private_template=template
            )  # fmt: skip
            numbers = rsa.RSAPublicNumbers(
                int.from_bytes(public[Attribute.PUBLIC_EXPONENT]), int.from_bytes(public[Attribute.MODULUS])
            )
        return numbers.public_key()

    def make_exportable(self, key: str) -> Public:
        return self.make(key, EXTRACTABLE=True)

    def put_twice(self, key: str) -> Public:
        """A key that came from elsewhere, in both tokens: none that was made in one could be."""
        secret = rsa.generate_private_key(65537, 2048)
        der = secret.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        for token, label in ((TOKEN, key), (REPLICA, "something-else")):
            with session(token) as opened:
                opened.create_object(
                    {
                        **decode_rsa_private_key(der), Attribute.TOKEN: True, Attribute.LABEL: label,
                        Attribute.DECRYPT: True, Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False,
                    }
                )  # fmt: skip
        return secret.public_key()

    def lose_a_place(self) -> None:
        self.replica = "gone"
        self.service = self.opened(forgets=True)

    def empty(self) -> None:
        """Destroy whatever a test left."""
        for token in (TOKEN, REPLICA):
            with session(token) as opened:
                for kind in (ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY):
                    for item in list(opened.get_objects({Attribute.CLASS: kind})):
                        item.destroy()


def session(token: str) -> Any:
    """Log in to write."""
    return pkcs11.lib(MODULE).get_token(token_label=token).open(rw=True, user_pin=PIN)


def token_folder() -> Iterator[Path]:
    """Tokens in a folder of their own, for this process and those that it starts."""
    folder = Path(tempfile.mkdtemp(prefix="domicile-test-tokens-", dir="/var/tmp"))
    configuration = folder / "softhsm2.conf"
    (folder / "tokens").mkdir()
    configuration.write_text(
        f"directories.tokendir = {folder / 'tokens'}\nobjectstore.backend = file\nlog.level = ERROR\n"
    )
    before = os.environ.get("SOFTHSM2_CONF")
    os.environ["SOFTHSM2_CONF"] = str(configuration)
    for label in (TOKEN, REPLICA):
        subprocess.run(
            ["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", "56789"],
            check=True, capture_output=True,
        )  # fmt: skip
    yield folder
    pkcs11.unload(MODULE)
    if before is None:
        del os.environ["SOFTHSM2_CONF"]
    else:
        os.environ["SOFTHSM2_CONF"] = before
    shutil.rmtree(folder)


def certificate(public: Public) -> bytes:
    """A certificate for a public half, with its key identifier, as PEM; who signed it is of no matter."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "backups")])
    begin = datetime(2019, 1, 1, tzinfo=UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(7)
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=36500))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .sign(_SIGNER, hashes.SHA256())
    )
    return made.public_bytes(Encoding.PEM)


def encrypt(
    plain: bytes,
    target: Path,
    *publics: Public,
    options: tuple[str, ...] = ("-stream",),
    by_name: bool = False,
    oaep: bool = False,
) -> Path:
    """Let the real openssl encrypt for these keys, as an operator's archive_command does."""
    with tempfile.TemporaryDirectory() as folder:
        words: list[str] = []
        for number, public in enumerate(publics):
            path = Path(folder) / f"{number}.crt"
            path.write_bytes(certificate(public))
            words += ["-recip", str(path), *(["-keyopt", "rsa_padding_mode:oaep"] if oaep else [])]
        subprocess.run(
            [
                "openssl", "cms", "-encrypt", "-binary", "-aes256", *([] if by_name else ["-keyid"]), *options,
                "-outform", "DER", "-out", str(target), *words,
            ],
            input=plain, check=True, capture_output=True,
        )  # fmt: skip
    return target
