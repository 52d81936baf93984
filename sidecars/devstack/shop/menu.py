"""The shop's configuration: what a menu is, and why one cannot be used.

Loading it and answering `POST /validate` are one function, so that the app never says yes to what it then refuses.
"""

import hashlib
from typing import Annotated

import msgspec

FILE = "shop.json"
_MOST_BYTES = 64 << 10

_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
_Price = Annotated[float, msgspec.Meta(gt=0, le=1000)]


class UnusableMenuError(Exception):
    """A menu that the shop cannot work by; the text begins "cannot" and names the place."""


class Menu(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What guests are told. A key with a typing error is refused: it would be a change without effect."""

    greeting: _Text
    currency: Annotated[str, msgspec.Meta(pattern="^[A-Z]{3}$")]
    prices: Annotated[dict[_Text, _Price], msgspec.Meta(min_length=1)]


def parse(content: bytes) -> Menu:
    """Raises: UnusableMenuError."""
    if len(content) > _MOST_BYTES:
        raise UnusableMenuError(f"cannot use {FILE}: it has {len(content)} bytes, and {_MOST_BYTES} are allowed")
    try:
        return msgspec.json.decode(content, type=Menu)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise UnusableMenuError(f"cannot use {FILE}: {error}; correct it, the last good menu stays") from None


def version(content: bytes) -> str:
    """A name for exactly these bytes."""
    return hashlib.sha256(content).hexdigest()[:12]
