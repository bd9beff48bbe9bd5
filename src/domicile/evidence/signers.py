"""Keys that lie elsewhere, named by a securesystemslib URI (docs/keys.md, ADR 0040).

    file2:/run/keys/monitor.pem           Ed25519 in PKCS#8 PEM, unencrypted, for its owner alone
    hsm:7?label=signing                   PKCS#11: the key of CKA_ID 7 in the token of that label
    hv:domicile-log/3                     HashiCorp Vault, transit engine: key and version

Notes and envelopes want pure Ed25519 over the bytes as they are (signed-note, "Signature types"; DSSE). Of
securesystemslib's signers only those of files and of Vault do that. Its own for PKCS#11 signs by ECDSA alone, so the
same URI is opened here by a signer of the same interface that asks the token for EdDSA. Its own for Vault signs with
any version of a key, but finds the newest one only and asks for no type: here Vault is asked for the version that the
URI names. The rest is refused by name.
"""

from __future__ import annotations

import os
import re
import stat
import threading
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib import parse

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from domicile.errors import BadFile, DomicileError, HostFault, NotPermitted, Unreachable
from domicile.evidence.keys import SEED_BYTES, Signer, Verifier, load_signer, parse_vkey
from domicile.host import Host

if TYPE_CHECKING:
    import hvac
    import pkcs11
    from securesystemslib.signer import Signer as LibrarySigner

KEY_ID_DEFAULT: Final = 2
"""The CKA_ID that a URI without one means: securesystemslib's HSMSigner, a YubiKey's slot 9c."""
PEM_BYTES_MAX: Final = 16 * 1024
URI_CHARS_MAX: Final = 1_024
MODULE_VARIABLE: Final = "PYKCS11LIB"
_URI = re.compile(r"[a-z][a-z0-9+.-]*:.*", re.DOTALL | re.IGNORECASE)
_NOT_PURE: Final[Mapping[str, str]] = {
    "awskms": "securesystemslib asks AWS KMS for ECDSA or RSA only",
    "azurekms": "securesystemslib asks Azure Key Vault for ECDSA only",
    "gcpkms": "securesystemslib asks Google Cloud KMS for ECDSA, RSA or ML-DSA only",
    "gnupg": "GnuPG signs a hash of the bytes and words of its own",
    "tkey": "securesystemslib asks a TKey for ML-DSA only",
    "sigstore": "sigstore signs by ECDSA with keys that live for minutes",
}
_PREFIX: Final = "HELD"
_ONE_BY_ONE: Final = threading.Lock()
"""A login is that of a whole process, and so is a logout (PKCS #11 v3.0, 5.6.8): threads sign one after the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a key is held: a URI, and a reference (`env:NAME`, `file:PATH`) to the pin that it asks for."""

    uri: str
    secret: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """A key to open: its place, and what references and paths are resolved by."""

    place: Place
    host: Host
    base: Path

    @property
    def uri(self) -> str:
        return self.place.uri

    def pin(self) -> str:
        if self.place.secret is None:
            raise BadFile(
                f"key {self.uri}: asks for a pin; say where it is (`--secret env:NAME`, `secret:` in the file)"
            )
        return self.host.secret(self.place.secret, base=self.base)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A key that lies elsewhere: its public half, and who is asked to sign with it."""

    public: bytes
    uri: str
    by: Callable[[bytes], bytes] = field(repr=False)
    """Asks for a signature over these bytes."""

    def sign(self, message: bytes) -> bytes:
        with _faults(self.uri):
            return self.by(message)


def is_uri(text: str) -> bool:
    """Say whether this names a key elsewhere, and not a file that `domicile keys new` wrote."""
    return bool(_URI.fullmatch(text)) and not Path(text).exists()


def open_key(text: str, *, secret: str | None, host: Host, name: str) -> Signer:
    """Open a key: a file of `domicile keys new`, or a URI (paths from where we are); `name` is for one of a URI."""
    if not is_uri(text):
        return load_signer(Path(text))
    return open_place(Place(uri=text, secret=secret), name=name, host=host, base=Path())


def open_place(place: Place, *, name: str, host: Host, base: Path, verifier: Verifier | None = None) -> Signer:
    """Open a key that lies elsewhere; with `verifier`, NotPermitted if another one lies there by now.

    Raises BadFile for a URI that can't sign here, HostFault where a package is missing, Unreachable and NotPermitted
    where the place refuses.
    """
    scheme = place.uri.partition(":")[0]
    if len(place.uri) > URI_CHARS_MAX or not place.uri.isprintable():
        raise BadFile(f"key: a URI has at most {URI_CHARS_MAX} printable characters; name the key again")
    if scheme not in _OPENERS:
        why = _NOT_PURE.get(scheme, "no signer of that name does")
        raise BadFile(
            f"key {place.uri}: can't sign by pure Ed25519, which notes and envelopes want ({why}); take "
            f"{', '.join(f'{known}:' for known in sorted(_OPENERS))} or a file of `domicile keys new`"
        )
    with _faults(place.uri):
        held = _OPENERS[scheme](_Wanted(place=place, host=host, base=base))
    signer = Signer(name=name, held=held)
    if verifier is not None and signer.verifier != verifier:
        raise NotPermitted(
            f"key {place.uri}: holds another key than {verifier.keyid}; put that one back, or rotate to the new one "
            "(docs/keys.md)"
        )
    return signer


def write_place(place: Place, verifier: Verifier) -> str:
    """Spell where a key is held, and which, as one line for the programme's folder."""
    words = [_PREFIX, verifier.vkey, parse.quote(place.uri, safe=":/?=&"), parse.quote(place.secret or "-", safe=":/")]
    return " ".join(words) + "\n"


def read_place(line: str) -> tuple[Place, Verifier] | None:
    """Read such a line; None for any other, BadFile for one that is broken."""
    words = line.split(" ")
    if words[0] != _PREFIX:
        return None
    if len(words) != 4 or not line.endswith("\n"):
        raise BadFile("key: not one line of HELD, key, URI and secret; restore the file from its safe copy")
    secret = parse.unquote(words[3][:-1])
    return Place(uri=parse.unquote(words[2]), secret=None if secret == "-" else secret), parse_vkey(words[1])  # noqa: S105 - no secret: the sign for none


def _asking(signer: LibrarySigner) -> Callable[[bytes], bytes]:
    return lambda message: bytes.fromhex(signer.sign(message).signature)


# -- files ----------------------------------------------------------------------------------------------------------


def _open_file(wanted: _Wanted) -> _Asked:
    from securesystemslib.signer import CryptoSigner  # noqa: PLC0415 - half a second that only such keys need

    path = wanted.base / parse.unquote(parse.urlparse(wanted.uri).path)
    with path.open("rb") as source:
        if stat.S_IMODE(os.fstat(source.fileno()).st_mode) & 0o077:
            raise BadFile(f"key file {path}: others may read it; run `chmod 600` on it, or make a new key")
        data = source.read(PEM_BYTES_MAX + 1)
    try:
        key = load_pem_private_key(data, None)
    except TypeError:
        raise BadFile(f"key file {path}: stands under a passphrase; hold such a key in a token or a service") from None
    except ValueError:
        raise BadFile(
            f"key file {path}: not a private key in PEM; `openssl genpkey -algorithm ed25519` makes one"
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise BadFile(f"key file {path}: not an Ed25519 key; `openssl genpkey -algorithm ed25519` makes one")
    return _Asked(public=key.public_key().public_bytes_raw(), uri=wanted.uri, by=_asking(CryptoSigner(key)))


# -- PKCS#11 --------------------------------------------------------------------------------------------------------


def _open_token(wanted: _Wanted) -> _Asked:
    uri = parse.urlparse(wanted.uri)
    if uri.path and not (uri.path.isascii() and uri.path.isdecimal()):
        raise BadFile(f"key {wanted.uri}: not hsm:ID?label=TOKEN with a number as ID (CKA_ID); name the key so")
    number = int(uri.path or KEY_ID_DEFAULT)
    token = _Token(
        wanted=wanted, label=dict(parse.parse_qsl(uri.query)).get("label"),
        key_id=number.to_bytes((number.bit_length() + 7) // 8 or 1, "big"),
    )  # fmt: skip
    return _Asked(public=token.public(), uri=wanted.uri, by=token.sign)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Token:
    """One Ed25519 key in one token (PKCS #11 v3.0, 2.3.6 and 2.3.14: CKK_EC_EDWARDS, CKM_EDDSA without parameters)."""

    wanted: _Wanted
    label: str | None
    key_id: bytes

    @contextmanager
    def opened(self) -> Iterator[pkcs11.Session]:
        import pkcs11  # noqa: PLC0415 - an extra

        uri, module = self.wanted.uri, self.wanted.host.environment.get(MODULE_VARIABLE)
        if not module:
            raise BadFile(f"key {uri}: set {MODULE_VARIABLE} to the token's PKCS#11 library (a file ending in .so)")
        pin, flags = self.wanted.pin(), pkcs11.TokenFlag.TOKEN_INITIALIZED
        with _ONE_BY_ONE:
            found = list(pkcs11.lib(module).get_tokens(token_label=self.label, token_flags=flags))
            if len(found) != 1:
                raise Unreachable(
                    f"key {uri}: {len(found)} tokens fit; name one by ?label=, and check the library's own settings"
                )
            with found[0].open(user_pin=pin) as session:
                yield session

    def public(self) -> bytes:
        from pkcs11 import Attribute, KeyType, ObjectClass  # noqa: PLC0415 - an extra

        with self.opened() as session:
            found = session.get_objects({Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.ID: self.key_id})
            keys = [key for key in found if key[Attribute.KEY_TYPE] == KeyType.EC_EDWARDS]
            points = [bytes(key[Attribute.EC_POINT]) for key in keys]
        # bare (PKCS #11 v3.0), or as an OCTET STRING in DER
        if len(points) != 1 or len(points[0]) not in (SEED_BYTES, SEED_BYTES + 2):
            raise BadFile(
                f"key {self.wanted.uri}: {len(points)} Ed25519 keys of that CKA_ID in the token; make one of "
                "edwards25519 with its public half (docs/keys.md)"
            )
        return points[0][-SEED_BYTES:]

    def sign(self, message: bytes) -> bytes:
        from pkcs11 import KeyType, Mechanism, ObjectClass  # noqa: PLC0415 - an extra

        with self.opened() as session:
            private: Any = session.get_key(ObjectClass.PRIVATE_KEY, KeyType.EC_EDWARDS, id=self.key_id)
            return bytes(private.sign(message, mechanism=Mechanism.EDDSA))


# -- Vault ----------------------------------------------------------------------------------------------------------


_VAULT_URI: Final = re.compile(
    r"hv:(?P<name>[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?)/(?P<version>[1-9][0-9]{0,8})"
)
"""Names as Vault allows them, none of which leads out of transit/keys/; each version in one spelling."""
_VAULT_FAULTS: Final[Mapping[str, tuple[type[DomicileError], str, str]]] = {
    "Forbidden": (
        NotPermitted, "Vault does not permit it",
        "set VAULT_TOKEN to a token that may read transit/keys/{name} and update transit/sign/{name}",
    ),
    "InvalidPath": (
        BadFile, "Vault has no such key",
        "`vault list transit/keys` shows those it has; see that VAULT_ADDR is right and the engine is at transit/",
    ),
    "VaultDown": (Unreachable, "Vault is sealed", "unseal it, and run the same command again"),
}  # fmt: skip
"""What hvac raises: what it means, and what to do."""
_VAULT_ELSE: Final = (Unreachable, "Vault refused", "see what its own log says, and run the same command again")


def _open_vault(wanted: _Wanted) -> _Asked:
    import hvac  # noqa: PLC0415 - an extra

    named = _VAULT_URI.fullmatch(wanted.uri)
    if named is None:
        raise BadFile(f"key {wanted.uri}: not hv:KEY/VERSION, like hv:domicile-log/1; name the key so")
    key = _VaultKey(uri=wanted.uri, name=named["name"], version=int(named["version"]), client=hvac.Client())
    public = key.public()
    return _Asked(public=public.public_bytes_raw(), uri=wanted.uri, by=key.signing(public))


@dataclass(frozen=True, slots=True, kw_only=True)
class _VaultKey:
    """One version of a key in Vault's transit engine (its HTTP API, "Read key" and "Sign data")."""

    uri: str
    name: str
    version: int
    client: hvac.Client

    def public(self) -> Ed25519PublicKey:
        """The public half; one of our errors unless Vault lets this version sign by pure Ed25519."""
        with self._faults():
            key = self.client.secrets.transit.read_key(self.name)["data"]
            self._require_type(key)
            self._require_version(key)
            return Ed25519PublicKey.from_public_bytes(b64decode(key["keys"][str(self.version)]["public_key"]))

    def signing(self, public: Ed25519PublicKey) -> Callable[[bytes], bytes]:
        from hvac.exceptions import VaultError  # noqa: PLC0415
        from securesystemslib.signer import SSlibKey, VaultSigner  # noqa: PLC0415

        ask = _asking(VaultSigner(self.name, SSlibKey.from_crypto(public), self.version))

        def sign(message: bytes) -> bytes:
            with self._faults():
                try:
                    return ask(message)
                except VaultError:
                    self.public()  # says what has changed there, if that is why
                    raise

        return sign

    def _require_type(self, key: Mapping[str, Any]) -> None:
        if key["type"] != "ed25519" or key["derived"]:
            kind = f"{key['type']}, derived" if key["derived"] else key["type"]
            raise BadFile(
                f"key {self.uri}: is of type {kind}, and notes and envelopes want ed25519; make another one by "
                "`vault write -f transit/keys/NAME type=ed25519`"
            )

    def _require_version(self, key: Mapping[str, Any]) -> None:
        newest, first = key["latest_version"], max(key["min_encryption_version"], key["min_decryption_version"])
        if key.get("soft_deleted"):  # OpenBao's
            raise NotPermitted(
                f"key {self.uri}: is deleted there, though not for good; restore it by "
                f"`bao write -f transit/keys/{self.name}/soft-delete-restore`"
            )
        if self.version > newest:
            raise BadFile(f"key {self.uri}: has no such version; name one up to {newest}, the newest")
        if self.version < first:
            raise NotPermitted(
                f"key {self.uri}: Vault lets no version before {first} sign; let this one by `vault write "
                f"transit/keys/{self.name}/config min_decryption_version={self.version} "
                f"min_encryption_version={self.version}`, rotate to the next key, and set that back (docs/keys.md)"
            )

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """Turn what hvac raises into our errors."""
        from hvac.exceptions import VaultError  # noqa: PLC0415

        try:
            yield
        except OSError as fault:
            raise Unreachable(
                f"key {self.uri}: no Vault answers at VAULT_ADDR ({type(fault).__name__}); set that, and see that it "
                "runs"
            ) from None
        except VaultError as fault:
            kind, what, remedy = _VAULT_FAULTS.get(type(fault).__name__, _VAULT_ELSE)
            told = remedy.format(name=self.name)
            raise kind(f"key {self.uri}: {what} ({type(fault).__name__}); {told}") from None
        except (AttributeError, LookupError, TypeError, ValueError) as fault:
            raise Unreachable(
                f"key {self.uri}: what answers at VAULT_ADDR is no Vault ({type(fault).__name__}); set that to where "
                "yours is"
            ) from None


_OPENERS: Final[Mapping[str, Callable[[_Wanted], _Asked]]] = {
    "file2": _open_file,
    "hsm": _open_token,
    "hv": _open_vault,
}


@contextmanager
def _faults(uri: str) -> Iterator[None]:
    """Turn what a signer raises into our errors: their kind only, since their texts may hold what they were given."""
    from securesystemslib.exceptions import UnsupportedLibraryError  # noqa: PLC0415

    try:
        yield
    except (BadFile, HostFault, NotPermitted, Unreachable):
        raise
    except (ImportError, UnsupportedLibraryError):
        raise HostFault(
            f"key {uri}: its package is missing; pip install 'domicile[pkcs11]' for tokens, 'domicile[vault]' for Vault"
        ) from None
    except OSError as fault:
        raise BadFile(
            f"key {uri}: can't be read ({fault.strerror or type(fault).__name__}); check path and rights"
        ) from None
    except Exception as fault:  # noqa: BLE001 - signers may raise anything (securesystemslib, Signer)
        raise Unreachable(
            f"key {uri}: its holder refused ({type(fault).__name__}); check the key's id, its pin "
            "and the holder's settings"
        ) from None
