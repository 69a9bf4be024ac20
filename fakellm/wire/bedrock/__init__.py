"""Amazon Bedrock: Converse, and the bodies of models in InvokeModel."""

from __future__ import annotations

from fakellm.rooms import lazily

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fakellm.wire.bedrock.converse import ConverseCodec as ConverseCodec
    from fakellm.wire.bedrock.invoke import InvokeCodec as InvokeCodec

__getattr__, __dir__, __all__ = lazily(
    __name__,
    {
        "converse": ("ConverseCodec",),
        "invoke": ("InvokeCodec",),
    },
)
