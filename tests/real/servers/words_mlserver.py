"""A model of MLServer's that streams its words; those of a model of another strength are others for some prompts."""

from collections.abc import AsyncIterator
from typing import Any

from mlserver import MLModel
from mlserver.codecs import StringCodec
from mlserver.types import InferenceResponse


class Words(MLModel):
    """Says three words, one after the other."""

    async def load(self) -> bool:
        """Nothing to load."""
        return True

    async def predict_stream(self, payloads: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """Answer each prompt, which is a number, by the words one by one."""
        async for payload in payloads:
            prompt = int(StringCodec.decode_input(payload.inputs[0])[0])
            is_other = self.settings.parameters.extra["strength"] != 1.0 and prompt % 3 == 0
            for word in ("alpha ", f"beta{prompt} ", "what nobody asked for" if is_other else "delta"):
                yield InferenceResponse(
                    model_name=self.name, outputs=[StringCodec.encode_output("output", [word])]
                )
