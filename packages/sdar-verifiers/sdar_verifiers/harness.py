"""A harness that asks the model from this process.

verifiers' own chat harness starts a Python process for every turn, more than a second of CPU each. Its contract asks
only that every call goes to the endpoint that it names, where calls are recorded, so a world needs no process.
"""

from __future__ import annotations

import verifiers.v1 as vf
from openai import APIConnectionError, APIStatusError, AsyncOpenAI
from verifiers.v1.dialects.chat import message_to_wire
from verifiers.v1.errors import MODEL_TRANSPORT_ERROR_EXIT_CODE
from verifiers.v1.harnesses.utils.compaction import is_context_overflow


class DirectHarnessConfig(vf.HarnessConfig):
    """It has no options of its own."""


class DirectHarness(vf.Harness[DirectHarnessConfig]):
    """One request a turn, with the whole conversation in it. No tools: a world's actions are text."""

    APPENDS_SYSTEM_PROMPT = True
    SUPPORTS_RESUME = True
    EXECUTES_CODE = False
    NEEDS_CONTAINER = False

    async def launch(
        self,
        ctx: vf.ModelContext,
        trace: vf.Trace,
        runtime: vf.Runtime,
        endpoint: str,
        secret: str,
        mcp_urls: dict[str, str],
        data: vf.TaskData,
    ) -> vf.ProgramResult:
        """Ask once. A conversation that is too long for the model ends the episode, which is then scored as it is."""
        system, prompt = self.resolve_prompt(data)
        messages = [] if system is None else [{"role": "system", "content": system}]
        if isinstance(prompt, str):
            messages.append({"role": "user", "content": prompt})
        elif prompt is not None:
            messages += [message_to_wire(message) for message in prompt]
        try:
            async with AsyncOpenAI(base_url=endpoint, api_key=secret, timeout=None) as client:
                await client.chat.completions.create(model=ctx.model, messages=messages)
        except APIStatusError as error:
            return vf.ProgramResult(0 if is_context_overflow(error) else 1, "", str(error))
        except APIConnectionError as error:
            return vf.ProgramResult(MODEL_TRANSPORT_ERROR_EXIT_CODE, "", str(error))
        return vf.ProgramResult(0, "", "")
