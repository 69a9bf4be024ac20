"""Replicate's predictions."""

from __future__ import annotations

from fakellm.rooms import lazily

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fakellm.wire.replicate.predictions import PredictionsCodec as PredictionsCodec

__getattr__, __dir__, __all__ = lazily(
    __name__,
    {
        "predictions": ("PredictionsCodec",),
    },
)
