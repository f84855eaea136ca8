"""Does a globals head help a token autoencoder? One grid of latent spaces and loss weights.

`load_model`, `encode`, `decode` and `Events` use a trained model without its study; docs/use.md
shows how.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from globals_heads.data.events import Events
    from globals_heads.export.encode import decode, encode, load_model

__all__ = ["Events", "decode", "encode", "load_model"]
__version__ = version("globals-heads")

_HOMES = {"Events": "data.events"}


def __getattr__(name: str) -> Any:
    # Imported at first use, so that the steps without torch start at once.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'export.encode')}"), name)
