"""Keys in a token behind PKCS#11: an HSM, a smart card, or a program that plays one.

A key's generations are the RSA private keys whose label is its name; each is known by its public half, which the token
tells. Whether one ever could leave the token, the token itself says (PKCS #11 v2.40, 4.9: CKA_NEVER_EXTRACTABLE,
CKA_ALWAYS_SENSITIVE, CKA_LOCAL). A backup that a maker's own tools make of a whole token isn't seen here: tokens that
hold one are named in the file as copies. A token that is a program keeps its keys in files, and says nothing of those.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers

from domicile.errors import HostFault, NotPermitted, Unreachable
from domicile.stores.keyservices import ROUNDS_MAX, KeyCopy, Padding, generation_of

if TYPE_CHECKING:
    import pkcs11
    from pkcs11 import Attribute
    from pkcs11 import Object as TokenObject

KEYS_MAX: Final = 10_000
_HARDWARE: Final = 0x4  # CKF_HW_SLOT
_SAYS: Final = (
    ("EXTRACTABLE", False, "can be taken out of the token"),
    ("NEVER_EXTRACTABLE", True, "could once be taken out of the token"),
    ("LOCAL", True, "wasn't made in the token, so it came from elsewhere"),
    ("ALWAYS_SENSITIVE", True, "could once be read in plain"),
)
"""Attribute, what it has to be, and what it means if it isn't, or if the token doesn't say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the tokens are reached: the maker's library, the token of the keys, and those that hold copies of it."""

    module: str
    token: str
    copies: Sequence[str] = ()
    pin: str = field(repr=False)


class TokenKeys:
    """A token, and those that hold copies of it."""

    def __init__(self, name: str, place: Place, *, forgets: bool) -> None:
        self._name = name
        self._place = place
        self._forgets = forgets

    @property
    def name(self) -> str:
        """The service's name."""
        return self._name

    @property
    def words(self) -> tuple[str, ...]:
        """What the operator says."""
        count = 1 + len(self._place.copies)
        places = "in one token only" if count == 1 else f"in these {count} tokens only"
        return (f"its keys lie {places}", *(("the token keeps nothing of what it destroyed",) if self._forgets else ()))

    def generations(self, key: str) -> tuple[str, ...]:
        """Name the generations that bear the key's label."""
        with self._opened(self._place.token) as (session, _):
            return tuple(sorted({name for name, _ in self._private(session, label=key)}))

    def copies(self, generations: Collection[str]) -> tuple[KeyCopy, ...]:
        """List every copy in all tokens, whatever its label."""
        found: list[KeyCopy] = []
        for token in (self._place.token, *self._place.copies):
            with self._opened(token) as (session, hardware):
                found += [
                    self._copy(name, item, token, hardware=hardware)
                    for name, item in self._private(session)
                    if name in generations
                ]
        return tuple(found)

    def _copy(self, name: str, item: TokenObject, token: str, *, hardware: bool) -> KeyCopy:
        doubts = [why for attribute, wanted, why in _SAYS if _ask(item, attribute) is not wanted]
        if _ask(item, "DESTROYABLE") is False:
            doubts.append("is one that the token doesn't destroy (CKA_DESTROYABLE)")
        if not hardware and not self._forgets:
            doubts.append("lies in a token that is a program, and nobody says that its files go nowhere else and are"
                          " forgotten (`forgets: true`)")  # fmt: skip
        modulus = _ask(item, "MODULUS")
        bits = int.from_bytes(modulus, "big").bit_length() if isinstance(modulus, bytes) else 0
        return KeyCopy(
            generation=name, place=f"token {token}", bits=bits, held_since=None, doubts=tuple(doubts)
        )  # fmt: skip

    def unwrap(self, generation: str, wrapped: bytes, padding: Padding) -> bytes | None:
        """Have the token open a content key."""
        import pkcs11  # noqa: PLC0415 - an extra

        mechanism, parameter = pkcs11.Mechanism.RSA_PKCS, None
        if padding is Padding.OAEP_SHA1:
            mechanism = pkcs11.Mechanism.RSA_PKCS_OAEP
            parameter = (pkcs11.Mechanism.SHA_1, pkcs11.MGF.SHA1, None)
        with self._opened(self._place.token) as (session, _):
            for name, item in self._private(session):
                if name != generation:
                    continue
                try:
                    return bytes(item.decrypt(wrapped, mechanism=mechanism, mechanism_param=parameter))  # type: ignore[attr-defined]
                except (pkcs11.EncryptedDataInvalid, pkcs11.EncryptedDataLenRange, pkcs11.GeneralError):
                    return None
        return None

    def destroy(self, generations: Collection[str]) -> tuple[KeyCopy, ...]:
        """Have every token destroy its copies."""
        for _ in range(ROUNDS_MAX):
            if not self.copies(generations):
                return ()
            for token in (self._place.token, *self._place.copies):
                with self._opened(token, writing=True) as (session, _):
                    for name, item in list(self._private(session)):
                        if name in generations:
                            item.destroy()
        return self.copies(generations)

    def _private(self, session: pkcs11.Session, *, label: str | None = None) -> Iterator[tuple[str, TokenObject]]:
        """List the RSA private keys with their generations; of another kind under the label, NotPermitted."""
        from pkcs11 import Attribute, KeyType, ObjectClass  # noqa: PLC0415 - an extra

        wanted: dict[Attribute, object] = {Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.TOKEN: True}
        if label is not None:
            wanted[Attribute.LABEL] = label
        items = list(islice(session.get_objects(wanted), KEYS_MAX + 1))  # a search is open until its end
        if len(items) > KEYS_MAX:
            raise NotPermitted(f"key service {self._name}: a token holds more than {KEYS_MAX} private keys")
        for item in items:
            name = _generation(item) if _ask(item, "KEY_TYPE") == KeyType.RSA else None
            if name is not None:
                yield name, item
            elif label is not None:
                raise NotPermitted(
                    f"key service {self._name}: {label} is no RSA key, or the token doesn't tell its public half"
                )

    @contextmanager
    def _opened(self, token: str, *, writing: bool = False) -> Iterator[tuple[pkcs11.Session, bool]]:
        """Open a session with a token; and say whether it is hardware. Faults tell their kind only."""
        try:
            import pkcs11  # noqa: PLC0415 - an extra
        except ImportError:
            raise HostFault("keys behind PKCS#11 need python-pkcs11; pip install 'domicile[pkcs11]'") from None
        try:
            library = pkcs11.lib(self._place.module)
            found = list(library.get_tokens(token_label=token))
            if len(found) != 1:
                raise Unreachable(
                    f"key service {self._name}: {len(found)} tokens are called {token}; check `token`, `copies` "
                    "and the library's own configuration"
                )
            with found[0].open(rw=writing, user_pin=self._place.pin) as session:
                yield session, bool(found[0].slot.flags & _HARDWARE)
        except pkcs11.PKCS11Error as fault:
            raise Unreachable(
                f"key service {self._name}: token {token} refused ({type(fault).__name__}); check module, token and pin"
            ) from None


def _generation(item: TokenObject) -> str | None:
    modulus, exponent = _ask(item, "MODULUS"), _ask(item, "PUBLIC_EXPONENT")
    if not isinstance(modulus, bytes) or not isinstance(exponent, bytes):
        return None
    try:
        numbers = RSAPublicNumbers(int.from_bytes(exponent, "big"), int.from_bytes(modulus, "big"))
        return generation_of(numbers.public_key())
    except ValueError:
        return None


def _ask(item: TokenObject, attribute: str) -> object | None:
    """What a token says of a key; None when it doesn't."""
    import pkcs11  # noqa: PLC0415 - an extra

    try:
        answer: object = item[pkcs11.Attribute[attribute]]
    except (pkcs11.PKCS11Error, KeyError, ValueError):
        return None
    return answer
